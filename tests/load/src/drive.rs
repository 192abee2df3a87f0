//! Does work on a server.
//!
//! Invariant: whatever is prepared, is before the clock starts; what was stored to measure is removed afterwards.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::Outcome;
use crate::client::{Connector, Gate, Protocol, Sender, Target};
use crate::content::{Contents, File};
use crate::cost::{Cost, Spent};
use crate::work::{Kind, Work};

/// Files that are read in turn.
const STOCK_FILES: usize = 16;
/// Of which some are asked for by [`Kind::Head`] and [`Kind::Range`] where no size is named.
const STOCK_BYTES: u64 = 16 << 20;
const RANGE_BYTES: std::ops::RangeInclusive<u64> = (64 << 10)..=(1 << 20);
/// So long a server has nothing to do before something is measured.
const PAUSE: Duration = Duration::from_millis(100);
/// So long uploads are held, and an idle server is watched.
const HOLD: Duration = Duration::from_secs(1);

/// A server that runs.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) name: String,
    pid: u32,
    target: Target,
    /// Where its repository's files lie.
    data: Option<PathBuf>,
}

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut fields = BTreeMap::new();
        for field in text.split(',') {
            let (key, value) =
                field.split_once('=').ok_or_else(|| format!("expected KEY=VALUE, found {field:?}"))?;
            fields.insert(key, value);
        }
        let mut take = |key: &str| fields.remove(key);
        let needed = |key: &str, value: Option<&str>| {
            value.map(str::to_owned).ok_or_else(|| format!("{key}= is missing"))
        };
        let name = needed("name", take("name"))?;
        let pid = needed("pid", take("pid"))?.parse().map_err(|error| format!("pid: {error}"))?;
        let url = needed("url", take("url"))?;
        let (user, password) = (take("user").unwrap_or_default(), take("password").unwrap_or_default());
        let data = take("data").map(PathBuf::from);
        let target = Target::new(&url, user, password).map_err(|error| format!("{url}: {error}"))?;
        match fields.into_keys().next() {
            Some(unknown) => Err(format!("{unknown}= is not known")),
            None => Ok(Self { name, pid, target, data }),
        }
    }
}

/// Does work on servers.
#[derive(Debug)]
pub(crate) struct Drive {
    connector: Connector,
    contents: BTreeMap<u64, Contents>,
    /// Files of this size that are on this server.
    stock: BTreeMap<(String, u64), Arc<[File]>>,
}

/// What is done again and again.
#[derive(Debug)]
enum Job {
    Put(Arc<[File]>),
    Get(Arc<[File]>),
    Range(Arc<[File]>),
    Head(Arc<[File]>),
    /// So many files there must be.
    List(u64),
}

/// How one request went: bytes of content, and when the first entry of a listing was there.
type Answered = (u64, Option<Instant>);

impl Job {
    async fn request(&self, sender: &mut Sender, number: usize) -> Outcome<Answered> {
        match self {
            Self::Put(files) => {
                let file = nth(files, number)?;
                sender.put(file, None).await?;
                Ok((file.len(), None))
            }
            Self::Get(stock) => {
                let file = nth(stock, number)?;
                of_length(sender.get(&file.id, None).await?.bytes, file.len())
            }
            Self::Range(stock) => {
                let file = nth(stock, number)?;
                let (start, len) = range(number as u64, file.len());
                of_length(sender.get(&file.id, Some((start, len))).await?.bytes, len)
            }
            Self::Head(stock) => {
                let file = nth(stock, number)?;
                of_length(sender.head(&file.id).await?, file.len())?;
                Ok((0, None))
            }
            Self::List(files) => {
                let taken = sender.list().await?;
                if taken.entries < *files {
                    return Err(format!("expected at least {files} files, found {}", taken.entries).into());
                }
                Ok((taken.bytes, taken.first))
            }
        }
    }
}

impl Drive {
    pub(crate) fn new(protocol: Protocol, ca: Option<&Path>) -> Outcome<Self> {
        let connector = Connector::new(protocol, ca)?;
        Ok(Self { connector, contents: BTreeMap::new(), stock: BTreeMap::new() })
    }

    /// Makes the server's repository.
    pub(crate) async fn prepare(&self, server: &Server) -> Outcome {
        for mut sender in self.connector.senders(&server.target, 1).await? {
            sender.create().await?;
        }
        Ok(())
    }

    /// Does the work once.
    pub(crate) async fn measure(&mut self, server: &Server, work: &Work) -> Outcome<Spent> {
        let stocked = if work.size == 0 { STOCK_BYTES } else { work.size };
        let job = match work.kind {
            Kind::Idle => return idle(server).await,
            Kind::Hold => return self.hold(server, work).await,
            Kind::Put => Job::Put(self.files(work.size, usize::try_from(work.requests)?)?),
            Kind::Get => Job::Get(self.stock(server, stocked).await?),
            Kind::Range => Job::Range(self.stock(server, stocked).await?),
            Kind::Head => Job::Head(self.stock(server, stocked).await?),
            Kind::List => Job::List(work.size),
        };
        let job = Arc::new(job);
        let spent = self.requests(server, work, &job).await?;
        if let Job::Put(files) = &*job {
            remove(server, files)?;
        }
        Ok(spent)
    }

    /// Sends `work.requests` requests, each sender one after the other.
    async fn requests(&self, server: &Server, work: &Work, job: &Arc<Job>) -> Outcome<Spent> {
        let senders = self.connector.senders(&server.target, work.connections).await?;
        let (next, requests) = (Arc::new(AtomicUsize::new(0)), usize::try_from(work.requests)?);
        let cost = settled(server).await?;
        let started = Instant::now();
        let mut tasks = JoinSet::new();
        for mut sender in senders {
            let (job, next) = (Arc::clone(job), Arc::clone(&next));
            tasks.spawn(async move {
                let mut spent = Spent::default();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= requests {
                        return Outcome::Ok(spent);
                    }
                    let started = Instant::now();
                    let (bytes, first) = job.request(&mut sender, number).await?;
                    spent.requests += 1;
                    spent.bytes += bytes;
                    spent.latencies_ms.push(started.elapsed().as_secs_f64() * 1e3);
                    let first_ms = first.map(|first| first.duration_since(started).as_secs_f64() * 1e3);
                    spent.first_ms = spent.first_ms.or(first_ms);
                }
            });
        }
        let mut all = Spent::default();
        while let Some(done) = tasks.join_next().await {
            let done = done??;
            all.requests += done.requests;
            all.bytes += done.bytes;
            all.latencies_ms.extend(done.latencies_ms);
            all.first_ms = all.first_ms.or(done.first_ms);
        }
        all.seconds = started.elapsed().as_secs_f64();
        cost.note(&mut all)?;
        Ok(all)
    }

    /// Sends the first half of each upload, looks what that takes, and lets the rest follow.
    async fn hold(&mut self, server: &Server, work: &Work) -> Outcome<Spent> {
        let files = self.files(work.size, usize::try_from(work.connections)?)?;
        let senders = self.connector.senders(&server.target, work.connections).await?;
        let cost = settled(server).await?;
        let started = Instant::now();
        let (mut tasks, mut gates) = (JoinSet::new(), Vec::new());
        for (mut sender, file) in senders.into_iter().zip(files.iter().cloned()) {
            let ((reached, until_reached), (opened, open)) = (oneshot::channel(), oneshot::channel());
            gates.push((until_reached, opened));
            tasks.spawn(async move { sender.put(&file, Some(Gate { reached: Some(reached), open })).await });
        }
        let mut to_open = Vec::new();
        for (until_reached, opened) in gates {
            if until_reached.await.is_err() {
                break; // the upload failed, and says why below
            }
            to_open.push(opened);
        }
        tokio::time::sleep(HOLD).await;
        let mut spent = Spent::default();
        cost.note(&mut spent)?;
        drop(to_open);
        while let Some(done) = tasks.join_next().await {
            done??;
            spent.requests += 1;
            spent.bytes += work.size;
        }
        spent.seconds = started.elapsed().as_secs_f64();
        remove(server, &files)?;
        Ok(spent)
    }

    fn files(&mut self, size: u64, count: usize) -> Outcome<Arc<[File]>> {
        let contents = match self.contents.entry(size) {
            Entry::Occupied(made) => made.into_mut(),
            Entry::Vacant(place) => place.insert(Contents::new(size)?),
        };
        Ok((0..count).map(|_| contents.file()).collect())
    }

    /// Files that are on this server, and came back as they were sent.
    async fn stock(&mut self, server: &Server, size: u64) -> Outcome<Arc<[File]>> {
        let key = (server.name.clone(), size);
        if let Some(stock) = self.stock.get(&key) {
            return Ok(Arc::clone(stock));
        }
        let files = self.files(size, STOCK_FILES)?;
        for mut sender in self.connector.senders(&server.target, 1).await? {
            for file in files.iter() {
                sender.put(file, None).await?;
                sender.compare(file).await?;
            }
        }
        self.stock.insert(key, Arc::clone(&files));
        Ok(files)
    }
}

/// Memory of a server that has nothing to do.
async fn idle(server: &Server) -> Outcome<Spent> {
    let cost = settled(server).await?;
    tokio::time::sleep(HOLD).await;
    let mut spent = Spent { seconds: HOLD.as_secs_f64(), ..Spent::default() };
    cost.note(&mut spent)?;
    Ok(spent)
}

/// Watches a server once nothing is left of what was done before.
async fn settled(server: &Server) -> Outcome<Cost> {
    rustix::fs::sync();
    tokio::time::sleep(PAUSE).await;
    Cost::watch(server.pid)
}

fn nth(stock: &[File], number: usize) -> Outcome<&File> {
    stock.get(number % stock.len().max(1)).ok_or_else(|| "no files are in stock".into())
}

fn of_length(found: u64, expected: u64) -> Outcome<Answered> {
    if found == expected {
        return Ok((found, None));
    }
    Err(format!("expected {expected} bytes, found {found}").into())
}

/// Where the range with this number begins, and how long it is: spread evenly, and the same in each run.
fn range(number: u64, size: u64) -> (u64, u64) {
    let spread = |number: u64, over: u64| {
        let golden = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        u64::try_from((u128::from(golden) * u128::from(over)) >> 64).unwrap_or_default()
    };
    let len = RANGE_BYTES.start() + spread(number, RANGE_BYTES.end() - RANGE_BYTES.start());
    let len = len.min(size);
    (spread(number.wrapping_add(1 << 32), size - len + 1), len)
}

#[expect(clippy::disallowed_methods, reason = "the servers cannot, and the disk would fill")]
fn remove(server: &Server, files: &[File]) -> Outcome {
    let Some(data) = &server.data else { return Ok(()) };
    for File { id, .. } in files {
        let path = data.join("data").join(id.get(..2).unwrap_or_default()).join(id);
        std::fs::remove_file(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}
