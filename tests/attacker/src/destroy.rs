//! Attempts to destroy, change, hide or add what is stored.
//!
//! Invariant: each would do so if its calls went through as they do for an ordinary process of the files' owner, or of
//! root; a few are refused to everybody, and are here because a kernel could forget to.

use std::ffi::CString;

use libc::{
    AT_EMPTY_PATH, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, O_APPEND, O_CREAT, O_EXCL, O_PATH, O_RDONLY, O_RDWR,
    O_TMPFILE, O_TRUNC, O_WRONLY, RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT,
};

use crate::Attempt;
use crate::call::{CWD, Outcome, at, call, did, error, open, text, write};
use crate::ground::{Ground, STATE};
use crate::ring::{self, Operation};

pub(crate) const ATTEMPTS: &[Attempt] = &[
    ("unlinkat a pack", |g| unlink(&g.victim)),
    ("unlinkat the config", |g| unlink(&g.config)),
    ("unlinkat a snapshot", |g| unlink(&first(g, "snapshots")?)),
    ("unlinkat a key", |g| unlink(&first(g, "keys")?)),
    ("unlinkat the audit log", |g| unlink(&g.audit)),
    ("unlinkat Pawl's own file", |g| unlink(&g.canary)),
    ("unlinkat beneath an open directory", |g| {
        let directory = open(&g.repository, O_RDONLY)?;
        did(libc::SYS_unlinkat, [directory, text(c"config"), 0])
    }),
    ("unlinkat in a new thread", |g| {
        let victim = g.victim.clone();
        std::thread::spawn(move || unlink(&victim)).join().unwrap_or_else(|_| Err(error(libc::EPERM)))
    }),
    ("unlinkat after chdir", |g| {
        did(libc::SYS_chdir, [text(&g.repository)])?;
        unlink(c"config")
    }),
    ("unlinkat after chroot", |g| {
        did(libc::SYS_chroot, [text(&g.repository)])?;
        unlink(c"/config")
    }),
    ("unlinkat through /proc/self/root", |g| {
        let through = [b"/proc/self/root".as_slice(), g.victim.to_bytes()].concat();
        unlink(&CString::new(through)?)
    }),
    ("unlinkat in a forked process", |g| in_child(|| unlink(&g.victim))),
    ("execve of rm", |g| in_child(|| remove_with_a_program(&g.victim))),
    ("rmdir of an empty directory", |g| {
        did(libc::SYS_unlinkat, [CWD, text(&g.within("locks")), i64::from(AT_REMOVEDIR)])
    }),
    ("renameat away", |g| did(libc::SYS_renameat, [CWD, text(&g.victim), CWD, text(&g.fresh)])),
    ("renameat over", |g| did(libc::SYS_renameat, [CWD, text(&g.other), CWD, text(&g.victim)])),
    ("renameat2 without replacing", |g| rename(&g.victim, &g.fresh, RENAME_NOREPLACE)),
    ("renameat2 exchange", |g| rename(&g.victim, &g.other, RENAME_EXCHANGE)),
    ("renameat2 whiteout", |g| rename(&g.victim, &g.fresh, RENAME_WHITEOUT)),
    ("renameat2 of a pack out of DATA", |g| rename(&g.victim, &g.outside, 0)),
    ("renameat2 of the repository", |g| rename(&g.repository, &sibling(g, "web2"), 0)),
    ("renameat2 of the repository out of DATA", |g| rename(&g.repository, &g.outside, 0)),
    ("renameat2 exchange of directories", |g| {
        rename(&g.within("data"), &g.within("snapshots"), RENAME_EXCHANGE)
    }),
    ("renameat2 of the repository into Pawl's own", |g| {
        rename(&g.repository, &sibling(g, &format!("{}/web1", STATE.to_str().unwrap_or_default())), 0)
    }),
    ("open for writing", |g| writing(g, O_WRONLY)),
    ("open for reading and writing", |g| writing(g, O_RDWR)),
    ("open for appending", |g| writing(g, O_WRONLY | O_APPEND)),
    ("open and truncate", |g| writing(g, O_WRONLY | O_TRUNC)),
    ("open for reading and truncate", |g| {
        g.make_writable();
        open(&g.victim, O_RDONLY | O_TRUNC).map(drop)
    }),
    ("open in the third mode, and write", |g| writing(g, 3)),
    ("openat2 for writing", |g| {
        g.make_writable();
        let how = [u64::from(O_RDWR.cast_unsigned()), 0, 0];
        write(call(libc::SYS_openat2, [CWD, text(&g.victim), at(&how), 24])?)
    }),
    ("open the config for writing", |g| {
        did(libc::SYS_fchmodat, [CWD, text(&g.config), 0o600])?;
        write(open(&g.config, O_WRONLY)?)
    }),
    ("open the audit log for writing", |g| write(open(&g.audit, O_WRONLY)?)),
    ("reopen a descriptor for writing", |g| {
        g.make_writable();
        write(open(&Ground::by_descriptor(g.reading()?), O_RDWR)?)
    }),
    ("reopen a path descriptor for writing", |g| {
        g.make_writable();
        write(open(&Ground::by_descriptor(open(&g.victim, O_PATH)?), O_WRONLY)?)
    }),
    ("open through /proc/self/root for writing", |g| {
        g.make_writable();
        let through = [b"/proc/self/root".as_slice(), g.victim.to_bytes()].concat();
        write(open(&CString::new(through)?, O_WRONLY)?)
    }),
    ("open by a handle for writing", open_by_handle),
    ("truncate", |g| {
        g.make_writable();
        did(libc::SYS_truncate, [text(&g.victim), 0])
    }),
    ("truncate through a descriptor's name", |g| {
        g.make_writable();
        did(libc::SYS_truncate, [text(&Ground::by_descriptor(g.reading()?)), 0])
    }),
    ("ftruncate a descriptor for reading", |g| did(libc::SYS_ftruncate, [g.reading()?, 0])),
    ("write to a descriptor for reading", |g| write(g.reading()?)),
    ("pwrite64 to a descriptor for reading", |g| did(libc::SYS_pwrite64, [g.reading()?, at(b"x"), 1, 0])),
    ("pwritev2 to a descriptor for reading", |g| {
        let part = [at(b"x"), 1];
        did(libc::SYS_pwritev2, [g.reading()?, at(&part), 1, 0, 0, 0])
    }),
    ("fallocate a hole", |g| {
        let hole = i64::from(libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE);
        did(libc::SYS_fallocate, [g.reading()?, hole, 0, 4096])
    }),
    ("fallocate a hole after opening for writing", |g| {
        g.make_writable();
        let hole = i64::from(libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE);
        did(libc::SYS_fallocate, [open(&g.victim, O_RDWR)?, hole, 0, 4096])
    }),
    ("copy_file_range into a descriptor for reading", |g| {
        did(libc::SYS_copy_file_range, [open(&g.other, O_RDONLY)?, 0, g.reading()?, 0, 100, 0])
    }),
    ("copy_file_range into a file for writing", |g| {
        g.make_writable();
        let from = open(&g.other, O_RDONLY)?;
        did(libc::SYS_copy_file_range, [from, 0, open(&g.victim, O_WRONLY)?, 0, 100, 0])
    }),
    ("sendfile into a file for writing", |g| {
        g.make_writable();
        let from = open(&g.other, O_RDONLY)?;
        did(libc::SYS_sendfile, [open(&g.victim, O_WRONLY)?, from, 0, 100])
    }),
    ("sendfile into a descriptor for reading", |g| {
        did(libc::SYS_sendfile, [g.reading()?, open(&g.other, O_RDONLY)?, 0, 100])
    }),
    ("clone a file's extents", |g| {
        const FICLONE: i64 = 0x4004_9409;
        did(libc::SYS_ioctl, [g.reading()?, FICLONE, open(&g.other, O_RDONLY)?])
    }),
    ("splice from a pipe", |g| {
        let mut ends = [0_i32; 2];
        did(libc::SYS_pipe2, [crate::call::at_mut(&mut ends), 0])?;
        write(i64::from(ends[1]))?;
        did(libc::SYS_splice, [i64::from(ends[0]), 0, g.reading()?, 0, 9, 0])
    }),
    ("map shared for writing", |g| map(g.reading()?, libc::PROT_READ | libc::PROT_WRITE)),
    ("map shared and ask for writing later", |g| {
        let map = map_at(g.reading()?, libc::PROT_READ)?;
        did(libc::SYS_mprotect, [map, 4096, i64::from(libc::PROT_READ | libc::PROT_WRITE)])
    }),
    ("map a file that was opened for writing", |g| {
        g.make_writable();
        let map = map_at(open(&g.victim, O_RDWR)?, libc::PROT_READ | libc::PROT_WRITE)?;
        let address = usize::try_from(map).unwrap_or_default();
        // SAFETY: the kernel has just mapped a page there, for reading and writing, and nothing else points to it.
        unsafe { std::ptr::with_exposed_provenance_mut::<u8>(address).write_volatile(b'!') };
        Ok(())
    }),
    ("make a file", |g| open(&g.fresh, O_WRONLY | O_CREAT | O_EXCL).map(drop)),
    ("make a file that nobody asked for", |g| open(&sibling(g, "web2"), O_WRONLY | O_CREAT).map(drop)),
    ("make the configuration of the nights", |g| {
        open(&sibling(g, ".pawl/pawl.toml"), O_WRONLY | O_CREAT).map(drop)
    }),
    ("make a directory", |g| did(libc::SYS_mkdirat, [CWD, text(&g.fresh), 0o700])),
    ("make a pipe's name", |g| did(libc::SYS_mknodat, [CWD, text(&g.fresh), 0o010_600, 0])),
    ("make a file by mknodat", |g| did(libc::SYS_mknodat, [CWD, text(&g.fresh), 0o100_600, 0])),
    ("symbolic link among the files", |g| did(libc::SYS_symlinkat, [text(&g.other), CWD, text(&g.fresh)])),
    ("link a pack", |g| did(libc::SYS_linkat, [CWD, text(&g.victim), CWD, text(&g.fresh), 0])),
    ("link a pack out of DATA", |g| did(libc::SYS_linkat, [CWD, text(&g.victim), CWD, text(&g.outside), 0])),
    ("link a descriptor", |g| {
        let flags = i64::from(AT_EMPTY_PATH);
        did(libc::SYS_linkat, [g.reading()?, text(c""), CWD, text(&g.fresh), flags])
    }),
    ("link a descriptor by its name", |g| {
        let name = Ground::by_descriptor(g.reading()?);
        did(libc::SYS_linkat, [CWD, text(&name), CWD, text(&g.fresh), i64::from(AT_SYMLINK_FOLLOW)])
    }),
    ("unnamed file and a name for it", |g| {
        let file = open(&g.repository, O_TMPFILE | O_WRONLY)?;
        let name = Ground::by_descriptor(file);
        did(libc::SYS_linkat, [CWD, text(&name), CWD, text(&g.fresh), i64::from(AT_SYMLINK_FOLLOW)])
    }),
    ("socket's name among the files", |g| {
        let socket = call(libc::SYS_socket, [i64::from(libc::AF_UNIX), i64::from(libc::SOCK_STREAM), 0])?;
        let (address, size) = crate::escape::unix(g.within("s").to_bytes());
        did(libc::SYS_bind, [socket, at(&address), size])
    }),
    ("io_uring: unlinkat", |g| ring::submit(&Operation::new(36, CWD, text(&g.victim)))),
    ("io_uring: renameat", |g| {
        ring::submit(&Operation {
            length: CWD,
            offset: text(&g.fresh),
            ..Operation::new(35, CWD, text(&g.victim))
        })
    }),
    ("io_uring: linkat", |g| {
        ring::submit(&Operation {
            length: CWD,
            offset: text(&g.fresh),
            ..Operation::new(39, CWD, text(&g.victim))
        })
    }),
    ("io_uring: mkdirat", |g| ring::submit(&Operation::new(37, CWD, text(&g.fresh)))),
    ("io_uring: symlinkat", |g| {
        ring::submit(&Operation { offset: text(&g.fresh), ..Operation::new(38, CWD, text(&g.other)) })
    }),
    ("io_uring: open and truncate", |g| {
        g.make_writable();
        let flags = i64::from(O_WRONLY | O_TRUNC);
        ring::submit(&Operation { flags, ..Operation::new(18, CWD, text(&g.victim)) })
    }),
    ("io_uring: make a file", |g| {
        let flags = i64::from(O_WRONLY | O_CREAT);
        ring::submit(&Operation { flags, length: 0o600, ..Operation::new(18, CWD, text(&g.fresh)) })
    }),
];

pub(crate) fn unlink(path: &std::ffi::CStr) -> Outcome {
    did(libc::SYS_unlinkat, [CWD, text(path), 0])
}

fn rename(from: &CString, to: &CString, flags: libc::c_uint) -> Outcome {
    did(libc::SYS_renameat2, [CWD, text(from), CWD, text(to), i64::from(flags)])
}

fn writing(ground: &Ground, flags: i32) -> Outcome {
    ground.make_writable();
    write(open(&ground.victim, flags)?)
}

/// A name beside the repository.
fn sibling(ground: &Ground, name: &str) -> CString {
    CString::new(format!("{}/{name}", ground.data.to_str().unwrap_or_default())).unwrap_or_default()
}

/// The first file in one of the repository's directories.
fn first(ground: &Ground, directory: &str) -> std::io::Result<CString> {
    let directory = ground.within(directory);
    let entry = std::fs::read_dir(directory.to_str().unwrap_or_default())?.next();
    Ok(crate::call::path(&entry.ok_or_else(|| error(libc::ENOENT))??.path()))
}

fn map(descriptor: i64, protection: i32) -> Outcome {
    map_at(descriptor, protection).map(drop)
}

fn map_at(descriptor: i64, protection: i32) -> std::io::Result<i64> {
    let shared = i64::from(libc::MAP_SHARED);
    call(libc::SYS_mmap, [0, 4096, i64::from(protection), shared, descriptor, 0])
}

fn open_by_handle(ground: &Ground) -> Outcome {
    ground.make_writable();
    // The size of the handle, its kind, and room for it.
    let mut handle = [0_u32; 34];
    handle[0] = 128;
    let (mut mount, nothing) = (0_i32, 0);
    let name = [
        CWD,
        text(&ground.victim),
        crate::call::at_mut(&mut handle),
        crate::call::at_mut(&mut mount),
        nothing,
    ];
    did(libc::SYS_name_to_handle_at, name)?;
    let directory = open(&ground.data, O_RDONLY)?;
    write(call(libc::SYS_open_by_handle_at, [directory, at(&handle), i64::from(O_RDWR)])?)
}

/// Does it in a process of its own, as a program that replaces this one must be.
pub(crate) fn in_child(work: impl FnOnce() -> Outcome) -> Outcome {
    in_child_by(libc::SYS_clone, [i64::from(libc::SIGCHLD), 0, 0, 0, 0], work)
}

/// The same with another call that makes a process.
pub(crate) fn in_child_by<const N: usize>(
    number: i64,
    arguments: [i64; N],
    work: impl FnOnce() -> Outcome,
) -> Outcome {
    match call(number, arguments)? {
        0 => {
            let code = work().err().and_then(|error| error.raw_os_error()).unwrap_or(0);
            // SAFETY: it ends the process at once, and touches no memory.
            unsafe { libc::_exit(code) }
        }
        child => {
            let mut status = 0_i32;
            did(libc::SYS_wait4, [child, crate::call::at_mut(&mut status), 0, 0])?;
            match libc::WEXITSTATUS(status) {
                0 => Ok(()),
                code => Err(error(code)),
            }
        }
    }
}

fn remove_with_a_program(victim: &CString) -> Outcome {
    let arguments = [text(c"rm"), text(c"-f"), text(victim), 0];
    did(libc::SYS_execve, [text(c"/bin/rm"), at(&arguments), at(&[0_i64])])
}
