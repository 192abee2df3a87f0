//! Everything that the attacker can think of, at each level, as root and as a plain user, on disk and in memory.
//!
//! Invariant: the parent looks at everything after each attempt, so that what counts is what became of the files and
//! not what the attacker was told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use pawl_tests::command::pawl_binary;
use pawl_tests::process::Process;
use pawl_tests::wait;
use rustix::process::Signal;

use super::evidence::{Evidence, Harm};
use super::stand::{DAEMON, Medium, NOBODY, Stand, as_user, is_root, listens, run};

/// What is in force against the attacker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Off,
    Landlock,
    Seccomp,
    /// With a Landlock that can refuse a part only.
    SeccompOld,
    SameUser,
    /// The same for a frontend that begins connections to a bucket.
    Bucket,
    Strong,
    /// On the kernel of Debian 12, whose Landlock cannot refuse to truncate: the owner is another.
    StrongOld,
}

impl Level {
    fn config(self) -> &'static str {
        match self {
            Self::Off => "confinement = \"off\"",
            Self::Landlock | Self::Seccomp | Self::SeccompOld => "confinement = \"seccomp\"",
            Self::SameUser => "confinement = \"same-user\"",
            Self::Bucket => {
                "confinement = \"same-user\"\n[s3]\nbucket = \"pawl\"\nprefix = \"p\"\nregion = \"us-east-1\"\n\
                 endpoint = \"http://127.0.0.1:9\"\ninstances = \"one\""
            }
            Self::Strong | Self::StrongOld => "confinement = \"strong\"",
        }
    }

    const fn abi_max(self) -> &'static str {
        match self {
            Self::Seccomp => "0",
            Self::SeccompOld | Self::StrongOld => "2",
            Self::Off | Self::Landlock | Self::SameUser | Self::Bucket | Self::Strong => "none",
        }
    }

    /// What the attacker says once it is inside.
    const fn ready(self) -> &'static str {
        match self {
            Self::Off => "ready off",
            Self::Landlock => "ready landlock ",
            Self::Seccomp | Self::SeccompOld => "ready seccomp",
            Self::SameUser | Self::Bucket => "ready same-user",
            Self::Strong | Self::StrongOld => "ready strong",
        }
    }

    const fn has_seccomp(self) -> bool {
        !matches!(self, Self::Off | Self::Landlock)
    }
}

/// Somebody whom the frontend has nothing to tell.
struct Bystander {
    tcp: TcpListener,
    stream: PathBuf,
    datagram: PathBuf,
    abstract_name: String,
    _sockets: (UnixListener, UnixListener, UnixDatagram),
}

impl Bystander {
    fn listen(stand: &Stand) -> Self {
        let [stream, datagram] = ["stream", "datagram"].map(|name| stand.dir().join(name));
        let abstract_name = format!("pawl-bystander-{}", stand.dir().display());
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        let sockets = (
            UnixListener::bind(&stream).unwrap(),
            UnixListener::bind_addr(&address).unwrap(),
            UnixDatagram::bind(&datagram).unwrap(),
        );
        run("chmod", &["777", stream.to_str().unwrap(), datagram.to_str().unwrap()]);
        Self {
            tcp: TcpListener::bind("127.0.0.1:0").unwrap(),
            stream,
            datagram,
            abstract_name,
            _sockets: sockets,
        }
    }
}

struct Attacker {
    process: Child,
    tell: ChildStdin,
    hear: BufReader<ChildStdout>,
    keeper: Option<Child>,
}

impl Attacker {
    fn start(level: Level, user: &str, stand: &Stand, bystander: &Bystander) -> Self {
        let mut keeper = None;
        if matches!(level, Level::Strong | Level::StrongOld) {
            let socket = stand.data.with_file_name("run").join("keeper.sock");
            let service = format!("keeper_socket = \"{}\"\nkeeper_for = \"nobody\"", socket.display());
            let config = stand.config(&format!("{}\n{service}", level.config()));
            let mut command = as_user(DAEMON, &pawl_binary());
            command.args(["keeper", "--config"]).arg(config).stderr(Stdio::null());
            if level == Level::StrongOld {
                command.args(["--landlock-abi-max", level.abi_max()]);
            }
            keeper = Some(command.spawn().unwrap());
            wait::until("the keeper listens", || listens(&socket).then_some(()));
        } else {
            let _ = stand.config(level.config());
        }
        let program = pawl_binary().with_file_name("pawl-attacker");
        assert!(program.is_file(), "{} is missing: scripts/test builds it", program.display());
        let mut command = as_user(user, &program);
        if level == Level::Off && user == "0" {
            // What root mounts is to be seen by itself alone.
            let inner = command;
            command = Command::new("unshare");
            command
                .args(["--mount", "--propagation", "private"])
                .arg(inner.get_program())
                .env("NO_COLOR", "1");
        }
        command.arg("enter").arg(stand.dir().join("pawl.toml")).arg(level.abi_max());
        command.args((level == Level::Landlock).then_some("without-seccomp"));
        command.env("ATTACK_PORT", bystander.tcp.local_addr().unwrap().port().to_string());
        command.env("ATTACK_STREAM", &bystander.stream).env("ATTACK_DATAGRAM", &bystander.datagram);
        command.env("ATTACK_ABSTRACT", &bystander.abstract_name);
        if let Some(keeper) = &keeper {
            command.env("ATTACK_KEEPER", keeper.id().to_string());
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let tell = process.stdin.take().unwrap();
        let hear = BufReader::new(process.stdout.take().unwrap());
        let mut attacker = Self { process, tell, hear, keeper }; // ends what it began, also if the test stops here
        let mut ready = String::new();
        attacker.hear.read_line(&mut ready).unwrap();
        if !ready.starts_with(level.ready()) {
            let _ = attacker.process.kill();
            let mut said = String::new();
            attacker.process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("expected {:?}, found {ready:?}: {said}", level.ready());
        }
        attacker
    }

    /// The number of the error, 0 if it went through; nothing if the attacker is no more.
    fn attempt(&mut self, name: &str) -> Option<i32> {
        writeln!(self.tell, "{name}").ok()?;
        let mut outcome = String::new();
        self.hear.read_line(&mut outcome).ok()?;
        outcome.trim().parse().ok()
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        let own = Process::child_of(self.process.id(), "pawl-keeper");
        let _ = self.process.kill();
        let _ = self.process.wait();
        if let Some(mut service) = self.keeper.take() {
            let _ = service.kill();
            let _ = service.wait();
        }
        if let Some(own) = own {
            // One that was stopped, or that waits for what does not come.
            own.signal(Signal::KILL);
            wait::until("the attacker's keeper ends", || (!own.is_alive()).then_some(()));
        }
    }
}

/// What came of the attempts of one kind.
#[derive(Debug, Default, Clone, Copy)]
struct Count {
    tried: u32,
    /// Nothing stored was changed, and for an escape: it was refused.
    blocked: u32,
    destroyed: u32,
    altered: u32,
}

fn attempts() -> Vec<(char, String)> {
    let list = Command::new(pawl_binary().with_file_name("pawl-attacker")).arg("list").output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let split = |line: &str| (line.chars().next().unwrap(), line.get(2..).unwrap().to_owned());
    let attempts: Vec<_> = list.lines().map(split).collect();
    let of = |kind| attempts.iter().filter(|(other, _)| *other == kind).count();
    assert!(of('D') >= 59 && of('X') >= 32 && of('M') >= 14, "attempts are missing: {list}");
    attempts
}

const fn is_refusal(code: i32) -> bool {
    matches!(code, libc::EPERM | libc::EACCES | libc::ENOSYS)
}

/// Makes every attempt, and says what came of each kind, by destroying, altering, escaping. `judge` is told of each.
fn attack(
    level: Level,
    user: &str,
    medium: Medium,
    mut judge: impl FnMut(char, &str, Option<i32>, Harm, Option<String>),
) -> [Count; 3] {
    let stand =
        Stand::new(medium, if matches!(level, Level::Strong | Level::StrongOld) { DAEMON } else { user });
    let bystander = Bystander::listen(&stand);
    let mut counts = [Count::default(); 3];
    let mut attacker = Attacker::start(level, user, &stand, &bystander);
    let mut before = Evidence::read(&stand.data);
    for (kind, name) in attempts() {
        let outcome = attacker.attempt(&name);
        let is_there = stand.data.is_dir();
        let after = is_there.then(|| Evidence::read(&stand.data));
        let harm = after.as_ref().map_or(Harm::Destroyed, |after| before.harm(after));
        judge(kind, &name, outcome, harm, after.and_then(|after| before.first_difference(&after)));
        let place = match kind {
            'D' => 0,
            'M' => 1,
            _ => 2,
        };
        let count = &mut counts[place];
        count.tried += 1;
        let went_through = kind == 'X' && !outcome.is_some_and(is_refusal);
        count.blocked += u32::from(harm == Harm::None && !went_through);
        count.destroyed += u32::from(harm == Harm::Destroyed);
        count.altered += u32::from(harm == Harm::Altered);
        // What one attempt has changed, also in its process, must not spoil the next.
        if level == Level::Off || harm != Harm::None || outcome.is_none() {
            drop(attacker);
            if harm != Harm::None {
                stand.restore();
            }
            attacker = Attacker::start(level, user, &stand, &bystander);
            before = Evidence::read(&stand.data);
        }
    }
    say(level, user, medium, counts);
    counts
}

fn say(level: Level, user: &str, medium: Medium, counts: [Count; 3]) {
    let user = if user == "0" { "root" } else { "nobody" };
    let [d, m, x] = counts.map(|count| format!("{}/{}", count.blocked, count.tried));
    let [destroyed, altered] =
        [counts.iter().map(|c| c.destroyed).sum::<u32>(), counts.iter().map(|c| c.altered).sum()];
    println!(
        "| {level:?} | {user} | {medium:?} | {d} | {m} | {x} | {destroyed} destroyed, {altered} altered |"
    );
}

/// Nothing is let through but escapes of these names.
fn attack_in_vain(level: Level, users: &[&str], let_through: &[&str]) {
    for user in users {
        for medium in [Medium::Disk, Medium::Tmpfs] {
            let mut through = Vec::new();
            let counts = attack(level, user, medium, |kind, name, outcome, harm, difference| {
                let refused = match kind {
                    'D' => outcome.is_some_and(|code| code != 0),
                    _ => outcome.is_some_and(is_refusal),
                };
                let refused = refused || (kind == 'X' && let_through.contains(&name));
                if harm != Harm::None || !refused {
                    through.push(format!("{kind} {name}: {outcome:?} {harm:?} {difference:?}"));
                }
            });
            assert!(level.has_seccomp() && through.is_empty(), "{level:?} as {user}: {through:#?}");
            let not_blocked: u32 = counts.iter().map(|count| count.tried - count.blocked).sum();
            assert_eq!(not_blocked as usize, let_through.len(), "{counts:?}");
        }
    }
}

/// A115: Code in the frontend tries every call that destroys, alters or escapes, where all there is confines it.
#[test]
fn nothing_can_be_destroyed_with_a_keeper_of_its_own_user() {
    if is_root() {
        attack_in_vain(Level::Strong, &[NOBODY], &[]);
        attack_in_vain(Level::StrongOld, &[NOBODY], &[]);
    }
}

/// A116: The same where frontend and keeper are one user.
#[test]
fn nothing_can_be_destroyed_with_landlock_and_seccomp() {
    if is_root() {
        attack_in_vain(Level::SameUser, &["0", NOBODY], &[]);
    }
}

/// A117: The same on a kernel without Landlock.
#[test]
fn nothing_can_be_destroyed_with_seccomp_alone() {
    if is_root() {
        attack_in_vain(Level::Seccomp, &["0", NOBODY], &[]);
    }
}

/// A118: The same on a kernel whose Landlock cannot refuse to truncate.
#[test]
fn nothing_can_be_destroyed_with_seccomp_and_an_old_landlock() {
    if is_root() {
        attack_in_vain(Level::SeccompOld, &[NOBODY], &[]);
    }
}

/// It may ask for names, which takes datagrams; Landlock of this kernel knows ports of TCP alone.
#[test]
fn nothing_can_be_destroyed_by_the_door_of_a_bucket() {
    if is_root() {
        attack_in_vain(Level::Bucket, &[NOBODY], &["UDP"]);
    }
}

/// A119: Code in the frontend gets by the filter of system calls, as by a call that it forgets.
#[test]
fn nothing_can_be_destroyed_with_landlock_alone() {
    if !is_root() {
        return;
    }
    for user in ["0", NOBODY] {
        for medium in [Medium::Disk, Medium::Tmpfs] {
            let mut destroyed = Vec::new();
            attack(Level::Landlock, user, medium, |kind, name, outcome, harm, _| {
                if harm == Harm::Destroyed {
                    destroyed.push(format!("{kind} {name}: {outcome:?}"));
                }
            });
            assert!(destroyed.is_empty(), "as {user}: {destroyed:#?}");
        }
    }
}

/// The attempts are real ones.
#[test]
fn without_confinement_most_attempts_destroy() {
    const DESTROYING_MIN: u32 = 40;
    if !is_root() {
        return;
    }
    for user in ["0", NOBODY] {
        for medium in [Medium::Disk, Medium::Tmpfs] {
            let mut harmless = Vec::new();
            let counts = attack(Level::Off, user, medium, |kind, name, outcome, harm, _| {
                if kind != 'X' && harm == Harm::None {
                    harmless.push(format!("{kind} {name}: {outcome:?}"));
                }
            });
            println!("    harmless even so: {harmless:?}");
            assert!(counts[0].destroyed >= DESTROYING_MIN, "as {user}: {counts:?}, {harmless:#?}");
        }
    }
}

/// A120: Code in the frontend calls the kernel by the frontend of 32-bit programs, whose numbers are others.
#[test]
fn a_call_of_a_32_bit_program_ends_the_attacker() {
    if !is_root() || !cfg!(target_arch = "x86_64") {
        return;
    }
    let stand = Stand::new(Medium::Disk, NOBODY);
    let bystander = Bystander::listen(&stand);
    let mut attacker = Attacker::start(Level::Seccomp, NOBODY, &stand, &bystander);
    let before = Evidence::read(&stand.data);
    assert_eq!(attacker.attempt("32-bit unlink"), None);
    assert_eq!(before.harm(&Evidence::read(&stand.data)), Harm::None);
}
