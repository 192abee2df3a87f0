//! What hosts store, counted in memory and written behind.
//!
//! Invariant: a file counts from before it has its name. A crash hides what was stored since the last writing, a second
//! before; the next start then counts every file again. An account that is not known is no usage of nothing: whoever asks
//! for it is told to try again until it was counted.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pawl_policy::{PrincipalName, RepositoryName, Usage};
use rustix::io::Errno;

use super::attributes::{self, Mark, Net};
use super::counting::{Counting, place_of};
use super::maintenance::UsageLock;
use crate::account::Account;
use crate::message::Refusal;
use crate::naming::Naming;
use crate::shutdown::Shutdown;
use crate::{directory, facts, layout};

/// How often changes are written.
const WRITE_EVERY: Duration = Duration::from_secs(1);
/// Whoever could write nothing for so long must not be called ready. The next writing may always succeed.
const BEHIND_MAX: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(crate) struct HostsUsage {
    pub table: Mutex<Table>,
    pub lock: UsageLock,
    /// Whether somebody waits until all files were counted, which then takes no rests.
    pub hurry: AtomicBool,
    /// The mark that the last keeper left.
    pub mark: Option<Mark>,
    keeps_order: bool,
    /// Held while attributes are written, so that none is written over by an older value.
    writing: Mutex<()>,
}

#[derive(Debug, Default)]
pub(crate) struct Table {
    pub accounts: HashMap<Account, Count>,
    /// Counts under way: of all repositories, and of one that somebody waits for.
    pub counting: [Option<Counting>; 2],
    /// Repositories that somebody waits for.
    pub asked_for: VecDeque<RepositoryName>,
    /// Whether all files are still to be counted.
    pub all_due: bool,
    /// When all files were last counted, in Unix milliseconds.
    pub counted_ms: u64,
    /// Whether the mark of a clean end is gone.
    is_open: bool,
    /// Since when something waits to be written.
    behind_since: Option<Instant>,
    /// Why the last writing failed.
    failure: Option<String>,
}

/// What is known of an account.
#[derive(Debug, Default)]
pub(crate) struct Count {
    /// `None` until it was counted.
    pub own: Option<Net>,
    /// Files that count already and may have no name yet.
    pub in_flight: Usage,
    is_changed: bool,
}

impl Table {
    fn account(&mut self, account: &Account) -> &mut Count {
        self.accounts.entry(account.clone()).or_default()
    }

    /// Notes what an account has come to, to be written.
    pub(crate) fn set(&mut self, account: &Account, own: Net) {
        let count = self.account(account);
        if count.own != Some(own) {
            (count.own, count.is_changed) = (Some(own), true);
            self.behind_since.get_or_insert_with(Instant::now);
        }
    }

    fn begin(&mut self, account: &Account, file: Usage) {
        let count = self.account(account);
        count.in_flight = count.in_flight.plus(file);
        if let Some(own) = count.own {
            self.set(account, own.plus(file));
        }
    }

    fn settle(&mut self, account: &Account, file: Usage, is_stored: bool) {
        let count = self.account(account);
        count.in_flight = count.in_flight.minus(file);
        if let Some(own) = count.own.filter(|_| !is_stored) {
            self.set(account, own.minus(file));
        }
    }
}

impl HostsUsage {
    pub(crate) fn open(data: BorrowedFd<'_>, keeps_order: bool) -> Self {
        let (mark, is_open) = match take_mark(data) {
            Ok(mark) => (mark, true),
            // On a full or read-only disk, which can be read from. Nothing is stored there until this is done.
            Err(_) => (None, false),
        };
        let usage = Self {
            table: Mutex::new(Table { all_due: true, is_open, ..Table::default() }),
            lock: UsageLock::default(),
            hurry: AtomicBool::new(false),
            mark,
            keeps_order,
            writing: Mutex::default(),
        };
        let _ = usage.lock.prepare(data); // or when a count needs it
        usage
    }

    pub(crate) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begin(&self, repository: &RepositoryName) {
        self.table().set(&Account::Repository(repository.clone()), Net::default());
    }

    pub(crate) fn store(
        &self,
        data: BorrowedFd<'_>,
        naming: &Naming<'_>,
        bytes: u64,
        link: impl FnOnce() -> rustix::io::Result<()>,
    ) -> rustix::io::Result<()> {
        let file = Usage::of_file(bytes);
        let accounts =
            [Account::Repository(naming.repository.clone()), Account::Principal(naming.creator.clone())];
        for account in &accounts {
            if !self.table().accounts.contains_key(account) {
                self.load(data, account);
            }
        }
        {
            let mut table = self.table();
            for account in &accounts {
                table.begin(account, file);
            }
        }
        let linked = link();
        let mut table = self.table();
        for account in &accounts {
            table.settle(account, file, linked.is_ok());
        }
        if linked.is_ok() {
            let place = place_of(naming.handle);
            for counting in table.counting.iter_mut().flatten() {
                counting.note(naming.repository, place, &accounts, file);
            }
        }
        linked
    }

    /// Reads what was last written of an account. That it cannot be read keeps nobody from storing without a quota.
    fn load(&self, data: BorrowedFd<'_>, account: &Account) {
        let read = account.open_or_make(data).and_then(attributes::own);
        let own = match (read, account) {
            (Ok(None), Account::Principal(_)) => Some(Net::default()),
            (Ok(own), _) => own,
            (Err(error), _) => {
                tracing::error!(%error, "the usage of {account} cannot be read, and will be counted");
                None
            }
        };
        let mut table = self.table();
        // Another worker may have been first, and have added to it.
        table.accounts.entry(account.clone()).or_insert(Count { own, ..Count::default() });
    }

    pub(crate) fn of(&self, data: BorrowedFd<'_>, account: &Account) -> Result<Usage, Refusal> {
        let Some(directory) = account.open(data)? else {
            return match account {
                Account::Repository(_) => Err(Refusal::NotFound),
                Account::Principal(_) => Ok(Usage::default()),
            };
        };
        if !self.table().accounts.contains_key(account) {
            self.load(data, account);
        }
        let own = self.table().accounts.get(account).and_then(|count| count.own);
        let tallied = attributes::tallied(&directory).map_err(|error| not_tallied(account, error))?;
        match (own, attributes::maintained(&directory)) {
            (Some(own), Ok(maintained)) => Ok(own.plus(tallied).seen(maintained)),
            (_, Err(error)) if error != Errno::BADMSG => Err(error.into()),
            _ => {
                self.ask_for(account);
                Err(Refusal::Failed(format!("{account}: being counted, try again")))
            }
        }
    }

    pub(super) fn ask_for(&self, account: &Account) {
        let mut table = self.table();
        match account {
            Account::Repository(repository) if !table.asked_for.contains(repository) => {
                table.asked_for.push_back(repository.clone());
            }
            Account::Repository(_) => {}
            Account::Principal(_) => {
                table.all_due = true;
                self.hurry.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Written at once, for no count finds what lies elsewhere.
    pub(crate) fn tally(
        &self,
        data: BorrowedFd<'_>,
        principal: &PrincipalName,
        bytes: u64,
        taken_back: bool,
    ) -> Result<(), Refusal> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let account = Account::Principal(principal.clone());
        let directory = account.open_or_make(data)?;
        let before = attributes::tallied(&directory).map_err(|error| not_tallied(&account, error))?;
        let file = Usage::of_file(bytes);
        let tallied = if taken_back { before.minus(file) } else { before.plus(file) };
        Ok(attributes::write_tallied(&directory, tallied)?)
    }

    pub(crate) fn check(&self) -> Result<(), Refusal> {
        let table = self.table();
        let behind = table.behind_since.map(|since| since.elapsed()).filter(|behind| *behind > BEHIND_MAX);
        behind.map_or(Ok(()), |behind| {
            let why = table.failure.as_deref().unwrap_or("the disk does not answer");
            let seconds = behind.as_secs();
            Err(Refusal::Failed(format!("usage could not be written for {seconds} seconds: {why}")))
        })
    }

    pub(crate) fn write_behind(&self, data: BorrowedFd<'_>, ended: &Shutdown) {
        while !ended.wait(WRITE_EVERY) {
            self.write(data);
        }
    }

    /// Writes what has changed. Returns whether all is written.
    pub(crate) fn write(&self, data: BorrowedFd<'_>) -> bool {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let began = Instant::now();
        let mut failure = self.leave_mark_of_last_end(data).err().map(|error| error.to_string());
        let changed = if failure.is_none() { self.changed() } else { Vec::new() };
        for (account, own) in changed {
            let Err(error) = self.write_one(data, &account, own) else { continue };
            let mut table = self.table();
            if error == Errno::NOENT {
                table.accounts.remove(&account); // with its directory
            } else {
                table.account(&account).is_changed = true;
                failure = Some(format!("{account}: {error}"));
            }
        }
        let mut table = self.table();
        if let Some(failure) = &failure {
            if table.failure.is_none() {
                tracing::error!("usage cannot be written: {failure}");
            }
            table.behind_since.get_or_insert(began);
        } else {
            let is_behind = table.accounts.values().any(|count| count.is_changed);
            table.behind_since = is_behind.then_some(began);
        }
        table.failure = failure;
        table.behind_since.is_none()
    }

    fn changed(&self) -> Vec<(Account, Net)> {
        let mut table = self.table();
        let changed = table.accounts.iter_mut().filter_map(|(account, count)| {
            std::mem::take(&mut count.is_changed).then_some((account.clone(), count.own?))
        });
        changed.collect()
    }

    fn write_one(&self, data: BorrowedFd<'_>, account: &Account, own: Net) -> rustix::io::Result<()> {
        let directory = account.open_or_make(data)?;
        attributes::write_own(&directory, own)?;
        // Elsewhere the mark of a clean end could be on disk before this.
        if self.keeps_order { Ok(()) } else { rustix::fs::fsync(directory) }
    }

    fn leave_mark_of_last_end(&self, data: BorrowedFd<'_>) -> rustix::io::Result<()> {
        if !self.table().is_open {
            take_mark(data)?;
            self.table().is_open = true;
        }
        Ok(())
    }

    pub(crate) fn close(&self, data: BorrowedFd<'_>) {
        if !self.write(data) || self.table().all_due {
            return;
        }
        let mark = Mark { ended_ms: facts::now_ms(), counted_ms: self.table().counted_ms };
        let marked = directory::open_or_make(data, layout::USAGE)
            .and_then(|home| attributes::write_mark(home.as_fd(), mark));
        if let Err(error) = marked {
            tracing::warn!(%error, "the next start will count every file, for a clean end could not be noted");
        }
    }
}

fn take_mark(data: BorrowedFd<'_>) -> rustix::io::Result<Option<Mark>> {
    attributes::take_mark(directory::open_or_make(data, layout::USAGE)?.as_fd())
}

/// No count finds what lies elsewhere, so a person has to say how much it is.
fn not_tallied(account: &Account, error: Errno) -> Refusal {
    let Account::Principal(principal) = account else { return error.into() };
    if error != Errno::BADMSG {
        return error.into();
    }
    let (name, path) = (attributes::TALLIED, layout::principal_usage(principal));
    Refusal::Failed(format!(
        "what {principal} stored in the bucket is not known: expected '1 BYTES FILES' in the attribute {name} of {path} in the \
         data directory, found something else; `setfattr -n {name} -v '1 BYTES FILES' {path}` with the sum of its \
         repositories, which `pawl maintain report` names"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_could_write_nothing_for_a_minute_is_not_ready() {
        let place = tempfile::tempdir().unwrap();
        let data = std::fs::File::open(place.path()).unwrap();
        let usage = HostsUsage::open(data.as_fd(), true);
        assert_eq!(usage.check(), Ok(()));
        let long_ago = Instant::now().checked_sub(BEHIND_MAX + WRITE_EVERY);
        (usage.table().behind_since, usage.table().failure) = (long_ago, Some("no space left".to_owned()));
        let why = "usage could not be written for 61 seconds: no space left".to_owned();
        assert_eq!(usage.check(), Err(Refusal::Failed(why)));
        assert!(usage.write(data.as_fd()));
        assert_eq!(usage.check(), Ok(()));
    }
}
