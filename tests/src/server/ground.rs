//! What a server has stored: looked at, and changed behind its back.
//!
//! Invariant: a FILE is named as in the protocol, `web1/data/ID`, whether it lies in a directory or in a bucket.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on should stop"
)]

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_s3::primitives::ByteStream;

use super::Server;
use crate::bucket::{Bucket, Version};
use crate::store::{self, Stored, path_of};
use crate::wait;

/// What all names in a bucket begin with.
pub const PREFIX: &str = "backup/restic";

/// What begins the name of a fact in an object's metadata.
const FACTS: &str = "pawl-";

impl Server {
    /// Everything that is stored at this moment.
    #[must_use]
    pub fn stored(&self) -> Stored {
        let on_disk = Stored::read(&self.data);
        match &self.bucket {
            Some(bucket) => on_disk.and_bucket(&bucket.snapshot(), PREFIX),
            None => on_disk,
        }
    }

    /// The bytes of a file, if it is there.
    #[must_use]
    pub fn content(&self, file: &str) -> Option<Vec<u8>> {
        match &self.bucket {
            Some(bucket) => bucket.get(&key_of(file)).ok(),
            None => fs::read(self.path_of(file)).ok(),
        }
    }

    /// Whether there is a file of this name, or a directory with files in it.
    #[must_use]
    pub fn has(&self, file: &str) -> bool {
        match &self.bucket {
            Some(bucket) => {
                let key = key_of(file);
                let below = format!("{key}/");
                bucket.list(&key).unwrap().iter().any(|found| *found == key || found.starts_with(&below))
            }
            None => fs::symlink_metadata(self.path_of(file)).is_ok(),
        }
    }

    /// Whether this key was set aside: moved away in a directory, marked as such in a bucket.
    #[must_use]
    pub fn is_aside(&self, key: &str) -> bool {
        match key.split_once("/keys/") {
            Some((repository, id)) if self.bucket.is_some() => {
                self.has(key) && self.has(&format!("{repository}/.aside/{id}/0"))
            }
            _ => {
                let mut times = fs::read_dir(self.data.join(".pawl/aside")).unwrap().flatten();
                !self.has(key) && times.any(|time| time.path().join(key).is_file())
            }
        }
    }

    /// Writes a file, or other bytes into one that is there: its facts stay.
    pub fn plant(&self, file: &str, content: &[u8]) {
        match &self.bucket {
            Some(bucket) => {
                let facts = version_of(bucket, &key_of(file)).map(|version| version.metadata);
                put(bucket, &key_of(file), content, facts.unwrap_or_default());
            }
            None => store::plant(&self.path_of(file), content),
        }
    }

    /// Removes a file. A directory that is empty is no more than its files in a bucket, and needs no removing there.
    pub fn remove(&self, file: &str) {
        match &self.bucket {
            Some(bucket) => bucket.delete(&key_of(file)).unwrap(),
            None => store::remove(&self.path_of(file)),
        }
    }

    /// What Pawl recorded of a file under this name, as text.
    #[must_use]
    pub fn fact(&self, file: &str, name: &str) -> Option<String> {
        match &self.bucket {
            Some(bucket) => {
                let version = version_of(bucket, &key_of(file));
                let version = version.unwrap_or_else(|| panic!("{file} is not in the bucket"));
                version.metadata.get(&format!("{FACTS}{name}")).cloned()
            }
            None => store::fact(&self.path_of(file), name),
        }
    }

    /// Records something else of a file.
    pub fn set_fact(&self, file: &str, name: &str, value: &str) {
        let Some(bucket) = &self.bucket else {
            return store::set_fact(&self.path_of(file), name, value);
        };
        let key = key_of(file);
        let version = version_of(bucket, &key).unwrap_or_else(|| panic!("{file} is not in the bucket"));
        let mut facts = version.metadata;
        facts.insert(format!("{FACTS}{name}"), value.to_owned());
        let content = version.content.unwrap();
        let modified = || bucket.head(&key).unwrap().last_modified;
        let before = modified();
        // As an object's facts cannot change in place, the server knows those of an object by name and time. The time
        // has whole seconds.
        wait::until("the object is of another second", || {
            put(bucket, &key, &content, facts.clone());
            (modified() != before).then_some(())
        });
    }

    /// Makes Pawl believe that it received the file this long ago.
    pub fn back_date(&self, file: &str, age: Duration) {
        let received = SystemTime::now() - age;
        let millis = received.duration_since(UNIX_EPOCH).unwrap().as_millis();
        self.set_fact(file, "received", &millis.to_string());
    }

    /// A file's permissions; `None` in a bucket, where there are none.
    #[must_use]
    pub fn mode(&self, file: &str) -> Option<u32> {
        let metadata = || {
            let path = self.path_of(file);
            fs::metadata(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        self.bucket.is_none().then(|| metadata().permissions().mode() & 0o7777)
    }

    fn path_of(&self, file: &str) -> PathBuf {
        path_of(&self.data, file)
    }
}

/// Where a file lies in a bucket.
#[must_use]
pub fn key_of(file: &str) -> String {
    // Good bytes of a damaged file lie with their repository, since Pawl may not write to its own names.
    let name = match file.strip_prefix(".pawl/rescued/").map(|rest| rest.rsplitn(3, '/').collect::<Vec<_>>())
    {
        Some(parts) => match parts[..] {
            [id, file_type, repository] => format!("{repository}/.rescued/{file_type}/{id}"),
            _ => panic!("{file}: expected .pawl/rescued/REPOSITORY/TYPE/ID"),
        },
        None => path_of(Path::new(""), file).to_str().unwrap().to_owned(),
    };
    format!("{PREFIX}/{name}")
}

/// The version that is shown under a name, if one is.
fn version_of(bucket: &Bucket, key: &str) -> Option<Version> {
    let head = bucket.head(key).ok()?;
    let metadata = head.metadata.unwrap_or_default().into_iter().collect();
    Some(Version { id: head.version_id.unwrap_or_default(), content: bucket.get(key).ok(), metadata })
}

fn put(bucket: &Bucket, key: &str, content: &[u8], facts: BTreeMap<String, String>) {
    let facts: HashMap<String, String> = facts.into_iter().collect();
    let body = ByteStream::from(content.to_vec());
    bucket
        .ask(|client| {
            client.put_object().bucket(bucket.name()).key(key).body(body).set_metadata(Some(facts)).send()
        })
        .unwrap();
}
