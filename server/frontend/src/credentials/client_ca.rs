//! Certificates of hosts: the authority that signs them, and what is remembered of each.
//!
//! Invariant: a host's key is in the file that was asked for and nowhere else. The authority's key lies in a directory
//! that `pawl serve` never opens; its certificate, which is public, lies where the frontend reads it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, SystemTimeError, UNIX_EPOCH};

use pawl_config::files::{self, FileError};
use pawl_policy::PrincipalName;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use sha2::{Digest, Sha256};

use super::error::HostsError;

/// The directory of the authority's key in DATA.
const KEY_DIRECTORY: &str = ".pawl/client-ca";
/// Private keys are their owner's alone.
const KEY_MODE: u32 = 0o600;
const KEY_DIRECTORY_MODE: u32 = 0o700;
const CERTIFICATE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o750;

/// How long a host's certificate is valid unless told otherwise: ten years, longer than most machines last. It can be
/// ended at any moment, so that its expiry protects little, and one that nobody thinks of stops a host's backups.
pub const CERTIFICATE_DAYS_DEFAULT: u16 = 3650;
/// No certificate outlives the authority's own, which ends in 2076.
pub const CERTIFICATE_DAYS_MAX: u16 = 9999;

/// A certificate is valid from a little earlier on, or a clock that is set back refuses it.
const EARLIER: Duration = Duration::from_hours(1);

/// Where the authority's certificate lies, by which the frontend tells certificates of hosts from others.
#[must_use]
pub fn client_ca_path(data: &Path) -> PathBuf {
    data.join(".pawl/tls/client-ca.crt")
}

/// What stands for a certificate: the SHA-256 of its DER form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// That of a certificate in DER.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }

    /// That which stands in the hosts file.
    pub(super) fn parse(text: &str) -> Option<Self> {
        hex::decode(text).ok()?.try_into().ok().map(Self)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// A certificate that is to be made.
#[derive(Debug, Clone, Copy)]
pub struct CertificateOrder<'a> {
    /// The data directory.
    pub data: &'a Path,
    /// Where certificate and key go.
    pub file: &'a Path,
    /// How long it is valid.
    pub days: u16,
}

impl CertificateOrder<'_> {
    /// Makes a certificate for `name`, and the authority if there is none, and writes it with its key into the file.
    /// Only one may do so at a time: the caller holds the lock of the hosts file.
    pub(super) fn issue(&self, name: &PrincipalName) -> Result<Fingerprint, HostsError> {
        let authority = authority(self.data)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let key = KeyPair::generate()?;
        let mut params = named(name.as_str());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = date_time_ymd(1970, 1, 1) + now.saturating_sub(EARLIER);
        params.not_after = date_time_ymd(1970, 1, 1) + now + Duration::from_hours(24) * u32::from(self.days);
        let certificate = params.signed_by(&key, &authority)?;
        // One file, as restic takes it (`--tls-client-cert`).
        files::create(self.file, &(certificate.pem() + &key.serialize_pem()), KEY_MODE)?;
        Ok(Fingerprint::of(certificate.der()))
    }
}

/// The authority of this data directory. Its key is written first, so that a certificate without a key is one whose key
/// was taken away: another key would end the certificates of all hosts.
fn authority(data: &Path) -> Result<Issuer<'static, KeyPair>, HostsError> {
    let directory = data.join(KEY_DIRECTORY);
    let (key_path, certificate_path) = (directory.join("ca.key"), client_ca_path(data));
    let certificate_is_there = files::read(&certificate_path)?.is_some();
    let key = match files::read(&key_path)? {
        Some(pem) => KeyPair::from_pem(&pem)
            .map_err(|error| HostsError::Invalid { path: key_path.clone(), cause: error.to_string() })?,
        None if certificate_is_there => return Err(HostsError::NoAuthorityKey(key_path, certificate_path)),
        None => {
            files::make_directory(&directory, KEY_DIRECTORY_MODE)?;
            let key = KeyPair::generate()?;
            files::replace(&key_path, &key.serialize_pem(), KEY_MODE)?;
            key
        }
    };
    if !certificate_is_there {
        write_certificate(&certificate_path, &authority_params().self_signed(&key)?)?;
    }
    Ok(Issuer::new(authority_params(), key))
}

fn write_certificate(path: &Path, certificate: &Certificate) -> Result<(), FileError> {
    if let Some(directory) = path.parent() {
        files::make_directory(directory, DIRECTORY_MODE)?;
    }
    files::replace(path, &certificate.pem(), CERTIFICATE_MODE)
}

/// The same each time, so that the authority can go on signing with nothing but its key.
fn authority_params() -> CertificateParams {
    let mut params = named("Pawl hosts");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2076, 1, 1);
    params
}

fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

impl From<SystemTimeError> for HostsError {
    fn from(_: SystemTimeError) -> Self {
        Self::Clock
    }
}
