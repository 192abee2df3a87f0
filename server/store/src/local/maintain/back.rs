//! Bringing a copy of a file back into sight.
//!
//! Invariant: it was hashed just before, it comes with its facts, and what stands in its place is never replaced.

use std::fs::File;
use std::os::fd::AsFd;

use pawl_keeper::{counts, directory, layout, note_stored};
use pawl_policy::{Handle, PrincipalName, RepositoryName};
use rustix::io::Errno;

use super::content::is_right;
use super::{Disk, hide, versions};
use crate::local::create::hash;
use crate::local::open_file;
use crate::maintenance::{Place, PutBackError};
use crate::{Created, Facts, StoreError};

/// Makes a copy the visible one, and says how large it is.
pub(super) fn put_back(
    disk: &Disk,
    repository: &RepositoryName,
    handle: &Handle,
    place: &Place,
) -> Result<(Created, u64), PutBackError> {
    let (path, name) = versions::path(repository, handle, place)?;
    let from = directory::open(&disk.data, &path).map_err(StoreError::from)?;
    let file = open_file(&from, &name)?;
    let bytes = file.metadata().map_err(StoreError::from)?.len();
    if !is_right(&file, handle)? {
        return Err(PutBackError::Damaged);
    }
    let creator = Facts::read(&file).map_err(StoreError::from)?.creator;
    let into = directory::open_or_make(&disk.data, &layout::directory(repository, handle));
    let into = into.map_err(StoreError::from)?;
    // Before it is visible: if this is cut, the file is found in its batch again, but its tombstone nowhere.
    hide::exhume(disk, repository, handle)?;
    let rename = || directory::move_file(&from, &name, &into, &layout::file_name(handle));
    if let Err(error) = counted(disk, repository, handle, creator.as_ref(), bytes, rename) {
        if error == Errno::EXIST {
            return compare(disk, repository, handle, &file).map(|created| (created, bytes));
        }
        return Err(StoreError::from(error).into());
    }
    let synced = rustix::fs::fsync(&into).and_then(|()| rustix::fs::fsync(&from));
    let settled = synced.and_then(|()| note_stored(disk.data.as_fd(), repository, handle));
    settled.map_err(StoreError::from)?;
    Ok((Created::Stored, bytes))
}

/// Names a file, which counts from before it is visible.
pub(super) fn counted(
    disk: &Disk,
    repository: &RepositoryName,
    handle: &Handle,
    creator: Option<&PrincipalName>,
    bytes: u64,
    name: impl FnOnce() -> rustix::io::Result<()>,
) -> rustix::io::Result<()> {
    if !counts(handle) {
        return name();
    }
    disk.usage.lock(disk.data.as_fd())?.add(repository, creator, bytes, name)
}

/// What stands there may be the same file.
pub(super) fn compare(
    disk: &Disk,
    repository: &RepositoryName,
    handle: &Handle,
    copy: &File,
) -> Result<Created, PutBackError> {
    let there = open_file(&disk.data, &layout::file(repository, handle))?;
    let same = match handle {
        Handle::File(..) => is_right(&there, handle)?,
        Handle::Config => {
            let (there, copy) = (hash(&there), hash(copy));
            there.map_err(StoreError::from)? == copy.map_err(StoreError::from)?
        }
    };
    if !same {
        return Err(PutBackError::Occupied);
    }
    hide::exhume(disk, repository, handle)?;
    Ok(Created::AlreadyThere)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use pawl_policy::FileType;

    use super::*;
    use crate::conformance::{Outcome, content, id_of};
    use crate::local::maintain::tests::both;
    use crate::maintenance::{Hid, MaintenanceStore, Reason};
    #[expect(clippy::disallowed_methods, reason = "does what a broken disk does")]
    fn rot(path: &Path) {
        std::fs::remove_file(path).unwrap();
        std::fs::write(path, b"rotten").unwrap();
    }

    #[tokio::test]
    async fn a_damaged_copy_does_not_come_back_and_a_damaged_file_is_displaced() {
        let f = both();
        f.hosts.initialised().await;
        let bytes = content(1, 1000);
        let handle = f.stored(FileType::Index, &bytes).await;
        let path = f.hosts.place.path().join("web1/index").join(id_of(&bytes).to_string());
        rot(&path);
        let batch = f.begin(Reason::Damaged).await;
        let web1 = "web1".parse().unwrap();
        assert_eq!(f.maintenance.displace(&web1, &handle, &batch).await.unwrap(), Hid::Now);
        assert!(matches!(f.maintenance.bring_back(&batch, &handle).await, Err(PutBackError::Damaged)));
        assert!(!path.exists());
        assert_eq!(f.hosts.create(FileType::Index, &bytes).await, Outcome::Stored);
    }

    #[tokio::test]
    async fn good_bytes_that_were_rescued_are_put_back() {
        let f = both();
        f.hosts.initialised().await;
        let bytes = content(1, 1000);
        let handle = f.stored(FileType::Index, &bytes).await;
        let path = f.hosts.place.path().join("web1/index").join(id_of(&bytes).to_string());
        rot(&path);
        assert_eq!(f.hosts.confirm(FileType::Index, &bytes).await, Outcome::Damaged);
        let web1: RepositoryName = "web1".parse().unwrap();
        let occupied = f.maintenance.put_back(&web1, &handle, &Place::Rescued).await;
        assert!(matches!(occupied, Err(PutBackError::Occupied)), "{occupied:?}");
        let batch = f.begin(Reason::Damaged).await;
        assert_eq!(f.maintenance.displace(&web1, &handle, &batch).await.unwrap(), Hid::Now);
        f.maintenance.put_back(&web1, &handle, &Place::Rescued).await.unwrap();
        assert_eq!(f.hosts.read(FileType::Index, id_of(&bytes)).await, Some(bytes));
    }
}
