//! TLS: a given certificate, or one of a private CA that Pawl makes; and what hosts' certificates must be signed by.
//!
//! Invariant: TLS 1.2 or newer, with one provider. A certificate that cannot be read leaves the last good one in
//! place and says so. A host's certificate is asked for, never required: who comes in is decided by request.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use pawl_config::files::{self, FileError, Stamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, crypto::CryptoProvider};
use tokio_rustls::TlsAcceptor;

use super::connection::{ALPN_H1, ALPN_H2};

/// The private CA's directory in DATA.
const DIRECTORY: &str = ".pawl/tls";
/// The frontend's certificate there.
pub const DOOR: &str = "server.pem";
/// Private keys are their owner's alone.
const KEY_MODE: u32 = 0o600;
/// That of the frontend's certificate, where the frontend has a user of its own.
const GROUP_KEY_MODE: u32 = 0o640;
const CERTIFICATE_MODE: u32 = 0o644;

/// What is wrong with certificates.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file does not hold what it should.
    #[error("{}: expected {expected}: {cause}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What should be there.
        expected: &'static str,
        /// What is wrong.
        cause: String,
    },
    /// A certificate cannot be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// The private CA's key is away.
    #[error(
        "{}: the key of {} is not there: put it back; or remove both, which makes a new CA that all hosts have to trust \
         anew", .key.display(), .certificate.display()
    )]
    NoCaKey {
        /// The certificate that hosts trust.
        certificate: PathBuf,
        /// Where its key should be.
        key: PathBuf,
    },
    /// The address stands for all of the machine's, so that hosts cannot be told where to go.
    #[error(
        "{0} is every address of this machine, but a certificate needs names: set tls.names in the configuration"
    )]
    NoNames(SocketAddr),
    /// Certificate and key are not for TLS.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// Where certificate and key lie.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    /// PEM: the certificate, then its intermediates.
    pub certificate: PathBuf,
    /// PEM: the private key.
    pub key: PathBuf,
}

/// What is spoken inside of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocols {
    /// HTTP/2 with those who know it, else HTTP/1.1.
    Both,
    /// HTTP/1.1, whose answers carry a phrase that restic shows to its user; those of HTTP/2 have none.
    Http1,
}

/// Who reads a key that is made here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// Whoever made it.
    Owner,
    /// The group, in which the frontend is.
    Group,
}

/// The certificates in use, which can be read again.
#[derive(Debug)]
pub struct Certificates {
    files: CertificateFiles,
    current: Arc<Current>,
    provider: Arc<CryptoProvider>,
    protocols: Protocols,
    /// The authority of hosts' certificates. While there is none, no certificate is asked for.
    client_ca: PathBuf,
    config: Mutex<(Option<Stamp>, Arc<ServerConfig>)>,
}

#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Certificates {
    /// Reads certificate and key, and the authority of hosts' certificates, if it is there.
    pub fn load(files: CertificateFiles, client_ca: PathBuf, protocols: Protocols) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let current = Arc::new(Current(RwLock::new(Arc::new(read(&files, &provider)?))));
        let stamp = files::stamp(&client_ca)?;
        let ca = stamp.map(|_| client_ca.as_path());
        let config = server_config(&provider, &current, ca, protocols)?;
        Ok(Self { files, current, provider, protocols, client_ca, config: Mutex::new((stamp, config)) })
    }

    /// Reads certificate and key again. New connections get the new ones.
    pub fn reload(&self) {
        match read(&self.files, &self.provider) {
            Ok(key) => {
                *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
                tracing::info!("certificate was read again");
            }
            Err(error) => {
                tracing::error!(%error, "the certificate cannot be read; the last one stays in use");
            }
        }
    }

    /// For one connection. The authority of hosts' certificates is read again when it has changed, so that the first
    /// certificate that is issued counts at once.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let mut config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.renew(&mut config) {
            tracing::error!(%error, "the authority of hosts' certificates cannot be read; the last one stays in use");
        }
        TlsAcceptor::from(Arc::clone(&config.1))
    }

    fn renew(&self, config: &mut (Option<Stamp>, Arc<ServerConfig>)) -> Result<(), TlsError> {
        let stamp = files::stamp(&self.client_ca)?;
        if stamp != config.0 {
            config.0 = stamp; // first, so that what is wrong with a file is said once
            let ca = stamp.map(|_| self.client_ca.as_path());
            config.1 = server_config(&self.provider, &self.current, ca, self.protocols)?;
            tracing::info!("the authority of hosts' certificates has changed and was read again");
        }
        Ok(())
    }
}

fn server_config(
    provider: &Arc<CryptoProvider>,
    current: &Arc<Current>,
    client_ca: Option<&Path>,
    protocols: Protocols,
) -> Result<Arc<ServerConfig>, TlsError> {
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(provider)).with_safe_default_protocol_versions()?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => builder.with_client_cert_verifier(verifier(path, provider)?),
    };
    let mut config = builder.with_cert_resolver(Arc::clone(current) as Arc<dyn ResolvesServerCert>);
    config.alpn_protocols = match protocols {
        Protocols::Both => vec![ALPN_H2.to_vec(), ALPN_H1.to_vec()],
        Protocols::Http1 => vec![ALPN_H1.to_vec()],
    };
    if client_ca.is_some() {
        // A session that is resumed is not verified again, so that a certificate would outlive its expiry.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Arc::new(config))
}

/// Lets those through who bring no certificate, or a valid one of this authority.
fn verifier(path: &Path, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let wrong = |cause: String| TlsError::Content {
        path: path.to_owned(),
        expected: "the certificate of the authority of hosts",
        cause,
    };
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(path).map_err(|error| wrong(error.to_string()))?;
    roots.add(authority).map_err(|error| wrong(error.to_string()))?;
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .allow_unauthenticated()
        .build()
        .map_err(|error| wrong(error.to_string()))
}

fn read(files: &CertificateFiles, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let content =
        |path: &Path, expected, cause: String| TlsError::Content { path: path.to_owned(), expected, cause };
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| content(&files.certificate, "a certificate in PEM", error.to_string()))?;
    if chain.is_empty() {
        return Err(content(&files.certificate, "a certificate in PEM", "found none".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| content(&files.key, "a private key in PEM", error.to_string()))?;
    CertifiedKey::from_der(chain, key, provider)
        .map_err(|error| content(&files.key, "the key of the certificate", error.to_string()))
}

/// Where the private CA's certificate lies, which hosts are to trust.
#[must_use]
pub fn ca_file(data: &Path) -> PathBuf {
    data.join(DIRECTORY).join("ca.crt")
}

/// Makes the private CA if there is none, and a fresh certificate of it for these names, or for the addresses.
/// Hosts trust the CA, so that every start can make a new certificate. It goes into this file, with its key.
pub fn issue(
    data: &Path,
    file: &str,
    names: &[String],
    listen: &[SocketAddr],
    reader: Reader,
) -> Result<CertificateFiles, TlsError> {
    let directory = data.join(DIRECTORY);
    files::make_directory(&directory, 0o750)?;
    let ca = certificate_authority(&directory)?;

    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names_or_addresses(names, listen)?)?;
    params.distinguished_name = distinguished_name("Pawl");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    never_expires(&mut params);
    let certificate = params.signed_by(&key, &ca)?;

    // One file, so that certificate and key are replaced together.
    let path = directory.join(file);
    let both = key.serialize_pem() + &certificate.pem();
    let mode = if reader == Reader::Group { GROUP_KEY_MODE } else { KEY_MODE };
    match files::replace(&path, &both, mode) {
        // A full disk must not keep hosts from restoring.
        Err(error) if error.is_for_want_of_room() && path.exists() => {
            tracing::warn!(%error, "the certificate of the last start stays in use");
        }
        written => written?,
    }
    Ok(issued(data, file))
}

/// A certificate that was made before.
#[must_use]
pub fn issued(data: &Path, file: &str) -> CertificateFiles {
    let path = data.join(DIRECTORY).join(file);
    CertificateFiles { certificate: path.clone(), key: path }
}

fn certificate_authority(directory: &Path) -> Result<Issuer<'static, KeyPair>, TlsError> {
    let (key_path, certificate_path) = (directory.join("ca.key"), directory.join("ca.crt"));
    let certificate = files::read(&certificate_path)?;
    let key = match files::read(&key_path)? {
        Some(key) => KeyPair::from_pem(&key).map_err(|error| TlsError::Content {
            path: key_path,
            expected: "the private CA's key in PEM",
            cause: error.to_string(),
        })?,
        // Hosts trust the certificate that is there: a new key would lock all of them out.
        None if certificate.is_some() => {
            return Err(TlsError::NoCaKey { certificate: certificate_path, key: key_path });
        }
        None => {
            let key = KeyPair::generate()?;
            files::replace(&key_path, &key.serialize_pem(), KEY_MODE)?;
            key
        }
    };
    if certificate.is_none() {
        // With the same name and key, so that hosts' copies of an earlier certificate go on working.
        let certificate = ca_params().self_signed(&key)?;
        files::replace(&certificate_path, &certificate.pem(), CERTIFICATE_MODE)?;
        tracing::info!(path = %certificate_path.display(), "made the certificate of the private CA");
    }
    Ok(Issuer::new(ca_params(), key))
}

/// The same each time, so that the CA can go on signing with nothing but its key.
fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name("Pawl private CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    never_expires(&mut params);
    params
}

/// Hosts pin the CA by file, and it signs nothing but this server, so an expiry would protect nobody and one day
/// stop all backups.
fn never_expires(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2076, 1, 1);
}

fn distinguished_name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn names_or_addresses(names: &[String], listen: &[SocketAddr]) -> Result<Vec<String>, TlsError> {
    if !names.is_empty() {
        return Ok(names.to_vec());
    }
    let mut all = BTreeSet::new();
    for address in listen {
        if address.ip().is_unspecified() {
            return Err(TlsError::NoNames(*address));
        }
        all.insert(address.ip().to_string());
        if address.ip().is_loopback() {
            all.insert("localhost".to_owned());
        }
    }
    Ok(all.into_iter().collect())
}
