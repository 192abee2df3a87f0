//! Which new snapshots are good: all that they hold is there.
//!
//! Invariant: a snapshot is good once it was read, and all below it, in one run. They are judged a portion at a time, so that
//! a run that is cut leaves the less to the next.

use std::collections::BTreeSet;
use std::iter;
use std::time::{Duration, Instant};

use pawl_policy::{FileType, Handle};
use pawl_restic_format::records::Snapshot;

use super::state::Growing;
use super::trees::{Walk, Why};
use super::{ExamineError, Examined, Junk, Opener, damaged, index};
use crate::state_file;
use crate::verify::state::States;

/// What a portion is to take. Larger ones read more at a time, and more of them is lost when a run is cut.
const PORTION: Duration = Duration::from_secs(20);

/// Judges new ones, of so many in all. Returns those that are good.
pub(super) async fn judge(
    opener: &Opener<'_>,
    (new, all): (Vec<Handle>, usize),
    indexes: &index::Read,
    growing: &mut Growing<'_>,
    examined: &mut Examined,
) -> Result<Vec<Handle>, ExamineError> {
    let malformed_before = examined.malformed;
    let mut walk = Walk::new(opener, &indexes.blobs);
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    let (mut left, mut portion) = (new.as_slice(), 1);
    while !left.is_empty() {
        let (now, later) = left.split_at(portion.min(left.len()));
        left = later;
        let began = Instant::now();
        let judged = judge_portion(opener, now, &mut walk, examined).await?;
        growing.add(judged.good.iter().copied());
        good.extend(judged.good);
        bad.extend(judged.bad);
        portion = if began.elapsed() < PORTION { portion.saturating_mul(2) } else { (portion / 2).max(1) };
    }
    let malformed = examined.malformed.saturating_sub(malformed_before);
    let is_new = growing.state().is_new();
    let is_loss = |junk: usize| is_new && junk.saturating_mul(2) > all;
    if is_loss(malformed) {
        return Err(ExamineError::Loss { junk: malformed, all });
    }
    let packs = walk.damaged.iter().map(|pack| Handle::File(FileType::Data, *pack));
    examined.noticed.extend(packs.map(|pack| damaged(&pack)));
    if bad.is_empty() && growing.state().has_lost() && !indexes.has_lost && !indexes.is_incomplete {
        growing.settle(opener.gone_indexes(&indexes.all, growing.state()).await?);
    }
    let broken = |(handle, why): (Handle, Why)| format!("{handle} is not whole: {}", why.text);
    if indexes.has_lost {
        examined.lost.extend(bad.into_iter().map(broken));
    } else if indexes.is_incomplete || !walk.damaged.is_empty() || has_damage(opener)? {
        let unsure = |(handle, why): (Handle, Why)| {
            let why = why.text;
            format!("{handle} is not whole ({why}), and the repository has damage that may be the reason")
        };
        examined.noticed.extend(bad.into_iter().map(unsure));
    } else if !bad.is_empty()
        && let Some(lost) = opener.lost_index(indexes, walk.missing(), growing.state(), examined).await?
    {
        examined.lost.extend(iter::once(lost).chain(bad.into_iter().map(broken)));
    } else if is_loss(bad.len().saturating_add(malformed)) {
        return Err(ExamineError::Loss { junk: bad.len().saturating_add(malformed), all });
    } else {
        for (handle, Why { text, may_be_newer }) in bad {
            if may_be_newer {
                examined.not_understood.push((handle, text));
            } else {
                examined.junk.push(Junk { handle, creator: None, reason: text });
            }
        }
    }
    let not_understood = std::mem::take(&mut examined.not_understood);
    opener.sort_out(not_understood, examined).await?;
    Ok(good)
}

#[derive(Default)]
struct Judged {
    good: Vec<Handle>,
    /// Those of which something is missing, and what.
    bad: Vec<(Handle, Why)>,
}

async fn judge_portion(
    opener: &Opener<'_>,
    portion: &[Handle],
    walk: &mut Walk<'_>,
    examined: &mut Examined,
) -> Result<Judged, ExamineError> {
    let mut read = Vec::new();
    for handle in portion {
        if let Some(snapshot) = opener.sort::<Snapshot>(*handle, examined).await? {
            read.push((*handle, snapshot.tree));
        }
    }
    let roots: BTreeSet<_> = read.iter().map(|(_, tree)| *tree).collect();
    let below = walk.from(&roots).await?;
    let mut judged = Judged::default();
    for (handle, tree) in read {
        if let Some(why) = below.roots.get(&tree) {
            judged.bad.push((handle, why.clone()));
        } else if below.emptied.contains(&tree) {
            examined.noticed.push(emptied_by_repair(&handle));
        } else {
            judged.good.push(handle);
        }
    }
    Ok(judged)
}

/// Whether verification knows of damage that still stands.
pub(super) fn has_damage(opener: &Opener<'_>) -> Result<bool, ExamineError> {
    let states = States::at(&state_file::of_verification(&opener.session.config.data));
    Ok(!states.load(opener.repository)?.damaged.is_empty())
}

fn emptied_by_repair(handle: &Handle) -> String {
    format!(
        "{handle} holds a directory that `restic repair snapshots` emptied, as restic 0.16 to 0.18 did, and restic 0.19 does \
         not read it; `restic repair snapshots --forget` of restic 0.19, at the maintenance server, mends that"
    )
}
