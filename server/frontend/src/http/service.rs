//! From a request to its answer.
//!
//! Invariant: authentication comes before anything else is looked at, the grant before anything is looked up, and
//! nothing is done without a permit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Request, Response};
use pawl_config::Limits;
use pawl_config::Proxies;
use pawl_keeper::audit_queue::Queue;
use pawl_policy::{
    Action, Caps, Context, Denial, FileState, FileType, Grant, Handle, Permit, PrincipalName, RepositoryName,
    RepositoryState, Role, Room, SNAPSHOT_FLOOR_MS, check_reach, decide, lock_has_expired,
};
use pawl_store::body::Upload;
use pawl_store::deletions::{Deletions, NoDeletions};
use pawl_store::{AppendStore, Facts, StoreError, now_ms};

use super::arrivals::Roster;
use super::deadline::Working;
use super::gate::Gate;
use super::metrics::Metrics;
use super::pending_upload::{PendingUpload, PendingUploads};
use super::proxy;
use super::record::{Record, Recorded};
use super::respond::{self, Body, Refusal};
use super::turned_away::TurnedAway;
use super::{authenticate, route, upload};
use crate::credentials::{AuthenticationError, Credentials, Fingerprint, Principal};
use crate::peer::Peer;
use tokio::task::JoinError;

/// A frontend in front of a store: to hosts, unless it was built with other than [`NoDeletions`].
#[derive(Debug)]
pub struct Frontend<S, D = NoDeletions> {
    pub(super) store: S,
    pub(super) deletions: D,
    /// The age from which on a snapshot can be deleted, in milliseconds.
    snapshot_floor_ms: u64,
    pub(super) credentials: Credentials,
    pub(super) caps: Caps,
    pub(super) limits: Limits,
    /// New files on their way to the store.
    pub(super) uploads: PendingUploads,
    /// Requests of each principal, until their answers are taken: each holds memory and a descriptor.
    places: Gate<PrincipalName>,
    requests: AtomicU64,
    /// Deletions that were not permitted.
    refused_deletions: AtomicU64,
    proxies: Proxies,
    /// Connections of hosts.
    hosts: Roster<PrincipalName>,
    pub(super) turned_away: TurnedAway,
    pub(super) audit: Queue,
    pub(super) metrics: Arc<Metrics>,
}

impl<S: AppendStore> Frontend<S> {
    /// A frontend in front of `store` for the hosts whom `credentials` knows.
    #[must_use]
    pub fn new(store: S, credentials: Credentials, caps: Caps, limits: Limits, audit: Queue) -> Self {
        Self::with(store, NoDeletions, SNAPSHOT_FLOOR_MS, credentials, caps, limits, audit)
    }
}

impl<S: AppendStore, D: Deletions> Frontend<S, D> {
    /// A frontend for the admins whom `credentials` knows; `deletions` carries out what they delete.
    #[must_use]
    pub fn for_maintenance(
        store: S,
        deletions: D,
        snapshot_floor_ms: u64,
        credentials: Credentials,
        caps: Caps,
        limits: Limits,
        audit: Queue,
    ) -> Self {
        Self::with(store, deletions, snapshot_floor_ms, credentials, caps, limits, audit)
    }

    fn with(
        store: S,
        deletions: D,
        snapshot_floor_ms: u64,
        credentials: Credentials,
        caps: Caps,
        limits: Limits,
        audit: Queue,
    ) -> Self {
        Self {
            deletions,
            snapshot_floor_ms,
            store,
            credentials,
            caps,
            limits,
            uploads: PendingUploads::default(),
            places: Gate::default(),
            requests: AtomicU64::new(1),
            refused_deletions: AtomicU64::new(0),
            proxies: Proxies::default(),
            hosts: Roster::default(),
            turned_away: TurnedAway::default(),
            audit,
            metrics: Arc::new(Metrics::new(now_ms() / 1000)),
        }
    }

    /// The same frontend behind these proxies.
    #[must_use]
    pub fn behind(mut self, proxies: Proxies) -> Self {
        self.proxies = proxies;
        self
    }

    /// Whether the peer is a proxy, on whose connections everybody comes.
    pub(super) fn is_proxy(&self, peer: Peer) -> bool {
        proxy::include(&self.proxies, peer)
    }

    /// How many deletions were not permitted since it was built.
    pub fn refused_deletions(&self) -> u64 {
        self.refused_deletions.load(Ordering::Relaxed)
    }

    /// Looks again at who may come in.
    pub fn reload_credentials(&self) {
        self.credentials.reload();
    }

    /// Answers one request.
    ///
    /// The work is a task of its own: a client that goes away ends its own transfers, but cannot stop the work
    /// half-way, before it is counted, given back or written to the log.
    pub(super) async fn handle(
        self: Arc<Self>,
        peer: Peer,
        certificate: Option<Fingerprint>,
        working: Working,
        request: Request<Incoming>,
    ) -> Result<Response<Recorded>, JoinError> {
        tokio::spawn(self.work(peer, certificate, working, request)).await
    }

    async fn work(
        self: Arc<Self>,
        peer: Peer,
        certificate: Option<Fingerprint>,
        mut working: Working,
        request: Request<Incoming>,
    ) -> Response<Recorded> {
        let (head, body) = request.into_parts();
        let peer = proxy::client(&self.proxies, peer, &head.headers);
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let (metrics, audit) = (Arc::clone(&self.metrics), self.audit.clone());
        let mut record = Record::new(metrics, audit, number, peer, head.method.as_str(), head.uri.path());
        let mut upload = upload::upload(&head.headers, body, self.limits.stall);
        let mut place = None;

        let (answered, known) = match self.authenticate(&head, peer, certificate, &mut record).await {
            Err(refusal) => {
                working.refused();
                (Err(refusal), false)
            }
            Ok(principal) => {
                working.authenticated();
                if !matches!(peer, Peer::Forwarded { .. }) {
                    working.count_for_host(&self.hosts, &principal.name, self.limits.requests_per_host);
                }
                let entered = place.insert(Arc::new(self.places.enter(principal.name.clone())));
                let answered = if entered.before() >= self.limits.requests_per_host {
                    Err(Refusal::TooManyRequests)
                } else {
                    principal.pace.request().await;
                    upload.slow_down(&principal.pace);
                    self.answer(&principal, peer, &head, &mut upload, &mut record).await
                };
                (answered, true)
            }
        };
        let drain = upload::Drain::of(&head, &upload, known);
        if known && answered.is_err() && !upload.is_whole() {
            record.note_received(upload.received_bytes());
            let reading = (working.read_on(), place.clone());
            tokio::spawn(async move {
                drain.read(&mut upload).await;
                drop(reading);
            });
        } else {
            drain.read(&mut upload).await;
            record.note_received(upload.received_bytes());
        }
        let mut response = answered.unwrap_or_else(|refusal| refused(&refusal, &mut record));
        if !known {
            respond::to_a_stranger(&mut response, head.version);
        }
        if route::wants_no_body(&head.method) {
            respond::without_body(&mut response);
        }
        let announced = respond::announced_bytes(&response);
        response.map(|body| Recorded::new(body, announced, record, working.respond(), place))
    }

    async fn authenticate(
        &self,
        head: &Parts,
        peer: Peer,
        certificate: Option<Fingerprint>,
        record: &mut Record,
    ) -> Result<Arc<Principal>, Refusal> {
        let basic = authenticate::basic(&head.headers);
        let presented = authenticate::presented(&head.headers, basic.as_ref(), certificate)
            .ok_or(Refusal::NoCredential)?;
        match self.credentials.authenticate(presented, peer.origin()).await {
            Ok(principal) => {
                record.note_principal(&principal.name);
                Ok(principal)
            }
            Err(error) => {
                if let Some(name) = self.credentials.known_name(presented) {
                    record.note_claimed(&name);
                }
                Err(error.into())
            }
        }
    }

    async fn answer(
        &self,
        principal: &Principal,
        peer: Peer,
        head: &Parts,
        upload: &mut Upload,
        record: &mut Record,
    ) -> Result<Response<Body>, Refusal> {
        let action = route::route(&head.method, &head.uri).map_err(Refusal::Route)?;
        record.note_action(&action);
        let grant = principal.grant(action.repository()).ok_or(Denial::NotGranted)?;
        check_reach(&grant, &action, &self.nothing_known(peer))?;
        let new = self.uploads.begin(&self.caps, &principal.name, &grant, &action, upload.declared_bytes());
        let permit = self.permit(principal, &grant, action, peer, &new).await?;
        new.follow(upload);
        self.carry_out(permit, &head.headers, upload, &principal.pace, record).await
    }

    /// Looks up what the decision needs to know, and decides.
    async fn permit(
        &self,
        principal: &Principal,
        grant: &Grant,
        action: Action,
        peer: Peer,
        new: &PendingUpload,
    ) -> Result<Permit, Refusal> {
        let known = Context {
            usage: new.usage(),
            total_usage: new.total_usage(),
            live_locks: new.before(),
            keys: new.before(),
            ..self.nothing_known(peer)
        };
        let (context, is_file_known) = self.context(&principal.name, grant, &action, new, known).await?;
        let is_deletion = matches!(action, Action::Delete(_) | Action::DeleteRepository(_));
        let mut decided = decide(&principal.name, grant, action.clone(), &context);
        // What is there already takes no room.
        if let Err(Denial::Quota | Denial::TotalQuota) = decided
            && !is_file_known
            && let Some(handle) = action.handle()
        {
            let file = state(self.store.facts(&grant.repository, handle).await?);
            decided = decide(&principal.name, grant, action, &Context { file, ..context });
        }
        if is_deletion && decided.as_ref().is_err_and(|denial| *denial != Denial::CleanUp) {
            self.refused_deletions.fetch_add(1, Ordering::Relaxed);
        }
        if decided == Err(Denial::SnapshotTooYoung) {
            self.deletions.note_kept(&principal.name, &grant.repository).await;
        }
        Ok(decided?)
    }

    /// Completes what is known by what the decision on this action names, and whether the file was looked for. Reach was
    /// checked before anything is looked up.
    async fn context(
        &self,
        principal: &PrincipalName,
        grant: &Grant,
        action: &Action,
        new: &PendingUpload,
        mut known: Context,
    ) -> Result<(Context, bool), StoreError> {
        let (repository, mut is_file_known) = (action.repository(), true);
        match action {
            Action::List(_) | Action::DeleteRepository(_) => {}
            Action::CreateRepository(_) => {
                let survey = self.store.survey(repository, &Handle::Config).await?;
                known.repository = survey.repository;
                known.room = if survey.room_bytes == 0 { Room::Full } else { Room::Enough };
            }
            Action::Delete(delete) if matches!(grant.role, Role::Backup | Role::Restore) => {
                known.file = match self.store.facts(repository, &delete.handle).await {
                    // A lock may be removed. Nothing else is, and what cannot be seen counts as not there.
                    Err(error) if delete.handle.file_type() == Some(FileType::Locks) => return Err(error),
                    found => state(found.unwrap_or_default()),
                };
            }
            Action::Stat(_) | Action::Read(_) | Action::Delete(_) => {
                if let Some(handle) = action.handle().filter(|handle| names_facts(grant.role, handle)) {
                    known.file = state(self.store.facts(repository, handle).await?);
                }
                known.snapshot_kept = self.deletions.has_kept(principal, repository).await;
            }
            Action::Create(create) => {
                let survey = self.store.survey(repository, &create.handle).await?;
                known.room = new.promise().map_or(Room::Enough, |promise| promise.judge(survey.room_bytes));
                known.repository = survey.repository;
                (known.file, is_file_known) = (state(survey.file), survey.is_file_known);
                known.tombstone = survey.tombstone;
                known.locks_suspended_until_ms = survey.locks_suspended_until_ms;
                match create.handle.file_type() {
                    Some(FileType::Locks) => {
                        let live = self.live_locks(repository, principal).await?;
                        known.live_locks = known.live_locks.saturating_add(live);
                    }
                    Some(FileType::Keys) => {
                        let keys = self.store.all_facts(repository, FileType::Keys).await?.len();
                        known.keys = known.keys.saturating_add(u32::try_from(keys).unwrap_or(u32::MAX));
                    }
                    Some(FileType::Data | FileType::Index | FileType::Snapshots) | None => {}
                }
                if !grant.quota.is_unlimited() && survey.repository != RepositoryState::Absent {
                    known.usage = known.usage.plus(self.store.usage(repository).await?);
                }
                if !grant.total_quota.is_unlimited() {
                    known.total_usage = known.total_usage.plus(self.store.total_usage(principal).await?);
                }
            }
        }
        Ok((known, is_file_known))
    }

    /// What is known of a request before anything is looked up.
    fn nothing_known(&self, peer: Peer) -> Context {
        Context {
            peer: peer.ip(),
            now_ms: now_ms(),
            snapshot_floor_ms: self.snapshot_floor_ms,
            ..Context::NOTHING_KNOWN
        }
    }

    pub(super) async fn live_locks(
        &self,
        repository: &RepositoryName,
        principal: &PrincipalName,
    ) -> Result<u32, StoreError> {
        let now_ms = now_ms();
        let locks = self.store.all_facts(repository, FileType::Locks).await?;
        let live = locks.iter().filter(|facts| {
            facts.creator.as_ref() == Some(principal) && !lock_has_expired(facts.age_ms(now_ms))
        });
        Ok(u32::try_from(live.count()).unwrap_or(u32::MAX))
    }
}

/// Whether the decision to read or delete this file names what is known of it.
const fn names_facts(role: Role, handle: &Handle) -> bool {
    match handle {
        Handle::File(FileType::Keys | FileType::Locks, _) => true,
        Handle::File(FileType::Snapshots, _) => matches!(role, Role::Maintenance),
        Handle::Config | Handle::File(FileType::Data | FileType::Index, _) => false,
    }
}

fn state(facts: Option<Facts>) -> FileState {
    facts.map_or(FileState::Absent, |facts| FileState::Present {
        age_ms: facts.age_ms(now_ms()),
        creator: facts.creator,
        audience: facts.audience,
    })
}

fn refused(refusal: &Refusal, record: &mut Record) -> Response<Body> {
    record.note_refusal(refusal);
    if let Refusal::Authentication(AuthenticationError::Unavailable(cause)) = refusal {
        tracing::error!(cause, "credentials cannot be looked up");
    }
    respond::refusal(refusal)
}
