//! Which repositories there are, and names that could be taken for something of Pawl's own.
//!
//! Invariant: nothing here knows which store it tests.

use std::collections::BTreeSet;

use pawl_policy::{
    Action, Caps, Create, CreateRepository, FileState, FileType, Handle, Permit, RepositoryName,
    RepositoryState,
};

use super::{Both, id_of, key, repository, upload};
use crate::conformance::fixture::permit;
use crate::maintenance::{MaintenanceStore, Reason};
use crate::{AppendStore, Created};

pub(crate) async fn a_repository_below_another_may_have_any_name<S, M, P>(f: Both<S, M, P>)
where
    S: AppendStore,
    M: MaintenanceStore,
{
    f.hosts.initialised().await;
    let mut all = vec![repository()];
    for name in ["web1/aside", "web1/batch.json", "web1/initialised", "web1/rescued", "web1/rescued/data1"] {
        let repository: RepositoryName = name.parse().unwrap();
        let action = Action::CreateRepository(CreateRepository { repository: repository.clone() });
        let Permit::CreateRepository(permitted) = permit(action, FileState::Absent) else { unreachable!() };
        f.hosts.store.create_repository(&permitted).await.unwrap();
        let (key, content) = (Handle::File(FileType::Keys, id_of(&key())), key());
        for (handle, content) in [(key, &content[..]), (Handle::Config, b"of another")] {
            let action = Action::Create(Create { repository: repository.clone(), handle });
            let Permit::Create(permitted) = permit(action, FileState::Absent) else { unreachable!() };
            let created = f.hosts.store.create(&permitted, &mut upload(content), &Caps::default()).await;
            assert_eq!(created.unwrap(), Created::Stored, "{name}");
        }
        all.push(repository);
    }
    assert_eq!(f.maintenance.repositories().await.unwrap(), all);
    assert_eq!(f.walk().await, BTreeSet::from([Handle::Config]));
    assert_eq!(f.maintenance.rescued(&repository()).await.unwrap(), BTreeSet::new());
}

pub(crate) async fn every_repository_is_found_and_none_besides<S, M, P>(f: Both<S, M, P>)
where
    S: AppendStore,
    M: MaintenanceStore,
{
    assert_eq!(f.maintenance.repositories().await.unwrap(), vec![]);
    assert!(f.maintenance.walk(&repository()).await.is_err());
    f.hosts.initialised().await;
    let batch = f.begin(Reason::Deleted).await;
    f.hide(Handle::Config, &batch).await;
    assert_eq!(f.maintenance.repositories().await.unwrap(), vec![repository()]);
    let state = f.hosts.store.survey(&repository(), &Handle::Config).await.unwrap().repository;
    assert_eq!(state, RepositoryState::Initialised);
}
