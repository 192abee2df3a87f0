//! What maintenance writes down in the bucket: small objects of Pawl's own beneath `.pawl/`.
//!
//! Invariant: a note never replaces another, and one that was taken back is hidden by a marker, as a file would be.

use bytes::Bytes;
use pawl_config::format::Version;
use pawl_policy::{Audience, BatchId, FileId, Handle};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::S3Maintenance;
use crate::s3::facts::Head;
use crate::s3::failure::{Failure, failure, store_error};
use crate::s3::put::{self, PutOutcome, Target};
use crate::{Facts, StoreError};

/// Longer notes are none of ours.
const NOTE_BYTES_MAX: u64 = 16 << 10;

/// The note about a file that a batch holds. What is in the version it names was there when it was hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) version: String,
    pub(super) bytes: u64,
    pub(super) facts: Facts,
    /// Of a `config`: the SHA-256 that was recorded.
    pub(super) recorded: Option<FileId>,
    pub(super) hidden_ms: u64,
}

/// The same as it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(default)]
    format: Version<1>,
    /// The version of the object that the batch holds.
    version: String,
    etag: Option<String>,
    bytes: u64,
    hidden_ms: u64,
    creator: Option<String>,
    received_ms: u64,
    audience: String,
    sha256: Option<String>,
}

impl Entry {
    fn parse(text: &[u8]) -> Result<Self, String> {
        let written: Written = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        Ok(Self {
            version: written.version,
            bytes: written.bytes,
            facts: Facts {
                creator: written.creator.and_then(|name| name.parse().ok()),
                received_ms: written.received_ms,
                audience: if written.audience == "all" { Audience::All } else { Audience::Maintenance },
            },
            recorded: written.sha256.and_then(|hash| hash.parse().ok()),
            hidden_ms: written.hidden_ms,
        })
    }
}

/// What became of the note about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noted {
    /// It says that the batch holds this version.
    This,
    /// The batch holds another version of the name.
    Another,
}

impl S3Maintenance {
    /// Writes a note down, unless there is another of its name. Says whether it stands there.
    pub(super) async fn write_down(&self, key: &str, content: Vec<u8>) -> Result<bool, StoreError> {
        let knows_conditions = self.store.findings.knows_conditions();
        // Maintenance acts alone, so that between this look and the PUT nobody stores another.
        if !knows_conditions && let Some(found) = self.read_note(key).await? {
            return Ok(found == content);
        }
        let target = Target {
            bucket: self.store.settings.bucket.clone(),
            key: key.to_owned(),
            sha256: Sha256::digest(&content).into(),
            metadata: std::collections::HashMap::new(),
            is_data: false,
            unless_taken: knows_conditions,
        };
        let (clients, settings) = (&self.store.clients, &self.store.settings);
        let put = put::whole(&clients.quick, settings, target, Bytes::from(content.clone())).await;
        self.note_write(key);
        match put? {
            PutOutcome::Stored(_) => Ok(true),
            // The reply to an attempt before may have been lost: then it is this very note that is in the way.
            PutOutcome::Taken | PutOutcome::Unclear(_) => match self.read_note(key).await? {
                Some(found) => Ok(found == content),
                None => Err(StoreError::Unavailable("it is not known whether a note was stored".to_owned())),
            },
        }
    }

    /// A note; `None` if there is none.
    pub(super) async fn read_note(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match self.store.read_small(&self.store.settings.bucket, key, None, NOTE_BYTES_MAX).await {
            Ok(text) => Ok(Some(text)),
            Err(StoreError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes a note back; done as well if there is none.
    pub(super) async fn take_note_back(&self, key: &str) -> Result<(), StoreError> {
        let bucket = &self.store.settings.bucket;
        if self.store.head(bucket, key).await?.is_none() {
            return Ok(()); // another marker would say nothing new
        }
        let deleted = self.store.clients.quick.delete_object().bucket(bucket).key(key).send().await;
        self.note_write(key);
        match deleted {
            Ok(_) => Ok(()),
            Err(error) if failure(&error) == Failure::Absent => Ok(()),
            Err(error) => Err(store_error(&format!("cannot take back {key}"), &error)),
        }
    }

    /// Notes that a batch holds this version of a file.
    pub(super) async fn note_entry(
        &self,
        batch: &BatchId,
        handle: &Handle,
        head: &Head,
        hidden_ms: u64,
    ) -> Result<Noted, StoreError> {
        let version = head.version.clone().filter(|version| version != "null");
        let version = version.ok_or_else(|| {
            let cause =
                format!("{handle} has no version of its own, so that it could not come back; it stays");
            StoreError::Unavailable(cause)
        })?;
        let written = Written {
            format: Version,
            version: version.clone(),
            etag: head.etag.clone(),
            bytes: head.size,
            hidden_ms,
            creator: head.facts.creator.as_ref().map(ToString::to_string),
            received_ms: head.facts.received_ms,
            audience: match head.facts.audience {
                Audience::All => "all".to_owned(),
                Audience::Maintenance => "maintenance".to_owned(),
            },
            sha256: head.content.map(|hash| hash.to_string()),
        };
        let text =
            serde_json::to_vec(&written).map_err(|error| StoreError::Unavailable(error.to_string()))?;
        if self.write_down(&self.store.layout.entry(batch, handle), text).await? {
            return Ok(Noted::This);
        }
        // One of before a crash says the same, and the marker may be missing.
        let same = self.entry(batch, handle).await?.is_some_and(|entry| entry.version == version);
        Ok(if same { Noted::This } else { Noted::Another })
    }

    /// The note about a file that a batch holds; `None` if it holds none.
    pub(super) async fn entry(&self, batch: &BatchId, handle: &Handle) -> Result<Option<Entry>, StoreError> {
        let key = self.store.layout.entry(batch, handle);
        if self.is_not_listed(batch, &key) {
            return Ok(None);
        }
        let text = self.read_note(&key).await?;
        text.map(|text| understand(batch, handle, &text)).transpose()
    }
}

/// What the note about a file says.
pub(super) fn understand(batch: &BatchId, handle: &Handle, text: &[u8]) -> Result<Entry, StoreError> {
    Entry::parse(text).map_err(|cause| {
        StoreError::Unavailable(format!("batch {batch}: the note about {handle} cannot be used: {cause}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_of_a_newer_version_is_refused() {
        let note = |format: &str| {
            let rest = r#""version":"v","etag":null,"bytes":1,"hidden_ms":1,"creator":null,"received_ms":1,"audience":"all","sha256":null"#;
            Entry::parse(format!("{{{format}{rest}}}").as_bytes())
        };
        for format in ["", r#""format":1,"#] {
            assert_eq!(note(format).unwrap().version, "v");
        }
        let refused = note(r#""format":2,"#).unwrap_err();
        assert!(refused.contains("version 2 of its format"), "{refused}");
    }
}
