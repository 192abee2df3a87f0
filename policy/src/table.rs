//! The decision table as text, made by asking [`decide`] itself.
//!
//! Invariant: no cell is written by hand, so the text cannot say anything else than what is decided.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use crate::action::{Action, Create, CreateRepository, Delete, DeleteRepository, List, Read, Stat};
use crate::context::{Audience, Context, FileState, RepositoryState, Room};
use crate::decide::{Denial, Permit, decide};
use crate::grant::{Grant, Quota, Role, Usage};
use crate::limits::{CLEAN_UP_WITHIN_MS, KEYS_MAX, LIVE_LOCKS_MAX, LOCK_EXPIRES_AFTER_MS, SNAPSHOT_FLOOR_MS};
use crate::name::{FileId, FileType, Handle, PrincipalName, RepositoryName};

/// When the grants of the table end, in Unix milliseconds.
const EXPIRES_MS: u64 = 1;

/// Title, role, and whether it may add keys.
type Column = (&'static str, Role, bool);

const COLUMNS: [Column; 4] = [
    ("restore", Role::Restore, false),
    ("backup", Role::Backup, false),
    ("backup+keys", Role::Backup, true),
    ("maintenance", Role::Maintenance, false),
];

/// The whole decision table, one row for each action and each circumstance that matters to it, one column for
/// each role. `backup+keys` is the backup role with `may_add_keys`.
#[must_use]
pub fn table() -> String {
    render(&COLUMNS)
}

/// The table's one column for a role.
#[must_use]
pub fn table_for(role: Role, may_add_keys: bool) -> String {
    let is_asked = |column: &&Column| column.1 == role && (column.2 == may_add_keys || role != Role::Backup);
    render(&COLUMNS.iter().filter(is_asked).copied().collect::<Vec<_>>())
}

fn render(columns: &[Column]) -> String {
    let mut text = format!("{:<18} {:<44}", "action", "circumstances");
    for (title, ..) in columns {
        let _ = write!(text, " {title:<13}"); // writing to a String cannot fail
    }
    trim_line(&mut text);
    for (action, context) in rows() {
        for (label, facts) in context {
            let _ = write!(text, "{:<18} {label:<44}", format!("{action}"));
            for &(_, role, may_add_keys) in columns {
                let _ = write!(text, " {:<13}", cell(role, may_add_keys, &action, &facts));
            }
            trim_line(&mut text);
        }
    }
    text
}

fn trim_line(text: &mut String) {
    text.truncate(text.trim_end().len());
    text.push('\n');
}

fn cell(role: Role, may_add_keys: bool, action: &Action, facts: &Context) -> &'static str {
    let (Ok(principal), Ok(repository)) = ("asker".parse::<PrincipalName>(), sample_repository()) else {
        return "?";
    };
    let quota = Quota { bytes: None, files: Some(1) };
    let grant = Grant {
        may_add_keys,
        expires_ms: Some(EXPIRES_MS),
        quota,
        total_quota: quota,
        ..Grant::new(repository, role)
    };
    match decide(&principal, &grant, action.clone(), facts) {
        Ok(Permit::Confirm(_)) => "confirm",
        Ok(Permit::RemoveLock(_)) => "remove",
        Ok(Permit::Delete(_)) => "reversibly",
        Ok(_) => "yes",
        Err(Denial::Hidden) => "as if absent",
        Err(Denial::NoRepository) => "no (none)",
        Err(Denial::TooManyKeys | Denial::TooManyLocks) => "no (limit)",
        Err(Denial::LocksSuspended { .. }) => "not now",
        Err(Denial::Tombstone) => "no (deleted)",
        Err(Denial::SnapshotTooYoung | Denial::SnapshotKept) => "no (floor)",
        Err(Denial::Quota | Denial::TotalQuota) => "no (quota)",
        Err(Denial::Room) => "no (room)",
        Err(Denial::RoomPromised) => "not now",
        Err(Denial::CleanUp) => "no (clean-up)",
        Err(Denial::Network | Denial::Expired) => "no",
        Err(
            Denial::NotGranted
            | Denial::Role
            | Denial::AlreadyInitialised
            | Denial::KeysNotGranted
            | Denial::LockOfAnother { .. },
        ) => "no",
    }
}

fn sample_repository() -> Result<RepositoryName, crate::InvalidName> {
    "repository".parse()
}

type Row = (Action, Vec<(String, Context)>);

fn rows() -> Vec<Row> {
    let Ok(repository) = sample_repository() else { return Vec::new() };
    let id = FileId::from_sha256([0; 32]);
    let mut handles = Vec::from([Handle::Config]);
    handles.extend(FileType::ALL.map(|file_type| Handle::File(file_type, id)));

    let mut rows = Vec::new();
    let expired = Context { now_ms: EXPIRES_MS, ..in_state(RepositoryState::Initialised) };
    let action = Action::List(List { repository: repository.clone(), file_type: FileType::Data });
    rows.push((action, Vec::from([("grant expired, or not from its network".into(), expired)])));
    for file_type in FileType::ALL {
        let action = Action::List(List { repository: repository.clone(), file_type });
        rows.push((action, Vec::from([any()])));
    }
    for &handle in &handles {
        let action = Action::Stat(Stat { repository: repository.clone(), handle });
        rows.push((action, visibility(handle)));
    }
    for &handle in &handles {
        let action = Action::Read(Read { repository: repository.clone(), handle });
        rows.push((action, visibility(handle)));
    }
    let action = Action::CreateRepository(CreateRepository { repository: repository.clone() });
    let mut states = Vec::from(RepositoryState::ALL.map(|state| (label(state).into(), in_state(state))));
    states.push(("no room".into(), Context { room: Room::Full, ..in_state(RepositoryState::Absent) }));
    rows.push((action, states));
    for &handle in &handles {
        let action = Action::Create(Create { repository: repository.clone(), handle });
        rows.push((action, creation(handle)));
    }
    for &handle in &handles {
        let action = Action::Delete(Delete { repository: repository.clone(), handle });
        rows.push((action, deletion(handle)));
    }
    rows.push((Action::DeleteRepository(DeleteRepository { repository }), Vec::from([any()])));
    rows
}

impl RepositoryState {
    const ALL: [Self; 3] = [Self::Absent, Self::Draft, Self::Initialised];
}

const fn label(state: RepositoryState) -> &'static str {
    match state {
        RepositoryState::Absent => "no repository",
        RepositoryState::Draft => "draft",
        RepositoryState::Initialised => "initialised",
    }
}

fn in_state(repository: RepositoryState) -> Context {
    Context { repository, ..Context::NOTHING_KNOWN }
}

fn any() -> (String, Context) {
    ("any".into(), in_state(RepositoryState::Initialised))
}

fn not_there() -> (String, Context) {
    ("not there".into(), in_state(RepositoryState::Initialised))
}

fn present(creator: Option<&str>, age_ms: u64, audience: Audience) -> Context {
    let file = FileState::Present { creator: creator.and_then(|name| name.parse().ok()), age_ms, audience };
    Context { file, ..in_state(RepositoryState::Initialised) }
}

fn visibility(handle: Handle) -> Vec<(String, Context)> {
    if handle.file_type() != Some(FileType::Keys) {
        return Vec::from([any()]);
    }
    Vec::from([
        ("key for all".into(), present(None, 0, Audience::All)),
        ("key for maintenance".into(), present(None, 0, Audience::Maintenance)),
    ])
}

fn creation(handle: Handle) -> Vec<(String, Context)> {
    let mut cases: Vec<(String, Context)> =
        RepositoryState::ALL.map(|state| (label(state).into(), in_state(state))).into();
    let initialised = in_state(RepositoryState::Initialised);
    cases.push(("name taken".into(), present(None, 0, Audience::All)));
    let full = Context { usage: Usage { bytes: 0, files: 2 }, ..in_state(RepositoryState::Initialised) };
    cases.push(("over the grant's quota".into(), full));
    let full =
        Context { total_usage: Usage { bytes: 0, files: 2 }, ..in_state(RepositoryState::Initialised) };
    cases.push(("over the asker's quota in all".into(), full));
    let full = Context { room: Room::Full, ..in_state(RepositoryState::Initialised) };
    cases.push(("no room beside the reserve".into(), full));
    let promised = Context { room: Room::Promised, ..in_state(RepositoryState::Initialised) };
    cases.push(("room promised to other uploads".into(), promised));
    match handle.file_type() {
        Some(FileType::Keys) => {
            cases.push((
                "name taken by a key for maintenance".into(),
                present(None, 0, Audience::Maintenance),
            ));
            let full = Context { keys: KEYS_MAX, ..initialised };
            cases.push((format!("{KEYS_MAX} keys there"), full));
        }
        Some(FileType::Locks) => {
            let full = Context { live_locks: LIVE_LOCKS_MAX, ..initialised.clone() };
            cases.push((format!("asker has {LIVE_LOCKS_MAX} live locks"), full));
            let suspended = Context { locks_suspended_until_ms: Some(1), ..initialised };
            cases.push(("maintenance waits".into(), suspended));
        }
        Some(FileType::Data | FileType::Index | FileType::Snapshots) => {
            let buried = Context { tombstone: true, ..initialised };
            cases.push(("deleted by maintenance".into(), buried));
        }
        None => {}
    }
    cases
}

fn deletion(handle: Handle) -> Vec<(String, Context)> {
    match handle.file_type() {
        Some(FileType::Locks) => Vec::from([
            not_there(),
            ("made by asker".into(), present(Some("asker"), 0, Audience::All)),
            (
                "made by another, live".into(),
                present(Some("another"), LOCK_EXPIRES_AFTER_MS - 1, Audience::All),
            ),
            (
                "made by another, expired".into(),
                present(Some("another"), LOCK_EXPIRES_AFTER_MS, Audience::All),
            ),
            ("creator unknown, live".into(), present(None, LOCK_EXPIRES_AFTER_MS - 1, Audience::All)),
            ("creator unknown, expired".into(), present(None, LOCK_EXPIRES_AFTER_MS, Audience::All)),
        ]),
        Some(FileType::Snapshots) => Vec::from([
            not_there(),
            ("younger than the floor".into(), present(None, SNAPSHOT_FLOOR_MS - 1, Audience::All)),
            ("as old as the floor".into(), present(None, SNAPSHOT_FLOOR_MS, Audience::All)),
            ("asker stored it just now".into(), present(Some("asker"), 0, Audience::All)),
        ]),
        Some(FileType::Data | FileType::Index) => {
            let kept = Context { snapshot_kept: true, ..present(None, 0, Audience::All) };
            let stored = |age_ms| present(Some("asker"), age_ms, Audience::All);
            Vec::from([
                not_there(),
                ("there".into(), stored(CLEAN_UP_WITHIN_MS)),
                ("asker stored it just now".into(), stored(CLEAN_UP_WITHIN_MS - 1)),
                ("after a young snapshot was kept".into(), kept),
            ])
        }
        Some(FileType::Keys) => Vec::from([
            not_there(),
            ("key for all".into(), present(None, 0, Audience::All)),
            ("key for maintenance".into(), present(None, 0, Audience::Maintenance)),
        ]),
        None => Vec::from([not_there(), ("there".into(), present(None, 0, Audience::All))]),
    }
}
