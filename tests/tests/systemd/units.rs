//! The units of `deploy/systemd`, as systemd's own tools judge them.

use std::path::{Path, PathBuf};
use std::process::Command;

use pawl_tests::command::pawl_binary;
use pawl_tests::store::plant;
use tempfile::TempDir;

/// Exposure that is accepted, in tenths: 0 is none, 100 is all. What the network needs is most of it.
const EXPOSURE_MAX: &str = "14";

fn unit(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy/systemd").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// The units as they are installed, but for where the program is.
fn installed() -> (TempDir, [PathBuf; 2]) {
    let dir = tempfile::tempdir().unwrap();
    let paths = ["pawl.service", "pawl.socket"].map(|name| {
        let text = unit(name).replace("/usr/local/bin/pawl", pawl_binary().to_str().unwrap());
        let path = dir.path().join(name);
        plant(&path, text.as_bytes());
        path
    });
    (dir, paths)
}

/// Runs `systemd-analyze`, which must succeed and find no fault, unless it is not there.
fn analyze(args: &[&str], paths: &[&PathBuf]) {
    let mut command = Command::new("systemd-analyze");
    let output = match command.args(args).args(paths).env("LC_ALL", "C.UTF-8").output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!(
                "\n***** SKIPPED: no systemd-analyze here ({error}); the units were NOT checked *****\n"
            );
            return;
        }
    };
    let (said, faults) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{said}");
    assert!(output.status.success() && faults.is_empty(), "{args:?}: {faults}\n{said}");
}

#[test]
fn systemd_understands_the_units() {
    let (_dir, [service, socket]) = installed();
    analyze(&["verify"], &[&service, &socket]);
}

#[test]
fn the_service_can_do_little_beside_its_work() {
    let (_dir, [service, _]) = installed();
    analyze(&["security", "--offline=yes", "--threshold", EXPOSURE_MAX], &[&service]);
}

/// What looks as if it could be tightened, and cannot: Pawl would not start, not store, or not stop well.
#[test]
fn the_service_keeps_what_it_needs() {
    let unit = unit("pawl.service");
    let values = |key: &str| unit.lines().filter_map(|line| line.strip_prefix(key)).collect::<Vec<_>>();
    assert_eq!(
        values("ReadWritePaths="),
        ["/var/lib/pawl"],
        "files cannot be linked from one mount to another"
    );
    assert_eq!(values("RestrictSUIDSGID="), [""; 0], "it refuses openat2");
    assert_eq!(values("KillMode="), ["mixed"], "the keeper gets no signal of its own");
    assert_eq!(values("Type="), ["notify"], "systemd 252 does not know notify-reload");
}
