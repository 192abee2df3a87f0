//! Which rights Landlock leaves to which process.
//!
//! Invariant: the frontend has no right to write, make, link, rename or remove anywhere. The keeper has rights beneath
//! DATA alone.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use landlock::{AccessFs, BitFlags, make_bitflags};

use super::landlock::Rights;
use super::{ConfineError, FrontendNeeds};

/// What is read to find a host's address and to trust its certificate. Places that are not there are left out.
const TO_CONNECT: [&str; 4] =
    ["/run/systemd/resolve", "/etc/ssl/certs", "/usr/share/ca-certificates", "/etc/pki"];

/// Links files into place across directories, which Landlock can allow from ABI 2 on.
const KEEPER_ABI_MIN: u8 = 2;

/// Reads, and nothing else.
pub(super) fn of_door(needs: &FrontendNeeds) -> Rights {
    let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let mut places: Vec<_> = needs.trees.iter().map(|tree| (tree.clone(), read)).collect();
    for directory in needs.files.iter().flat_map(|file| directories_of(file)) {
        places.push((directory, AccessFs::ReadFile.into()));
    }
    if needs.ports.is_some() {
        places.extend(TO_CONNECT.map(|place| (PathBuf::from(place), read)));
        // `resolv.conf` and its like are replaced while the server runs.
        places.push((PathBuf::from("/etc"), AccessFs::ReadFile.into()));
    }
    Rights { places, ports: needs.ports.clone().unwrap_or_default(), abi_min: 1 }
}

/// A file that is replaced is another file under the same name: the right is that of its directory, and of the one
/// in which it really is if its name is a symbolic link.
fn directories_of(file: &Path) -> Vec<PathBuf> {
    let real = std::fs::canonicalize(file).ok();
    let parents = [Some(file.to_owned()), real].into_iter().flatten();
    parents.filter_map(|path| path.parent().map(Path::to_owned)).collect()
}

/// The keeper's verbs.
pub(super) fn of_keeper(data: BorrowedFd<'_>) -> Result<Rights, ConfineError> {
    let verbs: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
        ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | Refer
    });
    // The directory that is open, whatever its name leads to by now.
    let data = std::fs::read_link(format!("/proc/self/fd/{}", data.as_raw_fd()))
        .map_err(|error| ConfineError::step("finding DATA", error))?;
    Ok(Rights { places: vec![(data, verbs)], ports: Vec::new(), abi_min: KEEPER_ABI_MIN })
}
