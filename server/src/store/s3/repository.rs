//! How far a repository has come, read off what lies in it.
//!
//! Invariant: what is remembered can only have grown since: a repository that exists, and one that was initialised, for
//! good. Keys that were set aside are told by marks in the bucket, so that every server knows the same.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{StreamExt, TryStreamExt, stream};
use pawl_policy::{CreateRepository, FileId, FileType, Handle, Permitted, RepositoryName, RepositoryState};

use super::facts::millis;
use super::{S3Store, layout, names};
use crate::store::{StoreError, now_ms};

/// A draft's keys are set aside by whoever made them, and by all others after this long: two hosts that initialise one
/// repository at once must not lose their key.
const KEYS_OF_OTHERS_MS: u64 = 60 * 60 * 1000;
/// HEADs at a time.
const PARALLEL: usize = 8;

/// What is known of a repository.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) state: RepositoryState,
    /// Keys that count as absent.
    pub(super) aside: Arc<HashSet<FileId>>,
    /// Whether nothing of this can change any more.
    settled: bool,
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
        let view = self.look(repository).await?;
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
            Handle::File(FileType::Keys, id) => Ok(self.view(repository).await?.aside.contains(id)),
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
                has_aside |= name == "aside/";
            }
        }
        if config_ms.is_some() {
            state = RepositoryState::Initialised;
        }
        let aside = if has_aside { self.keys_aside(repository, config_ms).await? } else { HashSet::new() };
        Ok(View { state, aside: Arc::new(aside), settled: config_ms.is_some() })
    }

    /// The keys that are marked as set aside. Once there is a `config`, no later mark counts: whoever got hold of a
    /// server's credential could hide keys with it.
    async fn keys_aside(
        &self,
        repository: &RepositoryName,
        config_ms: Option<u64>,
    ) -> Result<HashSet<FileId>, StoreError> {
        let marks = self.layout.aside(repository);
        let objects = names::all(self, &self.settings.bucket, &marks).await?;
        let counts =
            |object: &names::Object| config_ms.is_none_or(|config_ms| object.modified_ms <= config_ms);
        let id = |object: &names::Object| layout::id_in(&object.key, &marks, FileType::Keys);
        Ok(objects.iter().filter(|object| counts(object)).filter_map(id).collect())
    }

    /// Makes the repository; if it is a draft, sets its half-made keys aside.
    pub(super) async fn make_repository(
        &self,
        permit: &Permitted<CreateRepository>,
    ) -> Result<(), StoreError> {
        let repository = &permit.action().repository;
        match self.look(repository).await?.state {
            RepositoryState::Initialised => Ok(()),
            RepositoryState::Draft => self.set_keys_aside(permit).await,
            RepositoryState::Absent => {
                self.mark(&self.layout.repository(repository)).await?;
                self.usage.begin(repository);
                let view = View { state: RepositoryState::Draft, aside: Arc::default(), settled: false };
                self.views.put(repository, &view);
                Ok(())
            }
        }
    }

    async fn set_keys_aside(&self, permit: &Permitted<CreateRepository>) -> Result<(), StoreError> {
        let repository = &permit.action().repository;
        let files = self.layout.files(repository, FileType::Keys);
        let keys = names::all(self, &self.settings.bucket, &files).await?;
        let ids = keys.iter().filter_map(|object| layout::id_in(&object.key, &files, FileType::Keys));
        let marked = stream::iter(ids.collect::<Vec<_>>()).map(|id| async move {
            let key = self.layout.file(repository, &Handle::File(FileType::Keys, id));
            let Some(head) = self.head(&self.settings.bucket, &key).await? else { return Ok(()) };
            let own = head.facts.creator.as_ref() == Some(permit.principal());
            if own || head.facts.age_ms(now_ms()) >= KEYS_OF_OTHERS_MS {
                self.mark(&format!("{}{id}", self.layout.aside(repository))).await?;
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
