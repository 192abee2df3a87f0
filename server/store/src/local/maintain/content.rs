//! Whether a copy on the disk is what its name says.
//!
//! Invariant: what the disk cannot give back is wrong, and any other failure is one.

use std::fs::File;

use pawl_keeper::facts;
use pawl_policy::{Caps, Handle};
use rustix::io::Errno;

use crate::StoreError;
use crate::local::create::hash;

/// Whether the content is what the name says; of a `config`, what was recorded of it, if anything was.
pub(super) fn is_right(file: &File, handle: &Handle) -> Result<bool, StoreError> {
    let expected = match handle {
        Handle::File(_, id) => Some(id.to_string()),
        Handle::Config => facts::content_hash(file)?,
    };
    match hash(file) {
        Ok(found) => {
            let is_small = file.metadata()?.len() <= Caps::IN_MEMORY_BYTES_MAX;
            Ok(expected.map_or(is_small, |expected| expected == found.to_string()))
        }
        // The disk itself says that it cannot give the bytes back.
        Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
