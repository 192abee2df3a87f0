//! Whether the credential can do all that hosts, or maintenance, need of it.
//!
//! Invariant: a right that is missing is found here, with its name, before a backup or a night fails for want of it.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use pawl_config::s3::Weakness;

use super::{Probe, content_of};
use crate::s3::Tenant;
use crate::s3::failure::{Failure, failure, words};
use crate::s3::finding::{Findings, ProbeError, Sort};
use crate::s3::put::{self, PutOutcome};
use crate::s3::versions;

/// What came of a trial.
type Trial = Result<(), Unmet>;

/// Why a trial was not passed.
enum Unmet {
    /// What was tried, what the store said, and what to do.
    Finding(String),
    /// The store did not answer: nothing was found out.
    Silent(ProbeError),
}

impl From<String> for Unmet {
    fn from(finding: String) -> Self {
        Self::Finding(finding)
    }
}

/// The bytes of an object that are asked for, both ends included.
const FIRST: usize = 5;
const LAST: usize = 20;

impl Probe<'_> {
    /// Tries all that this side does in its life. `own` is an object of the probe's.
    pub(super) async fn work(
        &self,
        findings: &mut Findings,
        own: &str,
        side: Tenant,
    ) -> Result<(), ProbeError> {
        let conditional = findings.knows_conditions();
        let checks_content =
            !findings.all.iter().any(|found| found.sort == Sort::Weak(Weakness::UncheckedContent));
        let name = hex::encode(self.random()?);
        let mut trials = vec![
            self.absence(&self.new_key()?).await,
            self.range(own).await,
            self.listing(own).await,
            self.marker(&self.new_key()?, conditional).await,
            self.lock(&name, conditional).await,
        ];
        if checks_content {
            trials.push(self.places(&name, conditional).await);
        } else {
            let text = "whether each type of file may be stored was not tried, as the store would keep what is tried";
            findings.add(Sort::Note, text);
        }
        if matches!(side, Tenant::Maintenance) {
            trials.push(self.note(&name, conditional, findings.keeps_versions).await);
            trials.push(self.hiding(&name).await);
        }
        let mut failed = Vec::new();
        for unmet in trials.into_iter().filter_map(Result::err) {
            match unmet {
                Unmet::Finding(text) => failed.push(text),
                Unmet::Silent(error) => return Err(error),
            }
        }
        if failed.is_empty() {
            let whose = match side {
                Tenant::Hosts => "hosts need",
                Tenant::Maintenance => "maintenance needs",
            };
            findings.add(Sort::Good, format!("the credential can do all that was tried of what {whose}"));
        }
        for text in failed {
            findings.add(Sort::Fault, text);
        }
        Ok(())
    }

    async fn absence(&self, key: &str) -> Trial {
        let head = self.client.head_object().bucket(&self.settings.bucket).key(key).send().await;
        match head {
            Err(error) if failure(&error) == Failure::Absent => Ok(()),
            Err(error) if is_silent(&error) => Err(Unmet::Silent(self.failed(&error))),
            Err(error) => Err(Unmet::Finding(format!(
                "asked for an object that is not there, the store answers '{}' instead of 404: allow s3:ListBucket on \
                 the whole bucket",
                words(&error)
            ))),
            Ok(_) => {
                Err(Unmet::Finding("the store says that an object is there which nobody stored".to_owned()))
            }
        }
    }

    async fn range(&self, key: &str) -> Trial {
        let get = self.client.get_object().bucket(&self.settings.bucket).key(key);
        let answer = get.range(format!("bytes={FIRST}-{LAST}")).send().await;
        let answer =
            answer.map_err(|error| self.refused("an object cannot be read", &error, "s3:GetObject"))?;
        let read = answer.body.collect().await;
        let read =
            read.map_err(|error| Unmet::Silent(self.strange(&format!("an object breaks off: {error}"))))?;
        if content_of(key).get(FIRST..=LAST) == Some(&read.into_bytes()[..]) {
            return Ok(());
        }
        Err(Unmet::Finding(
            "asked for a range of an object, the store gives other bytes; restic reads ranges".to_owned(),
        ))
    }

    async fn listing(&self, key: &str) -> Trial {
        let listed = self.listed(key).await?;
        if listed.iter().any(|name| name == key) {
            return Ok(());
        }
        Err(Unmet::Finding(
            "an object that was just stored is missing in the store's listing: restic needs listings that are true at once"
                .to_owned(),
        ))
    }

    async fn listed(&self, prefix: &str) -> Result<Vec<String>, Unmet> {
        let list = self.client.list_objects_v2().bucket(&self.settings.bucket).prefix(prefix).send().await;
        let page =
            list.map_err(|error| self.refused("the bucket cannot be listed", &error, "s3:ListBucket"))?;
        Ok(page.contents().iter().filter_map(|object| object.key().map(str::to_owned)).collect())
    }

    /// A repository is an object whose name ends in a slash, beside those whose names begin like it.
    async fn marker(&self, key: &str, conditional: bool) -> Trial {
        let marker = format!("{key}/");
        let below = format!("{marker}below");
        for key in [&marker, &below] {
            let put = self.put(key, conditional).await.map_err(|error| error.to_string());
            put.map_err(|cause| format!("{NO_MARKERS}: {cause}"))?;
        }
        let listed = self.listed(&marker).await?;
        if [&marker, &below].into_iter().all(|key| listed.contains(key)) {
            return Ok(());
        }
        Err(Unmet::Finding(NO_MARKERS.to_owned()))
    }

    async fn lock(&self, name: &str, conditional: bool) -> Trial {
        let key = self.layout.trial(&format!("locks/{name}"));
        let bucket = self.settings.locks_bucket.as_ref().unwrap_or(&self.settings.bucket);
        let mut target = self.target(&key, conditional);
        target.bucket.clone_from(bucket);
        let put = put::whole(self.client, self.settings, target, content_of(&key)).await;
        put.map_err(|failed| {
            format!("a lock cannot be stored ({}): allow s3:PutObject on */locks/*", failed.error)
        })?;
        let delete = self.client.delete_object().bucket(bucket).key(&key).send().await;
        delete.map_err(|error| {
            self.refused("a lock cannot be removed", &error, "s3:DeleteObject on */locks/*")
        })?;
        match self.client.head_object().bucket(bucket).key(&key).send().await {
            Err(error) if failure(&error) == Failure::Absent => Ok(()),
            Err(error) if is_silent(&error) => Err(Unmet::Silent(self.failed(&error))),
            _ => Err(Unmet::Finding("a lock that was removed is still there".to_owned())),
        }
    }

    /// Asks to store content with a wrong SHA-256 wherever there are files: nothing is stored, and a missing right shows.
    async fn places(&self, name: &str, conditional: bool) -> Trial {
        let first = name.get(..2).unwrap_or_default();
        let files = [
            String::new(),
            "config".to_owned(),
            "initialised".to_owned(),
            format!("data/{first}/{name}"),
            format!("index/{name}"),
            format!("keys/{name}"),
            format!("snapshots/{name}"),
            format!(".aside/{name}/0"),
        ];
        for key in files.map(|file| self.layout.trial(&file)) {
            let key = key.as_str();
            let mut target = self.target(key, conditional);
            target.sha256 = [7; 32];
            let put = put::whole(self.client, self.settings, target, content_of(key)).await;
            if let Err(put::Failed { failure: Failure::Denied, error }) = put {
                let text = format!("'{key}' could not be stored ({error}): allow s3:PutObject there");
                return Err(Unmet::Finding(text));
            }
        }
        Ok(())
    }

    /// Maintenance writes notes, takes them back, and writes them again.
    async fn note(&self, name: &str, conditional: bool, keeps_versions: bool) -> Trial {
        let key = self.layout.probe_of_notes(name);
        for attempt in ["written", "written again after it was taken back"] {
            match self.put(&key, conditional).await {
                Ok(Some(PutOutcome::Stored(_))) => {}
                Ok(_) => {
                    let text = format!("a note of maintenance could not be {attempt}: the name is taken");
                    return Err(Unmet::Finding(text));
                }
                Err(error) => {
                    return Err(Unmet::Finding(format!(
                        "a note of maintenance could not be {attempt} ({error}): allow s3:PutObject on .pawl/*"
                    )));
                }
            }
            let delete = self.client.delete_object().bucket(&self.settings.bucket).key(&key).send().await;
            delete.map_err(|error| {
                self.refused(
                    "a note of maintenance cannot be taken back",
                    &error,
                    "s3:DeleteObject on .pawl/*",
                )
            })?;
        }
        if !keeps_versions {
            return Ok(());
        }
        let history = versions::history(self.client, &self.settings.bucket, &key).await;
        let history = history.map_err(|error| error.to_string())?;
        if history.shown().is_none() && history.versions.len() == 2 && !history.markers_ms.is_empty() {
            return Ok(());
        }
        Err(Unmet::Finding(
            "an object that was deleted does not keep its versions behind a delete marker".to_owned(),
        ))
    }

    /// Maintenance hides files. A marker on a name that was never stored hides nothing.
    async fn hiding(&self, name: &str) -> Trial {
        let key = self.layout.trial(&format!("snapshots/{name}"));
        match self.client.delete_object().bucket(&self.settings.bucket).key(&key).send().await {
            Ok(_) => Ok(()),
            Err(error) if failure(&error) == Failure::Absent => Ok(()),
            Err(error) => {
                Err(self.refused("a snapshot cannot be hidden", &error, "s3:DeleteObject on all files"))
            }
        }
    }

    fn refused<E>(&self, what: &str, error: &SdkError<E, HttpResponse>, right: &str) -> Unmet
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        if is_silent(error) {
            return Unmet::Silent(self.failed(error));
        }
        Unmet::Finding(match failure(error) {
            Failure::Denied => format!("{what} ({}): allow {right}", words(error)),
            _ => format!("{what}: {}", words(error)),
        })
    }
}

/// Whether the store gave no answer at all.
fn is_silent<E>(error: &SdkError<E, HttpResponse>) -> bool {
    error.raw_response().is_none()
}

const NO_MARKERS: &str = "the store cannot keep an object 'name/' beside objects whose names begin with 'name/', as \
                          stores on a file system cannot: Pawl cannot keep repositories there";
