//! The SDK's client, set up for streams.
//!
//! Invariant: no time limit of the SDK counts the time that a backup host takes, and nothing that was streamed is sent
//! a second time.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{
    IdentityCache, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
    StalledStreamProtectionConfig,
};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};
use pawl_config::files::{self, Stamp};
use pawl_config::s3::S3Settings;
use tokio::sync::Mutex;

use super::failure::chain;

/// To a store that is there, a connection takes a few round trips.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// For one attempt at a call without a stream; a listing of 1000 names takes less than a second.
const ATTEMPT_MAX: Duration = Duration::from_secs(20);
/// restic itself tries again for 15 minutes, so that there is no point in holding its request for long.
const ATTEMPTS: u32 = 3;
/// Connections kept for the next request. Those of 64 parallel uploads.
const IDLE_CONNECTIONS_MAX: usize = 64;
/// Stores close what is idle after 20 s or more.
const IDLE_MAX: Duration = Duration::from_secs(15);

/// Region to sign for where there is none: stores other than AWS mostly do not care.
pub(super) const REGION_DEFAULT: &str = "us-east-1";

/// Why the store cannot be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// The file of certificates cannot be read.
    #[error(transparent)]
    File(#[from] files::FileError),
    /// The file of certificates is not there.
    #[error("s3.ca: {0}: there is no such file")]
    NoCa(String),
    /// The certificates are none.
    #[error("s3.ca: {0}")]
    Ca(String),
    /// Nothing to sign with.
    #[error(
        "no credentials for the store: {0}. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or s3.credentials_file, or \
         run where the cloud hands them out"
    )]
    NoCredentials(String),
    /// No region is known.
    #[error(
        "s3.region is not set, and neither the environment nor a profile names one; for a store other than AWS set \
         s3.endpoint"
    )]
    NoRegion,
}

/// How long the store is waited for, where that is not for the SDK to say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    /// Until it takes more of a body that is there to be taken.
    pub(super) taking: Duration,
    /// Until it answers once it has all of a body. It may write 4 GiB to several places first.
    pub(super) answer: Duration,
    /// Until it sends more to a client that waits for more.
    pub(super) silence: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            taking: Duration::from_mins(1),
            answer: Duration::from_mins(2),
            silence: Duration::from_mins(1),
        }
    }
}

/// The same client twice.
#[derive(Debug, Clone)]
pub(super) struct Clients {
    pub(super) patience: Timeouts,
    /// For calls whose content is in memory: tried again if need be, within a time limit.
    pub(super) quick: Client,
    /// For content that arrives as a host sends it: once, and no faster than that.
    pub(super) streaming: Client,
}

impl Clients {
    pub(super) async fn new(settings: &S3Settings) -> Result<Self, SetUpError> {
        let shared = shared(settings).await?;
        if let Some(provider) = shared.credentials_provider() {
            let given = provider.provide_credentials().await;
            given.map_err(|error| SetUpError::NoCredentials(chain(&error)))?;
        }
        let mut config = aws_sdk_s3::config::Builder::from(&shared)
            .force_path_style(settings.path_style)
            // What is sent carries a SHA-256 of its own; what is read is checked by restic.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            // It would take a slow host for a stalled store. Whoever waits for the store here counts for itself.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if shared.region().is_none() {
            config = config.region(Region::new(REGION_DEFAULT));
        }
        if let Some(endpoint) = &settings.endpoint {
            config = config.endpoint_url(endpoint);
        }
        let connecting = TimeoutConfig::builder().connect_timeout(CONNECT_MAX);
        let quick = config
            .clone()
            .timeout_config(connecting.clone().operation_attempt_timeout(ATTEMPT_MAX).build())
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .retry_classifier(Gibberish);
        let streaming = config.timeout_config(connecting.build()).retry_config(RetryConfig::disabled());
        Ok(Self {
            patience: Timeouts::default(),
            quick: Client::from_conf(quick.build()),
            streaming: Client::from_conf(streaming.build()),
        })
    }
}

/// What came back was no answer at all. Ceph was seen to leave bytes behind on a connection that is used again, which the SDK
/// takes for final. What is tried again for it is safe to repeat, as after a connection that broke.
#[derive(Debug)]
struct Gibberish;

impl ClassifyRetry for Gibberish {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let Some(Err(error)) = context.output_or_error() else { return RetryAction::NoActionIndicated };
        let is_gibberish = error.as_connector_error().is_some_and(ConnectorError::is_other);
        if is_gibberish { RetryAction::transient_error() } else { RetryAction::NoActionIndicated }
    }

    fn name(&self) -> &'static str {
        "no answer at all"
    }
}

/// What the SDK's clients have in common: region, credential, and how connections are made.
pub(super) async fn shared(settings: &S3Settings) -> Result<SdkConfig, SetUpError> {
    let http = http(settings)?;
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http.clone());
    if let Some(region) = &settings.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(profile) = &settings.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(file) = &settings.credentials_file {
        let (file, profile) = (file.clone(), settings.profile.clone());
        let provider = CredentialsFile { file, profile, http, current: Mutex::default() };
        loader = loader.credentials_provider(provider).identity_cache(IdentityCache::no_cache());
    }
    if let Ok(name) = AppName::new("pawl") {
        loader = loader.app_name(name);
    }
    let shared = loader.load().await;
    if shared.region().is_none() && settings.endpoint.is_none() {
        return Err(SetUpError::NoRegion);
    }
    Ok(shared)
}

/// A credential from a file, which is read again when it has changed. While what stands there cannot be understood, what
/// stood there before is used.
#[derive(Debug)]
struct CredentialsFile {
    file: PathBuf,
    profile: Option<String>,
    http: SharedHttpClient,
    current: Mutex<Option<(Option<Stamp>, Credentials)>>,
}

/// A credential that ends, as one for a role does, is renewed so long before.
const RENEWED_BEFORE: Duration = Duration::from_mins(2);

impl CredentialsFile {
    async fn current(&self) -> Result<Credentials, CredentialsError> {
        let stamp = files::stamp(&self.file).map_err(CredentialsError::provider_error)?;
        let mut current = self.current.lock().await;
        let usable = |given: &Credentials| {
            given.expiry().is_none_or(|expiry| expiry > SystemTime::now() + RENEWED_BEFORE)
        };
        match &mut *current {
            Some((of, given)) if *of == stamp && usable(given) => Ok(given.clone()),
            known => match (self.read().await, known) {
                (Ok(given), known) => {
                    *known = Some((stamp, given.clone()));
                    Ok(given)
                }
                (Err(error), Some((of, given))) if usable(given) => {
                    let file = self.file.display();
                    tracing::error!(%file, cause = chain(&error), "cannot use the credentials; the earlier ones go on");
                    *of = stamp;
                    Ok(given.clone())
                }
                (Err(error), _) => Err(error),
            },
        }
    }

    async fn read(&self) -> Result<Credentials, CredentialsError> {
        let files = EnvConfigFiles::builder().with_file(EnvConfigFileKind::Credentials, &self.file).build();
        let mut provider = ProfileFileCredentialsProvider::builder()
            .configure(&ProviderConfig::default().with_http_client(self.http.clone()))
            .profile_files(files);
        if let Some(profile) = &self.profile {
            provider = provider.profile_name(profile);
        }
        provider.build().provide_credentials().await
    }
}

impl ProvideCredentials for CredentialsFile {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.current())
    }
}

fn http(settings: &S3Settings) -> Result<SharedHttpClient, SetUpError> {
    let mut context = TlsContext::builder();
    if let Some(path) = &settings.ca {
        let pem = files::read(path)?.ok_or_else(|| SetUpError::NoCa(path.display().to_string()))?;
        if !pem.contains("-----BEGIN CERTIFICATE-----") {
            let cause = format!("{}: expected certificates in PEM, found none", path.display());
            return Err(SetUpError::Ca(cause));
        }
        context = context.with_trust_store(TrustStore::empty().with_pem_certificate(pem));
    }
    let context = context.build().map_err(|error| SetUpError::Ca(error.to_string()))?;
    Ok(aws_smithy_http_client::Builder::new()
        .pool_idle_timeout(IDLE_MAX)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(context)
        .build_https())
}
