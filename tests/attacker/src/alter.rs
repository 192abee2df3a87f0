//! Attempts to change what belongs to a stored file without touching its bytes: mode, owner, attributes, times, flags,
//! leases and locks.
//!
//! Invariant: each changes something that can be seen, or hinders maintenance, if its call goes through.

use std::ffi::CStr;

use libc::{AT_EMPTY_PATH, O_RDONLY};

use crate::Attempt;
use crate::call::{CWD, Outcome, at, did, open, text};
use crate::ground::Ground;
use crate::ring::{self, Operation};

/// Numbers that are the same on every machine, and that not every library knows.
const FCHMODAT2: i64 = 452;
const SETXATTRAT: i64 = 463;
const REMOVEXATTRAT: i64 = 466;
const FILE_SETATTR: i64 = 469;

const SETFLAGS: i64 = 0x4008_6602;
const FSSETXATTR: i64 = 0x401c_5820;
const ENABLE_VERITY: i64 = 0x4080_6685;
/// `FS_NODUMP_FL`, and what it is called elsewhere.
const NODUMP: i64 = 0x40;
const XFLAG_NODUMP: u32 = 0x80;

const OWN: &CStr = c"user.attack";
const FACT: &CStr = c"user.pawl";
const MARK: &CStr = c"user.pawl.initialised";
const ACL: &CStr = c"system.posix_acl_access";
/// Version 2; then owner, the user 4711, group, mask and others, with their rights.
const ACL_OF_A_STRANGER: [u8; 44] = [
    2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 6, 0, 103, 18, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255,
    16, 0, 6, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
];
const LONG_AGO: [i64; 4] = [1, 0, 1, 0];

pub(crate) const ATTEMPTS: &[Attempt] = &[
    ("fchmodat of a pack", |g| did(libc::SYS_fchmodat, [CWD, text(&g.victim), 0])),
    ("fchmodat of the repository", |g| did(libc::SYS_fchmodat, [CWD, text(&g.repository), 0])),
    ("fchmodat of DATA", |g| did(libc::SYS_fchmodat, [CWD, text(&g.data), 0o777])),
    ("fchmod of a descriptor for reading", |g| did(libc::SYS_fchmod, [g.reading()?, 0o666])),
    ("fchmodat2 of a descriptor", |g| {
        did(FCHMODAT2, [g.reading()?, text(c""), 0o666, i64::from(AT_EMPTY_PATH)])
    }),
    ("fchownat", |g| did(libc::SYS_fchownat, [CWD, text(&g.victim), 1, 1, 0])),
    ("fchown", |g| did(libc::SYS_fchown, [g.reading()?, -1, 2])),
    ("setxattr", |g| set(libc::SYS_setxattr, text(&g.victim), OWN)),
    ("setxattr of a fact", |g| set(libc::SYS_setxattr, text(&g.victim), FACT)),
    ("setxattr of a repository", |g| set(libc::SYS_setxattr, text(&g.repository), OWN)),
    ("lsetxattr", |g| set(libc::SYS_lsetxattr, text(&g.victim), OWN)),
    ("fsetxattr", |g| set(libc::SYS_fsetxattr, g.reading()?, OWN)),
    ("setxattr after chmod", |g| {
        g.make_writable();
        set(libc::SYS_setxattr, text(&g.victim), FACT)
    }),
    ("setxattr of an access control list", |g| {
        let list = [text(&g.victim), text(ACL), at(&ACL_OF_A_STRANGER), 44, 0];
        did(libc::SYS_setxattr, list)
    }),
    ("setxattrat", |g| {
        let value = [at(b"x"), 1];
        did(SETXATTRAT, [CWD, text(&g.repository), 0, text(OWN), at(&value), 16])
    }),
    ("removexattr", |g| did(libc::SYS_removexattr, [text(&g.repository), text(MARK)])),
    ("lremovexattr", |g| did(libc::SYS_lremovexattr, [text(&g.repository), text(MARK)])),
    ("fremovexattr", |g| did(libc::SYS_fremovexattr, [open(&g.repository, O_RDONLY)?, text(MARK)])),
    ("removexattrat", |g| did(REMOVEXATTRAT, [CWD, text(&g.repository), 0, text(MARK)])),
    ("removexattr of a fact after chmod", |g| {
        g.make_writable();
        did(libc::SYS_removexattr, [text(&g.victim), text(FACT)])
    }),
    // io_uring takes the name of the attribute, its value, its length and, apart, the path.
    ("io_uring: fsetxattr", |g| {
        let directory = open(&g.repository, O_RDONLY)?;
        ring::submit(&Operation { offset: at(b"x"), length: 1, ..Operation::new(41, directory, text(OWN)) })
    }),
    ("utimensat", |g| did(libc::SYS_utimensat, [CWD, text(&g.victim), at(&LONG_AGO), 0])),
    ("utimensat of a descriptor", |g| did(libc::SYS_utimensat, [g.reading()?, 0, at(&LONG_AGO), 0])),
    ("utimensat of a directory", |g| did(libc::SYS_utimensat, [CWD, text(&g.repository), at(&LONG_AGO), 0])),
    ("FS_IOC_SETFLAGS", |g| did(libc::SYS_ioctl, [g.reading()?, SETFLAGS, at(&NODUMP)])),
    ("FS_IOC_FSSETXATTR", |g| {
        let attributes = [XFLAG_NODUMP, 0, 0, 0, 0, 0, 0];
        did(libc::SYS_ioctl, [g.reading()?, FSSETXATTR, at(&attributes)])
    }),
    ("file_setattr", |g| {
        let attributes = [u64::from(XFLAG_NODUMP), 0, 0];
        did(FILE_SETATTR, [CWD, text(&g.victim), at(&attributes), 24, 0])
    }),
    ("FS_IOC_ENABLE_VERITY", |g| {
        let options = [1_u32; 32];
        did(libc::SYS_ioctl, [g.reading()?, ENABLE_VERITY, at(&options)])
    }),
    ("F_SETLEASE", |g| control(g, libc::F_SETLEASE, i64::from(libc::F_RDLCK))),
    ("F_NOTIFY", |g| did(libc::SYS_fcntl, [open(&g.repository, O_RDONLY)?, i64::from(libc::F_NOTIFY), 1])),
    ("flock of a pack", |g| did(libc::SYS_flock, [g.reading()?, i64::from(libc::LOCK_EX)])),
    ("flock of a directory", |g| did(libc::SYS_flock, [open(&g.data, O_RDONLY)?, i64::from(libc::LOCK_EX)])),
    ("F_OFD_SETLK", |g| {
        let lock = [0_i64; 4];
        control(g, libc::F_OFD_SETLK, at(&lock))
    }),
    ("F_SET_RW_HINT", |g| {
        const F_SET_RW_HINT: i32 = 1036;
        control(g, F_SET_RW_HINT, at(&1_u64))
    }),
];

fn set(number: i64, whom: i64, name: &CStr) -> Outcome {
    did(number, [whom, text(name), at(b"1"), 1, 0])
}

fn control(ground: &Ground, command: i32, argument: i64) -> Outcome {
    did(libc::SYS_fcntl, [ground.reading()?, i64::from(command), argument])
}
