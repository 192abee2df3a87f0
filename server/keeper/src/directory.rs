//! Directories beneath DATA: opened without leaving it, made durably.
//!
//! Invariant: a path is resolved beneath DATA, through no symbolic link and onto no other file system; whoever makes a
//! directory syncs its entry in its parent before using it; a file that moves replaces none.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;

/// Directories are readable by the group, which in a deployment is the frontend's.
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o750);
/// Nobody writes to a mark.
const MARK_MODE: Mode = Mode::from_raw_mode(0o440);

/// Opens a directory beneath `data`.
pub fn open(data: impl AsFd, path: &str) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat2(data, path, flags, Mode::empty(), resolve)
}

/// Opens a directory beneath `data`, making each level that is missing.
pub fn open_or_make(data: impl AsFd, path: &str) -> rustix::io::Result<OwnedFd> {
    let data = data.as_fd();
    match open(data, path) {
        Err(Errno::NOENT) => {}
        opened_or_failed => return opened_or_failed,
    }
    let mut current = open(data, ".")?;
    for name in path.split('/') {
        current = open_or_make_one(&current, name)?;
    }
    Ok(current)
}

#[expect(clippy::disallowed_methods, reason = "the one place that makes directories")]
fn open_or_make_one(parent: &OwnedFd, name: &str) -> rustix::io::Result<OwnedFd> {
    match open(parent, name) {
        Err(Errno::NOENT) => {}
        opened_or_failed => return opened_or_failed,
    }
    match rustix::fs::mkdirat(parent, name, DIRECTORY_MODE) {
        // Another worker was first; sync all the same, for its sync may still be under way.
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    rustix::fs::fsync(parent)?;
    open(parent, name)
}

/// Moves a file to a name that is free; `EXIST` if it is taken. Where the file system cannot rename without replacing, the
/// file has both names for a moment, and a call that a crash cut there can be repeated.
pub fn move_file(from: impl AsFd, name: &str, to: impl AsFd, new: &str) -> rustix::io::Result<()> {
    let (from, to) = (from.as_fd(), to.as_fd());
    if rename_if_possible((from, name), (to, new))? {
        Ok(())
    } else {
        link_and_unlink((from, name), (to, new))
    }
}

/// A name in a directory.
type Name<'a> = (BorrowedFd<'a>, &'a str);

/// Renames a file without replacing another, and returns whether the file system can do that.
#[expect(clippy::disallowed_methods, reason = "moves a stored file, and does not replace")]
pub fn rename_if_possible((from, name): Name<'_>, (to, new): Name<'_>) -> rustix::io::Result<bool> {
    match rustix::fs::renameat_with(from, name, to, new, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(false),
        moved_or_failed => moved_or_failed.map(|()| true),
    }
}

#[expect(clippy::disallowed_methods, reason = "moves a stored file, and does not replace")]
fn link_and_unlink((from, name): Name<'_>, (to, new): Name<'_>) -> rustix::io::Result<()> {
    match rustix::fs::linkat(from, name, to, new, AtFlags::empty()) {
        Ok(()) => {}
        Err(Errno::EXIST) if is_same_file((from, name), (to, new))? => {}
        Err(error) => return Err(error),
    }
    rustix::fs::fsync(to)?; // before the old name goes: a power cut must leave one of them
    rustix::fs::unlinkat(from, name, AtFlags::empty())
}

fn is_same_file(one: Name<'_>, other: Name<'_>) -> rustix::io::Result<bool> {
    let of = |(directory, name): Name<'_>| rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
    let (one, other) = (of(one)?, of(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

/// Makes an empty file that says something by its name, durably. One that is there stays, and is not opened: it may be
/// read-only.
pub fn mark(directory: BorrowedFd<'_>, name: &str) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(directory, name, flags, MARK_MODE) {
        // An earlier call may have been cut before its sync.
        Ok(_) | Err(Errno::EXIST) => rustix::fs::fsync(directory),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs::File;

    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

    use super::*;

    /// Runs this on a file system that cannot rename without replacing.
    fn without_exclusive_rename(work: impl FnOnce() + Send) {
        let limited = || {
            let machine = TargetArch::try_from(std::env::consts::ARCH).unwrap();
            let failing = SeccompAction::Errno(libc::EINVAL.unsigned_abs());
            let rules = BTreeMap::from([(libc::SYS_renameat2, Vec::new())]);
            let filter = SeccompFilter::new(rules, SeccompAction::Allow, failing, machine).unwrap();
            seccompiler::apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
            work();
        };
        std::thread::scope(|scope| scope.spawn(limited).join().unwrap());
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "makes files to be moved")]
    fn a_file_moves_without_replacing_where_renames_always_replace() {
        let place = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| place.path().join(name));
        for directory in [&one, &other] {
            std::fs::create_dir(directory).unwrap();
        }
        std::fs::write(one.join("moved"), "moved").unwrap();
        std::fs::write(one.join("late"), "late").unwrap();
        std::fs::write(other.join("taken"), "taken").unwrap();
        let [from, to] = [&one, &other].map(|path| File::open(path).unwrap());
        without_exclusive_rename(|| {
            move_file(&from, "moved", &to, "moved").unwrap();
            assert_eq!(move_file(&from, "late", &to, "taken"), Err(Errno::EXIST));
            assert_eq!(move_file(&from, "absent", &to, "absent"), Err(Errno::NOENT));
            // As a crash leaves it between the two steps.
            std::fs::hard_link(one.join("late"), other.join("late")).unwrap();
            move_file(&from, "late", &to, "late").unwrap();
        });
        assert_eq!(std::fs::read_dir(&one).unwrap().count(), 0);
        for name in ["moved", "late", "taken"] {
            assert_eq!(std::fs::read_to_string(other.join(name)).unwrap(), name);
        }
    }
}
