//! `pawl maintain restore`: puts right copies in the place of wrong ones, or brings a repository back to a moment.
//!
//! Invariant: a plan is made by reading, and only a plan is carried out; a dry run ends with the plan.

mod apply;
mod as_of;
mod back;
mod index;
mod plan;
mod report;
mod source;

use std::collections::BTreeSet;
use std::error::Error;
use std::num::NonZeroUsize;

use bytesize::ByteSize;
use futures_util::{StreamExt, TryStreamExt, stream};
use pawl_config::Config;
use pawl_config::print::{self, ExitStatus, Outcome};
use pawl_policy::{FileType, Handle, RepositoryName};
use pawl_store::StoreError;
use pawl_store::either::EitherMaintenance;
use pawl_store::maintenance::{Batch, Found, Holders, MaintenanceStore};
use tokio::sync::Mutex;

use super::map_concurrent::FILES_AT_A_TIME;
use super::restic::Version;
use super::session::Session;
use super::verify::finding::{Finding, Severity};
use super::verify::state::{State, States};
use super::verify::survey::missing;
use super::{progress, session, verify};
use crate::command_line::{Reading, Restore};
use crate::state_file;
use apply::{Done, Worker};
use plan::{Planner, Task};
pub(super) use report::Part;
use report::{Line, Report};
use source::Source;

/// Runs the command.
pub(super) fn run(options: &Restore) -> Outcome {
    let report = restore(options).map_err(|error| ExitStatus { code: 2, message: error.to_string() })?;
    let end = ExitStatus { code: report.exit_code(), message: String::new() };
    print::report(&report, Report::text, end, options.json)
}

fn restore(options: &Restore) -> Result<Report, Box<dyn Error>> {
    if options.set_aside && !options.dry_run {
        if !options.restic.knows_password() {
            return Err("--set-aside needs --password-file or --password-command: restic has to repair the index, or \
                        the next backup does not send again what is missing"
                .into());
        }
        Version::that_repairs(options.restic.program())?;
    }
    let config = session::config(&options.place)?;
    let states = States::open(&state_file::of_verification(&config.data))?;
    let mut report = Report { dry_run: options.dry_run, ..Report::default() };
    if options.dry_run {
        session::read(&options.place, async |config, store: EitherMaintenance| {
            let source = source(options, &config).await?;
            let job =
                Job { options, config: &config, store: &store, source: source.as_ref(), states: &states };
            for repository in job.repositories().await? {
                let planned = Box::pin(job.plan(&repository)).await;
                report.repositories.push(job.alone(&repository, planned)?);
            }
            Ok(())
        })?;
    } else {
        session::act(&options.place, async |session| {
            let store = &session.store;
            let config = &session.config;
            let source = source(options, config).await?;
            let job = Job { options, config, store, source: source.as_ref(), states: &states };
            for repository in job.repositories().await? {
                let done = Box::pin(job.carry_out(&repository)).await;
                let mut part = job.alone(&repository, done)?;
                if options.set_aside {
                    index::repair(session, &job, &repository, &mut part).await?;
                }
                report.repositories.push(part);
            }
            Ok(())
        })?;
    }
    report.repositories.retain(|part| !part.is_empty());
    Ok(report)
}

/// Repairs a repository from copies in the store itself, which are read at this pace.
pub(super) async fn repair(
    session: &Session,
    repository: &RepositoryName,
    bytes_per_second: Option<ByteSize>,
) -> Result<Part, Box<dyn Error>> {
    let states = States::open(&state_file::of_verification(&session.config.data))?;
    let reading = Reading { bytes_per_second, ..Reading::default() };
    let options = &Restore { reading, ..Restore::default() };
    let job = Job { options, config: &session.config, store: &session.store, source: None, states: &states };
    Box::pin(job.carry_out(repository)).await
}

/// The other store that was named, if one was.
async fn source(options: &Restore, config: &Config) -> Result<Option<Source>, String> {
    match &options.from {
        Some(from) => Source::open(from, config).await.map(Some),
        None => Ok(None),
    }
}

/// What is to be restored, and with what.
struct Job<'a, S> {
    options: &'a Restore,
    config: &'a Config,
    store: &'a S,
    source: Option<&'a Source>,
    states: &'a States,
}

impl<S: MaintenanceStore> Job<'_, S> {
    async fn repositories(&self) -> Result<Vec<RepositoryName>, Box<dyn Error>> {
        let mut all = self.store.repositories().await?;
        all.extend(self.states.known()?);
        all.sort();
        all.dedup();
        let wanted = match &self.options.repository {
            Some(wanted) if all.contains(wanted) => vec![wanted.clone()],
            Some(wanted) => return Err(format!("there is no repository {wanted}").into()),
            None => all,
        };
        if wanted.len() > 1 && self.source.is_some_and(Source::is_one_repository) {
            return Err(
                "--from names one repository, and there are several here; say which one is meant".into()
            );
        }
        Ok(wanted)
    }

    /// What came of a repository. Where several are meant, one that fails keeps nobody from the others.
    fn alone(
        &self,
        repository: &RepositoryName,
        part: Result<Part, Box<dyn Error>>,
    ) -> Result<Part, Box<dyn Error>> {
        match part {
            Err(error) if self.options.repository.is_none() => {
                let lost = vec![format!("nothing could be done here: {error}")];
                Ok(Part { repository: repository.to_string(), lost, ..Part::default() })
            }
            other => other,
        }
    }

    /// What would be done.
    async fn plan(&self, repository: &RepositoryName) -> Result<Part, Box<dyn Error>> {
        let batches = self.store.batches().await?;
        let mut part = Part { repository: repository.to_string(), ..Part::default() };
        let since = self.since(repository, &batches).await?;
        for task in self.tasks(repository, &batches, since.as_ref()).await? {
            part.files.push(Line::planned(&task, self.source_name(), self.options.set_aside));
        }
        if let Some(since) = since {
            back::plan(self, &since, &mut part);
        }
        if part.files.is_empty() && self.is_gone(repository).await? {
            part.lost.push(self.nothing_left());
        }
        Ok(part)
    }

    /// Whether a repository that was verified once is not there any more.
    async fn is_gone(&self, repository: &RepositoryName) -> Result<bool, StoreError> {
        Ok(!self.store.repositories().await?.contains(repository))
    }

    fn nothing_left(&self) -> String {
        match self.source_name() {
            Some(source) => format!("all of it is gone, and {source} has nothing of it either"),
            None => "all of it is gone; name another store with --from".to_owned(),
        }
    }

    /// Does it.
    async fn carry_out(&self, repository: &RepositoryName) -> Result<Part, Box<dyn Error>> {
        let batches = self.store.batches().await?;
        let mut part = Part { repository: repository.to_string(), ..Part::default() };
        let since = self.since(repository, &batches).await?;
        let tasks = self.tasks(repository, &batches, since.as_ref()).await?;
        let principal = session::user()?;
        let worker = Worker {
            store: self.store,
            source: self.source,
            repository,
            principal: &principal,
            caps: &self.config.caps,
            set_aside: self.options.set_aside,
            batches: Mutex::default(),
        };
        let mut state = self.states.load(repository)?;
        let bar = progress::bar(tasks.len() as u64, "restoring");
        let done = worker.carry_out_all(&tasks, self.at_a_time(), &bar).await?;
        bar.finish_and_clear();
        for (task, done) in tasks.iter().zip(&done) {
            if matches!(done, Done::Right | Done::Restored) {
                state.note_right(&task.handle);
            }
            part.files.push(Line::done(task, done, self.source_name()));
        }
        part.batches.extend(worker.batches.into_inner().iter().map(ToString::to_string));
        self.states.save(repository, &state)?;
        if let Some(since) = since {
            back::carry_out(self, repository, &since, &mut part).await?;
        }
        self.end_empty(repository, &batches).await?;
        if self.is_gone(repository).await? {
            part.lost.push(self.nothing_left());
        }
        Ok(part)
    }

    /// How many files are looked at and restored at a time.
    fn at_a_time(&self) -> NonZeroUsize {
        self.options.reading.jobs.unwrap_or(FILES_AT_A_TIME)
    }

    fn source_name(&self) -> Option<&str> {
        self.source.map(|source| source.name.as_str())
    }

    /// What has changed since the moment that was asked for, if one was.
    async fn since(
        &self,
        repository: &RepositoryName,
        batches: &[Batch],
    ) -> Result<Option<as_of::Since>, Box<dyn Error>> {
        let Some(text) = &self.options.as_of else { return Ok(None) };
        let moment = pawl_config::time::parse(text)?;
        let moment_ms = u64::try_from(moment.as_millisecond())?;
        Ok(Some(as_of::since(self.store, repository, batches, moment_ms).await?))
    }

    /// Which files are looked at, and what is to be done for each: what is right needs no mention.
    async fn tasks(
        &self,
        repository: &RepositoryName,
        batches: &[Batch],
        since: Option<&as_of::Since>,
    ) -> Result<Vec<Task>, Box<dyn Error>> {
        let state = self.states.load(repository)?;
        let mut candidates: Vec<_> = if self.options.files.is_empty() {
            let mut known = self.known(repository, &state).await?;
            known.extend(since.iter().flat_map(|since| &since.gone));
            known.into_iter().collect()
        } else {
            self.options.files.clone()
        };
        candidates.sort_by_key(|handle| (as_of::phase(handle), *handle));
        let wanted = candidates.iter().copied().collect();
        let there = match self.source {
            Some(source) => source.holders(repository, &wanted).await?,
            None => Holders::default(),
        };
        let planner = Planner {
            store: self.store,
            source: self.source,
            repository,
            batches,
            holders: &self.store.holders(repository, &wanted).await?,
            holders_there: &there,
            noted_config: state.config_id(),
            pace: &verify::pace(self.options.reading.bytes_per_second),
        };
        let bar = progress::bar(candidates.len() as u64, "looking for good copies");
        let looking = stream::iter(candidates)
            .map(async |handle| planner.task(handle).await.inspect(|_| bar.inc(1)))
            .buffered(self.at_a_time().get());
        let tasks: Vec<Task> = looking.try_collect().await?;
        bar.finish_and_clear();
        Ok(tasks)
    }

    /// What verification found, what an interrupted restoration left, what another hand did, what hosts sent again, and on
    /// request what only the other store has.
    async fn known(
        &self,
        repository: &RepositoryName,
        state: &State,
    ) -> Result<BTreeSet<Handle>, Box<dyn Error>> {
        let is_gone = self.is_gone(repository).await?;
        let Walked { visible, unexplained } =
            if is_gone { Walked::default() } else { walk(self.store, repository).await? };
        let mut known = missing(self.store, repository, &visible).await?;
        // Those that are done without are looked for where they were not looked for before.
        known.retain(|handle| self.source.is_some() || !state.set_aside.contains(&handle.to_string()));
        known.extend(unexplained);
        let rescued = self.store.rescued(repository).await?;
        known.extend(rescued.into_iter().filter(|handle| visible.contains(handle)));
        if !visible.contains(&Handle::Config)
            && visible.iter().any(|it| it.file_type() != Some(FileType::Keys))
        {
            known.insert(Handle::Config);
        }
        let damage = state.damaged.values().filter(|finding| finding.kind.severity() == Severity::Damage);
        known.extend(damage.filter_map(Finding::handle));
        if let (true, Some(source)) = (self.options.missing || is_gone, self.source) {
            known.extend(self.only_there(repository, source, &visible).await?);
        }
        // What maintenance deleted comes back by `undelete` alone, whoever put something in its place.
        let tombstones = self.store.tombstones(repository).await?;
        known.retain(|handle| handle.file_type() != Some(FileType::Locks) && !tombstones.contains(handle));
        Ok(known)
    }

    /// Files that the other store has, and that this one has not and did not delete.
    async fn only_there(
        &self,
        repository: &RepositoryName,
        source: &Source,
        visible: &BTreeSet<Handle>,
    ) -> Result<BTreeSet<Handle>, StoreError> {
        let mut there = match source.visible(repository).await {
            Ok(visible) => visible,
            Err(StoreError::NotFound) if !self.options.missing => return Ok(BTreeSet::new()),
            Err(error) => return Err(error),
        };
        let tombstones = self.store.tombstones(repository).await?;
        there.retain(|handle| !visible.contains(handle) && !tombstones.contains(handle));
        let holders = self.store.holders(repository, &there).await?;
        there.retain(|handle| holders.of(handle).is_empty());
        Ok(there)
    }

    /// Batches from which everything came back.
    async fn end_empty(&self, repository: &RepositoryName, batches: &[Batch]) -> Result<(), StoreError> {
        for batch in batches.iter().filter(|batch| batch.repository == *repository) {
            let mut hidden = std::pin::pin!(self.store.hidden(&batch.id).await?);
            let mut is_empty = true;
            while is_empty && let Some(files) = hidden.try_next().await? {
                is_empty = files.is_empty();
            }
            if is_empty {
                self.store.end_batch(&batch.id).await?;
            }
        }
        Ok(())
    }
}

/// What is in a repository.
#[derive(Debug, Default)]
struct Walked {
    /// Files that everybody sees.
    visible: BTreeSet<Handle>,
    /// Files that another hand overwrote or deleted.
    unexplained: BTreeSet<Handle>,
}

async fn walk<S: MaintenanceStore>(store: &S, repository: &RepositoryName) -> Result<Walked, StoreError> {
    let mut all = Walked::default();
    let mut walked = std::pin::pin!(store.walk(repository).await?);
    while let Some(found) = walked.try_next().await? {
        for found in found {
            match found {
                Found::File { handle, .. } => drop(all.visible.insert(handle)),
                Found::Unexplained { handle, .. } => drop(all.unexplained.insert(handle)),
                Found::Foreign { .. } => {}
            }
        }
    }
    Ok(all)
}
