//! A night on a disk that is full.

use pawl_tests::disk::Disk;
use pawl_tests::server::Server;
use serde_json::Value;

use super::{Ground, RULES, WELL, code_of_steps, ends, last_line};

#[test]
fn a_night_needs_no_more_of_a_full_disk_than_hosts_leave() {
    let Some(disk) = Disk::new("size=64m") else { return };
    let ground = Ground::on(Server::build().data(&disk.data()).start(), &["db1", "web1"]);
    disk.fill();
    for _ in 0..2 {
        let full = ground.run(&RULES).expect_code(2);
        assert!(full.stdout.contains("o space left"), "{full:#?}");
        let error = &last_line(&full)["error"];
        assert!(error.is_null() || error.as_str().unwrap().contains("o space left"), "{full:#?}");
    }
    for host in ["db1", "web1"] {
        ground.restic(host).succeed(["check", "--no-lock", "--read-data"]);
    }

    // With what hosts leave of it, the work is done that makes room.
    disk.free();
    disk.fill_but(1 << 20);
    let refused = ground.restic("web1").run(["backup", "/etc/hostname"]);
    assert!(refused.code != Some(0) && refused.stderr.contains("507"), "{refused:#?}");
    let report: Value = ground.run(&[&RULES[..], &["--json"]].concat()).json();
    assert_eq!(code_of_steps(&report), 0, "the report tells of what web1 was refused");
    for host in ["db1", "web1"] {
        assert_eq!(ends(&report, host), WELL, "{report:#}");
        assert_eq!(ground.snapshots(host).len(), 4);
        ground.restic(host).check();
    }
    ground.assert_unlocked();
}

#[test]
fn prune_packs_anew_no_more_than_half_of_what_is_free() {
    let Some(disk) = Disk::new("size=64m") else { return };
    let ground = Ground::on(Server::build().data(&disk.data()).start(), &["web1"]);
    let asked = ground.server.dir().join("asked");
    let note = format!("case \" $* \" in *\" prune \"*) echo \"$*\" >>{};; esac", asked.display());
    let restic = ground.scripted(&note);
    // More than a night calls scarce.
    disk.fill_but(12 << 20);
    let _ = ground.start(&restic, &RULES).end();
    let asked = std::fs::read_to_string(asked).unwrap();
    let most = asked.split("--max-repack-size=").nth(1).unwrap_or_else(|| panic!("no bound: {asked}"));
    let most: u64 = most.split('K').next().unwrap().parse().unwrap();
    assert!((5 << 10..=6 << 10).contains(&most), "{most} KiB of 12 MiB");
}
