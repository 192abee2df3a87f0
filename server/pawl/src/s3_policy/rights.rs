//! The table of rights in a bucket: which role may do what, where.
//!
//! Invariant: every policy is made from this table; a right that a role does not hold here, no policy gives it, and
//! one that removes or changes something is denied to whoever does not hold it.

use clap::ValueEnum;

/// Who has a credential of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub enum Role {
    /// What `pawl serve` holds: reads and adds, and removes locks
    Writer,
    /// Reads, old versions too: to restore without Pawl
    Reader,
    /// Prunes, by hiding, and brings back; removes no version
    Maintenance,
    /// Removes versions for good; only with `--with-purger`, as a lifecycle rule does its work
    Purger,
    /// A human, for what nobody else may do
    BreakGlass,
}

impl Role {
    /// All five.
    pub const ALL: [Self; 5] =
        [Self::Writer, Self::Reader, Self::Maintenance, Self::Purger, Self::BreakGlass];

    /// As it is typed, and printed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Writer => "writer",
            Self::Reader => "reader",
            Self::Maintenance => "maintenance",
            Self::Purger => "purger",
            Self::BreakGlass => "break-glass",
        }
    }
}

/// Where a right holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The bucket itself: its settings and its listing.
    Bucket,
    /// Repositories with all that is in them, but for locks.
    Files,
    /// Locks.
    Locks,
    /// What the probe of a store leaves behind.
    Probes,
    /// Pawl's own state, which maintenance writes.
    State,
}

impl Place {
    /// All in which there are objects.
    pub const OF_OBJECTS: [Self; 4] = [Self::Files, Self::Locks, Self::Probes, Self::State];

    /// As the table has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bucket => "bucket",
            Self::Files => "files",
            Self::Locks => "locks",
            Self::Probes => "probes",
            Self::State => ".pawl/",
        }
    }
}

/// What a right lets happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Something is told. Who does not hold the right is merely not allowed.
    Tells,
    /// Something is added; nothing that is there is lost by it.
    Adds,
    /// Something is removed, hidden or changed. Who does not hold the right is denied it, whatever else allows it.
    Changes,
}

/// One row: a right in some places, and who holds it there.
#[derive(Debug, Clone, Copy)]
pub struct Right {
    /// S3's name for it, after `s3:`.
    pub action: &'static str,
    /// What it lets happen.
    pub effect: Effect,
    /// Where.
    pub places: &'static [Place],
    /// Who holds it there.
    pub roles: &'static [Role],
    /// Whether Ceph RGW knows the action. It refuses a policy that names one that it does not know.
    pub in_ceph: bool,
}

impl Right {
    /// Whether a role holds it in a place.
    #[must_use]
    pub fn is_held(&self, role: Role, place: Place) -> bool {
        self.places.contains(&place) && self.roles.contains(&role)
    }
}

use Effect::{Adds, Changes, Tells};
use Place::{Bucket, Files, Locks, Probes, State};
use Role::{BreakGlass, Maintenance, Purger, Reader, Writer};

const fn row(
    action: &'static str,
    effect: Effect,
    places: &'static [Place],
    roles: &'static [Role],
) -> Right {
    Right { action, effect, places, roles, in_ceph: true }
}

const fn aws_only(right: Right) -> Right {
    Right { in_ceph: false, ..right }
}

const OBJECTS: &[Place] = &Place::OF_OBJECTS;
const NOBODY: &[Role] = &[];

/// All rights.
pub const RIGHTS: &[Right] = &[
    // Without the listing of all of it, S3 answers 403 instead of 404 for what is not there.
    row("ListBucket", Tells, &[Bucket], &[Writer, Reader, Maintenance, Purger, BreakGlass]),
    // The oldest version of a config is the true one.
    row("ListBucketVersions", Tells, &[Bucket], &[Writer, Reader, Maintenance, Purger, BreakGlass]),
    // What a direct restic asks for first.
    row("GetBucketLocation", Tells, &[Bucket], &[Reader, Maintenance, BreakGlass]),
    // What `pawl doctor` looks at.
    row("GetBucketVersioning", Tells, &[Bucket], &[Writer, Maintenance, Purger, BreakGlass]),
    row("GetBucketObjectLockConfiguration", Tells, &[Bucket], &[Writer, Maintenance, Purger, BreakGlass]),
    row("GetLifecycleConfiguration", Tells, &[Bucket], &[Writer, Maintenance, Purger, BreakGlass]),
    row("GetBucketPolicy", Tells, &[Bucket], &[Maintenance, BreakGlass]),
    row("GetObject", Tells, &[Files, Locks], &[Writer, Reader, Maintenance, Purger, BreakGlass]),
    row("GetObject", Tells, &[Probes, State], &[Writer, Maintenance, Purger, BreakGlass]),
    row("GetObjectVersion", Tells, &[Files, Locks], &[Writer, Reader, Maintenance, Purger, BreakGlass]),
    row("GetObjectVersion", Tells, &[Probes, State], &[Writer, Maintenance, Purger, BreakGlass]),
    // Until when Object Lock keeps what cannot be purged.
    row("GetObjectRetention", Tells, OBJECTS, &[Maintenance, Purger, BreakGlass]),
    row("GetObjectLegalHold", Tells, OBJECTS, &[Maintenance, Purger, BreakGlass]),
    row("PutObject", Adds, &[Files, Locks, Probes], &[Writer, Maintenance, BreakGlass]),
    // Hosts' credentials and tombstones are there: who writes them decides who may do what.
    row("PutObject", Changes, &[State], &[Maintenance, BreakGlass]),
    // A marker: what it hides stays.
    row("DeleteObject", Adds, &[Locks], &[Writer, Maintenance, BreakGlass]),
    row("DeleteObject", Changes, &[Files, Probes, State], &[Maintenance, BreakGlass]),
    row("DeleteObjectVersion", Changes, &[Files, Locks, Probes], &[Purger, BreakGlass]),
    row("DeleteObjectVersion", Changes, &[State], &[BreakGlass]),
    row("BypassGovernanceRetention", Changes, OBJECTS, &[BreakGlass]),
    row("PutObjectRetention", Changes, OBJECTS, &[BreakGlass]),
    row("PutObjectLegalHold", Changes, OBJECTS, &[BreakGlass]),
    // Who owns an object on Ceph could else open it to the world; rules go by tags.
    row("PutObjectAcl", Changes, OBJECTS, NOBODY),
    row("PutObjectVersionAcl", Changes, OBJECTS, NOBODY),
    row("PutObjectTagging", Changes, OBJECTS, NOBODY),
    row("PutObjectVersionTagging", Changes, OBJECTS, NOBODY),
    row("DeleteObjectTagging", Changes, OBJECTS, NOBODY),
    row("DeleteObjectVersionTagging", Changes, OBJECTS, NOBODY),
    // A replication that writes here is asked for none of the rights above.
    aws_only(row("ReplicateObject", Changes, OBJECTS, NOBODY)),
    aws_only(row("ReplicateDelete", Changes, OBJECTS, NOBODY)),
    aws_only(row("ReplicateTags", Changes, OBJECTS, NOBODY)),
    // No policy binds a lifecycle rule, so none but this one may set it.
    row("PutLifecycleConfiguration", Changes, &[Bucket], &[BreakGlass]),
    row("PutBucketVersioning", Changes, &[Bucket], &[BreakGlass]),
    row("PutBucketObjectLockConfiguration", Changes, &[Bucket], &[BreakGlass]),
    row("PutReplicationConfiguration", Changes, &[Bucket], &[BreakGlass]),
    row("PutBucketPolicy", Changes, &[Bucket], &[BreakGlass]),
    row("DeleteBucketPolicy", Changes, &[Bucket], &[BreakGlass]),
    row("PutBucketAcl", Changes, &[Bucket], &[BreakGlass]),
    row("PutBucketPublicAccessBlock", Changes, &[Bucket], &[BreakGlass]),
    aws_only(row("PutBucketOwnershipControls", Changes, &[Bucket], &[BreakGlass])),
    // A key of another account would make what is stored from then on unreadable.
    aws_only(row("PutEncryptionConfiguration", Changes, &[Bucket], &[BreakGlass])),
    row("DeleteBucket", Changes, &[Bucket], &[BreakGlass]),
];

/// The table as text.
#[must_use]
pub fn table() -> String {
    let mut lines = vec![line("right", "on", &Role::ALL.map(Role::as_str))];
    for right in RIGHTS {
        let places: Vec<_> = right.places.iter().map(|place| place.as_str()).collect();
        let held = Role::ALL.map(|role| if right.roles.contains(&role) { "yes" } else { "-" });
        lines.push(line(&format!("s3:{}", right.action), &places.join(" "), &held));
    }
    lines.push(String::new());
    lines.push("The purger is not there unless asked for: a lifecycle rule does its work.".to_owned());
    lines.join("\n")
}

fn line(right: &str, places: &str, roles: &[&str; 5]) -> String {
    let [writer, reader, maintenance, purger, break_glass] = roles;
    let row = format!(
        "{right:<36} {places:<26} {writer:<7} {reader:<7} {maintenance:<12} {purger:<7} {break_glass}"
    );
    row.trim_end().to_owned()
}
