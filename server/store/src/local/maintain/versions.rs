//! Every copy of a name that lies somewhere beneath DATA.
//!
//! Invariant: paths are built from names that parsed, whatever a place says.

use std::collections::BTreeSet;
use std::os::fd::AsFd;

use pawl_keeper::{facts, layout};
use pawl_policy::{BatchId, FileType, Handle, RepositoryName};

use super::{Disk, batch};
use crate::local::open_file;
use crate::maintenance::{Holders, Place, Version};
use crate::{Facts, StoreError};

/// Directory and name of a copy, relative to DATA.
pub(super) fn path(
    repository: &RepositoryName,
    handle: &Handle,
    place: &Place,
) -> Result<(String, String), StoreError> {
    let directory = match (place, handle) {
        (Place::Current, _) => layout::directory(repository, handle),
        (Place::Hidden(batch), _) => layout::hidden_directory(batch, handle),
        (Place::Rescued, _) => layout::rescued_directory(repository, handle),
        (Place::Aside(moment), Handle::File(FileType::Keys, _)) => {
            layout::aside_directory(repository, moment.parse().map_err(|_| StoreError::NotFound)?)
        }
        (Place::Aside(_) | Place::Noncurrent(_), _) => return Err(StoreError::NotFound),
    };
    Ok((directory, layout::file_name(handle)))
}

/// Every copy, the visible one first. Of batches these are looked at, in this order.
pub(super) fn among(
    disk: &Disk,
    repository: &RepositoryName,
    handle: &Handle,
    batches: impl IntoIterator<Item = BatchId>,
) -> Result<Vec<Version>, StoreError> {
    let mut places = vec![Place::Current, Place::Rescued];
    places.extend(batches.into_iter().map(Place::Hidden));
    if handle.file_type() == Some(FileType::Keys) {
        let mut moments = batch::names(disk, layout::ASIDE)?;
        moments.sort();
        places.extend(moments.into_iter().map(Place::Aside));
    }
    let mut versions = Vec::new();
    for place in places {
        match look(disk, repository, handle, place) {
            Ok(version) => versions.push(version),
            Err(StoreError::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(versions)
}

fn look(
    disk: &Disk,
    repository: &RepositoryName,
    handle: &Handle,
    place: Place,
) -> Result<Version, StoreError> {
    let (directory, name) = path(repository, handle, &place)?;
    let file = open_file(disk.data.as_fd(), &format!("{directory}/{name}"))?;
    let recorded = match handle {
        Handle::Config => facts::content_hash(&file)?.and_then(|hash| hash.parse().ok()),
        Handle::File(..) => None,
    };
    Ok(Version { place, bytes: file.metadata()?.len(), facts: Facts::read(&file)?, recorded })
}

/// The batches of a repository, in their order.
pub(super) fn batches(disk: &Disk, repository: &RepositoryName) -> Result<Vec<BatchId>, StoreError> {
    let batches = batch::all(disk)?.into_iter().flatten();
    Ok(batches.filter(|batch| batch.repository == *repository).map(|batch| batch.id).collect())
}

/// Which of them hold these names.
pub(super) fn holders(
    disk: &Disk,
    repository: &RepositoryName,
    handles: &BTreeSet<Handle>,
) -> Result<Holders, StoreError> {
    let mut holders = Holders::default();
    for batch in batches(disk, repository)? {
        for handle in handles {
            let (directory, name) = path(repository, handle, &Place::Hidden(batch.clone()))?;
            if batch::exists(disk.data.as_fd(), &format!("{directory}/{name}"))? {
                holders.note(*handle, &batch);
            }
        }
    }
    Ok(holders)
}
