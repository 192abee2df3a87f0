//! What Pawl promised of each file, and when.
//!
//! Invariant: what holds is noted after the answer that promised it, what no longer holds before the request that ends it;
//! so at any position of the tape the last note ahead of it is what a correct server must hold to.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use pawl_tests::content::id_of;
use pawl_tests::power::{Position, Tape};
use pawl_tests::server::Credential;

/// What holds of a file from some moment on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is there, for hosts to read.
    Visible,
    /// It is there, or in a batch of what maintenance deleted.
    Kept,
    /// It is in a batch, and not there.
    Hidden,
    /// It is nowhere.
    Gone,
    /// It may be there, whole, or not.
    Open,
}

/// A file as it was sent or found.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// SHA-256 of its bytes.
    pub(crate) hash: String,
    pub(crate) claim: Claim,
    /// When the claim was noted.
    pub(crate) since: Position,
    /// What to send again; nothing if somebody else sent it.
    pub(crate) content: Option<Arc<Vec<u8>>>,
}

/// What was promised while a tape was recorded.
#[derive(Debug)]
pub(crate) struct Promises {
    tape: Tape,
    files: Mutex<BTreeMap<String, Vec<Known>>>,
    hosts: Mutex<Vec<(Position, Credential)>>,
    milestones: Mutex<Vec<Position>>,
}

impl Promises {
    pub(crate) fn on(tape: &Tape) -> Self {
        Self {
            tape: tape.clone(),
            files: Mutex::default(),
            hosts: Mutex::default(),
            milestones: Mutex::default(),
        }
    }

    /// From now on this holds of a file with this content.
    pub(crate) fn note(&self, name: &str, content: &Arc<Vec<u8>>, claim: Claim) {
        let (hash, content) = (id_of(content), Some(Arc::clone(content)));
        self.push(name, Known { hash, claim, since: self.tape.position(), content });
    }

    /// From now on every file of a repository, as it lies there, is visible.
    pub(crate) fn note_stored(&self, data: &Path, repository: &str) {
        let since = self.milestone();
        for path in files_below(&data.join(repository)) {
            let name = name_of(data, &path);
            let hash = id_of(&fs::read(&path).unwrap());
            self.push(&name, Known { hash, claim: Claim::Visible, since, content: None });
        }
    }

    /// The same after a prune: of files that were kept, what does not lie there is hidden from now on.
    pub(crate) fn note_pruned(&self, data: &Path, repository: &str) {
        let since = self.milestone();
        let stored: Vec<_> =
            files_below(&data.join(repository)).iter().map(|path| name_of(data, path)).collect();
        for (name, known) in self.files().iter_mut() {
            if let Some(last) =
                known.last().filter(|last| last.claim == Claim::Kept && !stored.contains(name))
            {
                known.push(Known { claim: Claim::Hidden, since, ..last.clone() });
            }
        }
        self.note_stored(data, repository);
    }

    /// From now on this holds of all files of a repository of which that did.
    pub(crate) fn note_change(&self, repository: &str, from: Claim, to: Claim) {
        let since = self.milestone();
        for (name, known) in self.files().iter_mut() {
            let of_it = name.strip_prefix(repository).is_some_and(|rest| rest.starts_with('/'));
            if let Some(last) = known.last().filter(|last| of_it && last.claim == from) {
                known.push(Known { claim: to, since, ..last.clone() });
            }
        }
    }

    /// From now on this host is let in.
    pub(crate) fn note_host(&self, credential: &Credential) {
        self.hosts.lock().unwrap().push((self.tape.position(), credential.clone()));
    }

    /// When something had been done of which more was noted than one file.
    pub(crate) fn milestones(&self) -> Vec<Position> {
        self.milestones.lock().unwrap().clone()
    }

    /// All files that were ever noted, and what holds of them at this position: before the first note, that they may be there.
    pub(crate) fn at(&self, position: Position) -> BTreeMap<String, Known> {
        let at = |known: &Vec<Known>| {
            let last = known.iter().rev().find(|known| known.since <= position);
            last.cloned().unwrap_or_else(|| Known { claim: Claim::Open, ..known[0].clone() })
        };
        self.files().iter().map(|(name, known)| (name.clone(), at(known))).collect()
    }

    /// The hosts that are let in at this position.
    pub(crate) fn hosts_at(&self, position: Position) -> Vec<Credential> {
        let hosts = self.hosts.lock().unwrap();
        hosts.iter().filter(|(since, _)| *since <= position).map(|(_, host)| host.clone()).collect()
    }

    fn milestone(&self) -> Position {
        let position = self.tape.position();
        self.milestones.lock().unwrap().push(position);
        position
    }

    fn push(&self, name: &str, known: Known) {
        self.files().entry(name.to_owned()).or_default().push(known);
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Known>>> {
        self.files.lock().unwrap()
    }
}

/// Every file below a directory; none if it is not there.
pub(crate) fn files_below(directory: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let below = |path: std::path::PathBuf| if path.is_dir() { files_below(&path) } else { vec![path] };
    entries.flat_map(|entry| below(entry.unwrap().path())).collect()
}

/// What the protocol calls a file: `web1/data/ID` for `web1/data/ab/ID`.
pub(crate) fn name_of(data: &Path, path: &Path) -> String {
    let parts: Vec<&str> =
        path.strip_prefix(data).unwrap().iter().map(|part| part.to_str().unwrap()).collect();
    match parts[..] {
        [repository, "data", _, id] => format!("{repository}/data/{id}"),
        _ => parts.join("/"),
    }
}
