//! A bucket with two repositories in it, a credential for each role, and the policies in force.

use aws_sdk_s3::error::ProvideErrorMetadata;
use pawl_tests::bucket::{Access, Bucket, Failure, Kind, Snapshot};
use pawl_tests::content::{id_of, noise};
use pawl_tests::roles::Roles;
use pawl_tests::s3::S3;

const PREFIX: &str = "backup";

pub(crate) struct Stand {
    /// May do everything: looks at what became of the bucket.
    pub(crate) owner: Bucket,
    pub(crate) writer: Bucket,
    pub(crate) reader: Bucket,
    pub(crate) maintenance: Bucket,
}

/// What an attack must not change besides objects.
#[derive(Debug, PartialEq)]
pub(crate) struct Settings(Vec<String>);

impl Stand {
    pub(crate) fn new(s3: &S3) -> Self {
        let Roles { owner, writer, reader, maintenance } = Roles::new(s3, PREFIX, Kind::Locked);
        let with = |access: &Access| owner.with(access);
        let stand =
            Self { writer: with(&writer), reader: with(&reader), maintenance: with(&maintenance), owner };
        stand.fill();
        stand
    }

    /// As Pawl does it: with the writer's credential, and what is not its to write with maintenance's.
    fn fill(&self) {
        for repository in ["web1", "hosts/web2"] {
            self.writer.put_new(&format!("{PREFIX}/{repository}/"), b"").unwrap();
            for file_type in ["config", "data", "index", "keys", "locks", "snapshots"] {
                self.writer.put_new(&name(repository, file_type), &content(repository, file_type)).unwrap();
            }
        }
        self.maintenance.put(&format!("{PREFIX}/.pawl/hosts.toml"), b"[web1]").unwrap();
    }

    /// The attempt fails with 403.
    #[track_caller]
    pub(crate) fn refused<T>(&self, what: &str, attempt: Result<T, Failure>) {
        match attempt {
            Ok(_) => panic!("{what} was not refused to somebody in {}", self.owner.name()),
            Err(failure) => assert_eq!(failure.status(), Some(403), "{what}: {failure}"),
        }
    }

    /// Nothing is other than before: what follows attempts that were refused.
    #[track_caller]
    pub(crate) fn unchanged(&self, before: &(Snapshot, Settings)) {
        assert_eq!(self.look(), *before);
    }

    /// Whatever came of it, every version that was there is there, and the settings are as they were.
    #[track_caller]
    pub(crate) fn harmless(&self, what: &str, before: &(Snapshot, Settings)) {
        assert_eq!(before.0.lost_in(&self.owner.snapshot()), [""; 0], "{what}");
        assert_eq!(self.settings(), before.1, "{what}");
    }

    /// What is there now.
    pub(crate) fn look(&self) -> (Snapshot, Settings) {
        (self.owner.snapshot(), self.settings())
    }

    /// What the owner is told of the bucket, and of each of its objects besides their bytes.
    fn settings(&self) -> Settings {
        let bucket = || self.owner.name().to_owned();
        let mut all = vec![
            told(
                self.owner
                    .ask(|client| client.get_bucket_versioning().bucket(bucket()).send())
                    .map(|o| (o.status, o.mfa_delete)),
            ),
            told(
                self.owner
                    .ask(|client| client.get_bucket_lifecycle_configuration().bucket(bucket()).send())
                    .map(|o| o.rules),
            ),
            told(
                self.owner.ask(|client| client.get_bucket_policy().bucket(bucket()).send()).map(|o| o.policy),
            ),
            told(self.owner.ask(|client| client.get_bucket_acl().bucket(bucket()).send()).map(|o| o.grants)),
            told(
                self.owner
                    .ask(|client| client.get_object_lock_configuration().bucket(bucket()).send())
                    .map(|o| o.object_lock_configuration),
            ),
            told(
                self.owner
                    .ask(|client| client.get_bucket_replication().bucket(bucket()).send())
                    .map(|o| o.replication_configuration),
            ),
            told(
                self.owner
                    .ask(|client| client.get_public_access_block().bucket(bucket()).send())
                    .map(|o| o.public_access_block_configuration),
            ),
        ];
        for file_type in ["config", "data"] {
            let key = name("web1", file_type);
            // Of the first version: an attack may have put another before it.
            let version = self
                .owner
                .snapshot()
                .versions(&key)
                .iter()
                .rev()
                .find(|v| v.content.is_some())
                .map(|v| v.id.clone());
            let ask = |version: Option<String>| (bucket(), key.clone(), version);
            let (b, k, v) = ask(version.clone());
            all.push(told(
                self.owner
                    .ask(|client| client.get_object_tagging().bucket(b).key(k).set_version_id(v).send())
                    .map(|o| o.tag_set),
            ));
            let (b, k, v) = ask(version.clone());
            all.push(told(
                self.owner
                    .ask(|client| client.get_object_acl().bucket(b).key(k).set_version_id(v).send())
                    .map(|o| o.grants),
            ));
            let (b, k, v) = ask(version.clone());
            all.push(told(
                self.owner
                    .ask(|client| client.get_object_retention().bucket(b).key(k).set_version_id(v).send())
                    .map(|o| o.retention),
            ));
            let (b, k, v) = ask(version);
            all.push(told(
                self.owner
                    .ask(|client| client.get_object_legal_hold().bucket(b).key(k).set_version_id(v).send())
                    .map(|o| o.legal_hold),
            ));
        }
        Settings(all)
    }
}

fn told<T: std::fmt::Debug>(answer: Result<T, Failure>) -> String {
    match answer {
        Ok(told) => format!("{told:?}"),
        Err(failure) => failure.to_string(),
    }
}

/// The key of the file of this type that each repository has.
pub(crate) fn name(repository: &str, file_type: &str) -> String {
    let id = id_of(&content(repository, file_type));
    match file_type {
        "config" => format!("{PREFIX}/{repository}/config"),
        "data" => format!("{PREFIX}/{repository}/data/{}/{id}", id.split_at(2).0),
        _ => format!("{PREFIX}/{repository}/{file_type}/{id}"),
    }
}

/// Its bytes.
pub(crate) fn content(repository: &str, file_type: &str) -> Vec<u8> {
    noise(&format!("{repository} {file_type}"), 1000)
}

/// All that has a name, but for locks: nothing of it may be hidden by a host.
pub(crate) fn names() -> Vec<String> {
    let of = |repository| {
        let files =
            ["config", "data", "index", "keys", "snapshots"].map(|file_type| name(repository, file_type));
        [vec![format!("{PREFIX}/{repository}/")], files.into()].concat()
    };
    [of("web1"), of("hosts/web2"), vec![format!("{PREFIX}/.pawl/hosts.toml")]].concat()
}

/// Sends a request and tells only whether it was carried out.
pub(crate) fn ask<T, E, F>(
    bucket: &Bucket,
    request: impl FnOnce(aws_sdk_s3::Client, String) -> F,
) -> Result<(), Failure>
where
    T: Send,
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    F: Future<Output = Result<T, aws_sdk_s3::error::SdkError<E>>> + Send,
{
    let name = bucket.name().to_owned();
    bucket.ask(|client| request(client, name)).map(|_| ())
}
