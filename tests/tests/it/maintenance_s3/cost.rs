//! What a night asks of the store: as much for a repository of many files and deletions as for a small one.

use std::collections::BTreeSet;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumAlgorithm;
use pawl_tests::content::{base64, id_of, noise};
use pawl_tests::faults::{Fault, Which};
use pawl_tests::moto::Moto;
use pawl_tests::program::program;
use pawl_tests::s3::S3;
use pawl_tests::server::PREFIX;
use pawl_tests::store::{plant, plant_secret};

use super::host::{Host, PRUNE, VERSION, host_behind, host_with_five_backups, name_of};

/// Requests of a night in which nothing has changed: what restic and each step ask, whatever the number of files.
const REQUESTS_MAX: usize = 60;

/// What a night says instead of asking restic.
const UNCHANGED: &str = "no file has changed since restic found no errors";

/// Requests of a verification of packs of which nothing has changed. A page lists a thousand of them, so that
/// 2,000 packs take two requests more.
const VERIFY_REQUESTS_MAX: usize = 8;
/// So many that a request for each would show.
const PACKS: usize = 300;

/// A backup of so many bytes sends so many packs at least, and ten of them take so many requests: one each, and those of the
/// index, the snapshot and the lock.
const BACKUP_BYTES: usize = 160 << 20;
const PACKS_MIN: usize = 30;
const REQUESTS_OF_TEN_PACKS_MAX: usize = 22;

/// Nights in which `restic check` reads everything once, a portion each.
const PORTIONS: usize = 7;
/// What the trees of five backups of a few files take. The files themselves have 300,000 bytes a day.
const TREES_BYTES_MAX: usize = 30_000;

fn is_of_data(request: &str, method: &str) -> bool {
    request.starts_with(method) && request.contains("/data/")
}

/// Has nights run `restic check` in the repository.
fn enroll(host: &Host) {
    let (own, restic) = (host.server.dir().join("own"), program("restic-0.19"));
    plant_secret(&own, b"secret");
    let [own, restic] = [&own, &restic].map(|path| path.to_str().unwrap());
    let _ = host.maintain(&["enroll", "web1", "--password-file", own, "--restic", restic]).expect_code(0);
}

/// Stores packs as the server would, past it, with the checksum that the store keeps.
fn plant_packs(host: &Host) {
    for number in 0..PACKS {
        let content = noise(&format!("pack {number}"), 64);
        let id = id_of(&content);
        let key = format!("{PREFIX}/web1/data/{}/{id}", &id[..2]);
        let checksum = base64(&hex::decode(&id).unwrap());
        let put = host.bucket.ask(|client| {
            let put = client.put_object().bucket(host.bucket.name()).key(key).body(ByteStream::from(content));
            let put = put.checksum_algorithm(ChecksumAlgorithm::Sha256).checksum_sha256(checksum);
            put.metadata("pawl-received", "1795000000000").send()
        });
        drop(put.unwrap());
    }
}

/// What a command printed, and what it asked of the store.
fn requests_of(host: &Host, command: &[&str]) -> (String, Vec<String>) {
    let before = host.line.seen().len();
    let finished = host.maintain(command).expect_code(0);
    (finished.stdout, host.line.seen().split_off(before))
}

/// A host with five backups in a store that compares content with the SHA-256 announced. moto does not; behind this line it
/// refuses what has another, as such stores do.
fn host_in_a_store_that_compares(s3: &S3) -> Host {
    let other_sha256 = Which::all("PUT", "/.pawl-probe/").header("x-amz-checksum-sha256: bwch");
    host_behind(
        s3,
        0,
        |roles| roles.maintenance.clone(),
        |line| line.add(other_sha256, Fault::Answer(400, "BadDigest")),
        |server| server,
    )
}

#[test]
fn an_unchanged_night_asks_for_nothing_again_and_notices_what_has_changed() {
    let s3 = S3::Moto(Moto::shared());
    let mut host = host_in_a_store_that_compares(&s3);
    let mut maintenance = host.door();
    let admin = maintenance.restic(VERSION, "web1");
    for day in 5..8 {
        host.backup(day);
        admin.succeed(PRUNE);
    }
    maintenance.stop();
    enroll(&host);
    for _ in 0..2 {
        let _ = host.maintain(&["run"]).expect_code(0);
    }

    let (said, requests) = requests_of(&host, &["run"]);
    assert!(said.contains(UNCHANGED), "{said}");
    let notes = requests.iter().filter(|request| request.contains(".pawl/deleted/20"));
    assert_eq!(notes.count(), 0, "{requests:#?}");
    let packs = requests.iter().filter(|request| is_of_data(request, "HEAD "));
    assert_eq!(packs.count(), 0, "{requests:#?}");
    assert!(requests.len() <= REQUESTS_MAX, "{}: {requests:#?}", requests.len());

    // restic is asked again once something is new, and by whoever asks for it.
    host.backup(8);
    for command in [&["run"][..], &["run", "--only", "check"]] {
        let said = host.maintain(command).expect_code(0).stdout;
        assert!(!said.contains(UNCHANGED) && said.contains("no errors; no data was read"), "{said}");
    }

    // With the server's credential somebody overwrites a pack. What was said of it before is not believed.
    let key = host.visible().into_keys().find(|key| key.contains("/data/")).unwrap();
    host.bucket.put(&key, &noise("by another hand", 5000)).unwrap();
    let verified = host.maintain(&["verify", "--all"]).expect_code(1);
    assert!(verified.stdout.contains(&name_of(&key)), "{verified:?}");
    let _ = host.maintain(&["restore", "web1"]).expect_code(0);
    host.restic.check();
}

#[test]
fn a_verification_by_checksums_asks_for_pages_and_not_for_packs() {
    let s3 = S3::Moto(Moto::shared());
    let host = host_with_five_backups(&s3);
    plant_packs(&host);
    let _ = host.maintain(&["verify", "--all"]).expect_code(0);

    let (_, requests) = requests_of(&host, &["verify", "--all"]);
    assert!(requests.len() <= VERIFY_REQUESTS_MAX, "{}: {requests:#?}", requests.len());

    // One that is overwritten, and one that is gone, are found all the same.
    let visible = host.visible();
    let mut packs = visible.keys().filter(|key| key.contains("/data/"));
    let (overwritten, gone) = (packs.next().unwrap(), packs.next().unwrap());
    host.bucket.put(overwritten, &noise("by another hand", 5000)).unwrap();
    host.bucket.delete(gone).unwrap();
    let verified = host.maintain(&["verify", "--all"]).expect_code(1);
    for key in [overwritten, gone] {
        assert!(verified.stdout.contains(&name_of(key)), "{key}: {verified:?}");
    }
}

/// How many requests a backup makes for each pack, restic's own included.
#[test]
fn a_backup_asks_little_more_than_once_for_each_pack() {
    let s3 = S3::Moto(Moto::shared());
    let host = host_in_a_store_that_compares(&s3);
    let files = host.restic.home().join("many");
    plant(&files, &noise("many", BACKUP_BYTES));
    let before = host.line.seen().len();
    let backup = ["backup", "--pack-size", "4", files.to_str().unwrap()];
    host.restic.succeed(backup);
    let requests = host.line.seen().split_off(before);
    let packs = requests.iter().filter(|request| is_of_data(request, "PUT ")).count();
    assert!(packs >= PACKS_MIN, "{packs} packs: {requests:#?}");
    println!("{} requests for {packs} packs", requests.len());
    assert!(requests.len() * 10 <= packs * REQUESTS_OF_TEN_PACKS_MAX, "{}: {requests:#?}", requests.len());
}

#[test]
fn the_nightly_check_reads_no_data_where_the_store_vouches_for_it() {
    let s3 = S3::Moto(Moto::shared());
    let host = host_in_a_store_that_compares(&s3);
    enroll(&host);
    let before = host.line.seen().len();
    for _ in 0..PORTIONS {
        let checked = host.maintain(&["run", "--only", "check"]).expect_code(0);
        assert!(checked.stdout.contains("no data was read, because the store keeps"), "{checked:?}");
    }
    let (requests, visible) = (host.line.seen().split_off(before), host.visible());
    let read: BTreeSet<_> = requests
        .iter()
        .filter(|request| is_of_data(request, "GET "))
        .filter_map(|request| visible.iter().find(|(key, _)| request.contains(key.as_str())))
        .collect();
    let bytes: usize = read.iter().map(|(_, content)| content.len()).sum();
    assert!(bytes <= TREES_BYTES_MAX, "{bytes} bytes: {requests:#?}");

    // Who says in how many portions all is read has them read.
    let checked = host.maintain(&["run", "--only", "check", "--check-portions", "7"]).expect_code(0);
    assert!(checked.stdout.contains("read portion 1 of 7"), "{checked:?}");
}
