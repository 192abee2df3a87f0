//! A repository during a run.
//!
//! Invariant: a step is done if it was not done before in this run, nothing surprised before it, and there is time; what
//! came of it is written down before the next begins.

use std::path::{Path, PathBuf};
use std::time::Instant;

use pawl_config::files::FileError;
use pawl_config::run_settings::RunSettings;
use pawl_policy::retention::Rules;
use pawl_policy::{BatchId, DAY_MS, RepositoryName};
use pawl_store::maintenance::MaintenanceStore;
use pawl_store::now_ms;

use super::run_lock::RunLock;
use super::step_outcome::StepOutcome;
use crate::config::ConfigPresence;
use crate::locks::LocksError;
use crate::record::{Done, Night, Record, Step, StepStatus};
use crate::restic::Restic;
use crate::stop::{Stop, Why};

/// A step for which there was no time for so long is worth a look.
const LEFT_TOO_LONG_MS: u64 = 3 * DAY_MS;
/// The steps that are said to be left, if there is anything to do for them: that of restoring only follows on what
/// verification found.
const STEPS: [Step; 6] = [Step::Verify, Step::Purge, Step::Examine, Step::Forget, Step::Prune, Step::Check];

/// A repository, with what is remembered of it.
#[derive(Debug)]
pub(super) struct RepositoryRun {
    pub(super) repository: RepositoryName,
    pub(super) settings: RunSettings,
    pub(super) restic: Restic,
    pub(super) stop: Stop,
    pub(super) record: Record,
    /// Where its `config` is, if a step of it may be late.
    config: ConfigPresence,
    /// Whether this run has seen its `config`, which nobody takes away while the lock of maintenance is held.
    pub(super) is_initialised: bool,
    /// SHA-256 of the names of all files, as the verification of this run saw them.
    pub(super) names: Option<String>,
    data: PathBuf,
    /// Steps for which there was no time.
    left: u64,
    /// Whether the night before left some that act, which now come before all that is read.
    acts_first: bool,
    /// The steps that somebody asked for; all if there are none.
    only: Vec<Step>,
    /// Of these, what this run did.
    fresh: Vec<Step>,
}

impl RepositoryRun {
    pub(super) fn load(
        data: &Path,
        repository: RepositoryName,
        settings: RunSettings,
        stop: Stop,
        only: &[Step],
    ) -> Result<Self, FileError> {
        let record = Record::load(data, &repository)?;
        let (config, data) = (ConfigPresence::default(), data.to_owned());
        let is_sound = record.verified.as_ref().is_some_and(|verified| verified.against.is_none());
        let acts_first = record.left_to_act && is_sound;
        let (only, fresh) = (only.to_vec(), Vec::new());
        let restic = Restic::of(&settings, stop.clone());
        Ok(Self {
            repository,
            settings,
            restic,
            stop,
            record,
            config,
            is_initialised: false,
            names: None,
            data,
            left: 0,
            acts_first,
            only,
            fresh,
        })
    }

    /// Looks up where its `config` is, before any step is called late. What cannot be looked up is taken to be there.
    pub(super) async fn look_at_config<S: MaintenanceStore>(&mut self, store: &S) {
        let is_late = |step: &Step| self.is_wanted(*step) && self.late_days(*step).is_some();
        if STEPS.iter().any(is_late) {
            self.config = ConfigPresence::of(store, &self.repository).await.unwrap_or_default();
        }
    }

    /// Whose turn it is: first those whose last turn is longest ago, whatever came of it. So one that takes all the time
    /// there is, or all the memory, comes last the next time.
    pub(super) fn turn(&self) -> (u64, RepositoryName) {
        (self.record.tended_ms.unwrap_or(0), self.repository.clone())
    }

    /// Its turn has come.
    pub(super) fn take_turn(&mut self) -> Result<(), FileError> {
        if self.has_work() {
            self.record.tended_ms = Some(now_ms());
            self.save()?;
        }
        Ok(())
    }

    /// Begins, or goes on with what this run did here before it was cut. What failed is tried again.
    /// If it is to be `compared` with what somebody brings, it is open in any case.
    pub(super) fn begin(&mut self, whole: &RunLock, compared: bool) -> Result<(), FileError> {
        if self.is_partial() {
            let began_ms = whole.began_ms;
            let ended_ms = Some(began_ms);
            self.record.last.get_or_insert(Night { began_ms, ended_ms, steps: Vec::new() });
            return Ok(());
        }
        let is_same = |night: &Night| whole.resumed && night.began_ms == whole.began_ms;
        let mut night = self.record.last.take().filter(is_same).unwrap_or_else(|| Night {
            began_ms: whole.began_ms,
            ended_ms: None,
            steps: Vec::new(),
        });
        let has_failed = night.steps.iter().any(|done| done.ended == StepStatus::Failed);
        if night.ended_ms.is_none() || has_failed || compared {
            night.ended_ms = None;
            // What was compared before the run was cut says nothing about what happened since.
            night.steps.retain(|done| {
                matches!(done.ended, StepStatus::Well | StepStatus::Notice) && done.step != Step::Compare
            });
        }
        self.record.last = Some(night);
        self.record.first_ms.get_or_insert(whole.began_ms);
        self.save()
    }

    /// Whether its steps that act come before the reading of this night.
    pub(super) const fn acts_first(&self) -> bool {
        self.acts_first
    }

    /// Whether only some steps were asked for. What came of these then replaces what the last run made of them.
    fn is_partial(&self) -> bool {
        !self.only.is_empty()
    }

    /// Whether somebody asked for this step by its name.
    pub(super) fn is_asked_for(&self, step: Step) -> bool {
        self.only.contains(&step)
    }

    /// What this run did.
    pub(super) fn steps(&self) -> impl Iterator<Item = &Done> {
        self.of_last().filter(|done| !self.is_partial() || self.fresh.contains(&done.step))
    }

    fn of_last(&self) -> impl Iterator<Item = &Done> {
        self.record.last.iter().flat_map(|night| &night.steps)
    }

    /// What came of a step: if it was not asked for, in the last run.
    pub(super) fn done(&self, step: Step) -> Option<&Done> {
        self.of_last().find(|done| done.step == step)
    }

    /// Whether nothing is to be done for a step any more.
    fn is_done(&self, step: Step) -> bool {
        if self.is_partial() {
            return !self.only.contains(&step) || self.fresh.contains(&step);
        }
        self.done(step).is_some()
    }

    /// Whether it was in use, and nothing of it is visible any more, as of one that is retired: only what is wrong is worth a
    /// line.
    pub(super) fn is_emptied(&self) -> bool {
        let is_empty = self.record.days.values().next_back().is_some_and(|day| day.files == 0);
        is_empty && !self.record.received.is_empty()
    }

    /// Whether there was a surprise.
    pub(super) fn has_failed(&self) -> bool {
        self.steps().any(|done| done.ended == StepStatus::Failed)
    }

    /// Whether there was a surprise after which nothing is done. That something is not made final keeps nothing else up.
    fn is_stopped(&self) -> bool {
        self.steps().any(|done| done.ended == StepStatus::Failed && done.step != Step::Purge)
    }

    /// Whether there was something to look at.
    pub(super) fn has_notice(&self) -> bool {
        self.steps().any(|done| done.ended == StepStatus::Notice)
    }

    /// For how many steps there was no time.
    pub(super) const fn left(&self) -> u64 {
        self.left
    }

    /// Whether there was no time for something.
    pub(super) const fn has_left(&self) -> bool {
        self.left > 0
    }

    fn has_ended(&self) -> bool {
        !self.is_partial() && self.record.last.as_ref().is_some_and(|night| night.ended_ms.is_some())
    }

    /// Whether it is still to be verified. Nothing that came of steps which act says that it need not be.
    pub(super) fn is_unread(&self) -> bool {
        !self.has_ended() && !self.is_done(Step::Verify) && self.stop.why().is_none()
    }

    /// Whether there is anything left to do that can be done.
    pub(super) fn has_work(&self) -> bool {
        !self.has_ended() && !self.is_stopped() && self.stop.why().is_none()
    }

    /// Does a step, if it is to be done.
    pub(super) async fn step(
        &mut self,
        step: Step,
        work: impl AsyncFnOnce(&mut Self) -> Result<StepOutcome, Box<dyn std::error::Error>>,
    ) -> Result<(), FileError> {
        if !self.has_work() || self.is_done(step) {
            return Ok(());
        }
        let started = Instant::now();
        let said = match work(self).await {
            Ok(said) => said,
            Err(error) => match self.stop.why() {
                Some(why) => return self.note_left(step, why, Some(&error.to_string())),
                // Somebody is at work there for longer than there is time.
                None if matches!(error.downcast_ref(), Some(LocksError::NoTime(_))) => {
                    return self.note_left(step, Why::Until, Some(&error.to_string()));
                }
                None => StepOutcome::failed(error.to_string()),
            },
        };
        self.note(step, said, started)
    }

    /// Writes down a batch of junk before it is filled: a run that is killed then leaves none at which nobody has to look.
    pub(super) fn noting_unseen(&self) -> impl FnMut(&BatchId) -> Result<(), FileError> + Send + use<> {
        let (mut record, data, repository) =
            (self.record.clone(), self.data.clone(), self.repository.clone());
        move |batch| {
            record.unseen.insert(batch.to_string());
            record.save(&data, &repository)
        }
    }

    /// Writes down what came of a step.
    pub(super) fn note(&mut self, step: Step, said: StepOutcome, started: Instant) -> Result<(), FileError> {
        let StepOutcome { ended, sentences, batch } = said;
        if matches!(ended, StepStatus::Well | StepStatus::Notice) {
            self.record.well_ms.insert(step, now_ms());
        }
        match (step, ended) {
            (Step::Check, StepStatus::Well | StepStatus::Notice) => self.record.checked_ms = Some(now_ms()),
            (Step::Check, StepStatus::Failed) => self.record.checked_ms = None,
            _ => {}
        }
        let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.fresh.push(step);
        if let Some(night) = &mut self.record.last {
            night.steps.retain(|done| done.step != step);
            night.steps.push(Done { step, ended, said: sentences, batch, took_ms });
        }
        self.save()
    }

    /// Writes down what there was no time for. A surprise leaves nothing: the next run begins with it.
    pub(super) fn leave(&mut self) -> Result<(), FileError> {
        let Some(why) = self.stop.why() else { return Ok(()) };
        if self.has_ended() || self.is_stopped() {
            return Ok(());
        }
        for step in STEPS {
            if !self.is_done(step) && self.is_wanted(step) {
                self.note_left(step, why, None)?;
            }
        }
        Ok(())
    }

    /// Whether the configuration asks for it.
    fn is_wanted(&self, step: Step) -> bool {
        let RunSettings { restic, retention, .. } = &self.settings;
        match step {
            Step::Examine | Step::Check => restic.knows_password(),
            // Without rules it follows on a deletion, and is then done the next night.
            Step::Forget | Step::Prune => {
                restic.knows_password() && retention.keep.rules() != Rules::default()
            }
            Step::Compare | Step::Verify | Step::Restore | Step::Locks | Step::Purge => true,
        }
    }

    fn note_left(&mut self, step: Step, why: Why, cut: Option<&str>) -> Result<(), FileError> {
        let why = match why {
            Why::Until => "its time was over (--until)",
            Why::Told => "the run was told to end",
        };
        let text = match cut {
            Some(cut) => format!("left for the next run: {why}, and it was cut: {cut}"),
            None => format!("left for the next run: {why}"),
        };
        let late =
            self.late_days(step).map(|(days, since)| format!("{since} {days} days ago; give it more time"));
        let said = match late {
            Some(late) => StepOutcome::notice(text).and([late]),
            None => StepOutcome::skipped(text),
        };
        self.left += 1;
        self.record.left_to_act |= step != Step::Verify;
        let well_ms = self.record.well_ms.get(&step).copied();
        self.note(step, said, Instant::now())?;
        // It did not end at all.
        match well_ms {
            Some(well_ms) => self.record.well_ms.insert(step, well_ms),
            None => self.record.well_ms.remove(&step),
        };
        self.save()
    }

    /// For how many days a step was not done, if that is too long, and since when that is. One that never was counts from
    /// the first run on. One for which there is nothing to do is not late.
    fn late_days(&self, step: Step) -> Option<(u64, &'static str)> {
        if !step.is_possible(self.config) {
            return None;
        }
        let Record { well_ms, first_ms, .. } = &self.record;
        let well = well_ms.get(&step).map(|well_ms| (*well_ms, "it last ended well"));
        let (since_ms, since) =
            well.or(first_ms.map(|first_ms| (first_ms, "it never ended well, and the first run was")))?;
        let ago_ms = now_ms().saturating_sub(since_ms);
        (ago_ms > LEFT_TOO_LONG_MS).then_some((ago_ms / DAY_MS, since))
    }

    /// All that could be done was done. What there was no time for leaves it open.
    pub(super) fn end(&mut self) -> Result<(), FileError> {
        if self.is_partial() {
            return self.save();
        }
        let is_cut = self.stop.why().is_some() && self.done(Step::Check).is_none() && !self.is_stopped();
        if is_cut || self.has_left() {
            return Ok(());
        }
        self.record.left_to_act = false;
        if self.done(Step::Verify).is_none() {
            return self.save(); // it acted first
        }
        if let Some(night) = &mut self.record.last {
            night.ended_ms = night.ended_ms.or_else(|| Some(now_ms()));
            self.record.last_ended_ms = night.ended_ms;
        }
        self.save()
    }

    pub(super) fn save(&mut self) -> Result<(), FileError> {
        self.record.save(&self.data, &self.repository)
    }
}
