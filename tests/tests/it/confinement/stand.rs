//! A directory that real restic backed up into, copies of it for the attacker, and users to attack as.
//!
//! Invariant: an attack gets a copy of its own; what it destroys is nobody else's.

use std::fs::{self, Permissions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use pawl_tests::clients::{Restic, Version};
use pawl_tests::command::keeper_binary;
use pawl_tests::content::noise;
use pawl_tests::disk::Disk;
use pawl_tests::not_tested;
use pawl_tests::server::Server;
use pawl_tests::shared::{copy, made_once};
use pawl_tests::store::plant;
use rustix::process::Signal;
use tempfile::TempDir;

/// Users that every machine has; the group is the one by which the frontend reads.
pub(crate) const NOBODY: &str = "65534";
pub(crate) const DAEMON: &str = "1";

/// What kind of file system it is tried on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Medium {
    /// That of the temporary directory: ext4 here.
    Disk,
    /// Memory.
    Tmpfs,
}

/// A copy of the directory, with a configuration.
#[derive(Debug)]
pub(crate) struct Stand {
    dir: TempDir,
    _memory: Option<Disk>,
    pub(crate) data: PathBuf,
    owner: String,
}

impl Stand {
    /// A copy that belongs to this user.
    pub(crate) fn new(medium: Medium, owner: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let memory = (medium == Medium::Tmpfs).then(|| Disk::new("size=64m,mode=755").unwrap());
        let data = memory.as_ref().map_or_else(|| dir.path().join("place/data"), Disk::data);
        // Whoever owns the files owns the directory in which DATA lies, and could move it.
        let above = data.parent().unwrap();
        fs::create_dir_all(above).unwrap();
        run("chown", &[&format!("{owner}:{NOBODY}"), above.to_str().unwrap()]);
        let stand = Self { dir, _memory: memory, data, owner: owner.to_owned() };
        stand.restore();
        stand
    }

    /// A new copy in place of what an attack left.
    pub(crate) fn restore(&self) {
        let above = self.data.parent().unwrap();
        for name in ["data", "data.stolen"] {
            run("rm", &["-rf", above.join(name).to_str().unwrap()]);
        }
        let data = self.data.to_str().unwrap();
        copy(&original(), &self.data);
        run("chown", &["-R", &format!("{}:{NOBODY}", self.owner), data]);
    }

    /// A directory that everybody can look into.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A configuration with these lines.
    pub(crate) fn config(&self, lines: &str) -> PathBuf {
        let path = self.dir.path().join("pawl.toml");
        let data = self.data.display();
        plant(&path, format!("data = \"{data}\"\nlisten = \"127.0.0.1:0\"\n{lines}\n").as_bytes());
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        path
    }
}

/// A command as this user, with the group by which the frontend reads.
pub(crate) fn as_user(user: &str, program: &Path) -> Command {
    let mut command = if user == "0" {
        Command::new(program)
    } else {
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={user}"), format!("--regid={NOBODY}"), "--clear-groups".to_owned()]);
        command.arg(within_reach(program));
        command
    };
    command.env("NO_COLOR", "1");
    command
}

/// A copy of the program where every user gets to, however deep in somebody's home it was built, with the keeper's program
/// beside it. Always the same place, so that runs do not pile up.
fn within_reach(program: &Path) -> PathBuf {
    let built = program.canonicalize().unwrap();
    let mut hash = DefaultHasher::new();
    built.parent().hash(&mut hash);
    let dir = std::env::temp_dir().join(format!("pawl-tests-{:016x}", hash.finish()));
    copied(&keeper_binary(), &dir);
    copied(&built, &dir)
}

/// A copy of the program in this directory, unless it is there already.
fn copied(built: &Path, dir: &Path) -> PathBuf {
    let reached = dir.join(built.file_name().unwrap());
    let known = |path: &Path| fs::metadata(path).and_then(|file| Ok((file.len(), file.modified()?))).ok();
    if known(&reached) != known(built) {
        fs::create_dir_all(dir).unwrap();
        fs::set_permissions(dir, Permissions::from_mode(0o755)).unwrap();
        let new = dir.join(format!("new-{}", std::process::id()));
        // By a process of its own: one that another thread is just starting would inherit the file that is written here,
        // and as long as it holds it nobody can run the program.
        run("cp", &["--preserve=timestamps", built.to_str().unwrap(), new.to_str().unwrap()]);
        fs::set_permissions(&new, Permissions::from_mode(0o755)).unwrap();
        run("mv", &["--no-target-directory", new.to_str().unwrap(), reached.to_str().unwrap()]);
    }
    reached
}

/// Whether somebody listens at this socket. Its name is there a little earlier.
pub(crate) fn listens(socket: &Path) -> bool {
    const ACCEPTS_CONNECTIONS: &str = "00010000";
    let sockets = fs::read_to_string("/proc/net/unix").unwrap();
    sockets.lines().any(|line| {
        // Num RefCount Protocol Flags Type St Inode Path
        let fields: Vec<_> = line.split_whitespace().collect();
        matches!(fields[..], [_, _, _, ACCEPTS_CONNECTIONS, _, _, _, path] if Path::new(path) == socket)
    })
}

/// Whether other users can be tried; only root can.
pub(crate) fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        not_tested("only root can attack as several users");
    }
    is_root
}

/// The directory that copies are made of, with two snapshots of real restic in it.
fn original() -> PathBuf {
    made_once("confinement", |data| {
        let mut server = Server::build().data(data).start();
        let restic = Restic::new(Version::V0_18, &server.add_host("web1", &[]));
        restic.succeed(["init"]);
        let source = restic.home().join("source");
        fs::create_dir(&source).unwrap();
        for part in ["one", "two"] {
            plant(&source.join(part), &noise(part, 300_000));
            restic.backup(&source);
        }
        server.signal(Signal::TERM);
        assert_eq!(server.wait().code(), Some(0));
    })
}

pub(crate) fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}
