//! A disk that can be full, and one that can do little.
//!
//! Invariant: the one is a small tmpfs, the other a mergerfs, which only root may mount; others are told loudly that nothing
//! was tested.

#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test that cannot go on should stop")]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::not_tested;
use crate::program::program;
use crate::store::remove;

/// A small file system of its own at a place that the test chose. It is unmounted when this is dropped.
#[derive(Debug)]
pub struct Mount(PathBuf);

impl Mount {
    /// Mounts it on this directory, or says loudly that nothing is tested.
    #[must_use]
    pub fn on(place: &Path) -> Option<Self> {
        mount("size=1m", place).then(|| Self(place.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        unmount(&self.0);
    }
}

/// Whether it was mounted. Only root may.
fn mount(options: &str, place: &Path) -> bool {
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(place).output();
    let is_mounted = matches!(&mount, Ok(output) if output.status.success());
    assert!(
        is_mounted || !rustix::process::geteuid().is_root(),
        "root may not mount a tmpfs here, so this cannot be tested: {mount:?}"
    );
    if !is_mounted {
        not_tested("only root can mount a small disk");
    }
    is_mounted
}

/// Lazily: the server's last files may still be open.
fn unmount(place: &Path) {
    let unmounted = Command::new("umount").arg("--lazy").arg(place).status();
    assert!(
        unmounted.is_ok_and(|status| status.success()) || std::thread::panicking(),
        "the disk is unmounted"
    );
}

/// Two directories as one, by mergerfs: a file system without unnamed files, whose renames always replace. It is unmounted
/// when this is dropped.
#[derive(Debug)]
pub struct Union {
    place: TempDir,
}

impl Union {
    /// Such a file system, or `None` if this machine has no FUSE.
    #[must_use]
    pub fn new() -> Option<Self> {
        if !Path::new("/dev/fuse").exists() {
            not_tested("this machine has no FUSE");
            return None;
        }
        let place = tempfile::tempdir().unwrap();
        let [one, other, both] = ["one", "other", "both"].map(|name| place.path().join(name));
        for directory in [&one, &other, &both] {
            fs::create_dir(directory).unwrap();
        }
        let branches = format!("{}:{}", one.display(), other.display());
        let mounted = Command::new(program("mergerfs")).arg(branches).arg(&both).output().unwrap();
        assert!(mounted.status.success(), "mergerfs is not mounted: {mounted:?}");
        Some(Self { place })
    }

    /// Where a server's data goes.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.place.path().join("both/data")
    }
}

impl Drop for Union {
    fn drop(&mut self) {
        unmount(&self.place.path().join("both"));
    }
}

/// A disk of its own. It is unmounted when this is dropped.
#[derive(Debug)]
pub struct Disk {
    place: TempDir,
}

impl Disk {
    /// A disk of this size, or `None` if it may not be mounted.
    #[must_use]
    pub fn new(options: &str) -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        if !mount(options, place.path()) {
            return None;
        }
        fs::create_dir(place.path().join("names")).unwrap();
        Some(Self { place })
    }

    /// Where a server's data goes.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.place.path().join("data")
    }

    /// Takes all space that is left.
    pub fn fill(&self) {
        let mut ballast = OpenOptions::new().append(true).create(true).open(self.ballast()).unwrap();
        for bytes in [1 << 20, 4096, 1] {
            while ballast.write_all(&vec![0; bytes]).is_ok() {}
        }
    }

    /// Takes all but this many bytes.
    pub fn fill_but(&self, bytes: u64) {
        self.fill();
        let ballast = OpenOptions::new().write(true).open(self.ballast()).unwrap();
        ballast.set_len(ballast.metadata().unwrap().len().checked_sub(bytes).unwrap()).unwrap();
    }

    /// Takes every inode that is left.
    pub fn fill_with_names(&self) {
        let taken = |number: u64| {
            let name = self.place.path().join(format!("names/{number}"));
            OpenOptions::new().write(true).create_new(true).open(name).is_ok()
        };
        let count = (0..1_000_000).take_while(|&number| taken(number)).count();
        assert!(count > 0, "there were inodes to take");
    }

    /// Takes all but this many inodes.
    pub fn fill_with_names_but(&self, inodes: usize) {
        self.fill_with_names();
        for name in fs::read_dir(self.place.path().join("names")).unwrap().take(inodes) {
            remove(&name.unwrap().path());
        }
    }

    /// Gives all that back.
    pub fn free(&self) {
        if self.ballast().exists() {
            remove(&self.ballast());
        }
        for name in fs::read_dir(self.place.path().join("names")).unwrap() {
            remove(&name.unwrap().path());
        }
    }

    fn ballast(&self) -> PathBuf {
        self.place.path().join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        unmount(self.place.path());
    }
}
