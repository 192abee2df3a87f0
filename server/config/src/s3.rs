//! Which bucket, and what its operator accepts of it.
//!
//! Invariant: plain values; contradictions were refused when the configuration was read.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The bucket that holds all repositories, and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Settings {
    /// The bucket.
    pub bucket: String,
    /// What all names in it begin with; empty, or without a slash at either end.
    pub prefix: String,
    /// The region; from the environment or the profile if absent.
    pub region: Option<String>,
    /// The store's URL, if it is not AWS.
    pub endpoint: Option<String>,
    /// The store is reached over plain HTTP, past this machine, and the operator accepts that.
    pub plain_http: bool,
    /// `https://host/bucket/name` instead of `https://bucket.host/name`.
    pub path_style: bool,
    /// Certificates, PEM, to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// A file of credentials in the format of `~/.aws/credentials`, instead of the SDK's usual chain.
    pub credentials_file: Option<PathBuf>,
    /// Which part of that file, or of the usual ones.
    pub profile: Option<String>,
    /// Storage class of files in `data`, for example `STANDARD_IA`.
    pub data_storage_class: Option<String>,
    /// How the store encrypts.
    pub encryption: Encryption,
    /// Another bucket for locks, without Object Lock retention.
    pub locks_bucket: Option<String>,
    /// Whether other servers use the same bucket.
    pub instances: Instances,
    /// Weaknesses of the store that the operator accepts.
    pub accept: Vec<Weakness>,
}

/// How the store encrypts what it is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Encryption {
    /// As the bucket says.
    #[default]
    Bucket,
    /// With keys of the store's (`AES256`).
    Store,
    /// With a key of the key service; the bucket's default one if none is named.
    Kms(Option<String>),
}

/// How many servers use one bucket at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Instances {
    /// Only this one.
    One,
    /// Any number.
    #[default]
    Many,
}

/// What can be wrong with a store, each with a consequence that somebody has to accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weakness {
    /// The bucket keeps no versions.
    Unversioned,
    /// A PUT that must not replace does replace.
    UnconditionalWrites,
    /// Content with a wrong SHA-256 is accepted.
    UncheckedContent,
    /// The credential may delete versions or stop their being kept.
    PowerfulCredential,
    /// The credential may hide files, which can be restored.
    HidingCredential,
}

impl Weakness {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Unversioned,
        Self::UnconditionalWrites,
        Self::UncheckedContent,
        Self::PowerfulCredential,
        Self::HidingCredential,
    ];

    /// The word that the configuration uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unversioned => "unversioned",
            Self::UnconditionalWrites => "unconditional-writes",
            Self::UncheckedContent => "unchecked-content",
            Self::PowerfulCredential => "powerful-credential",
            Self::HidingCredential => "hiding-credential",
        }
    }

    /// What follows from it.
    #[must_use]
    pub const fn consequence(self) -> &'static str {
        match self {
            Self::Unversioned => {
                "whoever gets this server's credential can overwrite what is stored for good. Every command of \
                 `pawl maintain` refuses, so that nothing is verified, pruned or brought back, and the bucket only grows. Switch \
                 versioning on. Where there is none (Garage, Cloudflare R2) use a store that has it (AWS, Ceph RGW, Backblaze \
                 B2), or a directory"
            }
            Self::UnconditionalWrites => {
                "the store replaces a name that is taken although it is told not to (If-None-Match): that nothing is \
                 replaced is held by this server alone, and by versions"
            }
            Self::UncheckedContent => {
                "the store accepts content whose SHA-256 is not the one announced: damage on the way to it would be \
                 noticed only when the files are verified"
            }
            Self::PowerfulCredential => {
                "the credential may delete versions or stop the bucket from keeping them: whoever gets it can destroy \
                 all backups. Give the server the policy that `pawl policy s3 --role writer` prints"
            }
            Self::HidingCredential => {
                "the credential may hide files: whoever gets it can hide all backups, until `pawl maintain restore` \
                 restores them. Give the server the policy that `pawl policy s3 --role writer` prints. Backblaze B2 has \
                 no key that stores files and cannot hide them"
            }
        }
    }
}
