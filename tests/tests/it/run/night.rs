//! Nights on which nothing comes between.

use pawl_tests::program::program;
use pawl_tests::server::Server;
use pawl_tests::store::plant;

use super::{Ground, RULES, WELL, ends, last_line, maintain, step};

fn a_night_forgets_prunes_and_checks_everywhere(name: &str) {
    let ground = Ground::new(&["web1", "db1"]);
    let before = ground.server.stored();
    let finished = ground.start(&program(name), &[&RULES[..], &["--json"]].concat()).end().expect_code(0);
    let report = finished.json();
    for host in ["web1", "db1"] {
        assert_eq!(ends(&report, host), WELL, "{report:#}");
        assert_eq!(ground.snapshots(host).len(), 4);
        let pruned = step(&report, host, "prune")["said"][0].as_str().unwrap();
        assert!(pruned.starts_with("deleted ") && !pruned.contains("deleted 0 "), "{report:#}");
        ground.restic(host).check();
    }
    assert_eq!(
        (&report["well"], &report["exit"], &report["repositories"]),
        (&2.into(), &0.into(), &2.into())
    );
    ground.assert_unlocked();
    // Nothing is gone: both batches come back.
    for host in ["web1", "db1"] {
        let batch = step(&report, host, "forget")["batch"].as_str().unwrap().to_owned();
        let _ = maintain(&ground.server.place(), &["undelete", &batch]).expect_code(0);
        assert_eq!(ground.snapshots(host).len(), 6);
        ground.restic(host).check();
    }
    before.assert_kept(&ground.server.stored());
}

#[test]
fn with_restic_0_14() {
    a_night_forgets_prunes_and_checks_everywhere("restic-0.14");
}

#[test]
fn with_restic_0_18() {
    a_night_forgets_prunes_and_checks_everywhere("restic-0.18");
}

#[test]
fn with_restic_0_19() {
    a_night_forgets_prunes_and_checks_everywhere("restic-0.19");
}

#[test]
fn without_a_password_everything_else_is_done() {
    let ground = Ground::new(&["web1"]);
    let finished = ground.run_alone(&RULES).expect_code(0);
    assert!(
        finished.stdout.contains("forget   skipped") && finished.stdout.contains("no password"),
        "{finished:#?}"
    );
    assert!(
        finished.stdout.contains("verify   well") && finished.stdout.contains("purge    well"),
        "{finished:#?}"
    );
    assert_eq!(last_line(&finished)["well"], 1);
    assert_eq!(ground.snapshots("web1").len(), 6);
}

#[test]
fn without_keep_rules_only_what_was_deleted_is_pruned() {
    let ground = Ground::new(&["web1"]);
    let first = ground.run(&["--json"]).expect_code(0).json();
    assert_eq!(
        ends(&first, "web1"),
        ["verify well", "purge well", "examine well", "forget skipped", "prune skipped", "check well"]
    );
    let oldest = ground.restic("web1").snapshots().remove(0);
    let file = format!("snapshots/{oldest}");
    let _ = maintain(&ground.server.place(), &["delete", "web1", &file]).expect_code(0);
    let second = ground.run(&["--json"]).expect_code(0).json();
    assert_eq!(ends(&second, "web1")[4], "prune well");
    let third = ground.run(&["--json"]).expect_code(0).json();
    assert_eq!(ends(&third, "web1")[4], "prune skipped");
    // Each reads another portion.
    for (report, portion) in [(first, "1 of 7"), (second, "2 of 7"), (third, "3 of 7")] {
        let said = step(&report, "web1", "check")["said"][0].as_str().unwrap().to_owned();
        assert!(said.contains(portion), "{said}");
    }
}

#[test]
fn a_repository_is_maintained_as_the_configuration_says_of_it() {
    let server = Server::build().config("[log]\nlevel = 'info'").start();
    let ground = Ground::on(server, &["web1", "db1"]);
    let [option, config] = ground.server.place();
    assert_eq!(option, "--config");
    let written = std::fs::read_to_string(config).unwrap();
    let (restic, password) = (program("restic-0.19"), ground.password.display().to_string());
    let run = format!(
        "[maintenance.run]\nkeep_last = 3\nrestic = '{}'\npassword_file = '{password}'\ncheck_portions = 2\n\
         [maintenance.run.repositories.db1]\nkeep_last = 5\n",
        restic.display()
    );
    plant(config.as_ref(), format!("{written}\n{run}").as_bytes());
    let report = ground.run_alone(&["--json"]).expect_code(0).json();
    assert_eq!((ground.snapshots("web1").len(), ground.snapshots("db1").len()), (3, 5), "{report:#}");
    // The command line goes before both.
    let report =
        ground.run_alone(&["--json", "--keep-last", "2", "db1", "--max-share", "90%"]).expect_code(0).json();
    assert_eq!((ground.snapshots("web1").len(), ground.snapshots("db1").len()), (3, 2), "{report:#}");
    assert!(
        step(&report, "db1", "check")["said"][0].as_str().unwrap().contains("portion 2 of 2"),
        "{report:#}"
    );

    plant(config.as_ref(), format!("{written}\n[maintenance.run]\npassword = 'secret'\n").as_bytes());
    let refused = ground.run_alone(&[]).expect_code(2);
    assert!(refused.stderr.contains("maintenance.run: password: there is no such key"), "{refused:#?}");
    assert!(refused.stderr.contains("password_file") && refused.stderr.contains(config), "{refused:#?}");
    assert!(last_line(&refused)["error"].is_string());
}

#[test]
fn enough_is_remembered_for_a_report_and_losing_it_costs_nothing() {
    let ground = Ground::new(&["web1"]);
    let _ = ground.run(&RULES).expect_code(0);
    let record = ground.server.data().join(".pawl/maintenance/run/web1.json");
    let remembered: serde_json::Value = serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    let days = remembered["days"].as_object().unwrap();
    assert_eq!(days.values().next().unwrap()["snapshots"], 6);
    assert_eq!(remembered["next_portion"], 2);
    assert!(remembered["received"].as_object().unwrap().len() >= 6, "{remembered:#}");
    for content in ["", "{", "{\"last\": 3}"] {
        plant(&record, content.as_bytes());
        let _ = ground.run(&RULES).expect_code(0);
    }
    assert_eq!(ground.snapshots("web1").len(), 4);
}

#[test]
fn a_night_prunes_what_was_deleted_and_otherwise_once_a_week() {
    let ground = Ground::new(&["web1"]);
    let night = || ground.run(&[&RULES[..], &["--json"]].concat()).expect_code(0).json();
    let said = |report| step(&report, "web1", "prune")["said"][0].as_str().unwrap().to_owned();
    assert!(said(night()).starts_with("deleted "));
    assert_eq!(said(night()), "nothing was deleted since the last time");
    // Backups that were cut leave data that no snapshot needs, and no deletion tells of it.
    let path = ground.server.data().join(".pawl/maintenance/run/web1.json");
    let mut record: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let pruned_ms = record["pruned_ms"].as_u64().unwrap();
    record["pruned_ms"] = (pruned_ms - 7 * super::DAY * 1000).into();
    plant(&path, record.to_string().as_bytes());
    assert!(said(night()).starts_with("deleted "));
}
