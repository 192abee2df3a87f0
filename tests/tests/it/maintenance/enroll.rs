//! `pawl maintain enroll`: one command for any host.

use std::path::{Path, PathBuf};

use pawl_tests::clients::{Restic, Version};
use pawl_tests::command::{Finished, pawl_command};
use pawl_tests::content::noise;
use pawl_tests::cut;
use pawl_tests::maintenance::{Maintenance, maintain};
use pawl_tests::program::{Run, program};
use pawl_tests::server::Server;
use pawl_tests::store::{plant, plant_program, plant_secret};

const VERSION: Version = Version::V0_19;

fn enroll_with(server: &Server, restic: &str, args: &[&str]) -> Finished {
    let restic = program(restic);
    let options = ["--restic", restic.to_str().unwrap()];
    maintain(&server.place(), &[&["enroll"], args, &options[..]].concat())
}

fn enroll(server: &Server, args: &[&str]) -> Finished {
    enroll_with(server, "restic-0.19", args)
}

/// The value of a variable that is to be pasted.
fn pasted<'a>(printed: &'a str, variable: &str) -> Option<&'a str> {
    let begin = format!("export {variable}='");
    printed.lines().find_map(|line| line.strip_prefix(&begin)?.strip_suffix('\''))
}

/// The host's restic, as what was printed sets it up.
fn host(printed: &str) -> Restic {
    let host = Restic::at(VERSION, pasted(printed, "RESTIC_REPOSITORY").expect("a repository"));
    let host = match pasted(printed, "RESTIC_PASSWORD") {
        Some(password) => host.variable("RESTIC_PASSWORD", password),
        None => host,
    };
    plant(&host.home().join("files/a"), &noise("a", 100_000));
    host
}

fn management_password(server: &Server) -> PathBuf {
    server.data().join(".pawl/maintenance/management.password")
}

fn configuration(server: &Server) -> String {
    std::fs::read_to_string(Path::new(server.place()[1])).unwrap()
}

/// The steps of a run that were skipped or failed.
fn not_done(server: &Server) -> Vec<String> {
    let report = maintain(&server.place(), &["run", "--json"]).json();
    let steps = report["steps"].as_array().unwrap().iter();
    let not_done = steps.filter(|step| step["ended"] == "skipped" || step["ended"] == "failed");
    not_done.map(ToString::to_string).collect()
}

#[test]
fn a_new_host_is_backed_up_and_every_night_does_its_whole_work() {
    let server = Server::start();
    let printed = enroll(&server, &["web1"]).expect_code(0).stdout;
    assert!(!printed.contains("restic init"), "{printed}");
    assert!(printed.contains("`pawl serve` begins the night at 03:30"), "{printed}");
    let host = host(&printed);
    host.backup(&host.home().join("files"));
    assert_eq!(host.succeed(["key", "list", "--json"]).matches("\"id\"").count(), 1);
    let written = configuration(&server);
    for line in
        ["at = \"03:30\"", "keep_daily = 14", "keep_weekly = 8", "keep_monthly = 12", "password_file = "]
    {
        assert!(written.contains(line), "{written}");
    }
    assert_eq!(not_done(&server), Vec::<String>::new());

    let door = Maintenance::start(&server);
    let file = management_password(&server);
    let admin = door.restic(VERSION, "web1").option("--password-file").option(file.to_str().unwrap());
    admin.check();
    assert_eq!(admin.succeed(["key", "list", "--json"]).matches("\"id\"").count(), 2);
    // The server that it opened for itself is closed.
    let own = server.data().join(".pawl/maintenance");
    let sockets: Vec<_> = std::fs::read_dir(own)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("sock"))
        .collect();
    assert_eq!(sockets, ["maintain.sock"]);
}

#[test]
fn of_a_host_that_is_minutes_old_nobody_is_asked_for_more_than_is_due() {
    let server = Server::start();
    let _ = enroll(&server, &["web1"]).expect_code(0);
    let report = maintain(&server.place(), &["report"]).expect_code(0).stdout;
    assert!(report.contains("\n  first night   begins at 2") && report.contains(":00Z\n"), "{report}");
    assert!(!report.contains("every day"), "{report}");
    let checked = pawl_tests::command::pawl(["doctor"].into_iter().chain(server.place())).stdout;
    assert!(!checked.contains("are not verified"), "{checked}");
    let night = maintain(&server.place(), &["run", "--json"]).expect_code(0).json();
    assert_eq!(night["attention"], 0, "{night}");
    let report = maintain(&server.place(), &["report"]).expect_code(0).stdout;
    assert!(!report.contains("first night"), "{report}");
}

#[test]
fn a_second_time_nothing_changes() {
    let server = Server::start();
    let _ = enroll(&server, &["web1"]).expect_code(0);
    let (written, stored) = (configuration(&server), server.stored());
    let again = enroll(&server, &["web1"]).expect_code(0).stdout;
    assert!(again.contains("was there already") && again.contains("stays as it is"), "{again}");
    assert_eq!(pasted(&again, "RESTIC_PASSWORD"), None);
    assert_eq!(configuration(&server), written);
    stored.assert_unchanged(&server.stored());
    // A second host needs no second time of the settings.
    let second = enroll(&server, &["web2"]).expect_code(0).stdout;
    host(&second).check();
    assert_eq!(configuration(&server), written);
}

#[test]
fn a_host_that_backs_up_already_needs_its_password_once_and_keeps_its_credential() {
    let server = Server::start();
    let restic = Restic::new(VERSION, &server.add_host("web1", &[]));
    restic.succeed(["init"]);
    plant(&restic.home().join("files/a"), &noise("a", 1000));
    restic.backup(&restic.home().join("files"));
    let refused = enroll(&server, &["web1"]).expect_code(1);
    assert!(refused.stderr.contains("expected --password-file"), "{refused:?}");
    assert!(!configuration(&server).contains("maintenance.run"));

    let own = server.dir().join("own");
    plant_secret(&own, b"wrong");
    let wrong = enroll(&server, &["web1", "--password-file", own.to_str().unwrap()]).expect_code(1);
    assert!(wrong.stderr.contains("opens no key of web1") && wrong.stderr.contains("own"), "{wrong:?}");
    plant_secret(&own, b"secret");
    let printed = enroll(&server, &["web1", "--password-file", own.to_str().unwrap()]).expect_code(0).stdout;
    assert!(printed.contains("The credential of web1 stays as it is"), "{printed}");
    restic.check();
    assert_eq!(not_done(&server), Vec::<String>::new());
}

#[test]
fn a_repository_of_rest_server_is_taken_over_with_the_times_of_its_snapshots() {
    let server = Server::start();
    let local = Restic::at(VERSION, server.data().join("web1").to_str().unwrap());
    local.succeed(["init"]);
    plant(&local.home().join("files/a"), &noise("a", 1000));
    for month in ["2024-01", "2024-02", "2024-03"] {
        let claimed = format!("{month}-01 12:00:00");
        let _ = local.report_of_backup(&local.home().join("files"), &["--time", &claimed]);
    }
    let own = server.dir().join("own");
    plant_secret(&own, b"secret");
    let printed = enroll(&server, &["web1", "--password-file", own.to_str().unwrap()]).expect_code(0).stdout;
    assert!(printed.contains("3 of its snapshots came from elsewhere"), "{printed}");
    let host = host(&printed);
    assert_eq!(host.snapshots().len(), 3);
    host.backup(&host.home().join("files"));
    // Their times are believed: none of them is held as forged.
    let report = maintain(&server.place(), &["run", "--json"]).json();
    assert!(!report.to_string().contains("more than 24 hours"), "{report}");
    // What a host brings is judged as ever.
    let again = enroll(&server, &["web1"]).expect_code(0).stdout;
    assert!(!again.contains("came from elsewhere"), "{again}");
}

#[test]
fn settings_that_cannot_be_written_are_shown_and_the_configuration_stays_as_it_was() {
    let server = Server::build().config("maintenance.run = { until = \"06:00\" }\n").start();
    let before = configuration(&server);
    let printed = enroll(&server, &["web1"]).expect_code(1).stdout;
    assert!(printed.contains("could not be written") && printed.contains("keep_daily = 14"), "{printed}");
    assert_eq!(configuration(&server), before);
}

#[test]
fn a_directory_without_a_configuration_gets_one() {
    let server = Server::start();
    let place = ["--data", server.data().to_str().unwrap()];
    let restic = program("restic-0.19");
    let args = ["enroll", "web1", "--restic", restic.to_str().unwrap()];
    let printed = maintain(&place, &args).expect_code(0).stdout;
    let path = server.data().join(".pawl/pawl.toml");
    assert!(printed.contains(path.to_str().unwrap()), "{printed}");
    assert!(std::fs::read_to_string(&path).unwrap().contains("keep_daily = 14"));
    let report = maintain(&place, &["run", "--json"]).json();
    assert!(!report.to_string().contains("\"skipped\""), "{report}");
}

#[test]
fn what_stands_in_the_way_is_said_before_anything_is_done() {
    let server = Server::start();
    let before = configuration(&server);
    let none = enroll_with(&server, "rest-server", &["web1"]).expect_code(1);
    assert!(none.stderr.contains("is no restic"), "{none:?}");
    let shared = server.dir().join("shared");
    plant(&shared, b"secret");
    let refused = enroll(&server, &["web1", "--password-file", shared.to_str().unwrap()]).expect_code(1);
    assert!(refused.stderr.contains("chmod 600"), "{refused:?}");
    assert_eq!(server.host(&["list", "--json"]).expect_code(0).json().as_array().unwrap().len(), 0);
    assert_eq!(configuration(&server), before);
    assert!(!server.data().join("web1").exists());
    assert!(!management_password(&server).exists());
}

/// How many keys of a repository hosts see, and how many they do not.
fn keys(server: &Server, name: &str) -> (usize, usize) {
    let keys = maintain(&server.place(), &["key", "list", name, "--json"]).expect_code(0).json();
    let seen_by = |who: &str| keys.as_array().unwrap().iter().filter(|key| key["seen_by"] == who).count();
    (seen_by("all"), seen_by("maintenance"))
}

/// Enrolls again after a cut, of which this was printed. Then the host has all that it needs, and so have the nights.
fn goes_on(server: &Server, name: &str, printed_before: &str) {
    let again = enroll(server, &[name]).expect_code(0).stdout;
    let printed = if pasted(&again, "RESTIC_REPOSITORY").is_some() { &again } else { printed_before };
    let host = host(printed);
    host.backup(&host.home().join("files"));
    assert_eq!(keys(server, name), (1, 1), "{name}");
    assert!(configuration(server).contains("keep_daily = 14"), "{name}");
    let own = server.data().join(".pawl/maintenance/enroll");
    assert_eq!(std::fs::read_dir(own).unwrap().count(), 0, "{name}: secrets that were shown are left");
}

/// Of so many steps that follow each other one is tried: several of them write one file.
const STEPS: usize = 4;

#[test]
fn an_enrollment_that_is_killed_between_its_steps_is_gone_on_with() {
    let server = Server::start();
    let before = configuration(&server);
    for number in (1..).step_by(STEPS) {
        let name = format!("web{number}");
        plant(Path::new(server.place()[1]), before.as_bytes());
        let mut command = pawl_command();
        command.args(["maintain", "enroll", &name, "--restic"]).arg(program("restic-0.19"));
        command.args(server.place()).envs(cut::before_step(u32::try_from(number).unwrap(), "enroll"));
        let cut = Run::start(command).end();
        goes_on(&server, &name, &cut.stdout);
        if cut.code == Some(0) {
            assert!(number > 5, "{cut:?}");
            break;
        }
        assert_eq!(cut.code, None, "{cut:?}");
    }
    assert_eq!(not_done(&server), Vec::<String>::new());
}

/// It is killed by the restic that it calls, before or after that has done its work.
#[test]
fn an_enrollment_that_is_killed_while_restic_works_is_gone_on_with() {
    let server = Server::start();
    let real = program("restic-0.19");
    for (number, (when, what)) in
        [("before", "init"), ("after", "init"), ("before", "key add"), ("after", "key add")]
            .iter()
            .enumerate()
    {
        let name = format!("web{number}");
        let script = server.dir().join(format!("restic-{number}"));
        let kill = format!("case \"$*\" in *'{what}'*) kill -9 $PPID;; esac");
        let (first, last) = if *when == "before" { (kill.as_str(), ":") } else { (":", kill.as_str()) };
        let lines =
            format!("#!/bin/bash\n{first}\n{} \"$@\"\nended=$?\n{last}\nexit $ended\n", real.display());
        plant_program(&script, &lines);
        let cut = maintain(&server.place(), &["enroll", &name, "--restic", script.to_str().unwrap()]);
        assert_eq!(cut.code, None, "{when} {what}: {cut:?}");
        goes_on(&server, &name, &cut.stdout);
    }
}

#[test]
fn every_restic_enrolls() {
    let server = Server::start();
    for (restic, name) in [("restic-0.14", "web1"), ("restic-0.18", "web2"), ("restic-0.19", "web3")] {
        let _ = enroll_with(&server, restic, &[name]).expect_code(0);
        let keys = maintain(&server.place(), &["key", "list", name, "--json"]).expect_code(0).json();
        let seen_by: Vec<_> = keys.as_array().unwrap().iter().map(|key| key["seen_by"].as_str()).collect();
        assert_eq!(seen_by.len(), 2, "{restic}: {keys}");
        assert!(seen_by.contains(&Some("all")) && seen_by.contains(&Some("maintenance")), "{restic}: {keys}");
    }
}
