//! `pawl maintain retire`: a repository that nobody needs any more.

use std::process::Command;

use pawl_tests::clients::{Restic, Version};
use pawl_tests::content::noise;
use pawl_tests::maintenance::{batch_of, maintain};
use pawl_tests::server::Server;
use pawl_tests::store::plant;
use serde_json::Value;

/// Two hosts with a backup each, which the last report expects.
fn ground() -> (Server, [Restic; 2]) {
    let server = Server::start();
    let hosts = ["web1", "web2"].map(|name| {
        let restic = Restic::new(Version::V0_19, &server.add_host(name, &[]));
        restic.succeed(["init"]);
        plant(&restic.home().join("files/a"), &noise(name, 1000));
        restic.backup(&restic.home().join("files"));
        restic
    });
    let night = run(&server);
    assert_eq!((&night["exit"], &night["repositories"]), (&0.into(), &2.into()), "{night}");
    (server, hosts)
}

fn run(server: &Server) -> Value {
    maintain(&server.place(), &["run", "--json"]).json()
}

#[test]
fn a_retired_repository_can_be_brought_back_and_no_night_misses_it() {
    let (server, [web1, web2]) = ground();
    let snapshots = web1.snapshots();
    let retired = maintain(&server.place(), &["retire", "web1"]).expect_code(0).stdout;
    assert!(retired.contains("web1 has no access any more") && retired.contains("To undo"), "{retired}");
    let _ = web1.refused(["snapshots"], "401");
    web2.check();
    let night = run(&server);
    assert_eq!(night["exit"], 0, "{night}");
    let night = maintain(&server.place(), &["run"]).expect_code(0).stdout;
    assert!(night.contains("web2 ") && !night.contains("web1"), "{night}");
    let report = maintain(&server.place(), &["report"]).expect_code(0).stdout;
    assert!(!report.contains("\n\nweb1\n") && report.contains("\nRetired\n  web1\n    2"), "{report}");
    let told = pawl_tests::command::pawl(["audit", "show"].into_iter().chain(server.place())).expect_code(0);
    assert!(told.stdout.contains("took out of service: web1"), "{told:?}");

    // Begun anew it would be two in one.
    let anew = maintain(&server.place(), &["enroll", "web1"]).expect_code(1);
    assert!(anew.stderr.contains("can still be brought back: `pawl maintain undelete "), "{anew:?}");

    let listed = maintain(&server.place(), &["undelete", "--json"]).expect_code(0).json();
    let _ = maintain(&server.place(), &["undelete", &batch_of(&listed[0])]).expect_code(0);
    let again = Restic::new(Version::V0_19, &server.add_host("web1", &[]));
    again.check();
    assert_eq!(again.snapshots(), snapshots);
    assert_eq!(run(&server)["exit"], 0);
}

#[test]
fn one_that_was_renamed_fails_no_night_once_it_is_retired() {
    let (server, _) = ground();
    let [old, new] = ["web1", "renamed"].map(|name| server.data().join(name));
    assert!(Command::new("mv").args([old, new]).status().unwrap().success());
    let failed = run(&server);
    assert_eq!(failed["exit"], 2, "{failed}");
    let _ = maintain(&server.place(), &["retire", "web1"]).expect_code(0);
    let night = run(&server);
    assert!(!night.to_string().contains("web1"), "{night}");
    let unknown = maintain(&server.place(), &["retire", "web1"]).expect_code(1);
    assert!(unknown.stderr.contains("there is no repository web1, and nothing expects one"), "{unknown:?}");
}

#[test]
fn a_host_with_other_repositories_keeps_these() {
    let (server, _) = ground();
    let _ = server.host(&["add-repository", "web2", "--repository", "web1"]).expect_code(0);
    let retired = maintain(&server.place(), &["retire", "web2"]).expect_code(0).stdout;
    assert!(retired.contains("web2 may not use web2 any more; its other repositories stay"), "{retired}");
    let hosts = server.host(&["list", "--json"]).expect_code(0).json();
    assert!(hosts.to_string().contains("web2"), "{hosts}");
}

#[test]
fn a_host_whose_repository_is_gone_can_be_retired() {
    let server = Server::start();
    let _ = server.add_host("web1", &[]);
    let retired = maintain(&server.place(), &["retire", "web1"]).expect_code(0).stdout;
    assert!(retired.contains("web1 has no access any more"), "{retired}");
}
