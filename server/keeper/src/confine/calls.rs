//! Which system calls each process keeps, and with which arguments. Taken from traces of both at work.
//!
//! Invariant: the frontend keeps no call that opens a file for writing, names, renames, links, truncates or removes one,
//! or changes what belongs to it; none that starts a program; none that looks into another process. The keeper keeps
//! no call to a network, and none that replaces a name.

use libc::{
    AF_INET, AF_INET6, AF_UNIX, AT_REMOVEDIR, CLONE_NEWUSER, CLONE_THREAD, F_DUPFD_CLOEXEC, F_GETFD, F_GETFL,
    F_GETLEASE, F_SETFD, F_SETFL, F_SETLEASE, FIOCLEX, FIONBIO, FIONREAD, IPPROTO_TCP, IPPROTO_UDP,
    MSG_FASTOPEN, O_ACCMODE, O_APPEND, O_CREAT, O_TMPFILE, O_TRUNC, PR_SET_NAME, PROT_EXEC, RENAME_NOREPLACE,
    SOCK_DGRAM, SOCK_STREAM, TCGETS,
};

use super::ConfineError;
use super::seccomp::{Bits, Calls};

/// The whole of an `int`. What stands above it in the register is nobody's.
const INT: u64 = 0xffff_ffff;
/// The kinds of sockets; beside them stand flags.
const SOCKET_TYPE: u64 = 0xf;

/// To compute, wait, hold memory and threads, and use what is open.
const BASIC: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fdatasync,
    libc::SYS_fgetxattr,
    libc::SYS_flistxattr,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_futex,
    libc::SYS_getcpu,
    libc::SYS_getdents64,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_getuid,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_newfstatat,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_recvmsg,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_shutdown,
    libc::SYS_sigaltstack,
    libc::SYS_statx,
    libc::SYS_uname,
    libc::SYS_write,
    libc::SYS_writev,
];

/// To serve connections that come in.
const SERVING: &[i64] = &[
    libc::SYS_accept4,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    libc::SYS_eventfd2,
    libc::SYS_fadvise64,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_ppoll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_recvfrom,
    libc::SYS_setsockopt,
    // The keeper, when it ends.
    libc::SYS_wait4,
    libc::SYS_waitid,
];

/// The keeper's verbs. Each acts on open files and directories.
const KEEPING: &[i64] = &[
    libc::SYS_fchmod,
    libc::SYS_flock,
    libc::SYS_fremovexattr,
    libc::SYS_fsetxattr,
    libc::SYS_ftruncate, // of its audit log, after a failed write
    libc::SYS_linkat,    // fails if the name is taken
    libc::SYS_mkdirat,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_sendmsg,
];

/// The frontend's calls, and with them those to reach a bucket if it has one.
pub(super) fn of_door(connects: bool) -> Result<Calls, ConfineError> {
    let mut calls = basic()?;
    calls.allow(SERVING);
    // To read. `O_TMPFILE` has a bit of its own besides that of a directory.
    let writing = O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND | (O_TMPFILE & !libc::O_DIRECTORY);
    calls.allow_if(libc::SYS_openat, &[none_of(2, writing)])?;
    // To read what is in memory without waiting; the descriptor says that it is for reading.
    calls.allow_if(libc::SYS_preadv2, &[is(5, libc::RWF_NOWAIT)])?;
    // The runtime makes one to hear of signals. Not of datagrams, which could be sent to any other socket.
    let stream = Bits { argument: 1, mask: SOCKET_TYPE, value: bits(SOCK_STREAM) };
    calls.allow_if(libc::SYS_socketpair, &[is(0, AF_UNIX), stream])?;
    // Data in the first packet would be a connection that Landlock does not see.
    calls.allow_if(libc::SYS_sendto, &[none_of(3, MSG_FASTOPEN)])?;
    calls.allow_if(libc::SYS_sendmsg, &[none_of(2, MSG_FASTOPEN)])?;
    if connects {
        // Not MPTCP, whose connections Landlock does not see. Datagrams ask for addresses.
        for domain in [AF_INET, AF_INET6] {
            for (kind, protocols) in [(SOCK_STREAM, [0, IPPROTO_TCP]), (SOCK_DGRAM, [0, IPPROTO_UDP])] {
                for protocol in protocols {
                    let kind = Bits { argument: 1, mask: SOCKET_TYPE, value: bits(kind) };
                    calls.allow_if(libc::SYS_socket, &[is(0, domain), kind, is(2, protocol)])?;
                }
            }
        }
        calls.allow(&[libc::SYS_connect]);
        calls.allow_if(libc::SYS_sendmmsg, &[none_of(3, MSG_FASTOPEN)])?;
    }
    Ok(calls)
}

/// The keeper's calls.
pub(super) fn of_keeper() -> Result<Calls, ConfineError> {
    let mut calls = basic()?;
    calls.allow(KEEPING);
    calls.allow_if(libc::SYS_renameat2, &[is(4, RENAME_NOREPLACE)])?;
    calls.allow_if(libc::SYS_unlinkat, &[none_of(2, AT_REMOVEDIR)])?;
    for command in [F_GETLEASE, F_SETLEASE] {
        calls.allow_if(libc::SYS_fcntl, &[is(1, command)])?;
    }
    Ok(calls)
}

fn basic() -> Result<Calls, ConfineError> {
    let mut calls = Calls::default();
    calls.allow(BASIC);
    for command in [F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC] {
        calls.allow_if(libc::SYS_fcntl, &[is(1, command)])?;
    }
    for command in [FIONBIO, FIOCLEX, FIONREAD, TCGETS] {
        calls.allow_if(libc::SYS_ioctl, &[Bits { argument: 1, mask: INT, value: command & INT }])?;
    }
    // No code is made or loaded.
    calls.allow_if(libc::SYS_mmap, &[none_of(2, PROT_EXEC)])?;
    calls.allow_if(libc::SYS_mprotect, &[none_of(2, PROT_EXEC)])?;
    // Threads, which have no namespaces of their own, and no other processes.
    let thread = Bits { argument: 0, mask: bits(CLONE_THREAD | CLONE_NEWUSER), value: bits(CLONE_THREAD) };
    calls.allow_if(libc::SYS_clone, &[thread])?;
    calls.allow_if(libc::SYS_prctl, &[is(0, PR_SET_NAME)])?;
    // How a process that panics while it panics ends itself.
    let own = rustix::process::getpid().as_raw_nonzero().get();
    calls.allow_if(libc::SYS_tgkill, &[is(0, own)])?;
    Ok(calls)
}

fn is(argument: u8, value: impl Into<i64>) -> Bits {
    Bits { argument, mask: INT, value: bits(value) }
}

fn none_of(argument: u8, flags: i32) -> Bits {
    Bits { argument, mask: bits(flags), value: 0 }
}

/// An `int` or an `unsigned int` as a register holds it.
fn bits(value: impl Into<i64>) -> u64 {
    value.into().cast_unsigned() & INT
}
