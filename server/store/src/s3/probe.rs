//! Trying the store out, before anything is entrusted to it.
//!
//! Invariant: the probe changes no object but its own, and what it cannot find out counts as missing.

use std::collections::HashMap;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{BucketVersioningStatus, ChecksumMode, VersioningConfiguration};
use bytes::Bytes;
use futures_util::future::join_all;
use pawl_config::s3::{S3Settings, Weakness};
use sha2::{Digest, Sha256};

use super::client::Clients;
use super::failure::{Failure, failure, words};
use super::finding::OldVersions;
use super::finding::{Findings, ProbeError, Sort, TakenNames};
use super::layout::Layout;
use super::lifecycle;
use super::put::{self, PutOutcome, Target, checksum};
use super::{Tenant, versions};

mod work;

/// PUTs at a time of which one may win, and how often that is tried. Where several win, nearly every race of four shows it;
/// on a machine that is so busy that they come one after another, one may not.
const RACERS: usize = 8;
const RACES: usize = 4;

/// Tries the store out, and whether the credential can do the work of this side.
pub(super) async fn probe(
    clients: &Clients,
    settings: &S3Settings,
    layout: &Layout,
    side: Tenant,
) -> Result<Findings, ProbeError> {
    let probe = Probe { client: &clients.quick, settings, layout };
    let mut findings = Findings {
        all: Vec::new(),
        keeps_versions: false,
        taken_names: TakenNames::Unknown,
        old_versions: OldVersions::Stay,
        locked_days: None,
        vouches_for_content: false,
    };
    let first = probe.conditions(&mut findings).await?;
    probe.versioning(&mut findings).await?;
    probe.content(&mut findings).await?;
    probe.work(&mut findings, &first.key, side).await?;
    probe.powers(&mut findings, &first).await;
    probe.object_lock(&mut findings).await;
    probe.old_versions(&mut findings).await;
    if let Some(bucket) = &settings.locks_bucket {
        let list = probe.client.list_objects_v2().bucket(bucket).prefix(layout.prefix()).max_keys(1);
        list.send().await.map_err(|error| probe.failed(&error))?;
        findings.add(Sort::Note, format!("locks lie in bucket '{bucket}'"));
    }
    Ok(findings)
}

struct Probe<'a> {
    client: &'a Client,
    settings: &'a S3Settings,
    layout: &'a Layout,
}

/// An object of the probe's own.
struct Tried {
    key: String,
    version: Option<String>,
}

/// Why an old version was not read back.
enum NotKept {
    /// The credential may not read it.
    Denied(String),
    /// It is not there, or is another; or the store does not say.
    Lost(String),
}

impl Probe<'_> {
    fn failed<E>(&self, error: &SdkError<E, HttpResponse>) -> ProbeError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        self.strange(&words(error))
    }

    /// Whether the bucket keeps versions. Some stores name a version of each object and keep none.
    async fn versioning(&self, findings: &mut Findings) -> Result<(), ProbeError> {
        let key = self.new_key()?;
        let version = match self.put(&key, findings.knows_conditions()).await? {
            // Where versioning was suspended, the one version has this name.
            Some(PutOutcome::Stored(version)) => version.filter(|version| version != "null"),
            _ => return Err(self.strange("a new object could not be stored")),
        };
        let Some(version) = version else {
            findings.add(Sort::Weak(Weakness::Unversioned), "the bucket does not keep versions");
            return Ok(());
        };
        match self.kept(&key, &version).await {
            Err(NotKept::Denied(cause)) => {
                let text = format!(
                    "an old version of an object cannot be read ({cause}), so that it is not known whether the bucket keeps \
                     versions: allow s3:GetObjectVersion"
                );
                findings.add(Sort::Fault, text);
            }
            Ok(was_overwritten) => {
                findings.keeps_versions = true;
                let text = if was_overwritten {
                    "the bucket keeps versions: one was overwritten and read back"
                } else {
                    "the bucket keeps versions: it lists them; overwriting one to read it back was refused"
                };
                findings.add(Sort::Good, text);
            }
            Err(NotKept::Lost(cause)) => {
                let text = format!("the store names versions, and does not show that it keeps them: {cause}");
                findings.add(Sort::Weak(Weakness::Unversioned), text);
            }
        }
        Ok(())
    }

    /// Overwrites the object, unless a policy forbids that, and reads its first version back. Whether it was overwritten.
    async fn kept(&self, key: &str, version: &str) -> Result<bool, NotKept> {
        let other = Bytes::from_static(b"overwritten");
        let mut target = self.target(key, false);
        target.sha256 = Sha256::digest(&other).into();
        let overwritten = put::whole(self.client, self.settings, target, other).await;
        let bucket = &self.settings.bucket;
        let history = versions::history(self.client, bucket, key).await;
        let history = history.map_err(|error| NotKept::Lost(error.to_string()))?;
        if !history.versions.iter().any(|listed| listed.id.as_deref() == Some(version)) {
            let cause = format!("it does not list version {version} of an object that it just stored");
            return Err(NotKept::Lost(cause));
        }
        let get = self.client.get_object().bucket(bucket).key(key).version_id(version).send().await;
        let answer = get.map_err(|error| match failure(&error) {
            Failure::Denied => NotKept::Denied(words(&error)),
            _ => NotKept::Lost(format!("cannot read an old version: {}", words(&error))),
        })?;
        let read = answer.body.collect().await;
        let read = read.map_err(|error| NotKept::Lost(format!("cannot read an old version: {error}")))?;
        if read.into_bytes() == content_of(key) {
            return Ok(matches!(overwritten, Ok(PutOutcome::Stored(_))));
        }
        Err(NotKept::Lost("asked for the first version of an object, it gives other bytes".to_owned()))
    }

    /// Whether a name that is taken stays as it is, also if several want it at once.
    async fn conditions(&self, findings: &mut Findings) -> Result<Tried, ProbeError> {
        let key = self.new_key()?;
        let version = match self.put(&key, true).await? {
            Some(PutOutcome::Stored(version)) => version,
            Some(PutOutcome::Taken) => return Err(self.strange("a name that nobody used was taken")),
            Some(PutOutcome::Unclear(cause)) => return Err(self.strange(&cause)),
            None => {
                let text = "the store does not know If-None-Match";
                findings.add(Sort::Weak(Weakness::UnconditionalWrites), text);
                return match self.put(&key, false).await? {
                    Some(PutOutcome::Stored(version)) => Ok(Tried { key, version }),
                    _ => Err(self.strange("nothing can be stored")),
                };
            }
        };
        let tried = Tried { key, version };
        findings.taken_names = match self.put(&tried.key, true).await? {
            Some(PutOutcome::Taken) => self.race().await?,
            Some(PutOutcome::Stored(_)) => TakenNames::Replaced,
            Some(PutOutcome::Unclear(cause)) => return Err(self.strange(&cause)),
            None => return Err(self.strange("the store knew If-None-Match once, and then no more")),
        };
        match findings.taken_names {
            TakenNames::OneWins => {
                findings.add(Sort::Good, "a name that is taken is refused, and of several at once one wins");
            }
            TakenNames::Refused => findings.add(
                Sort::Note,
                "a name that is taken is refused, but of several at once more than one wins: this server lets them in \
                 one by one, and of several versions of config the oldest counts",
            ),
            TakenNames::Replaced | TakenNames::Unknown => {
                let text = "the store ignores If-None-Match";
                findings.add(Sort::Weak(Weakness::UnconditionalWrites), text);
            }
        }
        Ok(tried)
    }

    async fn race(&self) -> Result<TakenNames, ProbeError> {
        for _ in 0..RACES {
            let key = self.new_key()?;
            let ends = join_all((0..RACERS).map(|_| self.put(&key, true))).await;
            let mut winners = 0;
            for end in ends {
                winners += usize::from(matches!(end?, Some(PutOutcome::Stored(_))));
            }
            if winners > 1 {
                return Ok(TakenNames::Refused);
            }
        }
        Ok(TakenNames::OneWins)
    }

    /// Whether content with a wrong hash is refused, and the right hash kept.
    async fn content(&self, findings: &mut Findings) -> Result<(), ProbeError> {
        let key = self.new_key()?;
        let mut target = self.target(&key, findings.knows_conditions());
        target.sha256 = [7; 32];
        let put = put::whole(self.client, self.settings, target, content_of(&key)).await;
        // Some stores answer this with an error that does not say whether they stored it.
        let head = self.client.head_object().bucket(&self.settings.bucket).key(&key).send().await;
        let is_there = match &head {
            Err(error) if error.raw_response().is_none() => return Err(self.failed(error)),
            head => head.is_ok(),
        };
        let is_checked = !matches!(put, Ok(PutOutcome::Stored(_) | PutOutcome::Taken)) && !is_there;
        if is_checked {
            findings.add(Sort::Good, "the store checks the SHA-256 of what it is given");
        } else {
            let text = "content is stored although its SHA-256 is not the one announced";
            findings.add(Sort::Weak(Weakness::UncheckedContent), text);
        }
        let key = self.new_key()?;
        self.put(&key, findings.knows_conditions()).await?;
        let recorded = self.head(&key).await.ok().flatten().flatten();
        let is_kept = recorded == Some(checksum(&Sha256::digest(content_of(&key)).into()));
        findings.vouches_for_content = is_checked && is_kept;
        if is_kept {
            findings.add(Sort::Good, "the store keeps the SHA-256 of each file");
        } else {
            let text = "the store does not tell the SHA-256 of a file: verifying means reading everything";
            findings.add(Sort::Note, text);
        }
        Ok(())
    }

    /// Whether the credential could do harm, tried on an object of the probe's own.
    async fn powers(&self, findings: &mut Findings, own: &Tried) {
        let bucket = &self.settings.bucket;
        let mut powers = Vec::new();
        let mut destroys = false;
        if findings.keeps_versions {
            // Enabling what is enabled changes nothing.
            let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
            let versioning = self.client.put_bucket_versioning().bucket(bucket);
            if is_allowed(&versioning.versioning_configuration(enabled).send().await) {
                powers.push("change versioning");
                destroys = true;
            }
        }
        if is_allowed(&self.client.delete_object().bucket(bucket).key(&own.key).send().await) {
            powers.push("hide files (s3:DeleteObject beyond locks)");
            destroys |= !findings.keeps_versions;
        }
        if let Some(version) = own.version.as_ref().filter(|_| findings.keeps_versions) {
            let delete = self.client.delete_object().bucket(bucket).key(&own.key).version_id(version);
            if is_allowed(&delete.send().await) {
                powers.push("delete versions");
                destroys = true;
            }
        }
        if powers.is_empty() {
            let text = "the credential can neither delete versions, nor hide files, nor change versioning";
            findings.add(Sort::Good, text);
        } else {
            let text = format!("the credential can {}", powers.join(", "));
            let weakness = if destroys { Weakness::PowerfulCredential } else { Weakness::HidingCredential };
            findings.add(Sort::Weak(weakness), text);
        }
    }

    async fn object_lock(&self, findings: &mut Findings) {
        let lock = self.client.get_object_lock_configuration().bucket(&self.settings.bucket).send().await;
        let retention = lock
            .ok()
            .and_then(|answer| answer.object_lock_configuration)
            .and_then(|configuration| configuration.rule)
            .and_then(|rule| rule.default_retention);
        let Some(retention) = retention else {
            findings.add(Sort::Note, "no Object Lock retention is set, or it cannot be read");
            return;
        };
        let mode = retention.mode.map_or_else(String::new, |mode| format!("{mode}, "));
        let time = match (retention.days, retention.years) {
            (Some(days), _) => format!("{days} days"),
            (None, Some(years)) => format!("{years} years"),
            (None, None) => "no time".to_owned(),
        };
        let days = retention.days.or_else(|| Some(retention.years?.saturating_mul(365)));
        findings.locked_days = days.and_then(|days| u32::try_from(days).ok());
        findings.add(Sort::Note, format!("Object Lock keeps each new version ({mode}{time})"));
        if self.settings.locks_bucket.is_none() {
            let text = "restic's lock files are kept as long as all others: set s3.locks_bucket to a bucket without \
                        Object Lock retention";
            findings.add(Sort::Note, text);
        }
    }

    async fn old_versions(&self, findings: &mut Findings) {
        findings.old_versions =
            lifecycle::old_versions(self.client, &self.settings.bucket, self.layout.prefix()).await;
        let finding = findings.old_versions.finding();
        findings.all.push(finding);
    }

    /// Puts a small object; `None` if the store does not know the condition.
    async fn put(&self, key: &str, unless_taken: bool) -> Result<Option<PutOutcome>, ProbeError> {
        let target = self.target(key, unless_taken);
        match put::whole(self.client, self.settings, target, content_of(key)).await {
            Ok(ended) => Ok(Some(ended)),
            Err(put::Failed { failure: Failure::Unsupported, .. }) if unless_taken => Ok(None),
            Err(failed) => Err(self.strange(&failed.error.to_string())),
        }
    }

    /// Whether the object is there, and its SHA-256 if the store tells.
    async fn head(&self, key: &str) -> Result<Option<Option<String>>, ProbeError> {
        let head = self.client.head_object().bucket(&self.settings.bucket).key(key);
        match head.checksum_mode(ChecksumMode::Enabled).send().await {
            Ok(answer) => Ok(Some(answer.checksum_sha256)),
            Err(error) if failure(&error) == Failure::Absent => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn target(&self, key: &str, unless_taken: bool) -> Target {
        Target {
            bucket: self.settings.bucket.clone(),
            key: key.to_owned(),
            sha256: Sha256::digest(content_of(key)).into(),
            metadata: HashMap::new(),
            is_data: false,
            unless_taken,
        }
    }

    /// A key that nobody has used: what is stored cannot be removed.
    fn new_key(&self) -> Result<String, ProbeError> {
        Ok(self.layout.probe(&hex::encode(self.random()?)))
    }

    /// As long as a file's name.
    fn random(&self) -> Result<[u8; 32], ProbeError> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| self.strange(&error.to_string()))?;
        Ok(random)
    }

    fn strange(&self, cause: &str) -> ProbeError {
        ProbeError::Failed { bucket: self.settings.bucket.clone(), cause: cause.to_owned() }
    }
}

fn content_of(key: &str) -> Bytes {
    Bytes::from(format!("Pawl tried this store out here: {key}\n"))
}

/// Whether something was not refused. What cannot be told counts as allowed.
fn is_allowed<T, E: ProvideErrorMetadata>(answer: &Result<T, SdkError<E, HttpResponse>>) -> bool {
    match answer {
        Ok(_) => true,
        Err(error) => !matches!(failure(error), Failure::Denied | Failure::Unsupported),
    }
}
