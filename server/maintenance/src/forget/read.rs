//! What there is to be judged: snapshots as restic reads them, with what Pawl knows of each.
//!
//! Invariant: nothing is taken from a snapshot's own summary, which its writer could have made up: what it holds is
//! counted from its trees.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use futures_util::{StreamExt, stream};
use pawl_config::retention::CanaryFile;
use pawl_policy::retention::{Moment, Size, Snapshot};
use pawl_policy::{FileId, FileType, Handle, RepositoryName};
use pawl_store::maintenance::MaintenanceStore;
use serde::Deserialize;

use super::Wanted;
use super::adopted::Adopted;
use super::canary;
use super::listed::{FileIdText, Listed};
use super::state::State;
use crate::restic::Address;
use crate::restic::Restic;
use crate::session::Session;
use crate::{listing, progress};

/// After so many trees what was counted is written down, so that a first run that is cut goes on where it was.
const COUNTED_AT_A_TIME: usize = 50;

/// What `restic stats --json` prints.
#[derive(Debug, Deserialize)]
struct Stats {
    total_size: u64,
    total_file_count: u64,
}

/// Where restic finds the repository, and what is remembered of it.
pub(super) struct Reader<'a> {
    pub(super) session: &'a Session,
    pub(super) wanted: &'a Wanted<'a>,
    pub(super) address: &'a Address<'a>,
    pub(super) state: State,
}

impl Reader<'_> {
    /// Reads all snapshots. Their names say what is in them, so that restic is asked only if there are others than before.
    pub(super) async fn snapshots(&mut self) -> Result<Vec<Snapshot>, Box<dyn Error>> {
        let there = listing::ids(self.session, self.repository(), FileType::Snapshots).await?;
        let there: BTreeSet<FileId> = there.into_iter().collect();
        if self.state.listed.iter().map(Listed::id).collect::<BTreeSet<_>>() != there {
            self.state.listed = self.list().await?;
        }
        let listed = self.state.listed.clone();
        let trees: BTreeMap<&str, FileId> =
            listed.iter().filter_map(|it| Some((it.tree.as_deref()?, it.id.0))).collect();
        let ids: BTreeSet<String> = listed.iter().map(|it| it.id.0.to_string()).collect();
        self.state.retain(&ids, &trees.keys().copied().collect());
        self.count(&trees).await?;
        let adopted = Adopted::load(&self.session.config.data, self.repository())?;
        let mut snapshots = Vec::new();
        for listed in listed {
            snapshots.extend(self.known(listed, &adopted).await?);
        }
        Ok(snapshots)
    }

    async fn list(&self) -> Result<Vec<Listed>, Box<dyn Error>> {
        let args = ["snapshots", "--json", "--no-lock"].map(str::to_owned).to_vec();
        let printed = self.wanted.restic.ask(self.address, args).await?;
        let understood = serde_json::from_str(&printed);
        Ok(understood
            .map_err(|error| format!("restic printed snapshots that cannot be understood: {error}"))?)
    }

    fn repository(&self) -> &RepositoryName {
        self.wanted.repository
    }

    /// Counts what was not counted before.
    async fn count(&mut self, trees: &BTreeMap<&str, FileId>) -> Result<(), Box<dyn Error>> {
        let canaries = &self.wanted.retention.canaries;
        let is_unknown = |tree: &str| {
            let unknown = |canary: &CanaryFile| self.state.holds(tree, &canary.to_string()).is_none();
            self.state.size(tree).is_none() || canaries.iter().any(unknown)
        };
        let unknown: Vec<_> = trees.iter().filter(|(tree, _)| is_unknown(tree)).collect();
        let bar = progress::bar(unknown.len() as u64, "counting");
        let jobs = available_parallelism().map_or(1, NonZeroUsize::get);
        for some in unknown.chunks(COUNTED_AT_A_TIME) {
            let looking = stream::iter(some).map(async |(tree, snapshot)| {
                let tree: &str = tree;
                let looked = look(self.wanted.restic, self.address, snapshot, canaries).await;
                bar.inc(1);
                (tree.to_owned(), looked)
            });
            let looked: Vec<_> = looking.buffer_unordered(jobs).collect().await;
            for (tree, Looked { size, canaries }) in looked {
                for (canary, holds) in canaries {
                    self.state.note_canary(tree.clone(), canary, holds);
                }
                if let Some(size) = size {
                    self.state.note_size(tree, size);
                }
            }
            self.state.save(&self.session.config.data, self.repository())?;
            if self.wanted.restic.stop.why().is_some() {
                return Err("the work was ended while snapshots were counted; what was is remembered".into());
            }
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// A snapshot with all that is known of it; nothing if it is gone by now.
    async fn known(&self, listed: Listed, adopted: &Adopted) -> Result<Option<Snapshot>, Box<dyn Error>> {
        let Listed { id: FileIdText(id), time, tree, hostname, paths, tags } = listed;
        let handle = Handle::File(FileType::Snapshots, id);
        let Some(facts) = self.session.store.facts(self.repository(), &handle).await? else {
            return Ok(None);
        };
        let tree = tree.unwrap_or_default();
        let holds = |canary: &CanaryFile| self.state.holds(&tree, &canary.to_string()) == Some(true);
        Ok(Some(Snapshot {
            id,
            claimed: Moment::parse(&time),
            received_ms: facts.received_ms,
            host: hostname,
            paths: paths.unwrap_or_default(),
            tags: tags.unwrap_or_default(),
            size: self.state.size(&tree),
            lacks_canary: !self.wanted.retention.canaries.iter().all(holds),
            vouched: adopted.vouched(&id),
            brought: facts.creator.is_none(),
            fell_before: self.state.fell.contains(&id.to_string()),
        }))
    }
}

/// What was found in a snapshot's trees.
struct Looked {
    /// Nothing if they cannot be read.
    size: Option<Size>,
    canaries: Vec<(String, bool)>,
}

async fn look(restic: &Restic, address: &Address<'_>, snapshot: &FileId, canaries: &[CanaryFile]) -> Looked {
    let size = match size(restic, address, snapshot).await {
        Ok(size) => size,
        Err(error) => {
            tracing::warn!(%snapshot, %error, "what the snapshot holds cannot be counted");
            return Looked { size: None, canaries: Vec::new() };
        }
    };
    let mut held = Vec::new();
    for canary in canaries {
        match canary::is_held(restic, address, snapshot, canary).await {
            Ok(Some(holds)) => held.push((canary.to_string(), holds)),
            Ok(None) => {}
            Err(error) => tracing::warn!(%snapshot, %error, "the canary cannot be looked up"),
        }
    }
    Looked { size: Some(size), canaries: held }
}

async fn size(restic: &Restic, address: &Address<'_>, snapshot: &FileId) -> Result<Size, Box<dyn Error>> {
    let args = ["stats", "--json", "--no-lock", "--mode", "restore-size", &snapshot.to_string()];
    let printed = restic.ask(address, args.map(str::to_owned).to_vec()).await?;
    let Stats { total_size, total_file_count } = serde_json::from_str(&printed)?;
    Ok(Size { files: total_file_count, bytes: total_size })
}
