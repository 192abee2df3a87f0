//! The audit log, and the checkpoint of what was archived of it.

use std::collections::BTreeSet;

use pawl_keeper::audit::{Checkpoint, Line, Log, each_record, verify_past, verify_whole};

use crate::scratch::Scratch;

thread_local! {
    static SCRATCH: Scratch = Scratch::new();
}

const FILE: &str = "0000000000000001.jsonl";

/// A log without a break is told the same in each way of reading it, and a byte that is changed in it shows; one that is zeroed ends the file there.
pub(crate) fn log(input: &[u8]) {
    SCRATCH.with(|scratch| {
        scratch.write(FILE, input);
        let whole = read_whole(scratch);
        let log = Log::open(scratch.path()).unwrap();
        let mut told = Vec::new();
        let past = verify_past(&log, &BTreeSet::new(), None, |line, _| told.push(line));
        let Ok(lines) = whole else {
            assert!(past.broken.is_some());
            return;
        };
        assert!(past.broken.is_none() && past.breaks.is_empty());
        assert_eq!(told, lines);
        let mut each = Vec::new();
        let _ = each_record(&log.files, |line| each.push(line));
        assert!(each.starts_with(&lines), "what a crash left may follow");
        for line in &lines {
            let text = serde_json::to_string(line).unwrap();
            assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), *line);
        }
        let Some(last) = lines.len().checked_sub(1).filter(|last| *last > 0) else { return };
        // The last record holds those before it in place.
        let ends: Vec<_> =
            input.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
        let at =
            input.iter().fold(7, |sum: usize, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
        let at = at % ends.get(last - 1).unwrap();
        let mut changed = input.to_vec();
        *changed.get_mut(at).unwrap() ^= 1;
        scratch.write(FILE, &changed);
        assert!(read_whole(scratch).is_err(), "byte {at} was changed, and the log is as good as before");
    });
}

fn read_whole(scratch: &Scratch) -> Result<Vec<Line>, pawl_keeper::audit::Broken> {
    let mut lines = Vec::new();
    let verified = verify_whole(&Log::open(scratch.path()).unwrap(), None, |_, line, _| lines.push(line))?;
    assert_eq!(verified.lines, lines.len() as u64);
    Ok(lines)
}

/// A checkpoint that is written anew says what it said.
pub(crate) fn checkpoint(input: &[u8]) {
    SCRATCH.with(|scratch| {
        scratch.write("checkpoint.json", input);
        let Ok(read) = Checkpoint::read(scratch.path()) else { return };
        let read = read.unwrap();
        let text = serde_json::to_vec(&read).unwrap();
        scratch.write("checkpoint.json", &text);
        assert_eq!(Checkpoint::read(scratch.path()).unwrap(), Some(read));
    });
}
