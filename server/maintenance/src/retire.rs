//! `pawl maintain retire`: takes a repository out of service.
//!
//! Invariant: nothing is lost by it that `undelete` and `pawl host add` do not bring back. The audit log has it before
//! maintenance stops to expect anything.

use pawl_config::print::{self, Outcome};
use pawl_keeper::{Act, AuditEvent};
use pawl_store::maintenance::MaintenanceStore;

use super::session::{self, Session};
use super::verify::state::States;
use super::{delete, report};
use crate::command_line::{DeleteFiles, Retire};
use crate::state_file;
use pawl_frontend::invitation;

/// Runs the command.
pub(super) fn run(options: &Retire) -> Outcome {
    let Retire { repository, place: _ } = options;
    session::act(&options.place, async |session| {
        let is_there = session.store.repositories().await?.contains(repository);
        let states = States::at(&state_file::of_verification(&session.config.data));
        let is_expected = states.known()?.contains(repository)
            || report::expects(session, repository)?
            || invitation::has_grant(&session.config, repository)?;
        if !is_there && !is_expected {
            return Err(format!("there is no repository {repository}, and nothing expects one").into());
        }
        if is_there {
            let (files, json, place) = (Vec::new(), false, pawl_config::Place::default());
            let all = DeleteFiles { repository: repository.clone(), files, below_floor: true, json, place };
            delete::delete(session, &all).await?;
        }
        tell(session, options).await?;
        for sentence in invitation::dismiss(&session.config, repository)? {
            print::line(&sentence)?;
        }
        report::expect_no_more(session, repository)?;
        if !is_there {
            states.forget(repository)?;
        }
        print::line(&format!("{repository} is retired: no night looks for its snapshots any more."))?;
        if session.config.maintenance.run.has_table(repository) {
            print::line(&format!(
                "Remove [maintenance.run.repositories.\"{repository}\"] from the configuration."
            ))?;
        }
        Ok(())
    })
}

async fn tell(session: &Session, options: &Retire) -> Outcome {
    let (principal, repository) = (session::user()?.to_string(), options.repository.to_string());
    let told = AuditEvent { act: Act::Retire, principal, repository, file: None, bytes: None, batch: None };
    Ok(session.keeper.tell_deed(told).await?)
}
