//! Putting a report together from what is there and what was written down.
//!
//! Invariant: nothing is changed, and what cannot be found out is said to be unknown.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use jiff::Zoned;
use pawl_config::Config;
use pawl_config::files::FileError;
use pawl_config::hint;
use pawl_config::run_settings::Until;
use pawl_policy::{DAY_MS, FileType, Handle, RepositoryName};
use pawl_store::either::EitherMaintenance;
use pawl_store::now_ms;

use super::attention;
use super::audited::Audited;
use super::earlier::Earlier;
use super::expected::{Last, Losses};
use super::model::{
    Aged, Attention, Compared, Found, Frees, Grown, LastBackup, Received, ReceivedDay, Report, Repository,
    Verified,
};
use super::remembered::{AlreadyRead, Expected};
use super::seen::{Arrived, Contents, Seen};
use super::words::Moment;
use crate::doctor;
use crate::examine::state::State as Examined;
use crate::record::Record;
use crate::state_file;
use crate::verify::Covered;
use crate::verify::finding::{Finding, Kind, Severity};
use crate::verify::state::{State, States};
use crate::{batch_list::Listed, probe_cache};

/// What a report starts from.
#[derive(Debug, Default)]
pub(super) struct Basis {
    /// What it is compared with.
    pub(super) earlier: Option<Earlier>,
    /// What Pawl itself expects; where that is not known, the same.
    last: Option<Expected>,
    /// Whether these two differ.
    is_elsewhere: bool,
    /// Why that is not known, if it should be.
    pub(super) not_known: Option<String>,
}

impl Basis {
    /// Compares with this file, or else with what is kept.
    pub(super) fn of(
        kept: Result<Option<Last>, String>,
        file: Option<&Path>,
    ) -> Result<Self, Box<dyn Error>> {
        let (last, not_known) = match kept {
            Ok(last) => (last.map(Last::into_earlier), None),
            Err(error) => (None, Some(error)),
        };
        let is_elsewhere = last.is_some() && file.is_some();
        let kept = last.as_ref().map(|last| last.expected.clone());
        let earlier = match file {
            Some(file) => Some(Earlier::read(file)?),
            None => last,
        };
        let last = kept.or_else(|| earlier.as_ref().map(|earlier| earlier.expected.clone()));
        Ok(Self { earlier, last, is_elsewhere, not_known })
    }

    /// What has to be there the next time. If somebody has looked, that is what is there now.
    async fn expected(
        &self,
        now: Moment,
        seen: &Seen,
        (store, config): (&EitherMaintenance, &Config),
        is_looked_at: bool,
    ) -> Result<Expected, Box<dyn Error>> {
        let mut expected = Expected::now(now, seen, self.last.as_ref(), is_looked_at);
        let Some(last) = self.last.as_ref().filter(|_| !is_looked_at) else { return Ok(expected) };
        if self.is_elsewhere {
            let (data, of_last) = (config.data.clone(), last.clone());
            let audited = tokio::task::spawn_blocking(move || {
                Audited::read(&data, Some(of_last.ends()), None, AlreadyRead::default())
            });
            expected.keep_missing(last, seen, &audited.await??, store).await?;
        } else {
            expected.keep_missing(last, seen, &seen.audited, store).await?;
        }
        Ok(expected)
    }
}

/// Makes a report of these repositories, or of all.
pub(super) async fn gather(
    store: &EitherMaintenance,
    config: &Config,
    wanted: &[RepositoryName],
    mut basis: Basis,
    is_looked_at: bool,
) -> Result<Report, Box<dyn Error>> {
    let made = Moment(now_ms());
    basis.last = basis.last.map(|last| last.narrowed(wanted));
    if let Some(earlier) = &mut basis.earlier {
        earlier.expected = earlier.expected.clone().narrowed(wanted);
    }
    let states = States::at(&state_file::of_verification(&config.data));
    let mut seen = Seen::look(store, config, wanted, &states.known()?, basis.earlier.as_ref()).await?;
    let expected = basis.expected(made, &seen, (store, config), is_looked_at).await?;
    let mut report = Report::new(made, expected);
    report.first_night = first_night(config)?;
    report.troubles.extend(basis.not_known.map(|why| Attention::look(None, why)));
    report
        .troubles
        .extend(std::mem::take(&mut seen.unreadable).into_iter().map(|why| Attention::look(None, why)));
    if let Some(Earlier { with, expected, since, read: _ }) = basis.earlier {
        let Losses { missing, logs } = Losses::of(&seen, store, &expected).await?;
        report.compared = Some(Compared { with, made: expected.made(), missing, logs });
        report.since = since.moment;
    }
    report.frees = frees(&seen.pending);
    report.refused = seen.audited.refused();
    let mut pending = by_repository(std::mem::take(&mut seen.pending));
    let gone = std::mem::take(&mut seen.gone).into_iter().map(|name| (name, None));
    let there = std::mem::take(&mut seen.repositories).into_iter().map(|(name, of)| (name, Some(of)));
    for (name, contents) in there.chain(gone).collect::<BTreeMap<_, _>>() {
        let remembered = Remembered::load(config, &states, &name, &mut report.troubles);
        let is_gone = contents.is_none();
        let mut repository =
            of_contents(&name, contents.unwrap_or_else(|| Ok(Contents::default())), &remembered);
        repository.pending = pending.remove(name.as_str()).unwrap_or_default();
        repository.findings = findings(&remembered.state);
        let is_whole = |found: &Found| found.file.is_none() && found.severity == Severity::Damage;
        if is_gone && !repository.findings.iter().any(is_whole) {
            repository.findings.push(gone_as_a_whole());
        }
        let told = seen.audited.suspicious.get(name.as_str()).copied().unwrap_or(0);
        let suspicious = remembered.state.found.as_ref().map_or(told, |found| suspicious(found));
        let began_ms = repository.began.map(|began| began.0);
        let covered = Covered::of(name.clone(), &remembered.state, began_ms);
        repository.is_retired = repository.files == 0 && seen.audited.retired.contains(name.as_str());
        repository.was_in_use = remembered.state.config_id().is_some();
        repository.verified = Some(verified(config, made, &covered, suspicious));
        of_runs(&mut repository, remembered.record);
        report.repositories.push(repository);
    }
    report.read = seen.audited.already_read();
    report.audit = seen.audited.logs;
    (report.store, report.adversaries) = doctors(config).await?;
    report.attention = attention::of(&report, config);
    report.add_up();
    Ok(report)
}

/// When the first night of a repository begins.
fn first_night(config: &Config) -> Result<String, Box<dyn Error>> {
    if let Some(at) = config.maintenance.run.at() {
        let begins = Until::Daily(at).moment(&Zoned::now())?.as_millisecond();
        return Ok(format!("begins at {}", Moment(u64::try_from(begins)?)));
    }
    Ok(match config.keeper {
        Some(_) => "is begun by pawl-maintain.timer".to_owned(),
        None => "is not planned: the configuration has no maintenance.run.at".to_owned(),
    })
}

/// What maintenance remembers of a repository.
#[derive(Debug, Default)]
struct Remembered {
    state: State,
    record: Record,
    examined: Examined,
}

impl Remembered {
    /// What cannot be understood is told, and keeps nobody from seeing the rest.
    fn load(config: &Config, states: &States, name: &RepositoryName, troubles: &mut Vec<Attention>) -> Self {
        let mut tell = |error: FileError| {
            let why = format!("{error}; until that is mended it counts as nothing");
            troubles.push(Attention::look(Some(name.as_str()), why));
        };
        let state = states.understand(name).map(Option::unwrap_or_default);
        Self {
            state: state.map_err(&mut tell).unwrap_or_default(),
            record: Record::understand(&config.data, name).map_err(&mut tell).unwrap_or_default(),
            examined: Examined::understand(&config.data, name).map_err(&mut tell).unwrap_or_default(),
        }
    }

    /// Whether maintenance opened a snapshot, found it good, and does not hold it as suspicious.
    fn is_good(&self, snapshot: &Arrived) -> bool {
        let is_held = self.record.held.iter().any(|held| held.id == snapshot.id && held.is_of_itself());
        self.is_opened(snapshot) && !is_held
    }

    fn is_opened(&self, snapshot: &Arrived) -> bool {
        let handle = snapshot.id.parse().map(|id| Handle::File(FileType::Snapshots, id));
        handle.is_ok_and(|handle| self.examined.is_good(&handle))
    }
}

fn of_contents(name: &RepositoryName, contents: Result<Contents, String>, known: &Remembered) -> Repository {
    let mut repository = Repository { name: name.to_string(), ..Repository::default() };
    let contents = match contents {
        Ok(contents) => contents,
        Err(error) => {
            repository.unreadable = Some(error.into());
            return repository;
        }
    };
    let Contents { usage, snapshots, arrived, received, config, first_ms } = contents;
    repository.config = config;
    repository.began = first_ms.map(Moment);
    let told = |of: &Arrived| LastBackup {
        snapshot: of.id.clone(),
        received: Moment(of.received_ms),
        by: of.by.clone(),
        opened: known.is_opened(of),
    };
    let newest = arrived.last().map(told);
    // Where nothing was ever opened, all count: somebody without restic or a password has nothing better.
    let is_good = |of: &&Arrived| known.examined.is_new() || known.is_good(of);
    repository.last_backup = arrived.iter().rev().find(is_good).map(told);
    if repository.last_backup.is_none() {
        repository.none_good_since = arrived.first().map(|first| Moment(first.received_ms));
    }
    repository.newest = newest.filter(|newest| repository.last_backup.as_ref() != Some(newest));
    repository.snapshots = snapshots.len() as u64;
    (repository.files, repository.bytes) = (usage.files, usage.bytes);
    let days = received.into_iter().map(|(day, bytes)| ReceivedDay { day, bytes }).collect();
    repository.received = Received { from: "files", days };
    repository
}

/// What runs wrote down.
fn of_runs(repository: &mut Repository, record: Record) {
    let Record { last, last_ended_ms, first_ms, well_ms, days, received, held, junk, .. } = record;
    // Where none ended, it counts when the first began.
    repository.runs.ended = last.as_ref().map(|last| {
        let ended_ms = last_ended_ms.max(last.ended_ms);
        Moment(ended_ms.or(first_ms).unwrap_or(last.began_ms))
    });
    repository.runs.well = well_ms.into_iter().map(|(step, ms)| (step, Moment(ms))).collect();
    let grown = days.into_iter().map(|(day, of)| Grown {
        day,
        files: of.files,
        bytes: of.bytes,
        snapshots: of.snapshots,
    });
    repository.growth = grown.collect();
    if !received.is_empty() {
        let days = received.into_iter().map(|(day, bytes)| ReceivedDay { day, bytes }).collect();
        repository.received = Received { from: "record", days };
    }
    (repository.held, repository.junk, repository.last_run) = (held, junk, last);
}

/// What verification found and still stands.
fn findings(state: &State) -> Vec<Found> {
    let damaged = state.damaged.values().cloned();
    let set_aside = state.set_aside.iter().map(|file| Finding {
        file: Some(file.clone()),
        kind: Kind::SetAside,
        detail: "its damaged copy was set aside, and the index was repaired".to_owned(),
        snapshots: Vec::new(),
    });
    // A file that is damaged is told once.
    let is_told = |found: &&Finding| found.file.as_ref().is_some_and(|file| state.damaged.contains_key(file));
    let others = state.found.iter().flatten().filter(|found| !is_told(found)).cloned();
    damaged.chain(others).chain(set_aside).map(Found::from).collect()
}

/// How many of these somebody should look at, damage aside.
fn suspicious(found: &[Finding]) -> u64 {
    found.iter().filter(|finding| finding.kind.severity() == Severity::Suspicion).count() as u64
}

/// What is said before a verification has found it.
fn gone_as_a_whole() -> Found {
    let verify = hint::pawl("maintain verify");
    let detail =
        format!("all of it is gone: it was there when it was verified last; `{verify}` says what to do");
    Found::from(Finding { file: None, kind: Kind::Missing, detail, snapshots: Vec::new() })
}

fn verified(config: &Config, made: Moment, covered: &Covered, suspicious: u64) -> Verified {
    let within_ms = config.maintenance.verify_ms();
    let age_ms = |read_ms: &u64| made.0.saturating_sub(*read_ms);
    let read: Vec<u64> = covered.parts.iter().flatten().map(age_ms).collect();
    let parts = count(read.iter().filter(|age_ms| **age_ms <= within_ms).count());
    let mut ages = BTreeMap::<u64, u16>::new();
    for age_ms in &read {
        *ages.entry(age_ms / DAY_MS).or_default() += 1;
    }
    Verified {
        parts,
        share: f64::from(parts) / f64::from(count(covered.parts.len())),
        within_days: within_ms.div_ceil(DAY_MS),
        oldest: covered.oldest_ms.map(Moment),
        late: covered.is_late(made.0, within_ms),
        ages: ages.into_iter().map(|(days, parts)| Aged { days, parts }).collect(),
        never: count(covered.parts.len() - read.len()),
        suspicious,
    }
}

/// There are 256 parts.
fn count(parts: usize) -> u16 {
    u16::try_from(parts).unwrap_or(u16::MAX)
}

/// What gets free when, by the days on which batches become final.
fn frees(pending: &[Listed]) -> Vec<Frees> {
    let mut days = BTreeMap::<String, (u64, usize)>::new();
    for batch in pending {
        let day = batch.final_from.split('T').next().unwrap_or_default().to_owned();
        let sum = days.entry(day).or_default();
        *sum = (sum.0.saturating_add(batch.bytes), sum.1 + 1);
    }
    days.into_iter().map(|(day, (bytes, batches))| Frees { day, bytes, batches }).collect()
}

fn by_repository(pending: Vec<Listed>) -> BTreeMap<String, Vec<Listed>> {
    let mut by_repository = BTreeMap::<_, Vec<_>>::new();
    for batch in pending {
        by_repository.entry(batch.repository.clone()).or_default().push(batch);
    }
    by_repository
}

/// What `pawl doctor` finds, without trying the bucket out.
async fn doctors(config: &Config) -> Result<(Vec<doctor::Line>, Vec<doctor::Adversary>), Box<dyn Error>> {
    let config = config.clone();
    let looked = tokio::task::spawn_blocking(move || {
        let settings = config.s3.as_ref().and_then(|of_hosts| config.maintenance.s3(of_hosts).ok());
        let found = settings.as_ref().and_then(|settings| probe_cache::recall(&config.data, settings));
        let found = found.filter(|found| !found.all().is_empty());
        let looked = doctor::look_without_trying(&config, found.as_ref().zip(settings.as_ref()));
        looked.map_err(|error| error.to_string())
    });
    let doctor::Report { checks, adversaries } = looked.await??;
    Ok((checks, adversaries))
}
