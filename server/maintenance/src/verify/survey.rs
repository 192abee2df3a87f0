//! The cheap pass: everything that lies in a repository is looked at, and nothing is read.
//!
//! Invariant: what it cannot judge by looking is handed on to be read in the same run.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::TryStreamExt;
use pawl_config::hint;
use pawl_policy::{Audience, Caps, DAY_MS, FileId, FileType, Handle, RepositoryName};
use pawl_store::maintenance::{Batch, Found, MaintenanceStore, Place, Reason};
use pawl_store::{StoreError, now_ms};

use super::finding::{Finding, Kind};
use super::state::{self, State};

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Every file with its size.
    pub(super) files: Vec<(Handle, u64)>,
    pub(super) findings: Vec<Finding>,
    /// Files that are read in this run whether it is their turn or not.
    pub(super) doubtful: BTreeSet<Handle>,
    /// Bytes by the day (since 1970, UTC) on which they were received.
    pub(super) received: BTreeMap<u64, u64>,
    /// Keys that hosts see, and keys that only maintenance sees.
    pub(super) keys: (u64, u64),
}

impl Seen {
    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Whether another hand did something to the file.
    pub(super) fn is_unexplained(&self, handle: &Handle) -> bool {
        let of = |finding: &Finding| finding.kind == Kind::Unexplained && finding.handle() == Some(*handle);
        self.findings.iter().any(of)
    }

    /// Another hand wrote the file anew, with what belongs there: worth knowing, and nothing to repair.
    pub(super) fn absolve(&mut self, handle: &Handle) {
        for finding in &mut self.findings {
            if finding.kind == Kind::Unexplained && finding.handle() == Some(*handle) {
                finding.kind = Kind::Unusual;
                let detail = "it was written again past Pawl, with the content that belongs there";
                detail.clone_into(&mut finding.detail);
            }
        }
    }
}

/// Looks at a repository.
pub(super) async fn survey<S: MaintenanceStore>(
    store: &S,
    repository: &RepositoryName,
    caps: &Caps,
    state: &mut State,
) -> Result<Seen, StoreError> {
    let mut seen = Seen::default();
    // Asked before the walk: what is deleted while it goes on is not visible again.
    let tombstones = store.tombstones(repository).await?;
    let mut visible = BTreeSet::new();
    {
        let mut found = std::pin::pin!(store.walk(repository).await?);
        while let Some(batch) = found.try_next().await? {
            for found in batch {
                visible.extend(look(&mut seen, caps, found));
            }
        }
    }
    for handle in tombstones.intersection(&visible) {
        let detail = "maintenance deleted it, and its tombstone stands; expected it to be out of sight";
        seen.findings.push(Finding::of(handle, Kind::Revived, detail));
    }
    displaced(store, repository, &visible, state, &mut seen).await?;
    // A host sent these again, and the stored copy was not the same.
    seen.doubtful.extend(store.rescued(repository).await?.intersection(&visible));
    seen.doubtful.extend(state.damaged.keys().filter_map(|file| file.parse::<Handle>().ok()));
    seen.doubtful.extend(visible.contains(&Handle::Config).then_some(Handle::Config));
    seen.doubtful.retain(|handle| visible.contains(handle));
    whole(&mut seen, &visible);
    forget_explained(store, repository, state, &seen).await?;
    Ok(seen)
}

/// Damage of earlier runs is forgotten once the file is out of sight and a batch explains it.
async fn forget_explained<S: MaintenanceStore>(
    store: &S,
    repository: &RepositoryName,
    state: &mut State,
    seen: &Seen,
) -> Result<(), StoreError> {
    let known: Vec<Handle> = state.damaged.values().filter_map(Finding::handle).collect();
    // A damaged copy that was moved away explains nothing: the right one is not back.
    let visible = seen.files.iter().map(|(handle, _)| *handle).collect();
    let missing = missing(store, repository, &visible).await?;
    for handle in
        known.into_iter().filter(|handle| !seen.doubtful.contains(handle) && !missing.contains(handle))
    {
        let versions = store.versions(repository, &handle).await?;
        if versions.iter().any(|version| matches!(version.place, Place::Hidden(_))) {
            state.damaged.remove(&handle.to_string());
        }
    }
    Ok(())
}

/// What is said of a repository that was verified once, and of which nothing is left: its files are not missed one by one.
pub(super) fn vanished(repository: &RepositoryName) -> Seen {
    let detail = format!(
        "all of it is gone: it was there when it was verified last; `{}` brings it back from another store; if it was removed \
         on purpose, `{}`",
        hint::pawl(format!("maintain restore {repository} --from STORE")),
        hint::pawl(format!("maintain retire {repository}"))
    );
    Seen { findings: vec![Finding::of_repository(Kind::Missing, detail)], ..Seen::default() }
}

/// Looks at one thing; returns the file that it is.
fn look(seen: &mut Seen, caps: &Caps, found: Found) -> Option<Handle> {
    match found {
        Found::Foreign { path, bytes } => {
            seen.findings.push(foreign(path, bytes));
            None
        }
        Found::Unexplained { handle, what } => {
            seen.findings.push(Finding::of(&handle, Kind::Unexplained, what));
            seen.doubtful.insert(handle);
            None
        }
        Found::File { handle, bytes, facts, unusual, being_written } => {
            if let Some(detail) = unusual {
                seen.findings.push(Finding::of(&handle, Kind::Unusual, detail));
            }
            if being_written {
                let detail = "a process has it open for writing; expected no writer of a stored file";
                seen.findings.push(Finding::of(&handle, Kind::BeingWritten, detail));
                seen.doubtful.insert(handle);
            }
            let sizes = caps.sizes(&handle);
            if !sizes.contains(&bytes) {
                let detail = format!("{bytes} bytes; expected {} to {}", sizes.start(), sizes.end());
                seen.findings.push(Finding::of(&handle, Kind::OddSize, detail));
                seen.doubtful.insert(handle);
            }
            if handle.file_type() == Some(FileType::Keys) {
                match facts.audience {
                    Audience::All => seen.keys.0 += 1,
                    Audience::Maintenance => seen.keys.1 += 1,
                }
            }
            if facts.is_ahead(now_ms()) {
                let detail = format!(
                    "it says that it was received at {}; expected no time that is to come. The clock was ahead when it was \
                     stored, or stands back now. Until then it counts as new and cannot be deleted; once the clock is right, \
                     `{}`",
                    state::text(facts.received_ms),
                    hint::pawl("maintain trust REPOSITORY --amend-received")
                );
                seen.findings.push(Finding::of(&handle, Kind::Ahead, detail));
            }
            *seen.received.entry(facts.received_ms / DAY_MS).or_default() += bytes;
            seen.files.push((handle, bytes));
            Some(handle)
        }
    }
}

/// What file managers and network drives leave in every directory that they see.
const LEFT_BY_OTHERS: [&str; 9] = [
    ".DS_Store",
    "._.DS_Store",
    ".Spotlight-V100",
    ".directory",
    "@eaDir",
    "#recycle",
    "Thumbs.db",
    "desktop.ini",
    ".stfolder",
];

/// Something that is no file of restic's. What is known to be harmless is a note, and keeps purge from nothing.
fn foreign(path: String, bytes: u64) -> Finding {
    let name = path.rsplit('/').next().unwrap_or_default();
    if LEFT_BY_OTHERS.contains(&name) || name.starts_with("._") {
        let detail = "a file manager or a network drive left it; it harms nothing, and can be removed";
        return Finding::of_path(path, Kind::Unusual, detail);
    }
    if is_unfinished(name) {
        let detail = "another server left it when an upload was cut; it harms nothing, and can be removed";
        return Finding::of_path(path, Kind::Unusual, detail);
    }
    let detail = format!(
        "{bytes} bytes that are no file of restic's; expected none here: remove it, or move it out of the repository"
    );
    Finding::of_path(path, Kind::Foreign, detail)
}

/// Whether rest-server or restic's local backend called a file so that they had not finished: `ID-tmp-NUMBER`.
fn is_unfinished(name: &str) -> bool {
    let Some((id, number)) = name.split_once("-tmp-") else { return false };
    id.parse::<FileId>().is_ok() && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// Files whose damaged copy was moved away, and that are not visible.
async fn displaced<S: MaintenanceStore>(
    store: &S,
    repository: &RepositoryName,
    visible: &BTreeSet<Handle>,
    state: &State,
    seen: &mut Seen,
) -> Result<(), StoreError> {
    for handle in missing(store, repository, visible).await? {
        let accepted = state.set_aside.contains(&handle.to_string());
        let (kind, detail) = if accepted {
            (Kind::SetAside, "its damaged copy was set aside, and the index was repaired")
        } else {
            (Kind::Missing, "its damaged copy was moved away, and the right one was not put in its place")
        };
        seen.findings.push(Finding::of(&handle, kind, detail));
    }
    Ok(())
}

/// Files that were displaced as damaged, and that neither are visible nor were deleted.
pub(crate) async fn missing<S: MaintenanceStore>(
    store: &S,
    repository: &RepositoryName,
    visible: &BTreeSet<Handle>,
) -> Result<BTreeSet<Handle>, StoreError> {
    let mut missing = BTreeSet::new();
    let is_meant = |batch: &Batch| batch.repository == *repository;
    // In their order: what was deleted before a copy was moved away says nothing of why there is none now.
    for batch in store.batches().await?.into_iter().filter(is_meant) {
        let mut hidden = std::pin::pin!(store.hidden(&batch.id).await?);
        while let Some(files) = hidden.try_next().await? {
            for handle in files.iter().map(|file| file.handle).filter(|handle| !visible.contains(handle)) {
                match batch.reason {
                    Reason::Damaged => missing.insert(handle),
                    Reason::Deleted => missing.remove(&handle),
                };
            }
        }
    }
    if missing.is_empty() {
        return Ok(missing);
    }
    let tombstones = store.tombstones(repository).await?;
    missing.retain(|handle| !tombstones.contains(handle));
    Ok(missing)
}

/// What a repository as a whole must have.
fn whole(seen: &mut Seen, visible: &BTreeSet<Handle>) {
    let types = [FileType::Data, FileType::Index, FileType::Snapshots];
    let in_use =
        visible.iter().any(|handle| handle.file_type().is_some_and(|of_type| types.contains(&of_type)));
    if in_use && !visible.contains(&Handle::Config) {
        let known = seen.findings.iter().any(|finding| finding.handle() == Some(Handle::Config));
        if !known {
            let detail = "there is no config, though the repository is in use: nobody can open it";
            seen.findings.push(Finding::of(&Handle::Config, Kind::Missing, detail));
        }
    }
    if in_use && seen.keys.0 == 0 {
        let detail = format!(
            "hosts see none of its keys ({} are for maintenance), so that they cannot open it; `{}`",
            seen.keys.1,
            hint::pawl("maintain key expose REPOSITORY KEY")
        );
        seen.findings.push(Finding::of_repository(Kind::NoKeyForHosts, detail));
    }
}
