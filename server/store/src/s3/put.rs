//! One PUT: content on its way to the store.
//!
//! Invariant: a PUT never replaces (`If-None-Match: *`), and it announces the SHA-256 that the content must have, signed
//! and for the store to check. What is streamed comes out of a verified body, which holds its last chunk back until the
//! hash is known here, too; a body that ends early leaves the store with less than was announced.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::ConfigBag;
use aws_sdk_s3::config::RuntimeComponents;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::error::{BoxError, SdkError};
use aws_sdk_s3::operation::put_object::{PutObjectError, PutObjectOutput};
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_sdk_s3::types::{ChecksumAlgorithm, ServerSideEncryption, StorageClass};
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pawl_config::s3::{Encryption, S3Settings};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::client::Clients;
use super::failure::{Failure, failure, store_error, words};
use crate::body::VerifiedBody;
use crate::{CreateError, StoreError};

/// What is to be stored, apart from its content.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) sha256: [u8; 32],
    pub(super) metadata: std::collections::HashMap<String, String>,
    /// Whether the storage class for `data` is meant.
    pub(super) is_data: bool,
    /// Said to every store that understands it: not to replace.
    pub(super) unless_taken: bool,
}

/// The SHA-256 of no bytes at all.
pub(super) const SHA256_OF_NOTHING: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// How a PUT ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PutOutcome {
    /// It is stored, as this version if the bucket keeps versions.
    Stored(Option<String>),
    /// The name is taken.
    Taken,
    /// Only a look can tell, for the reply was lost, or somebody else was at it: why.
    Unclear(String),
}

/// Nothing was stored.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) failure: Failure,
    pub(super) error: StoreError,
}

impl From<Failed> for StoreError {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

impl From<Failed> for CreateError {
    fn from(failed: Failed) -> Self {
        Self::Store(failed.error)
    }
}

/// The SHA-256 as the store's headers have it.
pub(super) fn checksum(sha256: &[u8; 32]) -> String {
    STANDARD.encode(sha256)
}

/// Stores content that is in memory.
pub(super) async fn whole(
    client: &Client,
    settings: &S3Settings,
    target: Target,
    content: Bytes,
) -> Result<PutOutcome, Failed> {
    let len = content.len() as u64;
    judge(&send(client, settings, target, SdkBody::from(content), len).await)
}

/// Stores content of `len` bytes as it arrives, of which `first` has.
pub(super) async fn stream(
    clients: &Clients,
    settings: &S3Settings,
    target: Target,
    len: u64,
    first: Bytes,
    body: &mut VerifiedBody<'_>,
) -> Result<PutOutcome, CreateError> {
    let (sender, receiver) = mpsc::channel(1);
    let arriving = SdkBody::from_body_1_x(Arriving { receiver, left: len });
    let patience = clients.patience;
    let mut feeding = pin!(feed(body, first, sender, patience.taking));
    let mut putting = pin!(send(&clients.streaming, settings, target, arriving, len));
    tokio::select! {
        fed = &mut feeding => {
            fed?;
            match timeout(patience.answer, putting).await {
                Ok(put) => Ok(judge(&put)?),
                Err(_) => Ok(PutOutcome::Unclear("the store does not answer".to_owned())),
            }
        }
        put = &mut putting => {
            let ended = judge(&put)?;
            feeding.await?; // the rest must have the right hash as well
            Ok(ended)
        }
    }
}

/// Hands over chunk after chunk. When the store has answered already, reads on to learn whether the content is good.
async fn feed(
    body: &mut VerifiedBody<'_>,
    first: Bytes,
    sender: mpsc::Sender<Bytes>,
    patience: Duration,
) -> Result<(), CreateError> {
    let mut next = Some(first);
    while let Some(chunk) = next {
        match timeout(patience, sender.send(chunk)).await {
            Ok(Ok(())) => next = body.next().await?,
            Ok(Err(_)) => return Ok(body.verify().await?),
            Err(_) => {
                return Err(StoreError::Unavailable("the store takes nothing any more".to_owned()).into());
            }
        }
    }
    Ok(())
}

async fn send(
    client: &Client,
    settings: &S3Settings,
    target: Target,
    body: SdkBody,
    len: u64,
) -> Result<PutObjectOutput, SdkError<PutObjectError, HttpResponse>> {
    let mut put = client
        .put_object()
        .bucket(target.bucket)
        .key(target.key)
        .set_if_none_match(target.unless_taken.then(|| "*".to_owned()))
        .checksum_algorithm(ChecksumAlgorithm::Sha256)
        .checksum_sha256(checksum(&target.sha256))
        .set_metadata(Some(target.metadata))
        .content_type("application/octet-stream")
        .content_length(i64::try_from(len).unwrap_or(i64::MAX))
        .body(ByteStream::new(body));
    if let (true, Some(class)) = (target.is_data, &settings.data_storage_class) {
        put = put.storage_class(StorageClass::from(class.as_str()));
    }
    put = match &settings.encryption {
        Encryption::Bucket => put,
        Encryption::Store => put.server_side_encryption(ServerSideEncryption::Aes256),
        Encryption::Kms(key) => {
            put.server_side_encryption(ServerSideEncryption::AwsKms).set_ssekms_key_id(key.clone())
        }
    };
    put.customize().interceptor(SignedHash(hex::encode(target.sha256))).send().await
}

fn judge(
    put: &Result<PutObjectOutput, SdkError<PutObjectError, HttpResponse>>,
) -> Result<PutOutcome, Failed> {
    match put {
        Ok(output) => Ok(PutOutcome::Stored(output.version_id().map(str::to_owned))),
        Err(error) => match failure(error) {
            Failure::Taken => Ok(PutOutcome::Taken),
            Failure::Conflict | Failure::Unknown => {
                let cause = words(error);
                tracing::warn!(cause, "whether a file was stored is not known; looking");
                Ok(PutOutcome::Unclear(cause))
            }
            failure => Err(Failed {
                failure,
                error: match store_error("PUT", error) {
                    StoreError::Full => {
                        tracing::error!(cause = words(error), "the store has no room");
                        StoreError::Full
                    }
                    // "Not found" of a PUT is the bucket, which is no answer for a host.
                    StoreError::NotFound => {
                        StoreError::Unavailable("PUT: there is no such bucket".to_owned())
                    }
                    StoreError::Unavailable(cause) => StoreError::Unavailable(cause),
                },
            }),
        },
    }
}

/// Signs the hash that the content must have. By itself the SDK signs no hash of what it streams.
#[derive(Debug)]
struct SignedHash(String);

#[dyn_dispatch_hint]
impl Intercept for SignedHash {
    fn name(&self) -> &'static str {
        "SignedHash"
    }

    fn modify_before_signing(
        &self,
        _context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(PayloadSigningOverride::Precomputed(self.0.clone()));
        Ok(())
    }
}

/// A body of known length whose chunks come through a channel. Ending early is an error, never a short body.
struct Arriving {
    receiver: mpsc::Receiver<Bytes>,
    left: u64,
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let chunk = ready!(self.receiver.poll_recv(context));
        let left = chunk.as_ref().and_then(|chunk| self.left.checked_sub(chunk.len() as u64));
        match (chunk, left) {
            (Some(chunk), Some(left)) => {
                self.left = left;
                Poll::Ready(Some(Ok(Frame::data(chunk))))
            }
            _ => Poll::Ready(Some(Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
