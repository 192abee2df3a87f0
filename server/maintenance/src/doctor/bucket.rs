//! What the store probe finds out about a bucket, and what follows from it.
//!
//! Invariant: a weakness is a fault unless the configuration accepts it by name.

use pawl_config::hint;
use pawl_config::s3::{Instances, S3Settings, Weakness};
use pawl_store::s3::{self, Finding, Findings, Other, S3Store, Sort};

use super::store::Store;
use super::{Line, Verdict};

/// Tries the bucket.
pub(super) fn look(
    settings: &S3Settings,
    purge_delay_days: u32,
) -> Result<(Vec<Line>, Store), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let findings = runtime.block_on(s3::examine(settings))?;
    let bucket = runtime.block_on(S3Store::open_untried(settings.clone()))?;
    let servers = runtime.block_on(bucket.other_servers(None));
    let mut lines = lines(&findings, settings, purge_delay_days);
    lines.extend(match servers {
        Ok(servers) => of_servers(&servers, settings),
        Err(error) => {
            Some(Line::note("which servers use the bucket is not known", format!("cannot list: {error}")))
        }
    });
    Ok((lines, store(&findings, Some(has(&findings, Weakness::PowerfulCredential)))))
}

/// What maintenance found out with its own credential, which says nothing of the frontend's.
pub(super) fn of_maintenance(
    found: Option<(&Findings, &S3Settings)>,
    purge_delay_days: u32,
) -> (Vec<Line>, Store) {
    let Some((findings, settings)) = found else {
        let line = Line::note(
            "the bucket was not tried out within a day",
            format!("`{}` does that", hint::pawl("doctor")),
        );
        let unknown = Store::Bucket {
            keeps_versions: true, // one without is refused, and `pawl doctor` says so
            powerful: None,
            noncurrent_days: None,
            knows_rules: false,
        };
        return (vec![line], unknown);
    };
    (lines(findings, settings, purge_delay_days), store(findings, None))
}

fn lines(findings: &Findings, settings: &S3Settings, purge_delay_days: u32) -> Vec<Line> {
    let of_findings = findings.all().iter().map(|finding| of_finding(finding, settings));
    of_findings
        .chain(of_object_lock(findings, purge_delay_days))
        .chain(of_instances(findings, settings))
        .chain(of_transport(settings))
        .collect()
}

fn of_object_lock(findings: &Findings, purge_delay_days: u32) -> Option<Line> {
    let locked_days = findings.locked_days()?;
    if locked_days >= purge_delay_days {
        let text =
            format!("Object Lock outlasts the purge delay ({locked_days} and {purge_delay_days} days)");
        return Some(Line::good(text));
    }
    let text =
        format!("Object Lock ends before the purge delay does ({locked_days} and {purge_delay_days} days)");
    let consequence = format!(
        "a credential that may delete versions can delete a file for good before its purge delay is over; set the \
         bucket's default retention to {purge_delay_days} days or more"
    );
    Some(Line::note(text, consequence))
}

fn of_transport(settings: &S3Settings) -> Option<Line> {
    let consequence = "whoever is on the way reads names and metadata, and can keep back, drop and forge answers; give the \
                       store a certificate, and s3.endpoint https://";
    settings
        .plain_http
        .then(|| Line::note("the store is reached over plain HTTP on a network (s3.plain_http)", consequence))
}

fn store(findings: &Findings, powerful: Option<bool>) -> Store {
    Store::Bucket {
        keeps_versions: !has(findings, Weakness::Unversioned),
        powerful,
        noncurrent_days: findings.noncurrent_days(),
        knows_rules: findings.knows_noncurrent_days(),
    }
}

fn has(findings: &Findings, weakness: Weakness) -> bool {
    let is_weak = |finding: &Finding| matches!(finding.sort, Sort::Weak(found) if found == weakness);
    findings.all().iter().any(is_weak)
}

fn of_finding(finding: &Finding, settings: &S3Settings) -> Line {
    let text = finding.text.clone();
    match finding.sort {
        Sort::Good => Line::good(text),
        Sort::Note => Line::plain(Verdict::Note, text),
        Sort::Fault => Line::plain(Verdict::Fault, text),
        Sort::Weak(weakness) => Line {
            verdict: if settings.accept.contains(&weakness) { Verdict::Accepted } else { Verdict::Fault },
            text,
            consequence: Some(weakness.consequence().to_owned()),
            accept: Some(weakness.as_str()),
        },
    }
}

/// Which servers left a sign of life in the bucket lately; the one that runs here is one of them.
fn of_servers(servers: &[Other], settings: &S3Settings) -> Option<Line> {
    let seen: Vec<_> = servers
        .iter()
        .map(|server| format!("{}, {} minutes ago", server.host, server.seen_minutes))
        .collect();
    let text = format!("servers that use the bucket, and when each was last seen: {}", seen.join("; "));
    let is_for_one = settings.instances == Instances::One
        || servers.iter().any(|server| server.instances == Instances::One);
    match servers {
        [] => None,
        [_, _, ..] if is_for_one => Some(Line::fault(
            text,
            "s3.instances = \"one\" says of one of them that it is the only one: stop the others",
        )),
        _ => Some(Line::plain(Verdict::Note, text)),
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
