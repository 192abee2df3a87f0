//! Storing a file, and comparing one that is sent again.
//!
//! Invariant: what a host is told was seen at the store: stored by this very upload, or there and right. What cannot be
//! told is an error, and the host tries again.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use pawl_config::s3::Instances;
use pawl_policy::{Caps, Create, FileId, FileType, Handle, Permitted};
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use super::facts::{Head, NewFacts};
use super::put::{self, PutOutcome, Target, checksum};
use super::{S3Store, usage};
use crate::body::{BodyError, CHUNK_BYTES, ConfigBody, Upload, VerifiedBody};
use crate::{CreateError, Created, StoreError};

/// A body that does not say how long it is waits here as a whole, since a PUT has to say. restic and rustic always say.
const UNDECLARED_BYTES_MAX: usize = 1 << 20;

/// How long a file that is sent again waits until the stored copy's turn to be read has come.
const HASHING_WAIT_MAX: Duration = Duration::from_mins(1);

/// One upload of a name at a time, for stores that let two of them win. Elsewhere nobody waits but for `config`.
#[derive(Debug, Default)]
pub(super) struct NameLocks(Mutex<HashMap<String, Weak<AsyncMutex<()>>>>);

impl NameLocks {
    async fn lock(&self, key: &str) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| lock.strong_count() > 0);
            let lock = locks.get(key).and_then(Weak::upgrade).unwrap_or_default();
            locks.insert(key.to_owned(), Arc::downgrade(&lock));
            lock
        };
        lock.lock_owned().await
    }
}

/// Packs whose stored copy was found damaged when they were sent again, in pieces that were gone by then. Sent once more,
/// they are compared first, and kept.
#[derive(Debug, Default)]
pub(super) struct Damaged(Mutex<HashSet<String>>);

/// Names that are remembered. If there are more, all are forgotten, and found again.
const DAMAGED_MAX: usize = 10_000;

impl Damaged {
    pub(super) fn includes(&self, key: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    fn note(&self, key: &str) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= DAMAGED_MAX {
            keys.clear();
        }
        keys.insert(key.to_owned());
    }
}

/// A file on its way to its name.
struct PendingUpload<'a> {
    store: &'a S3Store,
    permit: &'a Permitted<Create>,
    key: String,
    facts: NewFacts,
}

/// Stores the file, unless its name is taken; then compares.
pub(super) async fn create(
    store: &S3Store,
    permit: &Permitted<Create>,
    upload: &mut Upload,
    caps: &Caps,
) -> Result<Created, CreateError> {
    let Create { repository, handle } = permit.action();
    store.must_exist(repository).await?;
    let key = store.layout.file(repository, handle);
    let facts = store.new_facts(permit.principal(), handle)?;
    let newcomer = PendingUpload { store, permit, key, facts };
    match *handle {
        Handle::Config => newcomer.create_config(ConfigBody::read(upload, caps).await?).await,
        Handle::File(file_type, id) => {
            let declared = upload.declared_bytes();
            let mut body = VerifiedBody::new(upload, file_type, id, caps)?;
            newcomer.create_file(file_type, id, declared, &mut body).await
        }
    }
}

/// Compares what was sent with what is stored. If the stored copy is damaged, what was sent is kept beside it.
pub(super) async fn confirm(
    store: &S3Store,
    permit: &Permitted<Create>,
    upload: &mut Upload,
    caps: &Caps,
) -> Result<Created, CreateError> {
    let Create { repository, handle } = permit.action();
    let Handle::File(file_type, id) = *handle else {
        return compare_config(store, permit, &ConfigBody::read(upload, caps).await?).await;
    };
    let key = store.layout.file(repository, handle);
    let declared = upload.declared_bytes();
    let mut body = VerifiedBody::new(upload, file_type, id, caps)?;
    let head = store.head(store.bucket(handle), &key).await?.ok_or_else(vanished)?;
    let content = Content::of(declared, &mut body).await?;
    // Whoever makes the server read a file has to send as much; a copy of another length needs no reading.
    let may_be_good = head.checksum.is_some() || content.len() == head.size;
    if may_be_good && is_good(store, store.bucket(handle), &key, &head, id).await? {
        content.verify().await?;
        return Ok(Created::AlreadyThere);
    }
    rescue(store, permit, file_type, id, content).await
}

/// Keeps what was sent beside the stored copy, which is damaged.
async fn rescue(
    store: &S3Store,
    permit: &Permitted<Create>,
    file_type: FileType,
    id: FileId,
    content: Content<'_, '_>,
) -> Result<Created, CreateError> {
    let Create { repository, handle } = permit.action();
    tracing::error!(%repository, file = %handle, "the stored copy does not hash to its name; good bytes are kept");
    let key = store.layout.rescued(repository, file_type, id);
    let newcomer = PendingUpload { store, permit, key, facts: store.new_facts(permit.principal(), handle)? };
    match newcomer.put(&store.settings.bucket, file_type, id, content).await? {
        PutOutcome::Stored(_) => Err(CreateError::Damaged),
        // Whoever got hold of the credential may have put something there first.
        PutOutcome::Taken => match store.head(&store.settings.bucket, &newcomer.key).await? {
            Some(kept) if is_good(store, &store.settings.bucket, &newcomer.key, &kept, id).await? => {
                Err(CreateError::Damaged)
            }
            _ => Err(unclear()),
        },
        PutOutcome::Unclear(_) => Err(unclear()),
    }
}

impl PendingUpload<'_> {
    async fn create_file(
        &self,
        file_type: FileType,
        id: FileId,
        declared: Option<u64>,
        body: &mut VerifiedBody<'_>,
    ) -> Result<Created, CreateError> {
        let _alone = self.alone().await;
        if !self.store.findings.refuses_taken_names()
            && let Some(head) = self.store.head(self.bucket(), &self.key).await?
        {
            body.verify().await?;
            return self.compare(&head, (file_type, id), declared, None).await;
        }
        let content = Content::of(declared, body).await?;
        let whole = if let Content::Whole(bytes) = &content { Some(bytes.clone()) } else { None };
        let Create { repository, handle } = self.permit.action();
        if self.store.is_aside(repository, handle).await? {
            return self.take_from_aside((file_type, id)).await;
        }
        let (counts, bytes) = (usage::counts(handle), content.len());
        let _in_flight = counts.then(|| self.store.usage.take_off(repository, bytes));
        if counts {
            self.store.add(repository, Some(self.permit.principal()), bytes).await?;
        }
        let created = match self.put(self.bucket(), file_type, id, content).await {
            Ok(ended) => self.resolve(ended, (file_type, id), bytes, whole).await,
            Err(error) => Err(error),
        };
        // A file whose end is not known is sent again, and counted then.
        if counts && !matches!(created, Ok(Created::Stored)) {
            self.store.take_back(repository, Some(self.permit.principal()), bytes).await;
        }
        created
    }

    /// A key that was set aside is sent again: its name is taken, by the very same bytes.
    async fn take_from_aside(&self, file: (FileType, FileId)) -> Result<Created, CreateError> {
        let head = self.store.head(self.bucket(), &self.key).await?.ok_or_else(vanished)?;
        self.compare(&head, file, None, None).await?;
        let Create { repository, handle } = self.permit.action();
        self.store.take_from_aside(repository, &file.1).await?;
        if self.store.is_aside(repository, handle).await? {
            let cause = "the key was set aside before the repository was initialised: make another";
            return Err(StoreError::Unavailable(cause.to_owned()).into());
        }
        Ok(Created::Stored)
    }

    /// Turns the end of a PUT into what became of the file. `whole` is what was sent, if it is left.
    async fn resolve(
        &self,
        ended: PutOutcome,
        file: (FileType, FileId),
        len: u64,
        whole: Option<Bytes>,
    ) -> Result<Created, CreateError> {
        if let PutOutcome::Stored(_) = ended {
            return Ok(Created::Stored);
        }
        match self.store.head(self.bucket(), &self.key).await? {
            Some(head) if head.upload.as_ref() == Some(&self.facts.upload) => Ok(Created::Stored),
            Some(head) => self.compare(&head, file, Some(len), whole).await,
            None => Err(unclear()),
        }
    }

    async fn compare(
        &self,
        head: &Head,
        (file_type, id): (FileType, FileId),
        len: Option<u64>,
        whole: Option<Bytes>,
    ) -> Result<Created, CreateError> {
        // As in `confirm`: a copy of another length needs no reading.
        let may_be_good = head.checksum.is_some() || len.is_none_or(|len| len == head.size);
        if may_be_good && is_good(self.store, self.bucket(), &self.key, head, id).await? {
            return Ok(Created::AlreadyThere);
        }
        if let Some(whole) = whole {
            return rescue(self.store, self.permit, file_type, id, Content::Whole(whole)).await;
        }
        let Create { repository, handle } = self.permit.action();
        tracing::error!(%repository, file = %handle, "the stored copy does not hash to its name");
        // The bytes are gone. When they are sent again, the damage is known beforehand and they are kept.
        self.store.damaged.note(&self.key);
        Err(StoreError::Unavailable("the stored copy is damaged; send it again".to_owned()).into())
    }

    async fn put(
        &self,
        bucket: &str,
        file_type: FileType,
        id: FileId,
        content: Content<'_, '_>,
    ) -> Result<PutOutcome, CreateError> {
        let target = Target {
            bucket: bucket.to_owned(),
            key: self.key.clone(),
            sha256: *id.sha256(),
            metadata: self.facts.metadata(),
            is_data: file_type == FileType::Data,
            unless_taken: self.store.findings.knows_conditions(),
        };
        let (clients, settings) = (&self.store.clients, &self.store.settings);
        let put = match content {
            Content::Whole(content) => {
                put::whole(&clients.quick, settings, target, content).await.map_err(CreateError::from)
            }
            Content::Arriving { len, first, body } => {
                put::stream(clients, settings, target, len, first, body).await
            }
        };
        self.store.fullness.note(&put);
        put
    }

    async fn create_config(mut self, body: ConfigBody) -> Result<Created, CreateError> {
        let _alone = self.alone().await;
        let (store, repository) = (self.store, &self.permit.action().repository);
        if store.true_config(repository).await?.is_some() {
            return compare_config(store, self.permit, &body).await;
        }
        let sha256: [u8; 32] = Sha256::digest(body.content()).into();
        self.facts.content = Some(hex::encode(sha256));
        let target = Target {
            bucket: store.settings.bucket.clone(),
            key: self.key.clone(),
            sha256,
            metadata: self.facts.metadata(),
            is_data: false,
            unless_taken: store.findings.knows_conditions(),
        };
        let len = body.content().len() as u64;
        store.add(repository, Some(self.permit.principal()), len).await?;
        let ended = put::whole(&store.clients.quick, &store.settings, target, body.content().clone()).await;
        let created = match ended {
            Ok(_) => self.resolve_config(&body).await,
            Err(error) => {
                store.take_back(repository, Some(self.permit.principal()), len).await;
                return Err(error.into());
            }
        };
        if matches!(created, Ok(Created::AlreadyThere) | Err(CreateError::Differs)) {
            store.take_back(repository, Some(self.permit.principal()), len).await;
        }
        created
    }

    /// Looks whether the `config` that counts is the one of this upload: stores that let two win tell both that they did.
    async fn resolve_config(&self, body: &ConfigBody) -> Result<Created, CreateError> {
        let (store, repository) = (self.store, &self.permit.action().repository);
        let head = store.config_head(repository).await?.ok_or_else(unclear)?;
        if head.upload.as_ref() != Some(&self.facts.upload) {
            return compare_config(store, self.permit, body).await;
        }
        if let Err(error) = store.mark(&store.layout.initialised(repository)).await {
            tracing::warn!(%error, %repository, "config alone says that the repository was initialised");
        }
        Ok(Created::Stored)
    }

    fn bucket(&self) -> &str {
        self.store.bucket(&self.permit.action().handle)
    }

    /// The probe may have raced and not seen two win. Of a file that is no harm, as both have sent its name's content; of
    /// `config` it would be, so that a server that is the only one does not rely on the store.
    async fn alone(&self) -> Option<OwnedMutexGuard<()>> {
        let is_config = self.permit.action().handle == Handle::Config;
        let decides = is_config && self.store.settings.instances == Instances::One;
        if self.store.findings.lets_one_win() && !decides {
            return None;
        }
        Some(self.store.names.lock(&self.key).await)
    }
}

/// What is to be sent, as far as it is there.
pub(super) enum Content<'a, 'b> {
    /// All of it, verified.
    Whole(Bytes),
    /// The beginning of a longer file that says how long it is.
    Arriving { len: u64, first: Bytes, body: &'a mut VerifiedBody<'b> },
}

impl<'a, 'b> Content<'a, 'b> {
    /// What fits into one chunk, or does not say how long it is, is read first: an early end or a wrong hash then costs
    /// the store nothing.
    pub(super) async fn of(
        declared: Option<u64>,
        body: &'a mut VerifiedBody<'b>,
    ) -> Result<Self, CreateError> {
        let Some(first) = body.next().await? else { return Ok(Self::Whole(Bytes::new())) };
        if let Some(len) = declared.filter(|len| *len > CHUNK_BYTES as u64) {
            return Ok(Self::Arriving { len, first, body });
        }
        let mut content = BytesMut::from(&first[..]);
        while let Some(chunk) = body.next().await? {
            if content.len() + chunk.len() > UNDECLARED_BYTES_MAX {
                return Err(BodyError::LengthRequired(UNDECLARED_BYTES_MAX as u64).into());
            }
            content.extend_from_slice(&chunk);
        }
        Ok(Self::Whole(content.freeze()))
    }

    /// Reads what has not arrived yet, and keeps none of it.
    pub(super) async fn verify(self) -> Result<(), BodyError> {
        match self {
            Self::Whole(_) => Ok(()),
            Self::Arriving { body, .. } => body.verify().await,
        }
    }

    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Whole(content) => content.len() as u64,
            Self::Arriving { len, .. } => *len,
        }
    }
}

/// Whether the stored copy hashes to its name, by the store's own record or, if it keeps none, by reading it.
pub(super) async fn is_good(
    store: &S3Store,
    bucket: &str,
    key: &str,
    head: &Head,
    id: FileId,
) -> Result<bool, StoreError> {
    if let Some(recorded) = &head.checksum {
        return Ok(*recorded == checksum(id.sha256()));
    }
    let turn = tokio::time::timeout(HASHING_WAIT_MAX, store.hashing.acquire()).await;
    let turn =
        turn.map_err(|_| StoreError::Unavailable("too much is being read to be compared".to_owned()))?;
    let _turn = turn.map_err(|error| StoreError::Unavailable(error.to_string()))?;
    let mut hash = Sha256::new();
    let mut chunks = pin!(store.read_whole(bucket, key).await?);
    while let Some(chunk) = chunks.next().await {
        hash.update(&chunk?);
    }
    Ok(FileId::from_sha256(hash.finalize().into()) == id)
}

async fn compare_config(
    store: &S3Store,
    permit: &Permitted<Create>,
    body: &ConfigBody,
) -> Result<Created, CreateError> {
    let repository = &permit.action().repository;
    let version = store.true_config(repository).await?.ok_or_else(vanished)?;
    let key = store.layout.file(repository, &Handle::Config);
    let bytes_max = Caps::IN_MEMORY_BYTES_MAX + 1;
    let stored = store.read_small(&store.settings.bucket, &key, version, bytes_max).await?;
    if stored == body.content().as_ref() { Ok(Created::AlreadyThere) } else { Err(CreateError::Differs) }
}

/// The name was taken a moment ago. That it is free now is not "not found".
fn vanished() -> StoreError {
    StoreError::Unavailable("the name was taken a moment ago, and is free now".to_owned())
}

fn unclear() -> CreateError {
    StoreError::Unavailable("it is not known whether the store has the file; send it again".to_owned()).into()
}
