//! A disk as power cuts leave it.
//!
//! Invariant: a cut's disk has all that was written before the last flush ahead of the cut; of each sector written since, it
//! has any of the states that it was in.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::tape::{Entry, Position, Tape};
use crate::random::Random;

/// A disk is copied in pieces of this many bytes, where anything was ever written to them.
const PIECE: usize = 64 << 10;

/// How much of what was written since the last flush is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Nothing.
    Nothing,
    /// Every sector of each write with this probability, in 16ths.
    Sixteenths(u64),
    /// All of it.
    All,
}

/// A power cut.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    /// When it comes.
    pub at: Position,
    /// What it leaves of what was not flushed.
    pub kept: Kept,
    /// Chooses the sectors.
    pub seed: u64,
}

/// A recorded disk, of which cuts can be made one after the other, in the order of their positions.
#[derive(Debug)]
pub struct Replay {
    tape: Tape,
    sector: usize,
    flushed: Vec<u8>,
    position: Position,
    written: BTreeSet<usize>,
}

impl Replay {
    /// A replay from the beginning, when the disk was empty and of this size.
    #[must_use]
    pub fn new(tape: &Tape, bytes: usize, sector: usize) -> Self {
        Self { tape: tape.clone(), sector, flushed: vec![0; bytes], position: 0, written: BTreeSet::new() }
    }

    /// Writes a disk into this directory as the cut leaves it. Returns it, and how many sectors were in question.
    pub fn disk(&mut self, cut: Cut, directory: &Path) -> (PathBuf, usize) {
        let flushed = self.tape.flushes(self.position + 1, cut.at).last().copied();
        if let Some(flushed) = flushed {
            self.play_to(flushed);
        }
        self.disk_of(cut, directory)
    }

    /// The same for a disk that forgets this many flushes that it had answered, with all that was written since.
    pub fn forgetful_disk(&mut self, cut: Cut, flushes: usize, directory: &Path) -> PathBuf {
        let answered = self.tape.flushes(self.position + 1, cut.at);
        if let Some(remembered) = answered.iter().rev().nth(flushes) {
            self.play_to(*remembered);
        }
        self.disk_of(Cut { at: self.position, ..cut }, directory).0
    }

    /// From now on all that was written before this is on the disk.
    fn play_to(&mut self, position: Position) {
        for entry in self.tape.between(self.position, position) {
            if let Entry::Write { offset, bytes } = entry {
                self.written.extend(offset / PIECE..=(offset + bytes.len()) / PIECE);
                self.flushed.get_mut(offset..offset + bytes.len()).unwrap().copy_from_slice(&bytes);
            }
        }
        self.position = position;
    }

    fn disk_of(&self, cut: Cut, directory: &Path) -> (PathBuf, usize) {
        let path = directory.join("disk");
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path).unwrap();
        file.set_len(self.flushed.len() as u64).unwrap();
        for piece in &self.written {
            let begin = piece * PIECE;
            let end = (begin + PIECE).min(self.flushed.len());
            file.write_all_at(self.flushed.get(begin..end).unwrap_or_default(), begin as u64).unwrap();
        }
        let mut random = Random::new(cut.seed);
        let mut in_question = 0;
        for entry in self.tape.between(self.position, cut.at) {
            let Entry::Write { offset, bytes } = entry else { continue };
            for (number, sector) in bytes.chunks(self.sector).enumerate() {
                in_question += 1;
                let kept = match cut.kept {
                    Kept::Nothing => false,
                    Kept::Sixteenths(sixteenths) => random.below(16) < sixteenths,
                    Kept::All => true,
                };
                if kept {
                    file.write_all_at(sector, (offset + number * self.sector) as u64).unwrap();
                }
            }
        }
        (path, in_question)
    }
}

#[cfg(test)]
mod tests {
    use super::{Cut, Entry, Kept, Replay, Tape};

    const SECTOR: usize = 4;

    /// Two sectors of 1, flushed, one of 2, flushed, and both of 3.
    fn tape() -> Tape {
        let tape = Tape::new();
        let write = |number: u8, sectors| {
            tape.record(Entry::Write { offset: 0, bytes: vec![number; sectors * SECTOR].into() });
        };
        write(1, 2);
        tape.record(Entry::Flush);
        write(2, 1);
        tape.record(Entry::Flush);
        write(3, 2);
        tape
    }

    /// The first bytes of both sectors.
    fn after(cut: Cut, forgotten: usize) -> [u8; 2] {
        let place = tempfile::tempdir().unwrap();
        let mut replay = Replay::new(&tape(), 2 * SECTOR, SECTOR);
        let disk = match forgotten {
            0 => replay.disk(cut, place.path()).0,
            flushes => replay.forgetful_disk(cut, flushes, place.path()),
        };
        let bytes = std::fs::read(disk).unwrap();
        assert_eq!(bytes.len(), 2 * SECTOR);
        [*bytes.first().unwrap(), *bytes.get(SECTOR).unwrap()]
    }

    #[test]
    fn what_was_flushed_is_there_and_of_the_rest_any_part() {
        let cut = |at, kept| Cut { at, kept, seed: 0 };
        assert_eq!(after(cut(1, Kept::Nothing), 0), [0, 0]);
        assert_eq!(after(cut(2, Kept::Nothing), 0), [1, 1]);
        assert_eq!(after(cut(3, Kept::Nothing), 0), [1, 1]);
        assert_eq!(after(cut(3, Kept::All), 0), [2, 1]);
        assert_eq!(after(cut(5, Kept::Nothing), 0), [2, 1]);
        assert_eq!(after(cut(5, Kept::All), 0), [3, 3]);
        let mut some: Vec<_> =
            (0..100).map(|seed| after(Cut { at: 5, kept: Kept::Sixteenths(8), seed }, 0)).collect();
        some.sort_unstable();
        some.dedup();
        assert_eq!(some, [[2, 1], [2, 3], [3, 1], [3, 3]]);
    }

    #[test]
    fn a_forgetful_disk_is_as_it_was_some_flushes_ago() {
        let cut = Cut { at: 5, kept: Kept::All, seed: 0 };
        assert_eq!(after(cut, 1), [1, 1]);
    }
}
