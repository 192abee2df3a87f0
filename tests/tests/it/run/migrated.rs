//! A directory of rest-server that is taken over with two years of backups.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use pawl_tests::clients::{self, PASSWORD, RestServer, Restic, Version};
use pawl_tests::content::noise;
use pawl_tests::http::Client;
use pawl_tests::maintenance::{maintain, maintain_at_time};
use pawl_tests::program::program;
use pawl_tests::server::Server;
use pawl_tests::store::{plant, plant_secret};
use serde_json::Value;

use super::{DAY, step, text_of};

const RULES: [&str; 6] = ["--keep-daily", "14", "--keep-weekly", "8", "--keep-monthly", "12"];

/// What rest-server holds of a host: a backup a week for two years, and of the last month one a day.
fn two_years(data: &std::path::Path) -> Restic {
    let server = RestServer::start(data, &["--no-auth"]);
    let restic = Restic::at(Version::V0_19, &format!("rest:http://web1:@{}/web1/", server.address()));
    let restic = restic.variable("TZ", "UTC").option("--no-cache");
    clients::initialise(&Client::nobody(server.address()), "web1");
    let file = restic.home().join("files/file");
    plant(&file, &noise("a file", 1000));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    for day in (0..728).rev().filter(|day| *day < 30 || day % 7 == 0) {
        let time = text_of(now - day * DAY);
        let files = file.parent().unwrap().to_str().unwrap();
        restic.succeed(["backup", "--quiet", "--no-scan", "--host", "web1", "--time", &time, files]);
    }
    server.stop();
    restic
}

#[test]
fn the_first_night_thins_it_out_as_restic_would_and_needs_no_option_for_that() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    drop(two_years(&data));
    let server = Server::build().data(&data).start();
    let (place, password) = (server.place(), server.dir().join("password"));
    plant_secret(&password, PASSWORD.as_bytes());
    let restic = program("restic-0.19");
    let with =
        ["--restic", restic.to_str().unwrap(), "--password-file", password.to_str().unwrap(), "--json"];
    // Copied today, so that an admin has to vouch for its times, and nothing is deleted for a week.
    let adopted = maintain(&place, &["trust", "web1", "--json"]).expect_code(0).json();
    assert_eq!(adopted["adopted"], 30 + 728 / 7 - 5);

    // A slip of the pen is held back as ever.
    let night = |args: &[&str]| -> Value {
        let args = [&["run"], args, &with].concat();
        maintain_at_time("+8d", &place, &args).json()
    };
    let report = night(&["--keep-last", "1"]);
    let refused = step(&report, "web1", "forget");
    assert!(refused["said"].to_string().contains("run forget once with --max-share 100%"), "{report:#}");
    assert_eq!(snapshots(&data).len(), 30 + 728 / 7 - 5);

    let plain = Restic::at(Version::V0_19, data.join("web1").to_str().unwrap());
    let plain = plain.variable("TZ", "UTC").option("--no-cache").option("--no-lock");
    let args = ["forget", "--dry-run", "--json"].iter().chain(&RULES);
    let groups: Value = serde_json::from_str(&plain.succeed(args)).unwrap();
    let kept = groups[0]["keep"].as_array().unwrap().iter();
    let kept: BTreeSet<_> = kept.map(|snapshot| snapshot["id"].as_str().unwrap().to_owned()).collect();
    let report = night(&RULES);
    for name in ["forget", "prune", "check"] {
        assert_eq!(step(&report, "web1", name)["ended"], "well", "{report:#}");
    }
    assert_eq!(snapshots(&data), kept);
}

fn snapshots(data: &std::path::Path) -> BTreeSet<String> {
    let names = std::fs::read_dir(data.join("web1/snapshots")).unwrap();
    names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
