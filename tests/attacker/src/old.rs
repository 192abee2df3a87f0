//! Calls that only x86-64 still has, besides the ones that replaced them; a list of what is refused could forget them.
//!
//! Invariant: each has a twin among the other attempts.

use libc::{O_CREAT, O_RDWR, O_TRUNC, O_WRONLY};

use crate::Attempt;
use crate::call::{at, call, did, text, write};
use crate::destroy::{in_child_by, unlink};

/// What marks a call of the x32 ABI.
const X32: i64 = 0x4000_0000;

pub(crate) const DESTROYING: &[Attempt] = &[
    ("unlink", |g| did(libc::SYS_unlink, [text(&g.victim)])),
    ("unlink by x32", |g| did(X32 | libc::SYS_unlink, [text(&g.victim)])),
    ("unlink with a bit above the number", |g| did((1 << 32) | libc::SYS_unlink, [text(&g.victim)])),
    ("rename", |g| did(libc::SYS_rename, [text(&g.other), text(&g.victim)])),
    ("rmdir", |g| did(libc::SYS_rmdir, [text(&g.within("locks"))])),
    ("mkdir", |g| did(libc::SYS_mkdir, [text(&g.fresh), 0o700])),
    ("link", |g| did(libc::SYS_link, [text(&g.victim), text(&g.fresh)])),
    ("symlink", |g| did(libc::SYS_symlink, [text(&g.victim), text(&g.fresh)])),
    ("mknod", |g| did(libc::SYS_mknod, [text(&g.fresh), 0o100_600, 0])),
    ("creat", |g| {
        g.make_writable();
        did(libc::SYS_creat, [text(&g.victim), 0o600])
    }),
    ("open", |g| {
        g.make_writable();
        write(call(libc::SYS_open, [text(&g.victim), i64::from(O_RDWR), 0])?)
    }),
    ("open and truncate by the old call", |g| {
        g.make_writable();
        did(libc::SYS_open, [text(&g.victim), i64::from(O_WRONLY | O_TRUNC), 0])
    }),
    ("open with high bits in the flags", |g| {
        g.make_writable();
        let flags = i64::from(O_RDWR) | (1 << 40);
        write(call(libc::SYS_openat, [crate::call::CWD, text(&g.victim), flags, 0])?)
    }),
    ("open a new file by the old call", |g| {
        did(libc::SYS_open, [text(&g.fresh), i64::from(O_WRONLY | O_CREAT), 0o600])
    }),
    ("unlinkat in a process of fork", |g| in_child_by(libc::SYS_fork, [], || unlink(&g.victim))),
];

pub(crate) const ALTERING: &[Attempt] = &[
    ("chmod", |g| did(libc::SYS_chmod, [text(&g.victim), 0])),
    ("chown", |g| did(libc::SYS_chown, [text(&g.victim), 1, 1])),
    ("lchown", |g| did(libc::SYS_lchown, [text(&g.victim), 1, 1])),
    ("utime", |g| did(libc::SYS_utime, [text(&g.victim), at(&[1_i64, 1])])),
    ("utimes", |g| did(libc::SYS_utimes, [text(&g.victim), at(&[1_i64, 0, 1, 0])])),
    ("futimesat", |g| did(libc::SYS_futimesat, [crate::call::CWD, text(&g.victim), at(&[1_i64, 0, 1, 0])])),
];

pub(crate) const ESCAPING: &[Attempt] = &[
    ("modify_ldt", |_| did(libc::SYS_modify_ldt, [1, 0, 0])),
    ("iopl", |_| did(libc::SYS_iopl, [3])),
    ("fork by the old call", |_| in_child_by(libc::SYS_fork, [], || Ok(()))),
];

/// Not among the others: the process does not survive it.
pub(crate) const LAST: &[Attempt] = &[("32-bit unlink", |g| {
    const UNLINK: u32 = 10;
    let (protection, anonymous) = (libc::PROT_READ | libc::PROT_WRITE, 0x22 | libc::MAP_32BIT);
    let low = call(libc::SYS_mmap, [0, 4096, protection.into(), anonymous.into(), -1, 0])?;
    let name = std::ptr::with_exposed_provenance_mut::<u8>(usize::try_from(low).unwrap_or_default());
    let path = g.victim.to_bytes_with_nul();
    let result: i32;
    // SAFETY: a page was mapped for the path, which is shorter; the call reads it and touches no other memory.
    // The compiler keeps `rbx` for itself, so that it is put back.
    unsafe {
        name.copy_from_nonoverlapping(path.as_ptr(), path.len().min(4096));
        std::arch::asm!(
            "xchg {path}, rbx", "int 0x80", "xchg {path}, rbx",
            path = inout(reg) low => _,
            inout("eax") UNLINK => result,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    if result < 0 { Err(crate::call::error(-result)) } else { Ok(()) }
})];
