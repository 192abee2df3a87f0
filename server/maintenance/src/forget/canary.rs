//! A file that every backup must contain unchanged.
//!
//! Invariant: a canary counts as there only if all of its bytes were read and hash to what was given.

use std::io::Read;
use std::process::Stdio;

use pawl_config::retention::CanaryFile;
use pawl_policy::FileId;
use sha2::{Digest, Sha256};

use crate::restic::Address;
use crate::restic::Restic;
use crate::restic::ResticError;

/// A canary is a small file. A thief who puts a large one in its place does not keep maintenance busy with it.
const BYTES_MAX: u64 = 64 << 20;
/// Bytes that are hashed at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// Whether a snapshot holds it; nothing if restic did not bring it, because it is not there or for another reason.
pub(super) async fn is_held(
    restic: &Restic,
    address: &Address<'_>,
    snapshot: &FileId,
    canary: &CanaryFile,
) -> Result<Option<bool>, ResticError> {
    let mut command = restic.command(address);
    command.args(["dump", "--no-lock", &snapshot.to_string(), &canary.path]);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let hashed = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn()?;
        let hashed = child.stdout.take().map(hash).transpose();
        if !matches!(hashed, Ok(Some(Some(_)))) {
            let _ = child.kill(); // it has more than anybody wants to read, or has ended
        }
        let status = child.wait()?;
        Ok((hashed?.flatten(), status))
    });
    let ended = hashed.await.map_err(|error| ResticError::Cut(error.to_string()))?;
    let (hashed, status) = ended.map_err(|cause| restic.no_start(cause))?;
    Ok(status.success().then_some(hashed == Some(canary.sha256)))
}

/// The hash of all there is to read; nothing if it is too much.
fn hash(output: impl Read) -> std::io::Result<Option<FileId>> {
    let mut output = output.take(BYTES_MAX + 1);
    let (mut hash, mut read) = (Sha256::new(), 0);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let len = output.read(&mut chunk)?;
        if len == 0 {
            break;
        }
        hash.update(chunk.get(..len).unwrap_or_default());
        read += len as u64;
    }
    Ok((read <= BYTES_MAX).then(|| FileId::from_sha256(hash.finalize().into())))
}
