//! The table `[s3]` of the configuration.
//!
//! Invariant: names that the store could not have end here, in an error that names the key.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::refused::Refused;
use crate::s3::{Encryption, Instances, S3Settings, Weakness};

/// The table as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenS3 {
    bucket: String,
    prefix: Option<String>,
    region: Option<String>,
    endpoint: Option<String>,
    #[serde(default)]
    plain_http: bool,
    path_style: Option<bool>,
    ca: Option<PathBuf>,
    credentials_file: Option<PathBuf>,
    profile: Option<String>,
    data_storage_class: Option<String>,
    encryption: Option<WrittenEncryption>,
    kms_key: Option<String>,
    locks_bucket: Option<String>,
    #[serde(default)]
    instances: Instances,
    #[serde(default)]
    accept: Vec<Weakness>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WrittenEncryption {
    /// As the bucket says.
    Bucket,
    /// Keys of the store's.
    Aes256,
    /// A key of the key service.
    Kms,
}

/// The settings, free of contradictions.
pub(super) fn settings(written: WrittenS3) -> Result<S3Settings, Refused> {
    check_bucket("s3.bucket", &written.bucket)?;
    if let Some(bucket) = &written.locks_bucket {
        check_bucket("s3.locks_bucket", bucket)?;
        if *bucket == written.bucket {
            let reason =
                "expected another bucket than s3.bucket; leave it out to keep locks there".to_owned();
            return Err(("s3.locks_bucket", reason));
        }
    }
    let prefix = written.prefix.unwrap_or_default();
    check_prefix(&prefix)?;
    if let Some(endpoint) = &written.endpoint {
        check_endpoint(endpoint)?;
    }
    check_plain_http(written.endpoint.as_deref(), written.plain_http)?;
    for (key, path) in [("s3.ca", &written.ca), ("s3.credentials_file", &written.credentials_file)] {
        if path.as_ref().is_some_and(|path| !path.is_absolute()) {
            return Err((key, "expected an absolute path".to_owned()));
        }
    }
    let encryption = match (written.encryption, written.kms_key) {
        (Some(WrittenEncryption::Kms), key) => Encryption::Kms(key),
        (_, Some(_)) => {
            let reason =
                "a key is named, but s3.encryption is not \"kms\"; set it or remove the key".to_owned();
            return Err(("s3.kms_key", reason));
        }
        (Some(WrittenEncryption::Aes256), None) => Encryption::Store,
        (Some(WrittenEncryption::Bucket) | None, None) => Encryption::Bucket,
    };
    Ok(S3Settings {
        bucket: written.bucket,
        prefix,
        region: written.region,
        // Most stores other than AWS have one name for all buckets.
        path_style: written.path_style.unwrap_or(written.endpoint.is_some()),
        endpoint: written.endpoint,
        plain_http: written.plain_http,
        ca: written.ca,
        credentials_file: written.credentials_file,
        profile: written.profile,
        data_storage_class: written.data_storage_class,
        encryption,
        locks_bucket: written.locks_bucket,
        instances: written.instances,
        accept: written.accept,
    })
}

fn check_bucket(key: &'static str, bucket: &str) -> Result<(), Refused> {
    let fits = (3..=63).contains(&bucket.len())
        && bucket.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        && bucket.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if fits {
        return Ok(());
    }
    Err((
        key,
        format!("expected the name of a bucket, of 3 to 63 letters, digits, '-' and '.', found '{bucket}'"),
    ))
}

fn check_prefix(prefix: &str) -> Result<(), Refused> {
    let fits = |segment: &str| {
        !segment.is_empty()
            && !segment.starts_with('.')
            && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    if prefix.is_empty() || (prefix.len() <= 256 && prefix.split('/').all(fits)) {
        return Ok(());
    }
    Err((
        "s3.prefix",
        format!(
            "expected names of letters, digits, '-', '_' and '.', not beginning with '.', with single slashes between \
             them, such as 'backup/restic', found '{prefix}'"
        ),
    ))
}

fn check_endpoint(endpoint: &str) -> Result<(), Refused> {
    let rest = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
    match rest {
        Some(rest) if !rest.is_empty() && !rest.contains(['@', '?', '#', ' ']) => Ok(()),
        _ => Err((
            "s3.endpoint",
            format!("expected a URL such as \"https://s3.example.org\", found \"{endpoint}\""),
        )),
    }
}

/// Over plain HTTP everybody on the way reads names and metadata, and can keep, drop and forge answers.
fn check_plain_http(endpoint: Option<&str>, accepted: bool) -> Result<(), Refused> {
    let plain = endpoint.and_then(|endpoint| endpoint.strip_prefix("http://"));
    match plain {
        Some(rest) if !accepted && !is_loopback(rest) => {
            let reason = format!(
                "http://{rest} is neither https:// nor on this machine; set s3.plain_http = true if nobody else can reach \
                 the network between"
            );
            Err(("s3.endpoint", reason))
        }
        None if accepted => {
            Err(("s3.plain_http", "s3.endpoint does not begin with http://; remove one of them".to_owned()))
        }
        _ => Ok(()),
    }
}

/// Whether a URL without its scheme names this machine.
fn is_loopback(rest: &str) -> bool {
    let authority = rest.split('/').next().unwrap_or_default();
    let (host, _) = match authority.strip_prefix('[') {
        Some(address) => address.split_once(']').unwrap_or((address, "")),
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn parse(table: &str) -> Result<Config, String> {
        let text = format!("data = '/srv/pawl'\n[s3]\n{table}");
        crate::config::written::parse(&text, Path::new("pawl.toml"), None).map_err(|error| error.to_string())
    }

    #[test]
    fn the_least_table_names_a_bucket() {
        let settings = parse("bucket = 'backup'").unwrap().s3.unwrap();
        assert_eq!((settings.bucket.as_str(), settings.prefix.as_str()), ("backup", ""));
        assert_eq!((settings.path_style, settings.instances), (false, Instances::Many));
        assert_eq!((settings.encryption, settings.accept), (Encryption::Bucket, vec![]));
    }

    #[test]
    fn everything_can_be_said() {
        let table = "bucket = 'backup'\nprefix = 'a/b'\nregion = 'eu-1'\nendpoint = 'https://s3.example.org'\n\
                     ca = '/c'\ncredentials_file = '/f'\nprofile = 'p'\ndata_storage_class = 'STANDARD_IA'\n\
                     encryption = 'kms'\nkms_key = 'k'\nlocks_bucket = 'locks'\ninstances = 'one'\n\
                     accept = ['unversioned', 'unconditional-writes', 'unchecked-content', 'powerful-credential', \
                     'hiding-credential']";
        let settings = parse(table).unwrap().s3.unwrap();
        assert_eq!(settings.encryption, Encryption::Kms(Some("k".to_owned())));
        assert_eq!((settings.accept, settings.path_style), (Weakness::ALL.to_vec(), true));
    }

    #[test]
    fn plain_http_is_for_this_machine_or_accepted_by_name() {
        for endpoint in
            ["http://127.0.0.1:9000", "http://localhost", "http://[::1]:9000/s3", "https://192.0.2.1"]
        {
            assert!(parse(&format!("bucket = 'backup'\nendpoint = '{endpoint}'")).is_ok(), "{endpoint}");
        }
        for endpoint in ["http://192.0.2.1:9000", "http://localhost.example.org", "http://[2001:db8::1]"] {
            let table = format!("bucket = 'backup'\nendpoint = '{endpoint}'");
            let error = parse(&table).unwrap_err();
            assert!(error.contains("s3.endpoint") && error.contains("s3.plain_http"), "{error}");
            assert!(parse(&format!("{table}\nplain_http = true")).unwrap().s3.unwrap().plain_http);
        }
    }

    #[test]
    fn errors_name_the_key() {
        for (table, key) in [
            ("prefix = 'a'", "bucket"),
            ("bucket = 'a'", "s3.bucket"),
            ("bucket = 'a/b/c'", "s3.bucket"),
            ("bucket = 'backup'\nprefix = '/a'", "s3.prefix"),
            ("bucket = 'backup'\nprefix = 'a//b'", "s3.prefix"),
            ("bucket = 'backup'\nprefix = '.pawl'", "s3.prefix"),
            ("bucket = 'backup'\nendpoint = 's3.example.org'", "s3.endpoint"),
            ("bucket = 'backup'\nendpoint = 'https://key:secret@s3.example.org'", "s3.endpoint"),
            ("bucket = 'backup'\nplain_http = true", "s3.plain_http"),
            ("bucket = 'backup'\nlocks_bucket = 'backup'", "s3.locks_bucket"),
            ("bucket = 'backup'\nca = 'ca.pem'", "s3.ca"),
            ("bucket = 'backup'\ncredentials_file = 'f'", "s3.credentials_file"),
            ("bucket = 'backup'\nkms_key = 'k'", "s3.kms_key"),
            ("bucket = 'backup'\nencryption = 'rot13'", "encryption"),
            ("bucket = 'backup'\naccept = ['everything']", "accept"),
            ("bucket = 'backup'\nsecret_key = 'x'", "secret_key"),
        ] {
            let error = parse(table).unwrap_err();
            assert!(error.contains("pawl.toml") && error.contains(key), "{table:?}: {error}");
        }
    }
}
