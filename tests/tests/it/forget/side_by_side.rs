//! The same attacks on the same snapshots: what is left after an admin's `restic forget --prune` on rest-server, and after
//! a night of Pawl.
//!
//! Invariant: rest-server serves a copy of the very repository, so that both see the same files; what counts is which of
//! the good snapshots read back afterwards.

use std::fmt::Write as _;
use std::time::Duration;

use pawl_tests::clients::{RestServer, Restic, Version};
use pawl_tests::command::Finished;
use pawl_tests::content::noise;
use pawl_tests::forger::Forger;
use pawl_tests::maintenance::maintain;
use pawl_tests::store::plant;

use super::{DAY, Ground, HOUR, time};

/// Good backups that the rules keep. There is one more, so that there is something to prune, and they are a day apart.
const GOOD: u64 = 10;
const LAST: &[&str] = &["--keep-last", "10"];
const DAILY: &[&str] = &["--keep-daily", "10"];

/// What a thief does.
struct Attack {
    name: &'static str,
    rules: &'static [&'static str],
    carry_out: fn(&Ground),
    /// By what the report of the night names it.
    named: &'static str,
}

const ATTACKS: [Attack; 9] = [
    Attack { name: "times in the future", rules: LAST, carry_out: future, named: "forged time" },
    Attack {
        name: "times in the past",
        rules: &["--keep-last", "9", "--keep-yearly", "9"],
        carry_out: past,
        named: "forged time",
    },
    Attack { name: "30 tiny snapshots", rules: LAST, carry_out: flood, named: "shrunken" },
    Attack { name: "an empty one a day, a little newer", rules: DAILY, carry_out: newer, named: "shrunken" },
    Attack {
        name: "good ones rewritten to nothing",
        rules: LAST,
        carry_out: rewritten,
        named: "forged time",
    },
    Attack { name: "junk index", rules: LAST, carry_out: junk_index, named: "index/" },
    Attack { name: "junk snapshot", rules: LAST, carry_out: junk_snapshot, named: "snapshots/" },
    Attack { name: "junk lock", rules: LAST, carry_out: junk_lock, named: "locks/" },
    Attack {
        name: "an index of nothing, a snapshot of it",
        rules: LAST,
        carry_out: hollow,
        named: "is in no index",
    },
];

fn future(ground: &Ground) {
    let future = time(0).replacen("20", "21", 1);
    for _ in 0..GOOD {
        ground.backup(9 * DAY, &["--time", &future]);
    }
}

fn past(ground: &Ground) {
    for year in 1..9 {
        ground.backup(9 * DAY, &["--time", &time(year * 365 * DAY)]);
    }
}

fn flood(ground: &Ground) {
    ground.empty();
    for number in 0..30 {
        ground.backup(9 * DAY - number * 60, &[]);
    }
}

fn newer(ground: &Ground) {
    ground.daily_and_empty(GOOD);
}

fn rewritten(ground: &Ground) {
    let files = ground.files.display().to_string();
    let _ = ground.restic.succeed(["rewrite", "--exclude", &format!("{files}/*")]);
    for id in ground.there() {
        if ground.received_just_now(&id) {
            ground.receive(&id, 9 * DAY);
        }
    }
}

fn junk_index(ground: &Ground) {
    thief(ground).store_as_it_is("index", &noise("index", 400));
}

fn junk_snapshot(ground: &Ground) {
    thief(ground).store("snapshots", b"{\"time\":\"yesterday\"}");
}

fn junk_lock(ground: &Ground) {
    thief(ground).store_as_it_is("locks", &noise("locks", 400));
}

fn hollow(ground: &Ground) {
    let thief = thief(ground);
    let _ = ground.night(&["--keep-last", "11"]); // what is good is known by then
    let tree = br#"{"nodes":[{"name":"f","type":"file","content":["5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f"]}]}"#;
    let pack = thief.store_trees(&[tree]);
    thief.store_index(&[(&pack.id, &pack.blobs)]);
    thief.store_snapshot(pack.blobs[0]["id"].as_str().unwrap());
}

fn thief(ground: &Ground) -> Forger {
    Forger::new(&ground.restic, ground.server.client(&ground.credential), "web1")
}

impl Ground {
    fn night(&self, rules: &[&str]) -> Finished {
        let options: Vec<_> = self.options.iter().map(String::as_str).collect();
        let run = ["run", "web1", "--max-share", "100%", "--lock-wait", "5s"];
        maintain(&self.server.place(), &[&run[..], rules, &options[..]].concat())
    }

    fn received_just_now(&self, id: &str) -> bool {
        let received = self.server.fact(&format!("web1/snapshots/{id}"), "received").unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.saturating_sub(Duration::from_millis(received.parse().unwrap())) < Duration::from_secs(HOUR)
    }

    /// What plain restic leaves of them on rest-server, whose admin may delete.
    fn plain(&self, rules: &[&str], good: &[String]) -> (Option<i32>, usize) {
        let copy = tempfile::tempdir().unwrap();
        let from = self.server.data().join("web1");
        let copied = std::process::Command::new("cp").arg("-r").arg(from).arg(copy.path()).status().unwrap();
        assert!(copied.success());
        let server = RestServer::start(copy.path(), &["--no-auth"]);
        let admin = Restic::at(Version::V0_19, &format!("rest:http://{}/web1/", server.address()));
        let forget = [&["forget", "--prune", "--retry-lock", "2s"], rules].concat();
        let code = admin.run(forget).code;
        server.stop();
        let snapshots = copy.path().join("web1/snapshots");
        let left = good.iter().filter(|id| snapshots.join(id).exists()).count();
        (code, left)
    }
}

/// Every attack of which the night has to be survived; run with `--nocapture` it prints the table.
#[test]
fn what_restic_on_rest_server_loses_or_cannot_do_a_night_of_pawl_survives() {
    let mut table = "attack | rest-server: good left, exit | Pawl: good left, exit\n".to_owned();
    for attack in ATTACKS {
        let ground = Ground::new();
        let all = ground.daily(21, GOOD + 1);
        let spare = ground.restic_would_remove(attack.rules);
        let good: Vec<_> = all.into_iter().filter(|id| !spare.contains(id)).collect();
        (attack.carry_out)(&ground);
        let (plain_code, plain_left) = ground.plain(attack.rules, &good);
        let night = ground.night(attack.rules);
        assert!(
            plain_left < good.len() || plain_code != Some(0),
            "{}: plain restic is not impressed; what is shown here shows nothing",
            attack.name
        );
        ground.assert_there(&good);
        assert_eq!(night.code, Some(1), "{}: {night:#?}", attack.name);
        assert!(night.stdout.contains(attack.named), "{}: {night:#?}", attack.name);
        let _ = writeln!(
            table,
            "{} | {plain_left} of {}, {plain_code:?} | {} of {}, {:?}",
            attack.name,
            good.len(),
            good.len(),
            good.len(),
            night.code
        );
        plant(&ground.files.join("tomorrow"), b"a host goes on");
        ground.restic.backup(&ground.files);
    }
    println!("{table}");
}
