//! What users of restic do, with the real client in three versions.
//!
//! Invariant: a test talks to Pawl as its users do, through restic alone, and looks at the stored files only
//! afterwards.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop")]

mod backup;
mod cross;
mod direct;
mod init;
mod locks;
mod refused;
mod sharing;
mod tls;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use pawl_tests::content::noise;
use pawl_tests::http::Client;
use pawl_tests::store::{Stored, plant};

/// The reason that restic shows when it may not do something.
const APPEND_ONLY: &str = "403 append-only: not allowed with this credential";

/// A directory with files of every kind in `home`.
fn files(home: &Path) -> PathBuf {
    let files = home.join("files");
    plant(&files.join("empty"), b"");
    plant(&files.join("letter.txt"), "Dear diary\n".repeat(20_000).as_bytes());
    plant(&files.join("deep/er/größer \u{1F4BE}/noise"), &noise("files", 2_000_000));
    plant(&files.join("run.sh"), b"#!/bin/sh\n");
    fs::set_permissions(files.join("run.sh"), Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(files.join("nothing")).unwrap();
    symlink("../letter.txt", files.join("deep/link")).unwrap();
    files
}

/// Same names, bytes, modes and links.
fn assert_same(original: &Path, restored: &Path) {
    Stored::read(original).assert_unchanged(&Stored::read(restored));
}

/// Ids of the locks that a client is shown.
fn locks(client: &Client, repository: &str) -> Vec<String> {
    let answer = client.ask("GET", &format!("/{repository}/locks/")).unwrap();
    assert_eq!(answer.status, 200);
    serde_json::from_slice(&answer.body).unwrap()
}
