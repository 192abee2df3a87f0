//! The step that compares what is there with what the last report left with.
//!
//! Invariant: what is missing, or a log that was rewritten, is a surprise: nothing is removed where somebody else was at
//! work.

use pawl_config::files::FileError;
use pawl_config::hint;

use super::super::report::Comparison;
use super::super::session::Session;
use super::record::Step;
use super::said::Said;
use super::ward::Ward;

/// Compares.
pub(super) async fn compare(
    session: &Session,
    ward: &mut Ward,
    comparison: Option<&Comparison>,
) -> Result<(), FileError> {
    let Some(comparison) = comparison else { return Ok(()) };
    ward.step(Step::Compare, async |ward| {
        let compared = comparison.of(session, &ward.repository).await?;
        let surprises = compared.missing.into_iter().chain(comparison.logs.iter().cloned());
        let surprises: Vec<_> = surprises.collect();
        if surprises.is_empty() {
            let text = match compared.expected {
                0 => "the last report knew no snapshots here".to_owned(),
                expected => format!(
                    "all {expected} snapshots of the last report are there, or were deleted by maintenance"
                ),
            };
            return Ok(Said::well(text));
        }
        Ok(Said::failed(surprises.join("; ")).and([format!(
            "look at it; `{}` says that you have, and the next run goes on",
            hint::pawl("maintain report --acknowledge")
        )]))
    })
    .await
}
