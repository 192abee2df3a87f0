//! `pawl serve`: from the configuration to running processes, and back.
//!
//! Invariant: the keeper is started before the frontend has keys or connections, and the frontend ends when its keeper does.

mod confined;
mod keeper;
mod nights;
mod signs;

use std::error::Error;
use std::sync::Arc;

use pawl_config::Level;
use pawl_config::hint;
use pawl_config::print::{self, Outcome};
use pawl_config::{Config, LISTEN_DEFAULT, Listen, Tls};
use pawl_config::{files, log};
use pawl_frontend::credentials::{Credentials, client_ca_path, hosts_path};
use pawl_frontend::http::tls::{self, CertificateFiles, Certificates, Protocols};
use pawl_frontend::http::{self, Frontend, status};
use pawl_frontend::service_manager::ServiceManager;
use pawl_frontend::socket::{self, Bound};
use pawl_keeper::audit_queue::Queue;
use pawl_keeper::{KeeperClient, KeeperProcess, StagingCapabilities, Tenant};
use pawl_store::local::LocalStore;
use pawl_store::s3::{S3Store, Sort};
use pawl_store::{AppendStore, Observed};

use crate::cli::Serve;
#[doc(hidden)] // for the program that attacks it
pub use confined::confine;
pub use keeper::keeper;
use pawl_frontend::invitation;
use pawl_frontend::running::{DISK_WAIT_MAX, end_keeper, reload_on_hangup, stop_signal, use_what_there_is};

use pawl_config::url::{machine_name, write_down_url};
use signs::Signs;

/// Directories of Pawl's own are readable by the group, which in a deployment is the frontend's.
const DIRECTORY_MODE: u32 = 0o750;

/// Threads of the runtime, on however few processors: while one waits for the disk to look at a file, others go on.
const THREADS_MIN: usize = 4;

/// Serves until it is told to stop.
pub fn serve(options: &Serve) -> Outcome {
    let mut config = options.place.configuration()?;
    if !options.listen.is_empty() {
        config.listen_on(options.listen.clone());
    }
    log::start(config.log);
    use_what_there_is(&mut config.limits);
    let sockets = bind(&mut config)?;
    let is_new = !hosts_path(&config.data).exists();
    config.confinement.landlock_abi_max = options.landlock_abi_max;
    let keeper = start_keeper(&config)?;
    say_footing(&keeper);
    let certificates = certificates(&config, &sockets.door)?;
    let places: Vec<_> = sockets.door.iter().map(|bound| bound.place().clone()).collect();
    let url = pawl_config::url::url(&config, &places);
    if config.keeper.is_none() {
        write_down_url(&config, &url);
    }
    if is_new && options.place.config.is_none() {
        welcome(&config)?;
    }
    let credentials = Credentials::load(
        hosts_path(&config.data),
        config.htpasswd.clone(),
        config.failed_logins_per_minute,
    )?;
    let manager = ServiceManager::find();
    // Also where no time is set yet: `enroll` may write one.
    let nights = config.keeper.is_none().then(|| nights::start(&options.place)).transpose()?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from); // looks outside of DATA
    let threads = processors.max(THREADS_MIN);
    let level = confine(&config, &keeper)?;
    if let Some(nights) = nights {
        nights::watch(nights);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    let footing = keeper.footing();
    let ready = Ready { config, sockets, certificates, credentials, footing, level, url, manager };
    let outcome = runtime.block_on(run(ready, keeper));
    runtime.shutdown_timeout(DISK_WAIT_MAX); // for work that waits for a disk that does not answer
    outcome
}

/// The keeper that is a service, or one that is started here, once there is a directory for it.
#[doc(hidden)] // for the program that attacks it
pub fn start_keeper(config: &Config) -> Result<KeeperProcess, Box<dyn Error>> {
    if let Some(service) = &config.keeper {
        return Ok(KeeperProcess::reach(service)?);
    }
    make_directories(config)?;
    Ok(KeeperProcess::start(&config.data, config.log, Tenant::Hosts, config.confinement)?)
}

fn make_directories(config: &Config) -> Result<(), files::FileError> {
    files::make_directory(&config.data, DIRECTORY_MODE)?;
    files::make_directory(&config.data.join(".pawl"), DIRECTORY_MODE)
}

/// The sockets of the frontend, and of the status listener if there is one.
struct Sockets {
    door: Vec<Bound>,
    status: Option<Bound>,
}

/// The sockets that systemd passed, else those that the configuration asks for.
fn bind(config: &mut Config) -> Result<Sockets, Box<dyn Error>> {
    let passed = socket::passed()?;
    let status = match (passed.status, config.status) {
        (Some(bound), _) => Some(bound),
        (None, Some(address)) => socket::bind(&[Listen::Tcp(address)])?.pop(),
        (None, None) => None,
    };
    if passed.door.is_empty() {
        return Ok(Sockets { door: socket::bind(&config.listen)?, status });
    }
    if config.listen != [LISTEN_DEFAULT] {
        tracing::info!("systemd passes sockets, so that `listen` ({}) is not used", list(&config.listen));
    }
    config.listen_on(passed.door.iter().map(|bound| bound.place().clone()).collect());
    Ok(Sockets { door: passed.door, status })
}

fn list(places: &[Listen]) -> String {
    places.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Everything that was made ready before the runtime.
struct Ready {
    config: Config,
    sockets: Sockets,
    certificates: Option<Arc<Certificates>>,
    credentials: Credentials,
    footing: StagingCapabilities,
    level: Level,
    url: String,
    manager: ServiceManager,
}

async fn run(ready: Ready, keeper: KeeperProcess) -> Outcome {
    let (keeper, child) = keeper.connect()?;
    let data = &ready.config.data;
    let served = match ready.config.s3.clone() {
        None => run_on(LocalStore::open(data, keeper.clone())?, ready, &keeper).await,
        Some(settings) => match S3Store::open(settings.clone(), keeper.clone()).await {
            Ok(store) => {
                say_findings(&store);
                let signs = Signs::begin(store.clone(), settings.instances);
                let served = run_on(store, ready, &keeper).await;
                signs.end().await;
                served
            }
            Err(error) => Err(error.into()),
        },
    };
    end_keeper(&keeper, child).await;
    if served.is_ok() {
        tracing::info!("stopped");
    }
    served
}

async fn run_on<S>(store: S, ready: Ready, keeper: &KeeperClient) -> Outcome
where
    S: AppendStore + Observed + Clone,
{
    let Ready { config, sockets, certificates, credentials, footing, level, url, manager } = ready;
    let audit = Queue::start(keeper.clone());
    let door = Arc::new(
        Frontend::new(store, credentials, config.caps, config.limits, audit.clone())
            .behind(config.proxies.clone()),
    );
    let listening = format!("listening on {url}");
    let reloaded = Arc::clone(&door);
    reload_on_hangup(&manager, &listening, certificates.clone(), move || reloaded.reload_credentials())?;
    if let Some(bound) = sockets.status {
        let about = status::About { unnamed_files: footing.unnamed_files, leases: footing.leases, level };
        tracing::info!("metrics and health at http://{}", bound.place());
        tokio::spawn(status::serve(bound, Arc::clone(&door), about)?);
    }
    let stop = stop_signal(&manager)?;
    let others: Vec<_> = sockets.door.iter().skip(1).map(|bound| bound.place().clone()).collect();
    let serving = http::serve(sockets.door, door, certificates, stop);
    tracing::info!(data = %config.data.display(), "{listening}");
    if !others.is_empty() {
        tracing::info!("listening as well on {}", list(&others));
    }
    manager.ready(&listening);
    tokio::spawn(manager.clone().keep_watchdog(keeper.clone()));
    tokio::select! {
        served = serving => {
            if !served? {
                tracing::warn!("some requests did not finish in time and were cut");
            }
        }
        () = keeper.died() => {
            manager.stopping("the keeper process has ended");
            tracing::error!("the keeper process has ended; nothing can be stored any more, so the server stops");
            return Err("the keeper process has ended unexpectedly".into());
        }
    }
    audit.flush().await;
    Ok(())
}

fn certificates(config: &Config, bound: &[Bound]) -> Result<Option<Arc<Certificates>>, tls::TlsError> {
    let files = match &config.tls {
        Tls::Off => return Ok(None),
        Tls::Given { certificate, key } => {
            CertificateFiles { certificate: certificate.clone(), key: key.clone() }
        }
        Tls::PrivateCa { names } => {
            let addresses: Vec<_> = bound.iter().filter_map(|bound| bound.place().address()).collect();
            match config.keeper {
                Some(_) => tls::issued(&config.data, tls::DOOR),
                None => tls::issue(&config.data, tls::DOOR, names, &addresses, tls::Reader::Owner)?,
            }
        }
    };
    Ok(Some(Arc::new(Certificates::load(files, client_ca_path(&config.data), Protocols::Both)?)))
}

/// Adds a first host to a new directory and says how to go on.
fn welcome(config: &Config) -> Outcome {
    // Standard output of a service is a journal, where a password must not be.
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        tracing::info!("there are no hosts yet: `{}`", hint::pawl("host add NAME"));
        return Ok(());
    }
    let machine = machine_name();
    let short = machine.split('.').next().unwrap_or_default();
    let is_name = |name: &&str| name.parse::<pawl_policy::RepositoryName>().is_ok() && !name.contains('/');
    let name = Some(short).filter(is_name).unwrap_or("host1").parse()?;
    let lines = invitation::add_first(config, &name)?;
    print::line(&format!(
        "Welcome to Pawl. A first host, {name}, was added. To back it up, paste:\n\n{lines}\n\n\
         The password is shown only now. To have it pruned and checked every night:\n  \
         {}\n\
         More hosts: {}\n",
        hint::pawl(format!("maintain enroll {name} --password-file FILE")),
        hint::pawl("maintain enroll NAME")
    ))
}

/// What was found out about the bucket. Weaknesses that are left here were accepted.
fn say_findings(store: &S3Store) {
    for finding in store.findings().all() {
        match finding.sort {
            Sort::Good => tracing::info!("s3: {}", finding.text),
            Sort::Note => tracing::info!("s3: note: {}", finding.text),
            Sort::Fault => tracing::error!("s3: {}", finding.text),
            Sort::Weak(weakness) => {
                tracing::warn!("s3: {}, which s3.accept allows: {}", finding.text, weakness.consequence());
            }
        }
    }
}

pub(crate) fn say_footing(keeper: &KeeperProcess) {
    let footing = keeper.footing();
    if !footing.unnamed_files {
        tracing::warn!(
            "this file system has no unnamed files (O_TMPFILE); uploads wait under a name in .pawl/staging"
        );
    }
    if !footing.exclusive_renames {
        tracing::warn!(
            "this file system cannot rename without replacing (RENAME_NOREPLACE); a stored file is linked to its name, and \
             then unlinked from the other"
        );
    }
    if !footing.leases {
        tracing::warn!(
            "this file system has no leases (F_SETLEASE); that no writer of a stored file is left cannot be proved"
        );
    }
}
