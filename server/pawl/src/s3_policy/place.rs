//! Where things are in a bucket, as policies name them.
//!
//! Invariant: neither a bucket's name nor a prefix contains anything that has a meaning in a policy.

use std::str::FromStr;

use super::rights::Place;

/// Longest prefix in bytes; S3's names have 1024 in all, and a file's own may take 350.
const PREFIX_BYTES_MAX: usize = 512;

/// Why a text cannot stand in a policy: what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlace {
    /// Not a bucket's name.
    #[error(
        "a bucket's name has 3 to 63 lower-case letters, digits, dots and dashes, a letter or digit at each end"
    )]
    Bucket,
    /// Not a prefix.
    #[error(
        "a prefix is like backup or teams/backup: segments of ASCII letters, digits and '.', '_', '-', '@', '+', \
         no '/' at its ends, at most 512 bytes"
    )]
    Prefix,
}

/// A bucket's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketName(String);

impl BucketName {
    /// As it was parsed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As a policy names the bucket itself.
    #[must_use]
    pub fn arn(&self) -> String {
        format!("arn:aws:s3:::{}", self.0)
    }
}

impl FromStr for BucketName {
    type Err = InvalidPlace;

    fn from_str(text: &str) -> Result<Self, InvalidPlace> {
        let is_end = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = text.as_bytes();
        let is_valid = (3..=63).contains(&bytes.len())
            && bytes.iter().all(|byte| is_end(byte) || b".-".contains(byte))
            && bytes.first().is_some_and(is_end)
            && bytes.last().is_some_and(is_end);
        if is_valid { Ok(Self(text.into())) } else { Err(InvalidPlace::Bucket) }
    }
}

/// Under what the repositories lie in the bucket; may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prefix(String);

impl Prefix {
    /// Before the first segment of a name: empty, or ends in a slash.
    #[must_use]
    pub fn start(&self) -> String {
        if self.0.is_empty() { String::new() } else { format!("{}/", self.0) }
    }
}

impl FromStr for Prefix {
    type Err = InvalidPlace;

    fn from_str(text: &str) -> Result<Self, InvalidPlace> {
        let is_segment = |segment: &str| {
            !segment.is_empty()
                && segment != "."
                && segment != ".."
                && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-@+".contains(&byte))
        };
        let is_valid = text.is_empty() || text.len() <= PREFIX_BYTES_MAX && text.split('/').all(is_segment);
        if is_valid { Ok(Self(text.into())) } else { Err(InvalidPlace::Prefix) }
    }
}

/// The objects of a place, as patterns; a `*` stands for slashes as well.
///
/// Those of repositories begin with one, since a repository has up to four segments: they reach into `.pawl/` and the
/// probes too, which is why these are denied beside them. They do not reach each other: `data`, `locks`, `.aside` and the
/// rest are no segments that a repository could have.
#[must_use]
pub fn patterns(bucket: &BucketName, prefix: &Prefix, place: Place) -> Vec<String> {
    let names: &[&str] = match place {
        Place::Bucket => return vec![bucket.arn()],
        Place::Files => &[
            "*/",            // a repository is there
            "*/initialised", // and is no draft any more
            "*/config",
            "*/data/*",
            "*/index/*",
            "*/keys/*",
            "*/snapshots/*",
            "*/.aside/*",
            "*/.rescued/*",
        ],
        Place::Locks => &["*/locks/*"],
        Place::Probes => &[".pawl-probe/*"],
        Place::State => &[".pawl/*"],
    };
    names.iter().map(|name| format!("{}/{}{name}", bucket.arn(), prefix.start())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_with_a_meaning_in_a_policy_is_a_name() {
        for text in ["", "ab", "Upper", "-a-", "a*b", "a/b", "a?b", "${x}", "a b", "a\"b", &"a".repeat(64)] {
            assert_eq!(text.parse::<BucketName>(), Err(InvalidPlace::Bucket), "{text}");
        }
        for text in ["/", "a/", "/a", "a//b", "*", "a?", "${aws:username}", "..", "a/../b", "a\"", "ä"] {
            assert_eq!(text.parse::<Prefix>(), Err(InvalidPlace::Prefix), "{text}");
        }
        assert_eq!("backup.example-1".parse::<BucketName>().unwrap().arn(), "arn:aws:s3:::backup.example-1");
        assert_eq!("teams/backup".parse::<Prefix>().unwrap().start(), "teams/backup/");
        assert_eq!("".parse::<Prefix>().unwrap().start(), "");
    }

    #[test]
    fn no_repository_can_lie_where_another_place_is() {
        // The writer may hide what is called */locks/*, so no repository may be called that; and so on.
        for place in Place::OF_OBJECTS {
            for pattern in patterns(&"bucket".parse().unwrap(), &Prefix::default(), place) {
                let name = pattern.strip_prefix("arn:aws:s3:::bucket/").unwrap();
                // This is a mark beside what hosts send: nothing else may be done to it than to files.
                let marks = ["*", "", "initialised"];
                for segment in name.split('/').filter(|segment| !marks.contains(segment)) {
                    let repository = format!("web1/{segment}/web2");
                    assert!(repository.parse::<pawl_policy::RepositoryName>().is_err(), "{repository}");
                }
            }
        }
    }
}
