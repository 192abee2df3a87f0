//! What can be wrong with the hosts file or a change to it.
//!
//! Invariant: no error shows a secret or its hash.

use std::path::PathBuf;

use pawl_config::files::FileError;
use pawl_config::hint;
use pawl_policy::{InvalidName, PrincipalName};

/// Commands of maintenance act under such a name, and remove the locks that were left under it.
pub(super) const OF_MAINTENANCE: &str = "uid-";

/// What is wrong with the hosts file or a change to it.
#[derive(Debug, thiserror::Error)]
pub enum HostsError {
    /// It cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not what `pawl host` writes.
    #[error("{}: {cause}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        cause: String,
    },
    /// A name on the command line is none.
    #[error("'{0}' is not a name: {1}")]
    Name(String, InvalidName),
    /// The name is kept for maintenance.
    #[error(
        "no host can be named '{0}': names that begin with {OF_MAINTENANCE} are those of users who maintain repositories"
    )]
    Reserved(PrincipalName),
    /// The host to be added is there.
    #[error(
        "host '{0}' exists; `{rotate}` renews its credential, `{revoke}` removes it",
        rotate = hint::pawl(format!("host rotate {0}", .0)),
        revoke = hint::pawl(format!("host revoke {0}", .0))
    )]
    Exists(PrincipalName),
    /// The host to be changed is not there.
    #[error("there is no host '{0}' in the hosts file; `{list}` shows those that are", list = hint::pawl("host list"))]
    Unknown(PrincipalName),
    /// The host has the repository.
    #[error("host '{0}' has a grant for the repository '{1}'; `{list}` shows it", list = hint::pawl("host list"))]
    Granted(PrincipalName, String),
    /// The admin to be added is there.
    #[error(
        "admin '{0}' exists; `{rotate}` renews the password, `{revoke}` removes the admin",
        rotate = hint::pawl(format!("maintain admin rotate {0}", .0)),
        revoke = hint::pawl(format!("maintain admin revoke {0}", .0))
    )]
    AdminExists(PrincipalName),
    /// The admin to be changed is not there.
    #[error("there is no admin '{0}'; `{list}` shows those that are", list = hint::pawl("maintain admin list"))]
    UnknownAdmin(PrincipalName),
    /// The host's password is in an htpasswd file.
    #[error("the password of host '{0}' is in the htpasswd file; change it there")]
    InHtpasswd(PrincipalName),
    /// A host's certificate cannot be renewed without a file for the new one.
    #[error("host '{0}' has a certificate: say where the new one goes with --certificate FILE")]
    NoFile(PrincipalName),
    /// A host without a certificate gets none by renewing.
    #[error(
        "host '{0}' has no certificate to renew; `{revoke}`, then add it with --certificate FILE",
        revoke = hint::pawl(format!("host revoke {0}", .0))
    )]
    NoCertificate(PrincipalName),
    /// The authority's key is away.
    #[error(
        "{}: the key of {} is not there: put it back, or remove both, which ends the certificates of all hosts",
        .0.display(), .1.display()
    )]
    NoAuthorityKey(PathBuf, PathBuf),
    /// A certificate cannot be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The clock stands before 1970.
    #[error("cannot make a certificate: the clock of this machine is wrong")]
    Clock,
    /// No randomness for a secret.
    #[error("the system gives no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
}
