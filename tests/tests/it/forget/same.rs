//! Honest histories are judged as restic judges them.

use pawl_tests::server::Server;

use super::{DAY, Ground, HOUR, at, with_verdict};

/// Histories, and rules that are tried on each.
const HISTORIES: u64 = 3;
const RULES: u64 = 15;
const SNAPSHOTS: usize = 40;
/// Each of them with each: the newest snapshots are one of each group, in the last weeks, so that none is silent.
const HOSTS: [&str; 2] = ["web1", "db1"];
const TAGS: [&str; 4] = ["", "a", "a,b", "b"];
const GROUPS: usize = HOSTS.len() * TAGS.len();

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        let number = self.below(words.len() as u64);
        words[usize::try_from(number).unwrap()]
    }
}

#[test]
fn within_the_tolerance_the_rules_remove_exactly_what_restic_removes() {
    let mut removed = 0;
    for seed in 1..=HISTORIES {
        let mut numbers = Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let ground = history(&mut numbers);
        for _ in 0..RULES {
            let rules = rules(&mut numbers);
            let rules: Vec<_> = rules.iter().map(String::as_str).collect();
            let expected = ground.restic_would_remove(&rules);
            let args = [&rules[..], &["--dry-run", "--max-share", "100%"]].concat();
            let report = ground.report(&args);
            assert_eq!(with_verdict(&report, "remove"), expected, "history {seed}, {rules:?}: {report}");
            assert_eq!(report["held"], 0, "{report}");
            removed += expected.len();
        }
    }
    assert!(removed > 100, "the rules removed next to nothing");
}

/// Snapshots over some years in places with several offsets, around midnight and the ends of months, received up to a day
/// before or after the time that they claim.
fn history(numbers: &mut Numbers) -> Ground {
    let ground = Ground::on(Server::build().config("[maintenance]\nmin_snapshot_age_days = 0").start());
    ground.empty();
    pawl_tests::store::plant(&ground.files.join("one"), b"tiny");
    let mut ago = numbers.below(2 * DAY);
    for number in 0..SNAPSHOTS {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let mut claimed = now - ago;
        if number > 0 && numbers.below(3) == 0 {
            claimed = claimed / DAY * DAY + numbers.below(120) - 60; // around midnight in UTC
        }
        // Where there is no such place on the machine, its clock shows UTC.
        let zone = numbers.one_of(&[
            "UTC",
            "Asia/Kathmandu",
            "America/New_York",
            "Pacific/Kiritimati",
            "Europe/Berlin",
        ]);
        let (mut host, mut tag) = (numbers.one_of(&HOSTS), numbers.one_of(&TAGS));
        if number < GROUPS {
            (host, tag) = (HOSTS[number % HOSTS.len()], TAGS[number / HOSTS.len()]);
        }
        let time = in_zone(claimed, zone);
        let path = ground.files.to_str().unwrap();
        let mut args = vec!["backup", "--json", path, "--host", host, "--time", &time];
        if !tag.is_empty() {
            args.extend(["--tag", tag]);
        }
        let variables = format!("TZ={zone}");
        let id = backup_in(&ground, &variables, &args);
        let received = (claimed + numbers.below(2 * DAY - 120)).saturating_sub(DAY - 60) * 1000;
        ground.server.set_fact(&format!("web1/snapshots/{id}"), "received", &received.to_string());
        ago += match numbers.below(6) {
            _ if number < GROUPS => numbers.below(2 * DAY),
            0 => 1 + numbers.below(HOUR),
            1 => numbers.below(12 * HOUR),
            2 | 3 => DAY,
            4 => numbers.below(12 * DAY),
            _ => numbers.below(60 * DAY),
        };
    }
    ground
}

fn backup_in(ground: &Ground, zone: &str, args: &[&str]) -> String {
    let mut command = std::process::Command::new(pawl_tests::program::program("restic-0.19"));
    let (name, value) = zone.split_once('=').unwrap();
    command.args(["-r", ground.restic.repository(), "--no-cache"]).args(args);
    command.env(name, value).env("RESTIC_PASSWORD", "secret");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    pawl_tests::clients::Backup::reported(&String::from_utf8_lossy(&output.stdout)).snapshot
}

/// A time in Unix seconds, as clocks show it there.
fn in_zone(seconds: u64, zone: &str) -> String {
    let mut command = std::process::Command::new("date");
    let output = command.env("TZ", zone).args(["-d", &format!("@{seconds}"), "+%F %T"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn rules(numbers: &mut Numbers) -> Vec<String> {
    let mut rules = Vec::new();
    for unit in ["last", "hourly", "daily", "weekly", "monthly", "yearly"] {
        if numbers.below(3) == 0 {
            let number = match numbers.below(8) {
                0 => "unlimited".to_owned(),
                _ => (1 + numbers.below(9)).to_string(),
            };
            rules.push(format!("--keep-{unit}={number}"));
        }
    }
    for unit in ["", "-hourly", "-daily", "-weekly", "-monthly", "-yearly"] {
        if numbers.below(4) == 0 {
            let within = match numbers.below(5) {
                0 => format!("{}h", 1 + numbers.below(100)),
                1 => format!("{}d", 1 + numbers.below(100)),
                2 => format!("{}m", 1 + numbers.below(20)),
                3 => format!("{}y", 1 + numbers.below(3)),
                _ => format!("{}m{}d{}h", numbers.below(14), 1 + numbers.below(40), numbers.below(30)),
            };
            rules.push(format!("--keep-within{unit}={within}"));
        }
    }
    if rules.is_empty() {
        rules.push("--keep-daily=3".to_owned());
    }
    if numbers.below(4) == 0 {
        rules.push(format!("--keep-tag={}", numbers.one_of(&["a", "a,b", "none", ""])));
    }
    if numbers.below(2) == 0 {
        rules.push(format!("--group-by={}", numbers.one_of(&["", "host", "tags", "host,tags", "paths"])));
    }
    if numbers.below(4) == 0 {
        rules.push(numbers.one_of(&["--host=web1", "--tag=a", "--tag=a,b"]).to_owned());
    }
    rules
}

#[test]
fn backups_across_midnight_belong_to_the_day_that_they_claim() {
    let ground = Ground::on(Server::build().config("[maintenance]\nmin_snapshot_age_days = 0").start());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let midnight = now / DAY * DAY;
    let mut kept = Vec::new();
    for day in (1..=5).rev() {
        for (second, is_kept) in [(23 * HOUR, false), (DAY - 60, true)] {
            let claimed = midnight - day * DAY + second;
            let id = ground.backup(now - claimed, &["--time", &at(claimed)]);
            // Stored two hours later, or just now if that is not over yet: the next day.
            let ago = now - claimed;
            ground.receive(&id, ago - (2 * HOUR).min(ago - 1));
            kept.extend(is_kept.then_some(id));
        }
    }
    let removed = ground.restic_would_remove(&["--keep-daily", "5"]);
    let report = ground.report(&["--keep-daily", "5"]);
    assert_eq!(with_verdict(&report, "remove"), removed);
    assert_eq!(removed.len(), 5);
    assert_eq!(ground.there(), kept.into_iter().collect());
}
