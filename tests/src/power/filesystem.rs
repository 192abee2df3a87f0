//! File systems on disks of the test's own.
//!
//! Invariant: what was mounted is unmounted, and its loop device free, when the value is dropped.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on should stop"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{Mode, OFlags, open};
use tempfile::TempDir;

use crate::wait;

/// A file system that people keep backups on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// With a journal of metadata, data before it.
    Ext4,
    /// With a log of metadata.
    Xfs,
    /// Copies on write.
    Btrfs,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    /// Bytes that this disk writes as a whole or not at all. ext4 and XFS have checksums for what is larger. Btrfs
    /// replaces its superblock in place, of 4 KiB, and needs a disk that does not tear it.
    #[must_use]
    pub const fn sector(self) -> usize {
        match self {
            Self::Ext4 | Self::Xfs => 512,
            Self::Btrfs => 4096,
        }
    }

    /// What to run on a file system that was mounted after a cut, to find out whether it is sound.
    fn check(self) -> Command {
        let (program, options): (_, &[_]) = match self {
            Self::Ext4 => ("fsck.ext4", &["-f", "-n"]),
            Self::Xfs => ("xfs_repair", &["-n"]),
            Self::Btrfs => ("btrfs", &["check", "--readonly"]),
        };
        let mut command = Command::new(program);
        command.args(options);
        command
    }
}

/// A loop device on a file.
#[derive(Debug)]
struct Loop(PathBuf);

impl Loop {
    fn attach(disk: &Path, kind: Kind) -> Self {
        let mut command = Command::new("losetup");
        command.args(["--find", "--show", "--sector-size", &kind.sector().to_string()]).arg(disk);
        Self(PathBuf::from(run(&mut command).trim()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.0).status(); // it stays, and is seen
    }
}

/// A file system that is mounted.
#[derive(Debug)]
pub struct Mounted {
    kind: Kind,
    device: Loop,
    place: TempDir,
}

impl Mounted {
    /// Makes a file system on the disk, and mounts it.
    #[must_use]
    pub fn make(disk: &Path, kind: Kind) -> Self {
        let device = Loop::attach(disk, kind);
        run(Command::new(format!("mkfs.{}", kind.name())).arg(&device.0));
        Self::mount(device, kind).expect("a file system that was just made can be mounted")
    }

    /// Mounts what a cut has left, or says why that is impossible.
    pub fn recover(disk: &Path, kind: Kind) -> Result<Self, String> {
        Self::mount(Loop::attach(disk, kind), kind)
    }

    fn mount(device: Loop, kind: Kind) -> Result<Self, String> {
        let place = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new("mount");
        command.args(["-t", kind.name()]).arg(&device.0).arg(place.path());
        try_to_run(&mut command)?;
        Ok(Self { kind, device, place })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// Unmounts it, and has the file system's own program look whether it is sound.
    pub fn check(self) -> Result<(), String> {
        // A process that is just ending, or one with mounts of its own, may hold it a little longer.
        wait::until("it can be unmounted", || try_to_run(Command::new("umount").arg(self.place.path())).ok());
        wait::until("nobody uses the disk any more", || {
            open(&self.device.0, OFlags::RDONLY | OFlags::EXCL | OFlags::CLOEXEC, Mode::empty()).ok()
        });
        try_to_run(self.kind.check().arg(&self.device.0)).map(|_| ())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: a test that failed may not have ended the server. After a check it is unmounted already.
        let _ = Command::new("umount").args(["--lazy", "--quiet"]).arg(self.place.path()).status();
    }
}

fn run(command: &mut Command) -> String {
    try_to_run(command).unwrap_or_else(|error| panic!("{error}"))
}

fn try_to_run(command: &mut Command) -> Result<String, String> {
    let told = format!("{command:?}");
    let output = command.output().map_err(|error| format!("{told}: {error}: run scripts/setup --full"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    Err(format!("{told} ended with {}:\n{said}{}", output.status, String::from_utf8_lossy(&output.stderr)))
}
