//! Each target on its corpus, and on inputs that seeded chance makes of it. `scripts/fuzz` looks further.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use pawl_fuzz::{TARGETS, Target};
use pawl_tests::random::Random;
use rustix::process::{Resource, Rlimit, setrlimit};

/// What all that is mapped may take: an input of a few bytes that makes a parser want more ends the test.
const MEMORY_BYTES_MAX: u64 = 2 << 30;
/// All corpora together, so that everybody can have them.
const CORPORA_BYTES_MAX: u64 = 300 << 10;
/// Bytes at which numbers and texts change their meaning.
const EDGES: &[u8] = b"\0\x01\x7f\x80\xff\n\"\\{}[]:,/%- 0";

/// Whether any thread has.
static HAS_PANICKED: AtomicBool = AtomicBool::new(false);

/// `PAWL_SEED` sets another.
fn seed() -> u64 {
    std::env::var_os("PAWL_SEED").map_or(20_261_130, |seed| seed.to_str().unwrap().parse().unwrap())
}

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The files of a folder, by name.
fn inputs(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut paths: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// An input with a few changes, some of which come from another.
fn changed(corpus: &[(PathBuf, Vec<u8>)], random: &mut Random) -> Vec<u8> {
    let mut below = |end: usize| usize::try_from(random.below(end.max(1) as u64)).unwrap();
    let mut input = corpus[below(corpus.len())].1.clone();
    for _ in 0..=below(4) {
        let (at, len) = (below(input.len()), below(16));
        let part = at..input.len().min(at + len);
        match below(6) {
            0 if at < input.len() => input[at] ^= 1 << below(8),
            1 if at < input.len() => input[at] = EDGES[below(EDGES.len())],
            2 => drop(input.drain(part)),
            3 => drop(input.splice(at..at, input[part].to_vec())),
            4 => input.truncate(at),
            _ => {
                let other = &corpus[below(corpus.len())].1;
                let from = below(other.len());
                input.splice(part, other[from..other.len().min(from + len)].to_vec());
            }
        }
    }
    input
}

fn assert_holds(target: &Target, input: &[u8], origin: &str) {
    let ended = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    // A task of a server may have panicked as well, which ends nothing else.
    let is_well = ended.is_ok() && !HAS_PANICKED.load(Ordering::Relaxed);
    assert!(is_well, "{} does not hold on {origin}: \"{}\"", target.name, input.escape_ascii());
}

fn run(name: &str) {
    let memory = Rlimit { current: Some(MEMORY_BYTES_MAX), maximum: Some(MEMORY_BYTES_MAX) };
    setrlimit(Resource::As, memory).unwrap();
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        HAS_PANICKED.store(true, Ordering::Relaxed);
        print(info);
    }));
    let target = pawl_fuzz::named(name).unwrap();
    let corpus = inputs(&corpora().join(name));
    for (path, input) in &corpus {
        assert_holds(target, input, &path.display().to_string());
    }
    let mut random = Random::new(seed());
    for number in 0..target.by_chance {
        let input = changed(&corpus, &mut random);
        assert_holds(target, &input, &format!("input {number} of PAWL_SEED={}", seed()));
    }
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                run(stringify!($name));
            }
        )*

        #[test]
        fn every_target_has_a_test_and_a_small_corpus() {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
            let folders = corpora().read_dir().unwrap();
            let folders: BTreeSet<_> = folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            assert_eq!(folders, names.iter().map(|name| (*name).to_owned()).collect());
            let sizes = names.iter().flat_map(|name| inputs(&corpora().join(name))).map(|(_, input)| input.len() as u64);
            assert!(sizes.sum::<u64>() <= CORPORA_BYTES_MAX);
        }
    };
}

targets! {
    audit batch checkpoint config facts hosts htpasswd http index keeper keeper_replies key lock names pack_header sealed
    snapshot tree unpacked
}
