//! moto: an S3 and IAM server in memory. `scripts/test` starts some, which all tests use at the same time.
//!
//! Invariant: users and buckets have names that no other test has. moto checks neither checksums nor the conditions of
//! policies, and credentials only for a [`Moto::checked_bucket`]: what one of these should refuse is tried on Ceph RGW.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on should stop"
)]

use std::env;
use std::net::SocketAddr;
use std::process::Command;

use crate::bucket::{Access, Bucket, Kind};
use crate::http::{Body, Client, Request, Response};
use crate::program::{Run, tool};
use crate::s3::unique;
use crate::wait;

/// What runs it.
const SERVE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/moto/serve.py");
/// What it prints when it listens.
const READY: &str = "Running on http://";

/// With this, the name of a bucket begins for which moto checks credentials. `serve.py` knows it too.
const CHECKED: &str = "checked-";

/// A running moto.
#[derive(Debug)]
pub struct Moto {
    address: SocketAddr,
    _own: Option<Run>,
}

impl Moto {
    /// One of the servers that all tests of a run share, for one process always the same: `scripts/test` says where they
    /// listen. Without one, as when a single test is started by hand, a server for this test alone.
    #[must_use]
    pub fn shared() -> Self {
        let Some(urls) = env::var_os("PAWL_MOTO") else { return Self::start() };
        let urls: Vec<_> = urls.to_str().unwrap_or_default().split_whitespace().collect();
        let chosen = (std::process::id() as usize).checked_rem(urls.len());
        let url = chosen.and_then(|chosen| urls.get(chosen)?.strip_prefix("http://")?.parse().ok());
        Self { address: url.expect("PAWL_MOTO is like 'http://127.0.0.1:5000 http://…'"), _own: None }
    }

    fn start() -> Self {
        let mut command = Command::new(tool("moto/bin/python3"));
        command.args([SERVE, "-H", "127.0.0.1", "-p", "0"]);
        let mut run = Run::start(command);
        let address = wait::until("moto listens", || {
            assert!(!run.has_ended(), "moto ended at once: {}", run.seen());
            let seen = run.seen();
            let (_, after) = seen.split_once(READY)?;
            let (address, _) = after.split_once(char::is_whitespace)?;
            address.trim_end_matches("\u{1b}[0m").parse().ok()
        });
        Self { address, _own: Some(run) }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// A new bucket that anybody may use, seen with a credential that may do everything. Its name gets an ending.
    #[must_use]
    pub fn bucket(&self, name: &str, kind: Kind) -> Bucket {
        let name = unique(name);
        let owner = self.user(
            "owner",
            &[r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#],
        );
        let bucket = Bucket::at(self.address, &owner, &name);
        bucket.make(kind);
        bucket
    }

    /// A new bucket for which moto checks signatures and the policies of users.
    #[must_use]
    pub fn checked_bucket(&self, name: &str, kind: Kind) -> Bucket {
        self.bucket(&format!("{CHECKED}{name}"), kind)
    }

    /// A new user with these IAM policies. Its name gets an ending.
    #[must_use]
    pub fn user(&self, name: &str, policies: &[&str]) -> Access {
        let name = &unique(name);
        let _ = self.iam(&[("Action", "CreateUser"), ("UserName", name)]);
        for (number, policy) in policies.iter().enumerate() {
            let number = format!("policy-{number}");
            let _ = self.iam(&[
                ("Action", "PutUserPolicy"),
                ("UserName", name),
                ("PolicyName", &number),
                ("PolicyDocument", policy),
            ]);
        }
        let made = self.iam(&[("Action", "CreateAccessKey"), ("UserName", name)]).text();
        let field = |name: &str| {
            let (_, after) = made.split_once(&format!("<{name}>")).expect("an access key");
            after.split('<').next().unwrap().to_owned()
        };
        Access { key: field("AccessKeyId"), secret: field("SecretAccessKey") }
    }

    /// A request to IAM, which is told from one to S3 by what the signature is said to be for.
    fn iam(&self, fields: &[(&str, &str)]) -> Response {
        let signature = "AWS4-HMAC-SHA256 Credential=nobody/20260101/us-east-1/iam/aws4_request, \
                         SignedHeaders=host, Signature=0";
        let form: Vec<_> =
            fields.iter().map(|(name, value)| format!("{name}={}", percent_encoded(value))).collect();
        let request = Request::new("POST", "/")
            .header("Authorization", signature)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(Body::Sized(form.join("&").into_bytes()));
        let response = Client::nobody(self.address).send(request).unwrap();
        assert_eq!(response.status, 200, "{fields:?}: {response:?}");
        response
    }
}

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |encoded, byte| encoded + &format!("%{byte:02X}"))
}
