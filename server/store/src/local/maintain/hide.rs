//! Taking files out of sight, and for good.
//!
//! Invariant: a file leaves sight by one move that does not replace, after its tombstone is durable; `unlinkat`
//! touches nothing but what lies in a batch.

use std::collections::BTreeSet;
use std::os::fd::AsFd;

use pawl_keeper::{commit::mode_for, counts, directory, facts, layout, note_stored};
use pawl_policy::{Audience, BatchId, Handle, RepositoryName};
use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;

use super::content::is_right;
use super::{Disk, walk};
use crate::local::open_file;
use crate::maintenance::{Batch, Hid};
use crate::{Facts, StoreError};

/// What became of a file that was to be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moved {
    Now { bytes: u64 },
    Absent,
    Taken,
}

impl From<Moved> for Hid {
    fn from(moved: Moved) -> Self {
        match moved {
            Moved::Now { .. } => Self::Now,
            Moved::Absent => Self::Absent,
            Moved::Taken => Self::Taken,
        }
    }
}

/// Takes a file out of sight that somebody deleted.
pub(super) fn hide(disk: &Disk, batch: &Batch, handle: &Handle) -> Result<Moved, StoreError> {
    match open_file(&disk.data, &layout::file(&batch.repository, handle)) {
        Ok(_) => {}
        Err(StoreError::NotFound) => return Ok(Moved::Absent),
        Err(error) => return Err(error),
    }
    // A repository of another server carries no mark; without what is hidden it would look like one never begun.
    note_stored(disk.data.as_fd(), &batch.repository, handle)?;
    if handle.leaves_a_tombstone() {
        bury(disk, &batch.repository, handle)?;
    }
    take_away(disk, batch, handle)
}

/// Takes a file out of sight that is not what its name says.
pub(super) fn displace(disk: &Disk, batch: &Batch, handle: &Handle) -> Result<Moved, StoreError> {
    let path = layout::file(&batch.repository, handle);
    let file = match open_file(&disk.data, &path) {
        Ok(file) => file,
        Err(StoreError::NotFound) => return Ok(Moved::Absent),
        Err(error) => return Err(error),
    };
    if is_right(&file, handle)? {
        return Err(StoreError::Unavailable(format!("{path} is not damaged, so it stays")));
    }
    take_away(disk, batch, handle)
}

fn bury(disk: &Disk, repository: &RepositoryName, handle: &Handle) -> Result<(), StoreError> {
    let tombstones = directory::open_or_make(&disk.data, &layout::tombstone_directory(repository, handle))?;
    Ok(directory::mark(tombstones.as_fd(), &layout::file_name(handle))?)
}

/// Removes the mark of a file that is visible again.
#[expect(clippy::disallowed_methods, reason = "removes a tombstone, which is no stored file")]
pub(super) fn exhume(disk: &Disk, repository: &RepositoryName, handle: &Handle) -> Result<(), StoreError> {
    let tombstones = match directory::open(&disk.data, &layout::tombstone_directory(repository, handle)) {
        Ok(tombstones) => tombstones,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    match rustix::fs::unlinkat(&tombstones, layout::file_name(handle), AtFlags::empty()) {
        Ok(()) => Ok(rustix::fs::fsync(&tombstones)?),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The files that are marked as deleted. One whose deletion a crash cut short after its mark is none of them: it is where
/// it always was, and has not changed since before the mark was made. What came back since was named since, which the
/// kernel notes in the inode.
pub(super) fn buried(disk: &Disk, repository: &RepositoryName) -> Result<BTreeSet<Handle>, StoreError> {
    let mut marked = walk::marked(disk.data.as_fd(), &layout::tombstones(repository))?;
    let mut unfinished = Vec::new();
    for handle in &marked {
        let file = changed(disk, &layout::directory(repository, handle), handle)?;
        let mark = changed(disk, &layout::tombstone_directory(repository, handle), handle)?;
        if file.zip(mark).is_some_and(|(file, mark)| file < mark) {
            unfinished.push(*handle);
        }
    }
    marked.retain(|handle| !unfinished.contains(handle));
    Ok(marked)
}

/// When the file of this handle in a directory last changed, in seconds and nanoseconds; nothing if there is none.
fn changed(disk: &Disk, directory: &str, handle: &Handle) -> Result<Option<(i64, u64)>, StoreError> {
    let stat = directory::open(&disk.data, directory).and_then(|directory| {
        rustix::fs::statat(directory, layout::file_name(handle), AtFlags::SYMLINK_NOFOLLOW)
    });
    match stat {
        Ok(stat) => Ok(Some((stat.st_ctime, stat.st_ctime_nsec))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn take_away(disk: &Disk, batch: &Batch, handle: &Handle) -> Result<Moved, StoreError> {
    let Batch { id, repository, .. } = batch;
    let name = layout::file_name(handle);
    let from = match directory::open(&disk.data, &layout::directory(repository, handle)) {
        Ok(from) => from,
        Err(Errno::NOENT) => return Ok(Moved::Absent),
        Err(error) => return Err(error.into()),
    };
    let into = directory::open_or_make(&disk.data, &layout::hidden_directory(id, handle))?;
    let guard = disk.usage.lock(disk.data.as_fd())?;
    match directory::move_file(&from, &name, &into, &name) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Ok(Moved::Absent),
        Err(Errno::EXIST) => return Ok(Moved::Taken),
        Err(error) => return Err(error.into()),
    }
    let file = open_file(&disk.data, &layout::hidden(id, handle))?;
    let bytes = file.metadata()?.len();
    let bring_to_disk = || rustix::fs::fsync(&into).and_then(|()| rustix::fs::fsync(&from));
    if !disk.usage.keeps_order() {
        bring_to_disk()?; // or a cut could leave the lower usage, and the file in sight
    }
    if counts(handle) {
        let creator = Facts::read(&file)?.creator;
        if let Err(error) = guard.take(repository, creator.as_ref(), bytes) {
            tracing::warn!(%error, %repository, "usage is too high until all files are counted again");
        }
    }
    drop(guard);
    if disk.usage.keeps_order() {
        bring_to_disk()?;
    }
    Ok(Moved::Now { bytes })
}

/// Removes a file of a batch for good.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that removes what was deleted, out of a ripe batch"
)]
pub(super) fn purge(disk: &Disk, batch: &BatchId, handle: &Handle) -> Result<(), StoreError> {
    let directory = match directory::open(&disk.data, &layout::hidden_directory(batch, handle)) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    match rustix::fs::unlinkat(&directory, layout::file_name(handle), AtFlags::empty()) {
        Ok(()) => Ok(rustix::fs::fsync(&directory)?),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Changes who may see a key.
pub(super) fn set_audience(disk: &Disk, path: &str, audience: Audience) -> Result<(), StoreError> {
    change(disk, path, mode_for(audience), |file| facts::write_audience(file, audience))
}

/// Changes when a file says that it was received.
pub(super) fn amend_received(disk: &Disk, path: &str, received_ms: u64) -> Result<(), StoreError> {
    let audience = Facts::read(&open_file(&disk.data, path)?)?.audience;
    change(disk, path, mode_for(audience), |file| facts::write_received(file, received_ms))
}

/// Changes a fact of a file, which has this mode then. An attribute can be written to a file only by who may write to it.
fn change(
    disk: &Disk,
    path: &str,
    mode: Mode,
    write: impl FnOnce(&std::fs::File) -> rustix::io::Result<()>,
) -> Result<(), StoreError> {
    let file = open_file(&disk.data, path)?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o640))?;
    let written = write(&file);
    rustix::fs::fchmod(&file, mode)?;
    written?;
    Ok(rustix::fs::fsync(&file)?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::time::Duration;

    use pawl_keeper::MaintenanceUsage;
    use pawl_policy::{FileType, RepositoryState};
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

    use super::*;
    use crate::AppendStore;
    use crate::conformance::content;
    use crate::local::maintain::batch::for_reason;
    use crate::local::maintain::tests::both;
    use crate::maintenance::{MaintenanceStore, Reason};
    #[tokio::test]
    async fn a_repository_of_another_server_stays_taken_when_all_of_it_is_deleted() {
        let f = both();
        f.hosts.initialised().await;
        rustix::fs::removexattr(f.hosts.place.path().join("web1"), "user.pawl.initialised").unwrap();
        let batch = f.begin(Reason::Deleted).await;
        assert_eq!(f.hide(Handle::Config, &batch).await, Hid::Now);
        let web1 = "web1".parse().unwrap();
        let survey = f.hosts.store.survey(&web1, &Handle::Config).await.unwrap();
        assert_eq!(survey.repository, RepositoryState::Initialised);
    }

    /// As a crash leaves it between the mark and the rename.
    #[tokio::test]
    async fn a_deletion_that_was_cut_short_is_completed_by_the_next() {
        let f = both();
        f.hosts.initialised().await;
        let handle = f.stored(FileType::Snapshots, &content(1, 1000)).await;
        bury(&f.maintenance.disk, &"web1".parse().unwrap(), &handle).unwrap();
        let batch = f.begin(Reason::Deleted).await;
        assert_eq!(f.hide(handle, &batch).await, Hid::Now);
    }

    #[tokio::test]
    async fn the_time_of_receipt_alone_is_amended_of_a_file_that_nobody_may_write_to() {
        let f = both();
        f.hosts.initialised().await;
        let handle = f.stored(FileType::Data, &content(1, 1000)).await;
        let web1: RepositoryName = "web1".parse().unwrap();
        let path = f.hosts.place.path().join(layout::file(&web1, &handle));
        let seen = || {
            let file = std::fs::File::open(&path).unwrap();
            (Facts::read(&file).unwrap(), file.metadata().unwrap().permissions())
        };
        let (before, mode) = seen();
        f.maintenance.amend_received(&web1, &handle, 1234).await.unwrap();
        assert_eq!(seen(), (Facts { received_ms: 1234, ..before }, mode));
    }

    #[expect(clippy::disallowed_methods, reason = "does what only another than Pawl does")]
    fn by_another_hand(hidden: &Path, shown: &Path) {
        std::fs::rename(hidden, shown).unwrap();
    }

    /// As a power cut leaves it: the mark is on disk, and the rename is not.
    #[tokio::test]
    async fn a_deletion_that_was_cut_short_is_none_and_what_came_back_is_one() {
        let f = both();
        f.hosts.initialised().await;
        let (cut, back) = (content(1, 1000), content(2, 1000));
        let cut = f.stored(FileType::Index, &cut).await;
        let back = f.stored(FileType::Index, &back).await;
        let web1: RepositoryName = "web1".parse().unwrap();
        let disk = &f.maintenance.disk;
        std::thread::sleep(Duration::from_millis(200)); // inodes' times may be those of the kernel's last tick
        bury(disk, &web1, &cut).unwrap();
        assert_eq!(f.maintenance.tombstones(&web1).await.unwrap(), BTreeSet::new());

        let batch = f.begin(Reason::Deleted).await;
        assert_eq!(f.hide(back, &batch).await, Hid::Now);
        std::thread::sleep(Duration::from_millis(200));
        let [hidden, shown] = [layout::hidden(&batch, &back), layout::file(&web1, &back)]
            .map(|path| f.hosts.place.path().join(path));
        by_another_hand(&hidden, &shown);
        assert_eq!(f.maintenance.tombstones(&web1).await.unwrap(), BTreeSet::from([back]));
    }

    /// From now on nothing that this thread syncs comes to disk.
    fn sync_in_vain() {
        let machine = TargetArch::try_from(std::env::consts::ARCH).unwrap();
        let failing = SeccompAction::Errno(libc::EIO.unsigned_abs());
        let rules = BTreeMap::from([(libc::SYS_fsync, Vec::new())]);
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, failing, machine).unwrap();
        seccompiler::apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
    }

    #[tokio::test]
    async fn usage_falls_after_the_file_is_out_of_sight_on_disk_where_no_journal_orders_that() {
        let f = both();
        f.hosts.initialised().await;
        let (first, second) = (content(1, 1000), content(2, 1000));
        let [first, second] =
            [f.stored(FileType::Data, &first).await, f.stored(FileType::Data, &second).await];
        let id = f.begin(Reason::Deleted).await;
        assert_eq!(f.hide(first, &id).await, Hid::Now); // which makes the batch's directories
        let host = "host-1".parse().unwrap();
        let stored = async || f.hosts.store.total_usage(&host).await.unwrap();
        let before = stored().await;
        assert!(before.bytes >= 1000, "{before:?}");

        let path = f.hosts.place.path().to_owned();
        let hidden = std::thread::spawn(move || {
            let data = std::fs::File::open(&path).unwrap().into();
            let disk = Disk { data, path, usage: MaintenanceUsage::new(false) };
            let batch = for_reason(&disk, &id, &"web1".parse().unwrap(), Reason::Deleted).unwrap();
            sync_in_vain();
            take_away(&disk, &batch, &second)
        });
        let hidden = hidden.join().unwrap();
        assert!(matches!(hidden, Err(StoreError::Unavailable(_))), "{hidden:?}");
        assert_eq!(stored().await, before);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_goes_out_of_sight_and_out_of_the_count_in_one_turn() {
        let f = both();
        f.hosts.initialised().await;
        let handle = f.stored(FileType::Data, &content(1, 1000)).await;
        let batch = f.begin(Reason::Deleted).await;
        let visible = f.hosts.place.path().join(layout::file(&"web1".parse().unwrap(), &handle));
        // As a count holds it at its end, which has seen the file.
        let counting = MaintenanceUsage::new(false);
        let data = std::fs::File::open(f.hosts.place.path()).unwrap();
        let guard = counting.lock(data.as_fd()).unwrap();
        let hiding = f.hide(handle, &batch);
        let mut hiding = std::pin::pin!(hiding);
        let waits = tokio::time::timeout(Duration::from_millis(300), &mut hiding).await;
        assert!(waits.is_err() && visible.exists(), "it went while a count was ending");
        drop(guard);
        assert_eq!(hiding.await, Hid::Now);
        assert!(!visible.exists());
    }
}
