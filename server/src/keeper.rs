//! The keeper: the small process behind the door that alone names files.
//!
//! Invariant: nothing here replaces a file. A file gets its name by `linkat` or `renameat2(RENAME_NOREPLACE)`,
//! both of which fail if the name is taken, and the only file that is ever removed is a lock.

mod audit_log;
mod canary;
mod child;
mod client;
pub(crate) mod commit;
pub(crate) mod directory;
mod ended;
pub(crate) mod facts;
pub(crate) mod layout;
pub(crate) mod lease;
mod lock;
mod message;
pub(crate) mod named;
mod order;
mod process;
mod repository;
mod side;
pub(crate) mod staging;
mod usage;

/// Bytes of decisions that fit into one message, apart from its number.
pub(crate) const NOTE_BYTES_MAX: usize = message::MESSAGE_BYTES_MAX - 16;

pub use child::KeeperProcess;
pub use client::{Draft, KeeperClient, KeeperError};
pub use message::{Act, Footing, Told};
pub use process::run;
pub(crate) use repository::{note_stored, state as repository_state};
pub use side::Side;
pub(crate) use usage::{Account, MaintenanceUsage, counts, read as repository_usage};

#[cfg(test)]
pub(crate) mod testing {
    //! A keeper on a thread, for tests that need a store and no process.

    use std::path::Path;

    use pawl_config::{Demand, Level};
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::client::KeeperClient;
    use super::message::{self, Reply};
    use super::process;
    use super::side::Side;

    /// Threads of a test cannot be confined alone.
    const UNCONFINED: Demand = Demand { least: Level::Off, landlock_abi_max: None };

    /// Starts a keeper for `data` that ends when the client does.
    pub(crate) fn keeper(data: &Path, named_staging: bool) -> KeeperClient {
        start(data, named_staging, Side::Hosts)
    }

    /// The same for maintenance.
    pub(crate) fn maintenance_keeper(data: &Path) -> KeeperClient {
        start(data, false, Side::Maintenance)
    }

    fn start(data: &Path, named_staging: bool, side: Side) -> KeeperClient {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let data = data.to_owned();
        std::thread::spawn(move || {
            if named_staging {
                process::run_with_named_staging(&theirs, &data)
            } else {
                process::run(&theirs, &data, side, UNCONFINED)
            }
        });
        let (ready, _) = message::receive::<Reply>(&ours).unwrap().unwrap();
        assert!(matches!(ready.message, Reply::Ready(footing) if footing.unnamed_files != named_staging));
        KeeperClient::new(ours).unwrap()
    }
}
