//! Damage is found and repaired: drills with bit rot, second stores that are good or hostile, and killings.
//!
//! Invariant: every test ends by looking at the bytes that are stored, whatever a command said.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

mod as_of;
mod hostile;
mod killed;
mod restore;
mod set_aside;
mod vanished;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pawl_tests::clients::{self, Restic, Version};
use pawl_tests::command::{Finished, pawl};
use pawl_tests::content::noise;
use pawl_tests::server::{Credential, Server};
use pawl_tests::store::{path_of, plant};
use serde_json::Value;

/// A server with one repository, `web1`, that holds several backups.
struct Stage {
    server: Server,
    credential: Credential,
    restic: Restic,
    files: PathBuf,
}

impl Stage {
    fn new(backups: usize) -> Self {
        Self::on(Server::start(), backups)
    }

    fn on(server: Server, backups: usize) -> Self {
        let credential = clients::ready(&server, "web1");
        let restic = Restic::new(Version::V0_19, &credential);
        let files = restic.home().join("files");
        let stage = Self { server, credential, restic, files };
        for number in 0..backups {
            stage.backup(number);
        }
        stage
    }

    /// Backs up one more file.
    fn backup(&self, number: usize) {
        plant(&self.files.join(format!("file {number}")), &noise(&format!("file {number}"), 300_000));
        self.restic.backup(&self.files);
    }

    fn maintain(&self, args: &[&str]) -> Finished {
        pawl(["maintain"].iter().chain(args).copied().chain(self.server.place()))
    }

    fn path(&self, name: &str) -> PathBuf {
        path_of(self.server.data(), &format!("web1/{name}"))
    }

    /// Every file of the repository but locks, as restic names it, with its bytes.
    fn stored(&self) -> BTreeMap<String, Vec<u8>> {
        files_of(&self.server.data().join("web1"))
    }

    /// A copy of all repositories, as `cp -r` makes it: without facts.
    fn second_store(&self) -> PathBuf {
        let second = self.server.dir().join("second");
        for (name, content) in self.stored() {
            plant(&path_of(&second, &format!("web1/{name}")), &content);
        }
        second
    }

    /// Damages these files.
    fn rot(&self, names: impl IntoIterator<Item = impl AsRef<str>>) {
        for name in names {
            let path = self.path(name.as_ref());
            let mut content = fs::read(&path).unwrap();
            let middle = content.len() / 2;
            content[middle] ^= 0x40;
            plant(&path, &content);
        }
    }

    /// The repository opens, is whole, and gives back what was backed up.
    fn assert_healthy(&self) {
        self.restic.check();
        let restored = self.restic.restore(&self.files, &[]);
        assert_eq!(files_below(&restored), files_below(&self.files));
    }
}

/// Every file of a repository but locks, as restic names it.
fn files_of(repository: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = files_below(repository);
    files.retain(|name, _| !name.starts_with("locks/"));
    let plain = |name: String| match name.strip_prefix("data/") {
        Some(rest) => format!("data/{}", rest.rsplit('/').next().unwrap()),
        None => name,
    };
    files.into_iter().map(|(name, content)| (plain(name), content)).collect()
}

/// Every file below a directory. What a command that is at work takes away meanwhile is not there.
fn files_below(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut ahead = vec![directory.to_owned()];
    while let Some(next) = ahead.pop() {
        for entry in unless_gone(fs::read_dir(next)).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                ahead.push(path);
            } else if let Some(content) = unless_gone(fs::read(&path)) {
                let name = path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
                found.insert(name, content);
            }
        }
    }
    found
}

fn unless_gone<T>(read: io::Result<T>) -> Option<T> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        read => Some(read.unwrap()),
    }
}

/// What a verification printed with `--json` says is damaged.
fn damaged(report: &Value) -> BTreeSet<String> {
    found(report, "damage").into_iter().map(|(file, _)| file).collect()
}

/// Files and kinds of all findings of this severity.
fn found(report: &Value, severity: &str) -> BTreeSet<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let findings = report["findings"].as_array().unwrap().iter();
    findings
        .filter(|finding| finding["severity"] == severity)
        .map(|finding| (text(&finding["file"]), text(&finding["kind"])))
        .collect()
}

/// What lies in batches, by the file's own name.
fn in_batches(server: &Server) -> BTreeMap<String, Vec<u8>> {
    let deleted = server.data().join(".pawl/deleted");
    if !deleted.exists() {
        return BTreeMap::new();
    }
    let mut files = files_below(&deleted);
    files.retain(|name, _| !name.ends_with("batch.json") && !name.contains("/seen/"));
    files
}
