//! A count that is under way, and which directories it goes through.
//!
//! Invariant: what is stored meanwhile where the count has been is added to what it finds.

use std::collections::{BTreeSet, HashMap};

use pawl_policy::{FileType, Handle, RepositoryName, Usage};

use crate::account::Account;
use crate::layout;

/// The directories of a repository in the order in which they are counted.
pub(super) fn places(repository: &RepositoryName) -> impl Iterator<Item = String> {
    let types = [FileType::Index, FileType::Keys, FileType::Snapshots];
    let types = types.map(|file_type| layout::type_directory(repository, file_type));
    let packs = layout::type_directory(repository, FileType::Data);
    let packs = (0..=u8::MAX).map(move |first| format!("{packs}/{first:02x}"));
    std::iter::once(repository.to_string()).chain(types).chain(packs)
}

/// The number among them of the directory in which this file lies.
pub(super) fn place_of(handle: &Handle) -> usize {
    match handle {
        Handle::Config | Handle::File(FileType::Locks, _) => 0,
        Handle::File(FileType::Index, _) => 1,
        Handle::File(FileType::Keys, _) => 2,
        Handle::File(FileType::Snapshots, _) => 3,
        Handle::File(FileType::Data, id) => {
            let [first, ..] = id.sha256();
            4 + usize::from(*first)
        }
    }
}

/// A count that is under way.
#[derive(Debug, Default)]
pub(crate) struct Counting {
    /// Repositories that it has not begun with.
    pub(super) ahead: BTreeSet<RepositoryName>,
    /// The one it is at, and the number of the directory.
    pub(super) at: Option<(RepositoryName, usize)>,
    /// What was stored where the count had been.
    pub(super) since: HashMap<Account, Usage>,
}

impl Counting {
    /// Notes a file that was just stored. A directory that the count has begun with may have been read before.
    pub(crate) fn note(
        &mut self,
        repository: &RepositoryName,
        place: usize,
        accounts: &[Account],
        file: Usage,
    ) {
        let is_found = match &self.at {
            Some((at, reached)) if at == repository => place > *reached,
            _ => self.ahead.contains(repository),
        };
        if !is_found {
            for account in accounts {
                let since = self.since.entry(account.clone()).or_default();
                *since = since.plus(file);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use pawl_policy::FileId;

    use super::*;

    fn name(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    #[test]
    fn a_file_that_a_count_does_not_find_is_added_and_one_that_it_finds_is_not() {
        let [here, ahead, new] = ["b", "c", "a"].map(name);
        let data = |first: u8| Handle::File(FileType::Data, FileId::from_sha256([first; 32]));
        for (repository, place, is_added) in [
            (&here, place_of(&Handle::Config), true),
            (&here, place_of(&data(0x10)), true),
            (&here, place_of(&data(0x11)), false),
            (&ahead, place_of(&Handle::Config), false),
            (&new, place_of(&data(0xff)), true),
        ] {
            let at = Some((here.clone(), place_of(&data(0x10))));
            let mut counting = Counting { ahead: BTreeSet::from([ahead.clone()]), at, since: HashMap::new() };
            let account = Account::Repository(repository.clone());
            counting.note(repository, place, std::slice::from_ref(&account), Usage::of_file(1));
            assert_eq!(counting.since.contains_key(&account), is_added, "{repository} {place}");
        }
    }

    #[test]
    fn the_places_of_files_are_those_in_which_they_are_counted() {
        let web1 = name("web1");
        let places: Vec<_> = places(&web1).collect();
        for handle in [
            Handle::File(FileType::Index, FileId::from_sha256([1; 32])),
            Handle::File(FileType::Keys, FileId::from_sha256([1; 32])),
            Handle::File(FileType::Snapshots, FileId::from_sha256([1; 32])),
            Handle::File(FileType::Data, FileId::from_sha256([0; 32])),
            Handle::File(FileType::Data, FileId::from_sha256([255; 32])),
        ] {
            assert_eq!(places[place_of(&handle)], layout::directory(&web1, &handle));
        }
        assert_eq!(places.len(), 4 + 256);
    }
}
