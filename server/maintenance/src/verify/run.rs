//! One run of verification, from the first look to what is remembered.
//!
//! Invariant: a part counts as read only when each of its files was; what was found is remembered before that.

mod jobs;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::ready;
use futures_util::{StreamExt, stream};
use indicatif::ProgressBar;
use pawl_config::files::FileError;
use pawl_config::hint;
use pawl_config::pace::Pace;
use pawl_policy::{Caps, FileId, Handle, RepositoryName};
use pawl_store::maintenance::MaintenanceStore;
use pawl_store::{StoreError, now_ms};

use crate::stop::Stop;
use jobs::{Job, first, jobs, parts};

use super::finding::{Finding, Kind};
use super::read::{Checked, Reader, Verdict};
use super::schedule::{Part, whose_turn};
use super::state::{Run, State, States};
use super::survey::{Seen, survey, vanished};
use crate::share::Share;

/// What is remembered goes to disk this often.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// After so many files in a row of a repository that could not be read, the others of it are not tried.
const UNREADABLE_IN_A_ROW_MAX: u32 = 16;

const HOUR_MS: u64 = 60 * 60 * 1000;
/// What the next day's run would read too late is read now, wherever in its day that begins.
const HURRIED_MS: u64 = 12 * HOUR_MS;

/// What is to be done.
#[derive(Debug)]
pub(super) struct Wanted {
    /// In these repositories; in all if there are none.
    pub(super) repositories: Vec<RepositoryName>,
    pub(super) share: Share,
    /// Whether what is read too seldom is read besides.
    pub(super) catches_up: bool,
    pub(super) read_data: bool,
    pub(super) pace: Pace,
    /// Files read at a time.
    pub(super) jobs: NonZeroUsize,
    pub(super) caps: Caps,
    /// Within so long everything has to be read, in milliseconds.
    pub(super) within_ms: u64,
    /// When reading has to end. What was read until then counts.
    pub(super) stop: Stop,
}

/// Why nothing could be verified, or not all.
#[derive(Debug, thiserror::Error)]
pub(super) enum VerifyError {
    /// The store failed.
    #[error("the store cannot be looked at: {0}")]
    Store(#[from] StoreError),
    /// There is no such repository.
    #[error("there is no repository {0}")]
    NoRepository(RepositoryName),
    /// What is remembered cannot be read or written.
    #[error(transparent)]
    State(#[from] FileError),
    /// There was no time to look at everything.
    #[error("the work was ended before everything was looked at")]
    StepStatus,
    /// A task ended before its work did.
    #[error("reading ended unexpectedly: {0}")]
    Cut(String),
}

/// What came of one repository.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) repository: RepositoryName,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) files_checked: u64,
    pub(crate) bytes_read: u64,
    pub(super) keys: (u64, u64),
    /// When the part was last read that was read longest ago; nothing if a part was never read.
    pub(crate) oldest_read_ms: Option<u64>,
    /// Parts of the 256 that were read as lately as they have to be.
    pub(crate) parts_verified: u16,
    /// Bytes of what is visible, by the day (since 1970, UTC) on which they were received.
    pub(crate) received: BTreeMap<u64, u64>,
    pub(crate) findings: Vec<Finding>,
    /// Why it could not be looked at, if so. Then nothing else is known of it.
    pub(crate) failed: Option<String>,
    /// Every file that is visible.
    pub(crate) visible: Vec<Handle>,
}

/// A repository during the run.
struct RepositoryScan {
    repository: RepositoryName,
    state: State,
    seen: Seen,
    found: Vec<Finding>,
    /// Why it could not be looked at, if so. What was remembered of it stays.
    failed: Option<String>,
    unreadable_in_a_row: u32,
    files_checked: u64,
    bytes_read: u64,
}

/// Verifies. Returns what came of each repository, and whether an earlier run was continued.
pub(super) async fn run<S: MaintenanceStore>(
    store: Arc<S>,
    states: &States,
    wanted: &Wanted,
    bar: ProgressBar,
) -> Result<(Vec<Outcome>, bool), VerifyError> {
    let mut scans = look_at_all(&*store, states, wanted).await?;
    let names = scans.iter().map(|scan| scan.repository.to_string()).collect();
    let mut run = Run::begin(wanted.share.to_string(), names, wanted.read_data, now_ms());
    let earlier = states.load_run()?.filter(|earlier| earlier.is_continued_by(&run));
    let continued = earlier.is_some();
    run = earlier.unwrap_or(run);
    states.save_run(&run)?;

    let seldom_ms = wanted.within_ms.saturating_sub(HURRIED_MS);
    let late_ms = wanted.catches_up.then(|| run.begun_ms().saturating_sub(seldom_ms));
    let turn = whose_turn(parts(&scans), wanted.share, run.begun_ms(), late_ms);
    let jobs = jobs(&scans, &turn);
    bar.set_length(jobs.iter().map(|job| job.bytes).sum());
    let reader = Reader { store, pace: wanted.pace.clone(), bar, read_data: wanted.read_data };
    read_all(&Arc::new(reader), states, &mut scans, (turn, jobs), wanted).await?;
    if wanted.stop.why().is_none() {
        run.finish();
    }
    states.save_run(&run)?;
    for scan in scans.iter_mut().filter(|scan| scan.failed.is_none()) {
        scan.note_overdue(wanted.within_ms);
        scan.state.note_found(scan.seen.findings.iter().chain(&scan.found));
    }
    save(states, &scans, &(0..scans.len()).collect())?;
    Ok((scans.into_iter().map(|scan| scan.finish(wanted.within_ms)).collect(), continued))
}

async fn look_at_all<S: MaintenanceStore>(
    store: &S,
    states: &States,
    wanted: &Wanted,
) -> Result<Vec<RepositoryScan>, VerifyError> {
    let known = states.known()?;
    let mut all: BTreeSet<_> = wanted.repositories.iter().cloned().collect();
    if all.is_empty() {
        all = store.repositories().await?.into_iter().chain(known.iter().cloned()).collect();
    }
    let mut scans = Vec::new();
    for repository in all {
        if wanted.stop.why().is_some() {
            return Err(VerifyError::StepStatus);
        }
        let mut state = states.load(&repository)?;
        state.begin(now_ms());
        let mut failed = None;
        let seen = match survey(store, &repository, &wanted.caps, &mut state).await {
            Ok(seen) => seen,
            Err(StoreError::NotFound) if known.contains(&repository) => vanished(&repository),
            Err(StoreError::NotFound) => return Err(VerifyError::NoRepository(repository)),
            // A failure costs this repository alone.
            Err(error) => {
                failed = Some(error.to_string());
                Seen::default()
            }
        };
        scans.push(RepositoryScan {
            repository,
            state,
            seen,
            found: Vec::new(),
            failed,
            unreadable_in_a_row: 0,
            files_checked: 0,
            bytes_read: 0,
        });
    }
    Ok(scans)
}

async fn read_all<S: MaintenanceStore>(
    reader: &Arc<Reader<S>>,
    states: &States,
    scans: &mut [RepositoryScan],
    (turn, jobs): (Vec<Part>, Vec<Job>),
    wanted: &Wanted,
) -> Result<(), VerifyError> {
    // What is left of each part; those without files are done now.
    let mut left: BTreeMap<(usize, u8), u64> =
        turn.iter().map(|part| ((part.repository, part.first), 0)).collect();
    for job in &jobs {
        if let Some(left) = first(&job.handle).and_then(|first| left.get_mut(&(job.scan, first))) {
            *left += 1;
        }
    }
    let begun_ms = now_ms();
    for ((scan, first), _) in left.iter().filter(|(_, left)| **left == 0) {
        if let Some(scan) = scans.get_mut(*scan) {
            scan.state.note_read(*first, begun_ms);
        }
    }
    let known: Vec<_> = scans.iter().map(|scan| (scan.repository.clone(), scan.state.config_id())).collect();
    let is_given_up: Vec<_> = scans.iter().map(|_| AtomicBool::new(false)).collect();
    let given_up = |scan: usize| is_given_up.get(scan);
    let is_tried = |job: &Job| !given_up(job.scan).is_some_and(|it| it.load(Ordering::Relaxed));
    let mut checking = stream::iter(jobs)
        .take_while(|_| ready(wanted.stop.why().is_none()))
        .filter(|job| ready(is_tried(job)))
        .map(|job| check(Arc::clone(reader), known.get(job.scan).cloned(), job))
        .buffer_unordered(wanted.jobs.get());
    let (mut saved, mut unsaved) = (Instant::now(), BTreeSet::new());
    while let Some(checked) = checking.next().await {
        let (job, checked) = checked?;
        let Some(scan) = scans.get_mut(job.scan) else { continue };
        scan.note_whether_readable(&job.handle, &checked.verdict);
        if scan.failed.is_some() {
            if let Some(given_up) = given_up(job.scan) {
                given_up.store(true, Ordering::Relaxed);
            }
            continue;
        }
        scan.note(&job, checked);
        let part = first(&job.handle).map(|first| (job.scan, first));
        if let Some((part, left)) = part.and_then(|part| Some((part, left.get_mut(&part)?))) {
            *left = left.saturating_sub(1);
            if *left == 0 {
                scan.state.note_read(part.1, begun_ms);
            }
        }
        unsaved.insert(job.scan);
        if saved.elapsed() >= SAVE_EVERY {
            save(states, scans, &std::mem::take(&mut unsaved))?;
            saved = Instant::now();
        }
    }
    reader.bar.finish_and_clear();
    save(states, scans, &(0..scans.len()).collect())
}

fn save(states: &States, scans: &[RepositoryScan], which: &BTreeSet<usize>) -> Result<(), VerifyError> {
    for scan in which.iter().filter_map(|at| scans.get(*at)).filter(|scan| scan.failed.is_none()) {
        states.save(&scan.repository, &scan.state)?;
    }
    Ok(())
}

/// Looks at one file in a task of its own, so that several are hashed at a time.
async fn check<S: MaintenanceStore>(
    reader: Arc<Reader<S>>,
    known: Option<(RepositoryName, Option<FileId>)>,
    job: Job,
) -> Result<(Job, Checked), VerifyError> {
    let Some((repository, noted)) = known else {
        return Err(VerifyError::Cut("no such repository".to_owned()));
    };
    let work = async move {
        let checked = reader.check(&repository, &job.handle, job.bytes, noted).await;
        (job, checked)
    };
    tokio::spawn(work).await.map_err(|error| VerifyError::Cut(error.to_string()))
}

impl RepositoryScan {
    /// Gives the repository up once too many files in a row could not be read.
    fn note_whether_readable(&mut self, handle: &Handle, verdict: &Verdict) {
        let Verdict::Unreadable(cause) = verdict else {
            self.unreadable_in_a_row = 0;
            return;
        };
        // Files that are known to be unreadable are read first, and say nothing about the others.
        if self.state.damaged.contains_key(&handle.to_string()) {
            return;
        }
        self.unreadable_in_a_row += 1;
        if self.unreadable_in_a_row >= UNREADABLE_IN_A_ROW_MAX && self.failed.is_none() {
            self.failed = Some(format!(
                "{UNREADABLE_IN_A_ROW_MAX} files in a row could not be read, the last {handle}: {cause}; look at the store, \
                 then run this again, and it goes on where it was"
            ));
        }
    }

    fn note(&mut self, job: &Job, checked: Checked) {
        self.files_checked += 1;
        self.bytes_read += checked.bytes_read;
        let handle = &job.handle;
        let damage = match checked.verdict {
            Verdict::Right => {
                self.state.note_right(handle);
                self.seen.absolve(handle);
                return;
            }
            Verdict::Deleted => {
                self.state.note_right(handle);
                return;
            }
            Verdict::RightConfig(found) => {
                self.state.note_right(handle);
                self.note_config(found);
                return;
            }
            Verdict::Unrecorded(found) => {
                self.state.note_right(handle);
                self.note_config(found);
                let detail = "its hash was not recorded when it was stored; it is noted from now on";
                self.found.push(Finding::of(handle, Kind::Unusual, detail));
                return;
            }
            Verdict::Wrong { found, expected } if *handle == Handle::Config => {
                let detail =
                    format!("its content hashes to {found}; expected {expected}, which was recorded");
                Finding::of(handle, Kind::Damaged, detail)
            }
            Verdict::Wrong { found, .. } => {
                let detail = format!("its content hashes to {found}; expected its name");
                Finding::of(handle, Kind::Damaged, detail)
            }
            Verdict::Gone => {
                let detail = "it was there when this run began, and no batch explains where it went";
                Finding::of(handle, Kind::Missing, detail)
            }
            Verdict::Unreadable(cause) => Finding::of(handle, Kind::Unreadable, cause),
        };
        self.state.damaged.insert(handle.to_string(), damage);
    }

    /// What a `config` hashes to is noted when it is seen good, and compared from then on: nothing in the store that
    /// another hand could change says it better.
    fn note_config(&mut self, found: FileId) {
        if !self.seen.is_unexplained(&Handle::Config) {
            self.state.config = Some(found.to_string());
        }
    }

    /// Notes if something was not read for longer than the configuration promises.
    fn note_overdue(&mut self, within_ms: u64) {
        let since_ms = self.state.since_ms();
        let behind_ms = now_ms().saturating_sub(within_ms);
        let holds_files = self.holds_files();
        let read = holds_files.iter().map(|at| self.state.read_ms(*at));
        let overdue = read.filter(|read_ms| read_ms.or(since_ms).is_some_and(|read_ms| read_ms < behind_ms));
        let overdue = overdue.count();
        if overdue > 0 {
            let detail = format!(
                "{overdue} of {} parts were not read in the last {} hours; expected all (maintenance.verify_interval_days); run `{}` every day, or once with --all",
                holds_files.len(),
                within_ms / HOUR_MS,
                hint::pawl("maintain verify")
            );
            self.found.push(Finding::of_repository(Kind::Overdue, detail));
        }
    }

    /// The parts in which there are files.
    fn holds_files(&self) -> BTreeSet<u8> {
        self.seen.files.iter().filter_map(|(handle, _)| first(handle)).collect()
    }

    fn finish(mut self, within_ms: u64) -> Outcome {
        let read = self.holds_files().into_iter().map(|at| self.state.read_ms(at));
        let oldest_read_ms = read.min().unwrap_or(Some(now_ms()));
        let behind_ms = now_ms().saturating_sub(within_ms);
        let is_lately = |first: &u8| self.state.read_ms(*first).is_some_and(|read_ms| read_ms >= behind_ms);
        let parts_verified = (0..=u8::MAX).filter(is_lately).map(|_| 1_u16).sum();
        let bytes = self.seen.bytes();
        let mut findings: Vec<_> = self.state.damaged.into_values().collect();
        findings.append(&mut self.seen.findings);
        findings.append(&mut self.found);
        findings.sort_by(|a, b| (a.kind, &a.file).cmp(&(b.kind, &b.file)));
        if self.failed.is_some() {
            findings.clear(); // those of an earlier run
        }
        Outcome {
            repository: self.repository,
            files: self.seen.files.len() as u64,
            bytes,
            files_checked: self.files_checked,
            bytes_read: self.bytes_read,
            keys: self.seen.keys,
            oldest_read_ms,
            parts_verified,
            received: self.seen.received,
            findings,
            failed: self.failed,
            visible: self.seen.files.into_iter().map(|(handle, _)| handle).collect(),
        }
    }
}
