//! A test of a bucket, written once and run on every S3 server there is.
//!
//! Invariant: a test gets a bucket that no other test uses.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;

use crate::bucket::{Bucket, Kind};
use crate::moto::Moto;
use crate::rgw::Rgw;

/// An S3 server.
#[derive(Debug)]
pub enum S3 {
    /// In memory, shared by all tests.
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

    /// A new bucket, seen with a credential that may do everything. Its name gets an ending.
    #[must_use]
    pub fn bucket(&self, name: &str, kind: Kind) -> Bucket {
        match self {
            Self::Moto(moto) => moto.bucket(name, kind),
            Self::Rgw(rgw) => rgw.bucket(name, kind),
        }
    }
}

/// A name that nobody else has: other tests run at the same time, in processes of their own.
pub(crate) fn unique(name: &str) -> String {
    format!("{name}-{:016x}", RandomState::new().build_hasher().finish())
}

/// Makes of each function that takes a `&S3` a test on moto and one on Ceph RGW.
#[macro_export]
macro_rules! on_each_s3 {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            use $crate::s3::S3;
            #[test]
            fn on_moto() {
                super::$name(&S3::Moto($crate::moto::Moto::shared()));
            }
            #[test]
            #[ignore = "needs Ceph RGW: scripts/test --full"]
            fn on_ceph_rgw() {
                super::$name(&S3::Rgw($crate::rgw::Rgw::running()));
            }
        }
    )*};
}

/// Makes of each function that takes a `&Server` and a `Version` a test for every version of restic with repositories in a
/// directory, and one for the newest on moto and on Ceph RGW. Older ones on a bucket are in modules named `cross`, which
/// only `scripts/test --cross` runs.
#[macro_export]
macro_rules! with_each_restic_on_each_store {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            $crate::older_on_each_store! { $name: with_restic_0_14 V0_14, with_restic_0_18 V0_18 }
            $crate::newest_on_each_store! { $name: with_restic_0_19 V0_19 }
        }
    )*};
}

/// The same without restic 0.14, for what it cannot do.
#[macro_export]
macro_rules! with_newer_restic_on_each_store {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            $crate::older_on_each_store! { $name: with_restic_0_18 V0_18 }
            $crate::newest_on_each_store! { $name: with_restic_0_19 V0_19 }
        }
    )*};
}

/// The tests of one function with older versions.
#[macro_export]
macro_rules! older_on_each_store {
    ($name:ident: $($test:ident $version:ident),*) => {$(
        mod $test {
            use super::super::$name as case;
            $crate::on_disk! { case $version }
            mod cross {
                use super::case;
                $crate::on_buckets! { case $version }
            }
        }
    )*};
}

/// The tests of one function with the newest version.
#[macro_export]
macro_rules! newest_on_each_store {
    ($name:ident: $test:ident $version:ident) => {
        mod $test {
            use super::super::$name as case;
            $crate::on_disk! { case $version }
            $crate::on_buckets! { case $version }
        }
    };
}

/// The test of one function and version with repositories in a directory.
#[macro_export]
macro_rules! on_disk {
    ($case:ident $version:ident) => {
        #[test]
        fn on_disk() {
            $case(&$crate::server::Server::start(), $crate::clients::Version::$version);
        }
    };
}

/// The tests of one function and version with repositories in a bucket.
#[macro_export]
macro_rules! on_buckets {
    ($case:ident $version:ident) => {
        #[test]
        fn on_moto() {
            let s3 = $crate::s3::S3::Moto($crate::moto::Moto::shared());
            $case(&$crate::server::Server::on(&s3), $crate::clients::Version::$version);
        }
        #[test]
        #[ignore = "needs Ceph RGW: scripts/test --full"]
        fn on_ceph_rgw() {
            let s3 = $crate::s3::S3::Rgw($crate::rgw::Rgw::running());
            $case(&$crate::server::Server::on(&s3), $crate::clients::Version::$version);
        }
    };
}

/// Makes of each script of a folder a test on moto and one on Ceph RGW. All are named, those that are not for a bucket
/// after `except`.
#[macro_export]
macro_rules! scripts_on_each_s3 {
    ($folder:literal: $($name:ident),* $(,)? $(; except: $($except:ident),* $(,)?)?) => {
        $(
            fn $name(s3: &$crate::s3::S3) {
                let bucket = s3.bucket("script", $crate::bucket::Kind::Versioned);
                let server = $crate::server::Server::build().bucket(&bucket);
                $crate::script::run_with(&$crate::script::path($folder, stringify!($name)), server);
            }
        )*

        $crate::on_each_s3!($($name),*);

        #[test]
        fn every_script_is_a_test_or_an_exception() {
            let mut named = vec![$(stringify!($name)),* $(, $(stringify!($except)),*)?];
            named.sort_unstable();
            assert_eq!($crate::script::names($folder), named);
        }
    };
}
