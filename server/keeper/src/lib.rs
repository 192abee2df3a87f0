//! The keeper: the small process behind the frontend that alone names files.
//!
//! Invariant: nothing here replaces a file. A file gets its name by `linkat` or `renameat2(RENAME_NOREPLACE)`,
//! both of which fail if the name is taken, and the only file that is ever removed is a lock.

#![cfg_attr(
    test,
    expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop")
)]

mod account;
mod as_text;
pub mod audit;
mod audit_log;
pub mod audit_queue;
mod canary;
mod child;
mod client;
pub mod commit;
pub mod confine;
pub mod directory;
pub mod facts;
pub mod layout;
pub mod lease;
mod lock;
mod message;
pub mod named;
mod naming;
mod process;
mod repository;
mod shutdown;
pub mod staging;
mod tenant;
mod usage;
mod write_ordering;

use rustix::process::{Resource, Rlimit};

pub use account::Account;
pub use child::{KeeperProcess, become_keeper};
pub use client::{KeeperClient, KeeperError, StagedFile};
pub use message::{Act, AuditEvent, StagingCapabilities};
pub use process::run;
pub use repository::{note_stored, state as repository_state};
pub use tenant::Tenant;
pub use usage::{MaintenanceUsage, counts, read as repository_usage};

/// Bytes of decisions that fit into one message, apart from its number.
pub(crate) const NOTE_BYTES_MAX: usize = message::MESSAGE_BYTES_MAX - 16;

/// Raises this process's limit on descriptors as far as it may: each file that waits for its name is one.
pub fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "cannot raise the limit on open files");
    }
}

#[cfg(feature = "testing")]
#[cfg_attr(not(test), expect(clippy::unwrap_used, reason = "a test that cannot go on should stop"))]
pub mod testing {
    //! A keeper on a thread, for tests that need a store and no process.

    use std::os::fd::AsFd;
    use std::path::Path;

    use pawl_config::{Demand, Level};
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::client::KeeperClient;
    use super::message::{self, Reply};
    use super::tenant::Tenant;
    use super::{process, usage};

    /// Threads of a test cannot be confined alone.
    const UNCONFINED: Demand = Demand { least: Level::Off, landlock_abi_max: None };

    /// Starts a keeper for `data` that ends when the client does.
    #[must_use]
    pub fn keeper(data: &Path, named_staging: bool) -> KeeperClient {
        start(data, named_staging, Tenant::Hosts)
    }

    /// The same for maintenance.
    #[must_use]
    pub fn maintenance_keeper(data: &Path) -> KeeperClient {
        start(data, false, Tenant::Maintenance)
    }

    fn start(data: &Path, named_staging: bool, side: Tenant) -> KeeperClient {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        if side == Tenant::Hosts {
            usage::count_nothing_at_start(std::fs::File::open(data).unwrap().as_fd()).unwrap();
        }
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
