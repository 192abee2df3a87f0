//! The bucket against real S3 servers, and against a line that fails.

use std::path::Path;

use pawl_tests::bucket::{Bucket, Kind};
use pawl_tests::faults::{Fault, Faults, Which};
use pawl_tests::moto::Moto;
use pawl_tests::rgw::Rgw;
use pawl_tests::s3::S3;

mod faults;
mod probing;
mod tampering;

use pawl_config::s3::{Encryption, Instances, S3Settings, Weakness};
use pawl_keeper::testing::keeper;

use super::*;
use crate::conformance::{self, Fixture};

/// What a store needs as long as it is used.
pub(super) struct Place {
    bucket: Bucket,
    /// The line between, where there is one.
    line: Option<Faults>,
    state: tempfile::TempDir,
    _server: S3,
}

pub(super) fn settings(bucket: &Bucket, directory: &Path) -> S3Settings {
    let access = bucket.access();
    let file = directory.join("credentials");
    let text =
        format!("[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n", access.key, access.secret);
    pawl_config::files::replace(&file, &text, 0o600).unwrap();
    S3Settings {
        bucket: bucket.name().to_owned(),
        prefix: "some/prefix".to_owned(),
        region: Some("us-east-1".to_owned()),
        endpoint: Some(bucket.endpoint_url()),
        plain_http: false,
        path_style: true,
        ca: None,
        credentials_file: Some(file),
        profile: None,
        data_storage_class: None,
        encryption: Encryption::Bucket,
        locks_bucket: None,
        instances: Instances::One,
        accept: vec![Weakness::PowerfulCredential, Weakness::HidingCredential, Weakness::UncheckedContent],
    }
}

async fn open(bucket: &Bucket, state: &Path) -> Result<S3Store, OpenError> {
    S3Store::open(settings(bucket, state), keeper(state, false)).await
}

pub(super) async fn fixture(server: S3) -> Fixture<S3Store, Place> {
    let bucket = server.bucket("backup", Kind::Versioned);
    let state = tempfile::tempdir().unwrap();
    let store = open(&bucket, state.path()).await.unwrap();
    Fixture { store, place: Place { bucket, line: None, state, _server: server } }
}

/// A store behind a line, which fails from now on as the test says.
pub(super) async fn behind_a_line() -> Fixture<S3Store, Place> {
    let server = S3::Moto(Moto::shared());
    let bucket = server.bucket("backup", Kind::Versioned);
    let line = Faults::in_front_of(server.address());
    let state = tempfile::tempdir().unwrap();
    let store = open(&bucket.through(line.address()), state.path()).await.unwrap();
    Fixture { store, place: Place { bucket, line: Some(line), state, _server: server } }
}

impl Place {
    pub(super) const fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    pub(super) fn line(&self) -> &Faults {
        self.line.as_ref().unwrap()
    }

    pub(super) fn state(&self) -> &Path {
        self.state.path()
    }
}

impl Fixture<S3Store, Place> {
    pub(super) fn fail(&self, which: Which, fault: Fault) {
        self.place.line().add(which, fault);
    }
}

fn moto() -> S3 {
    S3::Moto(Moto::shared())
}

fn rgw() -> S3 {
    S3::Rgw(Rgw::running())
}

conformance::suite!(on_moto, fixture(moto()).await);
conformance::suite!(
    #[ignore = "needs Ceph RGW: scripts/test --full"]
    on_ceph_rgw,
    fixture(rgw()).await
);
