//! One line of results.
//!
//! Invariant: it says under what circumstances it came to be, so that lines can be put together in any order.

use std::io::Write;

use serde::{Deserialize, Serialize};

use crate::cost::{Spent, float};
use crate::{Outcome, Setting};

/// One round of one work on one server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Measurement {
    pub(crate) place: String,
    pub(crate) protocol: String,
    pub(crate) work: String,
    pub(crate) server: String,
    pub(crate) round: u32,
    pub(crate) requests: u64,
    /// Bytes of content, sent or received.
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// When the first entry of a listing was there.
    pub(crate) first_ms: Option<f64>,
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_mib: f64,
    pub(crate) own_mib: f64,
}

impl Measurement {
    pub(crate) fn new(setting: &Setting, server: &str, work: &str, round: u32, mut spent: Spent) -> Self {
        spent.latencies_ms.sort_by(f64::total_cmp);
        let nth = |percent: usize| {
            let last = spent.latencies_ms.len().saturating_sub(1);
            spent.latencies_ms.get((last * percent).div_ceil(100)).copied().unwrap_or_default()
        };
        Self {
            place: setting.place.clone(),
            protocol: setting.protocol.to_string(),
            work: work.to_owned(),
            server: server.to_owned(),
            round,
            requests: spent.requests,
            bytes: spent.bytes,
            seconds: spent.seconds,
            p50_ms: nth(50),
            p99_ms: nth(99),
            first_ms: spent.first_ms,
            cpu_seconds: spent.cpu_seconds,
            peak_mib: float(spent.peak_kib) / 1024.0,
            own_mib: float(spent.own_kib) / 1024.0,
        }
    }

    pub(crate) fn print(&self) -> Outcome {
        print(&format!("{}\n", serde_json::to_string(self)?))
    }
}

/// Writes to standard output.
pub(crate) fn print(text: &str) -> Outcome {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
