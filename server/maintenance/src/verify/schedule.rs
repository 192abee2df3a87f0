//! Which files are read now: those whose turn it is.
//!
//! Invariant: what was read longest ago comes first, so that n runs with a share of 1/n read everything that was there
//! when the first began.

use crate::share::Share;

/// The files of a repository whose ids begin with the same two digits: what is read, and remembered, as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// Which repository, by its place in the run.
    pub(super) repository: usize,
    /// The first byte of the ids.
    pub(super) first: u8,
    pub(super) bytes: u64,
    /// When all of it was last read, in Unix milliseconds.
    pub(super) read_ms: Option<u64>,
    /// The same, or if it never was, when there was something to read first.
    pub(super) since_ms: Option<u64>,
}

/// The parts that this run has to read: the share, those that were read longest ago first, and all that were not read
/// since `late_ms`. What was read since `begun_ms` was read by an earlier attempt at the same run.
pub(super) fn whose_turn(
    mut parts: Vec<Part>,
    share: Share,
    begun_ms: u64,
    late_ms: Option<u64>,
) -> Vec<Part> {
    let total = parts.iter().map(|part| part.bytes).sum();
    let is_done = |part: &Part| part.read_ms.is_some_and(|read_ms| read_ms >= begun_ms);
    let done: u64 = parts.iter().filter(|part| is_done(part)).map(|part| part.bytes).sum();
    let mut left = share.bytes_of(total).saturating_sub(done);
    parts.retain(|part| !is_done(part));
    parts.sort_by_key(|part| (part.read_ms, part.repository, part.first));
    parts.retain(|part| {
        let is_late = late_ms.is_some_and(|late_ms| part.since_ms.is_some_and(|since_ms| since_ms < late_ms));
        let wanted = left > 0 || part.bytes == 0 || is_late;
        left = left.saturating_sub(if wanted { part.bytes } else { 0 });
        wanted
    });
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(count: u8, bytes: u64) -> Vec<Part> {
        (0..count).map(|first| Part { repository: 0, first, bytes, read_ms: None, since_ms: None }).collect()
    }

    fn mark(all: &mut [Part], read: &[Part], now_ms: u64) {
        for part in all {
            if read.iter().any(|read| read.first == part.first) {
                (part.read_ms, part.since_ms) = (Some(now_ms), Some(now_ms));
            }
        }
    }

    #[test]
    fn seven_runs_of_a_seventh_read_everything_whatever_is_added_meanwhile() {
        let mut all = parts(255, 1000);
        for day in 1..=7 {
            let turn = whose_turn(all.clone(), Share::one_of(7), day * 100, None);
            assert!(turn.len() <= 255 / 7 + 2, "{}", turn.len());
            mark(&mut all, &turn, day * 100);
            for part in &mut all {
                part.bytes += 7;
            }
        }
        assert!(all.iter().all(|part| part.read_ms.is_some()));
    }

    /// Its nights are off two of seven, or any one in a while, and each begins at another minute.
    #[test]
    fn a_machine_that_is_off_now_and_then_is_never_behind_after_a_run() {
        const HOUR: u64 = 3600;
        let is_off: [fn(u64) -> bool; 3] = [|day| day % 7 > 4, |day| day % 10 == 9, |day| day % 30 > 15];
        for is_off in is_off {
            let mut all = parts(255, 1000);
            for part in &mut all {
                part.since_ms = Some(0);
            }
            for day in (1..200_u64).filter(|day| !is_off(*day)) {
                let now = day * 24 * HOUR + day * 7919 % HOUR;
                let late = now.saturating_sub(7 * 24 * HOUR - 12 * HOUR);
                let turn = whose_turn(all.clone(), Share::one_of(7), now, Some(late));
                mark(&mut all, &turn, now);
                let oldest = all.iter().filter_map(|part| part.since_ms).min().unwrap();
                assert!(now - oldest <= 7 * 24 * HOUR, "day {day}");
            }
        }
        // And no night of a machine that is always on reads more than its share.
        let mut all = parts(255, 1000);
        for day in 1..60 {
            let now = day * 24 * HOUR + day * 7919 % HOUR;
            let turn = whose_turn(all.clone(), Share::one_of(7), now, Some(now.saturating_sub(156 * HOUR)));
            assert!(turn.len() <= 255 / 7 + 2, "day {day}: {}", turn.len());
            mark(&mut all, &turn, now);
        }
    }

    #[test]
    fn what_was_read_longest_ago_is_first() {
        let mut all = parts(4, 10);
        for (part, read_ms) in all.iter_mut().zip([Some(30), Some(10), None, Some(20)]) {
            part.read_ms = read_ms;
        }
        let turn = whose_turn(all, "3/4".parse().unwrap(), 100, None);
        assert_eq!(turn.iter().map(|part| part.first).collect::<Vec<_>>(), [2, 1, 3]);
    }

    #[test]
    fn a_run_that_was_cut_goes_on_where_it_was() {
        let mut all = parts(10, 10);
        let first = whose_turn(all.clone(), "1/2".parse().unwrap(), 100, None);
        assert_eq!(first.len(), 5);
        mark(&mut all, &first[..3], 101);
        let rest = whose_turn(all.clone(), "1/2".parse().unwrap(), 100, None);
        assert_eq!(rest, first[3..]);
        assert_eq!(whose_turn(all, Share::ALL, 100, None).len(), 7);
    }

    #[test]
    fn a_share_is_a_part_of_the_whole() {
        for wrong in ["", "7", "0/7", "8/7", "1/0", "-1/7", "1/7/2", "1/100000"] {
            assert!(wrong.parse::<Share>().is_err(), "{wrong}");
        }
        assert_eq!("2/7".parse::<Share>().unwrap().to_string(), "2/7");
        assert_eq!(Share::one_of(3).bytes_of(10), 4);
    }
}
