//! Whether lines hold each other in place, whatever comes between.

use std::collections::BTreeSet;

use super::*;
use crate::audit::{Broken, Log, verify, verify_past};
use crate::layout;

struct Fixture {
    data: tempfile::TempDir,
    log: AuditLog,
}

fn open(data: &tempfile::TempDir) -> AuditLog {
    AuditLog::open(File::open(data.path()).unwrap(), layout::AUDIT)
}

fn fixture(lines: u64) -> Fixture {
    let data = tempfile::tempdir().unwrap();
    let mut log = open(&data);
    for lines in 0..lines {
        log.append(Event::Lost { lines });
    }
    Fixture { data, log }
}

fn files(data: &tempfile::TempDir) -> Vec<std::path::PathBuf> {
    Log::open(&data.path().join(layout::AUDIT)).unwrap().files().to_vec()
}

fn lines(data: &tempfile::TempDir) -> Result<u64, Broken> {
    verify(&files(data), None, |_| ()).map(|verified| verified.lines)
}

#[test]
fn what_was_written_verifies_across_restarts_and_files() {
    let Fixture { data, mut log } = fixture(3);
    log.bytes = FILE_BYTES_MAX;
    log.append(Event::Started);
    drop(log);
    let mut log = open(&data);
    log.append(Event::Stopped);
    let head = log.head();
    assert_eq!(head.number, 5);
    let files = files(&data);
    assert_eq!(files.len(), 2);
    let verified = verify(&files, Some(&head.hash), |_| ()).unwrap();
    assert_eq!((verified.lines, verified.head), (5, Some(head.hash)));
}

#[test]
fn a_line_that_a_crash_cut_is_left_behind_and_told() {
    let Fixture { data, log } = fixture(3);
    log.file.as_deref().unwrap().write_all(b"{\"number\":4,\"ti").unwrap();
    drop(log);
    let mut log = open(&data);
    log.append(Event::Started);
    assert_eq!(log.head().number, 4);
    let verified = verify(&files(&data), None, |_| ()).unwrap();
    assert_eq!((verified.lines, verified.torn.len()), (4, 1));
}

/// Of what was not synced yet, any sectors can be on disk.
#[test]
#[expect(clippy::disallowed_methods, reason = "stands in for a disk that lost a sector")]
fn a_gap_that_a_crash_left_ends_a_file_whatever_follows_it() {
    for (begin, bytes) in [(0, 1), (7, 40), (7, 3 * LINE_BYTES_MAX)] {
        let Fixture { data, mut log } = fixture(3);
        let (kept, head) = (log.bytes, log.head());
        log.append_all((0..1000).map(|lines| Event::Lost { lines }).collect());
        drop(log);
        let path = files(&data)[0].clone();
        let mut written = std::fs::read(&path).unwrap();
        let gap = usize::try_from(kept + begin).unwrap()..usize::try_from(kept + begin + bytes).unwrap();
        written[gap].fill(GAP);
        std::fs::write(&path, written).unwrap();

        let mut log = open(&data);
        assert_eq!(log.head(), head);
        log.append(Event::Started);
        let verified = verify(&files(&data), Some(&log.head().hash), |_| ()).unwrap();
        assert_eq!((verified.lines, verified.torn.len()), (4, 1));
        let directory = Log::open(&data.path().join(layout::AUDIT)).unwrap();
        let past = verify_past(&directory, &BTreeSet::new(), None, |_, _| ());
        assert!(past.broken.is_none(), "{:?}", past.broken);
        assert_eq!((past.lines, past.head), (4, Some(log.head())));
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "stands in for a disk that lost a sector")]
fn a_gap_that_others_follow_is_a_break() {
    let Fixture { data, mut log } = fixture(3);
    log.bytes = FILE_BYTES_MAX;
    log.append(Event::Started);
    drop(log);
    let path = files(&data)[0].clone();
    let mut written = std::fs::read(&path).unwrap();
    let at = written.len() - 1;
    written[at] = GAP;
    std::fs::write(&path, written).unwrap();
    let found = lines(&data);
    assert!(matches!(found, Err(Broken::Gap { expected: 3, found: 4, .. })), "{found:?}");
}

#[test]
fn a_file_that_holds_nothing_but_a_cut_line_does_not_hide_the_one_before() {
    let Fixture { data, mut log } = fixture(3);
    log.begin_file(4).unwrap();
    log.file.as_deref().unwrap().write_all(b"{\"num").unwrap();
    drop(log);
    let mut log = open(&data);
    log.append(Event::Started);
    drop(log);
    assert_eq!(lines(&data).unwrap(), 4);
}

#[test]
fn a_last_line_that_is_no_record_stops_nothing_and_is_held_in_place() {
    for junk in ["\n", "junk\n", "{\"event\":\"of a later version\"}\n"] {
        let Fixture { data, log } = fixture(3);
        log.file.as_deref().unwrap().write_all(junk.as_bytes()).unwrap();
        drop(log);
        let mut log = open(&data);
        log.append(Event::Started);
        assert_eq!(log.head().number, 5, "{junk:?}");
        assert!(matches!(lines(&data), Err(Broken::NoRecord { line: 4, .. })), "{junk:?}");
    }
}

#[test]
fn lines_are_written_while_earlier_ones_are_brought_to_disk() {
    let Fixture { data, log } = fixture(3);
    let log = Mutex::new(log);
    sync_by(&log, |file| {
        let mut log = log.try_lock().unwrap(); // nobody holds it while the disk is waited for
        log.append(Event::Started);
        file.sync_data()
    })
    .unwrap();
    let mut log = log.into_inner().unwrap();
    assert_eq!((log.synced, log.number), (3, 4), "what came meanwhile may not be on disk");
    log.sync().unwrap();
    assert_eq!((log.synced, lines(&data).unwrap()), (4, 4));
    assert!(log.unsynced().is_none());
}

#[test]
fn a_file_is_on_disk_before_the_next_one_begins_whoever_is_syncing_it() {
    let Fixture { data: _data, log } = fixture(3);
    let log = Mutex::new(log);
    let failed = sync_by(&log, |_| {
        let mut log = log.try_lock().unwrap();
        log.begin_file(4).unwrap();
        assert_eq!(log.synced, 3);
        Err(std::io::Error::other("this disk fails, or is slow"))
    });
    assert!(failed.is_err());
    let log = log.into_inner().unwrap();
    assert!(log.unsynced().is_none(), "there is nothing in the file that was begun");
}

#[test]
fn what_could_not_be_brought_to_disk_is_tried_again() {
    let Fixture { data: _data, log } = fixture(3);
    let log = Mutex::new(log);
    assert!(sync_by(&log, |_| Err(std::io::Error::other("this disk fails"))).is_err());
    assert_eq!(log.into_inner().unwrap().unsynced().map(|(_, number)| number), Some(3));
}

#[test]
fn a_log_that_cannot_be_used_loses_lines_and_nothing_else() {
    let data = tempfile::tempdir().unwrap();
    std::fs::create_dir(data.path().join(".pawl")).unwrap();
    std::os::unix::fs::symlink("/nowhere", data.path().join(".pawl/audit")).unwrap();
    let mut log = open(&data);
    log.append(Event::Started);
    log.append(Event::Stopped);
    assert_eq!((log.lost, log.head().number), (2, 0));
}
