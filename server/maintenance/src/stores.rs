//! Which store a command of maintenance works on: the data directory, or a bucket.
//!
//! Invariant: a bucket is reached with the credential of maintenance, never silently with that of frontend; who acts
//! on one holds its lock.

use std::error::Error;
use std::future::Future;
use std::path::{Path, PathBuf};

use pawl_config::Config;
use pawl_config::files;
use pawl_config::print::Outcome;
use pawl_keeper::KeeperClient;
use pawl_policy::DAY_MS;
use pawl_store::either::{EitherMaintenance, EitherStore};
use pawl_store::local::{LocalMaintenance, LocalStore};
use pawl_store::s3::S3Store;
use pawl_store::s3::maintain::{MaintenanceLock, S3Maintenance};

use super::probe_cache;
use super::state_file::directory;

/// A store seen in both ways.
pub(super) struct Stores {
    pub(super) store: EitherMaintenance,
    pub(super) files: EitherStore,
    /// Of a bucket; for a directory the keeper holds one.
    pub(super) lock: Option<MaintenanceLock>,
}

/// Opens the store in which something is to be done.
pub(super) async fn open(config: &Config, keeper: &KeeperClient) -> Result<Stores, Box<dyn Error>> {
    let Some(of_hosts) = &config.s3 else {
        return Ok(Stores {
            store: EitherMaintenance::Local(LocalMaintenance::open(&config.data, keeper.clone())?),
            files: EitherStore::Local(LocalStore::open(&config.data, keeper.clone())?),
            lock: None,
        });
    };
    let settings = config.maintenance.s3(of_hosts)?;
    let known = probe_cache::recall(&config.data, &settings);
    let is_new = known.is_none();
    let files = S3Store::open_for_maintenance(settings.clone(), keeper.clone(), known).await?;
    if is_new {
        probe_cache::note(&config.data, &settings, files.findings());
    }
    check_coverage(config, files.findings().noncurrent_days())?;
    let store = S3Maintenance::new(files.clone(), Some(keeper.clone()))?.remembering(&asked(config));
    let lock = store.lock(&machine(&config.data)?).await?;
    Ok(Stores { store: EitherMaintenance::S3(store), files: EitherStore::S3(files), lock: Some(lock) })
}

/// Damage has to be found while the good version is still there.
fn check_coverage(config: &Config, noncurrent_days: Option<u32>) -> Outcome {
    let Some(days) = noncurrent_days else { return Ok(()) };
    if days < config.maintenance.purge_delay_days() {
        return Err(format!(
            "maintenance.purge_delay_days: the bucket's lifecycle rules end old versions after {days} days, but what is deleted \
             is to come back for {}; set purge_delay_days to {days} at most, or let the bucket keep old versions for longer",
            config.maintenance.purge_delay_days()
        )
        .into());
    }
    if config.maintenance.verify_ms() <= u64::from(days) * DAY_MS / 2 {
        return Ok(());
    }
    Err(format!(
        "maintenance.verify_interval_days: the bucket's lifecycle rules end old versions after {days} days, so that every byte has \
         to be verified within {}; set verify_interval_days to that, or let the bucket keep old versions for longer",
        days / 2
    )
    .into())
}

/// Opens the store in which nothing is to be done.
pub(super) async fn open_for_reading(config: &Config) -> Result<EitherMaintenance, Box<dyn Error>> {
    let Some(of_hosts) = &config.s3 else {
        return Ok(EitherMaintenance::Local(LocalMaintenance::open_for_reading(&config.data)?));
    };
    let settings = config.maintenance.s3(of_hosts)?;
    let known = probe_cache::recall(&config.data, &settings);
    let is_new = known.is_none();
    let files = S3Store::open_for_reading(settings.clone(), known).await?;
    if is_new {
        probe_cache::note(&config.data, &settings, files.findings());
    }
    Ok(EitherMaintenance::S3(S3Maintenance::new(files, None)?.remembering(&asked(config))))
}

/// What the bucket was asked by earlier runs.
fn asked(config: &Config) -> PathBuf {
    directory(&config.data).join("asked.json")
}

/// Works as long as the lock is held.
pub(super) async fn while_held(
    lock: Option<&MaintenanceLock>,
    work: impl Future<Output = Outcome>,
) -> Outcome {
    let Some(lock) = lock else { return work.await };
    tokio::select! {
        outcome = work => outcome,
        lost = lock.keep() => Err(format!("{lost}; this run stops, and can be repeated").into()),
    }
}

/// What tells this machine's directory from those of others that use the bucket.
fn machine(data: &Path) -> Result<String, Box<dyn Error>> {
    let path = directory(data).join("machine");
    if let Some(name) = files::read(&path)? {
        return Ok(name.trim().to_owned());
    }
    let mut random = [0; 8];
    getrandom::fill(&mut random)?;
    let name = hex::encode(random);
    files::replace(&path, &format!("{name}\n"), 0o600)?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_verified_in_half_of_what_the_bucket_keeps() {
        let config = Config::for_data("/srv/pawl".into()); // verify_interval_days is 7
        for (days, holds) in [(None, true), (Some(30), true), (Some(14), true), (Some(13), false)] {
            assert_eq!(check_coverage(&config, days).is_ok(), holds, "{days:?}");
        }
    }

    #[test]
    fn what_is_deleted_comes_back_for_as_long_as_is_promised() {
        let config = Config::for_data("/srv/pawl".into()); // purge_delay_days is 14
        let refused = check_coverage(&config, Some(13)).unwrap_err().to_string();
        assert!(refused.starts_with("maintenance.purge_delay_days: "), "{refused}");
    }
}
