//! What stores can do for hosts and for maintenance, tried out on each: backups, a prune that is undone, nights, and what
//! a thief of the server's key overwrote.
//!
//! Invariant: the table of `docs/s3.md` has the row that came of each store, and whatever `pawl doctor` says can be used
//! passes all of it.

#![expect(clippy::print_stdout, reason = "scripts/stores shows the rows")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use pawl_tests::bucket::{Access, Bucket, Kind};
use pawl_tests::command::pawl;
use pawl_tests::document::page;
use pawl_tests::faults::{Fault, Faults, Which};
use pawl_tests::moto::Moto;
use pawl_tests::program::program;
use pawl_tests::rgw::Rgw;
use pawl_tests::roles::Roles;
use pawl_tests::s3::S3;
use pawl_tests::server::{Builder, PREFIX};
use pawl_tests::store::{plant, plant_secret};
use serde_json::Value;

use super::host::{Host, PRUNE, VERSION, host_of, name_of, write_credentials};

/// Where the table is.
const PAGE: &str = "docs/s3.md";
/// What a store has to do once hosts have backed up, in the words of the table.
const TRIALS: [(&str, Trial); 3] = [("undelete", undelete), ("heal", heal), ("nights", nights)];
/// What `pawl doctor` finds of a store and `s3.accept` can name.
const WEAKNESSES: [&str; 5] =
    ["unversioned", "unconditional-writes", "unchecked-content", "powerful-credential", "hiding-credential"];

/// Fails if the store cannot do it.
type Trial = fn(&Host);
/// How a store answers otherwise than the one that it stands on.
type Manner = fn(&Faults);

/// A store of which the table has a row.
struct Store {
    /// In the words of the table.
    name: String,
    /// Makes a bucket.
    roles: Box<dyn Fn() -> Roles>,
    manner: Manner,
}

impl Store {
    fn of(name: &str, s3: S3, manner: Manner) -> Self {
        let roles = Box::new(move || Roles::new(&s3, PREFIX, Kind::Versioned));
        Self { name: name.to_owned(), roles, manner }
    }

    fn on_moto(name: &str, manner: Manner) -> Self {
        Self::of(name, S3::Moto(Moto::shared()), manner)
    }

    /// The one that `scripts/stores` started, with a key that may do everything.
    fn of_the_script() -> Option<Self> {
        let part = |part: &str| std::env::var_os(format!("PAWL_STORE_{part}"))?.into_string().ok();
        let name = part("NAME")?;
        let [address, key, secret] = ["ADDRESS", "KEY", "SECRET"].map(|name| part(name).unwrap());
        let (address, access) = (address.parse().unwrap(), Access { key, secret });
        let roles = Box::new(move || Roles::all_of_one(Bucket::of_a_store(address, &access)));
        Some(Self { name, roles, manner: |_| {} })
    }
}

#[test]
fn moto() {
    assert_row(&Store::on_moto("moto 5.2.5, which checks no content", |_| {}));
}

#[test]
#[ignore = "needs Ceph RGW: scripts/test --full"]
fn ceph_rgw() {
    let rgw = Rgw::running();
    assert_row(&Store::of(&format!("Ceph RGW {}", rgw.release()), S3::Rgw(rgw), |_| {}));
}

/// It does not know If-None-Match, and a key that stores files there can hide them and remove none.
#[test]
fn one_that_behaves_as_backblaze_b2() {
    assert_row(&Store::on_moto("one that answers as Backblaze B2", |line| {
        line.add(Which::all("PUT", "").header("if-none-match:"), Fault::Answer(501, "NotImplemented"));
        line.add(Which::all("DELETE", "versionId="), Fault::Answer(403, "AccessDenied"));
    }));
}

/// It names a version of each object, and keeps none.
#[test]
fn one_that_behaves_as_cloudflare_r2() {
    assert_row(&Store::on_moto("one that answers as Cloudflare R2", |line| {
        line.add(Which::all("GET", "?versions"), Fault::Answer(501, "NotImplemented"));
    }));
}

/// It refuses each DELETE with If-Match, and tells no SHA-256.
#[test]
fn one_that_behaves_as_openstack_swift() {
    assert_row(&Store::on_moto("one that answers as OpenStack Swift", |line| {
        line.add(Which::all("DELETE", "").header("if-match:"), Fault::Answer(412, "PreconditionFailed"));
        line.add(Which::all("", ""), Fault::StripAnswer("x-amz-checksum-"));
    }));
}

/// Without a store this has nothing to try; `scripts/stores` sees to it that there is one.
#[test]
#[ignore = "needs another S3 server: scripts/stores"]
fn of_the_script() {
    if let Some(store) = Store::of_the_script() {
        assert_row(&store);
    }
}

/// What `pawl doctor` says of a store of which nothing is accepted.
struct Said {
    /// What would have to be accepted.
    accept: Vec<&'static str>,
    /// Whether only one server may use it.
    is_for_one: bool,
    /// Why it cannot be used, whatever is accepted, in short.
    refusal: Option<String>,
}

fn doctor(store: &Store) -> Said {
    let roles = (store.roles)();
    let line = Faults::in_front_of(roles.owner.address());
    (store.manner)(&line);
    let dir = tempfile::tempdir().unwrap();
    let [config, credentials] = ["pawl.toml", "credentials"].map(|name| dir.path().join(name));
    write_credentials(&credentials, &roles.writer);
    let bucket = roles.owner.through(line.address());
    let table = format!(
        "data = \"{}\"\n[s3]\nbucket = {:?}\nprefix = {PREFIX:?}\nendpoint = {:?}\ncredentials_file = \"{}\"\n",
        dir.path().join("data").display(),
        bucket.name(),
        bucket.endpoint_url(),
        credentials.display(),
    );
    plant(&config, table.as_bytes());
    let report: Value =
        pawl([Path::new("doctor"), Path::new("--json"), Path::new("--config"), &config]).json();
    let checks = report["checks"].as_array().unwrap();
    let faults: Vec<_> = checks.iter().filter(|line| line["verdict"] == "fault").collect();
    let text = |line: &Value| line["text"].as_str().unwrap().to_owned();
    let unknown =
        faults.iter().filter_map(|line| line["accept"].as_str()).find(|word| !WEAKNESSES.contains(word));
    assert_eq!(unknown, None, "the table has no word for it");
    let accept = WEAKNESSES.into_iter().filter(|word| faults.iter().any(|line| line["accept"] == *word));
    let (of_instances, others): (Vec<_>, Vec<_>) = faults
        .iter()
        .filter(|line| line["accept"].is_null())
        .map(|line| text(line))
        .partition(|text| text.contains("s3.instances"));
    Said {
        accept: accept.collect(),
        is_for_one: !of_instances.is_empty(),
        refusal: others.first().and_then(|text| text.split(": ").next()).map(str::to_owned),
    }
}

/// Tries the store out, and compares what came of it with its row.
fn assert_row(store: &Store) {
    let said = doctor(store);
    let (works, fails) = if said.refusal.is_none() { tried(store, &said) } else { (vec![], vec![]) };
    let instances = said.is_for_one.then(|| "`instances = \"one\"`".to_owned());
    let accept = (!said.accept.is_empty()).then(|| format!("`accept = {:?}`", said.accept));
    let configuration = match said.refusal {
        Some(refusal) => vec![format!("refused: {refusal}")],
        None => instances.into_iter().chain(accept).collect(),
    };
    let configuration: Vec<_> = configuration.iter().map(String::as_str).collect();
    let listed = |words: &[&str]| if words.is_empty() { "–".to_owned() } else { words.join(", ") };
    let row =
        format!("| {} | {} | {} | {} |", store.name, listed(&configuration), listed(&works), listed(&fails));
    println!("{row}");
    let is_whole = fails.is_empty() || said.accept.contains(&"unversioned");
    assert!(is_whole, "what doctor lets through fails:\n{row}");
    assert!(page(PAGE).contains(&row), "{PAGE} has no row:\n{row}");
}

/// What works there, and what does not.
fn tried(store: &Store, said: &Said) -> (Vec<&'static str>, Vec<&'static str>) {
    let configured = |server: Builder| {
        let server = if said.is_for_one { server } else { server.one_of_many() };
        said.accept.iter().fold(server, |server, weakness| server.accept(weakness))
    };
    let host = host_of((store.roles)(), 0, |roles| roles.maintenance.clone(), store.manner, configured);
    host.assert_all_restore();
    let (mut works, mut fails) = (vec!["backups"], Vec::new());
    for (trial, work) in TRIALS {
        let has_passed = catch_unwind(AssertUnwindSafe(|| work(&host))).is_ok();
        if has_passed { works.push(trial) } else { fails.push(trial) }
    }
    (works, fails)
}

/// What a verification that reads as little as it can says of files that another hand wrote.
fn by_another_hand(host: &Host, code: i32) -> String {
    let verified = host.maintain(&["verify", "--share", "1/10000"]).expect_code(code).stdout;
    verified.lines().filter(|line| line.contains("past Pawl")).collect::<Vec<_>>().join("\n")
}

fn undelete(host: &Host) {
    let before = host.visible();
    let mut maintenance = host.door();
    maintenance.restic(VERSION, "web1").succeed(PRUNE);
    maintenance.stop();
    assert!(host.visible().len() < before.len());
    let left = host.visible();
    let _ = host.maintain(&["undelete", &maintenance.one_batch()]).expect_code(0);
    assert_eq!(by_another_hand(host, 0), "", "maintenance did it");
    host.assert_all_restore();
    host.assert_nothing_lost(&before);

    // A file that came back is doubted again once another hand has written it.
    let key = before.keys().find(|key| !left.contains_key(*key)).unwrap();
    host.bucket.put(key, b"by another hand").unwrap();
    assert!(by_another_hand(host, 1).contains(&name_of(key)));
    let _ = host.maintain(&["restore", "web1"]).expect_code(0);
    assert_eq!(by_another_hand(host, 0), "", "maintenance restored it");
}

/// Somebody with the server's key overwrites or hides a snapshot, as far as the store lets them.
fn heal(host: &Host) {
    let before = host.visible();
    let key = before.keys().find(|key| key.contains("/snapshots/")).unwrap();
    let thief = host.bucket.with(&host.roles.writer);
    let done = [thief.put(key, b"by another hand").map(drop), thief.delete(key)];
    assert!(done.iter().any(Result::is_ok), "{done:?}");
    let _ = host.maintain(&["restore", "web1"]).expect_code(0);
    assert!(host.visible().get(key) == before.get(key));
    host.assert_all_restore();
}

/// Two whole nights, for the lock of the first may have stayed.
fn nights(host: &Host) {
    let (own, restic) = (host.server.dir().join("own"), program("restic-0.19"));
    plant_secret(&own, b"secret");
    let [own, restic] = [&own, &restic].map(|path| path.to_str().unwrap());
    let _ = host.maintain(&["enroll", "web1", "--password-file", own, "--restic", restic]).expect_code(0);
    for _ in 0..2 {
        let _ = host.maintain(&["run"]).expect_code(0);
    }
    let locks = host.bucket.list("").unwrap().into_iter().filter(|key| key.contains("maintenance/lock"));
    assert_eq!(locks.count(), 0);
    host.restic.check();
}
