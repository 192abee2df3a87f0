//! Reads what restic sealed in a repository, and opens it with the master key.
//!
//! Invariant: what is damaged, what is gone and what cannot be read are told apart; none of them is an error of the store.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::TryStreamExt;
use pawl_policy::{FileId, FileType, Handle, RepositoryName};
use pawl_restic_format::id::Id;
use pawl_restic_format::pack::{self, Entry, HEADER_BYTES_MAX, LENGTH_BYTES};
use pawl_restic_format::records::{Index, Pack, Written};
use pawl_restic_format::sealed::{MasterKey, NotOpened, unpacked};
use pawl_store::either::EitherMaintenance;
use pawl_store::maintenance::{MaintenanceStore, Place};
use pawl_store::{Span, StoreError, StoredFile};
use sha2::{Digest, Sha256};

/// What a file other than a pack may hold when it is decompressed. A full index of restic's has about 10 MiB.
const UNPACKED_BYTES_MAX: u64 = 256 << 20;

/// What a file turned out to be.
pub(crate) enum Opened<T> {
    Good(T),
    Junk(NotOpened),
    /// Its content is not what its name says.
    Damaged,
    /// It is not there any more.
    Gone,
}

/// Opens a file that is named by its content.
pub(crate) async fn open<T: Written + Send + 'static>(
    store: &EitherMaintenance,
    repository: &RepositoryName,
    key: &Arc<MasterKey>,
    (handle, id): (&Handle, FileId),
    place: &Place,
) -> Result<Opened<T>, StoreError> {
    let Some(content) = content(store, repository, handle, place).await? else { return Ok(Opened::Gone) };
    let key = Arc::clone(key);
    let work = move || {
        if !is_named(&content, &id) {
            return Opened::Damaged;
        }
        let plain = key.open(content).and_then(|plain| unpacked(plain, UNPACKED_BYTES_MAX));
        match plain.and_then(|plain| T::read(&plain)) {
            Ok(found) => Opened::Good(found),
            Err(why) => Opened::Junk(why),
        }
    };
    // What a host wrote may bring a decompressor down. Its file is not worth more than that.
    let opened = tokio::task::spawn_blocking(work).await;
    Ok(opened.unwrap_or(Opened::Junk(NotOpened::NotCompressed)))
}

/// The packs that an index names, each with its blobs; nothing if it is not there, or says nothing that can be read.
pub(crate) async fn packs_of_index(
    store: &EitherMaintenance,
    repository: &RepositoryName,
    key: &Arc<MasterKey>,
    id: FileId,
) -> Result<Option<Vec<(FileId, Vec<Id>)>>, StoreError> {
    let opened =
        open::<Index>(store, repository, key, (&Handle::File(FileType::Index, id), id), &Place::Current)
            .await?;
    let Opened::Good(index) = opened else { return Ok(None) };
    let blobs = |pack: &Pack| pack.blobs.iter().flatten().map(|blob| blob.id).collect();
    let packs = index.packs.iter().flatten().map(|pack| (FileId::from_sha256(pack.id.0), blobs(pack)));
    Ok(Some(packs.collect()))
}

/// What is in a pack, by its own word; nothing if it is not there, or says nothing that can be read.
pub(crate) async fn header_of_pack(
    store: &EitherMaintenance,
    repository: &RepositoryName,
    key: &MasterKey,
    pack: FileId,
) -> Result<Option<HashSet<Entry>>, StoreError> {
    let handle = Handle::File(FileType::Data, pack);
    let open = || store.open_version(repository, &handle, &Place::Current);
    let file = match open().await {
        Err(StoreError::NotFound) => return Ok(None),
        file => file?,
    };
    let Some(end) = file.size().checked_sub(LENGTH_BYTES.into()) else { return Ok(None) };
    let length = whole(file, Span { start: end, len: LENGTH_BYTES.into() }).await?;
    let length = length.first_chunk().map_or(0, |length| u32::from_le_bytes(*length));
    let Some(start) = end.checked_sub(length.into()).filter(|_| length <= HEADER_BYTES_MAX) else {
        return Ok(None);
    };
    let sealed = whole(open().await?, Span { start, len: length.into() }).await?;
    Ok(key.open(sealed).ok().and_then(|header| pack::entries(&header)))
}

/// A file's bytes; nothing if it is not there any more.
pub(crate) async fn content(
    store: &EitherMaintenance,
    repository: &RepositoryName,
    handle: &Handle,
    place: &Place,
) -> Result<Option<Vec<u8>>, StoreError> {
    let file = match store.open_version(repository, handle, place).await {
        Err(StoreError::NotFound) => return Ok(None),
        file => file?,
    };
    let span = Span { start: 0, len: file.size() };
    Ok(Some(whole(file, span).await?))
}

/// All bytes of a span.
pub(crate) async fn whole<F: StoredFile>(file: F, span: Span) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::with_capacity(usize::try_from(span.len).unwrap_or_default());
    let mut chunks = std::pin::pin!(file.read(span));
    while let Some(chunk) = chunks.try_next().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Whether content is what its name says.
pub(crate) fn is_named(content: &[u8], id: &FileId) -> bool {
    let found: [u8; 32] = Sha256::digest(content).into();
    found == *id.sha256()
}
