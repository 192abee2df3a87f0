//! A store that goes away while it is used.

use pawl_tests::bucket::Kind;
use pawl_tests::clients::{self, Restic, Version};
use pawl_tests::content::noise;
use pawl_tests::faults::{Fault, Faults, Which};
use pawl_tests::moto::Moto;
use pawl_tests::rgw::Rgw;
use pawl_tests::s3::S3;
use pawl_tests::server::Server;
use pawl_tests::status::{ON, Status};
use pawl_tests::store::{Stored, plant};
use pawl_tests::{wait, with_each_restic};

with_each_restic! {
    a_backup_goes_on_when_the_store_is_back,
}

fn a_backup_goes_on_when_the_store_is_back(version: Version) {
    goes_on_when_it_is_back(&S3::Moto(Moto::shared()), version);
}

#[test]
#[ignore = "needs Ceph RGW: scripts/test --full"]
fn a_backup_goes_on_when_ceph_rgw_is_back() {
    goes_on_when_it_is_back(&S3::Rgw(Rgw::running()), Version::V0_19);
}

/// The store is gone in the middle of a pack, until the user has been told that restic tries again.
fn goes_on_when_it_is_back(s3: &S3, version: Version) {
    let bucket = s3.bucket("away", Kind::Versioned);
    let line = Faults::in_front_of(s3.address());
    let server = Server::build().bucket(&bucket.through(line.address())).start();
    let restic = Restic::new(version, &clients::ready(&server, "web1"));
    let files = restic.home().join("files");
    plant(&files.join("noise"), &noise("away", 30 << 20));
    let before = bucket.snapshot();

    line.add(Which::nth("PUT", "/web1/data/", 2), Fault::Stall);
    let backup = restic.start(["backup", "--pack-size", "4", files.to_str().unwrap()]);
    line.wait_for_faults(1);
    line.go_away();
    wait::until("restic says that it tries again", || backup.seen().contains("retrying").then_some(()));
    line.heal();
    line.let_through();
    line.come_back();
    let ended = backup.end().expect_code(0);
    assert!(ended.stdout.contains("snapshot") && ended.stdout.contains("saved"), "{ended:?}");

    restic.check();
    let restored = restic.restore(&files, &[]);
    Stored::read(&files).assert_unchanged(&Stored::read(&restored));
    let lost: Vec<_> = before.lost_in(&bucket.snapshot());
    assert_eq!(lost, [""; 0]);
}

#[test]
fn a_server_is_ready_whenever_the_store_is_there() {
    let s3 = S3::Moto(Moto::shared());
    let bucket = s3.bucket("ready", Kind::Versioned);
    let line = Faults::in_front_of(s3.address());
    let server = Server::build().bucket(&bucket.through(line.address())).config(ON).start();
    let web1 = server.client(&clients::ready(&server, "web1"));
    let status = Status::of(&server);
    let wait_until = |code: u16| {
        wait::until(&format!("/readyz says {code}"), || {
            let (status, told) = status.json("/readyz");
            (status == code).then_some(told)
        })
    };
    wait_until(200);
    line.go_away();
    let told = wait_until(503);
    assert!(told.to_string().contains("nothing can be stored"), "{told}");
    // The process itself is well, and a host learns nothing of the store.
    assert_eq!(status.page("/healthz").status, 200);
    for (method, target) in [("GET", "/web1/config"), ("GET", "/web1/data/"), ("HEAD", "/web1/config")] {
        let refused = web1.ask(method, target).unwrap();
        assert_eq!(refused.status, 503, "{method} {target}");
        assert!(!format!("{refused:?}").contains(bucket.name()), "{refused:?}");
    }
    let new = noise("while away", 1000);
    let target = format!("/web1/data/{}", pawl_tests::content::id_of(&new));
    assert_eq!(web1.post(&target, &new).unwrap().status, 503);
    line.come_back();
    wait_until(200);
    assert_eq!(web1.post(&target, &new).unwrap().status, 200);
    let _ = server.log().wait_for_line(&["backups cannot be taken"]);
    let _ = server.log().wait_for_line(&["backups can be taken again"]);
}
