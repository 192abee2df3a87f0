//! Counting what is stored, by looking at every file.
//!
//! Invariant: stores and maintenance go on meanwhile. What they add counts, though a few files may count twice until the
//! next count; a file is never left out. A count that maintenance took files from is made again.

use std::collections::{BTreeSet, HashMap};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use pawl_policy::{DAY_MS, PrincipalName, RepositoryName, RepositoryState, Usage};
use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;

use super::attributes::{self, Maintained, Net};
use super::counting::{Counting, places};
use super::hosts::{HostsUsage, Table};
use crate::account::Account;
use crate::facts::{self, Facts};
use crate::named::{self, Named};
use crate::shutdown::Shutdown;
use crate::{directory, layout, repository};

/// How soon a count begins that somebody waits for. restic tries again after a second.
const BEGIN_AFTER: Duration = Duration::from_millis(100);
/// A count of all files rests so many times as long as it works, unless somebody waits for it.
const RESTS: u32 = 3;
/// When a count of all files is made again from which maintenance took files, or which could not read all.
const AGAIN_AFTER: Duration = Duration::from_hours(1);
/// All files are counted so often, for what was changed past Pawl.
const COUNTED_EVERY_MS: u64 = 30 * DAY_MS;

/// Which count of [`Table::counting`] is under way.
const ALL: usize = 0;
const ONE: usize = 1;

/// What a count has found in a repository.
struct Found {
    by: HashMap<PrincipalName, Usage>,
    /// Whether maintenance took nothing away meanwhile.
    is_exact: bool,
}

impl Table {
    /// Ends the count of an account.
    fn apply(
        &mut self,
        which: usize,
        account: &Account,
        found: Usage,
        before: Maintained,
        after: Maintained,
    ) {
        let counting = self.counting.get_mut(which).and_then(Option::as_mut);
        let since = counting.and_then(|counting| counting.since.remove(account)).unwrap_or_default();
        let in_flight = self.accounts.get(account).map_or_else(Usage::default, |count| count.in_flight);
        let brought_back = after.added.minus(before.added);
        let seen = found.plus(since).plus(in_flight).plus(brought_back);
        self.set(account, Net::for_seen(seen, after));
    }

    fn reach(&mut self, which: usize, repository: &RepositoryName, place: usize) {
        if let Some(Some(counting)) = self.counting.get_mut(which) {
            counting.ahead.remove(repository);
            counting.at = Some((repository.clone(), place));
        }
    }
}

impl HostsUsage {
    /// Counts repositories that somebody waits for, one at a time.
    pub(crate) fn count_asked_for(&self, data: BorrowedFd<'_>, ended: &Shutdown) {
        let next = || self.table().asked_for.pop_front();
        while !ended.wait(BEGIN_AFTER) {
            while let Some(repository) = next() {
                let at = Some((repository.clone(), 0));
                self.start(ONE, Counting { at, ..Counting::default() });
                let found = self.count_repository(data, ONE, &repository, ended);
                self.stop(ONE);
                match found {
                    Ok(Found { is_exact: false, .. }) => self.table().all_due = true,
                    Ok(_) | Err(Errno::CANCELED) => {}
                    Err(error) => {
                        tracing::error!(%error, %repository, "cannot count what the repository holds");
                    }
                }
            }
        }
    }

    /// Counts all files, slowly: after a crash, after a change past Pawl while no keeper ran, when a value cannot be read,
    /// and once a month.
    pub(crate) fn count_all(&self, data: BorrowedFd<'_>, ended: &Shutdown) {
        if let Some(mark) = self.mark
            && !self.has_changed_since(data, mark.ended_ms, ended)
        {
            let mut table = self.table();
            (table.all_due, table.counted_ms) = (false, mark.counted_ms);
            tracing::info!("no file is counted: nothing has changed since the last end");
        }
        let mut rest = BEGIN_AFTER;
        while !ended.wait(rest) {
            rest = BEGIN_AFTER;
            let now_ms = facts::now_ms();
            {
                let table = self.table();
                if !table.all_due && now_ms < table.counted_ms.saturating_add(COUNTED_EVERY_MS) {
                    continue;
                }
            }
            self.start(ALL, Counting::default());
            let counted = self.count_every_file(data, ended);
            self.stop(ALL);
            match counted {
                Ok(true) => {
                    {
                        let mut table = self.table();
                        (table.all_due, table.counted_ms) = (false, now_ms);
                    }
                    self.hurry.store(false, Ordering::Relaxed);
                    self.write(data);
                    tracing::info!("all files were counted");
                }
                Err(Errno::CANCELED) => return,
                Ok(false) => {
                    self.table().all_due = true;
                    tracing::info!(
                        "all files were counted, and will be again: maintenance removed some meanwhile"
                    );
                    rest = AGAIN_AFTER;
                }
                Err(error) => {
                    tracing::error!(%error, "cannot count what all repositories hold");
                    rest = AGAIN_AFTER;
                }
            }
        }
    }

    fn start(&self, which: usize, count: Counting) {
        if let Some(counting) = self.table().counting.get_mut(which) {
            *counting = Some(count);
        }
    }

    fn stop(&self, which: usize) {
        if let Some(counting) = self.table().counting.get_mut(which) {
            *counting = None;
        }
    }

    /// Counts all files of each repository and principal. Returns whether that was exact.
    fn count_every_file(&self, data: BorrowedFd<'_>, ended: &Shutdown) -> rustix::io::Result<bool> {
        let before = principals(data)?;
        let repositories: BTreeSet<_> = repositories(data)?.into_iter().collect();
        if let Some(Some(counting)) = self.table().counting.get_mut(ALL) {
            counting.ahead.clone_from(&repositories);
        }
        let holds_files = !repositories.is_empty(); // otherwise they lie in a bucket
        let (mut found, mut is_exact, mut failed) = (HashMap::<_, Usage>::new(), true, None);
        for repository in repositories {
            self.table().reach(ALL, &repository, usize::MAX);
            let counted = match repository::state(data, &repository) {
                Ok(RepositoryState::Absent) => continue, // a directory of repositories
                Ok(_) => self.count_repository(data, ALL, &repository, ended),
                Err(error) => Err(error),
            };
            match counted {
                Ok(repository) => {
                    is_exact &= repository.is_exact;
                    for (principal, usage) in repository.by {
                        let sum = found.entry(principal).or_default();
                        *sum = sum.plus(usage);
                    }
                }
                Err(Errno::NOENT) => {}
                Err(Errno::CANCELED) => return Err(Errno::CANCELED),
                Err(error) => {
                    tracing::error!(%error, %repository, "cannot count what the repository holds");
                    failed = Some(error);
                }
            }
        }
        // What a principal stored is the sum of all.
        if let Some(error) = failed {
            return Err(error);
        }
        let guard = self.lock.try_get(data, ended);
        is_exact &= guard.is_some();
        let after = principals(data)?;
        let mut table = self.table();
        let known: BTreeSet<PrincipalName> = table.accounts.keys().filter_map(principal).collect();
        let all: BTreeSet<_> =
            known.into_iter().chain(found.keys().cloned()).chain(after.keys().cloned()).collect();
        for principal in all.into_iter().filter(|_| holds_files) {
            let changed = |at: &HashMap<_, Maintained>| at.get(&principal).copied().unwrap_or_default();
            let (before, after) = (changed(&before), changed(&after));
            is_exact &= before.taken == after.taken;
            let found = found.get(&principal).copied().unwrap_or_default();
            table.apply(ALL, &Account::Principal(principal), found, before, after);
        }
        Ok(is_exact)
    }

    fn count_repository(
        &self,
        data: BorrowedFd<'_>,
        which: usize,
        repository: &RepositoryName,
        ended: &Shutdown,
    ) -> rustix::io::Result<Found> {
        self.table().reach(which, repository, 0);
        let root = directory::open(data, repository.as_str())?;
        let guard = self.lock.try_get(data, ended);
        let before = maintained(&root)?;
        let was_alone = guard.is_some();
        drop(guard);
        let (mut all, mut by) = (Usage::default(), HashMap::<_, Usage>::new());
        for (place, path) in places(repository).enumerate() {
            if ended.is_told() {
                return Err(Errno::CANCELED);
            }
            self.table().reach(which, repository, place);
            let began = Instant::now();
            count_directory(data, &path, place == 0, |file, creator| {
                all = all.plus(file);
                if let Some(creator) = creator {
                    let sum = by.entry(creator).or_default();
                    *sum = sum.plus(file);
                }
            })?;
            self.rest(which, began, ended)?;
        }
        let guard = self.lock.try_get(data, ended);
        let after = maintained(&root)?;
        self.table().apply(which, &Account::Repository(repository.clone()), all, before, after);
        let is_exact = was_alone && guard.is_some() && before.taken == after.taken;
        Ok(Found { by, is_exact })
    }

    /// Leaves the disk to others for a while, unless somebody waits.
    fn rest(&self, which: usize, began: Instant, ended: &Shutdown) -> rustix::io::Result<()> {
        let is_waited_for = which == ONE || self.hurry.load(Ordering::Relaxed);
        if !is_waited_for && ended.wait(began.elapsed() * RESTS) { Err(Errno::CANCELED) } else { Ok(()) }
    }

    /// Whether anything was stored or removed after this moment, by the times of directories.
    fn has_changed_since(&self, data: BorrowedFd<'_>, then_ms: u64, ended: &Shutdown) -> bool {
        let Ok(repositories) = repositories(data) else { return true };
        is_newer(data, ".", then_ms)
            || repositories.into_iter().any(|repository| {
                let began = Instant::now();
                let is_newer = places(&repository).any(|place| is_newer(data, &place, then_ms));
                is_newer || self.rest(ALL, began, ended).is_err()
            })
    }
}

/// What maintenance has changed for each principal.
fn principals(data: BorrowedFd<'_>) -> rustix::io::Result<HashMap<PrincipalName, Maintained>> {
    let home = directory::open_or_make(data, layout::USAGE)?;
    let mut principals = HashMap::new();
    for entry in Dir::read_from(home.as_fd())? {
        let entry = entry?;
        if let Some(name) =
            entry.file_name().to_str().ok().and_then(|name| name.parse::<PrincipalName>().ok())
        {
            let changed = maintained(directory::open(&home, name.as_str())?)?;
            principals.insert(name, changed);
        }
    }
    Ok(principals)
}

/// What maintenance has changed. What cannot be read is written anew as nothing, which the count makes right.
fn maintained(directory: impl AsFd) -> rustix::io::Result<Maintained> {
    match attributes::maintained(directory.as_fd()) {
        Err(Errno::BADMSG) => {
            attributes::write_maintained(directory, Maintained::default())?;
            Ok(Maintained::default())
        }
        read => read,
    }
}

fn is_newer(data: BorrowedFd<'_>, path: &str, then_ms: u64) -> bool {
    match rustix::fs::statat(data, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => {
            let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
            seconds.saturating_mul(1000).saturating_add(stat.st_mtime_nsec / 1_000_000) > then_ms
        }
        Err(error) => !matches!(error, Errno::NOENT | Errno::NOTDIR),
    }
}

fn principal(account: &Account) -> Option<PrincipalName> {
    match account {
        Account::Principal(principal) => Some(principal.clone()),
        Account::Repository(_) => None,
    }
}

/// Every directory that may be a repository. The log names each that cannot be served.
fn repositories(data: BorrowedFd<'_>) -> rustix::io::Result<Vec<RepositoryName>> {
    let mut found = Vec::new();
    for Named { name, fault } in named::named_directories(data)? {
        match fault {
            None => found.push(name),
            Some(fault) => {
                let why = named::reason(fault);
                tracing::error!(directory = %name, "a directory in the data directory cannot be served: {why}");
            }
        }
    }
    Ok(found)
}

/// Tells of each file in a directory what it counts, and who stored it; of that of the repository itself, of `config`.
fn count_directory(
    data: BorrowedFd<'_>,
    path: &str,
    is_root: bool,
    mut tell: impl FnMut(Usage, Option<PrincipalName>),
) -> rustix::io::Result<()> {
    let directory = match directory::open(data, path) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error),
    };
    if is_root {
        return count_file(directory.as_fd(), c"config", &mut tell);
    }
    for entry in Dir::read_from(directory.as_fd())? {
        count_file(directory.as_fd(), entry?.file_name(), &mut tell)?;
    }
    Ok(())
}

fn count_file(
    directory: BorrowedFd<'_>,
    name: &std::ffi::CStr,
    tell: &mut impl FnMut(Usage, Option<PrincipalName>),
) -> rustix::io::Result<()> {
    let stat = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(()), // maintenance has just hidden it
        Err(error) => return Err(error),
    };
    if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
        return Ok(());
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let creator = match rustix::fs::openat(directory, name, flags, Mode::empty()) {
        Ok(file) => Facts::read(file)?.creator,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ACCESS | Errno::PERM) => None, // not one of the keeper's own
        Err(error) => return Err(error),
    };
    tell(Usage::of_file(u64::try_from(stat.st_size).unwrap_or(0)), creator);
    Ok(())
}

#[cfg(test)]
mod tests {
    use pawl_policy::FileId;

    use super::*;
    use crate::tenant::Tenant;
    use crate::usage::KeeperUsage;
    use crate::usage::maintenance::MaintenanceUsage;

    fn name(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    #[test]
    fn a_count_leaves_the_disk_to_others_unless_somebody_waits_for_it() {
        let place = tempfile::tempdir().unwrap();
        let data = std::fs::File::open(place.path()).unwrap();
        let usage = HostsUsage::open(data.as_fd(), true);
        // Who waits hears at once that it is to end.
        let ended = Shutdown::default();
        ended.tell();
        let rests = |which| usage.rest(which, Instant::now(), &ended) == Err(Errno::CANCELED);
        assert!(rests(ALL) && !rests(ONE));
        usage.ask_for(&Account::Principal("web1".parse().unwrap()));
        assert!(!rests(ALL));
    }

    /// A repository with one file of 10,000 bytes, beside maintenance.
    fn place() -> (tempfile::TempDir, MaintenanceUsage) {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(place.path().join("web1/index")).unwrap();
        let id = FileId::from_sha256([1; 32]);
        let mut file = std::fs::File::create_new(place.path().join(format!("web1/index/{id}"))).unwrap();
        std::io::Write::write_all(&mut file, &[0; 10_000]).unwrap();
        (place, MaintenanceUsage::new(true))
    }

    #[test]
    fn a_count_makes_up_for_whatever_was_counted_before_and_is_made_again_while_maintenance_changes() {
        let (place, maintenance) = place();
        let data = std::fs::File::open(place.path()).unwrap();
        let (data, web1, ended) = (data.as_fd(), name("web1"), Shutdown::default());
        // Taken away twice, as a crash of maintenance and a restart of the server could have it.
        maintenance.lock(data).unwrap().take(&web1, None, 50_000).unwrap();
        let usage = KeeperUsage::open(data, Tenant::Hosts);
        let KeeperUsage::Hosts(usage) = usage else { unreachable!() };
        let account = Account::Repository(web1.clone());
        for held in [true, false] {
            let guard = held.then(|| maintenance.lock(data).unwrap());
            usage.start(ONE, Counting::default());
            let found = usage.count_repository(data, ONE, &web1, &ended).unwrap();
            usage.stop(ONE);
            drop(guard);
            assert_eq!(found.is_exact, !held);
            assert_eq!(usage.of(data, &account), Ok(Usage { bytes: 10_000, files: 1 }));
        }
        maintenance.lock(data).unwrap().take(&web1, None, 10_000).unwrap();
        assert_eq!(usage.of(data, &account), Ok(Usage::default()));
    }
}
