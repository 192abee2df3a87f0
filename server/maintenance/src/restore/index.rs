//! What follows when damaged files were set aside: restic repairs the index, through a maintenance server of its own.
//!
//! Invariant: a file counts as done without only after the index was repaired: until then every run says that it is
//! missing.

use std::error::Error;

use pawl_policy::{FileType, Handle, RepositoryName};
use pawl_store::either::EitherMaintenance;

use super::report::Part;
use super::{Job, walk};
use crate::restic::Restic;
use crate::restic::Version;
use crate::server::PrivateServer;
use crate::session::Session;
use crate::verify::survey::missing;

/// So long restic waits for others' locks.
const LOCK_WAIT: &str = "5m";

/// Repairs the index if files are missing from it, and says what is left to do.
pub(super) async fn repair(
    session: &Session,
    job: &Job<'_, EitherMaintenance>,
    repository: &RepositoryName,
    part: &mut Part,
) -> Result<(), Box<dyn Error>> {
    let mut state = job.states.load(repository)?;
    if job.is_gone(repository).await? {
        return Ok(()); // which was said
    }
    let mut without = missing(job.store, repository, &walk(job.store, repository).await?.visible).await?;
    without.retain(|handle| !state.set_aside.contains(&handle.to_string()));
    if without.is_empty() {
        return Ok(());
    }
    let is_of = |types: &[FileType]| {
        let types = types.to_owned();
        move |handle: &Handle| handle.file_type().is_some_and(|of_type| types.contains(&of_type))
    };
    if without.contains(&Handle::Config) {
        part.lost.push(
            "its config is lost, and cannot be healed: without a copy nobody can open it; keep looking for one"
                .to_owned(),
        );
        return Ok(());
    }
    if without.iter().any(is_of(&[FileType::Data, FileType::Index])) {
        let restic = Restic::from(job.options.restic.clone());
        let version = Version::that_repairs(restic.program())?;
        let door = PrivateServer::open(session, repository, version).await?;
        let mut args = ["repair", "index"].map(str::to_owned).to_vec();
        args.extend(version.wait_for_locks(LOCK_WAIT));
        let repaired = restic.run(&door.address(), args).await;
        door.close().await?;
        repaired.map_err(|error| {
            format!(
                "{repository}: damaged files were set aside, and the index was not repaired: {error}; run this again, \
                 or `restic repair index` at the maintenance server"
            )
        })?;
        part.left.push(
            "the index was repaired; back up again now, so that hosts send what they still have (restic ends with 3 \
             that once), then run `restic repair snapshots --forget` for what they do not have any more"
                .to_owned(),
        );
    }
    for handle in without.iter().filter(|handle| is_of(&[FileType::Snapshots])(handle)) {
        part.lost.push(format!("{handle} is lost, and cannot be healed; other snapshots do not need it"));
    }
    for handle in without.iter().filter(|handle| is_of(&[FileType::Keys])(handle)) {
        part.lost
            .push(format!("{handle} is lost, and cannot be healed; its password opens nothing any more"));
    }
    for handle in &without {
        state.note_set_aside(handle);
    }
    job.states.save(repository, &state)?;
    Ok(())
}
