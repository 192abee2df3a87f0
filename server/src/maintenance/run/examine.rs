//! The step that opens what is new, and hides what restic would choke on.
//!
//! Invariant: it comes after damage was repaired, so that nothing is taken for junk that only is not back yet.

use super::super::examine::{self as examining, Examined};
use super::super::session::Session;
use super::record::{Junk, Step};
use super::said::Said;
use super::steps::{password, unless_told, without_restic};
use super::ward::Ward;
use crate::files::FileError;

/// Files of junk that are named one by one; more are counted.
const NAMED_MAX: usize = 20;

/// Opens new indexes, snapshots, locks and keys.
pub(super) async fn examine(session: &Session, ward: &mut Ward) -> Result<(), FileError> {
    ward.step(Step::Examine, async |ward| {
        if let Some(why) = without_restic(session, ward).await? {
            return Ok(why);
        }
        let password = password(ward).await?;
        let examined = Box::pin(examining::examine(session, &ward.repository, &password));
        let examined = async { Ok(examined.await?) };
        let examined = unless_told(ward, examined).await?;
        if !examined.junk.is_empty() {
            ward.record.junk = remembered(&examined);
        }
        Ok(said(examined))
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

fn said(examined: Examined) -> Said {
    let Examined { opened, junk, batch, noticed, .. } = examined;
    let text = format!("opened {opened} new files");
    if junk.is_empty() && noticed.is_empty() {
        return Said::well(text);
    }
    let more = junk.len().saturating_sub(NAMED_MAX);
    let named = junk.iter().take(NAMED_MAX).map(|junk| {
        let creator = junk.creator.as_deref().unwrap_or("somebody");
        format!("hid {}, which {creator} stored: {}", junk.handle, junk.reason)
    });
    let named: Vec<_> = named.chain((more > 0).then(|| format!("hid {more} more"))).chain(noticed).collect();
    Said::notice(text).and(named).undone_by(batch)
}
