//! Putting a report together from what is there and what was written down.
//!
//! Invariant: nothing is changed, and what cannot be found out is said to be unknown.

use std::collections::BTreeMap;
use std::error::Error;

use pawl_policy::{DAY_MS, RepositoryName};

use super::super::run::record::Record;
use super::super::verify::finding::{Finding, Kind};
use super::super::verify::state::{State, States};
use super::super::verify::{self, Covered};
use super::super::{deleted::Listed, tried};
use super::attention;
use super::expected::{Earlier, Expected, Losses, Snapshots};
use super::model::{
    Aged, Compared, Found, Frees, Grown, LastBackup, Received, ReceivedDay, Report, Repository, Verified,
};
use super::seen::{Contents, Newest, Seen};
use super::words::Moment;
use crate::config::Config;
use crate::doctor;
use crate::store::either::EitherMaintenance;
use crate::store::now_ms;

/// Makes a report of these repositories, or of all.
pub(super) async fn gather(
    store: &EitherMaintenance,
    config: &Config,
    wanted: &[RepositoryName],
    earlier: Option<Earlier>,
) -> Result<Report, Box<dyn Error>> {
    let made = Moment(now_ms());
    let earlier = earlier.map(|earlier| narrowed(earlier, wanted));
    let since = earlier.as_ref().and_then(|earlier| earlier.since);
    let expected = earlier.as_ref().map(|earlier| &earlier.expected);
    let mut seen = Seen::look(store, config, wanted, expected, since).await?;
    let mut report = Report::new(made, now_expected(made, &seen, expected));
    report.since = since;
    if let Some(Earlier { with, expected, .. }) = earlier {
        let Losses { missing, logs } = Losses::of(&seen, store, &expected).await?;
        report.compared = Some(Compared { with, made: expected.made(), missing, logs });
    }
    report.frees = frees(&seen.pending);
    report.refused = seen.audited.refused();
    let states = States::at(&verify::directory(&config.data));
    let (contents, mut pending) = (std::mem::take(&mut seen.repositories), by_repository(seen.pending));
    for (name, contents) in contents {
        let state = states.load(&name)?;
        let mut repository = of_contents(&name, contents);
        repository.pending = pending.remove(name.as_str()).unwrap_or_default();
        repository.findings = findings(&state);
        let suspicious = seen.audited.suspicious.get(name.as_str()).copied().unwrap_or(0);
        repository.verified = Some(verified(config, made, &Covered::of(name.clone(), &state), suspicious));
        remembered(&mut repository, Record::load(&config.data, &name)?);
        report.repositories.push(repository);
    }
    report.audit = seen.audited.logs;
    (report.store, report.adversaries) = doctors(config).await?;
    report.attention = attention::of(&report, config);
    report.add_up();
    Ok(report)
}

/// Only what concerns these repositories.
fn narrowed(mut earlier: Earlier, wanted: &[RepositoryName]) -> Earlier {
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted.as_str() == name);
    earlier.expected.repositories.retain(|name, _| is_wanted(name));
    earlier
}

/// What the next report is compared with. Of a repository that cannot be read, and of a log that does not verify, that is
/// what it was.
fn now_expected(made: Moment, seen: &Seen, before: Option<&Expected>) -> Expected {
    let mut repositories = BTreeMap::new();
    for (name, contents) in &seen.repositories {
        let name = name.to_string();
        let before = || before.and_then(|before| before.repositories.get(&name).cloned());
        let snapshots = match contents {
            Ok(contents) => Some(Snapshots::from(contents.snapshots.clone())),
            Err(_) => before(),
        };
        repositories.extend(snapshots.map(|snapshots| (name.clone(), snapshots)));
    }
    let mut audit = BTreeMap::new();
    for log in &seen.audited.logs {
        let name = log.name.to_owned();
        let before = || before.and_then(|before| before.audit.get(&name).cloned());
        let head = if log.broken.is_some() { before() } else { log.head.clone() };
        audit.extend(head.map(|head| (name.clone(), head)));
    }
    Expected::new(made, repositories, audit)
}

fn of_contents(name: &RepositoryName, contents: Result<Contents, String>) -> Repository {
    let mut repository = Repository { name: name.to_string(), ..Repository::default() };
    let contents = match contents {
        Ok(contents) => contents,
        Err(error) => {
            repository.unreadable = Some(error.into());
            return repository;
        }
    };
    let Contents { usage, snapshots, newest, received } = contents;
    repository.last_backup = newest.map(|Newest { id, received_ms, by }| LastBackup {
        snapshot: id,
        received: Moment(received_ms),
        by,
    });
    repository.snapshots = snapshots.len() as u64;
    (repository.files, repository.bytes) = (usage.files, usage.bytes);
    let days = received.into_iter().map(|(day, bytes)| ReceivedDay { day, bytes }).collect();
    repository.received = Received { from: "files", days };
    repository
}

/// What runs wrote down.
fn remembered(repository: &mut Repository, record: Record) {
    let Record { last, days, received, held, junk, .. } = record;
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
    let found = damaged.chain(set_aside).map(|Finding { file, kind, detail, snapshots }| Found {
        file: file.map(Into::into),
        severity: kind.severity(),
        kind,
        detail: detail.into(),
        snapshots: snapshots.into_iter().map(Into::into).collect(),
    });
    found.collect()
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
        let found = settings.as_ref().and_then(|settings| tried::recall(&config.data, settings));
        let found = found.filter(|found| !found.all().is_empty());
        let looked = doctor::look_without_trying(&config, found.as_ref().zip(settings.as_ref()));
        looked.map_err(|error| error.to_string())
    });
    let doctor::Report { checks, adversaries } = looked.await??;
    Ok((checks, adversaries))
}
