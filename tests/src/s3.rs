//! A test of a bucket, written once and run on every S3 server there is.
//!
//! Invariant: a test gets a server or a bucket that no other test uses.

use std::net::SocketAddr;

use crate::bucket::{Bucket, Kind};
use crate::moto::Moto;
use crate::rgw::Rgw;

/// An S3 server.
#[derive(Debug)]
pub enum S3 {
    /// In memory, for this test only.
    Moto(Moto),
    /// Ceph RGW, shared by all tests.
    Rgw(Rgw),
}

impl S3 {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        match self {
            Self::Moto(moto) => moto.address(),
            Self::Rgw(rgw) => rgw.address(),
        }
    }

    /// A new bucket, seen with a credential that may do everything. On a shared server, its name gets an ending.
    #[must_use]
    pub fn bucket(&self, name: &str, kind: Kind) -> Bucket {
        match self {
            Self::Moto(moto) => moto.bucket(name, kind),
            Self::Rgw(rgw) => rgw.bucket(name, kind),
        }
    }
}

/// Makes of each function that takes a `&S3` a test on moto and one on Ceph RGW.
#[macro_export]
macro_rules! on_each_s3 {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            use $crate::s3::S3;
            #[test]
            fn on_moto() {
                super::$name(&S3::Moto($crate::moto::Moto::start()));
            }
            #[test]
            #[ignore = "needs Ceph RGW: scripts/test --full"]
            fn on_ceph_rgw() {
                super::$name(&S3::Rgw($crate::rgw::Rgw::running()));
            }
        }
    )*};
}
