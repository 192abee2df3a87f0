//! The files that restic writes, as `pawl-restic-format` reads them.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::LazyLock;

use pawl_restic_format::id::Id;
use pawl_restic_format::key;
use pawl_restic_format::pack::{self, Entry};
use pawl_restic_format::records::{Blob, BlobKind, Index, Lock, Snapshot, Tree, Written, parsed};
use pawl_restic_format::sealed::{self, KeyFile, MasterKey, NotOpened};
use serde::de::IgnoredAny;
use serde_json::Value;

/// Work of a key derivation that a target does; restic's own would take a second.
const DERIVATION_WORK_MAX: u64 = 1 << 10;
/// Beyond these a key is made to exhaust: bytes, and the product of the parameters.
const EXHAUSTING: (u64, u64) = (512 << 20, 1 << 26);

/// What the frontend accepts as a key, maintenance can open, unless it is made to exhaust; and the other way round.
pub(crate) fn key(input: &[u8]) {
    let parsed = KeyFile::parse(input);
    if key::check(input).is_err() {
        assert!(parsed.is_err(), "maintenance opens what the frontend refuses");
        return;
    }
    let value: Value = serde_json::from_slice(input).unwrap();
    let number = |name: &str| value.get(name).and_then(Value::as_u64).unwrap();
    let block = number("N").saturating_mul(number("r"));
    let work = block.saturating_mul(number("p"));
    if block.saturating_mul(128) > EXHAUSTING.0 || work > EXHAUSTING.1 {
        assert!(parsed.is_err(), "its derivation would exhaust");
        return;
    }
    let key = parsed.unwrap();
    if work <= DERIVATION_WORK_MAX
        && let Some(master) = key.unlock(b"secret").unwrap()
    {
        assert_eq!(master.open(vec![0; 64]), Err(NotOpened::NotAuthentic));
    }
}

pub(crate) fn index(input: &[u8]) {
    let Some(value) = document(input, Index::read) else { return };
    let packs = value.get("packs").unwrap_or(&value);
    assert_no_key_is_taken_for(&value, &["supersedes", "packs"]);
    for pack in packs.as_array().into_iter().flatten() {
        assert_no_key_is_taken_for(pack, &["id", "blobs"]);
        for blob in pack.get("blobs").and_then(Value::as_array).into_iter().flatten() {
            assert_no_key_is_taken_for(blob, &["id", "type", "offset", "length", "uncompressed_length"]);
        }
    }
}

pub(crate) fn snapshot(input: &[u8]) {
    let Some(value) = document(input, Snapshot::read) else { return };
    let fields =
        ["time", "tree", "parent", "original", "paths", "hostname", "username", "uid", "gid", "excludes"];
    assert_no_key_is_taken_for(&value, &fields);
    assert_no_key_is_taken_for(&value, &["tags", "program_version", "summary"]);
    let id = value.get("tree").and_then(Value::as_str).unwrap();
    assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
}

pub(crate) fn lock(input: &[u8]) {
    let Some(value) = document(input, Lock::read) else { return };
    assert_no_key_is_taken_for(&value, &["time", "exclusive", "hostname", "username", "pid", "uid", "gid"]);
    assert!(value.get("exclusive").is_some_and(Value::is_boolean));
}

pub(crate) fn tree(input: &[u8]) {
    let Some(value) = document(input, parsed::<Tree>) else { return };
    for node in value.get("nodes").and_then(Value::as_array).unwrap() {
        let fields = [
            "name",
            "type",
            "subtree",
            "content",
            "mode",
            "mtime",
            "size",
            "linktarget",
            "extended_attributes",
        ];
        assert_no_key_is_taken_for(node, &fields);
        assert!(node.get("name").and_then(Value::as_str).is_some_and(|name| !name.is_empty()));
    }
}

/// Reads a document. One that is read is JSON; written anew, it says what it said. Returns it, if `serde_json` can hold it.
fn document<T: Debug>(input: &[u8], read: fn(&[u8]) -> Result<T, NotOpened>) -> Option<Value> {
    let document = read(input).ok()?;
    serde_json::from_slice::<IgnoredAny>(input).unwrap();
    let value: Value = serde_json::from_slice(input).ok()?; // Go takes half a surrogate, which no text of Rust's holds
    let again = read(&serde_json::to_vec(&value).unwrap()).unwrap();
    assert_eq!(format!("{document:?}"), format!("{again:?}"));
    Some(value)
}

/// No key is one that Go would read as this field, for it heeds no case where no key fits exactly.
fn assert_no_key_is_taken_for(object: &Value, fields: &[&str]) {
    let folded = |key: &str| -> String {
        key.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
    };
    for key in object.as_object().into_iter().flat_map(|object| object.keys()) {
        assert!(
            fields.iter().all(|field| key == field || folded(key) != *field),
            "{key} is taken for a field"
        );
    }
}

/// The entries are those that an index would have of the same pack, and the pack's size follows from them.
pub(crate) fn pack_header(input: &[u8]) {
    let blobs = blobs(input);
    let entries = pack::entries(input);
    assert_eq!(entries, blobs.as_ref().map(|blobs| blobs.iter().map(Entry::from).collect::<HashSet<_>>()));
    let Some(blobs) = blobs else { return };
    // A blob that says that it is compressed to nothing has the longer entry.
    if blobs.iter().all(|blob| blob.uncompressed_length != Some(0)) {
        let content: u64 = blobs.iter().map(|blob| u64::from(blob.length)).sum();
        let sealed = input.len() as u64 + 32 + u64::from(pack::LENGTH_BYTES);
        assert_eq!(pack::size(&blobs.iter().collect::<Vec<_>>()), content + sealed);
    }
}

/// The blobs of a header by restic's design document, read from its end.
fn blobs(header: &[u8]) -> Option<Vec<Blob>> {
    let (mut blobs, mut rest, mut offset) = (Vec::new(), header, 0_u32);
    while let Some(kind) = rest.first() {
        let len = [37, 37, 41, 41].get(usize::from(*kind))?;
        let (entry, behind) = rest.split_at_checked(*len)?;
        let (numbers, id) = entry.split_at_checked(len - 32)?;
        let number = |at: usize| numbers.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
        let length = number(1)?;
        blobs.push(Blob {
            id: Id(id.try_into().ok()?),
            kind: if kind % 2 == 1 { BlobKind::Tree } else { BlobKind::Data },
            offset,
            length,
            uncompressed_length: number(5),
        });
        offset = offset.checked_add(length)?;
        rest = behind;
    }
    Some(blobs)
}

/// The key of the repository in `tests/src/clients`.
static MASTER: LazyLock<MasterKey> = LazyLock::new(|| {
    let key = KeyFile::parse(include_bytes!("../../src/clients/key1.json")).unwrap();
    key.unlock(b"secret").unwrap().unwrap()
});

/// Nothing opens but what was sealed with the key, and that only unchanged.
pub(crate) fn sealed(input: &[u8]) {
    let Ok(plain) = MASTER.open(input.to_vec()) else { return };
    assert_eq!(plain.len() + 32, input.len());
    assert_eq!(
        input,
        include_bytes!("../../src/clients/config"),
        "nobody else sealed anything with this key"
    );
    for at in 0..input.len() {
        let mut changed = input.to_vec();
        *changed.get_mut(at).unwrap() ^= 1;
        assert_eq!(MASTER.open(changed), Err(NotOpened::NotAuthentic), "byte {at}");
    }
}

/// What comes out is never longer than the limit, and no longer than it is when the limit fits exactly.
pub(crate) fn unpacked(input: &[u8]) {
    const BYTES_MAX: u64 = 64 << 10;
    let unpacked = |bytes_max: usize| sealed::unpacked(input.to_vec(), bytes_max as u64);
    let Ok(plain) = sealed::unpacked(input.to_vec(), BYTES_MAX) else { return };
    if input.first() != Some(&2) {
        assert_eq!(plain, input);
        return;
    }
    assert!(plain.len() as u64 <= BYTES_MAX);
    assert_eq!(unpacked(plain.len()).unwrap(), plain);
    if let Some(less) = plain.len().checked_sub(1) {
        assert_eq!(unpacked(less), Err(NotOpened::Large(less as u64)));
    }
}
