//! How a process that listens to others begins and ends.
//!
//! Invariant: whoever waits for the end learns of it before anything is torn down, so that uploads may finish.

use std::process::Child;
use std::sync::Arc;
use std::time::Duration;

use pawl_keeper::KeeperClient;
use tokio::signal::unix::{SignalKind, signal};

pub use crate::capacity::use_what_there_is;
use crate::http::tls::Certificates;
use crate::service_manager::ServiceManager;

/// How long work that was begun on the disk is waited for at the end.
pub const DISK_WAIT_MAX: Duration = Duration::from_secs(10);

/// Lets the keeper finish what it began.
pub async fn end_keeper(keeper: &KeeperClient, child: Option<Child>) {
    keeper.hang_up();
    let Some(mut child) = child else { return };
    match tokio::task::spawn_blocking(move || child.wait()).await {
        Ok(Ok(status)) if status.success() => {}
        Ok(Ok(status)) => tracing::warn!(%status, "the keeper ended with an error"),
        Ok(Err(error)) => tracing::warn!(%error, "cannot tell how the keeper ended"),
        Err(error) => tracing::warn!(%error, "cannot tell how the keeper ended"),
    }
}

/// Ends when this process is told to stop.
pub fn stop_signal(manager: &ServiceManager) -> std::io::Result<impl Future<Output = ()> + use<>> {
    let manager = manager.clone();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        manager.stopping("uploads may finish");
        tracing::info!("stopping; uploads may finish");
    })
}

/// Reads again at each SIGHUP what can be read again.
pub fn reload_on_hangup(
    manager: &ServiceManager,
    status: &str,
    certificates: Option<Arc<Certificates>>,
    reload_credentials: impl Fn() + Send + 'static,
) -> std::io::Result<()> {
    let (manager, status) = (manager.clone(), status.to_owned());
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            manager.reloading();
            reload_credentials();
            if let Some(certificates) = &certificates {
                certificates.reload();
            }
            manager.ready(&status);
        }
    });
    Ok(())
}
