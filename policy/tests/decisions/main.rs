//! The decision, enumerated: no decision depends on more of a name than equality, so a loop over shapes and
//! facts is a proof, and its output is the table that people review.
//!
//! Invariant: every case is decided by the policy itself; what is asserted is asserted of all of them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should stop")]

mod cases;

use pawl_policy::{
    Action, Audience, CLEAN_UP_WITHIN_MS, Context, Delete, Denial, FileState, FileType, Grant, Handle,
    KEYS_MAX, LOCK_EXPIRES_AFTER_MS, LOCKS_SUSPENDED_MAX_MS, List, Permit, Quota, RepositoryState, Role,
    Room, SNAPSHOT_FLOOR_MS, Usage, decide,
};

use cases::{Case, actions, all_facts, asker, cases, handles, nothing, repository};

#[test]
fn the_reviewed_table_is_what_is_decided() {
    let decided = pawl_policy::table();
    let reviewed = include_str!("../table.txt");
    assert!(
        decided == reviewed,
        "the table has changed; if that is meant, review it and replace policy/tests/table.txt by:\n{decided}"
    );
}

#[test]
fn only_maintenance_deletes_anything_but_locks() {
    for case in cases() {
        if let Ok(Permit::Delete(_)) = case.decide() {
            assert_eq!(case.role, Role::Maintenance);
        }
    }
}

#[test]
fn a_lock_is_removed_only_by_its_creator_or_when_expired_or_absent() {
    for case in cases() {
        let Ok(Permit::RemoveLock(permit)) = case.decide() else { continue };
        assert_eq!(case.action.handle(), Some(&Handle::File(FileType::Locks, permit.action().id)));
        let own_or_expired = match &case.facts.file {
            FileState::Absent => true,
            FileState::Present { creator, age_ms, .. } => {
                creator.as_ref() == Some(&asker()) || *age_ms >= LOCK_EXPIRES_AFTER_MS
            }
        };
        assert!(own_or_expired || case.role == Role::Maintenance);
    }
}

#[test]
fn nobody_deletes_a_whole_repository() {
    for case in cases() {
        if matches!(case.action, Action::DeleteRepository(_)) {
            assert_eq!(case.decide(), Err(Denial::Role));
        }
    }
}

#[test]
fn nothing_is_stored_under_a_name_that_is_visibly_taken() {
    for case in cases() {
        if let (Ok(Permit::Create(permit)), FileState::Present { audience, .. }) =
            (case.decide(), &case.facts.file)
        {
            assert_eq!(*audience, Audience::Maintenance);
            assert_eq!(permit.action().handle.file_type(), Some(FileType::Keys));
        }
    }
}

#[test]
fn the_restore_role_adds_locks_only() {
    for case in cases().iter().filter(|case| case.role == Role::Restore) {
        match case.decide() {
            Ok(Permit::Create(permit) | Permit::Confirm(permit)) => {
                assert_eq!(permit.action().handle.file_type(), Some(FileType::Locks));
            }
            Ok(Permit::CreateRepository(_) | Permit::Delete(_)) => panic!("restore may not"),
            Ok(_) | Err(_) => {}
        }
    }
}

#[test]
fn the_backup_role_adds_config_only_to_a_draft_and_keys_only_there_or_when_granted() {
    for case in cases().iter().filter(|case| case.role == Role::Backup) {
        let Ok(Permit::Create(permit)) = case.decide() else { continue };
        let draft = case.facts.repository == RepositoryState::Draft;
        match permit.action().handle {
            Handle::Config => assert!(draft),
            Handle::File(FileType::Keys, _) => {
                assert!(draft || case.may_add_keys);
                assert!(case.facts.keys < KEYS_MAX);
            }
            Handle::File(..) => {}
        }
    }
}

#[test]
fn what_maintenance_deleted_does_not_come_back_through_a_host() {
    for case in cases() {
        if let (Role::Backup, true, Ok(Permit::Create(permit))) =
            (case.role, case.facts.tombstone, case.decide())
        {
            assert_eq!(permit.action().handle.file_type(), Some(FileType::Locks));
        }
    }
}

#[test]
fn a_key_for_maintenance_cannot_be_told_from_an_absent_one() {
    for case in cases().iter().filter(|case| case.role != Role::Maintenance) {
        let FileState::Present { audience: Audience::Maintenance, .. } = case.facts.file else { continue };
        if case.action.handle().and_then(Handle::file_type) != Some(FileType::Keys) {
            continue;
        }
        match case.action {
            Action::Stat(_) | Action::Read(_) => assert_eq!(case.decide(), Err(Denial::Hidden)),
            _ => {
                let facts = Context { file: FileState::Absent, ..case.facts.clone() };
                let absent = Case { action: case.action.clone(), facts, ..*case };
                assert_eq!(case.decide(), absent.decide());
            }
        }
    }
}

#[test]
fn a_wider_role_loses_nothing() {
    let allowed = |case: &Case, role, may_add_keys| {
        Case { role, may_add_keys, action: case.action.clone(), facts: case.facts.clone() }.decide().is_ok()
    };
    for case in cases() {
        if case.decide().is_err() {
            continue;
        }
        match case.role {
            Role::Restore => assert!(allowed(&case, Role::Backup, false)),
            Role::Backup => assert!(allowed(&case, Role::Maintenance, false)),
            Role::Maintenance => {}
        }
        assert!(allowed(&case, case.role, true));
    }
}

#[test]
fn a_grant_reaches_its_repository_only() {
    let facts = Context { repository: RepositoryState::Draft, ..nothing() };
    for other in ["hosts", "hosts/web", "hosts/web11", "hosts/web1/a", "web1", "Hosts/web1"] {
        for action in actions(&other.parse().unwrap()) {
            for role in Role::ALL {
                let grant = Grant { may_add_keys: true, ..Grant::new(repository(), role) };
                let decision = decide(&asker(), &grant, action.clone(), &facts);
                assert_eq!(decision, Err(Denial::NotGranted), "{action} in {other}");
            }
        }
    }
}

#[test]
fn the_permit_is_for_what_was_asked() {
    for case in cases() {
        let kept = match case.decide() {
            Ok(Permit::List(p)) => Action::List(p.action().clone()),
            Ok(Permit::Stat(p)) => Action::Stat(p.action().clone()),
            Ok(Permit::Read(p)) => Action::Read(p.action().clone()),
            Ok(Permit::CreateRepository(p)) => Action::CreateRepository(p.action().clone()),
            Ok(Permit::Create(p) | Permit::Confirm(p)) => Action::Create(p.action().clone()),
            Ok(Permit::Delete(p)) => Action::Delete(p.action().clone()),
            Ok(Permit::RemoveLock(p)) => {
                let handle = Handle::File(FileType::Locks, p.action().id);
                Action::Delete(Delete { repository: p.action().repository.clone(), handle })
            }
            Err(_) => continue,
        };
        assert_eq!(kept, case.action);
    }
}

#[test]
fn a_listing_hides_expired_locks_and_keys_for_maintenance() {
    let permit = |role, file_type| {
        let grant = Grant::new(repository(), role);
        let action = Action::List(List { repository: repository(), file_type });
        let facts = Context { repository: RepositoryState::Initialised, ..nothing() };
        match decide(&asker(), &grant, action, &facts) {
            Ok(Permit::List(permit)) => permit,
            other => panic!("{other:?}"),
        }
    };
    let locks = permit(Role::Backup, FileType::Locks);
    assert!(locks.shows(Audience::All, LOCK_EXPIRES_AFTER_MS - 1));
    assert!(!locks.shows(Audience::All, LOCK_EXPIRES_AFTER_MS));
    assert!(!permit(Role::Backup, FileType::Keys).shows(Audience::Maintenance, 0));
    assert!(!permit(Role::Restore, FileType::Keys).shows(Audience::Maintenance, 0));
    assert!(permit(Role::Maintenance, FileType::Keys).shows(Audience::Maintenance, 0));
    for file_type in [FileType::Data, FileType::Index, FileType::Snapshots] {
        assert!(permit(Role::Restore, file_type).shows(Audience::All, u64::MAX));
    }
}

/// Every action and every fact under this grant.
fn decisions(
    grant: &Grant,
    peer: Option<&str>,
    now_ms: u64,
    usage: Usage,
) -> Vec<(Action, Result<Permit, Denial>)> {
    let mut decisions = Vec::new();
    for action in actions(&repository()) {
        for facts in all_facts() {
            let facts = Context { peer: peer.map(|peer| peer.parse().unwrap()), now_ms, usage, ..facts };
            decisions.push((action.clone(), decide(&asker(), grant, action.clone(), &facts)));
        }
    }
    decisions
}

#[test]
fn a_grant_for_networks_is_for_no_other_network_and_for_none() {
    for role in Role::ALL {
        let networks = vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        let grant = Grant { networks, ..Grant::new(repository(), role) };
        for peer in [None, Some("198.51.100.1"), Some("2001:db9::1")] {
            for (action, decision) in decisions(&grant, peer, 0, Usage::default()) {
                assert_eq!(decision, Err(Denial::Network), "{action} from {peer:?}");
            }
        }
        for peer in ["192.0.2.9", "::ffff:192.0.2.9", "2001:db8::9"] {
            let decisions = decisions(&grant, Some(peer), 0, Usage::default());
            assert!(decisions.iter().any(|(_, decision)| decision.is_ok()));
        }
    }
}

#[test]
fn a_grant_ends_when_it_expires() {
    let grant = Grant { expires_ms: Some(1000), ..Grant::new(repository(), Role::Maintenance) };
    for now_ms in [1000, 1001, u64::MAX] {
        for (action, decision) in decisions(&grant, None, now_ms, Usage::default()) {
            assert_eq!(decision, Err(Denial::Expired), "{action} at {now_ms}");
        }
    }
    assert!(decisions(&grant, None, 999, Usage::default()).iter().any(|(_, decision)| decision.is_ok()));
}

#[test]
fn over_its_quota_a_host_stores_nothing_but_locks_and_still_reads() {
    for quota in [Quota { bytes: Some(10), files: None }, Quota { bytes: None, files: Some(2) }] {
        let grant = Grant { quota, may_add_keys: true, ..Grant::new(repository(), Role::Backup) };
        let over = decisions(&grant, None, 0, Usage { bytes: 11, files: 3 });
        for (action, decision) in &over {
            if let Ok(Permit::Create(permit)) = decision {
                assert_eq!(permit.action().handle.file_type(), Some(FileType::Locks), "{action}");
            }
        }
        assert!(over.iter().any(|(_, decision)| matches!(decision, Ok(Permit::Read(_)))));
        let within = decisions(&grant, None, 0, Usage { bytes: 10, files: 2 });
        let unlimited = Grant { quota: Quota::default(), ..grant };
        assert_eq!(within, decisions(&unlimited, None, 0, Usage { bytes: 10, files: 2 }));
    }
}

#[test]
fn without_room_beside_the_reserve_a_host_stores_nothing_but_locks_and_maintenance_goes_on() {
    for (case, room) in cases().iter().flat_map(|case| [Room::Full, Room::Promised].map(|room| (case, room)))
    {
        let facts = Context { room, ..case.facts.clone() };
        let crowded = Case { facts, action: case.action.clone(), ..*case };
        if let (Role::Backup, Ok(Permit::Create(permit))) = (crowded.role, crowded.decide()) {
            assert_eq!(permit.action().handle.file_type(), Some(FileType::Locks));
        }
        if case.role == Role::Maintenance {
            assert_eq!(crowded.decide(), case.decide());
        }
    }
}

#[test]
fn a_deletion_is_a_clean_up_only_where_a_host_can_see_no_file_but_one_that_it_just_stored() {
    for case in cases().iter().filter(|case| case.role != Role::Maintenance) {
        let Action::Delete(delete) = &case.action else { continue };
        if delete.handle.file_type() == Some(FileType::Locks) {
            continue;
        }
        let is_key = delete.handle.file_type() == Some(FileType::Keys);
        let refused = |is_clean_up| if is_clean_up { Denial::CleanUp } else { Denial::Role };
        let is_clean_up = match &case.facts.file {
            FileState::Absent => true,
            FileState::Present { audience: Audience::Maintenance, .. } if is_key => true,
            FileState::Present { creator, age_ms, .. } => {
                delete.handle.file_type() != Some(FileType::Snapshots)
                    && creator.as_ref() == Some(&asker())
                    && *age_ms < CLEAN_UP_WITHIN_MS
            }
        };
        assert_eq!(case.decide(), Err(refused(is_clean_up)));
    }
}

#[test]
fn over_its_quota_in_all_repositories_a_host_stores_nothing_but_locks() {
    let total_quota = Quota { bytes: Some(10), files: None };
    let grant = Grant { total_quota, may_add_keys: true, ..Grant::new(repository(), Role::Backup) };
    for action in actions(&repository()) {
        for facts in all_facts() {
            let within = Context { total_usage: Usage { bytes: 10, files: 1 }, ..facts.clone() };
            let over = Context { total_usage: Usage { bytes: 11, files: 1 }, ..facts };
            let within = decide(&asker(), &grant, action.clone(), &within);
            match decide(&asker(), &grant, action.clone(), &over) {
                Ok(Permit::Create(permit)) => {
                    assert_eq!(permit.action().handle.file_type(), Some(FileType::Locks));
                }
                Err(Denial::TotalQuota) => {
                    assert!(matches!(within, Ok(Permit::Create(_)) | Err(Denial::Room)));
                }
                same => assert_eq!(same, within),
            }
        }
    }
}

#[test]
fn after_a_young_snapshot_was_kept_nothing_goes_that_it_may_need() {
    let repository = repository();
    let grant = Grant::new(repository.clone(), Role::Maintenance);
    let facts = Context { snapshot_kept: true, ..nothing() };
    for handle in handles() {
        let action = Action::Delete(Delete { repository: repository.clone(), handle });
        let needed = matches!(handle.file_type(), Some(FileType::Data | FileType::Index));
        let expected = needed.then_some(Denial::SnapshotKept);
        assert_eq!(decide(&asker(), &grant, action, &facts).err(), expected, "{handle}");
    }
}

#[test]
fn while_locks_are_suspended_hosts_make_none_and_all_else_goes_on() {
    let now_ms = LOCKS_SUSPENDED_MAX_MS * 3;
    let with = |case: &Case, until_ms: Option<u64>| {
        let facts = Context { locks_suspended_until_ms: until_ms, now_ms, ..case.facts.clone() };
        Case { facts, action: case.action.clone(), ..*case }.decide()
    };
    for case in cases() {
        let usual = with(&case, None);
        let renewal = case.facts.live_locks > 0;
        let refused = |until_ms| Err(Denial::LocksSuspended { until_ms, renewal });
        for until_ms in [now_ms + 1, now_ms + LOCKS_SUSPENDED_MAX_MS] {
            let would_lock = match &usual {
                Ok(Permit::Create(permit)) => permit.action().handle.file_type() == Some(FileType::Locks),
                Err(Denial::TooManyLocks) => true,
                _ => false,
            };
            let expected =
                if would_lock && case.role != Role::Maintenance { refused(until_ms) } else { usual.clone() };
            assert_eq!(with(&case, Some(until_ms)), expected, "{}", case.action);
        }
        // One that is over counts for nothing, nor does one that no run of maintenance would have begun.
        for until_ms in [0, now_ms - 1, now_ms, now_ms + LOCKS_SUSPENDED_MAX_MS + 1, u64::MAX] {
            assert_eq!(with(&case, Some(until_ms)), usual, "{}", case.action);
        }
    }
}

#[test]
fn who_is_refused_a_lock_reads_until_when() {
    let until_ms = 1_795_251_599_999; // 2026-11-21T08:59:59.999Z
    let words = "maintenance is waiting for this repository; locks are suspended until 08:59 UTC";
    assert_eq!(Denial::LocksSuspended { until_ms, renewal: false }.to_string(), words);
}

#[test]
fn the_floor_is_the_one_that_was_set() {
    let repository = repository();
    let grant = Grant::new(repository.clone(), Role::Maintenance);
    for (floor, age_ms, allowed) in [
        (SNAPSHOT_FLOOR_MS, SNAPSHOT_FLOOR_MS - 1, false),
        (SNAPSHOT_FLOOR_MS, SNAPSHOT_FLOOR_MS, true),
        (1000, 999, false),
        (1000, 1000, true),
        (0, 0, true),
    ] {
        let file = FileState::Present { creator: None, age_ms, audience: Audience::All };
        let facts = Context { file, snapshot_floor_ms: floor, ..nothing() };
        for handle in handles() {
            let action = Action::Delete(Delete { repository: repository.clone(), handle });
            let is_bound = handle.file_type() == Some(FileType::Snapshots);
            let decided = decide(&asker(), &grant, action, &facts);
            assert_eq!(decided.is_ok(), allowed || !is_bound, "{handle} {floor} {age_ms}: {decided:?}");
        }
    }
}
