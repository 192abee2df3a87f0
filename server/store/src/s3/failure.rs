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

/// Characters of a store's message that are shown. S3's own take about 100.
const MESSAGE_CHARS_MAX: usize = 300;

/// What went wrong in words: status, code and message of the store's answer, and the number under which the store's
/// operator finds the request. Nothing else of an answer is shown: what a proxy or another server sent may be a page.
pub(super) fn words<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let Some(response) = error.raw_response() else { return chain(error) };
    let status = response.status().as_u16();
    let service = error.as_service_error();
    let mut words = match service.and_then(|service| Some((service.code()?, service.message()))) {
        Some((code, message)) => {
            let message = message.map(plain).filter(|message| !message.is_empty());
            let message = message.map_or_else(String::new, |message| format!(": {message}"));
            format!("{status} {}{message}", plain(code))
        }
        // A HEAD has no words.
        None if has_no_body(error) => status.to_string(),
        None => {
            format!(
                "{status}: expected an answer of S3, found another; check s3.endpoint, and what stands before it"
            )
        }
    };
    if let Some(id) = response.headers().get("x-amz-request-id").map(plain).filter(|id| !id.is_empty()) {
        words = format!("{words} (request {id})");
    }
    words
}

/// The beginning of a text of the store's, up to where it is none: markup, or what moves a cursor.
fn plain(text: &str) -> String {
    let is_plain = |letter: &char| *letter != '<' && !letter.is_control();
    text.chars().take(MESSAGE_CHARS_MAX).take_while(is_plain).collect::<String>().trim_end().to_owned()
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

#[cfg(test)]
mod tests {
    use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Error;
    use aws_smithy_runtime_api::http::StatusCode;
    use aws_smithy_types::body::SdkBody;
    use aws_smithy_types::error::ErrorMetadata;

    use super::*;

    const XML: &str = "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Secret>abc</Secret></Error>";

    fn answer(
        status: u16,
        body: &'static str,
        error: ListObjectsV2Error,
    ) -> SdkError<ListObjectsV2Error, HttpResponse> {
        let mut response = HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body));
        response.headers_mut().insert("x-amz-request-id", "4711");
        SdkError::service_error(error, response)
    }

    #[test]
    fn of_an_answer_a_user_sees_code_message_and_request_and_never_its_body() {
        let said = |code: &str, message: &str| {
            ListObjectsV2Error::generic(ErrorMetadata::builder().code(code).message(message).build())
        };
        assert_eq!(
            words(&answer(403, XML, said("AccessDenied", "Access Denied"))),
            "403 AccessDenied: Access Denied (request 4711)"
        );
        assert_eq!(words(&answer(403, XML, said("Odd", "No\n<b>way</b>"))), "403 Odd: No (request 4711)");
        let long = words(&answer(403, XML, said("Long", &"x".repeat(9000))));
        assert!(long.len() < 400, "{long}");

        // What the SDK says of an answer that it does not understand.
        let cause = format!("encountered invalid XML root: {XML}. This is likely a bug in the SDK.");
        let not_understood = || ListObjectsV2Error::unhandled(cause.clone());
        for status in [200, 403, 503] {
            let words = words(&answer(status, XML, not_understood()));
            assert!(words.starts_with(&format!("{status}: expected an answer of S3")), "{words}");
            assert!(words.ends_with("(request 4711)"), "{words}");
            assert!(!words.contains('<') && !words.contains("SDK"), "{words}");
        }
        assert_eq!(words(&answer(403, "", not_understood())), "403 (request 4711)");
    }
}
