//! Names of batches, and when a batch may be purged.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use pawl_policy::{Age, BatchId, Clock, DAY_MS, NotPurgeable, purge_permit};

fn batch() -> BatchId {
    "20261121T014500Z-1a2b3c4d".parse().unwrap()
}

const RIPE: Age = Age {
    hidden_ms: DAY_MS,
    now_ms: 15 * DAY_MS,
    days_seen: 7,
    purge_delay_days: 14,
    newest_received_ms: Some(15 * DAY_MS),
    clock: Clock::Synchronised,
};

#[test]
fn a_batch_is_named_in_one_way() {
    assert_eq!(batch().to_string(), "20261121T014500Z-1a2b3c4d");
    assert_eq!(batch().second(), "20261121T014500Z");
    for text in [
        "",
        "20261121T014500Z",
        "20261121T014500Z-1A2B3C4D",
        "20261121T014500Z-1a2b3c4",
        "20261121T014500Z-1a2b3c4d/",
        "../20261121T014500Z-1a2b3",
        "20261121t014500z-1a2b3c4d",
        "2026112\u{e4}T01450Z-1a2b3c4d",
    ] {
        assert!(text.parse::<BatchId>().is_err(), "{text}");
    }
}

#[test]
fn a_batch_that_waited_and_was_seen_is_ripe() {
    assert_eq!(purge_permit(&batch(), &RIPE).unwrap().batch(), &batch());
    let no_delay = Age { hidden_ms: RIPE.now_ms, days_seen: 0, purge_delay_days: 0, ..RIPE };
    assert!(purge_permit(&batch(), &no_delay).is_ok());
}

#[test]
fn each_condition_alone_keeps_a_batch() {
    for (age, expected) in [
        (Age { now_ms: 15 * DAY_MS - 1, ..RIPE }, NotPurgeable::Delay { until_ms: 15 * DAY_MS }),
        (Age { hidden_ms: u64::MAX, ..RIPE }, NotPurgeable::Delay { until_ms: u64::MAX }),
        (Age { days_seen: 6, ..RIPE }, NotPurgeable::Days { seen: 6, needed: 7 }),
        (Age { newest_received_ms: Some(15 * DAY_MS + 1), ..RIPE }, NotPurgeable::Backwards),
        (Age { clock: Clock::Unsynchronised, ..RIPE }, NotPurgeable::Unsynchronised),
        (Age { clock: Clock::Unknown, ..RIPE }, NotPurgeable::Unknown),
    ] {
        assert_eq!(purge_permit(&batch(), &age), Err(expected));
    }
}
