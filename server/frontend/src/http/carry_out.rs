//! Carries out what was permitted.
//!
//! Invariant: a match over permits, each of which goes to the one call of the store that takes it.

use futures_util::TryStreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::header::RANGE;
use hyper::{HeaderMap, Response};
use pawl_config::pace::Pace;
use pawl_policy::{FileType, Permit, Permitted, PrincipalName, Read, RepositoryName};
use pawl_store::body::Upload;
use pawl_store::deletions::{Deleted, Deletions};
use pawl_store::{AppendStore, Created, Span, StoreError, StoredFile};

use super::listing::{self, Version};
use super::range::{self, Wanted};
use super::record::Record;
use super::respond::{self, Body, Refusal};
use super::service::Frontend;

const OK: u16 = 200;

impl<S: AppendStore, D: Deletions> Frontend<S, D> {
    pub(super) async fn carry_out(
        &self,
        permit: Permit,
        headers: &HeaderMap,
        upload: &mut Upload,
        pace: &Pace,
        record: &mut Record,
    ) -> Result<Response<Body>, Refusal> {
        match permit {
            Permit::List(permit) => {
                let version = Version::accepted(headers);
                let batches = self.store.list(permit).await?;
                record.note_outcome(OK, "listed");
                Ok(respond::listing(version.content_type(), listing::body(batches, version)))
            }
            Permit::Stat(permit) => {
                let size = self.store.stat(&permit).await?;
                record.note_outcome(OK, "found");
                Ok(respond::size(size))
            }
            Permit::Read(permit) => self.read(&permit, headers, pace, record).await,
            Permit::CreateRepository(permit) => {
                self.store.create_repository(&permit).await?;
                record.note_outcome(OK, "created");
                Ok(respond::done())
            }
            Permit::Create(permit) => {
                let _present = self.metrics.upload();
                let created = self.store.create(&permit, upload, &self.caps).await?;
                if permit.action().handle.file_type() == Some(FileType::Locks) {
                    self.deletions.note_lock(permit.principal(), &permit.action().repository).await;
                }
                Ok(stored(created, record))
            }
            Permit::Confirm(permit) => {
                let _present = self.metrics.upload();
                let created = self.store.confirm(&permit, upload, &self.caps).await?;
                Ok(stored(created, record))
            }
            Permit::RemoveLock(permit) => {
                self.store.remove_lock(&permit).await?;
                self.note_unlocked(permit.principal(), &permit.action().repository).await?;
                record.note_outcome(OK, "removed");
                Ok(respond::done())
            }
            Permit::Delete(permit) => {
                let outcome = match self.deletions.delete(&permit).await? {
                    Deleted::Hidden => "deleted, reversibly",
                    Deleted::Kept => "kept: it came too lately to be pruned",
                };
                record.note_outcome(OK, outcome);
                Ok(respond::done())
            }
        }
    }

    /// restic renews a lock by making another before it removes the first.
    async fn note_unlocked(
        &self,
        principal: &PrincipalName,
        repository: &RepositoryName,
    ) -> Result<(), StoreError> {
        if self.deletions.has_kept(principal, repository).await
            && self.live_locks(repository, principal).await? == 0
        {
            self.deletions.note_unlocked(principal, repository).await;
        }
        Ok(())
    }

    async fn read(
        &self,
        permit: &Permitted<Read>,
        headers: &HeaderMap,
        pace: &Pace,
        record: &mut Record,
    ) -> Result<Response<Body>, Refusal> {
        let header = headers.get(RANGE).and_then(|value| value.to_str().ok());
        let file = self.store.open(permit, range::part(header)).await?;
        let size = file.size();
        let wanted = range::wanted(header, size);
        let span = match wanted {
            Wanted::Whole => Span { start: 0, len: size },
            Wanted::Part(span) => span,
            Wanted::Unsatisfiable => return Err(Refusal::Range { size }),
        };
        let pace = pace.clone();
        let paced = file.read(span).and_then(move |chunk| {
            let pace = pace.clone();
            async move {
                pace.bytes(chunk.len()).await;
                Ok(Frame::data(chunk))
            }
        });
        let body = StreamBody::new(paced).boxed_unsync();
        let response = respond::file(wanted, size, body);
        record.note_outcome(response.status().as_u16(), "read");
        Ok(response)
    }
}

fn stored(created: Created, record: &mut Record) -> Response<Body> {
    let outcome = match created {
        Created::Stored => {
            record.note_stored();
            "stored"
        }
        Created::AlreadyThere => "already there",
    };
    record.note_outcome(OK, outcome);
    respond::done()
}
