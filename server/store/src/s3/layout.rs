//! Where everything lies in the bucket: restic's own layout, and Pawl's marks beside it.
//!
//! Invariant: a file's name is made of names that parsed, so that none can reach Pawl's own.

use pawl_policy::{BatchId, FileId, FileType, Handle, RepositoryName};

use pawl_config::s3::S3Settings;

/// Names in the bucket.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// Empty, or ends in a slash.
    prefix: String,
}

impl Layout {
    pub(super) fn new(settings: &S3Settings) -> Self {
        let prefix = &settings.prefix;
        Self { prefix: if prefix.is_empty() { String::new() } else { format!("{prefix}/") } }
    }

    /// What every name begins with.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn file(&self, repository: &RepositoryName, handle: &Handle) -> String {
        match handle {
            Handle::Config => format!("{}config", self.repository(repository)),
            Handle::File(FileType::Data, id) => {
                let id = id.to_string();
                let first = id.get(..2).unwrap_or_default();
                format!("{}data/{first}/{id}", self.repository(repository))
            }
            Handle::File(file_type, id) => format!("{}{id}", self.files(repository, *file_type)),
        }
    }

    /// What the names of all files of a repository begin with. An empty object of just this name says that the
    /// repository was created.
    pub(super) fn repository(&self, repository: &RepositoryName) -> String {
        format!("{}{repository}/", self.prefix)
    }

    /// What the names of all files of this type begin with.
    pub(super) fn files(&self, repository: &RepositoryName, file_type: FileType) -> String {
        format!("{}{file_type}/", self.repository(repository))
    }

    /// Says that the repository was initialised, which is for good.
    pub(super) fn initialised(&self, repository: &RepositoryName) -> String {
        format!("{}initialised", self.repository(repository))
    }

    /// What the marks begin with that take a draft's half-made keys out of sight: `.aside/<key>/<number>`. The first
    /// takes it out of sight, the second lets it be seen again, and so on. No repository's name has a dot there.
    pub(super) fn aside(&self, repository: &RepositoryName) -> String {
        format!("{}.aside/", self.repository(repository))
    }

    /// Good bytes of a file whose stored copy is damaged.
    pub(super) fn rescued(&self, repository: &RepositoryName, file_type: FileType, id: FileId) -> String {
        format!("{}.rescued/{file_type}/{id}", self.repository(repository))
    }

    /// Says that maintenance has deleted the file, for good.
    pub(super) fn tombstone(&self, repository: &RepositoryName, handle: &Handle) -> String {
        format!("{}{handle}", self.tombstones(repository))
    }

    /// Where the tombstones of a repository's files lie.
    pub(super) fn tombstones(&self, repository: &RepositoryName) -> String {
        format!("{}.pawl/tombstones/{repository}/", self.prefix)
    }

    /// Where the mark lies that suspends the making of locks, and that is called by the moment until which it does, in
    /// Unix milliseconds. No repository has this last name.
    pub(super) fn suspension(&self, repository: &RepositoryName) -> String {
        format!("{}.pawl/suspended/{repository}/{}/", self.prefix, FileType::Locks)
    }

    /// Where good bytes of a repository's damaged files lie.
    pub(super) fn all_rescued(&self, repository: &RepositoryName) -> String {
        format!("{}.rescued/", self.repository(repository))
    }

    /// Where the batches of deleted files are noted.
    pub(super) fn deleted(&self) -> String {
        format!("{}.pawl/deleted/", self.prefix)
    }

    /// Where one batch is noted.
    pub(super) fn batch(&self, batch: &BatchId) -> String {
        format!("{}{batch}/", self.deleted())
    }

    /// The note about a file that a batch holds.
    pub(super) fn entry(&self, batch: &BatchId, handle: &Handle) -> String {
        format!("{}{handle}", self.batch(batch))
    }

    /// Says that a batch is there to change who may see a key.
    pub(super) fn change_of_audience(&self, batch: &BatchId) -> String {
        format!("{}audience", self.batch(batch))
    }

    /// Says that maintenance took this version of `config` out of sight, so that it never counts again.
    pub(super) fn retired_config(&self, repository: &RepositoryName, version: &str) -> String {
        format!("{}{version}", self.retired_configs(repository))
    }

    /// Where a repository's retired versions of `config` are noted.
    pub(super) fn retired_configs(&self, repository: &RepositoryName) -> String {
        format!("{}.pawl/configs/{repository}/", self.prefix)
    }

    /// Says which run of maintenance is at work.
    pub(super) fn maintenance_lock(&self) -> String {
        format!("{}.pawl/maintenance/lock", self.prefix)
    }

    /// Where machines say that they are about to take that lock.
    pub(super) fn maintenance_turns(&self) -> String {
        format!("{}.pawl/maintenance/turns/", self.prefix)
    }

    /// Where a run shows that it lives.
    pub(super) fn maintenance_beats(&self, run: &str) -> String {
        format!("{}.pawl/maintenance/beats/{run}/", self.prefix)
    }

    /// Where rights to a repository's files are tried. No repository is called `locks`, so that maintenance finds none there.
    pub(super) fn trial(&self, file: &str) -> String {
        format!("{}locks/{file}", self.prefix)
    }

    /// Where maintenance tries the store out.
    pub(super) fn probe_of_notes(&self, name: &str) -> String {
        format!("{}.pawl/probe/{name}", self.prefix)
    }

    /// Where servers leave signs of life: a name may be made there, and a rule of the bucket removes it after a day.
    pub(super) fn signs(&self) -> String {
        self.probe("servers/")
    }

    /// Where the store is tried out.
    pub(super) fn probe(&self, name: &str) -> String {
        format!("{}.pawl-probe/{name}", self.prefix)
    }
}

/// The file that a name in the bucket stands for, below `files`; `None` for what is no file of restic's.
pub(super) fn id_in(name: &str, files: &str, file_type: FileType) -> Option<FileId> {
    let rest = name.strip_prefix(files)?;
    match file_type {
        FileType::Data => {
            let (first, id) = rest.split_once('/')?;
            id.starts_with(first).then_some(()).filter(|()| first.len() == 2)?;
            id.parse().ok()
        }
        _ => rest.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(prefix: &str) -> Layout {
        Layout { prefix: prefix.to_owned() }
    }

    #[test]
    fn files_lie_where_restic_looks_for_them() {
        let repository: RepositoryName = "hosts/web1".parse().unwrap();
        let id = FileId::from_sha256([0xab; 32]);
        let hex = "ab".repeat(32);
        for (prefix, handle, expected) in [
            ("", Handle::Config, "hosts/web1/config".to_owned()),
            ("p/", Handle::Config, "p/hosts/web1/config".to_owned()),
            ("p/", Handle::File(FileType::Data, id), format!("p/hosts/web1/data/ab/{hex}")),
            ("", Handle::File(FileType::Keys, id), format!("hosts/web1/keys/{hex}")),
        ] {
            assert_eq!(layout(prefix).file(&repository, &handle), expected);
        }
    }

    #[test]
    fn only_whole_names_are_files() {
        let hex = "ab".repeat(32);
        let data = |name: String| id_in(&name, "p/r/data/", FileType::Data).is_some();
        assert!(data(format!("p/r/data/ab/{hex}")));
        for name in [
            format!("p/r/data/{hex}"),
            format!("p/r/data/cd/{hex}"),
            format!("p/r/data/a/{hex}"),
            format!("p/r/data/ab/{hex}/x"),
            format!("p/r/data//{hex}"),
            format!("q/r/data/ab/{hex}"),
        ] {
            assert!(!data(name.clone()), "{name}");
        }
        assert!(id_in(&format!("p/r/keys/{hex}"), "p/r/keys/", FileType::Keys).is_some());
        assert!(id_in("p/r/keys/", "p/r/keys/", FileType::Keys).is_none());
    }
}
