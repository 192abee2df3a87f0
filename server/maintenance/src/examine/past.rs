//! What Pawl knows of packs that indexes name and that are not there.
//!
//! Invariant: a pack of which anything tells that it was there is lost unless maintenance took it away. That nothing tells
//! of it is no proof that it never was: logs may begin late, or lie on another machine.

use std::collections::{BTreeMap, BTreeSet};

use pawl_keeper::audit::{self, Checkpoint, Deed, Event};
use pawl_policy::{Handle, RepositoryName};
use pawl_store::maintenance::MaintenanceStore;

use super::{ExamineError, Opener};
use crate::state_file;
use crate::verify::state::States;

/// The status of what was stored.
const OK: u16 = 200;

/// What is known.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// Packs that were there, and that maintenance did not remove for good.
    known: BTreeSet<Handle>,
    /// Packs that maintenance took away.
    taken: BTreeSet<Handle>,
    /// Whether verification knows of damage that still stands.
    has_damage: bool,
    /// The latest time, in Unix milliseconds, of records that were archived.
    archived_ms: Option<u64>,
}

impl Past {
    /// Whether one of these was there.
    pub(super) fn knows_one_of(&self, packs: &[Handle]) -> bool {
        self.has_damage || packs.iter().any(|pack| self.known.contains(pack))
    }

    /// Up to when, in Unix milliseconds, the audit logs were archived, so that nothing tells of packs from before.
    pub(super) const fn archived_ms(&self) -> Option<u64> {
        self.archived_ms
    }

    /// Whether maintenance took it away.
    pub(super) fn was_taken(&self, pack: &Handle) -> bool {
        self.taken.contains(pack)
    }
}

impl Opener<'_> {
    /// What is known of these packs, none of which is there.
    pub(super) async fn past(&self, packs: BTreeSet<Handle>) -> Result<Past, ExamineError> {
        if packs.is_empty() {
            return Ok(Past::default());
        }
        let store = &self.session.store;
        let holders = store.holders(self.repository, &packs).await?;
        let tombstones = store.tombstones(self.repository).await?;
        let state =
            States::at(&state_file::of_verification(&self.session.config.data)).load(self.repository)?;
        let mut past = Past { has_damage: !state.damaged.is_empty(), ..Past::default() };
        for pack in &packs {
            let is_held = !holders.of(pack).is_empty();
            if is_held || holders.are_rescued(pack) || tombstones.contains(pack) {
                past.known.insert(*pack);
            }
            if is_held || state.set_aside.contains(&pack.to_string()) {
                past.taken.insert(*pack);
            }
        }
        let packs: BTreeMap<_, _> = packs.into_iter().map(|pack| (pack.to_string(), pack)).collect();
        let told = LogEntries::of(self, move |file| packs.get(file).copied()).await?;
        past.archived_ms = told.archived_ms;
        past.known.extend(told.not_removed());
        past.taken.extend(told.removed);
        Ok(past)
    }
}

/// What the audit logs tell of some files.
#[derive(Debug, Default)]
pub(super) struct LogEntries {
    stored: BTreeSet<Handle>,
    removed: BTreeSet<Handle>,
    archived_ms: Option<u64>,
}

impl LogEntries {
    /// Reads of those files of a repository that `wanted` knows by name.
    pub(super) async fn of(
        opener: &Opener<'_>,
        wanted: impl Fn(&str) -> Option<Handle> + Send + 'static,
    ) -> Result<Self, ExamineError> {
        let (data, repository) = (opener.session.config.data.clone(), opener.repository.clone());
        let unreadable = |why: String| ExamineError::Other(format!("the audit log cannot be read: {why}"));
        let read = move || {
            let mut told = Self::default();
            for directory in audit::directories(&data) {
                let log = audit::Log::open(&directory).map_err(|error| unreadable(error.to_string()))?;
                let archived = Checkpoint::read(&directory).map_err(|error| unreadable(error.to_string()))?;
                let time = archived.map(|archived| archived.time.as_millisecond().cast_unsigned());
                told.archived_ms = told.archived_ms.max(time);
                let read =
                    audit::each_record(log.files(), |line| told.note(&line.event, &repository, &wanted));
                read.map_err(|broken| unreadable(broken.to_string()))?;
            }
            Ok(told)
        };
        let read = tokio::task::spawn_blocking(read).await;
        read.map_err(|error| ExamineError::Other(error.to_string()))?
    }

    /// Those that were stored, and that maintenance did not take away.
    pub(super) fn not_removed(&self) -> BTreeSet<Handle> {
        self.stored.difference(&self.removed).copied().collect()
    }

    fn note(&mut self, event: &Event, repository: &RepositoryName, wanted: impl Fn(&str) -> Option<Handle>) {
        let is_here = |of: &str| of == repository.as_str();
        let wanted_of = |deed: &Deed| {
            let file = deed.file.as_ref().filter(|_| is_here(&deed.repository))?;
            wanted(file)
        };
        match event {
            Event::Stored(deed) => self.stored.extend(wanted_of(deed)),
            Event::Decision(asked) if asked.status == OK && asked.action.starts_with("create ") => {
                let file = asked.file.as_ref().filter(|_| asked.repository.as_deref().is_some_and(is_here));
                self.stored.extend(file.and_then(|file| wanted(file)));
            }
            Event::Hidden(deed) | Event::Displaced(deed) | Event::Purged(deed) => {
                self.removed.extend(wanted_of(deed));
            }
            Event::BroughtBack(deed) => {
                if let Some(file) = wanted_of(deed) {
                    self.removed.remove(&file);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use pawl_policy::{FileId, FileType};

    use super::*;

    fn told(events: &[Event]) -> (bool, bool) {
        let pack = Handle::File(FileType::Data, FileId::from_sha256([1; 32]));
        let wanted = |file: &str| (file == pack.to_string()).then_some(pack);
        let mut told = LogEntries::default();
        for event in events {
            told.note(event, &"web1".parse().unwrap(), wanted);
        }
        (told.stored.contains(&pack), told.removed.contains(&pack))
    }

    fn deed(repository: &str) -> Deed {
        Deed {
            principal: "web1".to_owned(),
            repository: repository.to_owned(),
            file: Some(format!("data/{}", "01".repeat(32))),
            bytes: None,
            batch: None,
        }
    }

    #[test]
    fn what_maintenance_took_away_was_there_and_is_not_lost() {
        let stored = Event::Stored(deed("web1"));
        let (hidden, purged) = (Event::Hidden(deed("web1")), Event::Purged(deed("web1")));
        let back = Event::BroughtBack(deed("web1"));
        assert_eq!(told(&[]), (false, false));
        assert_eq!(told(&[Event::Stored(deed("web2"))]), (false, false));
        assert_eq!(told(std::slice::from_ref(&stored)), (true, false));
        assert_eq!(told(&[stored.clone(), hidden.clone()]), (true, true));
        assert_eq!(told(&[stored.clone(), hidden.clone(), purged]), (true, true));
        assert_eq!(told(&[stored, hidden, back]), (true, false));
    }
}
