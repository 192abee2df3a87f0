//! The units of `deploy/systemd`, as systemd's own tools judge them. That they work is `deployment`'s.

use std::path::{Path, PathBuf};
use std::process::Command;

use pawl_tests::command::pawl_binary;
use pawl_tests::store::plant;
use tempfile::TempDir;

/// All units.
const UNITS: [&str; 7] = [
    "pawl.service",
    "pawl.socket",
    "pawl-keeper.service",
    "pawl-keeper.socket",
    "pawl-maintenance.service",
    "pawl-maintain.service",
    "pawl-maintain.timer",
];

/// Exposure that is accepted of each service, in tenths: 0 is none, 100 is all. What the network needs is most of it. The
/// night has none but its own loopback, over which restic before 0.17 comes; that is 3 of its 7.
const EXPOSURE_MAX: [(&str, &str); 4] = [
    ("pawl.service", "12"),
    ("pawl-keeper.service", "5"),
    ("pawl-maintenance.service", "4"),
    ("pawl-maintain.service", "7"),
];
/// The same of the frontend without a network of its own.
const EXPOSURE_WITHOUT_NETWORK_MAX: &str = "4";

fn unit(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy/systemd").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// The units as they are installed, but for where the program is.
fn installed() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in UNITS {
        let text = unit(name).replace("/usr/bin/pawl", pawl_binary().to_str().unwrap());
        plant(&dir.path().join(name), text.as_bytes());
    }
    dir
}

/// Runs `systemd-analyze`, which must succeed and find no fault, unless it is not there.
fn analyze(args: &[&str], paths: &[PathBuf]) {
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
    let dir = installed();
    // Not the man page: it is made with the package.
    analyze(&["verify", "--man=no"], &UNITS.map(|name| dir.path().join(name)));
}

#[test]
fn every_service_can_do_little_beside_its_work() {
    let dir = installed();
    for (name, max) in EXPOSURE_MAX {
        analyze(&["security", "--offline=yes", "--threshold", max], &[dir.path().join(name)]);
    }
}

#[test]
fn a_door_that_gets_its_sockets_can_do_still_less() {
    let dir = installed();
    let drop_in = dir.path().join("pawl.service.d/no-network.conf");
    plant(&drop_in, unit("pawl-no-network.conf").as_bytes());
    let max = EXPOSURE_WITHOUT_NETWORK_MAX;
    analyze(&["security", "--offline=yes", "--threshold", max], &[dir.path().join("pawl.service")]);
}

/// What looks as if it could be tightened, and cannot: Pawl would not start, not store, or not stop well.
#[test]
fn the_services_keep_what_they_need() {
    let values = |name: &str, key: &str| {
        let unit = unit(name);
        unit.lines().filter_map(|line| line.strip_prefix(key)).map(str::to_owned).collect::<Vec<_>>()
    };
    for (name, _) in EXPOSURE_MAX {
        assert_eq!(values(name, "RestrictSUIDSGID="), [""; 0], "{name}: it refuses openat2");
    }
    for name in ["pawl-keeper.service", "pawl-maintenance.service", "pawl-maintain.service"] {
        let why = "files cannot be linked from one mount to another";
        assert_eq!(values(name, "ReadWritePaths="), ["/var/lib/pawl"], "{name}: {why}");
    }
    for name in ["pawl.service", "pawl-maintenance.service"] {
        assert_eq!(values(name, "Type="), ["notify"], "{name}: systemd 252 does not know notify-reload");
        assert_eq!(values(name, "KillMode="), ["mixed"], "{name}: its keeper gets no signal of its own");
    }
    let run = "pawl-maintain.service";
    assert_eq!(values(run, "KillMode="), ["mixed"], "restic is asked by Pawl to end");
    assert_eq!(values(run, "RestrictAddressFamilies="), ["AF_UNIX AF_INET"], "restic before 0.17");
    assert_eq!(values(run, "PrivateNetwork="), ["yes"]);
    assert_eq!(
        values("pawl-keeper.service", "PrivateUsers="),
        [""; 0],
        "it could not tell who the frontend is"
    );
}

/// Of an attacker in the frontend, the kernel knows a user who owns nothing and may write nowhere.
#[test]
fn the_door_has_no_way_to_write() {
    let unit = unit("pawl.service");
    let has = |line: &str| unit.lines().any(|other| other == line);
    assert!(has("User=pawl") && has("ProtectSystem=strict"));
    assert!(!unit.contains("ReadWritePaths=") && !unit.contains("StateDirectory="));
}
