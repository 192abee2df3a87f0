//! A look at a repository that is cut, by `kill -9` and by a signal, and goes on where it was.
//!
//! Invariant: what was found good is not opened again, and nothing is called good that is not.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

use std::collections::BTreeSet;
use std::fmt::Write as _;

use pawl_tests::clients::{self, Restic, Version};
use pawl_tests::command::pawl_command;
use pawl_tests::content::id_of;
use pawl_tests::forger::Forger;
use pawl_tests::program::{Run, program};
use pawl_tests::server::Server;
use pawl_tests::store::plant;
use pawl_tests::wait;
use rustix::process::Signal;
use serde_json::Value;

/// Snapshots, each with a tree of its own, and one in so many is broken.
const SNAPSHOTS: usize = 60;
const BROKEN: usize = 6;
/// Entries of each tree: enough that all of them take several times what lies between two writings, on a fast machine too.
const ENTRIES: usize = 25_000;

struct Ground {
    server: Server,
    broken: BTreeSet<String>,
}

#[test]
fn a_look_that_is_cut_goes_on_where_it_was() {
    let ground = Ground::new();
    let mut good = BTreeSet::new();
    for signal in [Signal::KILL, Signal::TERM] {
        let mut run = ground.start();
        wait::until("more snapshots are known to be good", || {
            assert!(!run.has_ended(), "it ended too early: {}", run.seen());
            (ground.good().len() > good.len()).then_some(())
        });
        let finished = run.end_by(signal);
        let now = ground.good();
        assert!(now.is_superset(&good) && now.len() > good.len(), "{finished:#?}");
        assert!(now.len() < SNAPSHOTS - ground.broken.len(), "everything was done: {finished:#?}");
        assert!(now.is_disjoint(&ground.broken));
        assert_eq!(ground.state()["whole"], false, "the first look is not over");
        good = now;
    }
    let finished = ground.start().end();
    let opened = format!("opened {} new files", SNAPSHOTS - good.len());
    assert!(finished.stdout.contains(&opened), "expected {opened}, indexes and all: {finished:#?}");
    let all = ground.good();
    assert!(all.is_superset(&good) && all.is_disjoint(&ground.broken));
    assert_eq!((all.len(), &ground.state()["whole"]), (SNAPSHOTS - ground.broken.len(), &true.into()));
    assert_eq!(ground.hidden(), ground.broken);
}

impl Ground {
    fn new() -> Self {
        let server = Server::start();
        let credential = clients::ready(&server, "web1");
        let restic = Restic::new(Version::V0_19, &credential);
        plant(&server.dir().join("password"), b"secret");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(server.dir().join("password"), mode).unwrap();
        let host = Forger::new(&restic, server.client(&credential), "web1");
        let mut broken = BTreeSet::new();
        let mut packs = Vec::new();
        for number in 0..SNAPSHOTS {
            let is_broken = number % BROKEN == 0;
            let tree = tree(number, is_broken);
            packs.push(host.store_trees(&[tree.as_bytes()]));
            let snapshot = host.store_snapshot(&id_of(tree.as_bytes()));
            if is_broken {
                broken.insert(snapshot);
            }
        }
        let named: Vec<_> = packs.iter().map(|pack| (pack.id.as_str(), &pack.blobs[..])).collect();
        host.store_index(&named);
        Self { server, broken }
    }

    fn start(&self) -> Run {
        let mut command = pawl_command();
        command.args(["maintain", "run", "web1"]).args(self.server.place());
        command.arg("--restic").arg(program("restic-0.19"));
        command.arg("--password-file").arg(self.server.dir().join("password"));
        Run::start(command)
    }

    /// What is remembered.
    fn state(&self) -> Value {
        let state = self.server.data().join(".pawl/maintenance/examined/web1.json");
        std::fs::read(state).map(|state| serde_json::from_slice(&state).unwrap()).unwrap_or_default()
    }

    /// Snapshots that are remembered as good.
    fn good(&self) -> BTreeSet<String> {
        let state = self.state();
        let good = state["good"].as_array().into_iter().flatten().map(|file| file.as_str().unwrap());
        good.filter(|file| file.starts_with("snapshots/")).map(str::to_owned).collect()
    }

    fn hidden(&self) -> BTreeSet<String> {
        let record = std::fs::read(self.server.data().join(".pawl/maintenance/run/web1.json")).unwrap();
        let record: Value = serde_json::from_slice(&record).unwrap();
        let junk = record["junk"].as_array().unwrap().iter();
        junk.map(|junk| junk["file"].as_str().unwrap().to_owned()).collect()
    }
}

/// A large directory, unlike every other; a broken one needs a blob that nobody has.
fn tree(number: usize, is_broken: bool) -> String {
    let mut tree = "{\"nodes\":[".to_owned();
    for entry in 0..ENTRIES {
        let name = format!("{number:03}-{entry:06}");
        write!(tree, r#"{{"name":"{name}","type":"file","mtime":"2026-11-20T01:02:03Z","content":[]}},"#)
            .unwrap();
    }
    let content = if is_broken { format!("\"{}\"", id_of(b"nobody has it")) } else { String::new() };
    tree + &format!(r#"{{"name":"x","type":"file","content":[{content}]}}]}}"#)
}
