//! What Pawl itself knows of a file, kept with it as the object's metadata.
//!
//! Invariant: facts come with the object in one call, and a missing or unreadable fact never makes a file look younger
//! or more widely visible than it is: the version's own time stands in for `received`, also where that is said to be later.

use std::collections::HashMap;

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::DateTime;
use pawl_policy::{Audience, FileId, PrincipalName};
use serde::{Deserialize, Serialize};

use crate::{AHEAD_MAX_MS, Facts, StoreError};

const CREATOR: &str = "pawl-creator";
const RECEIVED: &str = "pawl-received";
const AUDIENCE: &str = "pawl-audience";
/// The SHA-256 of a `config`, in hexadecimal: it has no name to match.
const CONTENT: &str = "pawl-sha256";
/// Tells this upload from all others, so that a lost reply can be told from somebody else's upload.
const UPLOAD: &str = "pawl-upload";

/// The facts of a new file, and the mark of its upload.
#[derive(Debug, Clone)]
pub(super) struct NewFacts {
    /// `None` if that was never recorded.
    pub(super) creator: Option<PrincipalName>,
    pub(super) received_ms: u64,
    pub(super) audience: Audience,
    /// Of a `config`: its hash.
    pub(super) content: Option<String>,
    pub(super) upload: String,
}

impl NewFacts {
    pub(super) fn metadata(&self) -> HashMap<String, String> {
        let mut metadata = HashMap::from([
            (RECEIVED.to_owned(), self.received_ms.to_string()),
            (UPLOAD.to_owned(), self.upload.clone()),
        ]);
        if let Some(creator) = &self.creator {
            metadata.insert(CREATOR.to_owned(), creator.to_string());
        }
        if self.audience == Audience::Maintenance {
            metadata.insert(AUDIENCE.to_owned(), "maintenance".to_owned());
        }
        if let Some(content) = &self.content {
            metadata.insert(CONTENT.to_owned(), content.clone());
        }
        metadata
    }
}

/// What a HEAD tells of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) size: u64,
    pub(super) facts: Facts,
    /// Whether the time at which it was received was recorded, and not merely derived.
    pub(super) is_recorded: bool,
    /// Its SHA-256 in base64 as the store recorded it, of the whole content.
    pub(super) checksum: Option<String>,
    /// The mark of the upload that stored it.
    pub(super) upload: Option<String>,
    /// Of a `config`: the SHA-256 that was recorded when it was stored.
    pub(super) content: Option<FileId>,
    /// Which version it is, if the bucket keeps versions.
    pub(super) version: Option<String>,
    /// What the store calls its content.
    pub(super) etag: Option<String>,
}

impl Head {
    pub(super) fn new(output: &HeadObjectOutput) -> Self {
        let metadata = output.metadata();
        let get = |name: &str| metadata.and_then(|metadata| metadata.get(name));
        // A checksum of checksums says nothing about a name.
        let whole = |checksum: &&str| !checksum.contains('-');
        Self {
            size: size(output.content_length()),
            facts: Facts {
                creator: get(CREATOR).and_then(|name| name.parse().ok()),
                received_ms: received_ms(get(RECEIVED), millis(output.last_modified())),
                audience: match get(AUDIENCE).map(String::as_str) {
                    None | Some("all") => Audience::All,
                    Some(_) => Audience::Maintenance, // an unknown word hides the file
                },
            },
            is_recorded: get(RECEIVED).is_some_and(|text| text.parse::<u64>().is_ok()),
            checksum: output.checksum_sha256().filter(whole).map(str::to_owned),
            upload: get(UPLOAD).cloned(),
            content: get(CONTENT).and_then(|text| text.parse().ok()),
            version: output.version_id().map(str::to_owned),
            etag: output.e_tag().map(str::to_owned),
        }
    }
}

/// A [`Head`] as a run leaves it for the next one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct WrittenHead {
    size: u64,
    creator: Option<String>,
    received_ms: u64,
    is_for_all: bool,
    is_recorded: bool,
    checksum: Option<String>,
    upload: Option<String>,
    content: Option<String>,
    version: Option<String>,
    etag: Option<String>,
}

impl From<&Head> for WrittenHead {
    fn from(head: &Head) -> Self {
        Self {
            size: head.size,
            creator: head.facts.creator.as_ref().map(ToString::to_string),
            received_ms: head.facts.received_ms,
            is_for_all: head.facts.audience == Audience::All,
            is_recorded: head.is_recorded,
            checksum: head.checksum.clone(),
            upload: head.upload.clone(),
            content: head.content.map(|hash| hash.to_string()),
            version: head.version.clone(),
            etag: head.etag.clone(),
        }
    }
}

impl From<WrittenHead> for Head {
    fn from(written: WrittenHead) -> Self {
        Self {
            size: written.size,
            facts: Facts {
                creator: written.creator.and_then(|name| name.parse().ok()),
                received_ms: written.received_ms,
                audience: if written.is_for_all { Audience::All } else { Audience::Maintenance },
            },
            is_recorded: written.is_recorded,
            checksum: written.checksum,
            upload: written.upload,
            content: written.content.and_then(|hash| hash.parse().ok()),
            version: written.version,
            etag: written.etag,
        }
    }
}

/// When a file was received. Nobody receives one after it is there: who says so has a wrong clock, or is a thief who would
/// have all that waits to be purged wait for ever.
fn received_ms(recorded: Option<&String>, modified_ms: u64) -> u64 {
    let recorded = recorded.and_then(|text| text.parse().ok());
    recorded.filter(|ms| *ms <= modified_ms.saturating_add(AHEAD_MAX_MS)).unwrap_or(modified_ms)
}

/// A length as the store says it.
pub(super) fn size(len: Option<i64>) -> u64 {
    len.and_then(|len| u64::try_from(len).ok()).unwrap_or_default()
}

/// A time of the store's in Unix milliseconds; the beginning of time if it tells none.
pub(super) fn millis(time: Option<&DateTime>) -> u64 {
    time.and_then(|time| time.to_millis().ok())
        .and_then(|millis| u64::try_from(millis).ok())
        .unwrap_or_default()
}

/// A mark that no other upload has.
pub(super) fn new_mark() -> Result<String, StoreError> {
    let mut mark = [0; 16];
    getrandom::fill(&mut mark).map_err(|error| StoreError::Unavailable(error.to_string()))?;
    Ok(hex::encode(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_the_same_after_it_was_written() {
        for audience in [Audience::All, Audience::Maintenance] {
            let head = Head {
                size: 7,
                facts: Facts { creator: Some("web1".parse().unwrap()), received_ms: 1, audience },
                is_recorded: true,
                checksum: Some("a".to_owned()),
                upload: Some("b".to_owned()),
                content: Some(FileId::from_sha256([7; 32])),
                version: Some("c".to_owned()),
                etag: Some("d".to_owned()),
            };
            let text = serde_json::to_string(&WrittenHead::from(&head)).unwrap();
            let read: WrittenHead = serde_json::from_str(&text).unwrap();
            assert_eq!(Head::from(read), head);
        }
    }

    #[test]
    fn a_file_was_not_received_after_it_was_there() {
        let modified_ms = 1_795_000_000_000;
        let received = |recorded: u64| received_ms(Some(&recorded.to_string()), modified_ms);
        for believed in [0, modified_ms - 1, modified_ms, modified_ms + AHEAD_MAX_MS] {
            assert_eq!(received(believed), believed);
        }
        for not_believed in [modified_ms + AHEAD_MAX_MS + 1, u64::MAX] {
            assert_eq!(received(not_believed), modified_ms);
        }
        let unreadable = "soon".to_owned();
        assert_eq!(
            [received_ms(None, modified_ms), received_ms(Some(&unreadable), modified_ms)],
            [modified_ms; 2]
        );
    }
}
