//! What work costs a server's processes: the one that was started, and its children.
//!
//! Invariant: the kernel counts (proc(5)); nothing is estimated.

use std::fs::{self, OpenOptions};
use std::io::Write;

use crate::Outcome;

/// What was done, and what it cost.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spent {
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    /// How long each request took.
    pub(crate) latencies_ms: Vec<f64>,
    /// When the first entry of the listing was there.
    pub(crate) first_ms: Option<f64>,
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_kib: u64,
    /// At the end: what no file backs, so that it cannot be given back and read again.
    pub(crate) own_kib: u64,
}

/// The processes of a server, from now on.
#[derive(Debug)]
pub(crate) struct Cost {
    pids: Vec<u32>,
    ticks: u64,
}

impl Cost {
    pub(crate) fn watch(pid: u32) -> Outcome<Self> {
        let mut pids = vec![pid];
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread that has nothing to do may end meanwhile: its entry is gone, or its process no longer found (ESRCH).
            let Ok(children) = fs::read_to_string(task?.path().join("children")) else { continue };
            pids.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        for pid in &pids {
            // Forgets the highest memory so far.
            OpenOptions::new().write(true).open(format!("/proc/{pid}/clear_refs"))?.write_all(b"5")?;
        }
        let ticks = total(&pids, ticks)?;
        Ok(Self { pids, ticks })
    }

    /// Notes what was spent since.
    pub(crate) fn note(&self, spent: &mut Spent) -> Outcome {
        let ticks = total(&self.pids, ticks)?.saturating_sub(self.ticks);
        spent.cpu_seconds = float(ticks) / float(rustix::param::clock_ticks_per_second());
        spent.peak_kib = total(&self.pids, |pid| kib(pid, "status", "VmHWM:"))?;
        spent.own_kib = total(&self.pids, |pid| kib(pid, "smaps_rollup", "Anonymous:"))?;
        Ok(())
    }
}

fn total(pids: &[u32], of: fn(u32) -> Outcome<u64>) -> Outcome<u64> {
    pids.iter().try_fold(0, |sum, pid| Ok(sum + of(*pid)?))
}

/// Time in the processor, of the program and of the kernel for it.
fn ticks(pid: u32) -> Outcome<u64> {
    let stat =
        fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|_| format!("process {pid} is gone"))?;
    // 4711 (its name) S 4710 …
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let mut times = after.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok());
    match (times.next(), times.next()) {
        (Some(user), Some(system)) => Ok(user + system),
        _ => Err(format!("expected the times of process {pid}, found {stat:?}").into()),
    }
}

/// The value of this name in a file of the process in /proc.
fn kib(pid: u32, file: &str, name: &str) -> Outcome<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}"))?;
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    let number = value.and_then(|value| value.trim().strip_suffix(" kB")?.parse().ok());
    number.ok_or_else(|| format!("expected {name} in /proc/{pid}/{file}").into())
}

#[expect(clippy::cast_precision_loss, reason = "figures of a few digits are printed")]
pub(crate) const fn float(number: u64) -> f64 {
    number as f64
}
