//! The decision: a pure function from a grant, an action and a few facts to a permit or a denial.
//!
//! Invariant: everything not granted is denied, and only [`decide`] makes a [`Permit`], so what a store carries
//! out is what was decided.

use core::fmt;

use crate::action::{Action, Create, CreateRepository, Delete, List, Read, RemoveLock, Stat};
use crate::context::{Audience, Context, FileState, RepositoryState, Room};
use crate::grant::{Grant, Role};
use crate::limits::{
    CLEAN_UP_WITHIN_MS, KEYS_MAX, LIVE_LOCKS_MAX, LOCK_EXPIRES_AFTER_MS, LOCKS_SUSPENDED_MAX_MS,
};
use crate::name::{FileType, Handle, PrincipalName};

/// Why an action is not allowed. Prints as the short cause that the client is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Denial {
    /// The principal has no grant for this repository.
    NotGranted,
    /// The grant is not for the network that the principal asks from.
    Network,
    /// The grant has ended.
    Expired,
    /// The role does not include the action.
    Role,
    /// The file must not be known to this role.
    Hidden,
    /// Files can only be added to a repository that was created.
    NoRepository,
    /// `config` is added while the repository is a draft.
    AlreadyInitialised,
    /// Keys are added while the repository is a draft, or with a grant that says so.
    KeysNotGranted,
    /// The repository has as many key files as a host may bring it to.
    TooManyKeys,
    /// The principal has as many live locks as one may have.
    TooManyLocks,
    /// Maintenance waits for the repository, so that nobody else can lock it for now.
    LocksSuspended {
        /// When that ends at the latest, in Unix milliseconds.
        until_ms: u64,
        /// Whether the principal has a live lock there, and so would renew it. restic tries again for 15 minutes what is
        /// to be tried again, and works on meanwhile; what is refused for good has it end after 22.5.
        renewal: bool,
    },
    /// The lock belongs to another principal and has not expired.
    LockOfAnother {
        /// When it expires, in Unix milliseconds.
        until_ms: u64,
    },
    /// Maintenance deleted a file of this name.
    Tombstone,
    /// The repository holds as much as the grant allows.
    Quota,
    /// The principal has stored as much as it may.
    TotalQuota,
    /// What is left of the store is kept for locks and maintenance.
    Room,
    /// The snapshot is younger than the floor.
    SnapshotTooYoung,
    /// The same run was refused a young snapshot, which may need the file.
    SnapshotKept,
    /// The store has room, but it is promised to uploads on their way. The file can be sent again.
    RoomPromised,
    /// The principal may not delete, and there is nothing, or what it stored itself a short while ago. So restic cleans up
    /// after an upload that failed, or of which the answer was lost.
    CleanUp,
}

impl Denial {
    /// How [`Self::LocksSuspended`] begins in words.
    pub const LOCKS_SUSPENDED: &str = "maintenance is waiting for this repository";

    /// Every denial, for tables and tests.
    pub const ALL: [Self; 20] = [
        Self::RoomPromised,
        Self::CleanUp,
        Self::LocksSuspended { until_ms: 0, renewal: false },
        Self::SnapshotKept,
        Self::TotalQuota,
        Self::Room,
        Self::NotGranted,
        Self::Network,
        Self::Expired,
        Self::Quota,
        Self::Role,
        Self::Hidden,
        Self::NoRepository,
        Self::AlreadyInitialised,
        Self::KeysNotGranted,
        Self::TooManyKeys,
        Self::TooManyLocks,
        Self::LockOfAnother { until_ms: 0 },
        Self::Tombstone,
        Self::SnapshotTooYoung,
    ];
}

const MINUTE_MS: u64 = 60 * 1000;

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LocksSuspended { until_ms, .. } => {
                let until = TimeOfDay(*until_ms);
                return write!(f, "{}; locks are suspended until {until}", Self::LOCKS_SUSPENDED);
            }
            Self::LockOfAnother { until_ms } => {
                let until = TimeOfDay(*until_ms);
                return write!(f, "lock of another credential, not yet expired; it expires at {until}");
            }
            Self::NotGranted => "no access to this repository",
            Self::Network => "not from this network",
            Self::Expired => "access to this repository has expired",
            Self::Room => "no space left on the server",
            Self::RoomPromised => "all space left on the server is promised to uploads under way",
            Self::TotalQuota => "quota of this host is used up",
            Self::Quota => "quota of this repository is used up",
            Self::Role => "append-only: not allowed with this credential",
            Self::CleanUp => "append-only: not allowed with this credential (nothing is there, or it was just stored)",
            Self::Hidden => "no such file",
            Self::NoRepository => "no such repository: run restic init",
            Self::AlreadyInitialised => "append-only: repository is already initialised",
            Self::KeysNotGranted => {
                "append-only: repository is already initialised; the server's admin allows new keys with --allow-key-add"
            }
            Self::TooManyKeys => "too many key files",
            Self::TooManyLocks => "too many live locks of this credential",
            Self::Tombstone => "deleted by maintenance, not accepted again",
            Self::SnapshotTooYoung => "snapshot is younger than the floor",
            Self::SnapshotKept => {
                "a snapshot younger than the floor was kept, and so is all that it may need"
            }
        })
    }
}

impl core::error::Error for Denial {}

/// A moment in Unix milliseconds, shown as the minute of its day.
struct TimeOfDay(u64);

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = self.0 / MINUTE_MS;
        write!(f, "{:02}:{:02} UTC", minutes / 60 % 24, minutes % 60)
    }
}

/// An action that was decided to be allowed, and for whom. Only [`decide`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permitted<A> {
    principal: PrincipalName,
    role: Role,
    action: A,
}

impl<A> Permitted<A> {
    /// Who asked.
    #[must_use]
    pub const fn principal(&self) -> &PrincipalName {
        &self.principal
    }

    /// What is to be done.
    #[must_use]
    pub const fn action(&self) -> &A {
        &self.action
    }
}

impl Permitted<List> {
    /// Whether a stored file belongs in the listing: not a lock that has expired, nor a hidden key.
    #[must_use]
    pub const fn shows(&self, audience: Audience, age_ms: u64) -> bool {
        match self.action.file_type {
            FileType::Locks => !lock_has_expired(age_ms),
            FileType::Keys => may_see(self.role, audience),
            FileType::Data | FileType::Index | FileType::Snapshots => true,
        }
    }

    /// Whether [`Self::shows`] can hide anything here, so that facts must be read for the listing.
    #[must_use]
    pub const fn needs_facts(&self) -> bool {
        matches!(self.action.file_type, FileType::Locks | FileType::Keys)
    }
}

/// A decided action, ready to be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permit {
    /// List the files of one type.
    List(Permitted<List>),
    /// Answer with a file's size.
    Stat(Permitted<Stat>),
    /// Answer with a file's content.
    Read(Permitted<Read>),
    /// Make the repository, or, if it is a draft, set its half-made keys aside.
    CreateRepository(Permitted<CreateRepository>),
    /// Store a file under a name that was free.
    Create(Permitted<Create>),
    /// The name is taken: only compare what was sent with what is stored. Changes nothing.
    Confirm(Permitted<Create>),
    /// Remove a lock.
    RemoveLock(Permitted<RemoveLock>),
    /// Delete a file reversibly. Only the maintenance store can carry this out.
    Delete(Permitted<Delete>),
}

/// Whether a lock received this long ago has expired.
#[must_use]
pub const fn lock_has_expired(age_ms: u64) -> bool {
    age_ms >= LOCK_EXPIRES_AFTER_MS
}

/// Whether a suspension of locks that ends then is in force. One that reaches further ahead than any that maintenance
/// begins is none.
#[must_use]
pub const fn locks_are_suspended(until_ms: u64, now_ms: u64) -> bool {
    now_ms < until_ms && until_ms - now_ms <= LOCKS_SUSPENDED_MAX_MS
}

const fn may_see(role: Role, audience: Audience) -> bool {
    match audience {
        Audience::All => true,
        Audience::Maintenance => matches!(role, Role::Maintenance),
    }
}

/// Decides whether `principal`, holding `grant`, may carry out `action` in these circumstances.
pub fn decide(
    principal: &PrincipalName,
    grant: &Grant,
    action: Action,
    context: &Context,
) -> Result<Permit, Denial> {
    check_reach(grant, &action, context)?;
    let role = grant.role;
    match action {
        Action::List(action) => Ok(Permit::List(permitted(principal, role, action))),
        Action::Stat(action) => {
            check_visible(role, &action.handle, context)?;
            Ok(Permit::Stat(permitted(principal, role, action)))
        }
        Action::Read(action) => {
            check_visible(role, &action.handle, context)?;
            Ok(Permit::Read(permitted(principal, role, action)))
        }
        Action::CreateRepository(action) => match role {
            Role::Restore => Err(Denial::Role),
            Role::Backup if context.repository == RepositoryState::Absent && context.room == Room::Full => {
                Err(Denial::Room)
            }
            Role::Backup | Role::Maintenance => {
                Ok(Permit::CreateRepository(permitted(principal, role, action)))
            }
        },
        Action::Create(action) => {
            check_may_add(role, &action.handle)?;
            if already_there(role, &action.handle, context) {
                return Ok(Permit::Confirm(permitted(principal, role, action)));
            }
            check_new(grant, &action.handle, context)?;
            Ok(Permit::Create(permitted(principal, role, action)))
        }
        Action::Delete(action) => match action.handle {
            Handle::File(FileType::Locks, id) => {
                check_lock_removal(principal, role, context)?;
                let action = RemoveLock { repository: action.repository, id };
                Ok(Permit::RemoveLock(permitted(principal, role, action)))
            }
            Handle::Config | Handle::File(..) => {
                check_deletion(principal, role, &action.handle, context)?;
                Ok(Permit::Delete(permitted(principal, role, action)))
            }
        },
        Action::DeleteRepository(_) => Err(Denial::Role),
    }
}

/// What must hold before the action itself is looked at, or anything is looked up for it. Part of [`decide`].
pub fn check_reach(grant: &Grant, action: &Action, context: &Context) -> Result<(), Denial> {
    if grant.repository != *action.repository() {
        return Err(Denial::NotGranted);
    }
    let within = |peer| grant.networks.iter().any(|network| network.contains(peer));
    if !grant.networks.is_empty() && !context.peer.is_some_and(within) {
        return Err(Denial::Network);
    }
    match grant.expires_ms {
        Some(expires_ms) if context.now_ms >= expires_ms => Err(Denial::Expired),
        _ => Ok(()),
    }
}

fn permitted<A>(principal: &PrincipalName, role: Role, action: A) -> Permitted<A> {
    Permitted { principal: principal.clone(), role, action }
}

const fn check_visible(role: Role, handle: &Handle, context: &Context) -> Result<(), Denial> {
    match (handle, &context.file) {
        (Handle::File(FileType::Keys, _), FileState::Present { audience, .. })
            if !may_see(role, *audience) =>
        {
            Err(Denial::Hidden)
        }
        _ => Ok(()),
    }
}

/// The types that a role can add to at all.
const fn check_may_add(role: Role, handle: &Handle) -> Result<(), Denial> {
    match (role, handle) {
        (_, Handle::File(FileType::Locks, _)) => Ok(()),
        (Role::Restore, _) => Err(Denial::Role),
        (Role::Backup | Role::Maintenance, _) => Ok(()),
    }
}

/// A name that is taken, so that nothing can be added under it. A hidden key counts as absent here: whether it
/// is there must not show in the answer.
const fn already_there(role: Role, handle: &Handle, context: &Context) -> bool {
    matches!(context.file, FileState::Present { .. }) && check_visible(role, handle, context).is_ok()
}

/// What must hold before a file is stored under a free name.
fn check_new(grant: &Grant, handle: &Handle, context: &Context) -> Result<(), Denial> {
    let draft = match context.repository {
        RepositoryState::Absent => return Err(Denial::NoRepository),
        RepositoryState::Draft => true,
        RepositoryState::Initialised => false,
    };
    match (grant.role, handle) {
        (Role::Restore | Role::Backup, Handle::File(FileType::Locks, _))
            if let Some(until_ms) = context.locks_suspended_until_ms
                && locks_are_suspended(until_ms, context.now_ms) =>
        {
            Err(Denial::LocksSuspended { until_ms, renewal: context.live_locks > 0 })
        }
        (_, Handle::File(FileType::Locks, _)) if context.live_locks >= LIVE_LOCKS_MAX => {
            Err(Denial::TooManyLocks)
        }
        (_, Handle::File(FileType::Locks, _)) => Ok(()),
        (Role::Maintenance, _) => Ok(()),
        (Role::Restore, _) => Err(Denial::Role),
        (Role::Backup, Handle::Config) if !draft => Err(Denial::AlreadyInitialised),
        (Role::Backup, Handle::File(FileType::Keys, _)) if !draft && !grant.may_add_keys => {
            Err(Denial::KeysNotGranted)
        }
        (Role::Backup, Handle::File(FileType::Keys, _)) if context.keys >= KEYS_MAX => {
            Err(Denial::TooManyKeys)
        }
        (Role::Backup, _) if context.tombstone => Err(Denial::Tombstone),
        (Role::Backup, _) if !grant.quota.allows(context.usage) => Err(Denial::Quota),
        (Role::Backup, _) if !grant.total_quota.allows(context.total_usage) => Err(Denial::TotalQuota),
        (Role::Backup, _) => match context.room {
            Room::Enough => Ok(()),
            Room::Promised => Err(Denial::RoomPromised),
            Room::Full => Err(Denial::Room),
        },
    }
}

fn check_lock_removal(principal: &PrincipalName, role: Role, context: &Context) -> Result<(), Denial> {
    match (role, &context.file) {
        (_, FileState::Absent) => Ok(()), // restic repeats a DELETE whose answer was lost
        (Role::Maintenance, FileState::Present { .. }) => Ok(()),
        (_, FileState::Present { creator: Some(creator), .. }) if creator == principal => Ok(()),
        (_, FileState::Present { age_ms, .. }) if lock_has_expired(*age_ms) => Ok(()),
        (_, FileState::Present { age_ms, .. }) => {
            let left_ms = LOCK_EXPIRES_AFTER_MS.saturating_sub(*age_ms);
            Err(Denial::LockOfAnother { until_ms: context.now_ms.saturating_add(left_ms) })
        }
    }
}

/// Whether nothing is there that the principal may know of, or what it stored a short while ago. Somebody who deletes
/// backups begins with snapshots, so that of those each counts.
fn is_clean_up(principal: &PrincipalName, role: Role, handle: &Handle, context: &Context) -> bool {
    let was_just_stored = match &context.file {
        FileState::Present { creator: Some(creator), age_ms, .. } => {
            creator == principal && *age_ms < CLEAN_UP_WITHIN_MS
        }
        FileState::Present { creator: None, .. } | FileState::Absent => false,
    };
    let is_snapshot = handle.file_type() == Some(FileType::Snapshots);
    !already_there(role, handle, context) || was_just_stored && !is_snapshot
}

fn check_deletion(
    principal: &PrincipalName,
    role: Role,
    handle: &Handle,
    context: &Context,
) -> Result<(), Denial> {
    match (role, handle, &context.file) {
        (Role::Restore | Role::Backup, _, _) if is_clean_up(principal, role, handle, context) => {
            Err(Denial::CleanUp)
        }
        (Role::Restore | Role::Backup, _, _) => Err(Denial::Role),
        (Role::Maintenance, Handle::File(FileType::Snapshots, _), FileState::Present { age_ms, .. })
            if *age_ms < context.snapshot_floor_ms =>
        {
            Err(Denial::SnapshotTooYoung)
        }
        (Role::Maintenance, Handle::File(FileType::Data | FileType::Index, _), _)
            if context.snapshot_kept =>
        {
            Err(Denial::SnapshotKept)
        }
        (Role::Maintenance, _, _) => Ok(()),
    }
}
