//! What the store probe finds out about a bucket, and what follows from it.
//!
//! Invariant: a weakness is a fault unless the configuration accepts it by name.

use super::adversaries::Store;
use super::{Line, Verdict};
use crate::store::s3::settings::{Instances, S3Settings, Weakness};
use crate::store::s3::{self, Finding, Findings, Sort};

/// Tries the bucket.
pub(super) fn look(settings: &S3Settings) -> Result<(Vec<Line>, Store), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let findings = runtime.block_on(s3::examine(settings))?;
    let mut lines: Vec<_> = findings.all().iter().map(|finding| of_finding(finding, settings)).collect();
    lines.extend(of_instances(&findings, settings));
    let is_weak =
        |finding: &Finding, weakness| matches!(finding.sort, Sort::Weak(found) if found == weakness);
    let has = |weakness| findings.all().iter().any(|finding| is_weak(finding, weakness));
    let store = Store::Bucket {
        keeps_versions: !has(Weakness::Unversioned),
        powerful: has(Weakness::PowerfulCredential),
        noncurrent_days: findings.noncurrent_days(),
        knows_rules: findings.knows_noncurrent_days(),
    };
    Ok((lines, store))
}

fn of_finding(finding: &Finding, settings: &S3Settings) -> Line {
    let text = finding.text.clone();
    match finding.sort {
        Sort::Good => Line::good(text),
        Sort::Note => Line::plain(Verdict::Note, text),
        Sort::Weak(weakness) => Line {
            verdict: if settings.accept.contains(&weakness) { Verdict::Accepted } else { Verdict::Fault },
            text,
            consequence: Some(weakness.consequence().to_owned()),
            accept: Some(weakness.as_str()),
        },
    }
}

fn of_instances(findings: &Findings, settings: &S3Settings) -> Option<Line> {
    if findings.lets_one_win() {
        return None;
    }
    Some(match settings.instances {
        Instances::One => {
            Line::plain(Verdict::Note, "only this server may use the bucket (s3.instances = \"one\")")
        }
        Instances::Many => Line::fault(
            "several servers may use the bucket (s3.instances = \"many\"), but the store lets several writers of one \
             name win",
            "set it to \"one\", and see to it that there is no other",
        ),
    })
}
