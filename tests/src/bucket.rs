//! A bucket as somebody with a credential of the store sees it: a small blocking client.
//!
//! Invariant: every request is sent once, as the test says; nothing is retried, and no checksum is added or checked
//! that was not asked for.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on should stop"
)]

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{BucketVersioningStatus, ChecksumMode, VersioningConfiguration};
use aws_smithy_http_client::tls;
use tokio::runtime::Runtime;

use crate::s3::unique;
use crate::wait::DEADLINE;

mod versions;

pub use versions::{Snapshot, Version};

/// Where all test servers say they are.
pub const REGION: &str = "us-east-1";

/// A credential of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The access key's name.
    pub key: String,
    /// The access key itself.
    pub secret: String,
}

/// How a bucket is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Without versions.
    Plain,
    /// With versions.
    Versioned,
    /// With versions and Object Lock, which no default retention uses yet.
    Locked,
}

/// Why a request did not do what it asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The store said so.
    Answer {
        /// As in 403.
        status: u16,
        /// As in `AccessDenied`; empty where the store gave none, as for HEAD.
        code: String,
    },
    /// There was no answer, or none that means anything.
    Line(String),
}

impl Failure {
    /// The answer's status, if there was one.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Answer { status, .. } => Some(*status),
            Self::Line(_) => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer { status, code } => write!(f, "{status} {code}"),
            Self::Line(cause) => write!(f, "no answer: {cause}"),
        }
    }
}

/// Bytes and metadata.
type Content = (Vec<u8>, BTreeMap<String, String>);

/// A bucket, seen with one credential.
#[derive(Clone)]
pub struct Bucket {
    endpoint: SocketAddr,
    name: String,
    access: Access,
    client: Client,
    runner: Arc<Runner>,
    /// Versions that were read, by name, id and `ETag`.
    seen: Arc<Mutex<HashMap<[String; 3], Content>>>,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket")
            .field("endpoint", &self.endpoint)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Bucket {
    /// The bucket of this name, whether it is there or not.
    #[must_use]
    pub fn at(endpoint: SocketAddr, access: &Access, name: &str) -> Self {
        let client = client(endpoint, access);
        Self {
            endpoint,
            name: name.into(),
            access: access.clone(),
            client,
            runner: Arc::default(),
            seen: Arc::default(),
        }
    }

    /// A new bucket of any store, with versions where it has them.
    #[must_use]
    pub fn of_a_store(endpoint: SocketAddr, access: &Access) -> Self {
        let bucket = Self::at(endpoint, access, &unique("backup"));
        bucket.make(Kind::Plain);
        drop(bucket.set_versioning(BucketVersioningStatus::Enabled));
        bucket
    }

    /// Makes it.
    pub fn make(&self, kind: Kind) {
        let create = |client: Client| client.create_bucket().bucket(self.name());
        let locked = kind == Kind::Locked;
        self.ask(|client| create(client).set_object_lock_enabled_for_bucket(locked.then_some(true)).send())
            .expect("a bucket is made");
        if kind == Kind::Versioned {
            self.set_versioning(BucketVersioningStatus::Enabled).expect("versions are switched on");
        }
    }

    /// The same bucket, seen with another credential.
    #[must_use]
    pub fn with(&self, access: &Access) -> Self {
        Self { access: access.clone(), client: client(self.endpoint, access), ..self.clone() }
    }

    /// The same bucket, reached elsewhere: through a line that fails.
    #[must_use]
    pub fn through(&self, endpoint: SocketAddr) -> Self {
        Self { endpoint, client: client(endpoint, &self.access), ..self.clone() }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the store listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.endpoint
    }

    /// Where the store listens, as a URL: `http://127.0.0.1:43211`.
    #[must_use]
    pub fn endpoint_url(&self) -> String {
        format!("http://{}", self.endpoint)
    }

    /// With what it is asked.
    #[must_use]
    pub const fn access(&self) -> &Access {
        &self.access
    }

    /// Sends one request of any kind. It is given the SDK's client, so that a test can ask whatever S3 has.
    pub fn ask<T, E, F>(&self, request: impl FnOnce(Client) -> F) -> Result<T, Failure>
    where
        T: Send,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        F: Future<Output = Result<T, SdkError<E>>> + Send,
    {
        let answer = request(self.client.clone());
        self.runner.run(async { answer.await.map_err(|error| failure(&error)) })
    }

    /// Stores an object, replacing what is there. The id of its version is returned, if there are versions.
    pub fn put(&self, key: &str, content: &[u8]) -> Result<Option<String>, Failure> {
        let body = ByteStream::from(content.to_vec());
        let answer = self.ask(|client| client.put_object().bucket(self.name()).key(key).body(body).send());
        answer.map(|output| output.version_id)
    }

    /// Stores an object of one byte under each name. moto can do this.
    pub fn put_each(&self, keys: &[String]) -> Result<(), Failure> {
        let body = ByteStream::from(keys.join("\n").into_bytes());
        let put = |client: Client| client.put_object().bucket(self.name()).key("keys").body(body);
        self.ask(|client| put(client).metadata("each-line", "yes").send()).map(|_| ())
    }

    /// Stores an object only if there is none of that name.
    pub fn put_new(&self, key: &str, content: &[u8]) -> Result<Option<String>, Failure> {
        let body = ByteStream::from(content.to_vec());
        let answer = self.ask(|client| {
            client.put_object().bucket(self.name()).key(key).body(body).if_none_match("*").send()
        });
        answer.map(|output| output.version_id)
    }

    /// What is stored under a name now.
    pub fn get(&self, key: &str) -> Result<Vec<u8>, Failure> {
        self.read(key, None).map(|(content, _)| content)
    }

    /// A version of it.
    pub fn get_version(&self, key: &str, version: &str) -> Result<Vec<u8>, Failure> {
        self.read(key, Some(version)).map(|(content, _)| content)
    }

    fn read(&self, key: &str, version: Option<&str>) -> Result<Content, Failure> {
        let version = version.map(str::to_owned);
        let output = self
            .ask(|client| client.get_object().bucket(self.name()).key(key).set_version_id(version).send())?;
        let body =
            self.runner.run(output.body.collect()).map_err(|error| Failure::Line(error.to_string()))?;
        Ok((body.to_vec(), output.metadata.unwrap_or_default().into_iter().collect()))
    }

    /// What the store says of what is stored under a name, its checksum included if it keeps one.
    pub fn head(&self, key: &str) -> Result<HeadObjectOutput, Failure> {
        self.ask(|client| {
            client.head_object().bucket(self.name()).key(key).checksum_mode(ChecksumMode::Enabled).send()
        })
    }

    /// The names of all objects that begin like this.
    pub fn list(&self, prefix: &str) -> Result<Vec<String>, Failure> {
        let (mut keys, mut after) = (Vec::new(), None);
        loop {
            let page = self.ask(|client| {
                let list = client.list_objects_v2().bucket(self.name()).prefix(prefix);
                list.set_continuation_token(after.take()).send()
            })?;
            keys.extend(page.contents().iter().filter_map(|object| object.key().map(str::to_owned)));
            after = page.next_continuation_token;
            if after.is_none() {
                return Ok(keys);
            }
        }
    }

    /// Removes an object, or, where there are versions, hides it behind a marker.
    pub fn delete(&self, key: &str) -> Result<(), Failure> {
        self.ask(|client| client.delete_object().bucket(self.name()).key(key).send()).map(|_| ())
    }

    /// Removes a version or a marker for good.
    pub fn delete_version(&self, key: &str, version: &str) -> Result<(), Failure> {
        self.ask(|client| client.delete_object().bucket(self.name()).key(key).version_id(version).send())
            .map(|_| ())
    }

    /// Switches versions on or off.
    pub fn set_versioning(&self, status: BucketVersioningStatus) -> Result<(), Failure> {
        let wanted = VersioningConfiguration::builder().status(status).build();
        self.ask(|client| {
            client.put_bucket_versioning().bucket(self.name()).versioning_configuration(wanted).send()
        })
        .map(|_| ())
    }

    /// Sets the bucket's policy.
    pub fn set_policy(&self, policy: &str) -> Result<(), Failure> {
        self.ask(|client| client.put_bucket_policy().bucket(self.name()).policy(policy).send()).map(|_| ())
    }

    /// Every version and every marker with its bytes.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        versions::all(self).unwrap_or_else(|failure| panic!("the bucket is not readable: {failure}"))
    }
}

fn client(endpoint: SocketAddr, access: &Access) -> Client {
    let aws_lc = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc);
    // A connection for each request: RGW has been seen to leave bytes behind an answer, which the next one met.
    let http =
        aws_smithy_http_client::Builder::new().pool_max_idle_per_host(0).tls_provider(aws_lc).build_https();
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .endpoint_url(format!("http://{endpoint}"))
        .force_path_style(true)
        .credentials_provider(Credentials::new(&access.key, &access.secret, None, None, "test"))
        .http_client(http)
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_timeout(DEADLINE).build())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .build();
    Client::from_conf(config)
}

fn failure<E: ProvideErrorMetadata + std::error::Error + 'static>(error: &SdkError<E>) -> Failure {
    match error.raw_response() {
        Some(response) => Failure::Answer {
            status: response.status().as_u16(),
            code: error.code().unwrap_or_default().to_owned(),
        },
        None => Failure::Line(DisplayErrorContext(error).to_string()),
    }
}

/// Runs futures to their end, from anywhere: a test that runs on a runtime of its own may not block, but this may.
#[derive(Debug)]
struct Runner(Option<Runtime>);

impl Default for Runner {
    fn default() -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        Self(Some(builder.worker_threads(1).enable_all().build().expect("a runtime")))
    }
}

impl Runner {
    fn run<T: Send>(&self, future: impl Future<Output = T> + Send) -> T {
        let runtime = self.0.as_ref().unwrap();
        thread::scope(|scope| scope.spawn(|| runtime.block_on(future)).join().unwrap())
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background(); // a runtime within a runtime may not be waited for
        }
    }
}
