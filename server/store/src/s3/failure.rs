//! What went wrong at the store, told apart.
//!
//! Invariant: only the store's own word that there is no such name is "not found". A missing bucket, a refusal and
//! everything unknown are errors.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::StoreError;

/// How a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// There is no such name.
    Absent,
    /// The name is taken (412).
    Taken,
    /// Somebody else writes the name at this moment (409).
    Conflict,
    /// The store does not let this credential do it.
    Denied,
    /// There is no room in the store, or none within a quota that it keeps.
    Full,
    /// The store does not know the call or one of its conditions.
    Unsupported,
    /// The range lies behind the end of the file.
    Range,
    /// The content is not what was announced.
    BadContent,
    /// It may have been done, or not.
    Unknown,
    /// It was not done, for another reason.
    Other,
}

/// Tells failures apart by what the store answered.
pub(super) fn failure<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Failure {
    let Some(status) = error.raw_response().map(|response| response.status().as_u16()) else {
        return match error {
            SdkError::ConstructionFailure(_) => Failure::Other,
            SdkError::DispatchFailure(failure) if failure.is_user() => Failure::Other,
            _ => Failure::Unknown,
        };
    };
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    match (status, code) {
        // Ceph, Cloudian and others; MinIO has words of its own.
        (507, _)
        | (
            _,
            Some(
                "QuotaExceeded"
                | "InsufficientStorage"
                | "XMinioStorageFull"
                | "XMinioAdminBucketQuotaExceeded",
            ),
        ) => Failure::Full,
        (404, Some("NoSuchKey" | "NotFound" | "NoSuchVersion")) => Failure::Absent,
        // A HEAD has no words. Something between that has other words does not know what the store has.
        (404, None) if has_no_body(error) => Failure::Absent,
        (405, Some("MethodNotAllowed")) => Failure::Unsupported,
        (412, _) => Failure::Taken,
        (409, Some("ConditionalRequestConflict" | "OperationAborted")) => Failure::Conflict,
        (401 | 403, _) => Failure::Denied,
        (416, _) => Failure::Range,
        (501, _) => Failure::Unsupported,
        (400, Some("BadDigest" | "XAmzContentSHA256Mismatch" | "InvalidDigest" | "IncompleteBody")) => {
            Failure::BadContent
        }
        (500.. | 200..=299, _) => Failure::Unknown,
        _ => Failure::Other,
    }
}

fn has_no_body<E>(error: &SdkError<E, HttpResponse>) -> bool {
    error.raw_response().and_then(|response| response.body().bytes()).is_some_and(<[u8]>::is_empty)
}

/// The error as a store's, with words for the log.
pub(super) fn store_error<E>(what: &str, error: &SdkError<E, HttpResponse>) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match failure(error) {
        Failure::Absent => StoreError::NotFound,
        Failure::Full => StoreError::Full,
        Failure::Denied => StoreError::Unavailable(format!(
            "{what}: the store refuses this server's credential: {}",
            words(error)
        )),
        _ => StoreError::Unavailable(format!("{what}: {}", words(error))),
    }
}

/// What went wrong in words: the store's own if it said some. Of a reply that was not understood, only that.
pub(super) fn words<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    if let (Some(status), Some(service)) = (status, error.as_service_error())
        && let Some(code) = service.code()
    {
        let message = service.message().map_or_else(String::new, |message| format!(": {message}"));
        return format!("{status} {code}{message}");
    }
    let words = chain(error);
    status.map_or_else(|| words.clone(), |status| format!("{status}: {words}"))
}

/// An error with its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_words = cause.to_string();
        if !words.ends_with(&cause_words) {
            words = format!("{words}: {cause_words}");
        }
        source = cause.source();
    }
    words
}
