//! What came of a host's nights, and the line about it.

use std::collections::BTreeMap;

use pawl_tests::program::Run;
use pawl_tests::wait;
use rustix::process::Signal;

/// How many lines about one reason are printed.
const TOLD_MAX: usize = 3;

/// What came of a host's days and nights.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) well: u64,
    pub(super) notices: u64,
    pub(super) failed: u64,
    /// Steps at which somebody is asked to look.
    pub(super) requests: u64,
    /// Backups that were refused.
    pub(super) refused: u64,
    /// What was said, and on which nights.
    pub(super) said: BTreeMap<String, Vec<u64>>,
    /// The most percent of what plain restic needs.
    pub(super) worst: u64,
    /// Bytes of its repository and of what is pending, after the last night.
    pub(super) disk: u64,
}

impl Tally {
    /// What a backup prints; nothing if the repository has no room for it. restic would try again for a quarter of an hour.
    pub(super) fn backup(&mut self, mut backup: Run) -> Option<String> {
        wait::until("the backup ends, or finds no room", || {
            (backup.has_ended() || has_no_room(&backup.seen())).then_some(())
        });
        if backup.has_ended() {
            let ended = backup.end();
            if ended.code == Some(0) {
                return Some(ended.stdout);
            }
            assert!(has_no_room(&ended.stderr), "{ended:#?}");
        } else {
            backup.signal(Signal::INT);
            let _ = backup.end();
        }
        self.refused += 1;
        None
    }

    /// What a night said that was not well.
    pub(super) fn night(&mut self, night: u64, said: &[(String, String)]) {
        self.requests += said.len() as u64;
        for (ended, text) in said {
            self.said.entry(format!("{ended}: {text}")).or_default().push(night);
        }
        match (said.is_empty(), said.iter().any(|(ended, _)| ended == "failed")) {
            (true, _) => self.well += 1,
            (false, false) => self.notices += 1,
            (false, true) => self.failed += 1,
        }
    }
}

/// Whether restic was told that there is no room.
fn has_no_room(said: &str) -> bool {
    said.contains("(507)") || said.contains("no space left")
}

const HEAD: [&str; 11] = [
    "host",
    "well",
    "notices",
    "failed",
    "requests to look",
    "backups refused",
    "snapshots",
    "disk",
    "plain restic",
    "with the delay",
    "share (largest)",
];

/// Prints the lines of all hosts.
pub(super) fn print(rows: &[[String; 11]]) {
    let print = |cells: [&str; 11]| println!("| {} |", cells.join(" | "));
    print(HEAD);
    print(["---"; 11]);
    for row in rows {
        print(row.each_ref().map(String::as_str));
    }
}

/// Prints what was said of a host, and on which nights.
pub(super) fn print_said(name: &str, tally: &Tally) {
    for (said, nights) in &tally.said {
        println!(
            "{name}: {} nights, first {:?}: {said}",
            nights.len(),
            &nights[..nights.len().min(TOLD_MAX)]
        );
    }
}
