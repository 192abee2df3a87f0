//! What was found out about a store, one thing at a time and altogether.
//!
//! Invariant: a weakness has a name, by which alone it can be accepted.

use pawl_config::s3::{Instances, S3Settings, Weakness};
use serde::{Deserialize, Serialize};

/// One thing that was found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How good that is.
    pub sort: Sort,
    /// What it is, in a sentence.
    pub text: String,
}

/// How good a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// Has to be accepted by name.
    Weak(Weakness),
    /// Hosts or maintenance cannot work with it.
    Fault,
}

/// Why a store is not used.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// It cannot be tried out.
    #[error("cannot try out bucket '{bucket}': {cause}")]
    Failed {
        /// Which.
        bucket: String,
        /// What the store said.
        cause: String,
    },
    /// It is not as it should be.
    #[error("bucket '{bucket}' does not hold what Pawl promises:\n{reasons}")]
    Refused {
        /// Which.
        bucket: String,
        /// A line for each weakness, with its consequence and how to accept it.
        reasons: String,
    },
}

/// What happens to a PUT whose name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum TakenNames {
    /// Refused, and of several at once one wins.
    OneWins,
    /// Refused, but several at once may win.
    Refused,
    /// Replaced all the same.
    Replaced,
    /// The store does not know the condition.
    Unknown,
}

/// Everything that was found out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Findings {
    pub(super) all: Vec<Finding>,
    pub(super) keeps_versions: bool,
    pub(super) taken_names: TakenNames,
    pub(super) old_versions: OldVersions,
    /// For how many days Object Lock keeps each new version.
    #[serde(default)]
    pub(super) locked_days: Option<u32>,
    /// Whether it compares content with the SHA-256 that comes with it, and keeps that.
    #[serde(default)]
    pub(super) vouches_for_content: bool,
}

impl Findings {
    /// Whether the store refuses content whose SHA-256 is not the one announced, and tells that of each file later.
    #[must_use]
    pub const fn vouches_for_content(&self) -> bool {
        self.vouches_for_content
    }

    /// For how many days Object Lock keeps each new version; `None` if it keeps none, or that cannot be read.
    #[must_use]
    pub const fn locked_days(&self) -> Option<u32> {
        self.locked_days
    }

    /// After how many days the bucket ends versions that are not shown any more; `None` if no rule does, or it is not
    /// known.
    #[must_use]
    pub const fn noncurrent_days(&self) -> Option<u32> {
        match self.old_versions {
            OldVersions::EndAfter(days) => Some(days),
            OldVersions::Stay | OldVersions::NotKnown(_) => None,
        }
    }

    /// Whether that is known.
    #[must_use]
    pub const fn knows_noncurrent_days(&self) -> bool {
        !matches!(self.old_versions, OldVersions::NotKnown(_))
    }

    /// One by one.
    #[must_use]
    pub fn all(&self) -> &[Finding] {
        &self.all
    }

    pub(super) const fn keeps_versions(&self) -> bool {
        self.keeps_versions
    }

    pub(super) const fn refuses_taken_names(&self) -> bool {
        matches!(self.taken_names, TakenNames::OneWins | TakenNames::Refused)
    }

    /// Whether of several writers of one name one wins.
    #[must_use]
    pub const fn lets_one_win(&self) -> bool {
        matches!(self.taken_names, TakenNames::OneWins)
    }

    pub(super) const fn knows_conditions(&self) -> bool {
        !matches!(self.taken_names, TakenNames::Unknown)
    }

    /// What is supposed of a store in which nothing is going to be stored: that it keeps versions, so that they are looked at.
    pub(super) const fn not_tried() -> Self {
        Self {
            all: Vec::new(),
            keeps_versions: true,
            taken_names: TakenNames::Unknown,
            old_versions: OldVersions::NotKnown(String::new()),
            locked_days: None,
            vouches_for_content: false,
        }
    }

    /// Refuses the store unless all its weaknesses are accepted.
    pub(super) fn check(self, settings: &S3Settings) -> Result<Self, ProbeError> {
        let mut reasons = Vec::new();
        for finding in &self.all {
            if finding.sort == Sort::Fault {
                reasons.push(format!("- {}", finding.text));
            }
            if let Sort::Weak(weakness) = finding.sort
                && !settings.accept.contains(&weakness)
            {
                reasons.push(format!(
                    "- {} ({}). To go on all the same, add \"{}\" to s3.accept",
                    finding.text,
                    weakness.consequence(),
                    weakness.as_str()
                ));
            }
        }
        if !self.lets_one_win() && settings.instances == Instances::Many {
            reasons.push(
                "- the store lets several writers of one name win, so that only one Pawl may use the bucket. Set \
                 s3.instances = \"one\", and see to it that there is no other"
                    .to_owned(),
            );
        }
        if reasons.is_empty() {
            return Ok(self);
        }
        Err(ProbeError::Refused { bucket: settings.bucket.clone(), reasons: reasons.join("\n") })
    }

    pub(super) fn add(&mut self, sort: Sort, text: impl Into<String>) {
        self.all.push(Finding { sort, text: text.into() });
    }
}

/// What is known of the bucket's rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OldVersions {
    /// They end so many days after they were replaced or hidden.
    EndAfter(u32),
    /// No rule ends them.
    Stay,
    /// The rules cannot be read, for this reason.
    NotKnown(String),
}

impl OldVersions {
    /// What follows from the rules, in words.
    pub(super) fn finding(&self) -> Finding {
        let (sort, text) = match self {
            Self::EndAfter(days) => {
                (Sort::Good, format!("what is overwritten or hidden can be brought back for {days} days"))
            }
            Self::Stay => {
                let text = "no lifecycle rule ends old versions: what maintenance deletes takes room until it is purged";
                (Sort::Note, text.to_owned())
            }
            Self::NotKnown(why) => {
                (Sort::Note, format!("the bucket's lifecycle rules cannot be read ({why})"))
            }
        };
        Finding { sort, text }
    }
}
