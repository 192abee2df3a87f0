//! Bringing a version back into sight, and storing what comes from elsewhere.
//!
//! Invariant: what gets a name came out of a verified body in full, with its facts, by a PUT that does not replace; it is
//! read here and sent again, for a copy within the store would heed no condition.

use std::pin::pin;

use futures_util::{StreamExt, TryStreamExt};
use pawl_policy::{Caps, FileId, FileType, Handle, RepositoryName};
use sha2::{Digest, Sha256};

use super::S3Maintenance;
use crate::body::{BodyError, ConfigBody, Cut, Upload, VerifiedBody};
use crate::maintenance::{Batch, PutBackError};
use crate::s3::create::{Content, is_good};
use crate::s3::facts::{Head, NewFacts, new_mark};
use crate::s3::put::{self, PutOutcome, Target};
use crate::s3::read;
use crate::s3::usage::counts;
use crate::{CreateError, Created, Facts, Span, StoreError, StoredFile};

/// What was stored once comes back, whatever hosts may store today. As much as one PUT takes.
const PUT_BYTES_MAX: u64 = 5 << 30;
const CAPS: Caps = Caps {
    data_bytes_max: PUT_BYTES_MAX,
    index_bytes_max: PUT_BYTES_MAX,
    snapshots_bytes_max: PUT_BYTES_MAX,
    locks_bytes_max: PUT_BYTES_MAX,
    keys_bytes_max: Caps::IN_MEMORY_BYTES_MAX,
    config_bytes_max: Caps::IN_MEMORY_BYTES_MAX,
    of_hosts: false,
};

/// A copy that is to come back: where it lies, and what is known of it.
#[derive(Debug)]
pub(super) struct GoodCopy {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) version: Option<String>,
    pub(super) facts: Facts,
    pub(super) recorded: Option<FileId>,
}

impl GoodCopy {
    /// What a batch holds.
    pub(super) async fn hidden(
        this: &S3Maintenance,
        batch: &Batch,
        handle: &Handle,
    ) -> Result<Self, PutBackError> {
        let entry = this.entry(&batch.id, handle).await?.ok_or(StoreError::NotFound)?;
        Ok(Self {
            bucket: this.store.bucket(handle).to_owned(),
            key: this.store.layout.file(&batch.repository, handle),
            version: Some(entry.version),
            facts: entry.facts,
            recorded: entry.recorded,
        })
    }
}

/// Whether older versions of such a file have to be explained.
const fn may_come_back(handle: &Handle) -> bool {
    !matches!(handle, Handle::Config | Handle::File(FileType::Locks, _))
}

impl S3Maintenance {
    /// Makes a copy the one that is shown, and says how large it is. Its tombstone goes.
    pub(super) async fn bring(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        goods: &GoodCopy,
    ) -> Result<(Created, u64), PutBackError> {
        let GoodCopy { bucket, key, version, facts, recorded } = goods;
        let file = read::open_version(&self.store, bucket, key, version.clone()).await?;
        let bytes = file.size();
        let chunks = file.read(Span { start: 0, len: bytes });
        let source = chunks.map_err(|error| Cut::Broken(error.to_string()));
        let mut upload = Upload::new(Box::pin(source), Some(bytes));
        match self.place(repository, handle, facts, *recorded, &mut upload, &CAPS).await {
            Ok(created) => Ok((created, bytes)),
            Err(CreateError::Store(error)) => Err(error.into()),
            Err(CreateError::Body(BodyError::Cut(cut))) => {
                Err(StoreError::Unavailable(format!("cannot read the copy: {cut}")).into())
            }
            Err(CreateError::Body(_)) => Err(PutBackError::Damaged),
            Err(CreateError::Differs | CreateError::Damaged) => Err(PutBackError::Occupied),
        }
    }

    /// Stores a file with these facts, unless its name is taken; then compares. Its tombstone goes.
    pub(super) async fn place(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        facts: &Facts,
        recorded: Option<FileId>,
        upload: &mut Upload,
        caps: &Caps,
    ) -> Result<Created, CreateError> {
        let created = match *handle {
            Handle::Config => {
                let body = ConfigBody::read(upload, caps).await?;
                let id = FileId::from_sha256(Sha256::digest(body.content()).into());
                if recorded.is_some_and(|recorded| recorded != id) {
                    return Err(BodyError::Mismatch.into());
                }
                let content = Content::Whole(body.content().clone());
                let created = self.put(repository, handle, facts, id, content).await?;
                self.settle_config(repository, id).await?;
                created
            }
            Handle::File(file_type, id) => {
                let declared = upload.declared_bytes();
                let mut body = VerifiedBody::new(upload, file_type, id, caps)?;
                let content = Content::of(declared, &mut body).await?;
                let (bucket, key) = (self.store.bucket(handle), self.store.layout.file(repository, handle));
                // Whether the name is taken, the PUT finds out: it is asked before only if much would be sent in vain.
                let there = match &content {
                    Content::Arriving { .. } => self.store.head(bucket, &key).await?,
                    Content::Whole(_) => None,
                };
                match there {
                    Some(there) => {
                        content.verify().await?;
                        self.compare(repository, handle, &there, id).await?
                    }
                    None => self.put(repository, handle, facts, id, content).await?,
                }
            }
        };
        if *handle == Handle::Config {
            // Without these marks a repository whose files were all hidden would not be found.
            self.store.mark(&self.store.layout.repository(repository)).await?;
            self.store.mark(&self.store.layout.initialised(repository)).await?;
        }
        if handle.leaves_a_tombstone() {
            self.take_note_back(&self.store.layout.tombstone(repository, handle)).await?;
        }
        Ok(created)
    }

    async fn put(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        facts: &Facts,
        id: FileId,
        content: Content<'_, '_>,
    ) -> Result<Created, CreateError> {
        let (store, bytes) = (&self.store, content.len());
        let facts = NewFacts {
            creator: facts.creator.clone(),
            received_ms: facts.received_ms,
            audience: facts.audience,
            content: (*handle == Handle::Config).then(|| id.to_string()),
            upload: new_mark()?,
        };
        let target = Target {
            bucket: store.bucket(handle).to_owned(),
            key: store.layout.file(repository, handle),
            sha256: *id.sha256(),
            metadata: facts.metadata(),
            is_data: handle.file_type() == Some(FileType::Data),
            unless_taken: store.findings.knows_conditions(),
        };
        if !store.findings.refuses_taken_names()
            && let Some(there) = self.shown(repository, handle).await?
        {
            return self.compare(repository, handle, &there, id).await;
        }
        // Counted first, so that usage is never less than what is visible.
        if counts(handle) {
            store.add(repository, facts.creator.as_ref(), bytes).await?;
        }
        store.facts.forget(&target.key);
        let key = target.key.clone();
        let ended = match content {
            Content::Whole(content) => {
                put::whole(&store.clients.quick, &store.settings, target, content).await.map_err(Into::into)
            }
            Content::Arriving { len, first, body } => {
                put::stream(&store.clients, &store.settings, target, len, first, body).await
            }
        };
        let created = match ended {
            Ok(PutOutcome::Stored(version)) => {
                if let (Some(version), true) = (version, may_come_back(handle)) {
                    self.pending.place(key, version);
                }
                Ok(Created::Stored)
            }
            Ok(PutOutcome::Taken | PutOutcome::Unclear(_)) => match self.shown(repository, handle).await? {
                Some(there) if there.upload.as_ref() == Some(&facts.upload) => Ok(Created::Stored),
                Some(there) => self.compare(repository, handle, &there, id).await,
                None => {
                    Err(StoreError::Unavailable("it is not known whether it was stored".to_owned()).into())
                }
            },
            Err(error) => Err(error),
        };
        if counts(handle) && !matches!(created, Ok(Created::Stored)) {
            store.take_back(repository, facts.creator.as_ref(), bytes).await;
        }
        created
    }

    /// What stands there may be the same file.
    async fn compare(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        there: &Head,
        id: FileId,
    ) -> Result<Created, CreateError> {
        let key = self.store.layout.file(repository, handle);
        match is_good(&self.store, self.store.bucket(handle), &key, there, id).await? {
            true => Ok(Created::AlreadyThere),
            false if *handle == Handle::Config => Err(CreateError::Differs),
            false => Err(CreateError::Damaged),
        }
    }

    /// Whether what is shown is what the name says. That the store recorded another hash suffices to say no; to say
    /// yes, it is read.
    pub(super) async fn is_right(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
        shown: &Head,
    ) -> Result<bool, StoreError> {
        let key = self.store.layout.file(repository, handle);
        let expected = match handle {
            Handle::File(_, id) => Some(*id),
            Handle::Config => self.config_hash(repository).await?,
        };
        let Some(expected) = expected else { return Ok(false) };
        if shown.checksum.as_ref().is_some_and(|recorded| *recorded != put::checksum(expected.sha256())) {
            return Ok(false);
        }
        let found = self.hash(self.store.bucket(handle), &key, shown.version.clone()).await?;
        Ok(found == expected)
    }

    pub(super) async fn hash(
        &self,
        bucket: &str,
        key: &str,
        version: Option<String>,
    ) -> Result<FileId, StoreError> {
        let file = read::open_version(&self.store, bucket, key, version).await?;
        let span = Span { start: 0, len: file.size() };
        let mut chunks = pin!(file.read(span));
        let mut hash = Sha256::new();
        while let Some(chunk) = chunks.next().await {
            hash.update(&chunk?);
        }
        Ok(FileId::from_sha256(hash.finalize().into()))
    }

    /// What lies under a name for everybody to see.
    pub(super) async fn shown(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
    ) -> Result<Option<Head>, StoreError> {
        let key = self.store.layout.file(repository, handle);
        self.store.head_for_certain(self.store.bucket(handle), &key).await
    }
}
