//! What every command of maintenance works with: the store, and the keeper of maintenance behind it.
//!
//! Invariant: whoever has a [`Session`] holds the lock of maintenance; it ends after the keeper has written everything
//! down.

use std::error::Error;
use std::future::Future;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use indicatif::ProgressBar;
use pawl_config::Place;
use pawl_config::files;
use pawl_config::log;
use pawl_config::pace::Pace;
use pawl_config::print::Outcome;
use pawl_config::{Config, Log, LogLevel};
use pawl_keeper::{AuditEvent, KeeperClient, KeeperProcess, Tenant};
use pawl_policy::{Caps, Handle, PrincipalName, RepositoryName};
use pawl_store::either::{EitherMaintenance, EitherStore};
use pawl_store::maintenance::{MaintenanceStore, Place as Where, Version};
use pawl_store::{StoreError, StoredFile};

use super::content;
use super::lock_filter::LockFilter;
use super::pending_audit;
use super::stores::{self, Stores};
use crate::state_file;
use pawl_frontend::running::{DISK_WAIT_MAX, end_keeper};

/// What a command works with.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) config: Config,
    pub(super) store: EitherMaintenance,
    /// The same place as hosts use it, for what is added, and for locks.
    pub(super) files: EitherStore,
    /// Which locks our own restic sees.
    pub(super) sight: LockFilter,
    pub(super) keeper: KeeperClient,
}

/// The configuration that the options name; its data directory exists, or a slip of the pen would make another.
pub(super) fn config(place: &Place) -> Result<Config, Box<dyn Error>> {
    let config = config_to_read(place)?;
    not_root_in_anothers_stead(&config.data)?;
    state_file::own_directory(&config.data)?;
    ignore_broken_leases()?;
    Ok(config)
}

/// The same where nothing is going to be written: the disk may be read-only.
fn config_to_read(place: &Place) -> Result<Config, Box<dyn Error>> {
    let config = place.configuration()?;
    if config.s3.is_some() {
        // Repositories are elsewhere, and on this machine there may be no other Pawl.
        files::make_directory(&config.data, 0o750)?;
    }
    if !config.data.is_dir() {
        let data = config.data.display();
        return Err(format!("{data}: there is no such directory; `pawl serve` makes it").into());
    }
    Ok(config)
}

/// What root made there, its owner could not open, and its next run would fail.
fn not_root_in_anothers_stead(data: &Path) -> Outcome {
    let owner = std::fs::metadata(data)?.uid();
    if owner == 0 || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let data = data.display();
    Err(format!(
        "{data} belongs to the user with the number {owner}, and maintenance works as that user: `runuser -u USER -- pawl \
         maintain …`, in a deployment USER is pawl-keeper"
    )
    .into())
}

/// Looking for writers of a file takes a lease and gives it back. One that is broken in that moment sends a signal that
/// would end the process.
fn ignore_broken_leases() -> std::io::Result<()> {
    signal_hook::flag::register(libc::SIGIO, Arc::new(AtomicBool::new(false))).map(drop)
}

/// Runs a command that only reads. It needs no lock.
pub(super) fn read<F: Future<Output = Outcome>>(
    place: &Place,
    work: impl FnOnce(Config, EitherMaintenance) -> F,
) -> Outcome {
    let config = config_to_read(place)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = stores::open_for_reading(&config).await?;
        work(config, store).await
    })
}

/// Runs a command that acts, quietly.
pub(super) fn act(place: &Place, work: impl AsyncFnOnce(&Session) -> Outcome) -> Outcome {
    act_quietly(config(place)?, work)
}

/// The same, where the configuration was read.
pub(super) fn act_quietly(config: Config, work: impl AsyncFnOnce(&Session) -> Outcome) -> Outcome {
    let log = Log { level: LogLevel::Warn, ..config.log };
    act_with(Config { log, ..config }, work)
}

/// Runs a command that acts.
pub(super) fn act_with(config: Config, work: impl AsyncFnOnce(&Session) -> Outcome) -> Outcome {
    log::start(config.log);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(act_within(config, work));
    runtime.shutdown_timeout(DISK_WAIT_MAX);
    outcome
}

/// Writes all events that wait into the audit log. Opens no store, which may be a bucket that is far away.
fn tell_pending(config: &Config) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let told = runtime.block_on(async {
        let (keeper, child) = start_keeper(config).await?;
        let told = pending_audit::tell(&config.data, &keeper).await;
        end_keeper(&keeper, child).await;
        told
    });
    runtime.shutdown_timeout(DISK_WAIT_MAX);
    told
}

/// Has these events written into the audit log: now, or by the next command that holds the maintenance lock.
pub(super) fn tell_or_keep(config: &Config, new: Vec<AuditEvent>) -> Outcome {
    pending_audit::keep(&config.data, new)?;
    if pending_audit::is_held(&config.data) { Ok(()) } else { tell_pending(config) }
}

async fn start_keeper(config: &Config) -> Result<(KeeperClient, Option<Child>), Box<dyn Error>> {
    let (data, log, demand) = (config.data.clone(), config.log, config.confinement);
    let start = move || KeeperProcess::start(&data, log, Tenant::Maintenance, demand);
    Ok(tokio::task::spawn_blocking(start).await??.connect()?)
}

/// Runs a command that acts, on the runtime of its caller.
pub(super) async fn act_within(config: Config, work: impl AsyncFnOnce(&Session) -> Outcome) -> Outcome {
    let (keeper, child) = start_keeper(&config).await?;
    let outcome = match stores::open(&config, &keeper).await {
        Ok(Stores { store, files, lock }) => {
            let sight = LockFilter::default();
            let session = Session { config, store, files, sight, keeper: keeper.clone() };
            if let Err(error) = pending_audit::tell(&session.config.data, &session.keeper).await {
                tracing::warn!(error, "what an earlier command did is not in the audit log yet");
            }
            let outcome = stores::while_held(lock.as_ref(), work(&session)).await;
            if let Some(lock) = lock {
                lock.give_back().await;
            }
            outcome
        }
        Err(error) => Err(error),
    };
    end_keeper(&keeper, child).await;
    outcome
}

/// Who a command acts for: the user who runs it.
pub(super) fn user() -> Result<PrincipalName, Box<dyn Error>> {
    Ok(format!("uid-{}", rustix::process::getuid().as_raw()).parse()?)
}

/// Whether a copy's content, which is read at this pace, is what its name says; of a `config`, what was recorded of it, if anything was.
pub(super) async fn is_right<M: MaintenanceStore>(
    store: &M,
    repository: &RepositoryName,
    handle: &Handle,
    at: &Where,
    pace: &Pace,
) -> Result<bool, StoreError> {
    let file = store.open_version(repository, handle, at).await?;
    let expected = match handle {
        Handle::File(_, id) => Some(*id),
        Handle::Config => {
            let versions = store.versions(repository, handle).await?;
            let recorded = |version: Version| (version.place == *at).then_some(version.recorded).flatten();
            let Some(expected) = versions.into_iter().find_map(recorded) else {
                return Ok(file.size() <= Caps::IN_MEMORY_BYTES_MAX);
            };
            Some(expected)
        }
    };
    let found = content::sha256(file, pace, &ProgressBar::hidden()).await?;
    Ok(expected == Some(found))
}
