//! What is kept with stored files: facts, and the header of a batch.

use std::collections::BTreeMap;
use std::fs::File;

use pawl_keeper::facts::{self, Facts};
use pawl_policy::Audience;
use pawl_store::local::LocalMaintenance;
use pawl_store::maintenance::MaintenanceStore;
use serde_json::Value;

use crate::run;
use crate::scratch::Scratch;

thread_local! {
    static SCRATCH: Scratch = Scratch::new();
}

/// Attributes that a file may have, by the first byte of a line.
const ATTRIBUTES: [&str; 6] = [
    "user.pawl",
    "user.pawl.creator",
    "user.pawl.received",
    "user.pawl.audience",
    "user.pawl.sha256",
    "user.pawl.maintenance",
];
/// What an inode has room for, with some to spare.
const ATTRIBUTES_BYTES_MAX: usize = 1024;

/// Longer values are none of Pawl's, and count as empty.
const VALUE_BYTES_MAX: usize = 128;

/// Attributes, as whoever filled a file may have left them, never make it look younger or show it to more; and none is
/// left when the keeper has written its own.
pub(crate) fn facts(input: &[u8]) {
    if input.len() > ATTRIBUTES_BYTES_MAX {
        return;
    }
    let mut values = BTreeMap::new();
    for line in input.split(|byte| *byte == b'\n') {
        let Some((which, value)) = line.split_first() else { continue };
        if let Some(name) = ATTRIBUTES.get(usize::from(which.wrapping_sub(b'0'))) {
            values.insert(*name, value);
        }
    }
    let file = SCRATCH.with(|scratch| File::open(scratch.write("file", b"")).unwrap());
    for name in ATTRIBUTES {
        match values.get(name) {
            Some(value) => {
                rustix::fs::fsetxattr(&file, name, value, rustix::fs::XattrFlags::empty()).unwrap();
            }
            None => facts::remove(&file, name).unwrap(),
        }
    }
    let Ok(read) = Facts::read(&file) else { return };
    let texts: BTreeMap<_, _> = values
        .iter()
        .map(|(name, value)| match value.len() {
            ..=VALUE_BYTES_MAX => (*name, String::from_utf8_lossy(value)),
            _ => (*name, "".into()),
        })
        .collect();
    let text = |name: &str| texts.get(name).map(AsRef::as_ref);
    let is_for_all = matches!(text("user.pawl.audience"), None | Some("all"));
    assert_eq!(read.audience == Audience::All, is_for_all, "{read:?}");
    // Said in one attribute, nothing counts that the two of earlier versions say.
    let (received, creator) = match text("user.pawl") {
        Some(facts) => {
            let facts = facts.strip_prefix("1 ").unwrap_or_default();
            facts
                .split_once(' ')
                .map_or((Some(facts), None), |(received, creator)| (Some(received), Some(creator)))
        }
        None => (text("user.pawl.received"), text("user.pawl.creator")),
    };
    if let Some(name) = &read.creator {
        assert_eq!(Some(name.as_str()), creator);
    }
    let birth_ms = file.metadata().unwrap().created().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    let received_ms = received.and_then(|text| text.parse().ok());
    assert_eq!(read.received_ms, received_ms.unwrap_or(u64::try_from(birth_ms.as_millis()).unwrap()));

    facts::write(&file, &read).unwrap();
    assert_eq!(Facts::read(&file).unwrap(), read);
    assert_eq!(facts::content_hash(&file).unwrap(), None);
    assert!(!facts::is_of_maintenance(&file).unwrap());
}

const SOUND: &str = r#"{"repository":"web1","principal":"admin","reason":"deleted","began_ms":1}"#;

/// A header is read as JSON reads it, or named as one that cannot be; the batch beside it is there in either case.
pub(crate) fn batch(input: &[u8]) {
    const ID: &str = "20261130T032545Z-6c3065c2";
    let (sound, unsound) = SCRATCH.with(|scratch| {
        scratch.write(&format!(".pawl/deleted/{ID}/batch.json"), input);
        scratch.write(".pawl/deleted/20261130T032611Z-4de4614b/batch.json", SOUND.as_bytes());
        let store = LocalMaintenance::open_for_reading(scratch.path()).unwrap();
        run(async { (store.batches().await.unwrap(), store.unreadable_batches().await.unwrap()) })
    });
    let (this, others): (Vec<_>, Vec<_>) = sound.iter().partition(|batch| batch.id.to_string() == ID);
    assert_eq!(others.len(), 1);
    assert_eq!(this.len() + unsound.len(), 1, "{unsound:?}");
    let Some(batch) = this.first() else { return };
    let value: Value = serde_json::from_slice(input).unwrap();
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    assert_eq!(text("repository"), Some(batch.repository.to_string()));
    assert_eq!(text("principal"), Some(batch.principal.to_string()));
    assert_eq!(value.get("began_ms").and_then(Value::as_u64), Some(batch.began_ms));
}
