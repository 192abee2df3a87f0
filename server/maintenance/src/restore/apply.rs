//! Putting right copies in the place of wrong ones.
//!
//! Invariant: nothing is replaced: the wrong copy is moved into a batch first, and the right one is put under a name that
//! is free. What a crash cut in between is in a batch of damaged files, where the next run finds it. Whatever a file needs
//! is in place before it.

use std::num::NonZeroUsize;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;
use pawl_policy::{
    Action, BatchId, Caps, Context, Delete, FileId, Grant, Handle, Permit, PrincipalName, RepositoryName,
    Role, decide,
};
use pawl_store::body::{Cut, Upload};
use pawl_store::maintenance::{Hid, MaintenanceStore, Place, PutBackError, Reason};
use pawl_store::{CreateError, Span, StoreError, StoredFile};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use super::as_of::phase;
use super::plan::{Step, Task};
use super::source::Source;
use crate::map_concurrent::map_concurrent;

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Done {
    /// It was right already.
    Right,
    /// The right copy is in place.
    Restored,
    /// The wrong copy was moved away, and there is no right one.
    SetAside,
    /// There is no right copy; the wrong one, if there is one, stays.
    NoGoodCopy,
    /// It was not restored, and why.
    Failed(String),
}

/// Carries tasks out in one repository.
#[derive(Debug)]
pub(super) struct Worker<'a, S> {
    pub(super) store: &'a S,
    pub(super) source: Option<&'a Source>,
    pub(super) repository: &'a RepositoryName,
    pub(super) principal: &'a PrincipalName,
    pub(super) caps: &'a Caps,
    /// Move wrong copies away of which there is no right one.
    pub(super) set_aside: bool,
    /// The batches of damaged files that were begun; the last one is open.
    pub(super) batches: Mutex<Vec<BatchId>>,
}

impl<S: MaintenanceStore> Worker<'_, S> {
    /// Does what is to be done for all files, which are in the order in which they have to come back: several at a time of
    /// those that do not need each other. An error of the store ends the run; what was begun by then is finished.
    pub(super) async fn carry_out_all(
        &self,
        tasks: &[Task],
        at_a_time: NonZeroUsize,
        bar: &ProgressBar,
    ) -> Result<Vec<Done>, StoreError> {
        let mut all = Vec::new();
        for phase in tasks.chunk_by(|one, next| phase(&one.handle) == phase(&next.handle)) {
            let done = map_concurrent(phase, at_a_time, |task| async move {
                self.carry_out(task).await.inspect(|_| bar.inc(1))
            });
            all.extend(done.await?);
        }
        Ok(all)
    }

    /// Does what is to be done for one file.
    async fn carry_out(&self, task: &Task) -> Result<Done, StoreError> {
        match &task.step {
            Step::Right => return Ok(Done::Right),
            Step::NoGoodCopy if !self.set_aside => return Ok(Done::NoGoodCopy),
            Step::NoGoodCopy if !task.wrong_one_there && !task.displaced => return Ok(Done::NoGoodCopy),
            Step::NoGoodCopy | Step::PutBack(_) | Step::PutIn { .. } => {}
        }
        if task.wrong_one_there && task.unrecorded {
            self.delete(&task.handle).await?;
        } else if task.wrong_one_there
            && let Err(error) = self.displace(&task.handle).await
        {
            // What is wrong with one file, which may be that it cannot be read, keeps no other from coming back.
            return Ok(Done::Failed(error.to_string()));
        }
        match &task.step {
            Step::Right => Ok(Done::Right),
            Step::NoGoodCopy => Ok(Done::SetAside),
            Step::PutBack(place) => match self.store.put_back(self.repository, &task.handle, place).await {
                Ok(_) if *place == Place::Current => Ok(Done::Right),
                Ok(_) => Ok(Done::Restored),
                Err(PutBackError::Store(error)) => Err(error),
                Err(error @ (PutBackError::Damaged | PutBackError::Occupied)) => {
                    Ok(Done::Failed(error.to_string()))
                }
            },
            Step::PutIn { place, facts } => {
                let mut upload = match self.upload(task, place).await {
                    Ok(upload) => upload,
                    Err(why) => return Ok(Done::Failed(why)),
                };
                let put = self.store.put_in(self.repository, &task.handle, facts, &mut upload, self.caps);
                match put.await {
                    Ok(_) => Ok(Done::Restored),
                    Err(CreateError::Store(error)) => Err(error),
                    Err(error) => Ok(Done::Failed(error.to_string())),
                }
            }
        }
    }

    /// Moves a wrong copy away, into a batch that has room for it.
    async fn displace(&self, handle: &Handle) -> Result<(), StoreError> {
        let mut full = None;
        loop {
            let batch = self.open_batch(full.as_ref()).await?;
            match self.store.displace(self.repository, handle, &batch).await? {
                Hid::Now | Hid::Absent => return Ok(()),
                Hid::Taken => full = Some(batch),
            }
        }
    }

    /// The batch that is open, or a new one if there is none but `full`.
    async fn open_batch(&self, full: Option<&BatchId>) -> Result<BatchId, StoreError> {
        let mut batches = self.batches.lock().await;
        match batches.last() {
            Some(open) if Some(open) != full => Ok(open.clone()),
            _ => {
                let begun = self.store.begin_batch(self.repository, self.principal, Reason::Damaged).await?;
                batches.push(begun.id.clone());
                Ok(begun.id)
            }
        }
    }

    /// Where nothing else was recorded of a `config` when it was stored, the store cannot tell that it is wrong; what an
    /// earlier verification noted can. So it is deleted, reversibly.
    async fn delete(&self, handle: &Handle) -> Result<(), StoreError> {
        let refused = |why: String| StoreError::Unavailable(format!("{handle} cannot be moved away: {why}"));
        let grant = Grant::new(self.repository.clone(), Role::Maintenance);
        let action = Action::Delete(Delete { repository: self.repository.clone(), handle: *handle });
        let decided = decide(self.principal, &grant, action, &Context::NOTHING_KNOWN);
        let Permit::Delete(permit) = decided.map_err(|denial| refused(denial.to_string()))? else {
            return Err(refused("it is no file that is deleted".to_owned()));
        };
        let batch = self.store.begin_batch(self.repository, self.principal, Reason::Deleted).await?;
        match self.store.hide(&permit, &batch.id).await? {
            Hid::Now | Hid::Absent => Ok(()),
            Hid::Taken => Err(refused(format!("batch {} has it already", batch.id))),
        }
    }

    /// The copy of the other store, as if a host sent it.
    async fn upload(&self, task: &Task, place: &Place) -> Result<Upload, String> {
        let source = self.source.ok_or_else(|| "no other store was named".to_owned())?;
        let there = source.repository(self.repository);
        let opened = source.store.open_version(&there, &task.handle, place).await;
        let file = opened.map_err(|error| format!("{}: {error}", source.name))?;
        let len = file.size();
        let content = file.read(Span { start: 0, len });
        if task.handle != Handle::Config {
            let pieces = content.map_err(|error| Cut::Broken(error.to_string()));
            return Ok(Upload::new(Box::pin(pieces), Some(len)));
        }
        // It has no name that it could be compared with on its way: it is compared before.
        if len > Caps::IN_MEMORY_BYTES_MAX {
            return Err(format!("{}: the config is larger than any", source.name));
        }
        let read = content.try_fold(Vec::new(), async |mut whole, piece| {
            whole.extend_from_slice(&piece);
            Ok(whole)
        });
        let whole = read.await.map_err(|error| format!("{}: {error}", source.name))?;
        if task.expected != Some(FileId::from_sha256(Sha256::digest(&whole).into())) {
            return Err(format!("{}: the config has changed since it was looked at", source.name));
        }
        let once = stream::once(std::future::ready(Ok(Bytes::from(whole)))).boxed();
        Ok(Upload::new(once, Some(len)))
    }
}
