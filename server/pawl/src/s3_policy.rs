//! `pawl policy s3`: the policies under which a bucket keeps what Pawl promises, for AWS and for Ceph.
//!
//! Invariant: each is made from the one table in [`rights`]; nothing is asked of a store.

use std::str::FromStr;

use clap::{Args, ValueEnum};
use pawl_policy::RepositoryName;
use serde_json::{Map, Value, json};

use pawl_config::print::{self, Outcome};

pub mod bucket;
pub mod document;
pub mod lifecycle;
pub mod place;
pub mod rights;

use place::{BucketName, Prefix};
use rights::Role;

/// S3 takes a thousand rules in all.
const REPOSITORIES_MAX: usize = 990;

/// For whose store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Provider {
    /// Amazon S3: a policy for each role, and one of the bucket that refuses a PUT without a condition
    Aws,
    /// Ceph RGW: one policy of the bucket, whose owner is break-glass
    Ceph,
    /// Scaleway: one policy of the bucket, with --principal for each role
    Scaleway,
}

/// What belongs to a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// The policy of the bucket
    BucketPolicy,
    /// Its lifecycle configuration
    Lifecycle,
    /// The policy of the bucket for locks
    LocksBucketPolicy,
    /// Its lifecycle configuration
    LocksLifecycle,
}

/// Options of `pawl policy s3`.
#[derive(Debug, Args)]
pub struct Options {
    /// The bucket
    #[arg(long, required_unless_present = "table")]
    pub bucket: Option<BucketName>,
    /// Under what the repositories lie in it
    #[arg(long, default_value = "")]
    pub prefix: Prefix,
    /// A second bucket for locks, where Object Lock holds whatever is stored in the first
    #[arg(long, value_name = "BUCKET")]
    pub locks_bucket: Option<BucketName>,
    /// For whose store
    #[arg(long = "for", value_enum, default_value = "aws", value_name = "PROVIDER")]
    pub provider: Provider,
    /// The AWS account of roles called pawl-writer, pawl-reader, pawl-maintenance, pawl-purger and pawl-break-glass
    #[arg(long, value_name = "ID")]
    pub account: Option<Account>,
    /// Who has a role, if it is not called that; can be repeated. An ARN; at Scaleway `user_id:UUID` or `application_id:UUID`
    #[arg(long, value_name = "ROLE=PRINCIPAL")]
    pub principal: Vec<Principal>,
    /// A role that removes old versions for good, instead of a lifecycle rule
    #[arg(long)]
    pub with_purger: bool,
    /// For how long a lifecycle rule keeps what was overwritten or hidden, in days
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(2..=3650))]
    pub noncurrent_days: u32,
    /// A repository whose old locks go after a day instead of with all else; can be repeated
    #[arg(long, value_name = "NAME")]
    pub repository: Vec<RepositoryName>,
    /// Only the IAM policy of this role
    #[arg(long, value_enum, group = "what")]
    pub role: Option<Role>,
    /// Only this
    #[arg(long, value_enum, group = "what")]
    pub document: Option<Part>,
    /// The table of rights from which all is made
    #[arg(long, group = "what")]
    pub table: bool,
}

/// An AWS account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account(String);

impl FromStr for Account {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_valid = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
        if is_valid { Ok(Self(text.into())) } else { Err("an account is 12 digits") }
    }
}

/// Who has a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    role: Role,
    arn: String,
}

impl FromStr for Principal {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "as in maintenance=arn:aws:iam::123456789012:role/prune, without wildcards; at Scaleway as in \
                                maintenance=application_id:UUID or break-glass=user_id:UUID";
        let (role, arn) = text.split_once('=').ok_or(EXPECTED)?;
        let role = Role::ALL.into_iter().find(|known| known.as_str() == role).ok_or(EXPECTED)?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b":/+=,.@_-$".contains(&byte);
        let is_arn = arn.starts_with("arn:") && arn.matches(':').count() >= 5 && arn.bytes().all(is_plain);
        if is_arn || is_of_scaleway(arn) { Ok(Self { role, arn: arn.into() }) } else { Err(EXPECTED) }
    }
}

/// Whether a principal is named as Scaleway names users and applications.
fn is_of_scaleway(principal: &str) -> bool {
    let uuid = principal.strip_prefix("user_id:").or_else(|| principal.strip_prefix("application_id:"));
    uuid.is_some_and(|uuid| {
        let lengths: Vec<_> = uuid.split('-').map(str::len).collect();
        lengths == [8, 4, 4, 4, 12] && uuid.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
    })
}

/// What policies are made for.
#[derive(Debug, Clone)]
pub struct Target {
    provider: Provider,
    bucket: BucketName,
    prefix: Prefix,
    locks_bucket: Option<BucketName>,
    principals: Vec<Principal>,
    with_purger: bool,
    noncurrent_days: u32,
    repositories: Vec<RepositoryName>,
}

impl Target {
    /// The roles that there are.
    fn roles(&self) -> impl Iterator<Item = Role> + '_ {
        Role::ALL.into_iter().filter(|role| *role != Role::Purger || self.with_purger)
    }

    /// Who has one of these roles.
    fn arns_of(&self, roles: &[Role]) -> Vec<String> {
        let has_one = |principal: &&Principal| roles.contains(&principal.role);
        self.principals.iter().filter(has_one).map(|principal| principal.arn.clone()).collect()
    }
}

/// Why there is no policy.
#[derive(Debug, thiserror::Error)]
pub enum S3PolicyError {
    /// It is not known for which bucket.
    #[error("for which bucket? --bucket NAME")]
    NoBucket,
    /// It is not known who has a role.
    #[error(
        "who is {0}? Say --principal {0}=PRINCIPAL; AWS takes --account ID as well, in which roles are called pawl-writer and \
         so on"
    )]
    NoPrincipal(&'static str),
    /// The principal is one of another provider's.
    #[error(
        "--principal {0}={1}: expected an ARN, or with --for scaleway user_id:UUID or application_id:UUID; say --for as well"
    )]
    ForeignPrincipal(&'static str, String),
    /// There is no such role without an option.
    #[error("there is no purger unless --with-purger is given: a lifecycle rule does its work")]
    NoPurger,
    /// IAM policies are AWS's.
    #[error(
        "on Ceph and at Scaleway the bucket's policy says what each role may do: --document bucket-policy instead of --role"
    )]
    NoRolesButInAws,
    /// There is no bucket for locks.
    #[error("there is no bucket for locks: --locks-bucket names one")]
    NoLocksBucket,
    /// Both buckets are one.
    #[error("--bucket and --locks-bucket are the same bucket: leave --locks-bucket out")]
    OneBucket,
    /// More rules than S3 takes.
    #[error("a bucket takes rules for 990 repositories, not {0}; --locks-bucket needs one for all of them")]
    TooManyRepositories(usize),
}

/// Prints what was asked for.
pub fn run(options: Options) -> Outcome {
    if options.table {
        return print::line(&rights::table());
    }
    let (role, document) = (options.role, options.document);
    let target = target(options)?;
    let value = match (role, document) {
        (Some(role), _) => of_role(&target, role)?,
        (_, Some(part)) => of_bucket(&target, part)?,
        (None, None) => all(&target)?,
    };
    print::line(&serde_json::to_string_pretty(&value)?)
}

fn target(options: Options) -> Result<Target, S3PolicyError> {
    let bucket = options.bucket.ok_or(S3PolicyError::NoBucket)?;
    if options.locks_bucket.as_ref() == Some(&bucket) {
        return Err(S3PolicyError::OneBucket);
    }
    if options.locks_bucket.is_none() && options.repository.len() > REPOSITORIES_MAX {
        return Err(S3PolicyError::TooManyRepositories(options.repository.len()));
    }
    let is_foreign =
        |principal: &&Principal| is_of_scaleway(&principal.arn) != (options.provider == Provider::Scaleway);
    if let Some(Principal { role, arn }) = options.principal.iter().find(is_foreign) {
        return Err(S3PolicyError::ForeignPrincipal(role.as_str(), arn.clone()));
    }
    let mut target = Target {
        provider: options.provider,
        bucket,
        prefix: options.prefix,
        locks_bucket: options.locks_bucket,
        principals: options.principal,
        with_purger: options.with_purger,
        noncurrent_days: options.noncurrent_days,
        repositories: options.repository,
    };
    for role in Role::ALL {
        if target.arns_of(&[role]).is_empty() {
            let name = role.as_str();
            let arn = match (options.provider, &options.account) {
                (Provider::Aws, Some(account)) => format!("arn:aws:iam::{}:role/pawl-{name}", account.0),
                (Provider::Aws, None) | (Provider::Scaleway, _) => continue, // an error where it is needed
                (Provider::Ceph, _) => format!("arn:aws:iam:::user/pawl-{name}"),
            };
            target.principals.push(Principal { role, arn });
        }
    }
    Ok(target)
}

fn of_role(target: &Target, role: Role) -> Result<Value, Box<dyn std::error::Error>> {
    if target.provider != Provider::Aws {
        return Err(S3PolicyError::NoRolesButInAws.into());
    }
    if !target.roles().any(|known| known == role) {
        return Err(S3PolicyError::NoPurger.into());
    }
    Ok(serde_json::to_value(document::iam(target, role))?)
}

fn of_bucket(target: &Target, part: Part) -> Result<Value, Box<dyn std::error::Error>> {
    let locks = || target.locks_bucket.as_ref().ok_or(S3PolicyError::NoLocksBucket);
    Ok(match part {
        Part::BucketPolicy => policy(target, &target.bucket)?,
        Part::Lifecycle => lifecycle::configuration(target),
        Part::LocksBucketPolicy => policy(target, locks()?)?,
        Part::LocksLifecycle => {
            locks()?;
            lifecycle::of_locks(target)
        }
    })
}

fn policy(target: &Target, bucket: &BucketName) -> Result<Value, Box<dyn std::error::Error>> {
    // Those whom a policy exempts must be known: one that forgets them locks them out.
    let unneeded: &[Role] = match target.provider {
        Provider::Aws => &[Role::Writer, Role::Reader],
        Provider::Ceph | Provider::Scaleway => &[Role::Reader],
    };
    for role in target.roles().filter(|role| !unneeded.contains(role)) {
        if target.arns_of(&[role]).is_empty() {
            return Err(S3PolicyError::NoPrincipal(role.as_str()).into());
        }
    }
    Ok(serde_json::to_value(bucket::policy(target, bucket))?)
}

/// All of it, by name.
fn all(target: &Target) -> Result<Value, Box<dyn std::error::Error>> {
    let mut all = Map::new();
    if target.provider == Provider::Aws {
        let mut roles = Map::new();
        for role in target.roles() {
            roles.insert(role.as_str().into(), of_role(target, role)?);
        }
        all.insert("roles".into(), json!(roles));
    }
    let mut parts = vec![("bucket-policy", Part::BucketPolicy), ("lifecycle", Part::Lifecycle)];
    if target.locks_bucket.is_some() {
        parts.push(("locks-bucket-policy", Part::LocksBucketPolicy));
        parts.push(("locks-lifecycle", Part::LocksLifecycle));
    }
    for (name, part) in parts {
        all.insert(name.into(), of_bucket(target, part)?);
    }
    Ok(all.into())
}
