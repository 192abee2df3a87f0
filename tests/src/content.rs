//! Content for files: ids, and bytes that look like what restic stores.
//!
//! Invariant: the same seed gives the same bytes, and so the same id.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sha2::{Digest, Sha256};

/// The file id of this content.
#[must_use]
pub fn id_of(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

/// The `Basic` credential of an `Authorization` header.
#[must_use]
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64(format!("{user}:{password}").as_bytes()))
}

/// Standard base64 with padding.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// This many bytes that no compression shortens: SHA-256 of seed and counter.
#[must_use]
pub fn noise(seed: &str, bytes: usize) -> Vec<u8> {
    let mut noise = Vec::with_capacity(bytes + 32);
    for block in 0u64.. {
        if noise.len() >= bytes {
            break;
        }
        noise.extend(Sha256::new().chain_update(seed).chain_update(block.to_le_bytes()).finalize());
    }
    noise.truncate(bytes);
    noise
}

/// A key file as restic writes it. It opens nothing.
#[must_use]
pub fn key_file(seed: &str) -> Vec<u8> {
    json!({
        "created": "2026-01-02T03:04:05.678901234Z",
        "username": "root",
        "hostname": "web1",
        "kdf": "scrypt",
        "N": 32768,
        "r": 8,
        "p": 5,
        "salt": base64(&noise(&format!("salt {seed}"), 64)),
        "data": base64(&noise(&format!("data {seed}"), 176)),
    })
    .to_string()
    .into_bytes()
}
