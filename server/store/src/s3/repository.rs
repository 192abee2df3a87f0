//! How far a repository has come, read off what lies in it.
//!
//! Invariant: what is remembered can only have grown since: a repository that exists, and one that was initialised, for
//! good. Keys that were set aside are told by marks in the bucket, so that every server knows the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{StreamExt, TryStreamExt, stream};
use pawl_policy::{CreateRepository, FileId, FileType, Handle, Permitted, RepositoryName, RepositoryState};

use super::facts::millis;
use super::{S3Store, layout, names};
use crate::{StoreError, now_ms};

/// A draft's keys are set aside by whoever made them, and by all others after this long: two hosts that initialise one
/// repository at once must not lose their key.
const KEYS_OF_OTHERS_MS: u64 = 60 * 60 * 1000;
/// HEADs at a time.
const PARALLEL: usize = 8;

/// What is known of a repository.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) state: RepositoryState,
    /// For each key that ever was set aside, how many marks say so, and then otherwise.
    marks: Arc<HashMap<FileId, u32>>,
    /// Whether nothing of this can change any more.
    settled: bool,
}

impl View {
    /// Whether a key counts as absent because it was set aside.
    pub(super) fn is_aside(&self, key: &FileId) -> bool {
        self.marks.get(key).is_some_and(|marks| marks % 2 == 1)
    }

    /// Whether what is stored under this handle counts as absent.
    pub(super) fn hides(&self, handle: &Handle) -> bool {
        matches!(handle, Handle::File(FileType::Keys, id) if self.is_aside(id))
    }
}

/// Views of repositories that exist.
#[derive(Debug, Default)]
pub(super) struct Views(Mutex<HashMap<RepositoryName, View>>);

impl Views {
    fn get(&self, repository: &RepositoryName) -> Option<View> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(repository).cloned()
    }

    fn put(&self, repository: &RepositoryName, view: &View) {
        let mut views = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        views.insert(repository.clone(), view.clone());
    }
}

impl S3Store {
    /// How far the repository has come. One listing, until it is initialised.
    pub(super) async fn view(&self, repository: &RepositoryName) -> Result<View, StoreError> {
        if let Some(view) = self.views.get(repository).filter(|view| view.settled) {
            return Ok(view);
        }
        let view = Box::pin(self.look(repository)).await?; // it is seldom, and large
        if view.state != RepositoryState::Absent {
            self.views.put(repository, &view);
        }
        Ok(view)
    }

    /// An error unless the repository was created at some time.
    pub(super) async fn must_exist(&self, repository: &RepositoryName) -> Result<(), StoreError> {
        if self.views.get(repository).is_none()
            && self.view(repository).await?.state == RepositoryState::Absent
        {
            return Err(StoreError::NotFound);
        }
        Ok(())
    }

    /// Whether a key counts as absent because it was set aside.
    pub(super) async fn is_aside(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
    ) -> Result<bool, StoreError> {
        match handle {
            Handle::File(FileType::Keys, _) => Ok(self.view(repository).await?.hides(handle)),
            _ => Ok(false),
        }
    }

    async fn look(&self, repository: &RepositoryName) -> Result<View, StoreError> {
        let root = self.layout.repository(repository);
        let mut state = RepositoryState::Absent;
        let mut config_ms = None;
        let mut has_aside = false;
        let mut pages = pin_pages(self, &root);
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| names::failed("cannot look at the repository", &error))?;
            for object in page.contents() {
                let name = object.key().and_then(|key| key.strip_prefix(&root)).unwrap_or_default();
                match name {
                    "config" => config_ms = Some(millis(object.last_modified())),
                    "initialised" => state = RepositoryState::Initialised,
                    "" => state = further(state, RepositoryState::Draft),
                    _ => {}
                }
            }
            for prefix in page.common_prefixes() {
                let name = prefix.prefix().and_then(|key| key.strip_prefix(&root)).unwrap_or_default();
                state = match name {
                    "data/" | "index/" | "snapshots/" => RepositoryState::Initialised,
                    "keys/" | "locks/" => further(state, RepositoryState::Draft),
                    _ => state,
                };
                has_aside |= name == ".aside/";
            }
        }
        if config_ms.is_some() {
            state = RepositoryState::Initialised;
        }
        let marks = if has_aside {
            let first_ms = self.first_config_ms(repository).await?.or(config_ms);
            self.marks(repository, first_ms).await?
        } else {
            HashMap::new()
        };
        Ok(View { state, marks: Arc::new(marks), settled: config_ms.is_some() })
    }

    /// When `config` was first stored. One that maintenance brought back is younger.
    async fn first_config_ms(&self, repository: &RepositoryName) -> Result<Option<u64>, StoreError> {
        if !self.findings.keeps_versions() {
            return Ok(None);
        }
        let key = self.layout.file(repository, &Handle::Config);
        let history = self.history(&self.settings.bucket, &key).await?;
        Ok(history.versions.iter().map(|version| version.modified_ms).min())
    }

    /// How many marks each key has. Once there is a `config`, no later mark counts: whoever got hold of a server's
    /// credential could hide keys with it.
    async fn marks(
        &self,
        repository: &RepositoryName,
        config_ms: Option<u64>,
    ) -> Result<HashMap<FileId, u32>, StoreError> {
        let aside = self.layout.aside(repository);
        let mut marks = HashMap::new();
        for object in names::all(self, &self.settings.bucket, &aside).await? {
            let counts = config_ms.is_none_or(|config_ms| object.modified_ms <= config_ms);
            let id = object.key.strip_prefix(&aside).and_then(|rest| rest.split_once('/')?.0.parse().ok());
            if let Some(id) = id.filter(|_| counts) {
                *marks.entry(id).or_default() += 1;
            }
        }
        Ok(marks)
    }

    /// Takes a key out of sight, or, if it was taken out, lets it be seen again: the next mark says the opposite.
    async fn turn_key(
        &self,
        repository: &RepositoryName,
        view: &View,
        key: &FileId,
    ) -> Result<(), StoreError> {
        let number = view.marks.get(key).copied().unwrap_or_default();
        self.mark(&format!("{}{key}/{number}", self.layout.aside(repository))).await
    }

    /// Lets a key be seen again that was set aside.
    pub(super) async fn take_from_aside(
        &self,
        repository: &RepositoryName,
        key: &FileId,
    ) -> Result<(), StoreError> {
        let view = self.view(repository).await?;
        if view.is_aside(key) { self.turn_key(repository, &view, key).await } else { Ok(()) }
    }

    /// Makes the repository; if it is a draft, sets its half-made keys aside.
    pub(super) async fn make_repository(
        &self,
        permit: &Permitted<CreateRepository>,
    ) -> Result<(), StoreError> {
        let repository = &permit.action().repository;
        let view = Box::pin(self.look(repository)).await?; // it is seldom, and large
        match view.state {
            RepositoryState::Initialised => Ok(()),
            RepositoryState::Draft => self.set_keys_aside(permit, &view).await,
            RepositoryState::Absent => {
                self.mark(&self.layout.repository(repository)).await?;
                self.usage.begin(repository);
                let view = View { state: RepositoryState::Draft, marks: Arc::default(), settled: false };
                self.views.put(repository, &view);
                Ok(())
            }
        }
    }

    async fn set_keys_aside(
        &self,
        permit: &Permitted<CreateRepository>,
        view: &View,
    ) -> Result<(), StoreError> {
        let repository = &permit.action().repository;
        let files = self.layout.files(repository, FileType::Keys);
        let keys = names::all(self, &self.settings.bucket, &files).await?;
        let ids = keys.iter().filter_map(|object| layout::id_in(&object.key, &files, FileType::Keys));
        let ids = ids.filter(|id| !view.is_aside(id));
        let marked = stream::iter(ids.collect::<Vec<_>>()).map(|id| async move {
            let key = self.layout.file(repository, &Handle::File(FileType::Keys, id));
            let Some(head) = self.head(&self.settings.bucket, &key).await? else { return Ok(()) };
            let own = head.facts.creator.as_ref() == Some(permit.principal());
            if own || head.facts.age_ms(now_ms()) >= KEYS_OF_OTHERS_MS {
                self.turn_key(repository, view, &id).await?;
            }
            Ok(())
        });
        marked.buffer_unordered(PARALLEL).try_collect().await
    }
}

fn pin_pages(
    store: &S3Store,
    root: &str,
) -> impl futures_util::Stream<
    Item = Result<aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output, names::ListFailed>,
> + Unpin
+ use<> {
    names::pages(store, &store.settings.bucket, root, Some("/"), None)
}

/// The further of two states.
const fn further(one: RepositoryState, other: RepositoryState) -> RepositoryState {
    match (one, other) {
        (RepositoryState::Initialised, _) | (_, RepositoryState::Initialised) => RepositoryState::Initialised,
        (RepositoryState::Draft, _) | (_, RepositoryState::Draft) => RepositoryState::Draft,
        (RepositoryState::Absent, RepositoryState::Absent) => RepositoryState::Absent,
    }
}
