//! The commands and settings of the pages in `docs`, run as they stand there.
//!
//! Invariant: every `sh` block of every page is known here, and each is run; a block that is added without a test fails.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

mod settings;
mod words;

use std::path::Path;

use pawl_tests::bucket::Kind;
use pawl_tests::document::{blocks, pages};
use pawl_tests::moto::Moto;
use pawl_tests::terminal::{PASSWORD, Serving, Terminal};

/// Each page that has `sh` blocks, with their first lines. A test of another area that runs a block is named beside it.
const KNOWN: [(&str, &[&str]); 12] = [
    (
        "docs/after-an-attack.md",
        &["pawl maintain admin revoke admin --data ./pawl-data"], // maintenance/day_after.rs
    ),
    (
        "docs/audit-log.md",
        &[
            "pawl audit show --principal db1 --since 2026-11-01 --data ./pawl-data",
            "pawl audit archive --before 2026-01-01 --to /mnt/archive --data ./pawl-data", // audit/archive.rs
        ],
    ),
    ("docs/certificates.md", &["pawl host add db1 --certificate db1.pem --config /etc/pawl/pawl.toml"]),
    ("docs/configuration.md", &["pawl serve --config /etc/pawl/pawl.toml"]),
    (
        "docs/hosts.md",
        &[
            "pawl host add db1 --data ./pawl-data",
            "pawl host add db2 --quota 200GiB --network 192.0.2.0/24 --expires 2027-12-31 --data ./pawl-data",
        ],
    ),
    (
        "docs/install.md",
        // All four: deployment/.
        &[
            "sha256sum --check SHA256SUMS",
            "install -m 644 /usr/share/doc/pawl/examples/nftables.conf /etc/nftables.conf",
            "runuser -u pawl-keeper -- pawl maintain admin add ana --config /etc/pawl/pawl.toml",
            "install -D -m 644 /usr/share/doc/pawl/examples/pawl-no-network.conf /etc/systemd/system/pawl.service.d/no-network.conf",
        ],
    ),
    ("docs/maintenance.md", &["pawl maintain undelete --data ./pawl-data"]),
    (
        "docs/nightly-run.md",
        &[
            "(umask 077 && cat > web1.password)       # type the password of `restic init`, then Ctrl-D", // readme.rs
            "pawl maintain run --keep-daily 14 --keep-weekly 8 --keep-monthly 12 \\", // run/drill.rs
        ],
    ),
    (
        "docs/report.md",
        &[
            "pawl maintain report --data ./pawl-data || test $? = 1",
            "pawl maintain report --json --data ./pawl-data >2026-11-21.json || test $? = 1",
        ],
    ),
    (
        "docs/retention.md",
        // forget/drill.rs
        &["pawl maintain forget web1 --keep-daily 14 --keep-weekly 8 --keep-monthly 12 --dry-run \\"],
    ),
    (
        "docs/s3.md",
        &["pawl doctor --config /etc/pawl/pawl.toml", "pawl maintain undelete --config /etc/pawl/pawl.toml"],
    ),
    (
        "docs/verify-and-repair.md",
        &[
            "pawl maintain verify --data ./pawl-data                       # every day",
            "pawl maintain restore --dry-run --data ./pawl-data",
            "pawl maintain restore web1 --set-aside --password-file web1.password --data ./pawl-data",
        ],
    ),
];

#[test]
fn every_command_of_the_pages_is_known_to_a_test() {
    let mut found = Vec::new();
    for page in pages().into_iter().filter(|page| page.starts_with("docs/")) {
        let first = |block: &String| block.lines().next().unwrap_or_default().to_owned();
        let first_lines: Vec<_> = blocks(&page, "sh").iter().map(first).collect();
        if !first_lines.is_empty() {
            found.push((page, first_lines));
        }
    }
    let known =
        KNOWN.map(|(page, lines)| (page.to_owned(), lines.iter().map(|line| (*line).to_owned()).collect()));
    assert_eq!(found, known);
}

#[test]
fn hosts_are_managed_as_the_page_says() {
    let terminal = Terminal::open();
    for block in blocks("docs/hosts.md", "sh") {
        let _ = terminal.run(&block).expect_code(0);
    }
    let hosts = terminal.run("pawl host list --json --data ./pawl-data").json();
    let users: Vec<_> = hosts.as_array().unwrap().iter().map(|host| host["user"].as_str().unwrap()).collect();
    assert_eq!(users, ["db1", "db2", "db3", "spare"]);
}

#[test]
fn hosts_get_certificates_as_the_page_says() {
    let terminal = Terminal::open();
    let config = format!("data = {:?}\n[tls]\nnames = [\"backup.example.org\"]\n", terminal.at("pawl-data"));
    write(&terminal.path().join("pawl.toml"), &config);
    let block = blocks("docs/certificates.md", "sh")[0].replace("/etc/pawl/pawl.toml", "./pawl.toml");
    let printed = terminal.run(&block).expect_code(0).stdout;
    assert!(printed.contains("RESTIC_TLS_CLIENT_CERT"), "{printed}");
    for file in ["db1.pem", "db2.pem", "db1-new.pem"] {
        assert!(terminal.path().join(file).exists(), "{file}");
    }
}

#[test]
fn the_audit_log_is_read_as_the_page_says() {
    let terminal = Terminal::open();
    drop(terminal.serve());
    let output = terminal.run(&blocks("docs/audit-log.md", "sh")[0]).expect_code(0);
    assert!(output.stdout.contains("records without a break"));
}

#[test]
fn the_configuration_is_accepted_block_by_block() {
    let terminal = Terminal::open();
    let whole = blocks("docs/configuration.md", "toml").join("\n");
    for table in ["[tls]", "[limits]", "[caps]", "[maintenance.run]", "[maintenance.report]"] {
        assert!(whole.contains(table), "{table}");
    }
    let certificate = "mkdir -p tls
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
            -addext subjectAltName=IP:127.0.0.1 -keyout tls/key.pem -out tls/fullchain.pem 2>/dev/null
        echo 'ana:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=' >pawl-data/.htpasswd";
    let _ = terminal.run(certificate).expect_code(0);
    let config = whole
        .replace("/var/lib/pawl", &terminal.at("pawl-data"))
        .replace("/etc/pawl/tls", &terminal.at("tls"))
        .replace("0.0.0.0:8000", "127.0.0.1:0")
        .replace("127.0.0.1:8001", "127.0.0.1:0");
    write(&terminal.path().join("pawl.toml"), &config);
    let command = blocks("docs/configuration.md", "sh")[0].replace("/etc/pawl/pawl.toml", "./pawl.toml");
    drop(Serving::start(terminal.shell(&format!("exec {command}"))));

    let migrated = blocks("docs/migrate-from-rest-server.md", "toml").remove(0);
    let migrated = migrated.replace("/var/lib/pawl", &terminal.at("pawl-data"));
    write(&terminal.path().join("migrated.toml"), &migrated);
    let listed = terminal.run("pawl host list --config ./migrated.toml").expect_code(0);
    assert!(listed.stdout.contains("ana"), "{listed:#?}");
}

#[test]
fn a_bucket_takes_the_same_three_lines_and_is_maintained() {
    let terminal = Terminal::open();
    let moto = Moto::shared();
    let bucket = moto.bucket("backup", Kind::Versioned);
    let access = bucket.access();
    let credentials = terminal.at("credentials");
    write(
        Path::new(&credentials),
        &format!(
            "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
            access.key, access.secret
        ),
    );
    let config = blocks("docs/s3.md", "toml bucket")[0]
        .replace("/var/lib/pawl", &terminal.at("pawl-data"))
        .replace("https://s3.example.org", &bucket.endpoint_url())
        .replace("bucket = \"backup\"", &format!("bucket = {:?}", bucket.name()));
    // moto's credential may do everything, and it checks no content: that must be said, as that the clock is right.
    let config = format!(
        "listen = \"127.0.0.1:0\"\n{config}\naccept = [\"powerful-credential\", \"unchecked-content\"]\n\
         [maintenance]\ncredentials_file = {credentials:?}\n[maintenance.run]\nassume_clock_synced = true\n"
    );
    write(&terminal.path().join("pawl.toml"), &config);
    let with_access = |lines: &str| {
        let lines = lines.replace("/etc/pawl/pawl.toml", "./pawl.toml");
        format!(
            "export AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY={} AWS_REGION=us-east-1\n{lines}",
            access.key, access.secret
        )
    };
    let _server = Serving::start(terminal.shell(&with_access("exec pawl serve --config ./pawl.toml")));

    let commands = blocks("docs/s3.md", "sh");
    let printed = terminal.run(&with_access(&commands[0])).expect_code(0).stdout;
    assert!(printed.contains("the bucket keeps versions"), "{printed}");
    let lines: Vec<_> = printed.lines().skip_while(|line| !line.starts_with("export")).take(3).collect();
    assert_eq!(lines[1..], blocks("README.md", "text")[0].lines().collect::<Vec<_>>()[1..]);
    write(&terminal.path().join("home/document"), "a document");
    let backup = terminal.run(&lines.join("\n")).expect_code(0);
    assert!(backup.stdout.contains("snapshot"));
    assert!(!bucket.get("pawl/web1/config").unwrap().is_empty());

    let maintained = terminal.run(&with_access(&commands[1])).expect_code(0);
    assert!(maintained.stdout.contains("web1"), "{maintained:#?}");
}

/// A host has backed up; then the pages on maintenance, on the report, and on damage are followed from top to bottom.
#[test]
fn a_repository_is_looked_after_as_the_pages_say() {
    let terminal = Terminal::open();
    let server = terminal.serve();
    let added = terminal.run("pawl host add web1 --data ./pawl-data").expect_code(0).stdout;
    let lines: Vec<_> = added.lines().skip_while(|line| !line.starts_with("export")).take(3).collect();
    write(&terminal.path().join("home/document"), "a document");
    let _ = terminal.run(&lines.join("\n")).expect_code(0);
    drop(server);
    let prepared = format!("umask 077; echo '{PASSWORD}' >web1.password; cp -a pawl-data second");
    let _ = terminal.run(&prepared).expect_code(0);
    for page in ["docs/maintenance.md", "docs/report.md", "docs/verify-and-repair.md"] {
        for block in blocks(page, "sh") {
            let _ = terminal.run(&block.replace("/mnt/second", "./second")).expect_code(0);
        }
    }
    let html = std::fs::read_to_string(terminal.path().join("report.html")).unwrap();
    assert!(html.contains("web1"), "{html}");
}

#[expect(clippy::disallowed_methods, reason = "a test's own file")]
fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}
