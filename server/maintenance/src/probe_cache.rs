//! What was found out about a bucket when it was tried out, so that not every command tries it out anew.
//!
//! Invariant: it is believed for a day, of the same bucket, reached in the same way; whatever is doubtful is tried anew.

use std::path::{Path, PathBuf};

use pawl_config::files::{self, FileError};
use pawl_config::s3::S3Settings;
use pawl_policy::DAY_MS;
use pawl_store::now_ms;
use pawl_store::s3::Findings;
use serde::{Deserialize, Serialize};

use super::state_file;
use super::state_file::directory;

/// A bucket seldom changes, and trying it out leaves a dozen small objects.
const BELIEVED_MS: u64 = DAY_MS;

#[derive(Serialize, Deserialize)]
struct Tried {
    /// Which bucket, how it was reached, and what was accepted of it.
    settings: String,
    at_ms: u64,
    findings: Findings,
}

fn path(data: &Path) -> PathBuf {
    directory(data).join("tried.json")
}

/// What was noted; an error if a newer version noted it, which then stays.
fn load(data: &Path) -> Result<Option<Tried>, FileError> {
    state_file::load(&path(data)).inspect_err(|error| tracing::warn!(%error, "the bucket is tried out anew"))
}

/// What was found out, if it can still be believed.
pub(super) fn recall(data: &Path, settings: &S3Settings) -> Option<Findings> {
    let tried: Tried = load(data).ok()??;
    let is_recent = (tried.at_ms..tried.at_ms.saturating_add(BELIEVED_MS)).contains(&now_ms());
    (is_recent && tried.settings == format!("{settings:?}")).then_some(tried.findings)
}

/// Notes what was found out just now.
pub(super) fn note(data: &Path, settings: &S3Settings, findings: &Findings) {
    let tried = Tried { settings: format!("{settings:?}"), at_ms: now_ms(), findings: findings.clone() };
    let noted = load(data).and_then(|_| state_file::save(&path(data), &tried));
    if let Err(error) = noted {
        // Whoever only reads may be on a disk that is read-only.
        tracing::debug!(%error, "the next command tries the bucket out once more");
    }
}

/// Has the bucket tried out anew.
pub(super) fn forget(data: &Path) -> Result<(), FileError> {
    match load(data) {
        Ok(_) => files::remove(&path(data)),
        Err(_) => Ok(()), // nothing that is in it is believed
    }
}

#[cfg(test)]
mod tests {
    use pawl_config::Config;

    use super::*;

    fn settings(bucket: &str) -> S3Settings {
        let text = format!("data = '/srv/pawl'\n[s3]\nbucket = '{bucket}'");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file.as_file(), text.as_bytes()).unwrap();
        Config::read(file.path()).unwrap().s3.unwrap()
    }

    #[test]
    fn only_what_was_found_lately_in_the_same_bucket_is_believed() {
        let data = tempfile::tempdir().unwrap();
        let (mine, other) = (settings("backup"), settings("backup2"));
        std::fs::create_dir_all(directory(data.path())).unwrap();
        assert!(recall(data.path(), &mine).is_none());
        let findings: Findings = serde_json::from_value(serde_json::json!({
            "all": [{"sort": "good", "text": "the bucket keeps versions"}, {"sort": {"weak": "unchecked-content"}, "text": "x"}],
            "keeps_versions": true, "taken_names": "one_wins", "old_versions": {"end_after": 30}
        }))
        .unwrap();
        note(data.path(), &mine, &findings);
        let recalled = recall(data.path(), &mine).unwrap();
        assert_eq!((recalled.all(), recalled.noncurrent_days()), (findings.all(), Some(30)));
        assert!(recall(data.path(), &other).is_none());

        let text = files::read(&path(data.path())).unwrap().unwrap();
        let mut tried: Tried = serde_json::from_str(&text).unwrap();
        for at_ms in [now_ms() - BELIEVED_MS, now_ms() + 60_000] {
            tried.at_ms = at_ms;
            files::replace(&path(data.path()), &serde_json::to_string(&tried).unwrap(), 0o600).unwrap();
            assert!(recall(data.path(), &mine).is_none(), "{at_ms}");
        }
        note(data.path(), &mine, &findings);
        assert!(recall(data.path(), &mine).is_some());
        forget(data.path()).unwrap();
        assert!(recall(data.path(), &mine).is_none());

        // What a newer version noted stays.
        files::replace(&path(data.path()), r#"{"version":2}"#, 0o600).unwrap();
        assert!(recall(data.path(), &mine).is_none());
        note(data.path(), &mine, &findings);
        forget(data.path()).unwrap();
        assert_eq!(files::read(&path(data.path())).unwrap().as_deref(), Some(r#"{"version":2}"#));
    }
}
