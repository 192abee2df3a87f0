//! A host that has the repository's password, and writes what restic never would.
//!
//! Invariant: what it writes opens with the repository's key and is named by its content, so that only its meaning is
//! wrong.

#![expect(
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

use aes::cipher::{BlockCipherEncrypt, KeyInit, KeyIvInit, StreamCipher};
use aes::{Aes128, Aes256};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use poly1305::Poly1305;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::clients::Restic;
use crate::content::id_of;
use crate::http::Client;

/// The forger.
#[derive(Debug)]
pub struct Forger {
    client: Client,
    repository: String,
    encrypt: [u8; 32],
    code_key: [u8; 16],
    code_point: [u8; 16],
}

/// A pack that was stored, as an index names it.
#[derive(Debug)]
pub struct Pack {
    /// Its id.
    pub id: String,
    /// Its blobs, as an index lists them.
    pub blobs: Vec<Value>,
}

impl Forger {
    /// Learns the repository's key as any host can, and stores with the host's credential.
    #[must_use]
    pub fn new(restic: &Restic, client: Client, repository: &str) -> Self {
        let key: Value = serde_json::from_str(&restic.succeed(["cat", "masterkey"])).unwrap();
        let bytes = |value: &Value| BASE64_STANDARD.decode(value.as_str().unwrap()).unwrap();
        Self {
            client,
            repository: repository.to_owned(),
            encrypt: bytes(&key["encrypt"]).try_into().unwrap(),
            code_key: bytes(&key["mac"]["k"]).try_into().unwrap(),
            code_point: bytes(&key["mac"]["r"]).try_into().unwrap(),
        }
    }

    /// Encrypts as restic does.
    #[must_use]
    pub fn seal(&self, plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; 16] = Sha256::digest(plain)[..16].try_into().unwrap();
        let mut text = plain.to_vec();
        ctr::Ctr128BE::<Aes256>::new(&self.encrypt.into(), &nonce.into()).apply_keystream(&mut text);
        let mut block = nonce.into();
        Aes128::new(&self.code_key.into()).encrypt_block(&mut block);
        let once: [u8; 32] = [&self.code_point[..], &block[..]].concat().try_into().unwrap();
        let code = Poly1305::new(&once.into()).compute_unpadded(&text);
        [&nonce[..], &text, &code[..]].concat()
    }

    /// Stores a file that opens with the repository's key. Returns `TYPE/ID`.
    pub fn store(&self, file_type: &str, plain: &[u8]) -> String {
        self.store_as_it_is(file_type, &self.seal(plain))
    }

    /// Stores a file. Returns `TYPE/ID`.
    pub fn store_as_it_is(&self, file_type: &str, content: &[u8]) -> String {
        let file = format!("{file_type}/{}", id_of(content));
        let answer = self.client.post(&format!("/{}/{file}", self.repository), content).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        file
    }

    /// Stores a pack with these trees, whatever they say.
    pub fn store_trees(&self, trees: &[&[u8]]) -> Pack {
        let (mut content, mut header, mut blobs) = (Vec::new(), Vec::new(), Vec::new());
        for tree in trees {
            let sealed = self.seal(tree);
            let length = u32::try_from(sealed.len()).unwrap();
            blobs.push(json!({"id": id_of(tree), "type": "tree", "offset": content.len(), "length": length}));
            header.push(1); // a tree that is not compressed
            header.extend(length.to_le_bytes());
            header.extend(Sha256::digest(tree));
            content.extend(sealed);
        }
        let header = self.seal(&header);
        content.extend(&header);
        content.extend(u32::try_from(header.len()).unwrap().to_le_bytes());
        let file = self.store_as_it_is("data", &content);
        Pack { id: file.trim_start_matches("data/").to_owned(), blobs }
    }

    /// Stores an index that names packs and their blobs.
    pub fn store_index(&self, packs: &[(&str, &[Value])]) -> String {
        let packs: Vec<_> = packs.iter().map(|(id, blobs)| json!({"id": id, "blobs": blobs})).collect();
        self.store("index", json!({ "packs": packs }).to_string().as_bytes())
    }

    /// Stores a snapshot of a tree.
    pub fn store_snapshot(&self, tree: &str) -> String {
        let snapshot = json!({
            "time": "2026-11-20T01:02:03.123456789Z", "tree": tree, "paths": ["/"], "hostname": "web1", "username": "root",
        });
        self.store("snapshots", snapshot.to_string().as_bytes())
    }
}
