//! How a staged file gets its name.
//!
//! Invariant: when [`commit`] returns, the file is whole, nobody can write to it, its facts are with it, and file
//! and directory entry are on disk. It never replaces a file.

use std::io::Read;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use pawl_policy::{Audience, Caps, Handle};
use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::facts::Facts;
use super::message::{Refusal, StagingCapabilities};
use super::naming::Naming;
use super::staging::Staged;
use super::tenant::Tenant;
use super::{directory, facts, layout, lease, repository};

/// Stored files can be read by their owner and the group, and written by nobody.
pub const STORED_MODE: Mode = Mode::from_raw_mode(0o440);
/// Keys that are kept from hosts by their owner alone, who in a deployment is not the frontend.
pub const HIDDEN_MODE: Mode = Mode::from_raw_mode(0o400);

/// The mode of a stored file for those who may see it.
#[must_use]
pub const fn mode_for(audience: Audience) -> Mode {
    match audience {
        Audience::All => STORED_MODE,
        Audience::Maintenance => HIDDEN_MODE,
    }
}

/// The keeper's own copy of a writing end is closed just after it was passed on, and a very small upload can be
/// quicker than that: on a busy machine the thread that passed it on may not run again for some time.
const WRITER_TRIES: u32 = 500;
const WRITER_WAIT: Duration = Duration::from_millis(1);

/// Stores a file that [`check_final`] was asked about under its name in its repository, whose directory is open. The
/// outer error says that it was not stored; the inner one, that it has its name, but that not all that belongs to it is
/// certain to be on disk. `count` counts the file and calls what it is given, which links the file to its name.
pub fn commit(
    root: BorrowedFd<'_>,
    staged: &Staged,
    naming: &Naming<'_>,
    count: impl FnOnce(&dyn Fn() -> rustix::io::Result<()>) -> rustix::io::Result<()>,
) -> Result<Result<(), Refusal>, Refusal> {
    // Directories below that of the repository are made as they are needed.
    let directory = directory::open_or_make(root, &layout::within(naming.handle))?;
    let name = layout::file_name(naming.handle);
    if rustix::fs::statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
        return Err(Refusal::NameTaken); // spares the work; the link below is what decides
    }
    seal(staged, naming)?;
    rustix::fs::fsync(staged.file())?; // content, facts and mode, before anybody can see them
    count(&|| staged.publish(&directory, &name))?;
    let settled = rustix::fs::fsync(directory);
    let settled = settled.and_then(|()| repository::note_stored_in(root, naming.handle));
    Ok(settled.map_err(|error| Refusal::Failed(error.to_string())))
}

/// Keeps a file that [`check_final`] was asked about beside the store, for restoration, because the stored copy of that
/// name is damaged. Returns whether it was not kept before.
pub fn rescue(data: BorrowedFd<'_>, staged: &Staged, naming: &Naming<'_>) -> Result<bool, Refusal> {
    let path = layout::rescued_directory(naming.repository, naming.handle);
    let directory = directory::open_or_make(data, &path)?;
    seal(staged, naming)?;
    rustix::fs::fsync(staged.file())?;
    match staged.publish(&directory, &layout::file_name(naming.handle)) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    rustix::fs::fsync(&directory)?;
    Ok(true)
}

/// The frontend filled the file and says that it is done. Believe the kernel instead. Returns how many bytes it has, which
/// from now on stay as many.
pub fn check_final(footing: StagingCapabilities, staged: &Staged) -> Result<u64, Refusal> {
    wait_for_writers(footing, staged)?;
    let stat = rustix::fs::fstat(staged.file())?;
    if !FileType::from_raw_mode(stat.st_mode).is_file() || stat.st_nlink != staged.links_expected() {
        return Err(Refusal::Failed("staged file is not what was handed out".to_owned()));
    }
    u64::try_from(stat.st_size).map_err(|_| Refusal::Failed("staged file has no size".to_owned()))
}

fn wait_for_writers(footing: StagingCapabilities, staged: &Staged) -> Result<(), Refusal> {
    for _ in 0..WRITER_TRIES {
        match lease::writers(staged.file())? {
            lease::Writers::None => return Ok(()),
            lease::Writers::Unknown if !footing.leases => return Ok(()),
            lease::Writers::Unknown => break,
            lease::Writers::Some => std::thread::sleep(WRITER_WAIT),
        }
    }
    Err(Refusal::WriterLeft)
}

fn seal(staged: &Staged, naming: &Naming<'_>) -> Result<(), Refusal> {
    let known = Facts {
        creator: Some(naming.creator.clone()),
        received_ms: facts::now_ms(),
        audience: naming.side.audience(naming.handle),
    };
    facts::write(staged.file(), &known)?;
    if let (Tenant::Maintenance, Handle::File(pawl_policy::FileType::Locks, _)) = (naming.side, naming.handle)
    {
        facts::mark_of_maintenance(staged.file())?;
    }
    finish(staged, naming.handle, known.audience)
}

/// Writes what is known of a file, and closes it for good.
pub fn seal_with(staged: &Staged, handle: &Handle, known: &Facts) -> Result<(), Refusal> {
    facts::write(staged.file(), known)?;
    finish(staged, handle, known.audience)
}

/// Attributes come before the mode: a file that nobody may write to takes none from its owner either.
fn finish(staged: &Staged, handle: &Handle, audience: Audience) -> Result<(), Refusal> {
    if matches!(handle, Handle::Config) {
        facts::write_content_hash(staged.file(), &hash_small(staged)?)?;
    }
    rustix::fs::fchmod(staged.file(), mode_for(audience))?;
    Ok(())
}

fn hash_small(staged: &Staged) -> Result<String, Refusal> {
    let mut content = Vec::new();
    staged.file().take(Caps::IN_MEMORY_BYTES_MAX + 1).read_to_end(&mut content)?;
    if content.len() as u64 > Caps::IN_MEMORY_BYTES_MAX {
        return Err(Refusal::Failed("config is too large".to_owned()));
    }
    Ok(hex::encode(Sha256::digest(&content)))
}

impl From<Errno> for Refusal {
    fn from(error: Errno) -> Self {
        match error {
            Errno::EXIST => Self::NameTaken,
            Errno::NOENT => Self::NotFound,
            Errno::NOSPC | Errno::DQUOT => Self::Full,
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        error.raw_os_error().map_or_else(
            || Self::Failed(error.to_string()),
            |code| Self::from(Errno::from_raw_os_error(code)),
        )
    }
}
