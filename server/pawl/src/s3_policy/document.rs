//! Policies as AWS and Ceph read them, and the IAM policy of a role.
//!
//! Invariant: a role's policy allows what the table gives it, and denies what patterns reach beyond that.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::Target;
use super::place::patterns;
use super::rights::{Place, RIGHTS, Role};

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Document {
    version: &'static str,
    statement: Vec<Statement>,
}

impl Document {
    pub(super) const fn new(statement: Vec<Statement>) -> Self {
        Self { version: "2012-10-17", statement }
    }

    /// The document in the form that Scaleway reads: resources are names without the beginning of an ARN, and principals are its own.
    pub(super) fn for_scaleway(self) -> Self {
        let plain = |arns: Vec<String>| -> Vec<String> {
            arns.iter().map(|arn| arn.trim_start_matches("arn:aws:s3:::").to_owned()).collect()
        };
        let of_scaleway = |statement: Statement| Statement {
            principal: statement.principal.map(|principal| json!({ "SCW": principal.get("AWS") })),
            resource: plain(statement.resource),
            not_resource: plain(statement.not_resource),
            ..statement
        };
        Self { version: "2023-04-17", statement: self.statement.into_iter().map(of_scaleway).collect() }
    }
}

/// One sentence of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Statement {
    pub(super) sid: String,
    pub(super) effect: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) principal: Option<Value>,
    pub(super) action: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) resource: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) not_resource: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) condition: Option<Value>,
}

impl Statement {
    pub(super) fn allow(sid: &str, actions: &[&str], resource: Vec<String>) -> Self {
        Self {
            sid: sid.into(),
            effect: "Allow",
            principal: None,
            action: actions.iter().map(|action| format!("s3:{action}")).collect(),
            resource,
            not_resource: Vec::new(),
            condition: None,
        }
    }

    pub(super) fn deny(sid: &str, actions: &[&str], resource: Vec<String>) -> Self {
        Self { effect: "Deny", ..Self::allow(sid, actions, resource) }
    }

    /// For these only, as a bucket's policy says it.
    pub(super) fn of(self, arns: &[String]) -> Self {
        Self { principal: Some(json!({ "AWS": arns })), ..self }
    }

    /// For everybody, as a bucket's policy says it.
    pub(super) fn of_everybody(self) -> Self {
        Self { principal: Some(json!("*")), ..self }
    }

    /// For everybody but these.
    pub(super) fn except(self, arns: &[String]) -> Self {
        if arns.is_empty() {
            return self.of_everybody();
        }
        let condition = json!({ "ArnNotLike": { "aws:PrincipalArn": arns } });
        Self { condition: Some(condition), ..self.of_everybody() }
    }
}

/// What a role's credential may do: its IAM policy.
#[must_use]
pub fn iam(target: &Target, role: Role) -> Document {
    Document::new(statements(target, role, |_| true))
}

/// What a role may do, as far as an action is known where the policy goes.
pub(super) fn statements(target: &Target, role: Role, is_known: impl Fn(&str) -> bool) -> Vec<Statement> {
    // Rights that are held in the same places make one statement.
    let mut held: BTreeMap<Vec<Place>, Vec<&str>> = BTreeMap::new();
    let mut actions: Vec<&str> = RIGHTS.iter().map(|right| right.action).collect();
    actions.dedup();
    actions.retain(|action| is_known(action));
    for action in &actions {
        let places = places(role, action);
        if !places.is_empty() {
            held.entry(places).or_default().push(action);
        }
    }
    let mut statements: Vec<_> = held
        .iter()
        .map(|(places, actions)| {
            let resources = places.iter().flat_map(|place| resources(target, *place)).collect();
            Statement::allow(&sid("Allow", places), actions, resources)
        })
        .collect();
    // The patterns of repositories reach into what is reserved, and a right there is one of its own.
    for reserved in [Place::Probes, Place::State] {
        let missing = |action: &&&str| {
            let places = places(role, action);
            places.iter().any(|place| [Place::Files, Place::Locks].contains(place))
                && !places.contains(&reserved)
        };
        let missing: Vec<&str> = actions.iter().filter(missing).copied().collect();
        if !missing.is_empty() {
            let resources = resources(target, reserved);
            statements.push(Statement::deny(&sid("Deny", &[reserved]), &missing, resources));
        }
    }
    statements
}

/// Where a role holds a right.
fn places(role: Role, action: &str) -> Vec<Place> {
    let rows = || RIGHTS.iter().filter(|right| right.action == action);
    let all = [&[Place::Bucket][..], &Place::OF_OBJECTS].concat();
    all.into_iter().filter(|place| rows().any(|right| right.is_held(role, *place))).collect()
}

/// A place in the bucket that it lies in; the settings and the listing are those of both buckets.
fn resources(target: &Target, place: Place) -> Vec<String> {
    let Target { bucket, prefix, locks_bucket, .. } = target;
    match (place, locks_bucket) {
        (Place::Bucket, Some(locks)) => vec![bucket.arn(), locks.arn()],
        (Place::Locks, Some(locks)) => patterns(locks, prefix, place),
        _ => patterns(bucket, prefix, place),
    }
}

/// A name for a statement, of the only characters that are allowed there.
pub(super) fn sid(start: &str, places: &[Place]) -> String {
    let words: Vec<_> = places
        .iter()
        .map(|place| match place {
            Place::Bucket => "Bucket",
            Place::Files => "Files",
            Place::Locks => "Locks",
            Place::Probes => "Probes",
            Place::State => "State",
        })
        .collect();
    format!("{start}{}", words.concat())
}
