//! Attacks on what maintenance guards, and with what it is given.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pawl_tests::clients::{self, PASSWORD, Restic, Version};
use pawl_tests::maintenance::Maintenance;
use pawl_tests::server::{Credential, Server};
use pawl_tests::store::{back_date, plant};
use pawl_tests::wait::DEADLINE;

use super::{files_below, host_with_five_backups};

const VERSION: Version = Version::V0_19;

/// Asks the maintenance server of this server; returns the answer's head.
fn ask(server: &Server, who: &Credential, method: &str, target: &str) -> String {
    let mut stream = UnixStream::connect(server.data().join(".pawl/maintenance/maintain.sock")).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let credential = STANDARD.encode(format!("{}:{}", who.user, who.password));
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: pawl\r\nAuthorization: Basic {credential}\r\nContent-Length: 0\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
}

/// A90: A thief of a maintenance credential deletes the snapshots of the last days.
#[test]
fn a_young_snapshot_cannot_be_deleted() {
    let host = host_with_five_backups(VERSION);
    let newest = &host.snapshots[4];
    let door = Maintenance::start(&host.server);
    let path = host.server.data().join("web1/snapshots").join(newest);
    back_date(&path, Duration::from_hours(7 * 24) - Duration::from_mins(5));
    let before = host.server.stored();
    let target = format!("/web1/snapshots/{newest}");
    let answer = ask(&host.server, door.admin(), "DELETE", &target);
    assert_eq!(answer, "HTTP/1.1 403 snapshot is younger than the floor");
    before.assert_unchanged(&host.server.stored());
    back_date(&path, Duration::from_hours(7 * 24) + Duration::from_mins(5));
    // It was its age, and nothing else: now it goes, into a batch.
    assert_eq!(ask(&host.server, door.admin(), "DELETE", &target), "HTTP/1.1 200 OK");
    assert!(!path.exists());
    assert_eq!(door.deleted()[0]["files"], 1);
}

/// A93: A host brings its credential to the maintenance server, where deletions are carried out.
#[test]
fn a_hosts_credential_is_nobodys_at_the_maintenance_door() {
    let host = host_with_five_backups(VERSION);
    let door = Maintenance::start(&host.server);
    let before = host.server.stored();
    for (method, target) in [
        ("GET", "/web1/snapshots/".to_owned()),
        ("DELETE", format!("/web1/snapshots/{}", host.snapshots[0])),
        ("POST", "/web1/?create=true".to_owned()),
    ] {
        let answer = ask(&host.server, &host.credential, method, &target);
        assert!(answer.starts_with("HTTP/1.1 401"), "{method} {target}: {answer}");
    }
    let thief = door.restic_of(VERSION, "web1", &host.credential);
    thief.refused(["forget", &host.snapshots[0]], "401");
    before.assert_unchanged(&host.server.stored());
    // Nor does it find another way to the server's own files.
    let own = host.server.data().join(".pawl/maintenance");
    assert_eq!(fs::metadata(own).unwrap().permissions().mode() & 0o777, 0o700);
}

/// A94: A thief of a maintenance credential uses it at the frontend, which is reached from elsewhere.
#[test]
fn a_maintenance_credential_is_nobodys_at_the_door_to_hosts() {
    let host = host_with_five_backups(VERSION);
    let door = Maintenance::start(&host.server);
    let before = host.server.stored();
    let thief = host.server.client(door.admin());
    for (method, target) in [
        ("GET", "/web1/snapshots/".to_owned()),
        ("GET", "/web1/config".to_owned()),
        ("DELETE", format!("/web1/snapshots/{}", host.snapshots[0])),
    ] {
        assert_eq!(thief.ask(method, &target).unwrap().status, 401, "{method} {target}");
    }
    before.assert_unchanged(&host.server.stored());
}

/// A95: A thief of a maintenance credential makes deletions final over the protocol.
#[test]
fn nothing_is_purged_over_the_protocol() {
    let host = host_with_five_backups(VERSION);
    let door = Maintenance::start(&host.server);
    door.restic(VERSION, "web1").succeed(["forget", "--keep-last", "1", "--prune"]);
    let pending = || files_below(&host.server.data().join(".pawl/deleted"));
    let before = (host.server.stored(), pending());
    let batch = door.one_batch();
    let snapshot = &host.snapshots[0];
    let mut targets = vec!["/web1/".to_owned(), "/".to_owned(), format!("/web1/snapshots/{snapshot}")];
    for path in ["deleted", "tombstones/web1", "maintenance/audit", "audit"] {
        targets.push(format!("/.pawl/{path}/"));
    }
    for middle in [&batch, &format!("{batch}/snapshots/{snapshot}"), &format!("{batch}/batch.json")] {
        targets.push(format!("/.pawl/deleted/{middle}"));
        targets.push(format!("/web1/../.pawl/deleted/{middle}"));
    }
    for target in &targets {
        for method in ["DELETE", "PUT", "PURGE", "POST"] {
            let answer = ask(&host.server, door.admin(), method, target);
            let harmless = method == "DELETE" && *target == format!("/web1/snapshots/{snapshot}");
            assert!(harmless || !answer.starts_with("HTTP/1.1 2"), "{method} {target}: {answer}");
        }
    }
    before.0.assert_unchanged(&host.server.stored());
    assert_eq!(before.1, pending());
}

/// A97: A host sends a snapshot again that maintenance forgot, whose data a prune then misses.
#[test]
fn a_forgotten_snapshot_is_not_taken_again() {
    let host = host_with_five_backups(VERSION);
    let forgotten = &host.snapshots[0];
    let path = host.server.data().join("web1/snapshots").join(forgotten);
    let content = fs::read(&path).unwrap();
    let mut door = Maintenance::start(&host.server);
    door.restic(VERSION, "web1").succeed(["forget", forgotten, "--prune", "--max-unused", "0"]);
    let thief = host.server.client(&host.credential);
    let target = format!("/web1/snapshots/{forgotten}");
    let answer = thief.post(&target, &content).unwrap();
    assert_eq!((answer.status, answer.text().trim()), (403, "deleted by maintenance, not accepted again"));
    assert!(!path.exists());
    host.restic.check();
    // Brought back it is the host's again, and sending it once more changes nothing.
    let batch = door.one_batch();
    door.stop();
    let _ = door.run_command(&["undelete", &batch]).expect_code(0);
    assert_eq!(thief.post(&target, &content).unwrap().status, 200);
    host.assert_all_restore();
}

/// A98: A thief of a host reads the key that opens with the management password, to find that password offline.
#[test]
fn a_key_of_management_is_not_shown_to_hosts() {
    let server = Server::start();
    let credential = clients::ready(&server, "web1");
    let host = Restic::new(VERSION, &credential);
    let door = Maintenance::start(&server);
    let keys = || {
        let listed = host.succeed(["key", "list", "--json"]);
        listed.matches("\"id\"").count()
    };
    let before = keys();
    let admin = door.restic(VERSION, "web1");
    let file = admin.home().join("password");
    plant(&file, b"of management");
    admin.succeed(["key", "add", "--new-password-file", file.to_str().unwrap()]);
    assert_eq!(fs::read_dir(server.data().join("web1/keys")).unwrap().count(), before + 1);
    assert_eq!(keys(), before);
    let listed = door.run_command(&["key", "list", "web1", "--json"]).expect_code(0).json();
    let hidden: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .filter(|key| key["seen_by"] == "maintenance")
        .map(|key| key["key"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(hidden.len(), 1);
    let thief = server.client(&credential);
    for method in ["GET", "HEAD"] {
        assert_eq!(thief.ask(method, &format!("/web1/keys/{}", hidden[0])).unwrap().status, 404);
    }
    // It opens the repository at the maintenance server alone.
    let with_it = |restic: Restic| restic.option("--password-file").option(file.to_str().unwrap());
    with_it(door.restic(VERSION, "web1")).succeed(["snapshots"]);
    let refused = with_it(Restic::new(VERSION, &credential)).run(["snapshots"]);
    assert!(refused.code != Some(0) && refused.stderr.contains("wrong password"), "{refused:?}");
    assert_ne!(PASSWORD, "of management");
}
