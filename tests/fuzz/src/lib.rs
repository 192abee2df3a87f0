//! A target for each parser of hostile input: a function that takes any bytes, and stops where a rule does not hold.
//!
//! Invariant: a target goes through the functions that Pawl itself calls. What it holds on to from one input to the next
//! never changes what it says of an input.

#![expect(clippy::unwrap_used, reason = "a target stops where a rule does not hold")]
#![forbid(unsafe_code)]

mod audit;
mod http;
mod keeper;
mod restic;
mod scratch;
mod settings;
mod store;
mod stored;

/// A parser, or the parsers of one kind of input.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, which its folder in `corpus` has as well.
    pub name: &'static str,
    /// Takes an input; panics where a rule does not hold.
    pub run: fn(&[u8]),
    /// Inputs by chance that the gate gives to it, as many as take about a second.
    pub by_chance: u32,
}

const fn target(name: &'static str, run: fn(&[u8]), by_chance: u32) -> Target {
    Target { name, run, by_chance }
}

/// Every target, with how many inputs the test makes for it by chance.
pub const TARGETS: &[Target] = &[
    target("audit", audit::log, 500),
    target("batch", stored::batch, 500),
    target("checkpoint", audit::checkpoint, 2000),
    target("config", settings::config, 2000),
    target("facts", stored::facts, 5000),
    target("hosts", settings::hosts, 500),
    target("htpasswd", settings::htpasswd, 2000),
    target("http", http::connection, 500),
    target("index", restic::index, 10_000),
    target("keeper", keeper::requests, 50),
    target("keeper_replies", keeper::replies, 1000),
    target("key", restic::key, 5000),
    target("lock", restic::lock, 10_000),
    target("names", settings::names, 10_000),
    target("pack_header", restic::pack_header, 10_000),
    target("sealed", restic::sealed, 10_000),
    target("snapshot", restic::snapshot, 10_000),
    target("tree", restic::tree, 10_000),
    target("unpacked", restic::unpacked, 1000),
];

/// Runs what waits for sockets, and looks at these at each turn, so that the same input takes the same way.
fn run<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().event_interval(1).build().unwrap().block_on(work)
}

/// The target that a test, or libFuzzer's program, asks for.
#[must_use]
pub fn named(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
