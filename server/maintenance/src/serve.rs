//! `pawl maintain serve`: the maintenance server as a service.
//!
//! Invariant: it has credentials of its own, read from a directory that the frontend does not open, and ends when
//! its keeper does.

use std::sync::Arc;
use std::time::Duration;

use pawl_config::Config;
use pawl_config::files;
use pawl_config::hint;
use pawl_config::print::{self, Outcome};
use pawl_config::url::url_of;
use pawl_frontend::credentials::{Credentials, admins_path};
use pawl_frontend::http;
use pawl_frontend::service_manager::ServiceManager;
use pawl_frontend::socket::{self, Bound};
use pawl_keeper::audit_queue::Queue;

use super::admin;
use super::probe_cache;
use super::purge::note_seen;
use super::server;
use super::session::{self, Session};
use crate::command_line::ServeMaintenance;
use pawl_frontend::running::{reload_on_hangup, stop_signal, use_what_there_is};

/// How often it is noted that deletions were seen.
const NOTE_EVERY: Duration = Duration::from_hours(1);

/// Serves until it is told to stop.
pub(super) fn run(options: &ServeMaintenance) -> Outcome {
    let mut config = session::config(&options.place)?;
    if !options.listen.is_empty() {
        config.maintenance.listen.clone_from(&options.listen);
    }
    use_what_there_is(&mut config.limits);
    probe_cache::forget(&config.data)?; // whoever stays finds out how the bucket is now
    session::act_with(config, async |session| serve(session).await)
}

async fn serve(session: &Session) -> Outcome {
    let config = &session.config;
    let bound = socket::bind(&config.maintenance.places(&config.data)?)?;
    let certificates = server::certificates(config, &bound)?;
    let url = write_down_url(config, &bound);
    if !admins_path(&config.data).exists() {
        welcome(config)?;
    }
    let credentials = Credentials::load_admins(admins_path(&config.data), config.failed_logins_per_minute)?;
    let audit = Queue::start(session.keeper.clone());
    let door = Arc::new(server::new(session, credentials, audit.clone()));
    let listening = format!("listening on {url} for maintenance");
    let manager = ServiceManager::find();
    let reloaded = Arc::clone(&door);
    reload_on_hangup(&manager, &listening, certificates.clone(), move || reloaded.reload_credentials())?;
    let stop = stop_signal(&manager)?;
    let serving = http::serve(bound, door, certificates, stop);
    tracing::info!(data = %config.data.display(), "{listening}");
    manager.ready(&listening);
    tokio::spawn(manager.clone().keep_watchdog(session.keeper.clone()));
    tokio::select! {
        served = serving => {
            if !served? {
                tracing::warn!("some requests did not finish in time and were cut");
            }
        }
        () = session.keeper.died() => {
            manager.stopping("the keeper process has ended");
            return Err("the keeper process has ended unexpectedly".into());
        }
        () = note_days(session) => {}
    }
    audit.flush().await;
    tracing::info!("stopped");
    Ok(())
}

/// Notes as long as it runs that the deletions that are pending were seen.
async fn note_days(session: &Session) {
    loop {
        match note_seen(&session.store).await {
            Ok(unseen) => {
                for (repository, why) in unseen {
                    tracing::error!(%repository, "{why}");
                }
            }
            Err(error) => {
                tracing::error!(%error, "that deletions were seen today cannot be noted; they will be final later");
            }
        }
        tokio::time::sleep(NOTE_EVERY).await;
    }
}

/// By what admins reach the server, which is noted for `pawl maintain admin add`.
fn write_down_url(config: &Config, bound: &[Bound]) -> String {
    let place = bound.first().map(Bound::place);
    let tls = match &config.tls {
        pawl_config::Tls::Off => pawl_config::Tls::PrivateCa { names: Vec::new() },
        other => other.clone(),
    };
    let url = place.map(|place| url_of(place, &tls)).unwrap_or_default();
    if let Err(error) = files::replace(&admin::url_path(config), &format!("{url}\n"), 0o640) {
        tracing::warn!(%error, "`pawl maintain admin add` will print the URL of an earlier start");
    }
    url
}

/// Adds a first admin and says how to go on.
fn welcome(config: &Config) -> Outcome {
    // Standard output of a service is a journal, where a password must not be.
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        tracing::info!("there are no admins yet: `{}`", hint::pawl("maintain admin add NAME"));
        return Ok(());
    }
    let invitation = admin::add(config, &"admin".parse()?)?;
    print::line(&format!(
        "A first admin, admin, was added. To prune, paste:\n\n{}\n\nThe password is shown only now.\n",
        invitation.to_paste()
    ))
}
