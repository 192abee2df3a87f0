//! Bringing a file and its name to disk.
//!
//! Invariant: nobody sees a name before its content is where no crash can part them, and when [`Syncs::settle`] returns
//! well, file and directory were both synced. What differs is how many commits of a journal that takes.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FsWord, major, minor};
use rustix::io::Errno;

use super::writeback;

/// File systems with a journal of which it is known that content and name can share a commit of it. Without an entry
/// here, content is synced before it has a name, and its directory after that.
///
/// Ext4, from Linux 4.0 on. That a file is seen by its name after a crash means that the transaction of the link was
/// committed. Before the link, `sync_file_range` has waited until the content was written; `ext4_end_io_end` converts
/// what was allocated for it (`ext4_convert_unwritten_io_end_vec`) before it ends the writeback that is waited for
/// (`ext4_release_io_end`), and its length was set when the write was submitted (`mpage_map_and_submit_extent`), as were
/// the extents themselves where they are not converted. So all of its metadata, facts and mode are in that transaction
/// or in an earlier one, and transactions are committed in their order. The content itself may still be in the disk's
/// cache: the record of the commit is written with `REQ_PREFLUSH` (`journal_submit_commit_record`), which empties it
/// first. That holds where the journal is on the same disk, and without `journal_async_commit`; [`has_own_journal`]
/// asks for both. Whether data is journalled, ordered or neither does not matter.
const ONE_COMMIT: &[FsWord] = &[libc::EXT4_SUPER_MAGIC];

/// File systems without a disk: tmpfs and ramfs.
const IN_MEMORY: &[FsWord] = &[libc::TMPFS_MAGIC, 0x8584_58f6];

/// How files and their names are brought to disk.
#[derive(Debug)]
pub(super) struct Syncs {
    in_memory: bool,
    one_commit: bool,
    beside: Beside,
}

/// Directories that other threads sync.
#[derive(Debug, Default)]
struct Beside {
    /// None once there are no others.
    jobs: Mutex<Option<VecDeque<Job>>>,
    coming: Condvar,
}

#[derive(Debug)]
struct Job {
    directory: OwnedFd,
    done: SyncSender<rustix::io::Result<()>>,
}

impl Syncs {
    /// Finds out what the file system under `data` takes. What cannot be found out is taken to need more.
    pub(super) fn of(data: BorrowedFd<'_>) -> Self {
        let file_system = rustix::fs::fstatfs(data).map_or(0, |stat| stat.f_type);
        Self {
            in_memory: IN_MEMORY.contains(&file_system),
            one_commit: ONE_COMMIT.contains(&file_system) && has_own_journal(data),
            beside: Beside { jobs: Mutex::new(Some(VecDeque::new())), coming: Condvar::new() },
        }
    }

    /// Whether nobody waits for a disk, because there is none.
    pub(super) const fn are_instant(&self) -> bool {
        self.in_memory
    }

    /// Whether somebody has to [`help`](Self::help).
    pub(super) const fn needs_help(&self) -> bool {
        self.one_commit
    }

    /// Brings the content to where it can be given a name.
    pub(super) fn prepare(&self, file: BorrowedFd<'_>) -> rustix::io::Result<()> {
        if self.one_commit { writeback::wait(file) } else { rustix::fs::fsync(file) }
    }

    /// Syncs what [`prepare`](Self::prepare) has not, and the directory that has the name.
    pub(super) fn settle(&self, file: BorrowedFd<'_>, directory: OwnedFd) -> rustix::io::Result<()> {
        if !self.one_commit {
            return rustix::fs::fsync(directory);
        }
        // At the same time, to wait for the same commit. One after the other would be two: ext4 commits for a directory
        // whatever has begun meanwhile (`ext4_force_commit`).
        let (done, outcome) = sync_channel(1);
        self.beside.push(Job { directory, done })?;
        let file_synced = rustix::fs::fsync(file);
        let directory_synced = outcome.recv().unwrap_or(Err(Errno::CANCELED));
        file_synced.and(directory_synced)
    }

    /// Syncs directories for others until the end.
    pub(super) fn help(&self) {
        while let Some(Job { directory, done }) = self.beside.next() {
            let _ = done.send(rustix::fs::fsync(directory)); // who asked waits for it
        }
    }

    /// Lets the helpers end once nothing is left to do.
    pub(super) fn end(&self) {
        self.beside.jobs().take();
        self.beside.coming.notify_all();
    }
}

impl Beside {
    fn push(&self, job: Job) -> rustix::io::Result<()> {
        self.jobs().as_mut().ok_or(Errno::CANCELED)?.push_back(job);
        self.coming.notify_one();
        Ok(())
    }

    fn next(&self) -> Option<Job> {
        let mut jobs = self.jobs();
        loop {
            if let Some(job) = jobs.as_mut()?.pop_front() {
                return Some(job);
            }
            jobs = self.coming.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn jobs(&self) -> MutexGuard<'_, Option<VecDeque<Job>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether this is a file system of ext4 with its journal on the same disk, whose commits wait for what they need. An
/// ext4 can be without a journal, and says so nowhere but here; where `/proc` shows processes only, it is not asked.
fn has_own_journal(data: BorrowedFd<'_>) -> bool {
    let Ok(stat) = rustix::fs::fstat(data) else { return false };
    let device = format!("/sys/dev/block/{}:{}", major(stat.st_dev), minor(stat.st_dev));
    let Ok(device) = std::fs::read_link(device) else { return false };
    let Some(name) = device.file_name().and_then(OsStr::to_str) else { return false };
    // The journal of a file system in itself is its inode 8.
    let own = Path::new("/proc/fs/jbd2").join(format!("{name}-8")).exists();
    let options = std::fs::read_to_string(Path::new("/proc/fs/ext4").join(name).join("options"));
    own && options.is_ok_and(|options| !options.lines().any(|option| option == "journal_async_commit"))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::{AsFd, OwnedFd};
    use std::path::Path;

    use super::*;

    /// As many as there are workers.
    const TOGETHER: usize = 24;

    fn syncs(one_commit: bool) -> Syncs {
        Syncs { one_commit, ..Syncs::of(File::open("/proc").unwrap().as_fd()) }
    }

    fn directory(path: &Path) -> OwnedFd {
        File::open(path).unwrap().into()
    }

    /// What cannot be synced.
    fn pipe() -> OwnedFd {
        std::io::pipe().unwrap().0.into()
    }

    /// Settles files and directories at once, of which some cannot be synced.
    fn settle_together(fails: impl Fn(usize) -> (bool, bool) + Sync) -> Vec<(usize, rustix::io::Result<()>)> {
        let (place, syncs) = (tempfile::tempdir().unwrap(), syncs(true));
        let settle = |number: usize| {
            let (file_fails, directory_fails) = fails(number);
            let file = tempfile::tempfile_in(place.path()).unwrap();
            let file = if file_fails { pipe() } else { OwnedFd::from(file) };
            let directory = if directory_fails { pipe() } else { directory(place.path()) };
            (number, syncs.settle(file.as_fd(), directory))
        };
        std::thread::scope(|scope| {
            (0..2).for_each(|_| drop(scope.spawn(|| syncs.help())));
            let settling: Vec<_> = (0..TOGETHER).map(|number| scope.spawn(move || settle(number))).collect();
            let outcomes = settling.into_iter().map(|settling| settling.join().unwrap()).collect();
            syncs.end();
            outcomes
        })
    }

    #[test]
    fn of_many_that_wait_together_exactly_those_are_refused_that_were_not_synced() {
        for (number, outcome) in settle_together(|number| (number == 3, number == 7)) {
            let expected = if matches!(number, 3 | 7) { Err(Errno::INVAL) } else { Ok(()) };
            assert_eq!(outcome, expected, "{number}");
        }
    }

    #[test]
    fn what_cannot_be_written_gets_no_name() {
        for one_commit in [false, true] {
            assert!(syncs(one_commit).prepare(pipe().as_fd()).is_err(), "{one_commit}");
            let file = tempfile::tempfile().unwrap();
            assert_eq!(syncs(one_commit).prepare(file.as_fd()), Ok(()), "{one_commit}");
        }
    }

    #[test]
    fn where_nobody_syncs_the_directory_any_more_nothing_is_confirmed() {
        let (place, syncs) = (tempfile::tempdir().unwrap(), syncs(true));
        syncs.end();
        let file = tempfile::tempfile().unwrap();
        assert_eq!(syncs.settle(file.as_fd(), directory(place.path())), Err(Errno::CANCELED));
    }

    #[test]
    fn one_commit_is_for_a_file_system_with_a_journal_of_its_own() {
        for (path, in_memory) in [("/dev/shm", true), ("/proc", false)] {
            let syncs = Syncs::of(File::open(path).unwrap().as_fd());
            assert_eq!((syncs.one_commit, syncs.in_memory), (false, in_memory), "{path}");
        }
    }
}
