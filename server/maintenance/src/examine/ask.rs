//! Asks the user's restic about files that open with the repository's key, and that Pawl does not understand.
//!
//! Invariant: what that restic reads is nobody's junk: one that is newer than Pawl may have written it. It is asked about one
//! file at a time, at a server that shows no other index which Pawl does not understand.

use std::collections::BTreeSet;

use pawl_policy::{FileId, FileType, Handle};

use super::{ExamineError, Examined, Junk, Opener};
use crate::restic::Restic;
use crate::restic::{ResticError, Version};
use crate::server::PrivateServer;

/// Files that restic is asked about at most. More stay only if it reads all of these: a thief could put one that restic reads
/// before any number that it does not.
const ASKED_MAX: usize = 20;

impl Opener<'_> {
    /// Takes those for junk that the user's restic does not read either. Returns whether it reads any.
    pub(super) async fn sort_out(
        &self,
        not_understood: Vec<(Handle, String)>,
        examined: &mut Examined,
    ) -> Result<bool, ExamineError> {
        if not_understood.is_empty() {
            return Ok(false);
        }
        let files = not_understood.iter().map(|(handle, _)| handle);
        let files = files.chain(examined.junk.iter().map(|junk| &junk.handle));
        let in_the_way: BTreeSet<FileId> = files.filter_map(index_id).collect();
        let restic = self.restic;
        let version = Version::of(restic.program()).map_err(ExamineError::Other)?;
        let other = |error: Box<dyn std::error::Error>| ExamineError::Other(error.to_string());
        let door = PrivateServer::open(self.session, self.repository, version).await.map_err(other)?;
        let mut reads = Vec::new();
        for (handle, _) in not_understood.iter().take(ASKED_MAX) {
            let hidden = in_the_way.iter().filter(|id| index_id(handle) != Some(**id)).copied().collect();
            self.session.sight.hide_indexes(self.repository, hidden);
            let read = reads_it(restic, &door, handle).await;
            self.session.sight.hide_indexes(self.repository, BTreeSet::new());
            reads.push(read.map_err(|error| ExamineError::Other(error.to_string()))?);
        }
        door.close().await.map_err(other)?;
        let (reads_any, reads_all) = (reads.contains(&true), !reads.contains(&false));
        let answers = reads.into_iter().chain(std::iter::repeat(reads_all));
        for ((handle, why), reads) in not_understood.into_iter().zip(answers) {
            if reads {
                examined.noticed.push(format!(
                    "{handle} is of a form that this Pawl does not understand ({why}), and {} {version} reads it: \
                     a newer Pawl is needed to look at it",
                    restic.program().display()
                ));
            } else {
                examined.junk.push(Junk { handle, creator: None, reason: why });
            }
        }
        Ok(reads_any)
    }
}

fn index_id(handle: &Handle) -> Option<FileId> {
    match *handle {
        Handle::File(FileType::Index, id) => Some(id),
        _ => None,
    }
}

/// Whether restic reads a file, and all directories below a snapshot.
async fn reads_it(restic: &Restic, door: &PrivateServer<'_>, handle: &Handle) -> Result<bool, ResticError> {
    let args = match handle {
        Handle::File(FileType::Index, _) => vec!["list".to_owned(), "blobs".to_owned()],
        Handle::File(FileType::Snapshots, id) => vec!["ls".to_owned(), id.to_string()],
        Handle::File(FileType::Locks, id) => vec!["cat".to_owned(), "lock".to_owned(), id.to_string()],
        _ => return Ok(false),
    };
    let args = args.into_iter().chain(["--no-lock".to_owned()]).collect();
    match restic.succeeds(&door.address(), args).await {
        Ok(()) => Ok(true),
        Err(ResticError::Failed { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
