//! What is counted while the frontend works, and how Prometheus is told.
//!
//! Invariant: no label holds what a stranger wrote. Principals have proved who they are, repositories were granted to
//! them, and all other labels are words of Pawl's own: the hosts file bounds how many series there are.

mod reason;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pawl_policy::{Action, Denial, FileType, Handle, PrincipalName, Quota, RepositoryName, Usage};
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder, text};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::{Metric, Registry};

use pawl_config::Level;
use pawl_store::body::BodyError;
use pawl_store::deletions::DeletionError;
use pawl_store::{AHEAD_MAX_MS, CreateError, Space};
use reason::{OTHER_REASONS, denied, reason, would_destroy};

use super::respond::Refusal;
use crate::credentials::AuthenticationError;

/// A number that only grows. The crate's own counter speaks `OpenMetrics`, where `_total` is no part of the name; in
/// Prometheus' text format, which more programs read, it is.
#[derive(Debug, Clone, Default)]
struct Total(Arc<AtomicU64>);

impl Total {
    fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }
}

impl TypedMetric for Total {
    const TYPE: MetricType = MetricType::Counter;
}

impl EncodeMetric for Total {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_gauge(&self.0.load(Ordering::Relaxed))
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// One that is there at the moment. Dropping it counts it no more.
#[derive(Debug)]
pub(super) struct Present(Gauge);

impl Present {
    fn count(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    /// As in the log, or nothing for a request that is no action or came from a stranger.
    action: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PrincipalLabel {
    principal: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RepositoryLabel {
    repository: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GrantLabels {
    repository: String,
    principal: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FileLabels {
    repository: String,
    r#type: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LevelLabel {
    level: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VersionLabel {
    version: &'static str,
}

/// A request that has ended.
#[derive(Debug)]
pub(super) struct Finished<'a> {
    pub(super) action: Option<&'a Action>,
    pub(super) status: u16,
    /// Who asked, if that was proved.
    pub(super) principal: Option<&'a PrincipalName>,
    pub(super) received_bytes: u64,
    pub(super) sent_bytes: u64,
}

/// Everything that is counted.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Total>,
    received_bytes: Family<PrincipalLabel, Total>,
    sent_bytes: Family<PrincipalLabel, Total>,
    refusals: Family<ReasonLabel, Total>,
    refused_deletions: Total,
    hash_mismatches: Total,
    damaged_copies: Total,
    login_failures: Total,
    logins_throttled: Total,
    files_created: Family<FileLabels, Total>,
    last_snapshot: Family<RepositoryLabel, Gauge>,
    repository_bytes: Family<RepositoryLabel, Gauge>,
    repository_files: Family<RepositoryLabel, Gauge>,
    quota_bytes: Family<GrantLabels, Gauge>,
    quota_files: Family<GrantLabels, Gauge>,
    uploads: Gauge,
    connections: Gauge,
    free_bytes: Gauge,
    size_bytes: Gauge,
    ready: Gauge,
    confinement: Family<LevelLabel, Gauge>,
}

impl Metrics {
    pub(super) fn new(started_seconds: u64) -> Self {
        let mut registry = Registry::with_prefix("pawl");
        let r = &mut registry;
        let build: Family<VersionLabel, Gauge> =
            register(r, "build_info", "Always 1, with the program's version");
        build.get_or_create(&VersionLabel { version: env!("CARGO_PKG_VERSION") }).set(1);
        let started: Gauge = register(r, "start_time_seconds", "When the server was started, in Unix time");
        started.set(signed(started_seconds));
        let refusals: Family<ReasonLabel, Total> =
            register(r, "refusals_total", "Requests of known principals that were refused, by reason");
        // From the beginning, or the first of a kind would not look like an increase.
        for reason in Denial::ALL.map(denied).into_iter().chain(OTHER_REASONS) {
            refusals.get_or_create(&ReasonLabel { reason }).add(0);
        }
        Self {
            requests: register(r, "requests_total", "Requests that ended, by action and status"),
            received_bytes: register(r, "received_bytes_total", "Bytes of bodies that a principal sent"),
            sent_bytes: register(r, "sent_bytes_total", "Bytes of bodies that a principal took"),
            refusals,
            refused_deletions: register(
                r,
                "refused_deletions_total",
                "Attempts to delete what is there and no lock, all refused",
            ),
            hash_mismatches: register(
                r,
                "hash_mismatches_total",
                "Uploads that did not hash to their name, none of them stored",
            ),
            damaged_copies: register(
                r,
                "damaged_copies_total",
                "Stored copies found damaged when the file was sent again; good bytes are in .pawl/rescued",
            ),
            login_failures: register(
                r,
                "login_failures_total",
                "Logins with an unknown user or a wrong password, throttled ones included",
            ),
            logins_throttled: register(
                r,
                "logins_throttled_total",
                "Failed logins beyond the number that an address has a minute",
            ),
            files_created: register(r, "files_created_total", "Files stored since the server was started"),
            last_snapshot: register(
                r,
                "last_snapshot_timestamp_seconds",
                "When the repository last received a snapshot, in Unix time; 0 if it has none",
            ),
            repository_bytes: register(r, "repository_bytes", "What the repository holds, locks apart"),
            repository_files: register(r, "repository_files", "Files that the repository holds, locks apart"),
            quota_bytes: register(
                r,
                "quota_bytes",
                "What the repository may hold for this principal to add to it",
            ),
            quota_files: register(r, "quota_files", "Files that it may hold for this principal to add to it"),
            uploads: register(r, "uploads_in_flight", "Uploads that are being received"),
            connections: register(r, "connections_open", "Open connections of hosts and strangers"),
            confinement: register(
                r,
                "confinement_info",
                "Always 1, with the level of confinement that is in force",
            ),
            free_bytes: register(r, "disk_free_bytes", "Room left on the data directory's file system"),
            size_bytes: register(r, "disk_size_bytes", "Size of the data directory's file system"),
            ready: register(r, "ready", "1 if backups can be taken, 0 if /readyz would say why not"),
            registry,
        }
    }

    /// All of it in Prometheus' text format.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let _ = text::encode(&mut text, &self.registry); // a string takes everything
        text
    }

    pub(super) fn confined(&self, level: Level) {
        self.confinement.get_or_create(&LevelLabel { level: level.to_string() }).set(1);
    }

    pub(super) fn connection(&self) -> Present {
        Present::count(&self.connections)
    }

    pub(super) fn connections(&self) -> i64 {
        self.connections.get()
    }

    pub(super) fn upload(&self) -> Present {
        Present::count(&self.uploads)
    }

    pub(super) fn note_ended(&self, ended: &Finished<'_>) {
        let action = ended.action.map(ToString::to_string).unwrap_or_default();
        self.requests.get_or_create(&RequestLabels { action, status: ended.status }).add(1);
        if let Some(principal) = ended.principal {
            let label = PrincipalLabel { principal: principal.to_string() };
            self.received_bytes.get_or_create(&label).add(ended.received_bytes);
            self.sent_bytes.get_or_create(&label).add(ended.sent_bytes);
        }
    }

    pub(super) fn note_refusal(&self, refusal: &Refusal, action: Option<&Action>) {
        match refusal {
            Refusal::Authentication(AuthenticationError::Denied) => self.login_failures.add(1),
            Refusal::Authentication(AuthenticationError::Throttled(_)) => {
                self.login_failures.add(1);
                self.logins_throttled.add(1);
            }
            Refusal::Create(CreateError::Body(BodyError::Mismatch)) => self.hash_mismatches.add(1),
            Refusal::Create(CreateError::Damaged) => self.damaged_copies.add(1),
            other => {
                if let Some(reason) = reason(other) {
                    self.refusals.get_or_create(&ReasonLabel { reason }).add(1);
                }
            }
        }
        let is_refused = match refusal {
            Refusal::Denied(denial) => *denial != Denial::CleanUp,
            other => matches!(other, Refusal::Deletion(DeletionError::NotHere)),
        };
        if is_refused && action.is_some_and(would_destroy) {
            self.refused_deletions.add(1);
        }
    }

    /// A file was stored, just now.
    pub(super) fn note_stored(&self, repository: &RepositoryName, handle: &Handle, now_ms: u64) {
        let file_type = handle.file_type();
        let r#type = file_type.map_or_else(|| "config".to_owned(), |file_type| file_type.to_string());
        self.files_created.get_or_create(&FileLabels { repository: repository.to_string(), r#type }).add(1);
        if file_type == Some(FileType::Snapshots) {
            self.note_snapshot(repository, now_ms);
        }
    }

    /// The repository has a snapshot received at this time; what is known of later ones stands.
    pub(super) fn note_snapshot(&self, repository: &RepositoryName, received_ms: u64) {
        let label = RepositoryLabel { repository: repository.to_string() };
        let gauge = self.last_snapshot.get_or_create(&label);
        gauge.inner().fetch_max(signed(received_ms / 1000), Ordering::Relaxed);
    }

    /// Whether the last snapshot is said to have been received at a time to come: the clock has been set back since.
    pub(super) fn is_ahead(&self, repository: &RepositoryName, now_ms: u64) -> bool {
        let label = RepositoryLabel { repository: repository.to_string() };
        let until = signed(now_ms.saturating_add(AHEAD_MAX_MS) / 1000);
        self.last_snapshot.get(&label).is_some_and(|gauge| gauge.get() > until)
    }

    /// What repositories hold and may hold, as of now.
    pub(super) fn note_usages(
        &self,
        usages: &[(RepositoryName, Option<Usage>)],
        quotas: &[(RepositoryName, PrincipalName, Quota)],
    ) {
        self.repository_bytes.clear();
        self.repository_files.clear();
        for (repository, usage) in usages {
            let Some(usage) = usage else { continue };
            let label = RepositoryLabel { repository: repository.to_string() };
            self.repository_bytes.get_or_create(&label).set(signed(usage.bytes));
            self.repository_files.get_or_create(&label).set(signed(usage.files));
        }
        self.quota_bytes.clear();
        self.quota_files.clear();
        for (repository, principal, quota) in quotas {
            let labels = GrantLabels { repository: repository.to_string(), principal: principal.to_string() };
            if let Some(bytes) = quota.bytes {
                self.quota_bytes.get_or_create(&labels).set(signed(bytes));
            }
            if let Some(files) = quota.files {
                self.quota_files.get_or_create(&labels).set(signed(files));
            }
        }
    }

    /// Nobody has a grant for the repository any more, so nobody waits for its snapshots.
    pub(super) fn forget_snapshots(&self, repository: &RepositoryName) {
        self.last_snapshot.remove(&RepositoryLabel { repository: repository.to_string() });
    }

    pub(super) fn note_space(&self, space: Space) {
        self.free_bytes.set(signed(space.free_bytes));
        self.size_bytes.set(signed(space.size_bytes));
    }

    pub(super) fn note_ready(&self, is_ready: bool) {
        self.ready.set(i64::from(is_ready));
    }
}

fn register<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_snapshot_that_is_read_late_does_not_hide_a_later_one() {
        let metrics = Metrics::new(0);
        let web1 = "web1".parse().unwrap();
        for received_ms in [0, 7_000, 5_000, 0] {
            metrics.note_snapshot(&web1, received_ms);
        }
        let line = "pawl_last_snapshot_timestamp_seconds{repository=\"web1\"} 7\n";
        assert!(metrics.text().contains(line), "{}", metrics.text());
        metrics.forget_snapshots(&web1);
        assert!(!metrics.text().contains("web1"));
    }

    #[test]
    fn a_snapshot_that_was_stored_while_the_clock_was_ahead_is_known_once_it_is_set_back() {
        let (metrics, web1) = (Metrics::new(0), "web1".parse().unwrap());
        assert!(!metrics.is_ahead(&web1, 0));
        metrics.note_snapshot(&web1, 10 * AHEAD_MAX_MS);
        for (now_ms, is_ahead) in [(0, true), (8 * AHEAD_MAX_MS, true), (9 * AHEAD_MAX_MS, false)] {
            assert_eq!(metrics.is_ahead(&web1, now_ms), is_ahead, "{now_ms}");
        }
    }

    #[test]
    fn every_reason_is_there_from_the_beginning() {
        let text = Metrics::new(0).text();
        for reason in Denial::ALL.map(denied).into_iter().chain(OTHER_REASONS) {
            let line = format!("pawl_refusals_total{{reason=\"{reason}\"}} 0\n");
            assert!(text.contains(&line), "{line}");
        }
    }
}
