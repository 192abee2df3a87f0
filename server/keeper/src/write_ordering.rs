//! Whether a file system brings changes to disk in their order.
//!
//! Invariant: what cannot be known counts as no, which costs a sync and loses nothing.

use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{Dev, FsWord, major, minor};

/// That of ext2, ext3 and ext4 alike.
const EXT4: FsWord = 0xEF53;
const XFS: FsWord = 0x5846_5342;

/// Whether whoever syncs a file has synced all that was changed before, as where there is one journal. Others write what
/// is synced ahead of the rest.
pub(super) fn is_kept(directory: BorrowedFd<'_>) -> bool {
    match rustix::fs::fstatfs(directory).map(|stat| stat.f_type) {
        Ok(XFS) => true,
        Ok(EXT4) => {
            rustix::fs::fstat(directory).is_ok_and(|stat| has_journal(Path::new("/sys"), stat.st_dev))
        }
        Ok(_) | Err(_) => false,
    }
}

/// Whether the ext4 on this device has a journal: then the kernel tells the number of the thread that writes it, which from
/// within a container is 0. It tells everybody, since Linux 5.1.
fn has_journal(sys: &Path, device: Dev) -> bool {
    let block = sys.join(format!("dev/block/{}:{}", major(device), minor(device)));
    let Ok(block) = std::fs::read_link(block) else { return false };
    let Some(name) = block.file_name() else { return false };
    let thread = std::fs::read_to_string(sys.join("fs/ext4").join(name).join("journal_task"));
    thread.is_ok_and(|thread| thread.trim().parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use std::fs::{File, create_dir_all};
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use rustix::fs::makedev;

    use super::*;

    /// What the kernel tells of a device that it calls `vda`, with a file system mounted by ext4.
    fn told(journal_task: &str) -> tempfile::TempDir {
        let sys = tempfile::tempdir().unwrap();
        create_dir_all(sys.path().join("dev/block")).unwrap();
        symlink("../../devices/pci/block/vda", sys.path().join("dev/block/254:0")).unwrap();
        create_dir_all(sys.path().join("fs/ext4/vda")).unwrap();
        let mut file = File::create_new(sys.path().join("fs/ext4/vda/journal_task")).unwrap();
        file.write_all(journal_task.as_bytes()).unwrap();
        sys
    }

    #[test]
    fn a_journal_is_believed_in_only_if_the_kernel_tells_of_it() {
        let has_journal = |sys: &tempfile::TempDir| has_journal(sys.path(), makedev(254, 0));
        assert!(has_journal(&told("231\n")));
        assert!(has_journal(&told("0\n")));
        assert!(!has_journal(&told("<none>\n")));
        assert!(!super::has_journal(told("231\n").path(), makedev(254, 1)), "another device");
        assert!(!has_journal(&tempfile::tempdir().unwrap()), "no /sys");
    }

    #[test]
    fn what_is_neither_ext4_nor_xfs_keeps_no_order() {
        assert!(!is_kept(File::open("/proc").unwrap().as_fd()));
    }

    fn succeed(program: &str, arguments: &[&str]) {
        let status = Command::new(program).args(arguments).stdout(std::process::Stdio::null()).status();
        assert!(status.unwrap().success(), "{program} {arguments:?}");
    }

    #[test]
    #[ignore = "needs root and loop devices"]
    fn file_systems_with_a_journal_keep_order_and_others_do_not() {
        for (program, options, expected) in [
            ("mkfs.ext4", &[][..], true),
            ("mkfs.ext3", &[], true),
            ("mkfs.ext4", &["-O", "^has_journal"], false),
            ("mkfs.ext2", &[], false),
            ("mkfs.xfs", &[], true),
            ("mkfs.btrfs", &[], false),
        ] {
            let place = tempfile::tempdir().unwrap();
            let (disk, mounted) = (place.path().join("disk"), place.path().join("mounted"));
            std::fs::create_dir(&mounted).unwrap();
            File::create_new(&disk).unwrap().set_len(400 << 20).unwrap(); // XFS needs as much
            let [disk, mounted] = [disk, mounted].map(|path| path.to_str().unwrap().to_owned());
            succeed(program, &[options, &[&disk]].concat());
            succeed("mount", &["-o", "loop", &disk, &mounted]);
            let found = is_kept(File::open(&mounted).unwrap().as_fd());
            succeed("umount", &[&mounted]);
            assert_eq!(found, expected, "{program} {options:?}");
        }
    }
}
