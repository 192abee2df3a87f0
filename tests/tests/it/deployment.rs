//! The package, installed on a machine of its own as `docs/install.md` says, and used by real restic from outside.
//!
//! Invariant: nothing is set up but by the package and that page's commands, run as they stand there; what a test changes
//! is what an admin would.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

mod installed;
mod machine;
mod package;
mod sealed;
mod services;

use std::path::{Path, PathBuf};

use pawl_tests::clients::{Restic, Version};
use pawl_tests::content::noise;
use pawl_tests::store::{Stored, plant};
use serde_json::Value;

use machine::{Machine, NAME};

/// Maintenance, as the page says that it is called.
const MAINTAIN: &str = "runuser -u pawl-keeper -- pawl maintain";

/// Has the timer of the night wait for a time that no test is run at: otherwise a night may begin by itself in the middle
/// of a test.
const NO_NIGHT: &str = "/etc/systemd/system/pawl-maintain.timer.d/no-night.conf";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The commands of the page, block by block.
fn blocks() -> Vec<String> {
    pawl_tests::document::blocks("docs/install.md", "sh")
}

/// The package and its checksums, which `scripts/test --full` built of the program that the other tests use.
fn packaged() -> [PathBuf; 2] {
    let beside = root().join("target/package/debian");
    ["pawl_0.1.0-1_amd64.deb", "SHA256SUMS"].map(|name| beside.join(name))
}

/// A machine with nothing of Pawl but the package, where an admin would put it.
fn delivered() -> Machine {
    let files = packaged();
    let machine = Machine::boot();
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        plant(&machine.path("/root").join(name), &std::fs::read(&file).unwrap());
    }
    plant(&machine.path(NO_NIGHT), b"[Timer]\nOnCalendar=\nOnCalendar=2099-01-01\n");
    machine
}

/// A machine on which the page's first block was run, and what its last command printed.
fn deployed() -> (Machine, String) {
    let machine = delivered();
    let printed = machine.run(&blocks()[0]);
    (machine, printed)
}

/// A host of this machine, which was told what `pawl host add` prints.
fn host(machine: &Machine, name: &str) -> Restic {
    let added = machine.run(&format!("pawl host add {name} --json --config /etc/pawl/pawl.toml"));
    let added: Value = serde_json::from_str(&added).unwrap();
    let text = |key: &str| added[key].as_str().unwrap();
    let rest = text("repository").strip_prefix("rest:https://").unwrap();
    let repository = format!("rest:https://{}:{}@{rest}", text("user"), text("password"));
    restic(machine, &repository, text("ca_file"))
}

/// restic on another machine, with this repository and a copy of this CA's certificate.
fn restic(machine: &Machine, repository: &str, ca_file: &str) -> Restic {
    let restic = Restic::at(Version::V0_19, repository).finding(NAME, machine.address());
    let ca = restic.home().join("pawl-ca.crt");
    plant(&ca, &std::fs::read(machine.path(ca_file)).unwrap());
    restic.option("--cacert").option(ca.to_str().unwrap())
}

/// Backs files up, and looks whether they come back.
fn back_up_and_restore(restic: &Restic) {
    let files = restic.home().join("files");
    plant(&files.join("letter.txt"), "Dear diary\n".repeat(20_000).as_bytes());
    plant(&files.join("deep/noise"), &noise("files", 5_000_000));
    restic.backup(&files);
    let restored = restic.restore(&files, &[]);
    Stored::read(&files).assert_unchanged(&Stored::read(&restored));
}
