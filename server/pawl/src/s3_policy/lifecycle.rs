//! The lifecycle configuration: what the store itself removes, and when.
//!
//! Invariant: no rule removes what is visible, but for what probes left; an old version of a file goes when the delay
//! has passed, and not at all where a purger does that.

use serde_json::{Value, json};

use super::Target;

/// Locks come and go; nobody brings one back.
const LOCK_DAYS: u32 = 1;
const PROBE_DAYS: u32 = 1;
/// Pawl makes no multipart uploads, so whatever began one is no upload of a file.
const UPLOAD_DAYS: u32 = 1;

/// As `aws s3api put-bucket-lifecycle-configuration` takes it.
#[must_use]
pub fn configuration(target: &Target) -> Value {
    let start = target.prefix.start();
    let mut rules = vec![
        rule("pawl-old-versions", &start, (!target.with_purger).then_some(target.noncurrent_days)),
        probes(&start),
    ];
    if target.locks_bucket.is_none() {
        for repository in &target.repositories {
            let id = format!("pawl-locks-of-{}", repository.as_str().replace('/', "."));
            rules.push(locks(&id, &format!("{start}{}/locks/", repository.as_str())));
        }
    }
    json!({ "Rules": rules })
}

/// The same for the bucket of locks.
#[must_use]
pub fn of_locks(target: &Target) -> Value {
    json!({ "Rules": [rule("pawl-locks", &target.prefix.start(), Some(LOCK_DAYS))] })
}

/// Old versions after a delay; a marker once it hides nothing; uploads that nobody completes.
fn rule(id: &str, start: &str, noncurrent_days: Option<u32>) -> Value {
    let mut rule = json!({
        "ID": id,
        "Status": "Enabled",
        "Filter": { "Prefix": start },
        "Expiration": { "ExpiredObjectDeleteMarker": true },
        "AbortIncompleteMultipartUpload": { "DaysAfterInitiation": UPLOAD_DAYS },
    });
    if let (Some(days), Some(rule)) = (noncurrent_days, rule.as_object_mut()) {
        rule.insert("NoncurrentVersionExpiration".into(), json!({ "NoncurrentDays": days }));
    }
    rule
}

fn locks(id: &str, start: &str) -> Value {
    json!({
        "ID": id,
        "Status": "Enabled",
        "Filter": { "Prefix": start },
        "NoncurrentVersionExpiration": { "NoncurrentDays": LOCK_DAYS },
    })
}

fn probes(start: &str) -> Value {
    json!({
        "ID": "pawl-probes",
        "Status": "Enabled",
        "Filter": { "Prefix": format!("{start}.pawl-probe/") },
        "Expiration": { "Days": PROBE_DAYS },
        "NoncurrentVersionExpiration": { "NoncurrentDays": PROBE_DAYS },
    })
}
