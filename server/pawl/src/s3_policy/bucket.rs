//! The policies of buckets, which bind whoever has a credential.
//!
//! Invariant: what changes something is denied to all but those who hold the right to it in the table. AWS's buckets
//! say so for everybody, Ceph's for each role by name: there the bucket's owner is break-glass, and the policy is also
//! what allows the others anything, and the owner to read what they have stored.

use serde_json::json;

use super::document::{Document, Statement, sid, statements};
use super::place::{BucketName, patterns};
use super::rights::{Effect, Place, RIGHTS, Right, Role};
use super::{Provider, Target};

/// The policy of the bucket, or of the one for locks.
#[must_use]
pub fn policy(target: &Target, bucket: &BucketName) -> Document {
    match target.provider {
        Provider::Aws => aws(target, bucket),
        Provider::Ceph => by_name(target, bucket),
        Provider::Scaleway => by_name(target, bucket).for_scaleway(),
    }
}

fn aws(target: &Target, bucket: &BucketName) -> Document {
    let everything = || vec![bucket.arn(), format!("{}/*", bucket.arn())];
    let plain = Statement::deny("DenyWithoutTls", &["*"], everything()).of_everybody();
    let plain = Statement { condition: Some(json!({ "Bool": { "aws:SecureTransport": "false" } })), ..plain };

    // A multipart upload creates no object until it is completed, and only then brings the condition.
    let state = patterns(bucket, &target.prefix, Place::State);
    let replacing = Statement::deny("DenyReplacing", &["PutObject"], Vec::new()).of_everybody();
    let condition = json!({
        "Null": { "s3:if-none-match": "true" },
        "Bool": { "s3:ObjectCreationOperation": "true" },
    });
    let replacing = Statement { not_resource: state, condition: Some(condition), ..replacing };

    let mut statements = vec![plain, replacing];
    for (number, (roles, rights)) in guarded(target, |_| true).iter().enumerate() {
        let arns = target.arns_of(roles);
        let sid = format!("DenyChanging{}", number + 1);
        statements.extend(grouped(target, bucket, &sid, rights).map(|statement| statement.except(&arns)));
    }
    Document::new(statements)
}

/// What each role may do, by the names of those who have it. There is no reader unless somebody is named.
fn by_name(target: &Target, bucket: &BucketName) -> Document {
    let is_known = |action: &str| RIGHTS.iter().any(|right| right.action == action && right.in_ceph);
    let of_this =
        |resource: &String| *resource == bucket.arn() || resource.starts_with(&format!("{}/", bucket.arn()));
    let mut all = Vec::new();
    for role in target.roles().filter(|role| !target.arns_of(&[*role]).is_empty()) {
        let name = role.as_str().replace('-', "");
        for mut statement in statements(target, role, is_known) {
            statement.resource.retain(of_this);
            if !statement.resource.is_empty() {
                let sid = format!("{}{name}", statement.sid);
                all.push(Statement { sid, ..statement.of(&target.arns_of(&[role])) });
            }
        }
    }
    for (number, (roles, rights)) in guarded(target, |right| right.in_ceph).iter().enumerate() {
        let others: Vec<_> =
            target.roles().filter(|role| *role != Role::BreakGlass && !roles.contains(role)).collect();
        if !others.is_empty() {
            let arns = target.arns_of(&others);
            let sid = format!("DenyChanging{}", number + 1);
            all.extend(grouped(target, bucket, &sid, rights).map(|statement| statement.of(&arns)));
        }
    }
    Document::new(all)
}

/// The rights to change something, by those who hold them.
fn guarded(target: &Target, is_known: impl Fn(&Right) -> bool) -> Vec<(Vec<Role>, Vec<&'static Right>)> {
    let mut by_holders: Vec<(Vec<Role>, Vec<&'static Right>)> = Vec::new();
    for right in RIGHTS.iter().filter(|right| right.effect == Effect::Changes && is_known(right)) {
        let holders: Vec<_> = target.roles().filter(|role| right.roles.contains(role)).collect();
        match by_holders.iter_mut().find(|(roles, _)| *roles == holders) {
            Some((_, rights)) => rights.push(right),
            None => by_holders.push((holders, vec![right])),
        }
    }
    by_holders
}

/// Denials of these rights in the bucket, one for each set of places.
fn grouped<'a>(
    target: &'a Target,
    bucket: &'a BucketName,
    start: &'a str,
    rights: &'a [&'static Right],
) -> impl Iterator<Item = Statement> + 'a {
    let mut by_places: Vec<(&[Place], Vec<&str>)> = Vec::new();
    for right in rights {
        match by_places.iter_mut().find(|(places, _)| *places == right.places) {
            Some((_, actions)) => actions.push(right.action),
            None => by_places.push((right.places, vec![right.action])),
        }
    }
    by_places.into_iter().map(move |(places, actions)| {
        let (resource, not_resource) = covered(target, bucket, places);
        let denied = Statement::deny(&sid(start, places), &actions, resource);
        Statement { not_resource, ..denied }
    })
}

/// What a denial in these places covers: the bucket, all its objects, or all but those of one place. What lies at
/// none of the names that Pawl knows is covered as well.
fn covered(target: &Target, bucket: &BucketName, places: &[Place]) -> (Vec<String>, Vec<String>) {
    if places == [Place::Bucket] {
        return (vec![bucket.arn()], Vec::new());
    }
    let holds = |place: Place| match &target.locks_bucket {
        Some(locks) if place == Place::Locks => bucket == locks,
        Some(locks) => bucket != locks || place != Place::Files,
        None => true,
    };
    let missing: Vec<_> =
        Place::OF_OBJECTS.into_iter().filter(|place| holds(*place) && !places.contains(place)).collect();
    match missing[..] {
        [] => (vec![format!("{}/*", bucket.arn())], Vec::new()),
        [place] => (Vec::new(), patterns(bucket, &target.prefix, place)),
        _ => (places.iter().flat_map(|place| patterns(bucket, &target.prefix, *place)).collect(), Vec::new()),
    }
}
