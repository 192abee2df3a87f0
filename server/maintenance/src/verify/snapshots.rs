//! Which snapshots need a damaged file, found out with the user's own restic.
//!
//! Invariant: restic only reads, without a lock; what could not be found out is said, and never taken for "none".

use std::collections::BTreeSet;

use pawl_policy::{FileId, FileType, Handle};
use serde::Deserialize;

use super::finding::Kind;
use super::run::Outcome;
use crate::restic::Address;
use crate::restic::Restic;

/// Ids on one command line: well below the kernel's limit.
const IDS_MAX: usize = 5000;

/// An index as `restic cat index` prints it.
#[derive(Deserialize)]
struct Index {
    packs: Vec<Pack>,
}

#[derive(Deserialize)]
struct Pack {
    id: String,
    blobs: Vec<Blob>,
}

#[derive(Deserialize)]
struct Blob {
    id: String,
    #[serde(rename = "type")]
    of_type: String,
}

/// Names the snapshots in every finding of damage in a repository, which restic knows as `address`. Returns why that
/// was not possible, where it was not.
pub(super) async fn name(restic: &Restic, address: &Address<'_>, outcome: &mut Outcome) -> Vec<String> {
    let wrong: BTreeSet<Handle> = outcome
        .findings
        .iter()
        .filter(|finding| matches!(finding.kind, Kind::Damaged | Kind::Unreadable | Kind::Missing))
        .filter_map(super::finding::Finding::handle)
        .collect();
    let snapshots: BTreeSet<FileId> = outcome
        .visible
        .iter()
        .filter(|handle| !wrong.contains(handle))
        .filter_map(|handle| of_type(handle, FileType::Snapshots))
        .collect();
    let mut failures = Vec::new();
    for finding in &mut outcome.findings {
        let Some(handle) = finding.handle().filter(|handle| wrong.contains(handle)) else { continue };
        match handle {
            Handle::File(FileType::Snapshots, id) => finding.snapshots = vec![id.to_string()],
            Handle::File(FileType::Data, id) => {
                let indexes = outcome.visible.iter().filter(|handle| !wrong.contains(handle));
                let indexes: Vec<_> = indexes.filter_map(|it| of_type(it, FileType::Index)).collect();
                match needing(restic, address, &id, &indexes, snapshots.clone()).await {
                    Ok(snapshots) => finding.snapshots = snapshots.iter().map(ToString::to_string).collect(),
                    Err(why) => failures.push(format!("which snapshots need {handle} is not known: {why}")),
                }
            }
            Handle::Config | Handle::File(FileType::Index, _) => {
                finding.snapshots = snapshots.iter().map(ToString::to_string).collect();
            }
            Handle::File(FileType::Keys | FileType::Locks, _) => {}
        }
    }
    failures
}

fn of_type(handle: &Handle, wanted: FileType) -> Option<FileId> {
    match handle {
        Handle::File(of_type, id) if *of_type == wanted => Some(*id),
        Handle::File(..) | Handle::Config => None,
    }
}

/// The snapshots that need what is in a pack. restic names one for each chunk, so that it is asked again and again
/// about those that are left.
async fn needing(
    restic: &Restic,
    address: &Address<'_>,
    pack: &FileId,
    indexes: &[FileId],
    mut left: BTreeSet<FileId>,
) -> Result<BTreeSet<FileId>, String> {
    let chunks = chunks_of(restic, address, pack, indexes).await?;
    let mut needing = BTreeSet::new();
    for (option, of_type) in [("--blob", "data"), ("--tree", "tree")] {
        let ids: Vec<_> = chunks.iter().filter(|blob| blob.of_type == of_type).map(|blob| &blob.id).collect();
        for ids in ids.chunks(IDS_MAX) {
            loop {
                let named = find(restic, address, option, ids, &left).await?;
                if named.is_empty() {
                    break;
                }
                left.retain(|snapshot| !named.contains(snapshot));
                needing.extend(named);
            }
        }
    }
    Ok(needing)
}

/// What a pack holds, by the indexes: its own list may be what is damaged.
async fn chunks_of(
    restic: &Restic,
    address: &Address<'_>,
    pack: &FileId,
    indexes: &[FileId],
) -> Result<Vec<Blob>, String> {
    let pack = pack.to_string();
    for index in indexes {
        let args = ["cat", "index", &index.to_string(), "--no-lock"].map(str::to_owned).to_vec();
        let printed = restic.run(address, args).await.map_err(|error| error.to_string())?;
        // What restic has to say besides stands behind it.
        let first = serde_json::Deserializer::from_str(&printed).into_iter::<Index>().next();
        let index = first.ok_or("restic printed nothing")?.map_err(|error| error.to_string())?;
        if let Some(found) = index.packs.into_iter().find(|found| found.id == pack) {
            return Ok(found.blobs);
        }
    }
    Err("no index that can be read names it".to_owned())
}

/// The snapshots among `left` that restic names.
async fn find(
    restic: &Restic,
    address: &Address<'_>,
    option: &str,
    ids: &[&String],
    left: &BTreeSet<FileId>,
) -> Result<BTreeSet<FileId>, String> {
    if left.is_empty() || ids.is_empty() {
        return Ok(BTreeSet::new());
    }
    let mut args = ["find", "--no-lock", option].map(str::to_owned).to_vec();
    args.extend(left.iter().map(|snapshot| format!("--snapshot={snapshot}")));
    args.extend(ids.iter().map(|id| (*id).clone()));
    let printed = restic.run(address, args).await.map_err(|error| error.to_string())?;
    Ok(named(&printed, left))
}

/// The snapshots that a text of restic's names, in short or in full: ` ... in snapshot 93e42c65 (2026-…)`.
fn named(text: &str, among: &BTreeSet<FileId>) -> BTreeSet<FileId> {
    let mut named = BTreeSet::new();
    for rest in text.split("snapshot ").skip(1) {
        let digits = rest.split(|digit: char| !digit.is_ascii_hexdigit()).next().unwrap_or_default();
        if digits.len() >= 8 {
            named.extend(among.iter().filter(|id| id.to_string().starts_with(digits)));
        }
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_are_named_in_short_and_in_full() {
        let ids: BTreeSet<FileId> =
            ["ab", "cd", "ef"].iter().map(|pair| pair.repeat(32).parse().unwrap()).collect();
        let text = format!(
            "Found blob 12\n ... in file /a\n ... in snapshot abababab (2026-11-21 02:45:27)\nUnable to load tree 34\n \
             ... which belongs to snapshot {}\nsnapshot efef\n",
            "cd".repeat(32)
        );
        let found: Vec<_> = named(&text, &ids).iter().map(|id| id.to_string()[..2].to_owned()).collect();
        assert_eq!(found, ["ab", "cd"]);
    }
}
