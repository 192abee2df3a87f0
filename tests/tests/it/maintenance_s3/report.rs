//! What `pawl maintain report` says of a bucket.

use pawl_tests::clients::ready;
use pawl_tests::faults::{Fault, Which};
use pawl_tests::on_each_s3;
use pawl_tests::s3::S3;
use pawl_tests::store::plant;
use serde_json::Value;

use super::host::{VERSION, host_with_five_backups};

on_each_s3! {
    what_was_hidden_past_pawl_is_missed_and_what_maintenance_deleted_is_not,
    a_repository_that_the_store_does_not_give_hides_no_other,
}

fn what_was_hidden_past_pawl_is_missed_and_what_maintenance_deleted_is_not(s3: &S3) {
    let host = host_with_five_backups(s3);
    let _ = host.maintain(&["verify", "--all"]).expect_code(0);
    let earlier = host.restic.home().join("earlier.json");
    let told = host.maintain(&["report", "--json"]);
    plant(&earlier, told.stdout.as_bytes());
    let report = told.json();
    assert_eq!(report["repositories"][0]["snapshots"], 5);
    let bytes: usize = host.visible().values().map(Vec::len).sum();
    assert_eq!(report["repositories"][0]["bytes"], bytes);
    let of = |letter: &str| {
        let mut adversaries = report["adversaries"].as_array().unwrap().iter();
        adversaries.find(|of| of["letter"] == letter).unwrap()["holds"].clone()
    };
    // What the server's credential could do was not tried here.
    assert_eq!((of("C"), of("D")), ("partly".into(), "partly".into()));
    assert!(!report["store"].as_array().unwrap().is_empty());

    let mut door = host.door();
    door.restic(VERSION, "web1").succeed(["forget", "--keep-last", "3"]);
    door.stop();
    let compare =
        || -> Value { host.maintain(&["report", "--json", "--compare", earlier.to_str().unwrap()]).json() };
    let compared = compare();
    assert_eq!((&compared["summary"]["missing"], &compared["summary"]["snapshots"]), (&0.into(), &3.into()));
    assert!(compared["summary"]["pending_bytes"].as_u64().unwrap() > 0);

    let key = host.visible().into_keys().find(|key| key.ends_with(&host.snapshots[3])).unwrap();
    host.bucket.delete(&key).unwrap();
    let compared = compare();
    assert_eq!(compared["compared"]["missing"][0]["snapshots"], serde_json::json!([host.snapshots[3]]));
    assert_eq!(compared["summary"]["exit"], 1);
}

fn a_repository_that_the_store_does_not_give_hides_no_other(s3: &S3) {
    let host = host_with_five_backups(s3);
    let _ = ready(&host.server, "db1");
    let _ = host.maintain(&["verify", "--all"]).expect_code(0);
    let earlier = host.restic.home().join("earlier.json");
    plant(&earlier, host.maintain(&["report", "--json"]).stdout.as_bytes());
    host.line.add(Which::all("GET", "?versions&prefix=*web1"), Fault::Answer(403, "AccessDenied"));
    let report =
        host.maintain(&["report", "--json", "--compare", earlier.to_str().unwrap()]).expect_code(1).json();
    let of = |at: usize| &report["repositories"][at];
    assert_eq!((&of(0)["repository"], &of(0)["unreadable"]), (&"db1".into(), &Value::Null));
    assert_eq!(of(1)["repository"], "web1");
    assert!(of(1)["unreadable"].is_string(), "{report}");
    assert_eq!(report["attention"][0]["grade"], "loss");
    // What is not known is not missing, and is expected as it was.
    assert_eq!(report["summary"]["missing"], 0);
    assert_eq!(report["expected"]["repositories"]["web1"]["number"], 5);
}
