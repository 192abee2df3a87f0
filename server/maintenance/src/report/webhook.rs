//! Posting the report to a URL.
//!
//! Invariant: TLS is verified, no redirection is followed, and neither the header's value nor the URL's path, which may be
//! a secret, is in an error.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use pawl_config::Format;
use pawl_config::files;
use rustls::crypto::aws_lc_rs;

use crate::secret;

/// Posts it, and expects an answer that says that it was taken.
pub(super) async fn post(
    url: &str,
    format: Format,
    content: String,
    token_file: Option<&Path>,
    timeout: Duration,
) -> Result<(), Box<dyn Error>> {
    let host = host(url);
    let token = token_file.map(token).transpose()?;
    let content_type = match format {
        Format::Text => "text/plain; charset=utf-8",
        Format::Json => "application/json",
        Format::Html => "text/html; charset=utf-8",
    };
    let mut request = Request::post(url)
        .header(CONTENT_TYPE, content_type)
        .header(USER_AGENT, concat!("pawl/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(Bytes::from(content)))
        .map_err(|_| format!("webhook {host}: expected https://HOST/PATH in maintenance.report.webhook"))?;
    if let Some(token) = token {
        request.headers_mut().insert(AUTHORIZATION, token);
    }
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(aws_lc_rs::default_provider())
        .map_err(|error| format!("webhook {host}: no certificates to trust were found: {error}"))?
        .https_or_http()
        .enable_http1()
        .build();
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let answer = tokio::time::timeout(timeout, client.request(request)).await;
    let answer = answer.map_err(|_| format!("webhook {host}: no answer within {} s", timeout.as_secs()))?;
    let status = answer.map_err(|error| format!("webhook {host}: {}", causes(&error)))?.status();
    if status.is_success() {
        return Ok(());
    }
    Err(format!("webhook {host}: expected an answer from 200 to 299, found {status}").into())
}

/// Scheme and host of a URL.
fn host(url: &str) -> &str {
    let Some((scheme, rest)) = url.split_once("://") else { return "" };
    let len = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    url.get(..scheme.len() + 3 + len).unwrap_or_default()
}

/// The value of the header.
fn token(path: &Path) -> Result<HeaderValue, Box<dyn Error>> {
    let shown = path.display();
    let text = files::read(path)?.ok_or_else(|| format!("{shown}: there is no such file"))?;
    secret::refuse_shared(path)?;
    let value = HeaderValue::from_str(text.trim());
    let mut value = value.ok().filter(|value| !value.is_empty()).ok_or_else(|| {
        format!("{shown}: expected one line, the value of the header Authorization, such as `Bearer …`")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// An error with its causes in one line: the first says only that there was one.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_host_and_not_the_path() {
        assert_eq!(host("https://hooks.example.org:8443/T0/secret?key=1"), "https://hooks.example.org:8443");
        assert_eq!(host("https://hooks.example.org"), "https://hooks.example.org");
    }
}
