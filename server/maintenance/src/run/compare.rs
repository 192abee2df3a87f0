//! The step that compares what is there with what the last report left with.
//!
//! Invariant: what is missing, or a log that was rewritten, is a surprise: nothing is removed where somebody else was at
//! work.

use pawl_config::files::FileError;
use pawl_config::hint;

use super::repository_run::RepositoryRun;
use super::step_outcome::StepOutcome;
use crate::record::Step;
use crate::report::Comparison;
use crate::session::Session;

/// Compares.
pub(super) async fn compare(
    session: &Session,
    repository_run: &mut RepositoryRun,
    comparison: Option<&Comparison>,
) -> Result<(), FileError> {
    let Some(comparison) = comparison else { return Ok(()) };
    repository_run.step(Step::Compare, async |repository_run| {
        let compared = comparison.of(session, &repository_run.repository).await?;
        let surprises = compared.missing.into_iter().chain(comparison.logs.iter().cloned());
        let surprises: Vec<_> = surprises.collect();
        if surprises.is_empty() {
            let text = match compared.expected {
                0 => "the last report knew no snapshots here".to_owned(),
                expected => format!(
                    "all {expected} snapshots of the last report are there, or were deleted by maintenance"
                ),
            };
            return Ok(StepOutcome::well(text));
        }
        Ok(StepOutcome::failed(surprises.join("; ")).and([format!(
            "look at it; `{}` says that you have, and the next run goes on",
            hint::pawl("maintain report --acknowledge")
        )]))
    })
    .await
}
