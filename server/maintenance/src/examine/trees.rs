//! Whether all that snapshots hold is there: every tree can be read, and every blob that it names is in a pack.
//!
//! Invariant: a tree is bad only if it was read, or certainly is nowhere; a store that does not answer is an error.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use pawl_policy::{FileId, FileType, Handle};
use pawl_restic_format::id::Id;
use pawl_restic_format::node::Kind;
use pawl_restic_format::records::{EMPTIED, Tree, parsed};
use pawl_restic_format::sealed::{MasterKey, NotOpened, decompressed};
use sha2::{Digest, Sha256};

use super::blobs::{Blobs, Located};
use super::{ExamineError, Opener};

/// A tree that is larger is nobody's directory: millions of files in one.
const TREE_BYTES_MAX: u64 = 1 << 30;
/// Trees that lie no further apart than this are read together; reading costs less than asking.
const GAP_BYTES_MAX: u32 = 64 << 10;
/// Bytes that are read together.
const RUN_BYTES_MAX: u32 = 8 << 20;
/// Runs that are read at a time.
const RUNS_AT_A_TIME: usize = 2;
/// Blobs that are nowhere and are remembered, to look for them in packs: 32 bytes each.
const MISSING_MAX: usize = 1 << 18;
/// Places of one tree that are tried: a host can name any number.
const PLACES_TRIED: usize = 8;

/// A tree, by the order in which it was met.
type Number = u32;

/// All trees that were met.
#[derive(Debug, Default)]
struct Met {
    numbers: HashMap<Id, Number>,
    ids: Vec<Id>,
    /// Which tree names which, the one that is named first.
    edges: Vec<(Number, Number)>,
    bad: BTreeMap<Number, Why>,
    emptied: BTreeSet<Number>,
    /// Trees and blobs of data that are nowhere; not all of very many.
    missing: BTreeSet<Id>,
}

/// Why a tree is bad.
#[derive(Debug, Clone)]
pub(super) struct Why {
    pub(super) text: String,
    /// Whether it was read, and a newer restic may understand it.
    pub(super) may_be_newer: bool,
}

impl From<String> for Why {
    fn from(text: String) -> Self {
        Self { text, may_be_newer: false }
    }
}

/// Why a tree, or what is below it, is bad, by the roots that were asked for.
#[derive(Debug, Default)]
pub(super) struct Bad {
    pub(super) roots: BTreeMap<Id, Why>,
    /// Roots that an honest restic wrote, and that not every restic reads. They are nobody's junk either.
    pub(super) emptied: BTreeSet<Id>,
}

/// A walk that can go on from other roots, and reads no tree twice.
pub(super) struct Walk<'a> {
    opener: &'a Opener<'a>,
    blobs: &'a Blobs,
    met: Met,
    /// Packs whose content does not hash to their name. What is bad because of them is damaged, and nobody's junk.
    pub(super) damaged: BTreeSet<FileId>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(opener: &'a Opener<'a>, blobs: &'a Blobs) -> Self {
        Self { opener, blobs, met: Met::default(), damaged: BTreeSet::new() }
    }

    /// Walks from these roots to every tree below.
    pub(super) async fn from(&mut self, roots: &BTreeSet<Id>) -> Result<Bad, ExamineError> {
        let Self { opener, blobs, met, damaged } = self;
        let mut frontier: Vec<_> = roots.iter().filter_map(|root| met.meet(*root)).collect();
        while !frontier.is_empty() {
            let mut next = Vec::new();
            let wanted = met.wanted(blobs, &frontier);
            let mut reading = stream::iter(runs(blobs, wanted))
                .map(|run| read_run(opener, run))
                .buffer_unordered(RUNS_AT_A_TIME);
            // Each is followed as it comes: all of a level at once may be more than there is memory.
            while let Some(trees) = reading.try_next().await? {
                for (number, id, first) in trees {
                    let tree = match first {
                        Ok(tree) => Ok(tree),
                        Err(why) => elsewhere(opener, blobs, id, &why).await?,
                    };
                    match tree {
                        Ok(Found::Tree(tree)) => met.follow(blobs, number, &tree, &mut next),
                        Ok(Found::Emptied) => drop(met.emptied.insert(number)),
                        Err(why) => {
                            met.bad.insert(number, why.why);
                            damaged.extend(damage(opener, &why.packs).await?);
                        }
                    }
                }
            }
            drop(reading);
            frontier = next;
        }
        Ok(met.sorted_out(roots))
    }

    /// What is nowhere, of all that was walked to.
    pub(super) const fn missing(&self) -> &BTreeSet<Id> {
        &self.met.missing
    }
}

/// What a tree turned out to be.
enum Found {
    Tree(Tree),
    /// The one of [`EMPTIED`].
    Emptied,
}

/// Why a tree could not be read, and the packs that were to hold it.
struct Unread {
    why: Why,
    packs: Vec<FileId>,
}

/// Of these packs, those that are not what their names say.
async fn damage(opener: &Opener<'_>, packs: &[FileId]) -> Result<Vec<FileId>, ExamineError> {
    let mut damaged = Vec::new();
    for pack in packs {
        if !opener.is_right(&Handle::File(FileType::Data, *pack)).await? {
            damaged.push(*pack);
        }
    }
    Ok(damaged)
}

impl Met {
    /// Its number, if it is met for the first time.
    fn meet(&mut self, id: Id) -> Option<Number> {
        let number = Number::try_from(self.ids.len()).ok()?;
        if self.numbers.contains_key(&id) {
            return None;
        }
        self.numbers.insert(id, number);
        self.ids.push(id);
        Some(number)
    }

    fn id(&self, number: Number) -> Option<Id> {
        self.ids.get(usize::try_from(number).ok()?).copied()
    }

    /// Where these trees are to be read. One that is nowhere is bad.
    fn wanted(&mut self, blobs: &Blobs, numbers: &[Number]) -> Vec<(Number, Id, Located)> {
        let mut wanted = Vec::new();
        for number in numbers {
            let Some(id) = self.id(*number) else { continue };
            if let Some(place) = blobs.places(&id).next() {
                wanted.push((*number, id, place));
            } else {
                let text = format!("its tree {id} is {}", blobs.nowhere(&id));
                self.bad.insert(*number, text.into());
                self.miss(id);
            }
        }
        wanted
    }

    /// Looks at what a tree names.
    fn follow(&mut self, blobs: &Blobs, number: Number, tree: &Tree, next: &mut Vec<Number>) {
        for node in &tree.nodes {
            match (node.kind, node.subtree) {
                (Kind::Directory, Some(subtree)) => {
                    next.extend(self.meet(subtree));
                    if let Some(child) = self.numbers.get(&subtree) {
                        self.edges.push((*child, number));
                    }
                }
                (Kind::Directory, None) => {
                    self.bad.insert(number, "a directory in it has no tree".to_owned().into());
                }
                (Kind::Other, _) => {}
            }
            for missing in node.content.iter().flatten().filter(|blob| !blobs.has_data(blob)) {
                self.bad.entry(number).or_insert_with(|| {
                    format!("it needs the blob {missing}, which is {}", blobs.nowhere(missing)).into()
                });
                self.miss(*missing);
            }
        }
    }

    fn miss(&mut self, id: Id) {
        if self.missing.len() < MISSING_MAX {
            self.missing.insert(id);
        }
    }

    /// What is to be said of these roots.
    fn sorted_out(&mut self, roots: &BTreeSet<Id>) -> Bad {
        if self.bad.is_empty() && self.emptied.is_empty() {
            return Bad::default();
        }
        self.edges.sort_unstable();
        let bad = self.above(self.bad.iter().map(|(number, why)| (*number, why)));
        let emptied = self.above(self.emptied.iter().map(|number| (*number, ())));
        let why = |root: &Id| Some((*root, (*bad.get(self.numbers.get(root)?)?).clone()));
        let is_emptied = |root: &&Id| self.numbers.get(root).is_some_and(|root| emptied.contains_key(root));
        Bad {
            roots: roots.iter().filter_map(why).collect(),
            emptied: roots.iter().filter(is_emptied).copied().collect(),
        }
    }

    /// These trees, and all that hold them; each with what was said of one below.
    fn above<T: Copy>(&self, these: impl Iterator<Item = (Number, T)>) -> BTreeMap<Number, T> {
        let mut reached: BTreeMap<_, _> = these.collect();
        let mut work: Vec<_> = reached.iter().map(|(number, why)| (*number, *why)).collect();
        while let Some((number, why)) = work.pop() {
            let first = self.edges.partition_point(|(child, _)| *child < number);
            let edges = self.edges.get(first..).unwrap_or_default().iter();
            for (_, parent) in edges.take_while(|(child, _)| *child == number) {
                if !reached.contains_key(parent) {
                    reached.insert(*parent, why);
                    work.push((*parent, why));
                }
            }
        }
        reached
    }
}

/// Trees of one pack that are read together.
struct Run {
    pack: FileId,
    from: u32,
    until: u32,
    trees: Vec<(Number, Id, Located)>,
}

/// Tries the other places that indexes name.
async fn elsewhere(
    opener: &Opener<'_>,
    blobs: &Blobs,
    id: Id,
    why: &NotOpened,
) -> Result<Result<Found, Unread>, ExamineError> {
    let mut packs = BTreeSet::new();
    for place in blobs.places(&id).take(PLACES_TRIED) {
        let Some(pack) = blobs.pack(place) else { continue };
        let pack = FileId::from_sha256(pack.0);
        packs.insert(pack);
        let until = place.offset.saturating_add(place.length);
        let run = Run { pack, from: place.offset, until, trees: vec![(0, id, place)] };
        if let Some((.., Ok(tree))) = read_run(opener, run).await?.pop() {
            return Ok(Ok(tree));
        }
    }
    let text = format!("its tree {id} cannot be read: {why}");
    let why = Why { text, may_be_newer: why.may_be_newer() };
    Ok(Err(Unread { why, packs: packs.into_iter().collect() }))
}

/// Brings together what lies together.
fn runs(blobs: &Blobs, mut wanted: Vec<(Number, Id, Located)>) -> Vec<Run> {
    wanted.sort_unstable_by_key(|(.., place)| (place.pack, place.offset));
    let mut runs: Vec<Run> = Vec::new();
    for (number, id, place) in wanted {
        let Some(pack) = blobs.pack(place) else { continue };
        let pack = FileId::from_sha256(pack.0);
        let until = place.offset.saturating_add(place.length);
        match runs.last_mut() {
            Some(run)
                if run.pack == pack
                    && place.offset.saturating_sub(run.until) <= GAP_BYTES_MAX
                    && until.saturating_sub(run.from) <= RUN_BYTES_MAX =>
            {
                run.until = run.until.max(until);
                run.trees.push((number, id, place));
            }
            _ => runs.push(Run { pack, from: place.offset, until, trees: vec![(number, id, place)] }),
        }
    }
    runs
}

type Read = (Number, Id, Result<Found, NotOpened>);

async fn read_run(opener: &Opener<'_>, run: Run) -> Result<Vec<Read>, ExamineError> {
    if u64::from(run.until.saturating_sub(run.from)) > TREE_BYTES_MAX {
        let large = |(number, id, _)| (number, id, Err(NotOpened::Large(TREE_BYTES_MAX)));
        return Ok(run.trees.into_iter().map(large).collect());
    }
    let bytes = opener.part(run.pack, run.from, run.until).await?;
    let key = Arc::clone(&opener.key);
    let ids: Vec<_> = run.trees.iter().map(|(number, id, _)| (*number, *id)).collect();
    let work = move || {
        let open = |(number, id, place): (Number, Id, Located)| {
            let start = place.offset.saturating_sub(run.from);
            (number, id, opened(&key, &bytes, start, id, place))
        };
        run.trees.into_iter().map(open).collect()
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(read) => Ok(read),
        // What a host wrote brought a decompressor down. It is not worth more than that.
        Err(_) => {
            Ok(ids.into_iter().map(|(number, id)| (number, id, Err(NotOpened::NotCompressed))).collect())
        }
    }
}

fn opened(key: &MasterKey, bytes: &[u8], start: u32, id: Id, place: Located) -> Result<Found, NotOpened> {
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    let len = usize::try_from(place.length).unwrap_or(usize::MAX);
    let sealed = bytes.get(start..).and_then(|rest| rest.get(..len)).ok_or(NotOpened::Short)?;
    let mut content = key.open(sealed.to_vec())?;
    if place.unpacked.is_some() {
        content = decompressed(&content, TREE_BYTES_MAX)?;
    }
    let found: [u8; 32] = Sha256::digest(&content).into();
    if found != id.0 {
        return Err(NotOpened::NotAuthentic);
    }
    if content == EMPTIED {
        return Ok(Found::Emptied);
    }
    parsed(&content).map(Found::Tree)
}
