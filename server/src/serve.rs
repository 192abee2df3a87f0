//! `pawl serve`: from the configuration to running processes, and back.
//!
//! Invariant: the keeper is started before the door has keys or connections, and the door ends when its keeper does.

use std::error::Error;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rustix::process::{Resource, Rlimit};
use tokio::signal::unix::{SignalKind, signal};

use crate::audit::Queue;
use crate::cli::{Place, Serve};
use crate::config::{Config, ConfigError, Log, Tls};
use crate::credentials::{Credentials, client_ca_path, hosts_path};
use crate::http::tls::{self, CertificateFiles, Certificates};
use crate::http::{self, Bound, Door};
use crate::keeper::{KeeperClient, KeeperProcess};
use crate::print::{self, Outcome};
use crate::store::local::LocalStore;
use crate::{files, hosts, log};

/// Directories of Pawl's own are readable by the group, which in a deployment is the door's.
const DIRECTORY_MODE: u32 = 0o750;

/// How long work that was begun on the disk is waited for at the end.
const DISK_WAIT_MAX: Duration = Duration::from_secs(10);

/// Where the URL that the server was last reached at is written down, for `pawl host add`.
#[must_use]
pub fn url_path(data: &Path) -> PathBuf {
    data.join(".pawl/url")
}

/// The configuration that the options name.
pub fn configuration(place: &Place) -> Result<Config, ConfigError> {
    match (&place.config, &place.data) {
        (Some(path), _) => Config::read(path),
        (None, Some(data)) => {
            let absolute = std::path::absolute(data);
            Ok(Config::for_data(absolute.unwrap_or_else(|_| data.clone())))
        }
        (None, None) => Err(ConfigError::Missing(PathBuf::from("--data or --config"))), // clap requires one
    }
}

/// Serves until it is told to stop.
pub fn serve(options: &Serve) -> Outcome {
    let mut config = configuration(&options.place)?;
    if let Some(listen) = options.listen {
        config.listen_on(listen);
    }
    log::start(config.log);
    raise_descriptor_limit();
    let bound = http::bind(config.listen)?;
    let is_new = !hosts_path(&config.data).exists();
    files::make_directory(&config.data, DIRECTORY_MODE)?;
    files::make_directory(&config.data.join(".pawl"), DIRECTORY_MODE)?;
    let keeper = KeeperProcess::start(&config.data, config.log)?;
    say_footing(&keeper);
    let certificates = certificates(&config, &bound)?;
    let url = url(&config, &bound);
    write_down_url(&config, &url);
    if is_new && options.place.config.is_none() {
        welcome(&config)?;
    }
    let credentials = Credentials::load(
        hosts_path(&config.data),
        config.htpasswd.clone(),
        config.failed_logins_per_minute,
    )?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(run(config, bound, certificates, credentials, keeper, url));
    runtime.shutdown_timeout(DISK_WAIT_MAX); // for work that waits for a disk that does not answer
    outcome
}

async fn run(
    config: Config,
    bound: Bound,
    certificates: Option<Arc<Certificates>>,
    credentials: Credentials,
    keeper: KeeperProcess,
    url: String,
) -> Outcome {
    let (keeper, child) = keeper.connect()?;
    let store = LocalStore::open(&config.data, keeper.clone())?;
    let audit = Queue::start(keeper.clone());
    let door = Arc::new(Door::new(store, credentials, config.caps, config.limits, audit.clone()));
    reload_on_hangup(Arc::clone(&door), certificates.clone())?;
    let stop = stop_signal()?;
    let serving = bound.serve(door, certificates, stop);
    tracing::info!(data = %config.data.display(), "listening on {url}");
    tokio::select! {
        served = serving => {
            if !served? {
                tracing::warn!("some requests did not finish in time and were cut");
            }
        }
        () = keeper.died() => {
            tracing::error!("the keeper process has ended; nothing can be stored any more, so the server stops");
            return Err("the keeper process has ended unexpectedly".into());
        }
    }
    audit.flush().await;
    end_keeper(&keeper, child).await;
    tracing::info!("stopped");
    Ok(())
}

/// Lets the keeper finish what it began.
async fn end_keeper(keeper: &KeeperClient, mut child: Child) {
    keeper.hang_up();
    match tokio::task::spawn_blocking(move || child.wait()).await {
        Ok(Ok(status)) if status.success() => {}
        Ok(Ok(status)) => tracing::warn!(%status, "the keeper ended with an error"),
        Ok(Err(error)) => tracing::warn!(%error, "cannot tell how the keeper ended"),
        Err(error) => tracing::warn!(%error, "cannot tell how the keeper ended"),
    }
}

fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping; uploads may finish");
    })
}

fn reload_on_hangup(
    door: Arc<Door<LocalStore>>,
    certificates: Option<Arc<Certificates>>,
) -> std::io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            door.reload_credentials();
            if let Some(certificates) = &certificates {
                certificates.reload();
            }
        }
    });
    Ok(())
}

fn certificates(config: &Config, bound: &Bound) -> Result<Option<Arc<Certificates>>, tls::TlsError> {
    let files = match &config.tls {
        Tls::Off => return Ok(None),
        Tls::Given { certificate, key } => {
            CertificateFiles { certificate: certificate.clone(), key: key.clone() }
        }
        Tls::PrivateCa { names } => tls::issue(&config.data, names, bound.address())?,
    };
    Ok(Some(Arc::new(Certificates::load(files, client_ca_path(&config.data))?)))
}

/// By what hosts reach the server, as far as it can tell.
fn url(config: &Config, bound: &Bound) -> String {
    if let Some(url) = &config.public_url {
        return url.clone();
    }
    let scheme = if config.tls == Tls::Off { "http" } else { "https" };
    let name = match &config.tls {
        Tls::PrivateCa { names } => names.first().cloned(),
        Tls::Off | Tls::Given { .. } if bound.address().ip().is_unspecified() => Some(machine_name()),
        Tls::Off | Tls::Given { .. } => None,
    };
    match name {
        Some(name) if name.contains(':') => format!("{scheme}://[{name}]:{}", bound.address().port()),
        Some(name) => format!("{scheme}://{name}:{}", bound.address().port()),
        None => format!("{scheme}://{}", bound.address()),
    }
}

fn machine_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// A full disk must not keep hosts from restoring, so that this is no error.
fn write_down_url(config: &Config, url: &str) {
    let (path, text) = (url_path(&config.data), format!("{url}\n"));
    if files::read(&path).is_ok_and(|there| there.as_deref() == Some(&text)) {
        return;
    }
    if let Err(error) = files::replace(&path, &text, 0o640) {
        tracing::warn!(%error, "`pawl host add` will print the URL of an earlier start");
    }
}

/// Adds a first host to a new directory and says how to go on.
fn welcome(config: &Config) -> Outcome {
    // Standard output of a service is a journal, where a password must not be.
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        tracing::info!("there are no hosts yet: `pawl host add NAME --data {}`", config.data.display());
        return Ok(());
    }
    let machine = machine_name();
    let short = machine.split('.').next().unwrap_or_default();
    let is_name = |name: &&str| name.parse::<pawl_policy::RepositoryName>().is_ok() && !name.contains('/');
    let name = Some(short).filter(is_name).unwrap_or("host1").parse()?;
    let lines = hosts::add_first(config, &name)?;
    print::line(&format!(
        "Welcome to Pawl. A first host, {name}, was added. To back it up, paste:\n\n{lines}\n\n\
         The password is shown only now. More hosts: pawl host add NAME --data {}\n",
        config.data.display()
    ))
}

fn say_footing(keeper: &KeeperProcess) {
    let footing = keeper.footing();
    if !footing.unnamed_files {
        tracing::warn!(
            "this file system has no unnamed files (O_TMPFILE); uploads wait under a name in .pawl/staging"
        );
    }
    if !footing.leases {
        tracing::warn!(
            "this file system has no leases (F_SETLEASE); that no writer of a stored file is left cannot be proved"
        );
    }
}

/// Each connection and each upload holds a descriptor.
fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "cannot raise the limit on open files");
    }
}

/// The keeper's process: serves the door at the other end of standard input.
pub fn keeper(data: &Path, log: Log) -> Outcome {
    log::start(log);
    rustix::thread::set_name(c"pawl-keeper")?;
    // A stop is for the door, which lets uploads finish; the keeper ends when the door does.
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        signal_hook::flag::register(kind.as_raw_value(), Arc::new(AtomicBool::new(false)))?;
    }
    let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
    crate::keeper::run(&socket, data).map_err(|error| -> Box<dyn Error> {
        format!("the keeper cannot work in {}: {error}", data.display()).into()
    })
}
