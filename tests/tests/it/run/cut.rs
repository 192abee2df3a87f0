//! Runs that are cut: by `kill -9`, by a signal, by the time.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pawl_tests::command::{Finished, pawl_command};
use pawl_tests::maintenance::maintain;
use pawl_tests::process::Process;
use pawl_tests::program::{Run, program};
use pawl_tests::server::Server;
use pawl_tests::store::{plant, remove};
use pawl_tests::wait;
use rustix::process::Signal;
use serde_json::Value;

use super::{Ground, RULES, WELL, code_of_steps, ends, last_line, step};

/// Makes restic slow at what is named so, once it holds its lock.
fn slow_at(ground: &Ground, command: &str) -> std::path::PathBuf {
    ground.scripted(&format!(
        "case \" $* \" in *\" {command} \"*) exec $real --limit-download 1 --limit-upload 1 \"$@\";; esac"
    ))
}

/// Waits until restic holds a lock there, so many steps having been done, and returns the process.
fn restic_at_work(ground: &Ground, run: &mut Run, name: &str, done: usize) -> Process {
    wait::until("restic holds its lock", || {
        assert!(!run.has_ended(), "the run ended: {}", run.seen());
        restic_with_lock(ground, run, name, done)
    })
}

/// The process, if it holds a lock there.
fn restic_with_lock(ground: &Ground, run: &Run, name: &str, done: usize) -> Option<Process> {
    let locks = ground.server.data().join(name).join("locks");
    let is_locked = std::fs::read_dir(&locks).is_ok_and(|mut locks| locks.next().is_some());
    let is_meant = is_locked && steps_done(ground, name) == Some(done);
    is_meant.then(|| Process::child_of(run.pid(), "restic-0.19")).flatten()
}

/// How many steps are written down.
pub(super) fn steps_done(ground: &Ground, name: &str) -> Option<usize> {
    let record = ground.server.data().join(format!(".pawl/maintenance/run/{name}.json"));
    let record: Value = serde_json::from_slice(&std::fs::read(record).ok()?).ok()?;
    Some(record["last"]["steps"].as_array()?.len())
}

/// A moment in so many seconds, as the command line takes it.
pub(super) fn moment(seconds: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let then = now.checked_add_signed(seconds).unwrap();
    let date = Command::new("date").args(["-u", "-d", &format!("@{then}"), "+%FT%TZ"]).output();
    String::from_utf8(date.unwrap().stdout).unwrap().trim().to_owned()
}

#[test]
fn killed_in_any_step_of_restics_it_goes_on_where_it_was() {
    for (command, done) in [("forget", 3), ("prune", 4), ("check", 5)] {
        let ground = Ground::new(&["web1"]);
        let mut run = ground.start(&slow_at(&ground, command), &RULES);
        let restic = restic_at_work(&ground, &mut run, "web1", done);
        run.kill();
        restic.signal(Signal::KILL);
        let record = ground.server.data().join(".pawl/maintenance/run/web1.json");
        let record: Value = serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap();
        assert_eq!(record["last"]["steps"].as_array().unwrap().len(), done, "{command}: {record:#}");
        assert!(record["last"]["ended_ms"].is_null());

        let report = ground.run(&[&RULES[..], &["--json"]].concat()).expect_code(0).json();
        assert_eq!(ends(&report, "web1"), WELL, "{command}: {report:#}");
        assert_eq!(report["resumed"], true);
        assert_eq!(ground.snapshots("web1").len(), 4);
        // What was done was not done again.
        let took = record["last"]["steps"][0]["took_ms"].as_u64().unwrap() / 1000;
        assert_eq!(step(&report, "web1", "verify")["seconds"], took);
        ground.assert_unlocked();
        ground.restic("web1").check();
        let next = ground.run(&[&RULES[..], &["--json"]].concat()).expect_code(0).json();
        assert_eq!((&next["resumed"], ends(&next, "web1").len()), (&false.into(), WELL.len()));
    }
}

#[test]
fn killed_while_it_verifies_it_goes_on_where_it_was() {
    // Everything has to be read every night, so that reading takes a while.
    let config = "[maintenance]\npurge_delay_days = 2\nverify_interval_days = 1\n";
    let ground = Ground::on(Server::build().config(config).start(), &["web1"]);
    let mut run =
        ground.start(&program("restic-0.19"), &[&RULES[..], &["--bytes-per-second", "1KiB"]].concat());
    let state = ground.server.data().join(".pawl/maintenance/verify/,run.json");
    wait::until("verification has begun", || {
        assert!(!run.has_ended(), "{}", run.seen());
        std::fs::read_to_string(&state).is_ok_and(|text| text.contains("\"finished\": false")).then_some(())
    });
    run.kill();
    let report = ground.run(&[&RULES[..], &["--json"]].concat()).expect_code(0).json();
    assert_eq!((&report["resumed"], ends(&report, "web1")), (&true.into(), WELL.map(str::to_owned).to_vec()));
}

#[test]
fn told_to_end_it_has_restic_remove_its_lock_and_leaves_the_rest() {
    for (signal, command, done) in
        [(Signal::TERM, "prune", 4), (Signal::INT, "check", 5), (Signal::TERM, "forget", 3)]
    {
        let ground = Ground::new(&["db1", "web1"]);
        let mut run = ground.start(&slow_at(&ground, command), &RULES);
        let restic = restic_at_work(&ground, &mut run, "db1", done);
        run.signal(signal);
        let ended = run.end().expect_code(0);
        assert!(!restic.is_alive());
        ground.assert_unlocked();
        let last = last_line(&ended);
        assert_eq!(last["ended_by"], "signal", "{ended:#?}");
        assert!(last["left"].as_u64().unwrap() >= 6, "{ended:#?}");
        assert!(ended.stdout.contains("left for the next run: the run was told to end"), "{ended:#?}");
        let report = ground.run(&[&RULES[..], &["--json"]].concat()).expect_code(0).json();
        for host in ["db1", "web1"] {
            assert_eq!(ends(&report, host), WELL, "{report:#}");
            ground.restic(host).check();
        }
        assert_eq!((&report["resumed"], &report["left"]), (&true.into(), &0.into()));
    }
}

#[test]
fn what_a_night_left_to_be_done_comes_before_anything_is_read() {
    let ground = Ground::new(&["db1", "web1"]);
    let mut run = ground.start(&slow_at(&ground, "prune"), &RULES);
    let restic = restic_at_work(&ground, &mut run, "db1", 4);
    run.signal(Signal::TERM);
    let _ = run.end().expect_code(0);
    assert!(!restic.is_alive());
    // It is too long ago for the next run to go on with it.
    remove(&ground.server.data().join(".pawl/maintenance/run/,run.json"));
    let report = ground.run(&[&RULES[..], &["--json"]].concat()).expect_code(0).json();
    assert_eq!(report["resumed"], false);
    for name in ["db1", "web1"] {
        let mut acted_first = owned(&WELL);
        acted_first.rotate_left(1);
        assert_eq!(ends(&report, name), acted_first, "{report:#}");
        ground.restic(name).check();
    }
    // The next night is as any other.
    let report = ground.run(&[&RULES[..], &["--json"]].concat()).expect_code(0).json();
    assert_eq!((ends(&report, "db1"), ends(&report, "web1")), (owned(&WELL), owned(&WELL)));
}

#[test]
fn when_its_time_is_over_it_ends_what_goes_on_and_says_what_is_left() {
    let ground = Ground::new(&["db1", "web1"]);
    let (begun, time) = (Instant::now(), 12);
    let until = moment(time);
    let mut run = ground.start(&slow_at(&ground, "check"), &[&RULES[..], &["--until", &until]].concat());
    // Held up until then, so that a fast machine does not end it before. A slow one may not have come so far.
    let mut restic = None;
    wait::until("restic checks, or the time is over", || {
        restic = restic_with_lock(&ground, &run, "db1", 5);
        (restic.is_some() || run.has_ended()).then_some(())
    });
    if let Some(restic) = restic {
        restic.signal(Signal::STOP);
        thread::sleep(Duration::from_secs(time.unsigned_abs()).saturating_sub(begun.elapsed()));
        restic.signal(Signal::CONT);
    }
    let ended = run.end().expect_code(0);
    ground.assert_unlocked();
    let last = last_line(&ended);
    assert_eq!((&last["ended_by"], &last["well"]), (&"until".into(), &0.into()), "{ended:#?}");
    assert!(ended.stdout.contains("left for the next run: its time was over (--until)"), "{ended:#?}");
    let report = ground.run(&[&RULES[..], &["--json"]].concat()).expect_code(0).json();
    assert_eq!((ends(&report, "db1"), ends(&report, "web1")), (owned(&WELL), owned(&WELL)));
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// A run whose time is over before it begins with anything: it has to wait for what it compares with.
fn run_after_its_time(ground: &Ground, options: &[String]) -> Finished {
    let pipe = ground.server.dir().join("pipe");
    let expected = maintain(&ground.server.place(), &["report", "--json"]).stdout;
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (began, time) = (Instant::now(), Duration::from_secs(20));
    let until = moment(time.as_secs().cast_signed() - 1);
    let mut command = pawl_command();
    command.args(["maintain", "run", "--json", "--until", &until, "--compare"]).arg(&pipe).args(options);
    let run = Run::start(command);
    let mut waiting = wait::until("the run reads", || {
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        OpenOptions::new().write(true).custom_flags(nonblocking).open(&pipe).ok() // only once somebody reads
    });
    remove(&pipe);
    plant(&pipe, expected.as_bytes()); // for whoever reads it again
    thread::sleep(time.saturating_sub(began.elapsed()));
    waiting.write_all(expected.as_bytes()).unwrap();
    drop(waiting);
    let finished = run.end();
    remove(&pipe);
    finished
}

/// The options of a run of everything.
fn of_everything(ground: &Ground) -> Vec<String> {
    let rules = RULES.map(str::to_owned).into_iter();
    rules
        .chain(ground.options(&program("restic-0.19")))
        .chain(ground.server.place().map(str::to_owned))
        .collect()
}

/// Sets back what is remembered of a repository: the first run, and what these steps ended well.
fn remember_long_ago(ground: &Ground, name: &str, steps: &[&str]) {
    let record = ground.server.data().join(format!(".pawl/maintenance/run/{name}.json"));
    let mut remembered: Value = serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(5 * super::DAY);
    let long_ago = u64::try_from(long_ago.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    for step in steps {
        remembered["well_ms"][step] = long_ago.into();
    }
    remembered["first_ms"] = long_ago.into();
    plant(&record, remembered.to_string().as_bytes());
}

#[test]
fn a_time_that_is_past_is_refused() {
    let ground = Ground::new(&["web1"]);
    let past = moment(-60);
    let refused = ground.run(&[&RULES[..], &["--until", &past]].concat()).expect_code(2);
    let why = last_line(&refused)["error"].as_str().unwrap().to_owned();
    assert!(why.contains("until: expected a moment that lies ahead") && why.contains(&past), "{why}");
    assert!(!ground.server.data().join(".pawl/maintenance/run/web1.json").exists());
}

#[test]
fn after_its_time_nothing_begins() {
    let ground = Ground::new(&["web1"]);
    let report = run_after_its_time(&ground, &of_everything(&ground)).json();
    assert_eq!(code_of_steps(&report), 0);
    let left =
        ["verify", "purge", "examine", "forget", "prune", "check"].map(|step| format!("{step} skipped"));
    assert_eq!(ends(&report, "web1"), left);
    assert_eq!((&report["left"], &report["ended_by"]), (&6.into(), &"until".into()));
    assert_eq!(report["well"], 0);
    assert_eq!(ground.snapshots("web1").len(), 6);

    // What nobody asked for is not left.
    let alone = ground.server.place().map(str::to_owned);
    let report = run_after_its_time(&ground, &alone).json();
    assert_eq!(code_of_steps(&report), 0);
    assert_eq!(ends(&report, "web1"), ["verify skipped", "purge skipped"]);

    // Night after night without time is worth a look.
    remember_long_ago(&ground, "web1", &["prune"]);
    let report = run_after_its_time(&ground, &of_everything(&ground)).expect_code(1).json();
    let said = |name: &str| step(&report, "web1", name)["said"][1].as_str().unwrap();
    assert_eq!(said("prune"), "it last ended well 5 days ago; give it more time");
    assert_eq!(said("verify"), "it never ended well, and the first run was 5 days ago; give it more time");
    assert_eq!((&report["notices"], &report["well"]), (&1.into(), &0.into()));
}

#[test]
fn of_a_repository_that_was_never_initialised_no_step_is_late() {
    let ground = Ground::new(&[]);
    let client = ground.server.add_client("draft", &[]);
    assert_eq!(client.ask("POST", "/draft/?create=true").unwrap().status, 200);
    let report = ground.run(&[&RULES[..], &["--json"]].concat()).expect_code(0).json();
    assert_eq!(ends(&report, "draft")[0], "verify well", "{report:#}");
    let steps = ["verify", "examine", "forget", "prune", "check", "purge"];
    remember_long_ago(&ground, "draft", &steps);
    let report = maintain(&ground.server.place(), &["report", "--json"]).json().to_string();
    assert!(!report.contains("steps last ended well"), "{report}");
    let report = run_after_its_time(&ground, &of_everything(&ground)).expect_code(0).json();
    assert!(report["left"].as_u64().unwrap() > 0, "{report:#}");
    assert!(!report.to_string().contains("give it more time"), "{report:#}");
    // With a config all of them are.
    plant(&ground.server.data().join("draft/config"), &[1; 155]);
    let report = maintain(&ground.server.place(), &["report", "--json"]).json().to_string();
    assert!(report.contains("steps last ended well"), "{report}");
    let report = run_after_its_time(&ground, &of_everything(&ground)).expect_code(1).json();
    assert_eq!(report.to_string().matches("give it more time").count(), steps.len(), "{report:#}");
}

#[test]
fn a_second_run_says_so_at_once() {
    let ground = Ground::new(&["web1"]);
    let mut run = ground.start(&slow_at(&ground, "prune"), &RULES);
    let restic = restic_at_work(&ground, &mut run, "web1", 4);
    restic.signal(Signal::STOP); // so that it does not end before the second has
    let second = ground.run(&RULES).expect_code(2);
    assert!(second.stderr.contains("another `pawl maintain run` is at work here"), "{second:#?}");
    assert!(last_line(&second)["error"].as_str().unwrap().contains("another"));
    assert!(!run.has_ended());
    run.signal(Signal::TERM);
    restic.signal(Signal::CONT);
    let _ = run.end().expect_code(0);
}
