//! What is stored under one name of the bucket, and marks, which say something by being there.
//!
//! Invariant: a store that does not answer is never taken for one that has nothing.

use aws_sdk_s3::types::ChecksumMode;
use bytes::Bytes;
use pawl_policy::{Handle, RepositoryName};

use super::facts::Head;
use super::failure::{Failure, failure, store_error};
use super::{S3Store, names, put};
use crate::StoreError;

impl S3Store {
    /// What is stored under a name; `None` if the store says that there is nothing.
    pub(super) async fn head(&self, bucket: &str, key: &str) -> Result<Option<Head>, StoreError> {
        self.head_version(bucket, key, None).await
    }

    /// The same for one version.
    pub(super) async fn head_version(
        &self,
        bucket: &str,
        key: &str,
        version: Option<String>,
    ) -> Result<Option<Head>, StoreError> {
        let head = self.clients.quick.head_object().bucket(bucket).key(key).set_version_id(version);
        match head.checksum_mode(ChecksumMode::Enabled).send().await {
            Ok(output) if output.content_length().is_none() => {
                Err(StoreError::Unavailable("HEAD: the store does not say how long a file is".to_owned()))
            }
            Ok(output) => Ok(Some(Head::new(&output))),
            Err(error) if failure(&error) == Failure::Absent => Ok(None),
            Err(error) => Err(store_error("HEAD", &error)),
        }
    }

    /// The same for an answer "not found", which a HEAD gives for a missing bucket, too.
    pub(super) async fn head_for_certain(&self, bucket: &str, key: &str) -> Result<Option<Head>, StoreError> {
        let head = self.head(bucket, key).await?;
        if head.is_none() {
            let list = self.clients.quick.list_objects_v2().bucket(bucket).prefix(key).max_keys(1);
            list.send().await.map_err(|error| names::failed("cannot look for the bucket", &error))?;
        }
        Ok(head)
    }

    /// What is stored under a handle, if it may be known of: a key that was set aside counts as absent.
    pub(super) async fn file(
        &self,
        repository: &RepositoryName,
        handle: &Handle,
    ) -> Result<Option<Head>, StoreError> {
        if self.is_aside(repository, handle).await? {
            return Ok(None);
        }
        if *handle == Handle::Config {
            return self.config_head(repository).await;
        }
        self.head_for_certain(self.bucket(handle), &self.layout.file(repository, handle)).await
    }

    /// Puts an empty object that says something by being there.
    pub(super) async fn mark(&self, key: &str) -> Result<(), StoreError> {
        let target = put::Target {
            bucket: self.settings.bucket.clone(),
            key: key.to_owned(),
            sha256: put::SHA256_OF_NOTHING,
            metadata: std::collections::HashMap::new(),
            is_data: false,
            unless_taken: self.findings.knows_conditions(),
        };
        match put::whole(&self.clients.quick, &self.settings, target, Bytes::new()).await? {
            put::PutOutcome::Stored(_) | put::PutOutcome::Taken => Ok(()),
            put::PutOutcome::Unclear(_) => match self.head(&self.settings.bucket, key).await? {
                Some(_) => Ok(()),
                None => Err(StoreError::Unavailable("it is not known whether a mark was stored".to_owned())),
            },
        }
    }
}
