//! `pawl maintain trust --amend-received`: lets files that say that they are received in the future count as received now.
//!
//! Invariant: only while the machine's clock is right, or right facts would be taken for ones of the future.

use futures_util::TryStreamExt;
use pawl_config::print::{self, Outcome};
use pawl_policy::{Clock, Handle, RepositoryName};
use pawl_store::maintenance::{Found, MaintenanceStore};
use pawl_store::{StoreError, now_ms};
use serde::Serialize;

use super::batch_list::count;
use super::clock;
use super::session::{self, Session};
use crate::command_line::Trust;

/// What came of it.
#[derive(Debug, Serialize)]
struct Report<'a> {
    repository: &'a str,
    amended: u64,
}

/// Runs the command.
pub(super) fn run(options: &Trust) -> Outcome {
    if clock::believed(options.assume_clock_synced) != Clock::Synchronised {
        return Err("expected a clock that is synchronised, or a file of the past could be taken for one of the future; this \
                    machine does not say so: set up NTP, or if you know that it is right, say --assume-clock-synced"
            .into());
    }
    session::act(&options.place, async |session| {
        let Trust { repository, json, .. } = options;
        let ahead = ahead(session, repository).await?;
        let mut amended = 0;
        for handle in ahead {
            match session.store.amend_received(repository, &handle, now_ms()).await {
                Ok(()) => amended += 1,
                Err(StoreError::NotFound) => {} // a lock goes when its host is done
                Err(error) => return Err(format!("{repository}/{handle}: {error}").into()),
            }
        }
        if *json {
            return print::json(&Report { repository: repository.as_str(), amended });
        }
        print::line(&match amended {
            0 => format!("No file of {repository} says that it is received in the future."),
            _ => format!("Amended {} of {repository}: received now.", count(amended)),
        })
    })
}

/// The files of a repository that say so.
async fn ahead(
    session: &Session,
    repository: &RepositoryName,
) -> Result<Vec<Handle>, Box<dyn std::error::Error>> {
    if !session.store.repositories().await?.contains(repository) {
        return Err(format!("there is no repository {repository}").into());
    }
    let mut ahead = Vec::new();
    let mut walked = std::pin::pin!(session.store.walk(repository).await?);
    while let Some(found) = walked.try_next().await? {
        ahead.extend(found.into_iter().filter_map(|found| match found {
            Found::File { handle, facts, .. } if facts.is_ahead(now_ms()) => Some(handle),
            _ => None,
        }));
    }
    Ok(ahead)
}
