//! What each forged message is tried on.
//!
//! Invariant: it knows what was stored before, and that the keeper has to answer afterwards.

use std::fs;

use super::evidence::Evidence;
use super::forger::Forger;
use super::stand::{Medium, Stand};

/// A copy of a stored directory, its keeper, and somebody in the frontend's place.
pub(crate) struct Case {
    pub(crate) stand: Stand,
    pub(crate) forger: Forger,
    pub(crate) before: Evidence,
}

impl Case {
    pub(crate) fn new() -> Self {
        let stand = Stand::new(Medium::Disk, &rustix::process::getuid().as_raw().to_string());
        let forger = Forger::start(&stand.data);
        let before = Evidence::read(&stand.data);
        Self { stand, forger, before }
    }

    pub(crate) fn now(&self) -> Evidence {
        Evidence::read(&self.stand.data)
    }

    /// Nothing that was stored is touched; more may be there.
    pub(crate) fn assert_kept(&mut self, what: &str) {
        self.forger.assert_alive();
        self.before.assert_kept(&self.now(), what);
    }

    /// Nothing is there that was not before, either.
    pub(crate) fn assert_same(&mut self, what: &str) {
        self.forger.assert_alive();
        let now = self.now();
        assert_eq!(self.before.first_difference(&now), None, "{what}");
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.stand.data.join(name)
    }

    /// Names of the files in one of the repository's directories.
    pub(crate) fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path("web1").join(directory)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}
