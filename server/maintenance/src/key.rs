//! `pawl maintain key`: which keys hosts see.
//!
//! Invariant: the last key that hosts see is not taken from them.

use futures_util::TryStreamExt;
use pawl_config::hint;
use pawl_config::print::{self, Outcome};
use pawl_policy::{Audience, FileType, Handle, RepositoryName};
use pawl_store::StoreError;
use pawl_store::maintenance::{Found, MaintenanceStore};
use serde::Serialize;

use super::batch_list::moment;
use super::session;
use crate::command_line::{Key, OneKey};

/// A key as it is shown.
#[derive(Debug, Serialize)]
struct Listed {
    key: String,
    /// `all` or `maintenance`.
    seen_by: &'static str,
    creator: Option<String>,
    received: String,
}

/// Runs the command.
pub(super) fn run(command: Key) -> Outcome {
    match command {
        Key::List { repository, json, place } => session::read(&place, async |_, store| {
            let keys = keys(&store, &repository).await?;
            if json {
                return print::json(&keys);
            }
            for Listed { key, seen_by, creator, received } in keys {
                let creator = creator.unwrap_or_else(|| "an unknown principal".to_owned());
                print::line(&format!("{key}  seen by {seen_by:<11}  from {creator}, {received}"))?;
            }
            Ok(())
        }),
        Key::Expose(options) => change(&options, Audience::All),
        Key::Hide(options) => change(&options, Audience::Maintenance),
    }
}

const fn word(audience: Audience) -> &'static str {
    match audience {
        Audience::All => "all",
        Audience::Maintenance => "maintenance",
    }
}

async fn keys<M: MaintenanceStore>(
    store: &M,
    repository: &RepositoryName,
) -> Result<Vec<Listed>, Box<dyn std::error::Error>> {
    let absent = |error| match error {
        StoreError::NotFound => format!("there is no repository {repository}").into(),
        error => Box::<dyn std::error::Error>::from(error),
    };
    let mut found = std::pin::pin!(store.walk(repository).await.map_err(absent)?);
    let mut keys = Vec::new();
    while let Some(batch) = found.try_next().await? {
        for found in batch {
            if let Found::File { handle: Handle::File(FileType::Keys, id), facts, .. } = found {
                keys.push(Listed {
                    key: id.to_string(),
                    seen_by: word(facts.audience),
                    creator: facts.creator.map(|creator| creator.to_string()),
                    received: moment(facts.received_ms),
                });
            }
        }
    }
    keys.sort_by(|one, other| one.key.cmp(&other.key));
    Ok(keys)
}

fn change(options: &OneKey, audience: Audience) -> Outcome {
    let OneKey { repository, key, place } = options;
    session::act(place, async |session| {
        let keys = keys(&session.store, repository).await?;
        let id = key.to_string();
        let others = keys.iter().any(|listed| listed.seen_by == word(Audience::All) && listed.key != id);
        if audience == Audience::Maintenance && !others {
            return Err(format!(
                "{id} is the only key of {repository} that hosts see; without one they can neither back up nor restore"
            )
            .into());
        }
        // Whether there is such a key the store knows best: a change that was cut may have it out of sight.
        session.store.set_audience(repository, key, audience).await.map_err(|error| match error {
            StoreError::NotFound => {
                let list = hint::pawl(format!("maintain key list {repository}"));
                format!("there is no key {id} in {repository}; `{list}` shows those that are")
            }
            error => error.to_string(),
        })?;
        print::line(&match audience {
            Audience::All => format!("Hosts see key {id} now."),
            Audience::Maintenance => {
                format!("Hosts do not see key {id} any more. Who read it before may have kept it.")
            }
        })
    })
}
