//! Ceph RGW: an S3 server that means it, one for the whole run. `scripts/test --full` starts it.
//!
//! Invariant: users and buckets have names that no other test has, so that tests share nothing but the server.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on should stop"
)]

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::bucket::{Access, Bucket, Kind};
use crate::program::target;
use crate::s3::unique;

/// The server that runs.
#[derive(Debug)]
pub struct Rgw {
    address: SocketAddr,
    chroot: PathBuf,
}

/// A user of it.
#[derive(Debug, Clone)]
pub struct User {
    /// As a policy names it: `arn:aws:iam:::user/web1-123`.
    pub arn: String,
    /// With what it asks.
    pub access: Access,
}

impl Rgw {
    /// The server that the script started.
    #[must_use]
    pub fn running() -> Self {
        let url = env::var_os("PAWL_RGW").expect("PAWL_RGW is not set: run scripts/test --full");
        let address = url.to_str().and_then(|url| url.strip_prefix("http://")?.parse().ok());
        let chroot = env::var_os("PAWL_CEPH").map_or_else(|| target("ceph"), PathBuf::from);
        Self { address: address.expect("PAWL_RGW is like http://127.0.0.1:7480"), chroot }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its major release, as in `20`.
    #[must_use]
    pub fn release(&self) -> String {
        let printed = Command::new("chroot").arg(&self.chroot).args(["radosgw", "--version"]).output();
        let printed = String::from_utf8(printed.unwrap().stdout).unwrap();
        printed.split([' ', '.']).nth(2).expect("ceph version 20.2.4 (…)").to_owned()
    }

    /// A new bucket, seen with the credential of its owner, which is a new user too.
    #[must_use]
    pub fn bucket(&self, name: &str, kind: Kind) -> Bucket {
        self.bucket_of(&self.user("owner"), name, kind)
    }

    /// A new bucket of this user's.
    #[must_use]
    pub fn bucket_of(&self, owner: &User, name: &str, kind: Kind) -> Bucket {
        let bucket = Bucket::at(self.address, &owner.access, &unique(name));
        bucket.make(kind);
        bucket
    }

    /// A new user, who may do nothing with others' buckets that no policy of theirs allows.
    #[must_use]
    pub fn user(&self, name: &str) -> User {
        let name = unique(name);
        let name_of = format!("--uid={name}");
        let made = self.admin(&["user", "create", &name_of, "--display-name=a user of the tests"]);
        let field = |field: &str| made.pointer(field).and_then(Value::as_str).expect("a new user").to_owned();
        let access = Access { key: field("/keys/0/access_key"), secret: field("/keys/0/secret_key") };
        User { arn: format!("arn:aws:iam:::user/{name}"), access }
    }

    /// Runs `radosgw-admin`.
    fn admin(&self, args: &[&str]) -> Value {
        let finished = Command::new("chroot")
            .arg(&self.chroot)
            .args(["env", "CEPH_CONF=/run/pawl-rgw/ceph.conf", "radosgw-admin", "-n", "client.rgw"])
            .args(args)
            .output()
            .expect("chroot starts");
        assert!(finished.status.success(), "{args:?}: {finished:?}");
        serde_json::from_slice(&finished.stdout).unwrap()
    }
}
