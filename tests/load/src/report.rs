//! Tables of medians, and each server's ratio to the first one.
//!
//! Invariant: every figure is the median of the rounds; all rounds stand in the JSON beside it.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::Outcome;
use crate::cost::float;
use crate::measurement::Measurement;

const MIB: f64 = 1_048_576.0;
const GIB: f64 = 1024.0 * MIB;
/// From so many bytes a request on, what counts is the cost of bytes.
const LARGE_BYTES: f64 = 32_768.0;
/// From so many seconds of the processor a request on, it is told by itself.
const LONG_SECONDS: f64 = 0.02;

/// The medians of one server's rounds.
#[derive(Debug, serde::Serialize)]
struct Summary {
    server: String,
    rounds: usize,
    mib_per_second: f64,
    requests_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    first_ms: Option<f64>,
    cpu: f64,
    cpu_unit: &'static str,
    peak_mib: f64,
    own_mib: f64,
}

/// Prints the tables, and writes everything into `json`.
pub(crate) fn print(all: &[Measurement], json: Option<&Path>) -> Outcome {
    let (mut text, mut works) = (String::new(), Vec::new());
    for setting in distinct(all, |one| (one.place.clone(), one.protocol.clone())) {
        let here = || all.iter().filter(|one| (&one.place, &one.protocol) == (&setting.0, &setting.1));
        write!(text, "\n{}, {}\n\n{HEAD}", setting.0, setting.1)?;
        let named: Vec<_> = here().collect();
        for work in distinct(named.iter().copied(), |one| one.work.clone()) {
            let done: Vec<_> = here().filter(|one| one.work == work).collect();
            let summaries: Vec<_> = distinct(done.iter().copied(), |one| one.server.clone())
                .iter()
                .map(|name| {
                    summary(name, &done.iter().copied().filter(|one| one.server == *name).collect::<Vec<_>>())
                })
                .collect();
            let Some(first) = summaries.first() else { continue };
            for one in &summaries {
                row(&mut text, &work, one, first)?;
            }
            let ratios: Vec<_> = summaries.iter().map(|one| ratios(one, first)).collect();
            works.push(json!({ "place": setting.0, "protocol": setting.1, "work": work, "medians": summaries, "ratios": ratios }));
        }
    }
    crate::measurement::print(text.trim_start())?;
    if let Some(path) = json {
        let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).open(path);
        let file = file.map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::to_writer_pretty(file, &json!({ "works": works, "rounds": all }))?;
    }
    Ok(())
}

const HEAD: &str = "\
    | work | server | MiB/s | requests/s | p50 ms | p99 ms | CPU | peak MiB | own MiB |\n\
    |---|---|---:|---:|---:|---:|---:|---:|---:|\n";

fn row(text: &mut String, work: &str, one: &Summary, first: &Summary) -> std::fmt::Result {
    let cell = |value: f64, of: f64| match value {
        0.0 => "–".to_owned(),
        _ if one.server == first.server || of <= 0.0 => figure(value),
        _ => format!("{} ({:.2}x)", figure(value), value / of),
    };
    let begins = one.first_ms.map_or_else(String::new, |ms| format!(", first entry after {} ms", figure(ms)));
    writeln!(
        text,
        "| {work}{begins} | {} | {} | {} | {} | {} | {} {} | {} | {} |",
        one.server,
        cell(one.mib_per_second, first.mib_per_second),
        cell(one.requests_per_second, first.requests_per_second),
        cell(one.p50_ms, first.p50_ms),
        cell(one.p99_ms, first.p99_ms),
        cell(one.cpu, first.cpu),
        one.cpu_unit,
        cell(one.peak_mib, first.peak_mib),
        cell(one.own_mib, first.own_mib),
    )
}

/// Three digits say all that can be measured here.
fn figure(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn ratios(one: &Summary, first: &Summary) -> Value {
    let ratio = |value: f64, of: f64| if of > 0.0 { json!(value / of) } else { Value::Null };
    json!({
        "server": one.server,
        "mib_per_second": ratio(one.mib_per_second, first.mib_per_second),
        "requests_per_second": ratio(one.requests_per_second, first.requests_per_second),
        "p50_ms": ratio(one.p50_ms, first.p50_ms),
        "p99_ms": ratio(one.p99_ms, first.p99_ms),
        "first_ms": ratio(one.first_ms.unwrap_or_default(), first.first_ms.unwrap_or_default()),
        "cpu": ratio(one.cpu, first.cpu),
        "peak_mib": ratio(one.peak_mib, first.peak_mib),
        "own_mib": ratio(one.own_mib, first.own_mib),
    })
}

fn summary(name: &str, rounds: &[&Measurement]) -> Summary {
    let of = |figure: fn(&Measurement) -> f64| median(rounds.iter().map(|one| figure(one)).collect());
    let per_second = |amount: f64, seconds: f64| if seconds > 0.0 { amount / seconds } else { 0.0 };
    let bytes = of(|one| float(one.bytes));
    let requests = of(|one| float(one.requests));
    let seconds_each = per_second(of(|one| one.cpu_seconds), requests);
    let (cpu, cpu_unit) = if requests <= 0.0 {
        (of(|one| one.cpu_seconds), "s")
    } else if bytes <= 0.0 && seconds_each < LONG_SECONDS || bytes > 0.0 && bytes / requests < LARGE_BYTES {
        (seconds_each * 1e6, "µs/request")
    } else if bytes <= 0.0 || rounds.iter().any(|one| one.first_ms.is_some()) {
        (seconds_each, "s")
    } else {
        (of(|one| one.cpu_seconds) * GIB / bytes, "s/GiB")
    };
    Summary {
        server: name.to_owned(),
        rounds: rounds.len(),
        mib_per_second: per_second(bytes / MIB, of(|one| one.seconds)),
        requests_per_second: per_second(requests, of(|one| one.seconds)),
        p50_ms: of(|one| one.p50_ms),
        p99_ms: of(|one| one.p99_ms),
        first_ms: rounds
            .iter()
            .all(|one| one.first_ms.is_some())
            .then(|| of(|one| one.first_ms.unwrap_or_default())),
        cpu,
        cpu_unit,
        peak_mib: of(|one| one.peak_mib),
        own_mib: of(|one| one.own_mib),
    }
}

/// The one in the middle; of an even number, the mean of the two.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or_default();
    f64::midpoint(at(values.len().saturating_sub(1) / 2), at(values.len() / 2))
}

/// Each key once, in the order in which they come.
fn distinct<'a, K: PartialEq>(
    all: impl IntoIterator<Item = &'a Measurement>,
    key: impl Fn(&Measurement) -> K,
) -> Vec<K> {
    let mut keys = Vec::new();
    for key in all.into_iter().map(key) {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}
