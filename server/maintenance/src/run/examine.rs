//! The step that opens what is new, and hides what restic would choke on.
//!
//! Invariant: it comes after damage was repaired, so that nothing is taken for junk that only is not back yet.

use std::collections::BTreeSet;
use std::error::Error;

use pawl_config::files::FileError;
use pawl_config::hint;
use pawl_store::maintenance::MaintenanceStore;

use super::repository_run::RepositoryRun;
use super::step_outcome::StepOutcome;
use super::steps::{password, unless_told, without_restic};
use crate::examine::{self as examining, Examined};
use crate::record::{Junk, Step};
use crate::report as reporting;
use crate::session::Session;

/// Files of junk that are named one by one; more are counted.
const NAMED_MAX: usize = 20;

/// Opens new indexes, snapshots, locks and keys.
pub(super) async fn examine(session: &Session, repository_run: &mut RepositoryRun) -> Result<(), FileError> {
    repository_run
        .step(Step::Examine, async |repository_run| {
            if let Some(why) = without_restic(session, repository_run).await? {
                return Ok(why);
            }
            let password = password(repository_run).await?;
            let restic = repository_run.restic.clone();
            let note = repository_run.noting_unseen();
            let examined =
                Box::pin(examining::examine(session, &repository_run.repository, &restic, &password, note));
            let examined = async { Ok(examined.await?) };
            let examined = unless_told(repository_run, examined).await?;
            let unseen = unseen(session, repository_run).await?;
            if !examined.junk.is_empty() {
                repository_run.record.junk = remembered(&examined);
            }
            repository_run.record.unseen = unseen.iter().chain(&examined.batch).cloned().collect();
            Ok(said(repository_run, examined, &unseen))
        })
        .await
}

fn remembered(examined: &Examined) -> Vec<Junk> {
    let junk = examined.junk.iter().map(|junk| Junk {
        file: junk.handle.to_string(),
        creator: junk.creator.clone(),
        reason: junk.reason.clone(),
        batch: examined.batch.clone().unwrap_or_default(),
    });
    junk.collect()
}

/// Batches of junk of earlier runs that are pending, and at which nobody has looked.
async fn unseen(
    session: &Session,
    repository_run: &RepositoryRun,
) -> Result<BTreeSet<String>, Box<dyn Error>> {
    if repository_run.record.unseen.is_empty() {
        return Ok(BTreeSet::new());
    }
    let looked_ms = reporting::looked_ms(&session.config.data).unwrap_or(0);
    let batches = session.store.batches().await?.into_iter();
    let unseen = batches.filter(|batch| batch.began_ms > looked_ms).map(|batch| batch.id.to_string());
    Ok(unseen.filter(|batch| repository_run.record.unseen.contains(batch)).collect())
}

fn said(repository_run: &RepositoryRun, examined: Examined, unseen: &BTreeSet<String>) -> StepOutcome {
    let Examined { opened, junk, batch, mut noticed, lost, .. } = examined;
    let text = format!("opened {opened} new files");
    if !unseen.is_empty() {
        let batches: Vec<_> = unseen.iter().map(String::as_str).collect();
        noticed.push(format!(
            "nobody has looked at what was hidden in {}: `{}` brings back what is no junk, `{}` says that you have looked",
            batches.join(", "),
            hint::pawl("maintain undelete BATCH"),
            hint::pawl("maintain report --acknowledge")
        ));
    }
    if junk.is_empty() && noticed.is_empty() && lost.is_empty() {
        return StepOutcome::well(text);
    }
    let more = junk.len().saturating_sub(NAMED_MAX);
    let named = junk.iter().take(NAMED_MAX).map(|junk| {
        let creator = junk.creator.as_deref().unwrap_or("somebody");
        format!("hid {}, which {creator} stored: {}", junk.handle, junk.reason)
    });
    let named: Vec<_> = named.chain((more > 0).then(|| format!("hid {more} more"))).chain(noticed).collect();
    if lost.is_empty() {
        return StepOutcome::notice(text).and(named).undone_by(batch);
    }
    let repository = &repository_run.repository;
    let remedy = format!(
        "`{}` brings back what another store has; without one back up \
         again, so that hosts send what they still have, and run `restic repair index` and `restic repair snapshots --forget` \
         at the maintenance server. Delete an index that nobody knows with `{}`, and a snapshot that nobody knows with `{}`",
        hint::pawl(format!("maintain restore {repository} --from STORE --missing")),
        hint::pawl(format!("maintain delete {repository} index/ID")),
        hint::pawl(format!("maintain delete {repository} snapshots/ID --below-floor"))
    );
    let more = lost.len().saturating_sub(NAMED_MAX);
    let more = (more > 0).then(|| format!("{more} more files lack what is lost"));
    let lost = lost.into_iter().take(NAMED_MAX).chain(more);
    StepOutcome::failed("packs or indexes are lost; nothing is removed until that is mended")
        .and(lost.chain([remedy]).chain(named))
        .undone_by(batch)
}
