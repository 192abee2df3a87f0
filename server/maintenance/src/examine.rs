//! Opens what is new in a repository as restic would, and hides what restic would choke on.
//!
//! Invariant: a file is junk only if its content is what its name says and restic nevertheless could not use it: damage
//! is nobody's junk, and neither is what could not be read. Everything that is hidden can be brought back.

mod ask;
mod blobs;
mod hide;
mod index;
mod lost_index;
mod password;
mod past;
mod snapshots;
pub(super) mod state;
mod trees;

use std::collections::BTreeSet;
use std::sync::Arc;

use pawl_config::files::FileError;
use pawl_config::hint;
use pawl_config::pace::Pace;
use pawl_policy::{BatchId, FileId, FileType, Handle, RepositoryName};
use pawl_restic_format::records::{Lock, Written};
pub(super) use pawl_restic_format::sealed::MasterKey;
use pawl_restic_format::sealed::{KeyFile, NotOpened};
use pawl_store::maintenance::{MaintenanceStore, Place};
use pawl_store::{AppendStore, Span, StoreError, StoredFile};
use serde::Serialize;

use super::listing;
use super::session::{self, Session};
use crate::restic::Restic;
use crate::sealed_files::{Opened, content, header_of_pack, is_named, open, whole};
use state::{Growing, State};

/// Why nothing could be said.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExamineError {
    /// The store did not answer.
    #[error("the repository cannot be looked at: {0}")]
    Store(#[from] StoreError),
    /// What is remembered cannot be read or written.
    #[error(transparent)]
    State(#[from] FileError),
    /// No key fits.
    #[error(
        "the password opens none of the {0} keys of this repository; expected the management password, whose key `{enroll}` \
         adds",
        enroll = hint::pawl("maintain enroll NAME")
    )]
    Password(usize),
    /// The key is not that of this repository.
    #[error(
        "the password opens key {0}, and that key does not open the repository's config: one of them is not the right one; \
         look at `{list}`, and at what `{verify}` says of config",
        list = hint::pawl("maintain key list REPOSITORY"),
        verify = hint::pawl("maintain verify")
    )]
    OtherKey(FileId),
    /// Too much is junk to be true.
    #[error(
        "{junk} of {all} snapshots cannot be read, or refer to what is not there; nothing was hidden, because that looks like \
         a loss, or a client that Pawl does not know: run `{verify}`, then `restic check`",
        verify = hint::pawl("maintain verify --all")
    )]
    Loss {
        /// Snapshots that cannot be used.
        junk: usize,
        /// Snapshots in all.
        all: usize,
    },
    /// Something that cannot be.
    #[error("{0}")]
    Other(String),
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Examined {
    /// Files that were opened.
    pub(super) opened: u64,
    /// Files that restic cannot use, which are hidden now.
    pub(super) junk: Vec<Junk>,
    /// What to undo; nothing if only locks were junk, or nothing was.
    pub(super) batch: Option<String>,
    /// What else somebody should know, a sentence each.
    pub(super) noticed: Vec<String>,
    /// What was there and is not, and which snapshots need it, a sentence each.
    pub(super) lost: Vec<String>,
    /// Files that open with the key, and that restic cannot read.
    #[serde(skip)]
    malformed: usize,
    /// What opens with the key, that restic is still to be asked about, and why Pawl cannot read them.
    #[serde(skip)]
    not_understood: Vec<(Handle, String)>,
}

impl Examined {
    /// Takes a file for junk, unless a newer restic may have written it.
    fn note_unread(&mut self, handle: Handle, why: &NotOpened) {
        let is_asked_about =
            matches!(handle.file_type(), Some(FileType::Index | FileType::Snapshots | FileType::Locks));
        if is_asked_about && why.may_be_newer() {
            self.not_understood.push((handle, why.to_string()));
        } else {
            self.junk.push(Junk { handle, creator: None, reason: why.to_string() });
        }
    }
}

/// A file that restic cannot use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Junk {
    #[serde(serialize_with = "as_text")]
    pub(super) handle: Handle,
    /// Who stored it, if that is known.
    pub(super) creator: Option<String>,
    pub(super) reason: String,
}

fn as_text<S: serde::Serializer>(handle: &Handle, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(handle)
}

/// Opens what is new in a repository, and hides what is junk. `note` writes down into which batch before the first file goes.
pub(super) async fn examine(
    session: &Session,
    repository: &RepositoryName,
    restic: &Restic,
    password: &[u8],
    note: impl FnMut(&BatchId) -> Result<(), FileError> + Send,
) -> Result<Examined, ExamineError> {
    let data = &session.config.data;
    let mut growing = Growing::load(data, repository)?;
    let mut examined = Examined::default();
    let key = unlock(session, repository, password, &mut growing, &mut examined).await?;
    let opener = Opener { session, repository, restic, key: Arc::new(key) };
    let good = opener.look(&mut growing, &mut examined).await?;
    let is_lost = !examined.lost.is_empty();
    if !examined.junk.is_empty() {
        examined.batch = hide::hide(session, repository, &mut examined.junk, note).await?;
    }
    growing.finish(good, is_lost)?;
    Ok(examined)
}

/// Finds the key that the password opens, and looks at the others.
async fn unlock(
    session: &Session,
    repository: &RepositoryName,
    password: &[u8],
    growing: &mut Growing<'_>,
    examined: &mut Examined,
) -> Result<MasterKey, ExamineError> {
    let mut keys = listing::ids(session, repository, FileType::Keys).await?;
    keys.sort_by_key(|id| growing.state().key.as_ref() != Some(&id.to_string()));
    let mut found = None;
    for id in &keys {
        let handle = Handle::File(FileType::Keys, *id);
        let Some(content) = content(&session.store, repository, &handle, &Place::Current).await? else {
            continue;
        };
        let key = match KeyFile::parse(&content) {
            Ok(key) => key,
            Err(_) if !is_named(&content, id) => {
                examined.noticed.push(damaged(&handle));
                continue;
            }
            Err(NotOpened::UnknownDerivation(kdf)) => {
                examined.noticed.push(unknown_key(repository, &handle, &kdf));
                continue;
            }
            Err(why) => {
                examined.junk.push(Junk { handle, creator: None, reason: why.to_string() });
                continue;
            }
        };
        if found.is_some() {
            continue;
        }
        found = unlocked(key, password).await.map(|master| (*id, master));
    }
    let (id, master) = found.ok_or(ExamineError::Password(keys.len()))?;
    check_key(session, repository, id, &master).await?;
    growing.set_key(id.to_string());
    let state = growing.state();
    let is_junk = |handle: &Handle| examined.junk.iter().any(|junk| junk.handle == *handle);
    let keys = keys.into_iter().map(|id| Handle::File(FileType::Keys, id));
    let keys: Vec<_> = keys.filter(|handle| !is_junk(handle)).collect();
    for handle in keys.iter().filter(|handle| state.knows_keys() && !state.is_good(handle)) {
        let creator = session.files.facts(repository, handle).await?.and_then(|facts| facts.creator);
        let creator = creator.map_or("somebody".to_owned(), |name| name.to_string());
        examined
            .noticed
            .push(format!("{handle} is new, from {creator}: one more password opens the repository"));
    }
    Ok(master)
}

fn unknown_key(repository: &RepositoryName, handle: &Handle, kdf: &str) -> String {
    let delete = hint::pawl(format!("maintain delete {repository} {handle}"));
    format!(
        "{handle} derives its key by '{kdf}', which this Pawl does not know; restic may stop at it. Use a newer \
         Pawl, or `{delete}` if nobody needs that key"
    )
}

/// The master key, if this is the password of this key.
async fn unlocked(key: KeyFile, password: &[u8]) -> Option<MasterKey> {
    let password = password.to_owned();
    tokio::task::spawn_blocking(move || key.unlock(&password)).await.ok()?.ok()?
}

/// Whether a master key is that of this repository.
async fn check_key(
    session: &Session,
    repository: &RepositoryName,
    id: FileId,
    master: &MasterKey,
) -> Result<(), ExamineError> {
    let config = content(&session.store, repository, &Handle::Config, &Place::Current).await?;
    if config.is_none_or(|config| master.open(config).is_err()) {
        return Err(ExamineError::OtherKey(id));
    }
    Ok(())
}

/// The master key of a repository that was examined before.
pub(super) async fn master_key(
    session: &Session,
    repository: &RepositoryName,
    password: &[u8],
) -> Result<MasterKey, ExamineError> {
    let known = State::load(&session.config.data, repository)?.key;
    let mut keys = listing::ids(session, repository, FileType::Keys).await?;
    keys.sort_by_key(|id| known.as_ref() != Some(&id.to_string()));
    for id in &keys {
        let handle = Handle::File(FileType::Keys, *id);
        let Some(content) = content(&session.store, repository, &handle, &Place::Current).await? else {
            continue;
        };
        let Ok(key) = KeyFile::parse(&content) else { continue };
        if let Some(master) = unlocked(key, password).await {
            check_key(session, repository, *id, &master).await?;
            return Ok(master);
        }
    }
    Err(ExamineError::Password(keys.len()))
}

/// Reads files of a repository, and opens them.
pub(super) struct Opener<'a> {
    session: &'a Session,
    repository: &'a RepositoryName,
    restic: &'a Restic,
    key: Arc<MasterKey>,
}

impl Opener<'_> {
    /// Looks at everything in the order in which nothing that is added meanwhile is missed: what needs others first. Returns
    /// what is good.
    async fn look(
        &self,
        growing: &mut Growing<'_>,
        examined: &mut Examined,
    ) -> Result<BTreeSet<Handle>, ExamineError> {
        let of = async |file_type| {
            let ids = listing::ids(self.session, self.repository, file_type).await;
            ids.map(|ids| ids.into_iter().map(move |id| Handle::File(file_type, id)))
        };
        let mut good: BTreeSet<Handle> = of(FileType::Keys).await?.collect();
        for lock in of(FileType::Locks).await? {
            self.sort::<Lock>(lock, examined).await?;
        }
        let not_understood = std::mem::take(&mut examined.not_understood);
        self.sort_out(not_understood, examined).await?;
        let (known, new): (Vec<_>, Vec<_>) =
            of(FileType::Snapshots).await?.partition(|handle| growing.state().is_good(handle));
        let all = known.len() + new.len();
        good.extend(known);
        let indexes = listing::ids(self.session, self.repository, FileType::Index).await?;
        let read_all = !new.is_empty() || growing.state().has_lost();
        let indexes = index::read(self, indexes, growing, read_all, examined).await?;
        good.extend(indexes.good.iter().copied());
        good.extend(snapshots::judge(self, (new, all), &indexes, growing, examined).await?);
        good.retain(|handle| examined.junk.iter().all(|junk| junk.handle != *handle));
        Ok(good)
    }

    /// Opens a file; if it is junk, notes that.
    async fn sort<T: Written + Send + 'static>(
        &self,
        handle: Handle,
        examined: &mut Examined,
    ) -> Result<Option<T>, ExamineError> {
        examined.opened += 1;
        match self.open(&handle).await? {
            Opened::Good(found) => return Ok(Some(found)),
            Opened::Junk(why) => {
                examined.malformed += usize::from(matches!(why, NotOpened::Malformed(_)));
                examined.note_unread(handle, &why);
            }
            Opened::Damaged => examined.noticed.push(damaged(&handle)),
            Opened::Gone => examined.opened -= 1,
        }
        Ok(None)
    }

    async fn open<T: Written + Send + 'static>(&self, handle: &Handle) -> Result<Opened<T>, ExamineError> {
        let Handle::File(_, id) = *handle else {
            return Err(ExamineError::Other("a config is not opened like a file".to_owned()));
        };
        Ok(open(&self.session.store, self.repository, &self.key, (handle, id), &Place::Current).await?)
    }

    /// Bytes of a pack, fewer if it ends before.
    async fn part(&self, pack: FileId, from: u32, until: u32) -> Result<Vec<u8>, ExamineError> {
        let handle = Handle::File(FileType::Data, pack);
        let file = self.session.store.open_version(self.repository, &handle, &Place::Current).await?;
        let start = u64::from(from).min(file.size());
        let span = Span { start, len: u64::from(until).min(file.size()).saturating_sub(start) };
        Ok(whole(file, span).await?)
    }

    /// Whether a file's content is what its name says.
    async fn is_right(&self, handle: &Handle) -> Result<bool, ExamineError> {
        Ok(session::is_right(&self.session.store, self.repository, handle, &Place::Current, &Pace::default())
            .await?)
    }
}

fn damaged(handle: &Handle) -> String {
    let verify = hint::pawl("maintain verify");
    format!("{handle} is damaged: its content does not hash to its name; `{verify}` looks for a good copy")
}
