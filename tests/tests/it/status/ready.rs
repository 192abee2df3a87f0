//! Health, and whether backups can be taken.
//!
//! Invariant: the server is ready again as soon as what was in the way is gone.

use pawl_tests::clients;
use pawl_tests::command::pawl;
use pawl_tests::content::noise;
use pawl_tests::disk::Disk;
use pawl_tests::server::Server;
use pawl_tests::status::{ON, Status};
use pawl_tests::store::plant;
use pawl_tests::wait;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

use super::{serve, target};

#[test]
fn health_tells_what_is_running() {
    let (_server, status, _) = serve();
    let (code, health) = status.json("/healthz");
    assert_eq!(code, 200);
    let version = pawl(["--version"]).expect_code(0).stdout;
    assert_eq!(Some(&*format!("pawl {}\n", health["version"].as_str().unwrap())), Some(&*version));
    assert_eq!(health["status"], "ok");
    assert!(health["uptime_seconds"].is_u64());
    assert_eq!(health["staging"], "unnamed");
    assert_eq!(health["leases"], true);
    assert!(health["connections"].is_u64());
    assert!(health["audit"]["number"].as_u64().unwrap() > 0);
    assert_eq!(health["audit"]["hash"].as_str().unwrap().len(), 64);
    assert_eq!(health["confinement"], "same-user");
    assert_eq!(health.as_object().unwrap().len(), 8);
}

fn wait_until_ready(status: &Status) {
    wait::until("backups can be taken", || {
        (status.json("/readyz") == (200, serde_json::json!({"status": "ready"}))).then_some(())
    });
    status.wait_for(&[("pawl_ready", 1)]);
}

fn wait_until_unready(status: &Status, cause: &str) {
    let expected = (503, serde_json::json!({"status": "not ready", "cause": cause}));
    wait::until(&format!("backups cannot be taken: {cause}"), || {
        (status.json("/readyz") == expected).then_some(())
    });
    status.wait_for(&[("pawl_ready", 0)]);
}

#[test]
fn a_server_is_ready_until_the_disk_is_full() {
    let Some(disk) = Disk::new("size=64m") else { return };
    let server = Server::build().data(&disk.data()).config(ON).start();
    let status = Status::of(&server);
    wait_until_ready(&status);
    let there = status.metrics();
    assert_eq!(there["pawl_disk_size_bytes"], 64 << 20);
    assert!(there["pawl_disk_free_bytes"] > 60 << 20);
    disk.fill();
    wait_until_unready(&status, "no space left");
    // What the server itself held for a moment while the disk was filled may be free again.
    assert!(status.metrics()["pawl_disk_free_bytes"] < 64 << 10);
    assert_eq!(status.json("/healthz").0, 200);
    disk.free();
    wait_until_ready(&status);
}

/// What is kept for locks and maintenance is no room for backups.
#[test]
fn a_server_is_not_ready_when_only_the_reserve_is_left() {
    let Some(disk) = Disk::new("size=64m") else { return };
    let server = Server::build().data(&disk.data()).config(ON).start();
    let web1 = server.client(&clients::ready(&server, "web1"));
    let status = Status::of(&server);
    wait_until_ready(&status);
    plant(&disk.data().with_file_name("ballast"), &vec![0; 63 << 20]);
    wait_until_unready(&status, "no space left");
    let pack = noise("pack", 1000);
    assert_eq!(web1.post(&target("data", &pack), &pack).unwrap().status, 507);
    status.wait_for(&[("pawl_refusals_total{reason=\"room\"}", 1)]);
    assert!(status.metrics()["pawl_disk_free_bytes"] > 0);
    disk.free();
    wait_until_ready(&status);
}

#[test]
fn a_server_is_not_ready_without_inodes() {
    let Some(disk) = Disk::new("size=64m,nr_inodes=4000") else { return };
    let server = Server::build().data(&disk.data()).config(ON).start();
    let status = Status::of(&server);
    wait_until_ready(&status);
    disk.fill_with_names();
    wait_until_unready(&status, "no space left");
    disk.free();
    wait_until_ready(&status);
}

/// As on a file system that has become read-only, which cannot be had while the server has files open there.
#[test]
fn a_server_is_not_ready_while_its_keeper_can_open_no_file() {
    let (server, status, _) = serve();
    wait_until_ready(&status);
    let keeper = Pid::from_raw(server.keeper_pid().try_into().unwrap());
    let limit = |limit: Rlimit| prlimit(keeper, Resource::Nofile, limit).unwrap();
    let before = limit(Rlimit { current: Some(3), ..getrlimit(Resource::Nofile) });
    wait_until_unready(&status, "nothing can be stored, see the server's log");
    let _ = server.log().wait_for_line(&["ERROR", "backups cannot be taken", "open files"]);
    limit(before);
    wait_until_ready(&status);
}

#[test]
fn a_server_is_not_ready_while_its_keeper_does_not_answer() {
    let (server, status, web1) = serve();
    wait_until_ready(&status);
    server.keeper().signal(Signal::STOP);
    wait_until_unready(&status, "the keeper does not answer");
    assert_eq!(status.json("/healthz").0, 200);
    assert_eq!(web1.ask("GET", "/web1/config").unwrap().status, 200);
    server.keeper().signal(Signal::CONT);
    wait_until_ready(&status);
    let _ = server.log().wait_for_line(&["INFO", "backups can be taken again"]);
}
