//! A machine of its own: Debian 12 with systemd, booted by systemd-nspawn, on a network of two.
//!
//! Invariant: every machine starts from the same files, which are never written to, and none outlives its value. It
//! shares the kernel with this machine, and nothing else; its control group is its own.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pawl_tests::command::Finished;
use pawl_tests::process::Process;
use pawl_tests::program::{Run, debian};
use pawl_tests::wait::{DEADLINE, until};
use rustix::process::Signal;
use tempfile::TempDir;

/// What it is called.
pub(crate) const NAME: &str = "backup.example.org";

/// Of Debian's own units one may take too long on a busy machine, and is started again; then none has failed.
const NOTHING_FAILED: &str = "
for _ in 1 2 3; do
    failed=$(systemctl --failed --quiet --plain --no-legend | cut --delimiter=' ' --fields=1)
    test -z \"$failed\" && exit 0
    systemctl reset-failed
    systemctl start $failed || true
done
systemctl --failed
exit 1";

/// Runs a command in a control group of its own. Otherwise several machines would share theirs, as nspawn is told to keep
/// the one it is in, and each systemd would take those of the others' units away.
const IN_OWN_GROUP: &str = r#"
while IFS=: read -r _ controllers path; do
    case $controllers in
        '') tree=$(findmnt --first-only --noheadings --output TARGET --types cgroup2) ;;
        name=systemd) tree=$(findmnt --first-only --noheadings --output TARGET --types cgroup --options name=systemd) ;;
        *) continue ;;
    esac
    mkdir "$tree$path/$0"
    echo $$ >"$tree$path/$0/cgroup.procs"
done </proc/self/cgroup
exec "$@""#;

/// Removes the control groups of this name, in which nothing runs any more.
const REMOVE_GROUP: &str =
    r#"find /sys/fs/cgroup -depth -type d \( -name "$0" -o -path "*/$0/*" \) -exec rmdir {} +"#;

/// What Landlock needs, which nspawn takes from its machines otherwise.
const LANDLOCK: &str = "landlock_create_ruleset landlock_add_rule landlock_restrict_self";

/// Machines of this process so far.
static BOOTED: AtomicU32 = AtomicU32::new(0);

/// A machine that runs.
#[derive(Debug)]
pub(crate) struct Machine {
    name: String,
    nspawn: Run,
    init: Process,
    address: String,
    dir: TempDir,
}

impl Machine {
    /// Boots one, and waits until all of it has started.
    pub(crate) fn boot() -> Self {
        let pristine = debian().canonicalize().unwrap(); // or a link alone would be copied, and the tree itself changed
        let dir = tempfile::tempdir_in(pristine.parent().unwrap()).unwrap();
        let root = dir.path().join("root");
        here("cp", &["--archive", "--reflink=auto", pristine.to_str().unwrap(), root.to_str().unwrap()]);
        write(&root.join("etc/hostname"), NAME);
        write(&root.join("etc/hosts"), &format!("127.0.0.1 localhost\n127.0.1.1 {NAME} backup\n"));

        // A container has no clock of its own to set right. The real program is asked all the same.
        let timedatectl = root.join("usr/local/bin/timedatectl");
        write(
            &timedatectl,
            "#!/bin/bash\nset -o pipefail\n/usr/bin/timedatectl \"$@\" | sed 's/^no$/yes/'\n",
        );
        std::fs::set_permissions(&timedatectl, PermissionsExt::from_mode(0o755)).unwrap();

        let name = format!("p{}n{}", std::process::id(), BOOTED.fetch_add(1, Ordering::Relaxed));
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", IN_OWN_GROUP, &name, "systemd-nspawn"]);
        command.args(["--boot", "--register=no", "--keep-unit", "--link-journal=no", "--network-veth"]);
        command.args(["--resolv-conf=off", "--timezone=off", "--machine", &name]);
        command.arg(format!("--system-call-filter={LANDLOCK}")).arg("--directory").arg(&root);
        let mut nspawn = Run::start(command);
        let init = until("the machine has an init", || {
            assert!(!nspawn.has_ended(), "systemd-nspawn ended at once:\n{}", nspawn.seen());
            Process::child_of(nspawn.pid(), "systemd")
        });
        let [ours, address] = cable(&name);
        let machine = Self { name, nspawn, init, address, dir };
        until("the machine has booted", || {
            let state = machine.try_run("systemctl is-system-running").stdout;
            ["running", "degraded"].contains(&state.trim()).then_some(())
        });
        machine.run(NOTHING_FAILED);

        here("ip", &["address", "add", &format!("{ours}/30"), "dev", &format!("ve-{}", machine.name)]);
        here("ip", &["link", "set", &format!("ve-{}", machine.name), "up"]);
        let init = machine.init.pid().to_string();
        let there = |args: &[&str]| here("nsenter", &[&["--target", &init, "--net", "ip"], args].concat());
        there(&["address", "add", &format!("{}/30", machine.address), "dev", "host0"]);
        there(&["link", "set", "host0", "up"]);
        machine
    }

    /// Where it is reached.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// A file of it, as it lies here.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join("root").join(path.trim_start_matches('/'))
    }

    /// Puts a program of this machine there. By a process of its own: one that is just being started by another test would
    /// inherit the file that is written, and hold it for a moment in which it cannot be run.
    pub(crate) fn bring(&self, program: &Path, path: &str) {
        here("cp", &[program.to_str().unwrap(), self.path(path).to_str().unwrap()]);
    }

    /// Runs these lines of a shell there as root, which must succeed, and returns what they printed.
    pub(crate) fn run(&self, lines: &str) -> String {
        let finished = self.try_run(lines);
        println!("{NAME}# {lines}\n{}{}", finished.stdout, finished.stderr);
        assert_eq!(finished.code, Some(0), "{lines}\n{}{}", finished.stdout, finished.stderr);
        finished.stdout
    }

    /// The same, however it ends.
    pub(crate) fn try_run(&self, lines: &str) -> Finished {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init.pid().to_string()]);
        command.args([
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
            "--",
            "env",
            "--chdir=/root",
            "HOME=/root",
        ]);
        command.args(["LC_ALL=C.UTF-8", "bash", "-euo", "pipefail", "-c", lines]);
        Run::start(command).end()
    }

    /// What a unit, or all that a pattern names, has logged.
    pub(crate) fn log(&self, unit: &str) -> String {
        // What a unit has printed just now is on its way to the journal.
        self.run(&format!("journalctl --sync; journalctl --quiet --output cat --unit '{unit}'"))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Its init, and with it everything else there. systemd-nspawn alone would leave it behind.
        self.init.signal(Signal::KILL);
        let deadline = Instant::now() + DEADLINE;
        while !self.nspawn.has_ended() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        let mut command = Command::new("bash");
        command.args(["-c", REMOVE_GROUP, &self.name]);
        let _ = Run::start(command).end();
    }
}

/// The addresses at both ends of the cable between a machine and this one: of four that no other machine has, as the
/// kernel numbers no two interfaces alike.
fn cable(machine: &str) -> [String; 2] {
    let number = std::fs::read_to_string(format!("/sys/class/net/ve-{machine}/ifindex")).unwrap();
    let [high, low] = (number.trim().parse::<u16>().unwrap() % (1 << 14) * 4).to_be_bytes();
    [1, 2].map(|end| format!("10.213.{high}.{}", low + end))
}

/// Runs a program on this machine, which must succeed.
fn here(program: &str, args: &[&str]) {
    let mut command = Command::new(program);
    command.args(args);
    let _ = Run::start(command).end().expect_code(0);
}

#[expect(clippy::disallowed_methods, reason = "the test stands in for an admin here")]
pub(crate) fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}
