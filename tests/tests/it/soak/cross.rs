//! Real restic clients that back up again and again while others hoard, flood, guess and fill.
//!
//! Invariant: every backup of an honest host succeeds, and nothing that an honest host asks for is refused.
//!
//! `PAWL_SOAK_MINUTES=60 PAWL_SOAK_HOSTS=64 scripts/test --cross -E 'test(/^soak::/)'` runs it for an hour.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on should stop; it prints a table"
)]

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pawl_tests::clients::{Restic, Version};
use pawl_tests::content::{id_of, noise};
use pawl_tests::http::{Client, Connection, Request};
use pawl_tests::memory::resident_kib;
use pawl_tests::server::Server;
use pawl_tests::store::plant;

/// Each bad client pauses so long between attempts, so that the machine's processors are shared by all.
const PAUSE: Duration = Duration::from_millis(20);
/// So long each host pauses between two backups, for each host that there is: all together begin about one a second.
const BETWEEN_BACKUPS: Duration = Duration::from_secs(1);

fn number(name: &str, default: u64) -> u64 {
    std::env::var_os(name).and_then(|text| text.to_str()?.parse().ok()).unwrap_or(default)
}

/// What a bad client does until the time is over, and how often it did it.
type Bad = (&'static str, fn(&Ground));

/// What bad clients know.
struct Ground {
    server: std::net::SocketAddr,
    until: Instant,
    thief: Client,
    dripper: Client,
    announcer: Client,
    revoked: Client,
    attempts: AtomicU64,
}

impl Ground {
    fn attempts(&self) -> bool {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        thread::sleep(PAUSE);
        Instant::now() < self.until
    }
}

const BAD: [Bad; 7] = [
    ("holds connections open", hold),
    ("sends a byte a second", drip),
    ("announces 4 GiB", announce),
    ("opens connections", flood),
    ("stores tiny files", fill),
    ("guesses passwords", guess),
    ("was revoked", come_back),
];

/// Requests without a credential, whose bodies never come.
fn hold(ground: &Ground) {
    let mut held = Vec::new();
    while ground.attempts() {
        if let Ok(mut connection) = Connection::open_from(Ipv4Addr::new(127, 0, 0, 2), ground.server) {
            let request = Request::new("POST", "/web/data/00").header("Content-Length", "1000");
            let _ = connection.send(&request);
            held.push(connection);
        }
        if held.len() > 200 {
            held.clear();
        }
    }
}

/// An upload that takes for ever.
fn drip(ground: &Ground) {
    while ground.attempts() {
        let Ok(mut connection) = Connection::open(ground.server) else { continue };
        let target = format!("/dripper/data/{}", id_of(b"dripped"));
        let request =
            ground.dripper.signed(Request::new("POST", &target)).header("Content-Length", "1000000");
        let mut sent = connection.send(&request);
        while sent.is_ok() && Instant::now() < ground.until {
            sent = connection.send_bytes(b"x");
            thread::sleep(Duration::from_secs(1));
        }
    }
}

/// Uploads that promise more than comes.
fn announce(ground: &Ground) {
    let mut announced = Vec::new();
    while ground.attempts() {
        let Ok(mut connection) = Connection::open(ground.server) else { continue };
        let target = format!("/announcer/data/{}", id_of(format!("{}", announced.len()).as_bytes()));
        let request =
            ground.announcer.signed(Request::new("POST", &target)).header("Content-Length", "4294967296");
        let _ = connection.send(&request);
        announced.push(connection);
        if announced.len() > 44 {
            announced.clear();
        }
    }
}

/// Connections that say nothing and end.
fn flood(ground: &Ground) {
    while ground.attempts() {
        for _ in 0..5 {
            drop(Connection::open_from(Ipv4Addr::new(127, 0, 0, 3), ground.server));
        }
    }
}

/// Files of a few bytes, until the quota is full and on.
fn fill(ground: &Ground) {
    let mut stored = 0_u64;
    while ground.attempts() {
        let content = noise(&format!("tiny {stored}"), 40);
        let _ = ground.thief.post(&format!("/thief/data/{}", id_of(&content)), &content);
        stored += 1;
    }
}

/// A wrong password each time.
fn guess(ground: &Ground) {
    while ground.attempts() {
        let stranger = Client::new(ground.server, "honest-0", "wrong");
        let Ok(mut connection) = Connection::open_from(Ipv4Addr::new(127, 0, 0, 4), ground.server) else {
            continue;
        };
        let _ = connection.exchange(&stranger.signed(Request::new("GET", "/honest-0/config")));
    }
}

/// A credential that counted once.
fn come_back(ground: &Ground) {
    while ground.attempts() {
        let _ = ground.revoked.ask("GET", "/revoked/config");
    }
}

#[test]
fn honest_hosts_back_up_beside_one_client_of_each_bad_kind() {
    let minutes = number("PAWL_SOAK_MINUTES", 1);
    let server = Server::start();
    let hosts: Vec<_> = (0..number("PAWL_SOAK_HOSTS", 16))
        .map(|host| {
            let restic = Restic::new(Version::V0_19, &server.add_host(&format!("honest-{host}"), &[]));
            restic.succeed(["init"]);
            restic
        })
        .collect();
    let thief = server.add_client("thief", &["--quota", "1MiB"]);
    let [dripper, announcer, revoked] =
        ["dripper", "announcer", "revoked"].map(|name| server.add_client(name, &[]));
    for (name, client) in
        [("thief", &thief), ("dripper", &dripper), ("announcer", &announcer), ("revoked", &revoked)]
    {
        assert_eq!(client.ask("POST", &format!("/{name}/?create=true")).unwrap().status, 200);
    }
    let _ = server.host(&["revoke", "revoked"]).expect_code(0);

    let (begun, until) = (Instant::now(), Instant::now() + Duration::from_mins(minutes));
    let ground = |_| Ground {
        server: server.address(),
        until,
        thief: thief.clone(),
        dripper: dripper.clone(),
        announcer: announcer.clone(),
        revoked: revoked.clone(),
        attempts: AtomicU64::new(0),
    };
    let grounds: Vec<_> = BAD.iter().map(ground).collect();
    let backups = AtomicU64::new(0);
    let pause = BETWEEN_BACKUPS * u32::try_from(hosts.len()).unwrap();
    let resident = || [server.door_pid(), server.keeper_pid()].map(resident_kib);
    let (mut early, mut late) = ([0; 2], [0; 2]);
    thread::scope(|scope| {
        for ((_, bad), ground) in BAD.iter().zip(&grounds) {
            scope.spawn(move || bad(ground));
        }
        for (number, restic) in hosts.iter().enumerate() {
            let backups = &backups;
            scope.spawn(move || {
                let files = restic.home().join("files");
                for day in 0.. {
                    if Instant::now() >= until {
                        break;
                    }
                    plant(&files.join("changing"), &noise(&format!("{number} {day}"), 50_000));
                    let backed_up = restic.run(["backup", files.to_str().unwrap()]).expect_code(0);
                    assert!(!backed_up.stderr.contains("retrying"), "{backed_up:?}");
                    backups.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(pause);
                }
            });
        }
        thread::sleep((until - begun) / 4);
        early = resident();
        thread::sleep(until.saturating_duration_since(Instant::now()));
        late = resident();
    });

    for restic in &hosts {
        restic.check();
    }
    let log = server.log().text();
    let is_refusal = |line: &&str| line.contains(" WARN ") || line.contains(" ERROR ");
    let of_honest = log.lines().filter(|line| line.contains("principal=\"honest-"));
    let refused: Vec<_> = of_honest.filter(is_refusal).collect();
    println!("{} hosts made {} backups in {minutes} min", hosts.len(), backups.load(Ordering::Relaxed));
    for ((what, _), ground) in BAD.iter().zip(&grounds) {
        println!("{:>8} times: {what}", ground.attempts.load(Ordering::Relaxed));
    }
    println!(
        "server {} KiB after a quarter, {} at the end; keeper {}, {}",
        early[0], late[0], early[1], late[1]
    );
    assert!(refused.is_empty(), "what honest hosts asked for was refused:\n{}", refused.join("\n"));
    for (early, late) in early.into_iter().zip(late) {
        assert!(late < early + early / 2 + 8 * 1024, "memory grows: {early} KiB, then {late} KiB");
    }
}
