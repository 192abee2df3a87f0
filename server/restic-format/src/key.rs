//! Key files on which restic gives up.
//!
//! Invariant: no key that is accepted here keeps restic from trying the next one.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use crate::go_json::{Object, Time};

/// Why a file is not a key file of restic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a key file: {0}")]
pub struct InvalidKey(&'static str);

/// restic opens every key file until one fits the password, and gives up at the first that is not shaped like
/// this (restic 0.19, `internal/repository/key.go`).
#[derive(Deserialize)]
struct Key {
    #[serde(rename = "created")]
    _created: Option<Time>,
    #[serde(rename = "username")]
    _username: Option<String>,
    #[serde(rename = "hostname")]
    _hostname: Option<String>,
    kdf: String,
    #[serde(rename = "N")]
    n: u64,
    r: u64,
    p: u64,
    salt: String,
    data: String,
}

/// restic refuses parameters that would need more than this much memory for one key derivation.
const SCRYPT_BYTES_MAX: u64 = 1 << 30;

/// Bytes of salt, no more and no fewer (`internal/crypto/kdf.go`).
const SALT_BYTES: usize = 64;

/// Checks that this is a key file on which no restic gives up.
pub fn check(content: &[u8]) -> Result<(), InvalidKey> {
    let no_key = |_| InvalidKey("not the JSON of one");
    let Object = serde_json::from_slice(content).map_err(no_key)?;
    let key: Key = serde_json::from_slice(content).map_err(no_key)?;
    if key.kdf != "scrypt" {
        return Err(InvalidKey("unknown key derivation"));
    }
    let memory = key.n.checked_mul(key.r).and_then(|blocks| blocks.checked_mul(128));
    if !key.n.is_power_of_two() || key.n < 2 || key.r == 0 || key.p == 0 || key.p > 64 {
        return Err(InvalidKey("impossible scrypt parameters"));
    }
    if memory.is_none_or(|bytes| bytes > SCRYPT_BYTES_MAX) {
        return Err(InvalidKey("scrypt parameters that exhaust memory"));
    }
    if decoded_len(&key.salt) != Some(SALT_BYTES) || decoded_len(&key.data).is_none_or(|len| len <= 32) {
        return Err(InvalidKey("no salt or no encrypted key"));
    }
    Ok(())
}

fn decoded_len(base64: &str) -> Option<usize> {
    BASE64_STANDARD.decode(base64).ok().map(|bytes| bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_with_one_fault_on_which_restic_gives_up_is_none() {
        let good = format!(
            r#"{{"created":"2026-01-02T03:04:05.6+01:00","username":"root","hostname":"web1","kdf":"scrypt","N":32768,"r":8,"p":5,"salt":"{}==","data":"{}"}}"#,
            "A".repeat(86),
            "A".repeat(64)
        );
        assert!(check(good.as_bytes()).is_ok());
        for (what, other) in [
            ("2026-01-02T03:04:05.6+01:00", "yesterday"),
            ("2026-01-02T", r"2026\u002d01-02T"),
            (r#""root""#, "7"),
            (r#""kdf""#, r#""KDF":7,"kdf""#),
            (r#""N""#, r#""n":7,"N""#),
            (r#""p":5"#, r#""p":5,"p":5"#),
            ("32768", "32767"),
            ("AAAA==", "=="),
            (r#""salt""#, r#""salz""#),
            (r#""web1""#, r#""web1","more":[[[[1]]]"#),
        ] {
            let bad = good.replacen(what, other, 1);
            assert!(bad != good && check(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(check(br#"["scrypt",32768,8,5,"AAAA","AAAA"]"#).is_err());
        let more = good.replacen(r#""kdf""#, r#""future":{"Any":[1]},"kdf""#, 1);
        assert!(check(more.as_bytes()).is_ok());
    }
}
