//! What one run reads, in which order.
//!
//! Invariant: what is doubtful comes first; nothing is read twice.

use std::collections::BTreeMap;

use pawl_policy::Handle;

use super::RepositoryScan;
use crate::verify::schedule::Part;

/// A file to be read.
pub(super) struct Job {
    pub(super) scan: usize,
    pub(super) handle: Handle,
    pub(super) bytes: u64,
}

/// All parts of these repositories.
pub(super) fn parts(scans: &[RepositoryScan]) -> Vec<Part> {
    let mut parts = Vec::new();
    for (repository, scan) in scans.iter().enumerate() {
        let mut bytes = [0_u64; 256];
        for (handle, size) in &scan.seen.files {
            if let Some(bytes) = first(handle).and_then(|first| bytes.get_mut(usize::from(first))) {
                *bytes = bytes.saturating_add(*size);
            }
        }
        for (first, bytes) in (0..=u8::MAX).zip(bytes) {
            let read_ms = scan.state.read_ms(first);
            let since_ms = read_ms.or(scan.state.since_ms());
            parts.push(Part { repository, first, bytes, read_ms, since_ms });
        }
    }
    parts
}

/// The first byte of a file's id.
pub(super) const fn first(handle: &Handle) -> Option<u8> {
    match handle {
        Handle::Config => None,
        Handle::File(_, id) => {
            let [first, ..] = id.sha256();
            Some(*first)
        }
    }
}

/// What is to be read: first what is doubtful, then the parts in their order.
pub(super) fn jobs(scans: &[RepositoryScan], turn: &[Part]) -> Vec<Job> {
    let order: BTreeMap<_, _> =
        turn.iter().enumerate().map(|(at, part)| ((part.repository, part.first), at)).collect();
    let mut jobs = Vec::new();
    for (scan, of) in scans.iter().enumerate() {
        for (handle, bytes) in &of.seen.files {
            let at = first(handle).and_then(|first| order.get(&(scan, first)));
            let doubtful = of.seen.doubtful.contains(handle);
            if at.is_some() || doubtful {
                jobs.push((!doubtful, at.copied(), Job { scan, handle: *handle, bytes: *bytes }));
            }
        }
    }
    jobs.sort_by_key(|(trusted, at, job)| (*trusted, *at, job.handle));
    jobs.into_iter().map(|(.., job)| job).collect()
}
