//! `pawl doctor`: whether the place where repositories are kept holds what Pawl promises.
//!
//! Invariant: what cannot be found out is a fault. A bucket is tried on objects of Pawl's own; nothing that anybody
//! stored is touched.

use serde::Serialize;

use crate::cli::Doctor;
use crate::config::Config;
use crate::print::{self, Ended, Outcome};
use crate::serve::configuration;
use crate::store::local;
use crate::store::s3::settings::{Instances, S3Settings};
use crate::store::s3::{self, Finding, Sort};

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Line {
    /// `good`, `note`, `accepted` or `fault`.
    verdict: &'static str,
    /// What was found.
    text: String,
    /// What follows from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    consequence: Option<&'static str>,
    /// The word in `s3.accept` with which it is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    accept: Option<&'static str>,
}

impl Line {
    const fn plain(verdict: &'static str, text: String) -> Self {
        Self { verdict, text, consequence: None, accept: None }
    }
}

/// Looks, and says what it found: exit code 0 if nothing is wrong, 1 if something is, 2 if it could not look.
pub fn run(options: &Doctor) -> Outcome {
    let lines = match look(options) {
        Ok(lines) => lines,
        Err(error) => return Err(Ended { code: 2, message: error.to_string() }.into()),
    };
    if options.json {
        print::json(&lines)?;
    } else {
        for line in &lines {
            print::line(&format!("{:<9} {}", line.verdict, line.text))?;
            if let Some(consequence) = line.consequence {
                print::line(&format!("{:<9}   {consequence}", ""))?;
            }
        }
    }
    let faults = lines.iter().filter(|line| line.verdict == "fault").count();
    if faults == 0 { Ok(()) } else { Err(Ended { code: 1, message: String::new() }.into()) }
}

fn look(options: &Doctor) -> Result<Vec<Line>, Box<dyn std::error::Error>> {
    let config = configuration(&options.place)?;
    match &config.s3 {
        None => directory(&config),
        Some(settings) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let findings = runtime.block_on(s3::examine(settings))?;
            let mut lines: Vec<_> =
                findings.all().iter().map(|finding| of_bucket(finding, settings)).collect();
            lines.extend(of_instances(&findings, settings));
            Ok(lines)
        }
    }
}

fn of_bucket(finding: &Finding, settings: &S3Settings) -> Line {
    let text = finding.text.clone();
    match finding.sort {
        Sort::Good => Line::plain("good", text),
        Sort::Note => Line::plain("note", text),
        Sort::Weak(weakness) => Line {
            verdict: if settings.accept.contains(&weakness) { "accepted" } else { "fault" },
            text,
            consequence: Some(weakness.consequence()),
            accept: Some(weakness.as_str()),
        },
    }
}

fn of_instances(findings: &s3::Findings, settings: &S3Settings) -> Option<Line> {
    let needs_one = !findings.lets_one_win();
    let text = match (needs_one, settings.instances) {
        (false, _) => return None,
        (true, Instances::One) => "only this server may use the bucket (s3.instances = \"one\")",
        (true, Instances::Many) => {
            "several servers may use the bucket (s3.instances = \"many\"), but the store lets several writers of one \
             name win: set it to \"one\", and see to it that there is no other"
        }
    };
    let verdict = if settings.instances == Instances::One { "note" } else { "fault" };
    Some(Line::plain(verdict, text.to_owned()))
}

/// What can be said of a directory without serving it.
fn directory(config: &Config) -> Result<Vec<Line>, Box<dyn std::error::Error>> {
    let data = &config.data;
    if !data.is_dir() {
        return Err(format!("{}: there is no such directory; `pawl serve` makes it", data.display()).into());
    }
    let mut lines = Vec::new();
    let space = local::space_of(data)?;
    let free = bytesize::ByteSize(space.room_bytes).display().iec();
    let verdict = if space.room_bytes == 0 { "fault" } else { "good" };
    lines.push(Line::plain(verdict, format!("hosts can store {free} more")));
    let kept = "a directory keeps no versions by itself: whoever is root on this machine can destroy it. Keep a second \
                store elsewhere";
    lines.push(Line::plain("note", kept.to_owned()));
    Ok(lines)
}
