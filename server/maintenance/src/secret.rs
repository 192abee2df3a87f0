//! Who may read a file that holds a secret.
//!
//! Invariant: a file that any user of the machine may read is never accepted.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Group and others may do something with it.
const SHARED: u32 = 0o077;
/// Everybody may.
const OPEN: u32 = 0o007;

/// An error if others than its owner may read the file. systemd gives a credential (`LoadCredential=`) to the service by an
/// access control list, which the mode shows as the group's right to read: such a file is accepted.
pub(super) fn refuse_shared(file: &Path) -> Result<(), String> {
    refuse_shared_with(file, std::env::var_os("CREDENTIALS_DIRECTORY").as_deref())
}

fn refuse_shared_with(file: &Path, credentials: Option<&OsStr>) -> Result<(), String> {
    let shown = file.display();
    let metadata = std::fs::metadata(file).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let mode = metadata.permissions().mode();
    if mode & SHARED == 0 || (mode & OPEN == 0 && is_below(file, credentials)) {
        return Ok(());
    }
    Err(format!(
        "{shown}: its mode is {:o}, so others than its owner may read it; `chmod 600 {shown}`",
        mode & 0o777
    ))
}

fn is_below(file: &Path, directory: Option<&OsStr>) -> bool {
    let Some(directory) = directory.map(Path::new) else { return false };
    match (file.canonicalize(), directory.canonicalize()) {
        (Ok(file), Ok(directory)) => file.starts_with(directory),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_of_systemd_is_accepted_and_what_is_shared_otherwise_is_not() {
        let credentials = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let accepted = |directory: &Path, mode: u32| {
            let file = directory.join("password");
            pawl_tests::store::plant(&file, b"secret");
            std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
            let accepted = refuse_shared_with(&file, Some(credentials.path().as_os_str())).is_ok();
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
            accepted
        };
        assert!(accepted(credentials.path(), 0o440) && accepted(credentials.path(), 0o400));
        assert!(!accepted(credentials.path(), 0o444));
        assert!(accepted(elsewhere.path(), 0o600) && !accepted(elsewhere.path(), 0o440));
        assert!(!accepted(elsewhere.path(), 0o604));
    }
}
