//! How restic reaches a bucket by itself, past Pawl.
//!
//! Invariant: it is given the credential that was asked for, and no other; it never appears on a command line.

use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use pawl_config::s3::S3Settings;

use super::OpenError;
use super::client::{self, REGION_DEFAULT, SetUpError};
use super::failure::chain;
use super::layout::Layout;

/// What restic needs to reach the repositories of a bucket.
#[derive(Debug)]
pub struct Direct {
    above: String,
    options: Vec<String>,
    credentials: Option<Credentials>,
}

impl Direct {
    /// With the credential of these settings.
    pub async fn new(settings: &S3Settings) -> Result<Self, OpenError> {
        let shared = client::shared(settings).await?;
        let provider = shared.credentials_provider();
        let credentials = match provider {
            Some(provider) => Some(provider.provide_credentials().await),
            None => None,
        };
        let credentials = credentials.transpose();
        let credentials = credentials.map_err(|error| SetUpError::NoCredentials(chain(&error)))?;
        let endpoint = settings.endpoint.as_deref().unwrap_or("https://s3.amazonaws.com");
        let region = shared.region().map_or(REGION_DEFAULT, |region| region.as_ref()).to_owned();
        let lookup = if settings.path_style { "path" } else { "dns" };
        let mut options = vec![format!("--option=s3.region={region}")];
        options.push(format!("--option=s3.bucket-lookup={lookup}"));
        options.extend(settings.ca.as_ref().map(|ca| format!("--cacert={}", ca.display())));
        let prefix = Layout::new(settings).prefix().to_owned();
        let above = format!("s3:{}/{}/{prefix}", endpoint.trim_end_matches('/'), settings.bucket);
        Ok(Self { above, options, credentials })
    }

    /// A repository as restic knows it.
    #[must_use]
    pub fn repository(&self, name: &str) -> String {
        format!("{}{name}", self.above)
    }

    /// What its command line needs besides.
    #[must_use]
    pub fn options(&self) -> &[String] {
        &self.options
    }

    /// The variables of its environment, and what they are set to, if to anything.
    #[must_use]
    pub fn variables(&self) -> [(&'static str, Option<&str>); 4] {
        let of = |part: fn(&Credentials) -> Option<&str>| self.credentials.as_ref().and_then(part);
        [
            ("AWS_ACCESS_KEY_ID", of(|credentials| Some(credentials.access_key_id()))),
            ("AWS_SECRET_ACCESS_KEY", of(|credentials| Some(credentials.secret_access_key()))),
            ("AWS_SESSION_TOKEN", of(Credentials::session_token)),
            ("AWS_PROFILE", None),
        ]
    }
}
