//! A file system of one file, the disk, that records what is written to it.
//!
//! Invariant: one request is worked on at a time, each recorded before it is answered; nothing is cached above it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on should stop"
)]

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite,
    Request, WriteFlags,
};
use tempfile::TempDir;

use super::tape::{Entry, Tape};

const NAME: &str = "disk";
const DISK: INodeNo = INodeNo(2);
/// What the kernel knows of the file never changes.
const FOR_EVER: Duration = Duration::from_hours(1);

/// A disk that records. It is gone when this is dropped.
#[derive(Debug)]
pub struct Recorder {
    session: Option<BackgroundSession>,
    place: TempDir,
    tape: Tape,
}

impl Recorder {
    /// An empty disk of this size. Needs root and `/dev/fuse`.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let place = tempfile::tempdir().unwrap();
        let tape = Tape::new();
        let disk = Disk { content: Mutex::new(vec![0; bytes]), tape: tape.clone() };
        let session = fuser::spawn_mount(disk, place.path(), &Config::default())
            .expect("root may mount a file system of its own: is there a /dev/fuse?");
        Self { session: Some(session), place, tape }
    }

    /// The file that is the disk.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.place.path().join(NAME)
    }

    /// What is recorded.
    #[must_use]
    pub const fn tape(&self) -> &Tape {
        &self.tape
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let ended = self.session.take().map(BackgroundSession::umount_and_join);
        assert!(
            matches!(ended, Some(Ok(()))) || std::thread::panicking(),
            "the disk is unmounted: {ended:?}"
        );
    }
}

#[derive(Debug)]
struct Disk {
    content: Mutex<Vec<u8>>,
    tape: Tape,
}

impl Disk {
    fn content(&self) -> MutexGuard<'_, Vec<u8>> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attributes(&self, inode: INodeNo) -> Option<FileAttr> {
        let (kind, perm, size) = match inode {
            INodeNo::ROOT => (FileType::Directory, 0o700, 0),
            DISK => (FileType::RegularFile, 0o600, self.content().len() as u64),
            _ => return None,
        };
        Some(FileAttr {
            ino: inode,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }
}

impl Filesystem for Disk {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.attributes(DISK) {
            Some(attributes) if name == NAME => reply.entry(&FOR_EVER, &attributes, Generation(0)),
            Some(_) | None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(inode) {
            Some(attributes) => reply.attr(&FOR_EVER, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let content = self.content();
        let begin = usize::try_from(offset).unwrap().min(content.len());
        let end = begin.saturating_add(usize::try_from(size).unwrap()).min(content.len());
        reply.data(content.get(begin..end).unwrap_or_default());
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let offset = usize::try_from(offset).unwrap();
        let end = offset.saturating_add(bytes.len());
        match self.content().get_mut(offset..end) {
            Some(place) => place.copy_from_slice(bytes),
            None => return reply.error(Errno::ENOSPC),
        }
        self.tape.record(Entry::Write { offset, bytes: bytes.into() });
        reply.written(u32::try_from(bytes.len()).unwrap());
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.tape.record(Entry::Flush);
        reply.ok();
    }
}
