//! What every store must do for maintenance. A store joins with one line: `maintenance_suite!(name, fixture)`.
//!
//! Invariant: nothing here knows which store it tests.

use std::collections::BTreeSet;

use futures_util::TryStreamExt;
use pawl_policy::{
    Action, Age, Audience, BatchId, Caps, Clock, Context, Delete, FileId, FileType, Grant, Handle, Permit,
    Permitted, PrincipalName, PurgePermit, Role, Usage, decide, purge_permit,
};

pub(crate) use locks::{a_suspension_of_locks_is_seen_until_it_is_ended, every_lock_is_found_with_its_facts};
pub(crate) use naming::{
    a_repository_below_another_may_have_any_name, every_repository_is_found_and_none_besides,
};

mod locks;
mod naming;

use super::{Fixture, Outcome, content, id_of, key, principal, repository, upload};
use crate::maintenance::{Batch, Found, Hid, Hidden, MaintenanceStore, Place, PutBackError, Reason, Version};
use crate::{AppendStore, Created, Facts, StoredFile, now_ms};

/// A store as hosts and as maintenance see it.
pub(crate) struct Both<S, M, P> {
    pub(crate) hosts: Fixture<S, P>,
    pub(crate) maintenance: M,
}

fn admin() -> PrincipalName {
    "admin".parse().unwrap()
}

pub(crate) fn deletion(handle: Handle) -> Permitted<Delete> {
    let grant = Grant::new(repository(), Role::Maintenance);
    let action = Action::Delete(Delete { repository: repository(), handle });
    let Ok(Permit::Delete(permit)) = decide(&admin(), &grant, action, &Context::NOTHING_KNOWN) else {
        unreachable!()
    };
    permit
}

pub(crate) fn permit_for(batch: &BatchId) -> PurgePermit {
    let age = Age {
        hidden_ms: 0,
        now_ms: now_ms(),
        days_seen: 0,
        purge_delay_days: 0,
        newest_received_ms: None,
        clock: Clock::Synchronised,
    };
    purge_permit(batch, &age).unwrap()
}

impl<S: AppendStore, M: MaintenanceStore, P> Both<S, M, P> {
    pub(crate) async fn stored(&self, file_type: FileType, content: &[u8]) -> Handle {
        assert_eq!(self.hosts.create(file_type, content).await, Outcome::Stored);
        Handle::File(file_type, id_of(content))
    }

    pub(crate) async fn begin(&self, reason: Reason) -> BatchId {
        self.maintenance.begin_batch(&repository(), &admin(), reason).await.unwrap().id
    }

    pub(crate) async fn hide(&self, handle: Handle, batch: &BatchId) -> Hid {
        self.maintenance.hide(&deletion(handle), batch).await.unwrap()
    }

    pub(crate) async fn hidden(&self, batch: &BatchId) -> Vec<Hidden> {
        self.maintenance.hidden(batch).await.unwrap().try_concat().await.unwrap()
    }

    pub(crate) async fn facts(&self, handle: Handle) -> Option<Facts> {
        self.hosts.store.facts(&repository(), &handle).await.unwrap()
    }

    async fn is_buried(&self, handle: Handle) -> bool {
        self.hosts.store.survey(&repository(), &handle).await.unwrap().tombstone
    }

    async fn usage(&self) -> Usage {
        self.hosts.store.usage(&repository()).await.unwrap()
    }

    async fn walk(&self) -> BTreeSet<Handle> {
        let found: Vec<_> = self.maintenance.walk(&repository()).await.unwrap().try_concat().await.unwrap();
        found
            .into_iter()
            .map(|found| match found {
                Found::File { handle, unusual: None, .. } => handle,
                other => unreachable!("{other:?}"),
            })
            .collect()
    }

    async fn read(&self, handle: Handle, place: &Place) -> Vec<u8> {
        let file = self.maintenance.open_version(&repository(), &handle, place).await.unwrap();
        let span = crate::Span { start: 0, len: file.size() };
        file.read(span).map_ok(|chunk| chunk.to_vec()).try_concat().await.unwrap()
    }

    /// One file of each kind, config first.
    async fn one_of_each(&self) -> Vec<(Handle, Vec<u8>)> {
        self.hosts.create_repository().await;
        let mut all = Vec::new();
        for (file_type, content) in [
            (FileType::Keys, key()),
            (FileType::Data, content(1, 200_000)),
            (FileType::Index, content(2, 100)),
            (FileType::Snapshots, content(3, 100)),
        ] {
            all.push((self.stored(file_type, &content).await, content));
        }
        assert_eq!(self.hosts.send(Handle::Config, upload(b"the config")).await, Outcome::Stored);
        all.push((Handle::Config, b"the config".to_vec()));
        all
    }
}

pub(crate) async fn what_is_hidden_comes_back_with_its_facts<S, M, P>(f: Both<S, M, P>)
where
    S: AppendStore,
    M: MaintenanceStore,
{
    let all = f.one_of_each().await;
    let batch = f.begin(Reason::Deleted).await;
    let mut expected = Vec::new();
    for (handle, content) in &all {
        let facts = f.facts(*handle).await.unwrap();
        assert_eq!(f.hide(*handle, &batch).await, Hid::Now);
        assert_eq!(f.facts(*handle).await, None);
        assert_eq!(f.read(*handle, &Place::Hidden(batch.clone())).await, *content);
        expected.push((*handle, content.len() as u64, facts));
    }
    assert_eq!(f.walk().await, BTreeSet::new());
    let hidden = f.hidden(&batch).await;
    assert!(hidden.iter().all(|hidden| (hidden.facts.received_ms..=now_ms()).contains(&hidden.hidden_ms)));
    let mut found: Vec<_> = hidden.into_iter().map(|h| (h.handle, h.bytes, h.facts)).collect();
    found.sort_by_key(|(handle, ..)| *handle);
    expected.sort_by_key(|(handle, ..)| *handle);
    assert_eq!(found, expected);
    for (handle, _, facts) in expected {
        assert_eq!(f.maintenance.bring_back(&batch, &handle).await.unwrap(), Created::Stored);
        assert_eq!(f.facts(handle).await, Some(facts));
    }
    for (handle, content) in &all {
        assert_eq!(f.hosts.read_handle(*handle, None).await.as_deref(), Some(&content[..]));
    }
    assert_eq!(f.walk().await, all.iter().map(|(handle, _)| *handle).collect());
    assert_eq!(f.hidden(&batch).await, vec![]);
}

pub(crate) async fn a_tombstone_stands_from_hiding_until_it_is_back<S, M, P>(f: Both<S, M, P>)
where
    S: AppendStore,
    M: MaintenanceStore,
{
    let all = f.one_of_each().await;
    let batch = f.begin(Reason::Deleted).await;
    for (handle, content) in &all {
        // Where a store keeps checksums itself, they are of the content.
        let sum = f.maintenance.stored_sha256(&repository(), handle).await.unwrap();
        assert!(sum.is_none_or(|sum| sum == id_of(content)), "{handle}");
        f.hide(*handle, &batch).await;
        let expected = !matches!(handle, Handle::Config | Handle::File(FileType::Data, _));
        assert_eq!(f.is_buried(*handle).await, expected, "{handle}");
        let tombstones = f.maintenance.tombstones(&repository()).await.unwrap();
        assert_eq!(tombstones, expected.then_some(*handle).into_iter().collect());
        f.maintenance.bring_back(&batch, handle).await.unwrap();
        assert!(!f.is_buried(*handle).await, "{handle}");
    }
    let never = Handle::File(FileType::Snapshots, id_of(b"never there"));
    assert_eq!(f.hide(never, &batch).await, Hid::Absent);
    assert!(!f.is_buried(never).await);
}

pub(crate) async fn hiding_again_is_no_error_and_loses_no_copy<S, M, P>(f: Both<S, M, P>)
where
    S: AppendStore,
    M: MaintenanceStore,
{
    f.hosts.initialised().await;
    let bytes = content(1, 1000);
    let handle = f.stored(FileType::Data, &bytes).await;
    let first = f.begin(Reason::Deleted).await;
    assert_eq!(f.hide(handle, &first).await, Hid::Now);
    assert_eq!(f.hide(handle, &first).await, Hid::Absent);
    f.stored(FileType::Data, &bytes).await;
    assert_eq!(f.hide(handle, &first).await, Hid::Taken);
    assert!(f.facts(handle).await.is_some());
    let second = f.begin(Reason::Deleted).await;
    assert_eq!(f.hide(handle, &second).await, Hid::Now);
    assert_eq!((f.hidden(&first).await.len(), f.hidden(&second).await.len()), (1, 1));
    let places: Vec<_> = f.versions(handle).await.into_iter().map(|version| version.place).collect();
    assert_eq!(places, [Place::Hidden(first.clone()), Place::Hidden(second.clone())]);
    // The first comes back; the second finds it there, and stays where it is.
    assert_eq!(f.maintenance.bring_back(&first, &handle).await.unwrap(), Created::Stored);
    assert_eq!(f.maintenance.bring_back(&second, &handle).await.unwrap(), Created::AlreadyThere);
    assert_eq!((f.hidden(&first).await.len(), f.hidden(&second).await.len()), (0, 1));
}

pub(crate) async fn nothing_that_stands_there_is_replaced<S, M, P>(f: Both<S, M, P>)
where
    S: AppendStore,
    M: MaintenanceStore,
{
    f.hosts.create_repository().await;
    assert_eq!(f.hosts.send(Handle::Config, upload(b"first")).await, Outcome::Stored);
    let batch = f.begin(Reason::Deleted).await;
    assert_eq!(f.hide(Handle::Config, &batch).await, Hid::Now);
    assert_eq!(f.hosts.send(Handle::Config, upload(b"second")).await, Outcome::Stored);
    let brought = f.maintenance.bring_back(&batch, &Handle::Config).await;
    assert!(matches!(brought, Err(PutBackError::Occupied)), "{brought:?}");
    assert_eq!(f.hosts.read_handle(Handle::Config, None).await.as_deref(), Some(&b"second"[..]));
    assert_eq!(f.read(Handle::Config, &Place::Hidden(batch)).await, b"first");
}

pub(crate) async fn batches_are_listed_in_order_and_are_for_what_they_were_begun<S, M, P>(f: Both<S, M, P>)
where
    S: AppendStore,
    M: MaintenanceStore,
{
    f.hosts.initialised().await;
    let bytes = content(1, 100);
    let handle = f.stored(FileType::Snapshots, &bytes).await;
    let before = now_ms();
    let mut ids = Vec::new();
    for reason in [Reason::Deleted, Reason::Damaged, Reason::Deleted] {
        ids.push((f.begin(reason).await, reason));
    }
    let batches = f.maintenance.batches().await.unwrap();
    let listed: Vec<_> = batches.iter().map(|batch| (batch.id.clone(), batch.reason)).collect();
    assert_eq!(listed, ids);
    let is_whole = |batch: &Batch| {
        (&batch.repository, &batch.principal) == (&repository(), &admin())
            && (before..=now_ms()).contains(&batch.began_ms)
    };
    assert!(batches.iter().all(is_whole), "{batches:?}");
    assert!(f.maintenance.hide(&deletion(handle), &ids[1].0).await.is_err());
    assert!(f.maintenance.displace(&repository(), &handle, &ids[0].0).await.is_err());
    let web2 = "web2".parse().unwrap();
    let other = f.maintenance.begin_batch(&web2, &admin(), Reason::Deleted).await.unwrap().id;
    assert!(f.maintenance.hide(&deletion(handle), &other).await.is_err());
    assert!(f.maintenance.displace(&repository(), &handle, &ids[1].0).await.is_err()); // it is not damaged
    assert_eq!(f.facts(handle).await.map(|facts| facts.creator), Some(Some(principal())));
}

pub(crate) async fn what_is_purged_is_gone_and_its_tombstone_stays<S, M, P>(f: Both<S, M, P>)
where
    S: AppendStore,
    M: MaintenanceStore,
{
    f.hosts.initialised().await;
    let bytes = content(1, 100);
    let handle = f.stored(FileType::Snapshots, &bytes).await;
    let batch = f.begin(Reason::Deleted).await;
    f.hide(handle, &batch).await;
    assert!(f.maintenance.end_batch(&batch).await.is_err());
    let permit = permit_for(&batch);
    f.maintenance.purge(&permit, &handle).await.unwrap();
    f.maintenance.purge(&permit, &handle).await.unwrap();
    assert_eq!(f.versions(handle).await, vec![]);
    assert!(f.maintenance.bring_back(&batch, &handle).await.is_err());
    assert!(f.is_buried(handle).await);
    f.maintenance.note_seen(&batch, "2026-11-21".parse().unwrap()).await.unwrap();
    f.maintenance.end_batch(&batch).await.unwrap();
    f.maintenance.end_batch(&batch).await.unwrap();
    assert_eq!(f.maintenance.batches().await.unwrap(), vec![]);
}

pub(crate) async fn days_are_noted_once_each<S, M, P>(f: Both<S, M, P>)
where
    S: AppendStore,
    M: MaintenanceStore,
{
    f.hosts.initialised().await;
    let batch = f.begin(Reason::Deleted).await;
    let days = ["2026-11-21", "2026-11-22", "2026-11-21"].map(|day| day.parse().unwrap());
    for day in days {
        f.maintenance.note_seen(&batch, day).await.unwrap();
    }
    assert_eq!(f.maintenance.days_seen(&batch).await.unwrap(), BTreeSet::from(days));
    let never = "20261121T014500Z-00000000".parse().unwrap();
    assert!(f.maintenance.note_seen(&never, days[0]).await.is_err());
}

pub(crate) async fn usage_falls_with_what_is_hidden_and_rises_with_what_comes_back<S, M, P>(f: Both<S, M, P>)
where
    S: AppendStore,
    M: MaintenanceStore,
{
    f.hosts.initialised().await;
    let before = f.usage().await;
    let handle = f.stored(FileType::Data, &content(1, 1000)).await;
    let full = f.usage().await;
    let batch = f.begin(Reason::Deleted).await;
    f.hide(handle, &batch).await;
    f.hide(handle, &batch).await;
    assert_eq!(f.usage().await, before);
    f.maintenance.bring_back(&batch, &handle).await.unwrap();
    assert_eq!(f.usage().await, full);
}

pub(crate) async fn a_file_from_elsewhere_is_stored_with_its_facts_if_it_is_right<S, M, P>(f: Both<S, M, P>)
where
    S: AppendStore,
    M: MaintenanceStore,
{
    f.hosts.initialised().await;
    let bytes = content(1, 300_000);
    let handle = Handle::File(FileType::Data, id_of(&bytes));
    let facts = Facts { creator: Some(principal()), received_ms: 1234, audience: Audience::All };
    let put = async |bytes: &[u8]| {
        let caps = Caps::default();
        f.maintenance.put_in(&repository(), &handle, &facts, &mut upload(bytes), &caps).await
    };
    assert!(put(&content(2, 300_000)).await.is_err());
    assert_eq!(f.facts(handle).await, None);
    assert_eq!(put(&bytes).await.unwrap(), Created::Stored);
    assert_eq!(put(&bytes).await.unwrap(), Created::AlreadyThere);
    assert_eq!(f.facts(handle).await, Some(facts.clone()));
    assert_eq!(f.hosts.read_handle(handle, None).await, Some(bytes));
}

pub(crate) async fn a_keys_audience_can_be_changed<S, M, P>(f: Both<S, M, P>)
where
    S: AppendStore,
    M: MaintenanceStore,
{
    f.hosts.create_repository().await;
    let Handle::File(_, id) = f.stored(FileType::Keys, &key()).await else { unreachable!() };
    for audience in [Audience::Maintenance, Audience::All, Audience::All] {
        f.maintenance.set_audience(&repository(), &id, audience).await.unwrap();
        let shown = usize::from(audience == Audience::All);
        assert_eq!(f.hosts.list(FileType::Keys).await.map(|keys| keys.len()), Some(shown));
        assert_eq!(f.hosts.read(FileType::Keys, id).await, Some(key()));
        assert_eq!(f.walk().await, BTreeSet::from([Handle::File(FileType::Keys, id)]));
    }
    let never: FileId = id_of(b"never there");
    assert!(f.maintenance.set_audience(&repository(), &never, Audience::All).await.is_err());
}

impl<S: AppendStore, M: MaintenanceStore, P> Both<S, M, P> {
    /// Every copy: one by one, or among many, the same ones are found.
    async fn versions(&self, handle: Handle) -> Vec<Version> {
        let (m, of) = (&self.maintenance, repository());
        let holders = m.holders(&of, &BTreeSet::from([handle])).await.unwrap();
        let versions = m.versions(&of, &handle).await.unwrap();
        assert_eq!(m.versions_among(&of, &handle, &holders).await.unwrap(), versions);
        versions
    }
}

/// Makes a module of tests, one for each property, each with a fixture of its own.
#[cfg(test)]
macro_rules! maintenance_suite {
    ($(#[$attribute:meta])* $name:ident, $fixture:expr) => {
        mod $name {
            use super::*;

            $crate::conformance::maintenance::maintenance_suite!(@each [$(#[$attribute])*] $fixture;
                what_is_hidden_comes_back_with_its_facts
                a_tombstone_stands_from_hiding_until_it_is_back
                hiding_again_is_no_error_and_loses_no_copy
                nothing_that_stands_there_is_replaced
                batches_are_listed_in_order_and_are_for_what_they_were_begun
                what_is_purged_is_gone_and_its_tombstone_stays
                days_are_noted_once_each
                usage_falls_with_what_is_hidden_and_rises_with_what_comes_back
                a_file_from_elsewhere_is_stored_with_its_facts_if_it_is_right
                a_keys_audience_can_be_changed
                every_repository_is_found_and_none_besides
                a_repository_below_another_may_have_any_name
                every_lock_is_found_with_its_facts
                a_suspension_of_locks_is_seen_until_it_is_ended
            );
        }
    };
    (@each $attributes:tt $fixture:expr; $($property:ident)*) => {
        $(
            $crate::conformance::maintenance::maintenance_suite!(@one $attributes $fixture; $property);
        )*
    };
    (@one [$($attributes:tt)*] $fixture:expr; $property:ident) => {
            #[tokio::test(flavor = "multi_thread")]
            $($attributes)*
            async fn $property() {
                $crate::conformance::maintenance::$property($fixture).await;
            }
    };
}

#[cfg(test)]
pub(crate) use maintenance_suite;
