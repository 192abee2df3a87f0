//! How long the bucket keeps versions that are not shown any more.
//!
//! Invariant: the shortest time that any rule in force gives to files of Pawl's; what cannot be read is said to be so.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{ExpirationStatus, LifecycleRule};

use super::failure::words;
use super::finding::OldVersions;

/// How a listing begins, after the XML declaration.
const LISTING: &[u8] = b"<ListBucketResult";

/// Reads the rules that are in force for names beginning with `prefix`.
pub(super) async fn old_versions(client: &Client, bucket: &str, prefix: &str) -> OldVersions {
    match client.get_bucket_lifecycle_configuration().bucket(bucket).send().await {
        Ok(answer) => shortest(answer.rules(), prefix).map_or(OldVersions::Stay, OldVersions::EndAfter),
        Err(error) if has_none(&error) => OldVersions::Stay,
        Err(error) => OldVersions::NotKnown(words(&error)),
    }
}

/// Whether the bucket has no rules, or the store none at all: s3s-fs and s3rver say that it is not implemented, and Swift
/// answers with a listing.
fn has_none<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    let body = error.raw_response().and_then(|answer| answer.body().bytes()).unwrap_or_default();
    matches!(error.code(), Some("NoSuchLifecycleConfiguration" | "NotImplemented")) || is_listing(body)
}

fn is_listing(body: &[u8]) -> bool {
    body.windows(LISTING.len()).any(|part| part == LISTING)
}

fn shortest(rules: &[LifecycleRule], prefix: &str) -> Option<u32> {
    let in_force = rules.iter().filter(|rule| *rule.status() == ExpirationStatus::Enabled);
    in_force.filter(|rule| is_for_files(&of_rule(rule), prefix)).filter_map(days).min()
}

/// What the names begin with that a rule is for.
fn of_rule(rule: &LifecycleRule) -> String {
    let filter = rule.filter();
    let prefix = filter.and_then(|filter| filter.prefix().or_else(|| filter.and()?.prefix()));
    #[expect(deprecated, reason = "older configurations have it still")]
    prefix.or(rule.prefix()).unwrap_or_default().to_owned()
}

/// Whether a rule reaches files other than locks, which are worth nothing, and the probe's own.
fn is_for_files(of_rule: &str, prefix: &str) -> bool {
    let is_own = of_rule.contains("/locks/") || of_rule.contains(".pawl-probe/");
    !is_own && (prefix.starts_with(of_rule) || of_rule.starts_with(prefix))
}

fn days(rule: &LifecycleRule) -> Option<u32> {
    rule.noncurrent_version_expiration()?.noncurrent_days().and_then(|days| u32::try_from(days).ok())
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::types::{LifecycleRuleFilter, NoncurrentVersionExpiration};

    use super::*;

    fn rule(prefix: &str, days: i32, status: ExpirationStatus) -> LifecycleRule {
        let expiration = NoncurrentVersionExpiration::builder().noncurrent_days(days).build();
        LifecycleRule::builder()
            .status(status)
            .filter(LifecycleRuleFilter::builder().prefix(prefix).build())
            .noncurrent_version_expiration(expiration)
            .build()
            .unwrap()
    }

    #[test]
    fn the_shortest_rule_that_reaches_files_counts() {
        let rules = [
            rule("", 40, ExpirationStatus::Enabled),
            rule("backup/", 30, ExpirationStatus::Enabled),
            rule("backup/web1/", 20, ExpirationStatus::Enabled),
            rule("backup/web1/locks/", 1, ExpirationStatus::Enabled),
            rule("backup/.pawl-probe/", 1, ExpirationStatus::Enabled),
            rule("other/", 2, ExpirationStatus::Enabled),
            rule("", 3, ExpirationStatus::Disabled),
        ];
        assert_eq!(shortest(&rules, "backup/"), Some(20));
        assert_eq!(shortest(&rules[..1], "backup/"), Some(40));
        assert_eq!(shortest(&[], "backup/"), None);
    }
}
