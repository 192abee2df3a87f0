//! restic's own acceptance tests of a REST server, from the source of restic 0.14.
//!
//! Invariant: they run at a maintenance server without a minimum age of snapshots, for they delete what they stored.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::process::Command;

use pawl_tests::bucket::Kind;
use pawl_tests::clients::Version;
use pawl_tests::command::Finished;
use pawl_tests::maintenance::Maintenance;
use pawl_tests::moto::Moto;
use pawl_tests::program::{Run, program};
use pawl_tests::rgw::Rgw;
use pawl_tests::roles::Roles;
use pawl_tests::s3::S3;
use pawl_tests::server::{PREFIX, Server};

use crate::maintenance_s3::host::write_credentials;

/// Each is called once in a run of the suite.
const SUBTESTS: [&str; 10] = [
    "Backend",
    "Config",
    "CreateWithConfig",
    "List",
    "ListCancel",
    "Load",
    "Location",
    "Save",
    "SaveError",
    "SaveWrongHash",
];

#[test]
#[ignore = "needs restic's own tests: scripts/setup --full"]
fn restics_own_tests_pass_on_disk() {
    assert_pass(&Server::build().config("[maintenance]\nmin_snapshot_age_days = 0").start());
}

#[test]
#[ignore = "needs restic's own tests: scripts/setup --full"]
fn restics_own_tests_pass_on_moto() {
    assert_pass_on(&S3::Moto(Moto::shared()));
}

#[test]
#[ignore = "needs restic's own tests and Ceph RGW: scripts/test --full"]
fn restics_own_tests_pass_on_ceph_rgw() {
    assert_pass_on(&S3::Rgw(Rgw::running()));
}

fn assert_pass_on(s3: &S3) {
    let roles = Roles::new(s3, PREFIX, Kind::Versioned);
    let secret = tempfile::tempdir().unwrap();
    let file = secret.path().join("credentials");
    write_credentials(&file, &roles.maintenance);
    let table =
        format!("[maintenance]\nmin_snapshot_age_days = 0\ncredentials_file = \"{}\"", file.display());
    assert_pass(&Server::build().bucket(&roles.owner.with(&roles.writer)).config(&table).start());
}

fn assert_pass(server: &Server) {
    let door = Maintenance::for_version(server, Version::V0_14);
    let mut command = Command::new(program("restic-rest-suite"));
    command.args(["-test.v", "-test.run", "TestBackendRESTExternalServer"]);
    let repository = door.restic(Version::V0_14, "suite").repository().to_owned();
    command.env("RESTIC_TEST_REST_REPOSITORY", repository);
    command.env("SSL_CERT_FILE", door.admin().ca_file.as_ref().unwrap());
    let Finished { stdout, .. } = Run::start(command).end().expect_code(0);
    for name in SUBTESTS {
        let passed = format!("--- PASS: TestBackendRESTExternalServer/Test{name} (");
        assert!(stdout.contains(&passed), "expected {passed:?} in:\n{stdout}");
    }
}
