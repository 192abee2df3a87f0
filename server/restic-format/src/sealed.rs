//! Opens what restic sealed, with the repository's password. The format is in restic's design document: "Unpacked Data
//! Format" and "Keys, Encryption and MAC".
//!
//! Invariant: nothing is decrypted whose authentication code was not right first, and nothing is unpacked beyond a limit.

use std::fmt;
use std::io::Read;

use aes::cipher::{BlockCipherEncrypt, KeyInit, KeyIvInit, StreamCipher};
use aes::{Aes128, Aes256};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use poly1305::Poly1305;
use ruzstd::decoding::StreamingDecoder;
use serde::Deserialize;
use subtle::ConstantTimeEq;

use crate::key;

/// Bytes of the nonce before, and of the authentication code behind what is sealed.
const NONCE_BYTES: usize = 16;
const CODE_BYTES: usize = 16;

/// Memory that the key derivation of restic itself takes at most (it calibrates for 60 MiB), with room to spare.
const DERIVATION_BYTES_MAX: u64 = 512 << 20;
/// Characters of a reason that are told.
const REASON_CHARS_MAX: usize = 200;
/// Work of a key derivation, in the units of its parameters' product: 64 times what restic chooses.
const DERIVATION_WORK_MAX: u64 = 1 << 26;

/// The first byte of what was compressed before it was sealed, where it is not a pack's.
const COMPRESSED: u8 = 2;

/// Why a file is not one of the repository's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotOpened {
    /// It has no room for nonce and code.
    #[error("it is too short to be encrypted")]
    Short,
    /// Somebody without the repository's password wrote it.
    #[error("it is not encrypted with this repository's key")]
    NotAuthentic,
    /// It says that it is compressed, and it is not.
    #[error("it cannot be decompressed")]
    NotCompressed,
    /// More came out than restic ever writes.
    #[error("it is larger than {0} bytes when decompressed")]
    Large(u64),
    /// A key's file of a later restic, or of another client.
    #[error("its key derivation '{0}' is not known")]
    UnknownDerivation(String),
    /// It is no JSON of the kind that is expected there.
    #[error("restic cannot read it: {0}")]
    Malformed(String),
}

impl NotOpened {
    /// Whether a newer restic may have written it.
    #[must_use]
    pub const fn may_be_newer(&self) -> bool {
        matches!(self, Self::Malformed(_))
    }
}

/// What encrypts and authenticates everything in a repository.
pub struct MasterKey {
    encrypt: [u8; 32],
    code_key: [u8; 16],
    code_point: [u8; 16],
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey")
    }
}

impl MasterKey {
    /// Decrypts in place; what is left is the plain text.
    pub fn open(&self, mut sealed: Vec<u8>) -> Result<Vec<u8>, NotOpened> {
        let code_at = sealed.len().checked_sub(CODE_BYTES).filter(|at| *at >= NONCE_BYTES);
        let code = sealed.split_off(code_at.ok_or(NotOpened::Short)?);
        let (nonce, text) = sealed.split_first_chunk_mut::<NONCE_BYTES>().ok_or(NotOpened::Short)?;
        if !bool::from(self.code(*nonce, text).as_slice().ct_eq(&code)) {
            return Err(NotOpened::NotAuthentic);
        }
        ctr::Ctr128BE::<Aes256>::new(&self.encrypt.into(), &(*nonce).into()).apply_keystream(text);
        sealed.drain(..NONCE_BYTES);
        Ok(sealed)
    }

    /// Poly1305-AES over what is encrypted.
    fn code(&self, nonce: [u8; NONCE_BYTES], text: &[u8]) -> [u8; CODE_BYTES] {
        let mut block = nonce.into();
        Aes128::new(&self.code_key.into()).encrypt_block(&mut block);
        let mut once = [0; 32];
        let (point, pad) = once.split_at_mut(CODE_BYTES);
        point.copy_from_slice(&self.code_point);
        pad.copy_from_slice(&block);
        Poly1305::new(&once.into()).compute_unpadded(text).into()
    }
}

/// A file of `keys`, as restic writes it.
#[derive(Debug, Deserialize)]
pub struct KeyFile {
    kdf: String,
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
    salt: String,
    data: String,
}

/// How a key is derived from a password. A later form may have other parameters.
#[derive(Deserialize)]
struct Derivation {
    kdf: String,
}

/// The one derivation of restic.
const SCRYPT: &str = "scrypt";

/// The master key as it lies in a key's file, sealed with what the password becomes.
#[derive(Deserialize)]
struct Kept {
    mac: KeptCode,
    encrypt: String,
}

#[derive(Deserialize)]
struct KeptCode {
    k: String,
    r: String,
}

impl KeyFile {
    /// What restic can work with; a key that is not this makes it fail, or work for hours.
    pub fn parse(content: &[u8]) -> Result<Self, NotOpened> {
        if let Ok(Derivation { kdf }) = serde_json::from_slice(content)
            && kdf != SCRYPT
        {
            return Err(NotOpened::UnknownDerivation(shortened(&kdf)));
        }
        key::check(content).map_err(malformed)?;
        let key: Self = serde_json::from_slice(content).map_err(malformed)?;
        key.sealed()?;
        key.parameters()?;
        Ok(key)
    }

    /// The master key, if this is the password of this key. Takes as long as restic takes.
    pub fn unlock(&self, password: &[u8]) -> Result<Option<MasterKey>, NotOpened> {
        let (salt, sealed) = self.sealed()?;
        let mut derived = [0; 64];
        let done = scrypt::scrypt(password, &salt, &self.parameters()?, &mut derived);
        done.map_err(malformed)?;
        let (encrypt, code) = derived.split_at(32);
        let (code_key, code_point) = code.split_at(16);
        let user = MasterKey {
            encrypt: bytes(encrypt)?,
            code_key: bytes(code_key)?,
            code_point: bytes(code_point)?,
        };
        let kept = match user.open(sealed) {
            Err(NotOpened::NotAuthentic) => return Ok(None),
            kept => kept?,
        };
        let kept: Kept = serde_json::from_slice(&kept).map_err(malformed)?;
        Ok(Some(MasterKey {
            encrypt: bytes(&decoded(&kept.encrypt)?)?,
            code_key: bytes(&decoded(&kept.mac.k)?)?,
            code_point: bytes(&decoded(&kept.mac.r)?)?,
        }))
    }

    fn sealed(&self) -> Result<(Vec<u8>, Vec<u8>), NotOpened> {
        Ok((decoded(&self.salt)?, decoded(&self.data)?))
    }

    fn parameters(&self) -> Result<scrypt::Params, NotOpened> {
        let Self { kdf, n, r, p, .. } = self;
        if kdf != SCRYPT || !n.is_power_of_two() {
            return Err(malformed("its key derivation is not restic's"));
        }
        let block = n.saturating_mul(u64::from(*r));
        let work = block.saturating_mul(u64::from(*p));
        if block.saturating_mul(128) > DERIVATION_BYTES_MAX || work > DERIVATION_WORK_MAX {
            return Err(malformed(format!("its key derivation is made to exhaust: N={n}, r={r}, p={p}")));
        }
        let log_n = u8::try_from(n.ilog2()).map_err(malformed)?;
        scrypt::Params::new(log_n, *r, *p).map_err(malformed)
    }
}

fn decoded(text: &str) -> Result<Vec<u8>, NotOpened> {
    BASE64_STANDARD.decode(text).map_err(malformed)
}

fn bytes<const N: usize>(bytes: &[u8]) -> Result<[u8; N], NotOpened> {
    bytes.try_into().map_err(|_| malformed(format!("expected {N} bytes, found {}", bytes.len())))
}

/// A reason, of some length: a host may have written part of it.
pub fn malformed(why: impl fmt::Display) -> NotOpened {
    NotOpened::Malformed(shortened(&why.to_string()))
}

/// What a stranger wrote, as it can be shown.
fn shortened(text: &str) -> String {
    let cut: String = text.chars().take(REASON_CHARS_MAX).collect();
    let is_cut = cut.len() < text.len();
    cut.escape_debug().to_string() + if is_cut { "…" } else { "" }
}

/// What a file other than a pack holds, from its plain text.
pub fn unpacked(plain: Vec<u8>, bytes_max: u64) -> Result<Vec<u8>, NotOpened> {
    match plain.split_first() {
        Some((&COMPRESSED, compressed)) => decompressed(compressed, bytes_max),
        Some((b'{' | b'[', _)) => Ok(plain),
        _ => Err(malformed("it begins neither as JSON nor as compressed")),
    }
}

/// What was compressed, as long as it is no longer than `bytes_max`.
pub fn decompressed(compressed: &[u8], bytes_max: u64) -> Result<Vec<u8>, NotOpened> {
    let decoder = StreamingDecoder::new(compressed).map_err(|_| NotOpened::NotCompressed)?;
    let mut unpacked = Vec::new();
    let limit = bytes_max.saturating_add(1);
    decoder.take(limit).read_to_end(&mut unpacked).map_err(|_| NotOpened::NotCompressed)?;
    if unpacked.len() as u64 > bytes_max {
        return Err(NotOpened::Large(bytes_max));
    }
    Ok(unpacked)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From "The Poly1305-AES message-authentication code" (Bernstein), appendix B, second vector but one.
    #[test]
    fn the_code_is_poly1305_aes() {
        let key = |hex: &str| <[u8; 16]>::try_from(hex::decode(hex).unwrap()).unwrap();
        let master = MasterKey {
            encrypt: [0; 32],
            code_key: key("ec074c835580741701425b623235add6"),
            code_point: key("851fc40c3467ac0be05cc20404f3f700"),
        };
        let code = master.code(key("fb447350c4e868c52ac3275cf9d4327e"), &hex::decode("f3f6").unwrap());
        assert_eq!(hex::encode(code), "f4c633c3044fc145f84f335cb81953de");
    }

    #[test]
    fn what_was_changed_is_not_opened() {
        let master = MasterKey { encrypt: [1; 32], code_key: [2; 16], code_point: [3; 16] };
        let seal = |text: &[u8]| {
            let mut sealed = [7; NONCE_BYTES].to_vec();
            let mut text = text.to_vec();
            ctr::Ctr128BE::<Aes256>::new(&[1; 32].into(), &[7; 16].into()).apply_keystream(&mut text);
            sealed.extend(&text);
            sealed.extend(master.code([7; NONCE_BYTES], &text));
            sealed
        };
        let sealed = seal(b"{\"time\":1}");
        assert_eq!(master.open(sealed.clone()).unwrap(), b"{\"time\":1}");
        assert_eq!(master.open(seal(b"")).unwrap(), b"");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(master.open(changed), Err(NotOpened::NotAuthentic), "byte {at}");
        }
        for len in 0..NONCE_BYTES + CODE_BYTES {
            assert_eq!(master.open(sealed[..len].to_vec()), Err(NotOpened::Short), "{len} bytes");
        }
        let other = MasterKey { code_point: [4; 16], ..master };
        assert_eq!(other.open(sealed), Err(NotOpened::NotAuthentic));
    }

    #[test]
    fn a_key_that_would_exhaust_restic_is_none() {
        let key = |n: u64, r: u32, p: u32| {
            let (salt, data) = ("A".repeat(86) + "==", "A".repeat(64));
            KeyFile::parse(
                format!(r#"{{"kdf":"scrypt","N":{n},"r":{r},"p":{p},"salt":"{salt}","data":"{data}"}}"#)
                    .as_bytes(),
            )
        };
        assert!(key(32768, 8, 6).is_ok());
        for (n, r, p) in [(1 << 40, 8, 1), (32768, 8, 1 << 20), (32768, 1 << 30, 1), (0, 8, 1), (3, 8, 1)] {
            assert!(matches!(key(n, r, p), Err(NotOpened::Malformed(_))), "{n} {r} {p}");
        }
        assert!(KeyFile::parse(b"{}").is_err());
    }

    #[test]
    fn a_bomb_does_not_explode() {
        // 8 MiB of zeros: frame with one run-length block each 128 KiB.
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58];
        for block in 0..64_u32 {
            let header = (128_u32 << 10 << 3) | (1 << 1) | u32::from(block == 63);
            frame.extend(&header.to_le_bytes()[..3]);
            frame.push(0);
        }
        assert_eq!(decompressed(&frame, 8 << 20).unwrap().len(), 8 << 20);
        assert_eq!(decompressed(&frame, (8 << 20) - 1), Err(NotOpened::Large((8 << 20) - 1)));
        assert_eq!(decompressed(&frame[..20], 8 << 20), Err(NotOpened::NotCompressed));
        assert!(unpacked(b"nonsense".to_vec(), 100).is_err());
    }
}
