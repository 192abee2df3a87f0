//! moto: an S3 and IAM server in memory, quick to start and one for each test.
//!
//! Invariant: none outlives its value. It checks neither checksums nor the conditions of policies, and no credential
//! before [`Moto::require_credentials`]: what is to be refused for one of these is tried on Ceph RGW.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on should stop"
)]

use std::net::SocketAddr;
use std::process::Command;

use crate::bucket::{Access, Bucket, Kind};
use crate::http::{Body, Client, Request, Response};
use crate::program::{Run, tool};
use crate::wait;

/// What runs it.
const SERVE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/moto/serve.py");
/// What it prints when it listens.
const READY: &str = "Running on http://";

/// A server of its own.
#[derive(Debug)]
pub struct Moto {
    address: SocketAddr,
    _run: Run,
}

impl Moto {
    /// Starts one on a free port.
    #[must_use]
    pub fn start() -> Self {
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
        Self { address, _run: run }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// A new bucket, seen with a credential that may do everything.
    #[must_use]
    pub fn bucket(&self, name: &str, kind: Kind) -> Bucket {
        let owner = self.user(
            &format!("owner-of-{name}"),
            &[r#"{"Version":"2012-10-17","Statement":[
            {"Effect":"Allow","Action":"*","Resource":"*"}]}"#],
        );
        let bucket = Bucket::at(self.address, &owner, name);
        bucket.make(kind);
        bucket
    }

    /// A new user with these IAM policies. Only while no credential is asked for.
    #[must_use]
    pub fn user(&self, name: &str, policies: &[&str]) -> Access {
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

    /// From here on, signatures and IAM policies are checked.
    pub fn require_credentials(&self) {
        let request = Request::new("POST", "/moto-api/reset-auth").body(Body::Sized(b"0".to_vec()));
        assert_eq!(Client::nobody(self.address).send(request).unwrap().status, 200);
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
