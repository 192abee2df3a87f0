//! What the attacker knows of the place: files to destroy, processes to get at, sockets to reach.
//!
//! Invariant: it is found out before the process is confined, and so can only help the attacker.

use std::ffi::{CStr, CString};
use std::io;
use std::path::{Path, PathBuf};

use crate::call::{self, at_mut, call};

/// The place.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) data: CString,
    pub(crate) repository: CString,
    /// A stored file and another of its kind.
    pub(crate) victim: CString,
    pub(crate) other: CString,
    pub(crate) config: CString,
    pub(crate) audit: CString,
    pub(crate) canary: CString,
    /// Names that nothing has, among the stored files and outside of DATA.
    pub(crate) fresh: CString,
    pub(crate) outside: CString,
    /// The keeper's process, if it can be told, and that of whoever started this.
    pub(crate) keeper: i64,
    pub(crate) parent: i64,
    /// The socket to the keeper.
    pub(crate) socket: i64,
    /// Where somebody listens whom the frontend has nothing to tell.
    pub(crate) port: u16,
    pub(crate) stream: CString,
    pub(crate) datagram: CString,
    pub(crate) abstract_name: String,
}

impl Ground {
    /// Looks around.
    pub(crate) fn look(data: &Path) -> io::Result<Self> {
        let repository = data.join("web1");
        let packs = files(&repository.join("data"))?;
        let [victim, other, ..] = &packs[..] else { return Err(io::Error::other("expected two packs")) };
        let audit = files(&data.join(".pawl/audit"))?;
        let said = |name: &str| std::env::var_os(name).unwrap_or_default();
        let beside = data.with_extension("stolen");
        Ok(Self {
            data: call::path(data),
            victim: call::path(victim),
            other: call::path(other),
            config: call::path(&repository.join("config")),
            audit: call::path(audit.first().unwrap_or(victim)),
            canary: call::path(&data.join(".pawl/canary/before")),
            fresh: call::path(&victim.with_extension("new")),
            outside: call::path(&beside),
            repository: call::path(&repository),
            keeper: keeper(),
            parent: call(libc::SYS_getppid, [])?,
            socket: keepers_socket()?,
            port: said("ATTACK_PORT").to_str().and_then(|port| port.parse().ok()).unwrap_or(1),
            stream: call::path(Path::new(&said("ATTACK_STREAM"))),
            datagram: call::path(Path::new(&said("ATTACK_DATAGRAM"))),
            abstract_name: said("ATTACK_ABSTRACT").to_string_lossy().into_owned(),
        })
    }

    /// Something in the repository.
    pub(crate) fn within(&self, name: &str) -> CString {
        let repository = self.repository.to_str().unwrap_or_default();
        CString::new(format!("{repository}/{name}")).unwrap_or_default()
    }

    /// The stored file, open for reading, which the frontend may do.
    pub(crate) fn reading(&self) -> io::Result<i64> {
        call::open(&self.victim, libc::O_RDONLY)
    }

    /// What an attacker does first who is the owner of the files.
    pub(crate) fn make_writable(&self) {
        let _ = call(libc::SYS_fchmodat, [call::CWD, call::text(&self.victim), 0o600]);
    }

    /// The descriptor by its name in `/proc`.
    pub(crate) fn by_descriptor(descriptor: i64) -> CString {
        CString::new(format!("/proc/self/fd/{descriptor}")).unwrap_or_default()
    }

    /// A file of the keeper's process.
    pub(crate) fn of_keeper(&self, name: &str) -> CString {
        CString::new(format!("/proc/{}/{name}", self.keeper)).unwrap_or_default()
    }
}

fn files(above: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(above)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    found.sort();
    Ok(found)
}

/// The child, or the service that whoever started this names.
fn keeper() -> i64 {
    let own = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    let named = std::env::var_os("ATTACK_KEEPER").and_then(|pid| pid.to_str()?.parse().ok());
    own.split_whitespace().next().and_then(|pid| pid.parse().ok()).or(named).unwrap_or(1)
}

/// The one socket of messages that keep their order.
fn keepers_socket() -> io::Result<i64> {
    for descriptor in 3..64 {
        let (mut kind, mut size) = (0_i32, 4_u32);
        let asked = [
            descriptor,
            i64::from(libc::SOL_SOCKET),
            i64::from(libc::SO_TYPE),
            at_mut(&mut kind),
            at_mut(&mut size),
        ];
        if call(libc::SYS_getsockopt, asked).is_ok() && kind == libc::SOCK_SEQPACKET {
            return Ok(descriptor);
        }
    }
    Err(io::Error::other("there is no socket to a keeper"))
}

/// A name beneath DATA that is no repository's.
pub(crate) const STATE: &CStr = c".pawl";
