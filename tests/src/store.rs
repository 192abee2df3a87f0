//! The stored files as they lie on disk: compared, planted, aged.
//!
//! Invariant: two equal values mean that every file has the same bytes, mode and facts.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on should stop"
)]

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{XattrFlags, lgetxattr, llistxattr, lsetxattr};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::bucket::{self, Snapshot};

/// All that Pawl recorded of most files: `1 RECEIVED CREATOR`.
const FACTS: &str = "user.pawl";
const USAGE: [&str; 2] = ["user.pawl.usage", "user.pawl.maintained"];
/// The audit logs grow with every request, refused ones included; usage is counted beside what is stored; the address
/// is written at each start, and so is who holds a lock.
const NOT_STORED: [&str; 6] = [
    ".pawl/audit",
    ".pawl/maintenance/audit",
    ".pawl/maintenance.lock",
    ".pawl/usage",
    ".pawl/usage.lock",
    ".pawl/url",
];
/// In a bucket, what the server stores at each start to try it out.
const TRIED_OUT: &str = ".pawl-probe/";

/// One file or directory.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    mode: u32,
    /// How much it adds to what is stored.
    bytes: u64,
    /// SHA-256 of a file's bytes, a link's target, nothing for a directory.
    content: Vec<u8>,
    facts: BTreeMap<String, Vec<u8>>,
}

impl Entry {
    fn of_version(version: &bucket::Version) -> Self {
        let facts = version.metadata.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes()));
        let content = version.content.as_deref();
        Self {
            mode: 0,
            bytes: content.map_or(0, |content| content.len() as u64),
            content: content.map_or_else(|| b"marker".to_vec(), |content| Sha256::digest(content).to_vec()),
            facts: facts.collect(),
        }
    }

    /// A file as it was; a directory may have learnt more about itself.
    fn is_kept_in(&self, now: &Self) -> bool {
        if !self.content.is_empty() {
            return self == now;
        }
        let known = |(name, value)| now.facts.get::<String>(name) == Some(value);
        now.content.is_empty() && self.mode == now.mode && self.facts.iter().all(known)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mode {:o}, content {}", self.mode, hex::encode(&self.content))?;
        for (name, value) in &self.facts {
            write!(f, ", {name} {}", String::from_utf8_lossy(value))?;
        }
        Ok(())
    }
}

/// Everything below a data directory at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    entries: BTreeMap<PathBuf, Entry>,
}

impl Stored {
    /// Reads it.
    #[must_use]
    pub fn read(data: &Path) -> Self {
        let mut entries = BTreeMap::new();
        let mut directories = vec![data.to_owned()];
        while let Some(directory) = directories.pop() {
            let listing = fs::read_dir(&directory)
                .unwrap_or_else(|error| panic!("{} cannot be read: {error}", directory.display()));
            for item in listing {
                let path = item.expect("a directory entry").path();
                let name = path.strip_prefix(data).expect("below the data directory").to_owned();
                if NOT_STORED.iter().any(|except| name.starts_with(except)) {
                    continue;
                }
                let metadata = fs::symlink_metadata(&path).expect("an entry that was just listed");
                let content = if metadata.is_dir() {
                    directories.push(path.clone());
                    if is_fan_out(&name) {
                        continue;
                    }
                    Vec::new()
                } else if metadata.is_file() {
                    Sha256::digest(fs::read(&path).expect("a file that was just listed")).to_vec()
                } else {
                    fs::read_link(&path)
                        .map(|target| target.into_os_string().into_encoded_bytes())
                        .unwrap_or_default()
                };
                let mut facts = read_facts(&path).expect("attributes");
                facts.retain(|name, _| !USAGE.contains(&name.as_str())); // what a repository holds changes with every addition
                let bytes = if metadata.is_file() { metadata.len() } else { 0 };
                entries.insert(name, Entry { mode: metadata.mode(), bytes, content, facts });
            }
        }
        Self { entries }
    }

    /// With all that lies in a bucket beneath `prefix`, every version and marker by itself. Of locks, which come and go,
    /// only those that are shown.
    #[must_use]
    pub fn and_bucket(mut self, snapshot: &Snapshot, prefix: &str) -> Self {
        for key in snapshot.keys() {
            let Some(name) = key.strip_prefix(prefix).and_then(|name| name.strip_prefix('/')) else {
                continue;
            };
            if name.starts_with(TRIED_OUT) {
                continue;
            }
            if let Some(version) = snapshot.shown(key).filter(|version| version.content.is_some()) {
                self.entries.insert(PathBuf::from(name), Entry::of_version(version));
            }
            for version in snapshot.versions(key).iter().filter(|_| !name.contains("/locks/")) {
                let name = PathBuf::from(format!("versions of/{name}/{}", version.id));
                self.entries.insert(name, Entry { bytes: 0, ..Entry::of_version(version) });
            }
        }
        self
    }

    /// What all files hold together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.entries.values().map(|entry| entry.bytes).sum()
    }

    /// How many files lie in this directory.
    #[must_use]
    pub fn count_in(&self, directory: &str) -> usize {
        let is_file = |name: &&PathBuf| name.parent() == Some(Path::new(directory));
        self.entries.keys().filter(is_file).count()
    }

    /// What differs, a line each: `+` new, `-` gone, `~` changed.
    #[must_use]
    pub fn differences(&self, later: &Self) -> Vec<String> {
        let mut differences = self.compare(later, PartialEq::eq);
        let new = later.entries.keys().filter(|name| !self.entries.contains_key(*name));
        differences.extend(new.map(|name| format!("+ {}", name.display())));
        differences
    }

    /// What is gone or changed, a line each. Files that were added do not count.
    #[must_use]
    pub fn losses(&self, later: &Self) -> Vec<String> {
        self.compare(later, Entry::is_kept_in)
    }

    fn compare(&self, later: &Self, same: impl Fn(&Entry, &Entry) -> bool) -> Vec<String> {
        let lost = |(name, entry)| match later.entries.get::<PathBuf>(name) {
            None => Some(format!("- {}", name.display())),
            Some(now) if !same(entry, now) => Some(format!("~ {}: {entry} became {now}", name.display())),
            Some(_) => None,
        };
        self.entries.iter().filter_map(lost).collect()
    }

    /// Nothing at all may have changed.
    ///
    /// # Panics
    ///
    /// When something has.
    pub fn assert_unchanged(&self, later: &Self) {
        let differences = self.differences(later);
        assert!(differences.is_empty(), "what is stored has changed:\n{}", differences.join("\n"));
    }

    /// All that was there must still be there unchanged; more may have come.
    ///
    /// # Panics
    ///
    /// When something is gone or changed.
    pub fn assert_kept(&self, later: &Self) {
        let losses = self.losses(later);
        assert!(losses.is_empty(), "something stored is gone or changed:\n{}", losses.join("\n"));
    }

    /// Names of all files and directories, relative to the data directory.
    pub fn names(&self) -> impl Iterator<Item = &Path> {
        self.entries.keys().map(PathBuf::as_path)
    }
}

/// `web1/data/ab`: made when first needed, or all 256 at once. Neither matters.
fn is_fan_out(name: &Path) -> bool {
    let mut parts = name.iter().rev();
    parts.next().is_some_and(|last| last.len() == 2) && parts.next().is_some_and(|parent| parent == "data")
}

/// Where a file lies below the data directory: `web1/data/ID` becomes `web1/data/ab/ID`, except in Pawl's own
/// `.pawl/`.
#[must_use]
pub fn path_of(data: &Path, name: &str) -> PathBuf {
    match name.rsplit_once("/data/") {
        Some((repository, id)) if id.len() == 64 && !name.starts_with(".pawl/") => {
            data.join(repository).join("data").join(id.get(..2).unwrap_or_default()).join(id)
        }
        Some(_) | None => data.join(name),
    }
}

/// Writes a file, or other bytes into one that is there: its mode and facts stay.
#[expect(clippy::disallowed_methods, reason = "the test stands in for an admin or a broken disk here")]
pub fn plant(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().expect("a file lies in a directory")).expect("a directory to plant in");
    if path.exists() {
        while_writable(path, || {
            let mut file = OpenOptions::new().write(true).truncate(true).open(path)?;
            file.write_all(content)
        });
    } else {
        fs::write(path, content).unwrap_or_else(|error| panic!("{} not planted: {error}", path.display()));
    }
}

/// Writes a secret, which only its owner may read.
pub fn plant_secret(path: &Path, content: &[u8]) {
    plant(path, content);
    let private = fs::set_permissions(path, Permissions::from_mode(0o600));
    private.unwrap_or_else(|error| panic!("{} not made private: {error}", path.display()));
}

/// Writes a program that can be started at once. By a process of its own: what another thread starts at this moment would
/// inherit the descriptor of a file that is being written, and no such file can be started.
pub fn plant_program(path: &Path, content: &str) {
    let mut writer = Command::new("sh");
    writer.args(["-c", "cat > \"$0\" && chmod 755 \"$0\""]).arg(path).stdin(Stdio::piped());
    let mut writer = writer.spawn().expect("sh starts");
    let mut input = writer.stdin.take().expect("it is piped");
    input.write_all(content.as_bytes()).expect("sh reads");
    drop(input);
    assert!(writer.wait().expect("sh ends").success(), "{} not planted", path.display());
}

/// Removes a file or an empty directory, as an admin could.
#[expect(clippy::disallowed_methods, reason = "the test stands in for an admin here")]
pub fn remove(path: &Path) {
    let removed = if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
    removed.unwrap_or_else(|error| panic!("{} not removed: {error}", path.display()));
}

/// What Pawl recorded of a file under this name, as text.
#[must_use]
pub fn fact(path: &Path, name: &str) -> Option<String> {
    let facts = read_facts(path).expect("attributes");
    let text = |name: &str| facts.get(name).map(|value| String::from_utf8_lossy(value).into_owned());
    match (field(name), text(FACTS)) {
        (Some(field), Some(all)) => all.split(' ').nth(field).map(str::to_owned),
        _ => text(&format!("{FACTS}.{name}")),
    }
}

/// The number of a fact's word in [`FACTS`], if it is one of them.
fn field(name: &str) -> Option<usize> {
    ["format", "received", "creator"].iter().position(|of| *of == name)
}

/// Records something else of a file.
pub fn set_fact(path: &Path, name: &str, value: &str) {
    let all = read_facts(path).expect("attributes").remove(FACTS);
    let (name, value) = match (field(name), all) {
        (Some(field), Some(all)) => {
            let all = String::from_utf8_lossy(&all).into_owned();
            let mut words: Vec<&str> = all.split(' ').collect();
            if let Some(word) = words.get_mut(field) {
                *word = value;
            }
            (FACTS.to_owned(), words.join(" "))
        }
        _ => (format!("{FACTS}.{name}"), value.to_owned()),
    };
    while_writable(path, || {
        lsetxattr(path, name, value.as_bytes(), XattrFlags::empty())?;
        Ok(())
    });
}

/// Makes Pawl believe that it received the file this long ago.
pub fn back_date(path: &Path, age: Duration) {
    let received = SystemTime::now() - age;
    let millis = received.duration_since(UNIX_EPOCH).expect("a time after 1970").as_millis();
    set_fact(path, "received", &millis.to_string());
}

/// Stored files are read-only, for root as well where the test does not run as root.
fn while_writable(path: &Path, change: impl FnOnce() -> io::Result<()>) {
    let mode = fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions();
    let writable = Permissions::from_mode(mode.mode() | 0o200);
    fs::set_permissions(path, writable)
        .and_then(|()| change())
        .and_then(|()| fs::set_permissions(path, mode))
        .unwrap_or_else(|error| panic!("{} not changed: {error}", path.display()));
}

fn read_facts(path: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut names = vec![0; 4096];
    let length = match llistxattr(path, &mut names) {
        Err(Errno::NOTSUP) => 0,
        other => other?,
    };
    names.truncate(length);
    let mut facts = BTreeMap::new();
    for name in names.split(|&byte| byte == 0) {
        let name = String::from_utf8_lossy(name).into_owned();
        if name.starts_with(FACTS) {
            let mut value = vec![0; 4096];
            let length = lgetxattr(path, &name, &mut value)?;
            value.truncate(length);
            facts.insert(name, value);
        }
    }
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Stored, path_of, plant, remove, set_fact};

    /// What is told after `change`, by [`Stored::differences`] and by [`Stored::losses`].
    fn told_after(change: impl FnOnce(&Path)) -> (Vec<String>, Vec<String>) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        plant(&dir.path().join("web1/index/a"), b"content");
        let before = Stored::read(dir.path());
        change(dir.path());
        let after = Stored::read(dir.path());
        (before.differences(&after), before.losses(&after))
    }

    #[test]
    fn every_change_is_told() {
        let first = |change: fn(&Path)| {
            let (differences, losses) = told_after(change);
            assert_eq!(differences, losses);
            differences.iter().map(|line| line.chars().take(14).collect()).collect::<Vec<String>>()
        };
        assert_eq!(first(|_| {}), Vec::<String>::new());
        assert_eq!(first(|dir| plant(&dir.join("web1/index/a"), b"Content")), ["~ web1/index/a"]);
        assert_eq!(first(|dir| set_fact(&dir.join("web1/index/a"), "creator", "b")), ["~ web1/index/a"]);
        assert_eq!(first(|dir| remove(&dir.join("web1/index/a"))), ["- web1/index/a"]);
    }

    #[test]
    fn what_was_added_is_a_difference_but_no_loss() {
        let added = ["+ web1/index/b".to_owned()];
        assert_eq!(told_after(|dir| plant(&dir.join("web1/index/b"), b"")), (added.to_vec(), vec![]));
    }

    #[test]
    fn the_bookkeeping_of_every_request_is_no_difference() {
        let told = told_after(|dir| {
            plant(&dir.join(".pawl/audit/today"), b"a line");
            plant(&dir.join(".pawl/url"), b"http://127.0.0.1:1");
        });
        assert_eq!(told.0, ["+ .pawl"]);
    }

    #[test]
    fn files_in_data_lie_in_a_directory_of_their_first_two_digits() {
        let id = "ab".repeat(32);
        let path = path_of(Path::new("/srv"), &format!("site/web1/data/{id}"));
        assert_eq!(path, Path::new("/srv/site/web1/data/ab").join(&id));
        let path = path_of(Path::new("/srv"), &format!("site/web1/keys/{id}"));
        assert_eq!(path, Path::new("/srv/site/web1/keys").join(&id));
    }
}
