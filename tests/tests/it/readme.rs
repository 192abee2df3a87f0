//! The README's commands, run as they stand there.
//!
//! Invariant: every `sh` block of the README is known here, and each is run; a block that is added there without
//! a test fails.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use pawl_tests::bucket::Kind;
use pawl_tests::command::pawl_binary;
use pawl_tests::moto::Moto;
use pawl_tests::program::program;
use pawl_tests::wait::until;
use tempfile::TempDir;

const README: &str = include_str!("../../../README.md");

/// The blocks between ```` ```KIND ```` and ```` ``` ````, in order.
fn blocks(kind: &str) -> Vec<&'static str> {
    let opening = format!("\n```{kind}\n");
    README.split(opening.as_str()).skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect()
}

/// A user's terminal: an empty home, and `pawl` and `restic` where the shell finds them.
struct Terminal {
    dir: TempDir,
}

impl Terminal {
    fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        std::fs::create_dir_all(dir.path().join("home")).unwrap();
        std::fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink(pawl_binary(), bin.join("pawl")).unwrap();
        // Debian 12's own restic works as well, but takes most of a minute to give up on a refusal.
        std::os::unix::fs::symlink(program("restic-0.19"), bin.join("restic")).unwrap();
        Self { dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn shell(&self, lines: &str) -> Command {
        let mut shell = Command::new("bash");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = format!("{}:{}", self.path().join("bin").display(), path.to_string_lossy());
        shell
            .args(["-euo", "pipefail", "-c", lines])
            .current_dir(self.path())
            .env("HOME", self.path().join("home"))
            .env("PATH", path)
            .env("RESTIC_PASSWORD", "of the repository")
            .env("PAWL_BINARY", pawl_binary());
        shell
    }

    fn run(&self, lines: &str) -> Output {
        let output = self.shell(lines).output().unwrap();
        println!("$ {lines}\n{}{}", text(&output.stdout), text(&output.stderr));
        output
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The server of the README's first command. Ends with the value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

#[test]
fn every_command_of_the_readme_is_known_to_a_test() {
    let known = [
        "scripts/run",
        "restic forget latest --prune",
        "restic restore latest --target ./restored",
        "(umask 077 && cat > web1.password)       # type the password of `restic init`, then Ctrl-D",
        "scripts/test", // what runs this
        "pawl host add db1 --data ./pawl-data",
        "pawl host add db2 --quota 200GiB --network 192.0.2.0/24 --expires 2027-12-31 --data ./pawl-data",
        "pawl audit show --principal db1 --since 2026-11-01 --data ./pawl-data",
        "pawl audit archive --before 2026-01-01 --to /mnt/archive --data ./pawl-data", // audit/archive.rs
        "pawl serve --config /etc/pawl/pawl.toml",
        "pawl doctor --config /etc/pawl/pawl.toml",
        // Four blocks of deployment/.
        "sha256sum --check SHA256SUMS",
        "install -m 644 /usr/share/doc/pawl/examples/nftables.conf /etc/nftables.conf",
        "runuser -u pawl-keeper -- pawl maintain admin add ana --config /etc/pawl/pawl.toml",
        "install -D -m 644 /usr/share/doc/pawl/examples/pawl-no-network.conf /etc/systemd/system/pawl.service.d/no-network.conf",
        "pawl maintain forget web1 --keep-daily 14 --keep-weekly 8 --keep-monthly 12 --dry-run \\", // forget/drill.rs
        "pawl maintain run --keep-daily 14 --keep-weekly 8 --keep-monthly 12 \\", // run/drill.rs
        "pawl maintain admin revoke admin --data ./pawl-data",                    // maintenance/day_after.rs
    ];
    let first_lines: Vec<_> = blocks("sh").iter().map(|block| block.lines().next().unwrap()).collect();
    assert_eq!(first_lines, known);
}

#[test]
fn a_stranger_gets_to_a_first_backup_and_everything_back() {
    let terminal = Terminal::open();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let [run, forget, restore, enroll, ..] = blocks("sh")[..] else {
        unreachable!("the README has these blocks")
    };

    // The first command; only the port is left to the system.
    let command = format!("exec {}/{run} --listen 127.0.0.1:0", root.display());
    let mut shell = terminal.shell(&command);
    let home = std::env::var_os("HOME").unwrap_or_default(); // where cargo keeps what it has downloaded
    shell.env("HOME", home).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut server = Running(shell.spawn().unwrap());
    let mut log = BufReader::new(server.0.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("listening on http") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "the server did not start");
    }
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    let mut output = server.0.stdout.take().unwrap();
    let mut printed = Vec::new();
    until("three lines are printed", || {
        let mut some = [0; 4096];
        let len = output.read(&mut some).unwrap();
        printed.extend_from_slice(&some[..len]);
        text(&printed).contains("More hosts").then_some(())
    });

    // The three lines, in the README's form.
    let printed = text(&printed);
    let lines: Vec<_> = printed.lines().skip_while(|line| !line.starts_with("export")).take(3).collect();
    let described: Vec<_> = blocks("text")[0].lines().collect();
    assert_eq!(lines[1..], described[1..]);
    let (prefix, _) = described[0].split_once("web1").unwrap();
    assert!(lines[0].starts_with(prefix), "{}", lines[0]);

    let documents = terminal.path().join("home/documents");
    std::fs::create_dir(&documents).unwrap();
    std::fs::copy(root.join("README.md"), documents.join("readme")).unwrap();
    let backup = terminal.run(&lines.join("\n"));
    assert!(backup.status.success() && text(&backup.stdout).contains("snapshot"));

    let refused = terminal.run(&format!("{}\n{forget}", lines[0]));
    assert!(!refused.status.success() || text(&refused.stderr).contains("403"));
    let (_, rest) = README.split_once("It ends in `").unwrap();
    let (words, _) = rest.split_once('`').unwrap();
    let said = text(&refused.stdout) + &text(&refused.stderr);
    assert!(said.contains(words), "restic says {words}: {said}");

    let restored = terminal.run(&format!("{}\n{restore}", lines[0]));
    assert!(restored.status.success());
    let compared = terminal.run("diff -r home/documents restored/\"$HOME\"/documents");
    assert!(compared.status.success());

    // The first host has the machine's name.
    let (_, name) = lines[0].trim_end_matches("/'").rsplit_once('/').unwrap();
    let enrolled = terminal.run(&format!("exec <<<'of the repository'\n{}", enroll.replace("web1", name)));
    assert!(enrolled.status.success());
    let said = text(&enrolled.stdout);
    // The refused deletion above needs attention.
    assert!(said.contains("one that runs notices that") && said.contains("\"exit\":1"), "{said}");
}

#[test]
fn hosts_are_managed_as_the_readme_says() {
    let terminal = Terminal::open();
    std::fs::create_dir(terminal.path().join("pawl-data")).unwrap();
    for block in &blocks("sh")[5..=6] {
        assert!(terminal.run(block).status.success());
    }
    let hosts = terminal.run("pawl host list --json --data ./pawl-data");
    let hosts: serde_json::Value = serde_json::from_slice(&hosts.stdout).unwrap();
    let users: Vec<_> = hosts.as_array().unwrap().iter().map(|host| host["user"].as_str().unwrap()).collect();
    assert_eq!(users, ["db1", "db2", "db3", "spare"]);
}

#[test]
fn the_audit_log_is_read_as_the_readme_says() {
    let terminal = Terminal::open();
    std::fs::create_dir(terminal.path().join("pawl-data")).unwrap();
    let mut shell = terminal.shell("exec pawl serve --data ./pawl-data --listen 127.0.0.1:0");
    let mut server = Running(shell.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let mut log = BufReader::new(server.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(log.any(|line| line.contains("listening on http")));
    drop(server);
    let output = terminal.run(blocks("sh")[7]);
    assert!(output.status.success());
    assert!(text(&output.stdout).contains("records without a break"));
}

#[test]
fn the_configuration_of_the_readme_is_accepted_block_by_block() {
    let terminal = Terminal::open();
    let whole = blocks("toml").join("\n");
    assert!(whole.contains("[tls]") && whole.contains("[limits]") && whole.contains("[caps]"));
    let place =
        |text: &str| text.replace("/var/lib/pawl", "pawl-data").replace("pawl-data", &in_dir(&terminal));
    let certificate = "mkdir -p pawl-data tls
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
            -addext subjectAltName=IP:127.0.0.1 -keyout tls/key.pem -out tls/fullchain.pem 2>/dev/null
        echo 'ana:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=' >pawl-data/.htpasswd";
    assert!(terminal.run(certificate).status.success());
    let tls = terminal.path().join("tls");
    let config = place(&whole)
        .replace("/etc/pawl/tls", tls.to_str().unwrap())
        .replace("0.0.0.0:8000", "127.0.0.1:0")
        .replace("127.0.0.1:8001", "127.0.0.1:0");
    write(&terminal.path().join("pawl.toml"), &config);

    let command = blocks("sh")[9].replace("/etc/pawl/pawl.toml", "./pawl.toml");
    let mut shell = terminal.shell(&format!("exec {command}"));
    let mut server = Running(shell.stderr(Stdio::piped()).spawn().unwrap());
    let log = BufReader::new(server.0.stderr.take().unwrap());
    let ready = log.lines().map(Result::unwrap).find(|line| line.contains("listening on https"));
    assert!(ready.is_some(), "the server did not start with the README's configuration");
}

#[test]
fn a_bucket_takes_the_same_three_lines() {
    let terminal = Terminal::open();
    let moto = Moto::shared();
    let bucket = moto.bucket("backup", Kind::Versioned);
    let config = blocks("toml bucket")[0]
        .replace("/var/lib/pawl", &in_dir(&terminal))
        .replace("https://s3.example.org", &bucket.endpoint_url())
        .replace("bucket = \"backup\"", &format!("bucket = {:?}", bucket.name()));
    // moto's credential may do everything, and it checks no content: that must be said, as that the clock is right.
    let config = format!(
        "listen = \"127.0.0.1:0\"\n{config}\naccept = [\"powerful-credential\", \"unchecked-content\"]\n\
         [maintenance.run]\nclock_is_right = true\n"
    );
    std::fs::create_dir(terminal.path().join("pawl-data")).unwrap();
    write(&terminal.path().join("pawl.toml"), &config);
    let access = bucket.access();
    let with_access = |lines: &str| {
        let mut shell = terminal.shell(lines);
        shell.env("AWS_ACCESS_KEY_ID", &access.key).env("AWS_SECRET_ACCESS_KEY", &access.secret);
        shell.env("AWS_REGION", "us-east-1");
        shell
    };
    let mut shell = with_access("exec pawl serve --config ./pawl.toml");
    let mut server = Running(shell.stderr(Stdio::piped()).spawn().unwrap());
    let mut log = BufReader::new(server.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(log.any(|line| line.contains("listening on http")), "the server did not start");

    let block = blocks("sh")[10].replace("/etc/pawl/pawl.toml", "./pawl.toml");
    let output = with_access(&block).output().unwrap();
    let printed = text(&output.stdout);
    assert!(output.status.success() && printed.contains("the bucket keeps versions"), "{printed}");
    let lines: Vec<_> = printed.lines().skip_while(|line| !line.starts_with("export")).take(3).collect();
    assert_eq!(lines[1..], blocks("text")[0].lines().collect::<Vec<_>>()[1..]);
    write(&terminal.path().join("home/document"), "a document");
    let backup = terminal.run(&lines.join("\n"));
    assert!(backup.status.success() && text(&backup.stdout).contains("snapshot"));
    let config = bucket.get("pawl/web1/config").unwrap();
    assert!(!config.is_empty());
}

fn in_dir(terminal: &Terminal) -> String {
    terminal.path().join("pawl-data").to_str().unwrap().to_owned()
}

#[expect(clippy::disallowed_methods, reason = "a test's own file")]
fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}
