//! What a night asks of the store: as much for a repository of many files and deletions as for a small one.

use pawl_tests::content::noise;
use pawl_tests::moto::Moto;
use pawl_tests::program::program;
use pawl_tests::s3::S3;
use pawl_tests::store::plant_secret;

use super::host::{Host, PRUNE, VERSION, host_with_five_backups, name_of};

/// Requests of a night in which nothing has changed: what restic and each step ask, whatever the number of files.
const REQUESTS_MAX: usize = 150;

fn requests_of(host: &Host, command: &[&str]) -> Vec<String> {
    let before = host.line.seen().len();
    let _ = host.maintain(command).expect_code(0);
    host.line.seen().split_off(before)
}

#[test]
fn an_unchanged_night_asks_for_nothing_again_and_notices_what_has_changed() {
    let s3 = S3::Moto(Moto::shared());
    let mut host = host_with_five_backups(&s3);
    let mut maintenance = host.door();
    let admin = maintenance.restic(VERSION, "web1");
    for day in 5..8 {
        host.backup(day);
        admin.succeed(PRUNE);
    }
    maintenance.stop();
    let (own, restic) = (host.server.dir().join("own"), program("restic-0.19"));
    plant_secret(&own, b"secret");
    let [own, restic] = [&own, &restic].map(|path| path.to_str().unwrap());
    let _ = host.maintain(&["enroll", "web1", "--password-file", own, "--restic", restic]).expect_code(0);
    for _ in 0..2 {
        let _ = host.maintain(&["run"]).expect_code(0);
    }

    let requests = requests_of(&host, &["run"]);
    let notes = requests.iter().filter(|request| request.contains(".pawl/deleted/20"));
    assert_eq!(notes.count(), 0, "{requests:#?}");
    // Once at the most, where it is the day to ask for its checksum.
    let mut packs: Vec<_> = requests
        .iter()
        .filter(|request| request.starts_with("HEAD ") && request.contains("/data/"))
        .collect();
    let all = packs.len();
    packs.sort();
    packs.dedup();
    assert_eq!(packs.len(), all, "{requests:#?}");
    assert!(requests.len() <= REQUESTS_MAX, "{}: {requests:#?}", requests.len());

    // With the server's credential somebody overwrites a pack. What was said of it before is not believed.
    let key = host.visible().into_keys().find(|key| key.contains("/data/")).unwrap();
    host.bucket.put(&key, &noise("by another hand", 5000)).unwrap();
    let verified = host.maintain(&["verify", "--all"]).expect_code(1);
    assert!(verified.stdout.contains(&name_of(&key)), "{verified:?}");
    let _ = host.maintain(&["restore", "web1"]).expect_code(0);
    host.restic.check();
}
