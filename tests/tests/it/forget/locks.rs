//! Others have locked the repository: an honest backup is waited for, and a thief keeps nobody from working.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use pawl_tests::clients::Version;
use pawl_tests::command::{Finished, pawl, pawl_command};
use pawl_tests::content::{id_of, noise};
use pawl_tests::http::{Client, Response};
use pawl_tests::program::{Run, program};
use pawl_tests::store::{plant, remove, set_fact};
use pawl_tests::{wait, with_each_restic};
use serde_json::Value;

use super::Ground;

const RULES: [&str; 2] = ["--keep-last", "4"];
/// By restic's own rule a lock is stale after 30 minutes.
const STALE: Duration = Duration::from_mins(31);
/// So many seconds Pawl waits here for locks that were on their way when the suspension began, instead of a minute. A lock
/// that a test makes at once is stored by then, on however busy a machine.
const ARRIVE_WITHIN: &str = "10s";
/// What Pawl logs when a lock that arrives from then on is not waited for.
const WAITS_FOR_STALE: &str = "waiting until these are stale";
const SUSPENDED: &str = "maintenance is waiting for this repository; locks are suspended until ";

with_each_restic! {
    a_running_backup_is_waited_for,
    a_lock_that_is_renewed_for_ever_stops_nobody,
}

/// A backup that goes on until it is told that its input has ended.
struct Backing(Child);

impl Backing {
    fn start(ground: &Ground, version: Version) -> Self {
        let name = match version {
            Version::V0_14 => "restic-0.14",
            Version::V0_18 => "restic-0.18",
            Version::V0_19 => "restic-0.19",
        };
        let mut command = Command::new(program(name));
        command.args(["-r", ground.restic.repository(), "--no-cache", "backup", "--stdin", "--host", "web1"]);
        command.env("RESTIC_PASSWORD", "secret").stdin(Stdio::piped());
        let backup = Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        wait::until("the backup holds its lock", || (!ground.locks().is_empty()).then_some(()));
        backup
    }

    fn end(mut self) {
        self.0.stdin.take().unwrap().write_all(b"the last of it").unwrap();
        assert!(self.0.wait().unwrap().success(), "the backup is not ended by maintenance");
    }
}

impl Drop for Backing {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it fails only if it has ended
        let _ = self.0.wait();
    }
}

impl Ground {
    fn locks(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.server.data().join("web1/locks"));
        names.map_or_else(
            |_| Vec::new(),
            |names| names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect(),
        )
    }

    /// Has Pawl believe that all locks that are there are stale.
    fn let_locks_go_stale(&self) {
        for lock in self.locks() {
            self.server.back_date(&format!("web1/locks/{lock}"), STALE);
        }
    }

    /// Starts `forget`.
    fn start_forgetting(&self, lock_wait: &str) -> Run {
        let mut command = pawl_command();
        command.args(["maintain", "forget", "web1", "--json", "--lock-wait", lock_wait]).args(RULES);
        command.args(["--locks-arrive-within", ARRIVE_WITHIN]);
        command.args(&self.options).args(self.server.place());
        Run::start(command)
    }

    /// The marks that suspend locks.
    fn marks(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.server.data().join(".pawl/suspended/web1/locks"));
        names.map_or_else(
            |_| Vec::new(),
            |names| names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect(),
        )
    }

    /// Suspends locks until so many seconds from now, as a run of maintenance does.
    fn suspend(&self, seconds: i64) {
        let marks = self.server.data().join(".pawl/suspended/web1/locks");
        for mark in self.marks() {
            remove(&marks.join(mark));
        }
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        let until = i64::try_from(now).unwrap() + seconds * 1000;
        plant(&marks.join(until.to_string()), b"");
    }

    /// Locks, and removes that lock again if that was allowed.
    fn lock(&self, seed: &str) -> Response {
        let lock = noise(seed, 100);
        let target = format!("/web1/locks/{}", id_of(&lock));
        let answer = self.host.post(&target, &lock).unwrap();
        if answer.status == 200 {
            assert_eq!(self.host.ask("DELETE", &target).unwrap().status, 200);
        }
        answer
    }
}

/// What the audit logs say.
fn audit(ground: &Ground, options: &[&str]) -> String {
    let args = ["audit", "show"].into_iter().chain(options.iter().copied()).chain(ground.server.place());
    pawl(args).expect_code(0).stdout
}

/// Something that is done again and again until this is dropped.
struct Again {
    over: &'static AtomicBool,
    thread: Option<JoinHandle<()>>,
}

impl Again {
    fn every(pause: Duration, mut deed: impl FnMut() + Send + 'static) -> Self {
        let over: &AtomicBool = Box::leak(Box::default());
        let thread = thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                deed();
                thread::sleep(pause);
            }
        });
        Self { over, thread: Some(thread) }
    }
}

impl Drop for Again {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let ended = self.thread.take().is_some_and(|thread| thread.join().is_ok());
        assert!(ended || thread::panicking());
    }
}

/// Renews a lock as restic does, only more often: makes another, and removes the one before.
fn renewing(host: Client) -> Again {
    let (mut number, mut last) = (0, None::<String>);
    Again::every(Duration::from_millis(200), move || {
        number += 1;
        let lock = noise(&format!("lock {number}"), 100);
        let target = format!("/web1/locks/{}", id_of(&lock));
        if host.post(&target, &lock).unwrap().status == 200
            && let Some(last) = last.replace(target)
        {
            assert_eq!(host.ask("DELETE", &last).unwrap().status, 200);
        }
    })
}

fn assert_forgotten(ground: &Ground, finished: Finished, code: i32) -> Value {
    let report = finished.expect_code(code).json();
    assert_eq!(report["removed"], 2, "{report}");
    assert_eq!(ground.there().len(), 4);
    assert!(ground.marks().is_empty(), "locks are still suspended");
    for lock in ground.locks() {
        ground.server.remove(&format!("web1/locks/{lock}")); // what a thief went on to make afterwards
    }
    assert_eq!(ground.lock("afterwards").status, 200);
    report["locks"].clone()
}

fn a_running_backup_is_waited_for(version: Version) {
    let ground = Ground::new();
    let good = ground.daily(20, 6);
    let backup = Backing::start(&ground, version);
    // It can be looked at all the same.
    let _ = ground.forget(&[&RULES[..], &["--dry-run"]].concat()).expect_code(0);
    let mut run = ground.start_forgetting("1h");
    wait::until("the backup is waited for", || {
        assert!(!run.has_ended(), "{}", run.seen());
        run.seen().contains("locked; waiting").then_some(())
    });
    assert_eq!((ground.there().len(), ground.marks().len()), (good.len(), 0));
    backup.end();
    let report = run.end().expect_code(0).json();
    assert_eq!(
        (&report["locks"]["suspended"], &report["locks"]["stale_removed"]),
        (&false.into(), &0.into())
    );
    assert_eq!(report["removed"], 2, "{report}");
    assert_eq!(ground.there().len(), 5);
    ground.restic.check();
}

/// A156: A host keeps a repository locked for ever, by a backup without an end and by locks that it renews, so that nothing
/// is ever forgotten.
fn a_lock_that_is_renewed_for_ever_stops_nobody(version: Version) {
    let ground = Ground::new();
    let good = ground.daily(20, 6);
    let backup = Backing::start(&ground, version);
    let thief = renewing(ground.host.clone());
    let mut run = ground.start_forgetting("3s");
    let until_ms: u64 = wait::until("locks are suspended", || ground.marks().pop()).parse().unwrap();
    // Who begins is refused for now; who renews for good, for restic would work on meanwhile; and only locks are.
    let other = ground.server.client(&ground.server.add_host("web2", &["--repository", "web1"]));
    let lock = noise("another's", 100);
    let refused = other.post(&format!("/web1/locks/{}", id_of(&lock)), &lock).unwrap();
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.reason.starts_with(SUSPENDED) && refused.reason.ends_with(" UTC"), "{refused:?}");
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=40 * 60).contains(&seconds), "{seconds}");
    let renewal = ground.lock("while they are suspended");
    assert!(renewal.status == 403 && renewal.reason.starts_with(SUSPENDED), "{renewal:?}");
    let data = noise("data", 1000);
    assert_eq!(ground.host.post(&format!("/web1/data/{}", id_of(&data)), &data).unwrap().status, 200);
    assert!(!run.has_ended());
    assert_eq!(ground.there().len(), good.len());
    ground.let_locks_go_stale();
    let finished = run.end();
    drop((thief, backup));
    let report = assert_forgotten(&ground, finished, 1);
    assert_eq!(report["suspended"], true);
    let kept_by = report["kept_by"].as_array().unwrap();
    assert_eq!((kept_by.len(), &kept_by[0]["principal"]), (1, &"web1".into()), "{report}");
    assert!(kept_by[0]["renewals"].as_u64().unwrap() >= 1, "{report}");
    assert_eq!(kept_by[0]["in_spite"], 0, "{report}");
    let shown = audit(&ground, &[]);
    let told = |what: &str| shown.lines().filter(|line| line.contains(what)).count();
    assert_eq!(told("suspended new locks of hosts in web1 until 20"), 1, "{shown}");
    assert_eq!(told("let hosts lock web1 again for uid-"), 1, "{shown}");
    let events: Vec<Value> = audit(&ground, &["--json", "--repository", "web1"])
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| line["event"].as_str().unwrap().starts_with("locks_"))
        .collect();
    assert_eq!(
        (&events[0]["event"], &events[1]["event"]),
        (&"locks_suspended".into(), &"locks_resumed".into())
    );
    assert_eq!(events[0]["until_ms"].as_u64(), Some(until_ms));
    ground.restic.check();
}

/// A thief locks only for the moment in which it sees a lock of maintenance.
#[test]
fn who_is_always_faster_with_a_lock_stops_nobody() {
    let ground = Ground::new();
    ground.daily(20, 6);
    let backup = Backing::start(&ground, Version::V0_19);
    let mine = ground.locks().remove(0);
    let content = std::fs::read(ground.server.data().join("web1/locks").join(&mine)).unwrap();
    backup.end();
    let (host, target) = (ground.host.clone(), format!("/web1/locks/{mine}"));
    // Within the 200 ms after which restic looks again, and within the connections that one address may open.
    let thief = Again::every(Duration::from_millis(70), move || {
        let there = host.ask("GET", "/web1/locks/").unwrap().text();
        if there.len() > 2 && host.post(&target, &content).unwrap().status == 200 {
            thread::sleep(Duration::from_secs(1));
            assert_eq!(host.ask("DELETE", &target).unwrap().status, 200);
        }
    });
    let finished = ground.start_forgetting("10s").end();
    drop(thief);
    assert!(matches!(finished.code, Some(0 | 1)), "{finished:#?}");
    assert_eq!(ground.there().len(), 5, "{finished:#?}");
    assert_eq!(ground.lock("afterwards").status, 200);
}

/// Gives a file its name, with all that belongs to it.
#[expect(clippy::disallowed_methods, reason = "stands in for code in the server")]
fn appear(file: &std::path::Path, name: &std::path::Path) {
    std::fs::rename(file, name).unwrap();
}

/// A157: Code in the server stores locks although they are suspended.
#[test]
fn locks_that_come_in_spite_of_a_suspension_are_not_heeded() {
    let ground = Ground::new();
    ground.daily(20, 6);
    let lock = noise("the first", 100);
    assert_eq!(ground.host.post(&format!("/web1/locks/{}", id_of(&lock)), &lock).unwrap().status, 200);
    let mut run = ground.start_forgetting("0s");
    wait::until("locks are suspended", || (!ground.marks().is_empty()).then_some(()));
    wait::until("the first lock is waited for", || {
        assert!(!run.has_ended(), "the first lock is not waited for: {}", run.seen());
        run.seen().contains(WAITS_FOR_STALE).then_some(())
    });
    let (locks, aside) = (ground.server.data().join("web1/locks"), ground.server.dir().join("aside"));
    let mut number = 0;
    let door = Again::every(Duration::from_millis(20), move || {
        number += 1;
        let lock = noise(&format!("in spite {number}"), 100);
        plant(&aside, &lock);
        set_fact(&aside, "creator", "web1");
        appear(&aside, &locks.join(id_of(&lock)));
    });
    wait::until("some locks have come", || (ground.locks().len() > 5).then_some(()));
    ground.server.back_date(&format!("web1/locks/{}", id_of(&lock)), STALE);
    let finished = run.end();
    drop(door);
    let report = assert_forgotten(&ground, finished, 1);
    let kept_by = report["kept_by"].as_array().unwrap();
    assert_eq!(kept_by[0]["principal"], "web1", "{report}");
    assert!(kept_by[0]["in_spite"].as_u64().unwrap() > 5, "{report}");
}

/// A158: A host writes, removes or prolongs the mark that suspends locks.
#[test]
fn a_suspension_is_out_of_a_hosts_reach() {
    let ground = Ground::new();
    ground.daily(20, 6);
    ground.suspend(600);
    let mark = ground.marks().remove(0);
    let before = ground.server.stored();
    let lock = noise("mark", 100);
    let names = [mark.clone(), "9999999999999".to_owned(), id_of(&lock)];
    let places =
        ["/.pawl/suspended/web1/locks/", "/web1/../.pawl/suspended/web1/locks/", "/suspended/web1/locks/"];
    for place in places {
        for name in &names {
            let target = format!("{place}{name}");
            for method in ["GET", "HEAD", "PUT", "DELETE", "PATCH", "MOVE"] {
                let answer = ground.host.ask(method, &target).unwrap();
                assert!((400..500).contains(&answer.status), "{method} {target}: {answer:?}");
            }
            let answer = ground.host.post(&target, &lock).unwrap();
            assert!((400..500).contains(&answer.status), "POST {target}: {answer:?}");
        }
        let answer = ground.host.ask("POST", &format!("{place}?create=true")).unwrap();
        assert!((400..500).contains(&answer.status), "{place}: {answer:?}");
    }
    before.assert_unchanged(&ground.server.stored());
    assert_eq!(ground.marks(), [mark]);
    assert_eq!(ground.lock("still").status, 503);
    // A mark that says nothing suspends as well, until maintenance looks after it.
    let marks = ground.server.data().join(".pawl/suspended/web1/locks");
    ground.suspend(-1);
    assert_eq!(ground.lock("over").status, 200);
    plant(&marks.join("until tomorrow"), b"");
    assert_eq!(ground.lock("unclear").status, 503);
    let report = assert_forgotten(&ground, ground.start_forgetting("0s").end(), 0);
    assert_eq!(report["suspended"], false);
}

/// A159: A run of maintenance is killed while it has locks suspended, so that nobody can back up any more.
#[test]
fn a_suspension_of_a_run_that_was_killed_ends_by_itself() {
    let ground = Ground::new();
    ground.daily(20, 6);
    let lock = noise("a lock", 100);
    assert_eq!(ground.host.post(&format!("/web1/locks/{}", id_of(&lock)), &lock).unwrap().status, 200);
    let run = ground.start_forgetting("0s");
    wait::until("locks are suspended", || (!ground.marks().is_empty()).then_some(()));
    run.kill();
    assert_eq!(ground.lock("just after").status, 403);
    let until: u64 = ground.marks()[0].parse().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    assert!(u128::from(until) - now <= 40 * 60 * 1000, "it says for longer than 40 minutes");
    for (seconds, status) in [(1800, 403), (2500, 200), (-1, 200)] {
        ground.suspend(seconds);
        assert_eq!(ground.lock(&format!("{seconds}")).status, status, "until {seconds} seconds from now");
    }
    // The next run ends what is left of it, and removes locks that nobody holds any more.
    ground.suspend(1800);
    ground.let_locks_go_stale();
    let expired = noise("expired", 100);
    let path = ground.server.data().join("web1/locks").join(id_of(&expired));
    plant(&path, &expired);
    pawl_tests::store::back_date(&path, Duration::from_hours(2));
    let report = assert_forgotten(&ground, ground.start_forgetting("0s").end(), 0);
    assert_eq!((&report["suspended"], &report["stale_removed"]), (&false.into(), &2.into()), "{report}");
}
