//! The disk is full.
//!
//! Invariant: the client is told with 507, what was there stays as it is and can be read, and all works again once
//! there is space.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop")]

use std::fs;
use std::path::PathBuf;

use pawl_tests::clients::{self, Restic, Version};
use pawl_tests::content::{id_of, noise};
use pawl_tests::disk::Disk;
use pawl_tests::http::{Body, Client, Request, Response};
use pawl_tests::maintenance::maintain;
use pawl_tests::server::Server;
use pawl_tests::status::{ON, Status};
use pawl_tests::store::{path_of, plant};
use pawl_tests::wait;
use rustix::process::Signal;

const FULL: (u16, &str) = (507, "no space left on the server");
/// What the line of the `.htpasswd` file below hashes.
const HTPASSWD_PASSWORD: &str = "a password of the tests";
/// restic's usual pack.
const PACK_BYTES: usize = 16 << 20;

/// A server with its data on this disk, and a host whose repository is initialised.
fn serve(disk: &Disk) -> (Server, Client) {
    let server = Server::build().data(&disk.data()).start();
    let client = server.add_client("web1", &[]);
    clients::initialise(&client, "web1");
    (server, client)
}

fn post(client: &Client, file_type: &str, content: &[u8]) -> Response {
    client.post(&format!("/web1/{file_type}/{}", id_of(content)), content).expect("the answer arrives")
}

fn code(response: &Response) -> (u16, &str) {
    (response.status, &response.reason)
}

#[test]
fn a_pack_that_does_not_fit_is_answered_507() {
    let Some(disk) = Disk::new("size=24m") else { return };
    let (server, client) = serve(&disk);
    assert_eq!(post(&client, "data", &noise("first", PACK_BYTES)).status, 200);
    let before = server.stored();
    let pack = noise("second", PACK_BYTES);
    assert_eq!(code(&post(&client, "data", &pack)), FULL);
    let chunked = Request::new("POST", &format!("/web1/data/{}", id_of(&pack))).body(Body::Chunked(pack));
    assert_eq!(code(&client.send(chunked).expect("the answer arrives")), FULL);
    before.assert_unchanged(&server.stored());
}

#[test]
fn a_small_file_that_does_not_fit_is_answered_507() {
    let Some(disk) = Disk::new("size=16m") else { return };
    let (server, client) = serve(&disk);
    disk.fill();
    let before = server.stored();
    for file_type in ["data", "index", "snapshots", "locks"] {
        for number in 0..20 {
            let content = noise(&format!("{file_type} {number}"), 5000);
            assert_eq!(code(&post(&client, file_type, &content)), FULL, "{file_type} {number}");
        }
    }
    before.assert_unchanged(&server.stored());
}

#[test]
fn a_repository_that_does_not_fit_is_answered_507_and_can_be_made_later() {
    let Some(disk) = Disk::new("size=16m,nr_inodes=4000") else {
        return;
    };
    let (server, _) = serve(&disk);
    let web2 = server.add_client("web2", &[]);
    disk.fill();
    disk.fill_with_names();
    let answer = web2.ask("POST", "/web2/?create=true").unwrap();
    assert_eq!(code(&answer), FULL);
    disk.free();
    clients::initialise(&web2, "web2");
}

#[test]
fn a_full_disk_is_read_as_ever() {
    let Some(disk) = Disk::new("size=24m") else { return };
    let (mut server, client) = serve(&disk);
    let pack = noise("pack", 8 << 20);
    assert_eq!(post(&client, "data", &pack).status, 200);
    disk.fill();
    for _start in ["as it was", "again"] {
        let listed = client.ask("GET", "/web1/data/").unwrap();
        assert_eq!(listed.text(), format!("[\"{}\"]", id_of(&pack)));
        let read = client.ask("GET", &format!("/web1/data/{}", id_of(&pack))).unwrap();
        assert!(read.status == 200 && read.body == pack);
        assert_eq!(server.stop().code(), Some(0));
        server.start_again();
    }
}

#[test]
fn a_file_that_is_there_is_confirmed_on_a_full_disk() {
    let Some(disk) = Disk::new("size=24m") else { return };
    let (server, client) = serve(&disk);
    let pack = noise("pack", PACK_BYTES);
    let index = noise("index", 1000);
    assert_eq!(post(&client, "data", &pack).status, 200);
    assert_eq!(post(&client, "index", &index).status, 200);
    disk.fill();
    let before = server.stored();
    assert_eq!(post(&client, "data", &pack).status, 200);
    assert_eq!(post(&client, "index", &index).status, 200);
    before.assert_unchanged(&server.stored());
}

#[test]
fn a_lock_is_removed_on_a_full_disk() {
    let Some(disk) = Disk::new("size=16m,nr_inodes=4000") else {
        return;
    };
    let (server, client) = serve(&disk);
    let lock = noise("lock", 150);
    assert_eq!(post(&client, "locks", &lock).status, 200);
    disk.fill();
    disk.fill_with_names();
    let target = format!("/web1/locks/{}", id_of(&lock));
    assert_eq!(client.ask("DELETE", &target).unwrap().status, 200);
    assert!(!path_of(server.data(), &target[1..]).exists());
}

#[test]
fn uploads_work_again_once_there_is_space() {
    let Some(disk) = Disk::new("size=24m") else { return };
    let (server, client) = serve(&disk);
    disk.fill();
    let pack = noise("pack", PACK_BYTES);
    assert_eq!(code(&post(&client, "data", &pack)), FULL);
    disk.free();
    assert_eq!(post(&client, "data", &pack).status, 200);
    let name = format!("web1/data/{}", id_of(&pack));
    assert!(fs::read(path_of(server.data(), &name)).unwrap() == pack);
}

#[test]
fn refused_uploads_take_no_space() {
    let Some(disk) = Disk::new("size=24m") else { return };
    let (_server, client) = serve(&disk);
    assert_eq!(post(&client, "data", &noise("first", 2 << 20)).status, 200);
    for number in 0..5 {
        let too_large = noise(&format!("too large {number}"), 23 << 20);
        assert_eq!(code(&post(&client, "data", &too_large)), FULL);
    }
    // The keeper gives the last one's space back on being told, and the answer does not wait for it.
    let last = noise("last", PACK_BYTES);
    wait::until("the space is free again", || (post(&client, "data", &last).status == 200).then_some(()));
}

#[test]
fn without_inodes_a_file_is_stored_whole_or_answered_507() {
    let Some(disk) = Disk::new("size=16m,nr_inodes=4000") else {
        return;
    };
    let (server, client) = serve(&disk);
    disk.fill_with_names();
    let contents = (0..40).map(|number| noise(&format!("index {number}"), 1000));
    let mut refused = Vec::new();
    for content in contents {
        let answer = post(&client, "index", &content);
        let path = path_of(server.data(), &format!("web1/index/{}", id_of(&content)));
        if answer.status == 200 {
            // The server has files at hand that it opened ahead of need.
            assert!(fs::read(path).unwrap() == content);
        } else {
            assert_eq!(code(&answer), FULL);
            assert!(!path.exists());
            refused.push(content);
        }
    }
    assert!(refused.len() > 10, "{} of 40 were refused", refused.len());
    disk.free();
    for content in refused {
        assert_eq!(post(&client, "index", &content).status, 200);
    }
}

/// A190: a host takes all inodes with small files.
#[test]
fn the_last_inodes_are_kept_for_locks_and_maintenance() {
    let Some(disk) = Disk::new("size=64m,nr_inodes=4000") else {
        return;
    };
    let server = Server::build().data(&disk.data()).config(ON).start();
    let [web1, web2] = ["web1", "web2"].map(|name| server.add_client(name, &[]));
    clients::initialise(&web1, "web1");
    clients::initialise(&web2, "web2");
    let status = Status::of(&server);
    assert_eq!(status.json("/readyz").0, 200);
    disk.fill_with_names_but(200);
    let mut indexes = (0..200).map(|number| noise(&format!("index {number}"), 32));
    let last = indexes.find(|content| post(&web1, "index", content).status != 200);
    let refused = post(&web1, "index", &last.expect("there is an end to inodes"));
    assert_eq!(code(&refused), FULL);
    let before = server.stored();
    // The other host can lock and so restore, and maintenance can remove what is too much.
    let lock = noise("lock", 150);
    let locked = web2.post(&format!("/web2/locks/{}", id_of(&lock)), &lock).unwrap();
    assert_eq!(locked.status, 200);
    before.assert_kept(&server.stored());
    wait::until("the server says why it is not ready", || {
        let (code, page) = status.json("/readyz");
        (code == 503 && page.get("cause").is_some_and(|cause| cause == "no inodes left")).then_some(())
    });
    let index = format!("index/{}", id_of(&noise("index 0", 32)));
    let _ = maintain(&server.place(), &["delete", "web1", &index]).expect_code(0);
    assert!(!path_of(server.data(), &format!("web1/{index}")).exists());
}

/// A machine with restic that has more to back up than fits.
/// A197: a user of the `.htpasswd` file takes all inodes with repositories below its own name.
#[test]
fn repositories_without_end_leave_the_last_inodes() {
    let Some(disk) = Disk::new("size=64m,nr_inodes=4000") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("htpasswd");
    plant(&file, b"sha1:{SHA}JhzQDvDwP+N4YqMN3P5XlOd+qBc=\n");
    let config = format!("credentials.htpasswd = \"{}\"", file.display());
    let server = Server::build().data(&disk.data()).config(&config).start();
    let web1 = server.add_client("web1", &[]);
    clients::initialise(&web1, "web1");
    let user = Client::new(server.address(), "sha1", HTPASSWD_PASSWORD);
    let create = |number: u32| user.ask("POST", &format!("/sha1/{number}/?create=true")).unwrap();
    assert_eq!(create(0).status, 200);
    disk.fill_with_names_but(200);
    let number = (1..400).find(|number| create(*number).status != 200).expect("there is an end to inodes");
    assert_eq!(code(&create(number)), FULL);
    let free = rustix::fs::statvfs(disk.data()).unwrap().f_favail;
    assert!(free > 50, "{free} inodes are left for locks and maintenance");
    assert_eq!(create(0).status, 200, "one that is there is made again, as ever");
    let before = server.stored();
    let lock = noise("lock", 150);
    let locked = web1.post(&format!("/web1/locks/{}", id_of(&lock)), &lock).unwrap();
    assert_eq!(locked.status, 200);
    before.assert_kept(&server.stored());
}

fn with_too_much(server: &Server, version: Version) -> (Restic, PathBuf) {
    let restic = Restic::new(version, &clients::ready(server, "web2"));
    let files = restic.home().join("files");
    plant(&files.join("large"), &noise("large", 30 << 20));
    (restic, files)
}

#[test]
fn restic_0_19_gives_up_at_once_and_says_why() {
    let Some(disk) = Disk::new("size=24m") else { return };
    let (server, _) = serve(&disk);
    let (restic, files) = with_too_much(&server, Version::V0_19);
    let ended = restic.run(["backup", files.to_str().unwrap()]);
    assert_ne!(ended.code, Some(0));
    assert!(ended.stderr.contains("507 no space left on the server"), "{}", ended.stderr);
    // An upload beside the one that fills the disk may be told 503, as long as the other may still fail.
    let retried = |line: &str| line.contains("retrying") && line.contains("507");
    assert!(!ended.stderr.lines().any(retried), "{}", ended.stderr);
}

/// To older ones 507 is an error like any other, which may pass.
#[test]
fn older_restic_says_why_and_goes_on_once_there_is_space() {
    for version in [Version::V0_14, Version::V0_18] {
        let Some(disk) = Disk::new("size=64m") else { return };
        let (server, _) = serve(&disk);
        let (restic, files) = with_too_much(&server, version);
        disk.fill();
        let mut backup = restic.start(["backup", files.to_str().unwrap()]);
        wait::until("restic says why it waits", || {
            assert!(!backup.has_ended(), "{version:?}: {}", backup.seen());
            backup.seen().contains("507 no space left on the server").then_some(())
        });
        disk.free();
        let _ = backup.end().expect_code(0);
        restic.check();
    }
}

#[test]
fn a_server_stops_on_a_full_disk() {
    let Some(disk) = Disk::new("size=16m,nr_inodes=4000") else {
        return;
    };
    let (mut server, _) = serve(&disk);
    disk.fill();
    disk.fill_with_names();
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
}
