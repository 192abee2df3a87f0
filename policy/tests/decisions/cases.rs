//! Every role, action and fact that a decision can depend on.
//!
//! Invariant: for every bound there is a value on each side of it.

use pawl_policy::{
    Action, Audience, Context, Create, CreateRepository, Delete, DeleteRepository, Denial, FileId, FileState,
    FileType, Grant, Handle, KEYS_MAX, LIVE_LOCKS_MAX, LOCK_EXPIRES_AFTER_MS, List, Permit, PrincipalName,
    Read, RepositoryName, RepositoryState, Role, SNAPSHOT_FLOOR_MS, Stat, decide,
};

pub(super) struct Case {
    pub(super) role: Role,
    pub(super) may_add_keys: bool,
    pub(super) action: Action,
    pub(super) facts: Context,
}

impl Case {
    pub(super) fn decide(&self) -> Result<Permit, Denial> {
        let repository = self.action.repository().clone();
        let grant = Grant { may_add_keys: self.may_add_keys, ..Grant::new(repository, self.role) };
        decide(&asker(), &grant, self.action.clone(), &self.facts)
    }
}

pub(super) fn asker() -> PrincipalName {
    "asker".parse().unwrap()
}

pub(super) fn repository() -> RepositoryName {
    "hosts/web1".parse().unwrap()
}

pub(super) fn handles() -> Vec<Handle> {
    let id = FileId::from_sha256([7; 32]);
    let mut handles = vec![Handle::Config];
    handles.extend(FileType::ALL.map(|file_type| Handle::File(file_type, id)));
    handles
}

pub(super) fn actions(repository: &RepositoryName) -> Vec<Action> {
    let mut actions = vec![
        Action::CreateRepository(CreateRepository { repository: repository.clone() }),
        Action::DeleteRepository(DeleteRepository { repository: repository.clone() }),
    ];
    for file_type in FileType::ALL {
        actions.push(Action::List(List { repository: repository.clone(), file_type }));
    }
    for handle in handles() {
        let repository = repository.clone();
        actions.push(Action::Stat(Stat { repository: repository.clone(), handle }));
        actions.push(Action::Read(Read { repository: repository.clone(), handle }));
        actions.push(Action::Create(Create { repository: repository.clone(), handle }));
        actions.push(Action::Delete(Delete { repository, handle }));
    }
    actions
}

pub(super) fn all_facts() -> Vec<Context> {
    let mut files = vec![FileState::Absent];
    for creator in [None, Some("asker"), Some("another")] {
        for age_ms in [
            0,
            LOCK_EXPIRES_AFTER_MS - 1,
            LOCK_EXPIRES_AFTER_MS,
            SNAPSHOT_FLOOR_MS - 1,
            SNAPSHOT_FLOOR_MS,
            u64::MAX,
        ] {
            for audience in [Audience::All, Audience::Maintenance] {
                let creator = creator.map(|name| name.parse().unwrap());
                files.push(FileState::Present { creator, age_ms, audience });
            }
        }
    }
    let mut all = Vec::new();
    for repository in [RepositoryState::Absent, RepositoryState::Draft, RepositoryState::Initialised] {
        for file in &files {
            for tombstone in [false, true] {
                for live_locks in [0, LIVE_LOCKS_MAX - 1, LIVE_LOCKS_MAX, u32::MAX] {
                    for keys in [0, KEYS_MAX - 1, KEYS_MAX, u32::MAX] {
                        let file = file.clone();
                        all.push(Context { repository, file, tombstone, live_locks, keys, ..nothing() });
                    }
                }
            }
        }
    }
    all
}

pub(super) fn nothing() -> Context {
    Context::NOTHING_KNOWN
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for role in Role::ALL {
        for may_add_keys in [false, true] {
            for action in actions(&repository()) {
                for facts in all_facts() {
                    cases.push(Case { role, may_add_keys, action: action.clone(), facts });
                }
            }
        }
    }
    cases
}
