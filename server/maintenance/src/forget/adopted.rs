//! For which snapshots an admin vouches, and `pawl maintain trust`, which writes it down.
//!
//! Invariant: only the user of maintenance writes it. If it is lost, claimed times are not believed and snapshots are
//! held: nothing is removed for want of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use futures_util::TryStreamExt;
use pawl_config::files::{self, FileError};
use pawl_config::print::{self, Outcome};
use pawl_keeper::{Act, AuditEvent};
use pawl_policy::retention::Vouched;
use pawl_policy::{FileId, FileType, Handle, PrincipalName, RepositoryName};
use pawl_store::AppendStore;
use pawl_store::maintenance::{Found, MaintenanceStore};
use serde::{Deserialize, Serialize};

use crate::command_line::Trust;
use crate::session::{self, Session};
use crate::state_file;

/// For what is vouched, by ids.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Adopted {
    /// Claimed times.
    #[serde(default)]
    times: BTreeSet<String>,
    /// Claimed times and sizes.
    #[serde(default)]
    as_they_are: BTreeSet<String>,
}

impl Adopted {
    /// What is written down of a repository.
    pub(super) fn load(data: &Path, repository: &RepositoryName) -> Result<Self, FileError> {
        state_file::load(&path(data, repository)).map(Option::unwrap_or_default)
    }

    /// For what of a snapshot is vouched.
    pub(super) fn vouched(&self, id: &FileId) -> Vouched {
        let id = id.to_string();
        match (self.as_they_are.contains(&id), self.times.contains(&id)) {
            (true, _) => Vouched::AsItIs,
            (false, true) => Vouched::Time,
            (false, false) => Vouched::Nothing,
        }
    }
}

fn directory(data: &Path) -> PathBuf {
    state_file::directory(data).join("adopted")
}

fn path(data: &Path, repository: &RepositoryName) -> PathBuf {
    directory(data).join(state_file::file_name(repository))
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Report<'a> {
    repository: &'a str,
    trusted: usize,
}

/// Runs `pawl maintain trust`.
pub(crate) fn trust(options: &Trust) -> Outcome {
    session::act(&options.place, async |session| {
        let Trust { repository, snapshots: snapshots_named, json, .. } = options;
        let data = &session.config.data;
        files::make_directory(&directory(data), 0o700)?;
        let mut adopted = Adopted::load(data, repository)?;
        let ids = if snapshots_named.is_empty() {
            let all = snapshots(session, repository).await?.into_iter().map(|(id, _)| id);
            let all: Vec<_> = all.collect();
            adopted.times.extend(all.iter().map(ToString::to_string));
            all
        } else {
            for id in snapshots_named {
                let handle = Handle::File(FileType::Snapshots, *id);
                if session.files.facts(repository, &handle).await?.is_none() {
                    return Err(format!("there is no {handle} in {repository}; nothing is trusted").into());
                }
            }
            adopted.as_they_are.extend(snapshots_named.iter().map(ToString::to_string));
            snapshots_named.clone()
        };
        tell(session, repository, snapshots_named).await?;
        state_file::save(&path(data, repository), &adopted)?;
        if *json {
            return print::json(&Report { repository: repository.as_str(), trusted: ids.len() });
        }
        print::line(&format!("{} snapshots of {repository} are trusted.", ids.len()))
    })
}

/// Believes the claimed times of the snapshots that Pawl did not receive from a host, as in a directory of rest-server:
/// whoever put them there could write to the disk. Returns how many there are for which nobody had vouched.
pub(crate) async fn trust_what_came_from_elsewhere(
    session: &Session,
    repository: &RepositoryName,
) -> Result<usize, Box<dyn std::error::Error>> {
    let data = &session.config.data;
    let mut adopted = Adopted::load(data, repository)?;
    let mut new = 0;
    for (id, creator) in snapshots(session, repository).await? {
        new += usize::from(creator.is_none() && adopted.times.insert(id.to_string()));
    }
    if new > 0 {
        files::make_directory(&directory(data), 0o700)?;
        tell(session, repository, &[]).await?;
        state_file::save(&path(data, repository), &adopted)?;
    }
    Ok(new)
}

/// Has it written into the audit log, before it counts: each snapshot that is named, or all in one line.
async fn tell(session: &Session, repository: &RepositoryName, named: &[FileId]) -> Outcome {
    let principal = session::user()?.to_string();
    let repository = repository.to_string();
    let deed = AuditEvent { act: Act::Adopt, principal, repository, file: None, bytes: None, batch: None };
    if named.is_empty() {
        session.keeper.tell_deed(deed.clone()).await?;
    }
    for id in named {
        let file = Some(Handle::File(FileType::Snapshots, *id).to_string());
        session.keeper.tell_deed(AuditEvent { file, ..deed.clone() }).await?;
    }
    Ok(())
}

/// All snapshots of a repository, and who stored them, where Pawl knows.
async fn snapshots(
    session: &Session,
    repository: &RepositoryName,
) -> Result<Vec<(FileId, Option<PrincipalName>)>, Box<dyn std::error::Error>> {
    if !session.store.repositories().await?.contains(repository) {
        return Err(format!("there is no repository {repository}").into());
    }
    let mut all = Vec::new();
    let mut walked = std::pin::pin!(session.store.walk(repository).await?);
    while let Some(found) = walked.try_next().await? {
        all.extend(found.iter().filter_map(|found| match found {
            Found::File { handle: Handle::File(FileType::Snapshots, id), facts, .. } => {
                Some((*id, facts.creator.clone()))
            }
            Found::File { .. } | Found::Unexplained { .. } | Found::Foreign { .. } => None,
        }));
    }
    Ok(all)
}
