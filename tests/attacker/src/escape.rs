//! Attempts to get out: at other processes, at the network, at other programs, at the powers of root, at the kernel's
//! less travelled parts.
//!
//! Invariant: each is harmless to the machine even where it is allowed; where it could not be, it is asked for so
//! wrongly that an allowed call says so, which counts as having got through.

use std::ffi::CString;

use libc::{
    AF_INET, AF_NETLINK, AF_PACKET, AF_UNIX, AF_VSOCK, O_RDONLY, O_RDWR, SOCK_DGRAM, SOCK_RAW, SOCK_STREAM,
};

use crate::Attempt;
use crate::call::{CWD, Outcome, at, at_mut, call, did, error, open, text, write};
use crate::destroy::in_child;
use crate::ground::Ground;

const IPPROTO_MPTCP: i64 = 262;
const UNKNOWN: [i64; 4] = [490, 600, 1023, 0x3fff_ffff];

pub(crate) const ATTEMPTS: &[Attempt] = &[
    // Other processes.
    ("fork", |_| in_child(|| Ok(()))),
    ("clone3", |_| {
        let mut arguments = [0_u64; 11];
        arguments[4] = u64::from(libc::SIGCHLD.cast_unsigned());
        match call(libc::SYS_clone3, [at(&arguments), 88])? {
            // SAFETY: it ends the copy of this process at once, and touches no memory.
            0 => unsafe { libc::_exit(0) },
            _ => Ok(()),
        }
    }),
    ("execve", |_| in_child(|| run(c"/bin/true"))),
    ("execveat of a file in memory", |_| {
        let program = call(libc::SYS_memfd_create, [text(c"x"), 0])?;
        did(libc::SYS_write, [program, at(b"#!/bin/true\n"), 12])?;
        in_child(|| {
            let arguments = [text(c"x"), 0];
            let empty = i64::from(libc::AT_EMPTY_PATH);
            did(libc::SYS_execveat, [program, text(c""), at(&arguments), at(&[0_i64]), empty])
        })
    }),
    ("memory that can be executed", |_| map(libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC)),
    ("make memory executable", |_| {
        let memory = call(libc::SYS_mmap, [0, 4096, 3, 0x22, -1, 0])?;
        did(libc::SYS_mprotect, [memory, 4096, 5])
    }),
    ("ptrace of the keeper", |g| did(libc::SYS_ptrace, [i64::from(libc::PTRACE_SEIZE), g.keeper, 0, 0])),
    ("ptrace of the parent", |g| did(libc::SYS_ptrace, [i64::from(libc::PTRACE_SEIZE), g.parent, 0, 0])),
    ("process_vm_writev to the keeper", |g| {
        let part = [at(b"x"), 1];
        let there = [0x1000_i64, 1];
        did(libc::SYS_process_vm_writev, [g.keeper, at(&part), 1, at(&there), 1, 0])
    }),
    ("process_vm_readv of the parent", |g| {
        let byte = [0_u8; 1];
        let part = [at(&byte), 1];
        did(libc::SYS_process_vm_readv, [g.parent, at(&part), 1, at(&part), 1, 0])
    }),
    ("the keeper's /proc/PID/mem", |g| open(&g.of_keeper("mem"), O_RDWR).map(drop)),
    ("the keeper's descriptors in /proc", |g| open(&g.of_keeper("fd/3"), O_RDONLY).map(drop)),
    ("the keeper's root in /proc", |g| open(&g.of_keeper("root/etc/passwd"), O_RDONLY).map(drop)),
    ("the parent's /proc/PID/mem", |g| {
        open(&CString::new(format!("/proc/{}/mem", g.parent))?, O_RDWR).map(drop)
    }),
    ("its own /proc/self/mem", |_| open(c"/proc/self/mem", O_RDWR).map(drop)),
    ("pidfd_getfd of the keeper", |g| {
        let keeper = call(libc::SYS_pidfd_open, [g.keeper, 0])?;
        did(libc::SYS_pidfd_getfd, [keeper, 3, 0])
    }),
    ("pidfd_getfd through the socket's peer", |g| {
        const SO_PEERPIDFD: i64 = 77;
        let (mut peer, mut size) = (0_i32, 4_u32);
        let level = i64::from(libc::SOL_SOCKET);
        did(libc::SYS_getsockopt, [g.socket, level, SO_PEERPIDFD, at_mut(&mut peer), at_mut(&mut size)])?;
        did(libc::SYS_pidfd_getfd, [i64::from(peer), 3, 0])
    }),
    ("signal to the keeper", |g| did(libc::SYS_kill, [g.keeper, i64::from(libc::SIGCONT)])),
    ("signal to the parent", |g| did(libc::SYS_kill, [g.parent, i64::from(libc::SIGCONT)])),
    ("tgkill of the parent", |g| did(libc::SYS_tgkill, [g.parent, g.parent, i64::from(libc::SIGCONT)])),
    ("rt_sigqueueinfo to the keeper", |g| {
        let mut about = [0_i32; 32];
        about[2] = -1;
        did(libc::SYS_rt_sigqueueinfo, [g.keeper, i64::from(libc::SIGCONT), at(&about)])
    }),
    ("prlimit64 of the keeper", |g| {
        let limit = [1_u64 << 20; 2];
        did(libc::SYS_prlimit64, [g.keeper, i64::from(libc::RLIMIT_FSIZE), at(&limit), 0])
    }),
    ("setpriority of the keeper", |g| did(libc::SYS_setpriority, [0, g.keeper, 19])),
    ("sched_setaffinity of the keeper", |g| did(libc::SYS_sched_setaffinity, [g.keeper, 8, at(&1_u64)])),
    ("ioprio_set of the keeper", |g| did(libc::SYS_ioprio_set, [1, g.keeper, 0x6007])),
    ("process_madvise of the keeper", |g| {
        let keeper = call(libc::SYS_pidfd_open, [g.keeper, 0])?;
        let part = [0x1000_i64, 4096];
        did(libc::SYS_process_madvise, [keeper, at(&part), 1, 21, 0])
    }),
    ("kcmp with the keeper", |g| did(libc::SYS_kcmp, [g.keeper, g.keeper, 0, 0, 0])),
    // The network.
    ("TCP", |g| connect(g, 0)),
    ("MPTCP", |g| connect(g, IPPROTO_MPTCP)),
    ("TCP with data in the first packet", |g| {
        let socket = socket(AF_INET, SOCK_STREAM, 0)?;
        let fast = i64::from(libc::MSG_FASTOPEN);
        did(libc::SYS_sendto, [socket, at(b"x"), 1, fast, at(&inet(g.port)), 16])
    }),
    ("TCP with data in the first packet, by sendmsg", |g| {
        let (address, part) = (inet(g.port), [at(b"x"), 1]);
        let message = [at(&address), 16, at(&part), 1, 0, 0, 0];
        did(
            libc::SYS_sendmsg,
            [socket(AF_INET, SOCK_STREAM, 0)?, at(&message), i64::from(libc::MSG_FASTOPEN)],
        )
    }),
    ("UDP", |g| {
        let socket = socket(AF_INET, SOCK_DGRAM, 0)?;
        did(libc::SYS_sendto, [socket, at(b"x"), 1, 0, at(&inet(g.port)), 16])
    }),
    ("listen on a port", |_| {
        let socket = socket(AF_INET, SOCK_STREAM, 0)?;
        did(libc::SYS_bind, [socket, at(&inet(0)), 16])?;
        did(libc::SYS_listen, [socket, 1])
    }),
    ("Unix socket by its path", |g| {
        let (address, size) = unix(g.stream.to_bytes());
        did(libc::SYS_connect, [socket(AF_UNIX, SOCK_STREAM, 0)?, at(&address), size])
    }),
    ("Unix socket by an abstract name", |g| {
        let name = [b"\0".as_slice(), g.abstract_name.as_bytes()].concat();
        let (address, size) = unix(&name);
        did(libc::SYS_connect, [socket(AF_UNIX, SOCK_STREAM, 0)?, at(&address), size])
    }),
    ("datagram to a Unix socket from a pair", |g| {
        from_pair(g, |socket, address, size| did(libc::SYS_sendto, [socket, at(b"x"), 1, 0, address, size]))
    }),
    ("datagram to a Unix socket from a pair, by sendmsg", |g| {
        from_pair(g, |socket, address, size| {
            let part = [at(b"x"), 1];
            did(libc::SYS_sendmsg, [socket, at(&[address, size, at(&part), 1, 0, 0, 0]), 0])
        })
    }),
    ("pair of internet sockets", |_| {
        let mut ends = [0_i32; 2];
        did(libc::SYS_socketpair, [i64::from(AF_INET), i64::from(SOCK_STREAM), 0, at_mut(&mut ends)])
    }),
    ("netlink", |_| socket(AF_NETLINK, SOCK_RAW, 0).map(drop)),
    ("packet socket", |_| socket(AF_PACKET, SOCK_RAW, 0x300).map(drop)),
    ("raw socket", |_| socket(AF_INET, SOCK_RAW, 1).map(drop)),
    ("vsock", |_| socket(AF_VSOCK, SOCK_STREAM, 0).map(drop)),
    ("kernel cryptography socket", |_| socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0).map(drop)),
    // Mounts and namespaces.
    ("unshare a user namespace", |_| in_child(|| did(libc::SYS_unshare, [i64::from(libc::CLONE_NEWUSER)]))),
    ("unshare a mount namespace", |_| in_child(|| did(libc::SYS_unshare, [i64::from(libc::CLONE_NEWNS)]))),
    ("user namespace of a new process", |_| {
        match call(libc::SYS_clone, [i64::from(libc::CLONE_NEWUSER | libc::SIGCHLD), 0, 0, 0, 0])? {
            // SAFETY: it ends the copy of this process at once, and touches no memory.
            0 => unsafe { libc::_exit(0) },
            _ => Ok(()),
        }
    }),
    ("setns to the first process", |_| did(libc::SYS_setns, [open(c"/proc/1/ns/mnt", O_RDONLY)?, 0])),
    ("mount over DATA", |g| did(libc::SYS_mount, [text(c"none"), text(&g.repository), text(c"tmpfs"), 0, 0])),
    ("bind mount", |g| {
        did(libc::SYS_mount, [text(&g.repository), text(&g.repository), 0, libc::MS_BIND.cast_signed(), 0])
    }),
    ("remount", |g| did(libc::SYS_mount, [0, text(&g.data), 0, libc::MS_REMOUNT.cast_signed(), 0])),
    ("umount2", |g| did(libc::SYS_umount2, [text(&g.repository), 0])),
    ("fsopen", |_| did(libc::SYS_fsopen, [text(c"tmpfs"), 0])),
    ("open_tree clone", |g| did(libc::SYS_open_tree, [CWD, text(&g.data), 1])),
    ("move_mount", |g| did(libc::SYS_move_mount, [CWD, text(&g.data), CWD, text(&g.repository), 0])),
    ("mount_setattr", |g| {
        let nothing = [0_u64; 4];
        did(libc::SYS_mount_setattr, [CWD, text(&g.data), 0, at(&nothing), 32])
    }),
    ("pivot_root", |g| did(libc::SYS_pivot_root, [text(&g.data), text(&g.repository)])),
    ("chroot", |g| did(libc::SYS_chroot, [text(&g.repository)])),
    // The powers of root, and others'.
    ("setresuid", |_| did(libc::SYS_setresuid, [4711, 4711, 4711])),
    ("setgroups", |_| did(libc::SYS_setgroups, [1, at(&[0_u32])])),
    ("capset", |_| {
        let (header, all) = ([0x2008_0522_u32, 0], [u32::MAX; 6]);
        did(libc::SYS_capset, [at(&header), at(&all)])
    }),
    ("bpf", |_| {
        let nothing = [0_u64; 16];
        did(libc::SYS_bpf, [0, at(&nothing), 64])
    }),
    ("perf_event_open", |_| {
        let mut about = [0_u32; 32];
        about[0] = 1;
        about[1] = 128;
        did(libc::SYS_perf_event_open, [at(&about), 0, -1, -1, 0])
    }),
    ("userfaultfd", |_| did(libc::SYS_userfaultfd, [1])),
    ("fanotify_init", |_| did(libc::SYS_fanotify_init, [0, 0])),
    ("reboot", |_| did(libc::SYS_reboot, [1, 2, 3, 0])),
    ("swapon", |g| did(libc::SYS_swapon, [text(&g.victim), 0])),
    ("acct", |_| did(libc::SYS_acct, [text(c"")])),
    ("init_module", |_| did(libc::SYS_init_module, [at(b"x"), 1, text(c"")])),
    ("kexec_load", |_| did(libc::SYS_kexec_load, [0, 17, 0, 0xffff])),
    ("clock_settime", |_| did(libc::SYS_clock_settime, [0, at(&[0_i64, -1])])),
    ("sethostname", |_| did(libc::SYS_sethostname, [at(b"x"), -1])),
    ("syslog", |_| did(libc::SYS_syslog, [10, 0, 0])),
    ("quotactl", |_| did(libc::SYS_quotactl, [0x0080_0001, 0, 0, 0])),
    ("keyctl", |_| did(libc::SYS_keyctl, [0, -3, 0, 0, 0])),
    ("add_key", |_| did(libc::SYS_add_key, [text(c"user"), text(c"x"), at(b"x"), 1, -2])),
    // What would undo confinement, or hold others up.
    ("a filter that asks this process", |_| {
        let allow = [0x7fff_0000_0000_0006_u64];
        let program = [1, at(&allow)];
        did(libc::SYS_seccomp, [1, 8, at(&program)])
    }),
    ("new privileges again", |_| prctl(libc::PR_SET_NO_NEW_PRIVS, 0)),
    ("being dumpable", |_| prctl(libc::PR_SET_DUMPABLE, 1)),
    ("being traced by anybody", |_| prctl(libc::PR_SET_PTRACER, -1)),
    ("no seccomp", |_| prctl(libc::PR_SET_SECCOMP, 0)),
    ("ambient capabilities", |_| did(libc::SYS_prctl, [i64::from(libc::PR_CAP_AMBIENT), 2, 1, 0, 0])),
    ("personality", |_| did(libc::SYS_personality, [0x0040_0000])),
    ("more core dumps", |_| {
        let limit = [1_u64 << 20; 2];
        did(libc::SYS_prlimit64, [0, i64::from(libc::RLIMIT_CORE), at(&limit), 0])
    }),
    ("io_uring_setup", |_| {
        let mut parameters = [0_u32; 30];
        did(libc::SYS_io_uring_setup, [1, at_mut(&mut parameters)])
    }),
    ("io_uring_register", |_| did(libc::SYS_io_uring_register, [-1, 0, 0, 0])),
    ("io_setup", |_| did(libc::SYS_io_setup, [1, at_mut(&mut 0_u64)])),
    ("memfd_create", |_| did(libc::SYS_memfd_create, [text(c"x"), 0])),
    ("shmget", |_| did(libc::SYS_shmget, [0, 0, 0o1600])),
    ("mq_open", |_| did(libc::SYS_mq_open, [text(c"pawl-attack"), 0, 0, 0])),
    ("openat2", |g| {
        let how = [0_u64; 3];
        did(libc::SYS_openat2, [CWD, text(&g.victim), at(&how), 24])
    }),
    ("call numbers that no kernel has", |_| {
        let refused =
            |number: &&i64| call(**number, []).err().and_then(|e| e.raw_os_error()) != Some(libc::EPERM);
        if UNKNOWN.iter().any(|number| refused(&number)) {
            Err(error(libc::EINVAL))
        } else {
            Err(error(libc::EPERM))
        }
    }),
    // Places that are nobody's business.
    ("a file in /tmp", |_| open(c"/tmp", O_RDWR | libc::O_TMPFILE).map(drop)),
    ("a file in /dev/shm", |_| open(c"/dev/shm", O_RDWR | libc::O_TMPFILE).map(drop)),
    ("a terminal's ioctl", |_| did(libc::SYS_ioctl, [0, 0x5412, at(b"x")])),
    ("a device for writing", |_| write(open(c"/dev/null", libc::O_WRONLY)?)),
];

fn run(program: &std::ffi::CStr) -> Outcome {
    let arguments = [text(program), 0];
    did(libc::SYS_execve, [text(program), at(&arguments), at(&[0_i64])])
}

fn prctl(option: i32, value: i64) -> Outcome {
    did(libc::SYS_prctl, [i64::from(option), value, 0, 0, 0])
}

fn map(protection: i32) -> Outcome {
    did(libc::SYS_mmap, [0, 4096, i64::from(protection), 0x22, -1, 0])
}

fn socket(domain: i32, kind: i32, protocol: i64) -> std::io::Result<i64> {
    call(libc::SYS_socket, [i64::from(domain), i64::from(kind), protocol])
}

fn connect(ground: &Ground, protocol: i64) -> Outcome {
    let socket = socket(AF_INET, SOCK_STREAM, protocol)?;
    did(libc::SYS_connect, [socket, at(&inet(ground.port)), 16])
}

/// A datagram socket that was made without the call that makes sockets, and an address of somebody.
fn from_pair(ground: &Ground, send: impl FnOnce(i64, i64, i64) -> Outcome) -> Outcome {
    let mut ends = [0_i32; 2];
    let pair = [i64::from(AF_UNIX), i64::from(SOCK_DGRAM), 0, at_mut(&mut ends)];
    did(libc::SYS_socketpair, pair)?;
    let (address, size) = unix(ground.datagram.to_bytes());
    send(i64::from(ends[0]), at(&address), size)
}

/// A port of this machine (`struct sockaddr_in`).
fn inet(port: u16) -> [u8; 16] {
    let [high, low] = port.to_be_bytes();
    let [family, ..] = AF_INET.to_le_bytes();
    [family, 0, high, low, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// A Unix socket's address (`struct sockaddr_un`) and its size.
pub(crate) fn unix(name: &[u8]) -> ([u8; 110], i64) {
    let mut address = [0; 110];
    let [family, ..] = AF_UNIX.to_le_bytes();
    for (place, byte) in address.iter_mut().zip([family, 0].iter().chain(name)) {
        *place = *byte;
    }
    (address, i64::try_from(name.len() + 2).unwrap_or(110).min(110))
}
