//! `pawl policy s3`: what it prints, and the copies of it in `deploy/s3`.
//!
//! Invariant: a copy that differs from what is printed fails; `PAWL_RENDER=1` writes the copies anew.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

use std::fs;
use std::path::{Path, PathBuf};

use aws_sdk_s3::types::{BucketLifecycleConfiguration, ExpirationStatus, LifecycleRule, LifecycleRuleFilter};
use pawl_tests::bucket::{Bucket, Kind};
use pawl_tests::command::{Finished, pawl};
use pawl_tests::on_each_s3;
use pawl_tests::s3::S3;
use serde_json::Value;

const BUCKET: [&str; 4] = ["policy", "s3", "--bucket", "example-backup"];
const ACCOUNT: [&str; 2] = ["--account", "123456789012"];
/// What a managed policy of IAM may have, blanks not counted, and what a bucket's policy may have.
const ROLE_BYTES_MAX: usize = 6144;
const BUCKET_BYTES_MAX: usize = 20 << 10;

/// Each file of `deploy/s3` and how it is made.
fn copies() -> Vec<(String, Vec<&'static str>)> {
    let aws = |what: &[&'static str]| [&BUCKET[..], &ACCOUNT, what].concat();
    let ceph = |what: &[&'static str]| [&BUCKET[..], &["--for", "ceph"], what].concat();
    let mut copies = vec![
        ("rights.txt".to_owned(), vec!["policy", "s3", "--table"]),
        ("aws/bucket-policy.json".into(), aws(&["--document", "bucket-policy"])),
        ("aws/lifecycle.json".into(), aws(&["--document", "lifecycle"])),
        ("ceph/bucket-policy.json".into(), ceph(&["--document", "bucket-policy"])),
        ("ceph/lifecycle.json".into(), ceph(&["--document", "lifecycle"])),
    ];
    for role in ["writer", "reader", "maintenance", "break-glass"] {
        copies.push((format!("aws/{role}.json"), aws(&["--role", role])));
    }
    copies
}

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy/s3")
}

fn printed(options: &[&str]) -> Finished {
    pawl([&BUCKET[..], options].concat())
}

fn json(options: &[&str]) -> Value {
    printed(options).expect_code(0).json()
}

/// All values of this key, of all statements with this effect.
fn all(policy: &Value, effect: &str, key: &str) -> Vec<String> {
    let statements = policy["Statement"].as_array().unwrap().iter();
    let of_effect = statements.filter(|statement| statement["Effect"] == effect);
    let values = of_effect.filter_map(|statement| statement[key].as_array()).flatten();
    values.map(|value| value.as_str().unwrap().to_owned()).collect()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "it writes copies anew when asked to")]
fn the_copies_in_deploy_are_what_is_printed() {
    let anew = std::env::var_os("PAWL_RENDER").is_some();
    let mut known = Vec::new();
    for (name, args) in copies() {
        let wanted = pawl(&args).expect_code(0).stdout;
        let path = deploy().join(&name);
        if anew {
            fs::write(&path, &wanted).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap_or_default(), wanted, "{name}: run with PAWL_RENDER=1");
        known.push(path);
    }
    for folder in ["aws", "ceph"] {
        for entry in fs::read_dir(deploy().join(folder)).unwrap() {
            assert!(known.contains(&entry.unwrap().path()), "a copy of nothing in {folder}");
        }
    }
}

#[test]
fn policies_are_of_the_form_and_size_that_the_store_takes() {
    let everything = json(&[&ACCOUNT[..], &["--with-purger", "--locks-bucket", "example-locks"]].concat());
    let mut policies: Vec<(&str, &Value)> =
        vec![("bucket", &everything["bucket-policy"]), ("locks", &everything["locks-bucket-policy"])];
    let roles = everything["roles"].as_object().unwrap();
    assert_eq!(roles.len(), 5);
    policies.extend(roles.iter().map(|(role, policy)| (role.as_str(), policy)));
    for (name, policy) in policies {
        assert_eq!(policy["Version"], "2012-10-17");
        let mut sids = Vec::new();
        for statement in policy["Statement"].as_array().unwrap() {
            let is_of_bucket = ["bucket", "locks"].contains(&name);
            assert_eq!(statement.get("Principal").is_some(), is_of_bucket, "{name}: {statement}");
            assert!(
                statement.get("Resource").is_some() != statement.get("NotResource").is_some(),
                "{statement}"
            );
            assert!(!statement["Action"].as_array().unwrap().is_empty(), "{statement}");
            let sid = statement["Sid"].as_str().unwrap().to_owned();
            assert!(sid.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !sids.contains(&sid), "{sid}");
            sids.push(sid);
        }
        let bytes_max = if ["bucket", "locks"].contains(&name) { BUCKET_BYTES_MAX } else { ROLE_BYTES_MAX };
        assert!(policy.to_string().len() <= bytes_max, "{name}");
    }
}

#[test]
fn only_the_purger_and_break_glass_remove_versions() {
    for role in ["writer", "reader", "maintenance"] {
        let allowed = all(&json(&[&ACCOUNT[..], &["--role", role]].concat()), "Allow", "Action");
        for action in &allowed {
            let is_harmless = action.starts_with("s3:Get") || action.starts_with("s3:List");
            assert!(
                is_harmless || ["s3:PutObject", "s3:DeleteObject"].contains(&action.as_str()),
                "{role} {action}"
            );
        }
        assert_eq!(allowed.contains(&"s3:PutObject".to_owned()), role != "reader");
    }
    let purger = [&ACCOUNT[..], &["--role", "purger"]].concat();
    let refused = printed(&purger).expect_code(1);
    assert!(refused.stderr.contains("--with-purger"), "{refused:?}");
    let allowed = all(&json(&[&purger[..], &["--with-purger"]].concat()), "Allow", "Action");
    assert!(
        allowed.contains(&"s3:DeleteObjectVersion".to_owned())
            && !allowed.contains(&"s3:PutObject".to_owned())
    );
}

#[test]
fn aws_refuses_a_put_without_a_condition_and_ceph_is_not_asked_to() {
    let aws = json(&[&ACCOUNT[..], &["--document", "bucket-policy"]].concat());
    let replacing =
        aws["Statement"].as_array().unwrap().iter().find(|s| s["Sid"] == "DenyReplacing").unwrap();
    assert_eq!(replacing["Effect"], "Deny");
    assert_eq!(replacing["Principal"], "*");
    assert_eq!(replacing["Condition"]["Null"]["s3:if-none-match"], "true");
    assert_eq!(replacing["Condition"]["Bool"]["s3:ObjectCreationOperation"], "true");
    assert_eq!(replacing["NotResource"][0], "arn:aws:s3:::example-backup/.pawl/*");
    // Ceph does not know the condition, and would refuse every PUT.
    let ceph = printed(&["--for", "ceph"]).expect_code(0).stdout;
    assert!(!ceph.contains("if-none-match") && !ceph.contains("Condition"), "{ceph}");
}

#[test]
fn scaleway_is_told_its_own_names_of_principals_and_resources() {
    let id = "11111111-2222-3333-4444-555555555555";
    let roles = [("writer", "application_id"), ("maintenance", "application_id"), ("break-glass", "user_id")];
    let principals = roles.map(|(role, sort)| format!("--principal={role}={sort}:{id}"));
    let options: Vec<_> =
        ["--for", "scaleway"].into_iter().chain(principals.iter().map(String::as_str)).collect();
    let policy = &json(&options)["bucket-policy"];
    assert_eq!(policy["Version"], "2023-04-17");
    assert!(!policy.to_string().contains("arn:"), "{policy}");
    let statements = policy["Statement"].as_array().unwrap();
    let writer = serde_json::json!({ "SCW": [format!("application_id:{id}")] });
    let adds = statements.iter().find(|s| s["Sid"] == "AllowFilesLocksProbeswriter").unwrap();
    assert_eq!((&adds["Principal"], &adds["Effect"]), (&writer, &"Allow".into()));
    assert!(adds["Resource"].as_array().unwrap().contains(&"example-backup/*/data/*".into()), "{adds}");

    // Nobody is called pawl-writer there, and an ARN means nothing.
    let refused = printed(&options[..4]).expect_code(1);
    assert!(refused.stderr.contains("--principal break-glass="), "{refused:?}");
    for foreign in [
        &["--principal", "writer=arn:aws:iam::1:role/x"][..],
        &["--for", "aws", "--principal", &format!("writer=user_id:{id}")],
    ] {
        let options: Vec<_> =
            if foreign.len() == 2 { [&["--for", "scaleway"], foreign].concat() } else { foreign.to_vec() };
        let refused = printed(&options).expect_code(1);
        assert!(refused.stderr.contains("user_id:UUID"), "{refused:?}");
    }
}

#[test]
fn locks_in_a_bucket_of_their_own_leave_no_right_to_delete_in_the_first() {
    let options = [&ACCOUNT[..], &["--locks-bucket", "example-locks"]].concat();
    let everything = json(&options);
    let writer = &everything["roles"]["writer"];
    let delete = |policy: &Value| {
        let statements = policy["Statement"].as_array().unwrap().clone();
        statements
            .into_iter()
            .find(|s| s["Effect"] == "Allow" && s["Action"][0] == "s3:DeleteObject")
            .unwrap()
    };
    assert_eq!(delete(writer)["Resource"], serde_json::json!(["arn:aws:s3:::example-locks/*/locks/*"]));
    let denied = everything["bucket-policy"]["Statement"].as_array().unwrap().iter();
    let mut denied = denied.filter(|s| s["Action"][0] == "s3:DeleteObject");
    assert!(
        denied.any(|s| s["Resource"][0] == "arn:aws:s3:::example-backup/*"),
        "with no exception for locks"
    );
    assert_eq!(everything["locks-lifecycle"]["Rules"][0]["NoncurrentVersionExpiration"]["NoncurrentDays"], 1);
}

#[test]
fn what_cannot_be_is_refused_with_what_to_do() {
    for (options, part) in [
        (&["--document", "bucket-policy"][..], "--account"),
        (&["--for", "ceph", "--role", "writer"], "bucket-policy"),
        (&["--document", "locks-lifecycle"], "--locks-bucket"),
        (&["--locks-bucket", "example-backup"], "same bucket"),
    ] {
        let refused = printed(options).expect_code(1);
        assert!(refused.stderr.contains(part), "{options:?}: {refused:?}");
    }
    for options in [
        &["--prefix", "a*"][..],
        &["--account", "1"],
        &["--principal", "writer=arn:aws:iam::1:role/*"],
        &["--principal", "emperor=arn:aws:iam::1:role/x"],
        &["--principal", "writer=user_id:*"],
        &["--principal", "writer=user_id:11111111-2222-3333-4444"],
        &["--noncurrent-days", "1"],
        &["--role", "writer", "--table"],
    ] {
        let _ = printed(options).expect_code(2);
    }
    let _ = pawl(["policy", "s3"]).expect_code(2);
}

on_each_s3!(the_store_takes_the_documents_that_are_for_it);

fn the_store_takes_the_documents_that_are_for_it(s3: &S3) {
    let bucket = s3.bucket("documents", Kind::Versioned);
    let mut options = vec!["policy", "s3", "--bucket", bucket.name(), "--repository", "hosts/web1"];
    match s3 {
        S3::Moto(_) => options.extend(ACCOUNT),
        S3::Rgw(_) => options.extend(["--for", "ceph"]),
    }
    let everything = pawl(&options).expect_code(0).json();
    bucket.set_policy(&everything["bucket-policy"].to_string()).unwrap();

    let lifecycle = &everything["lifecycle"]["Rules"];
    let rules: Vec<_> = lifecycle.as_array().unwrap().iter().map(rule).collect();
    assert_eq!(rules.len(), 3);
    let rules = BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build().unwrap();
    let bucket: &Bucket = &bucket;
    bucket
        .ask(|client| {
            let put = client.put_bucket_lifecycle_configuration().bucket(bucket.name());
            put.lifecycle_configuration(rules).send()
        })
        .unwrap();
}

/// A rule as the SDK has it, from what is for the AWS command line.
fn rule(rule: &Value) -> LifecycleRule {
    use aws_sdk_s3::types::{
        AbortIncompleteMultipartUpload, LifecycleExpiration, NoncurrentVersionExpiration,
    };
    let days = |value: &Value| value.as_i64().and_then(|days| i32::try_from(days).ok());
    let expiration = rule.get("Expiration").map(|expiration| {
        LifecycleExpiration::builder()
            .set_days(days(&expiration["Days"]))
            .set_expired_object_delete_marker(expiration["ExpiredObjectDeleteMarker"].as_bool())
            .build()
    });
    let noncurrent = rule.get("NoncurrentVersionExpiration").map(|expiration| {
        NoncurrentVersionExpiration::builder()
            .set_noncurrent_days(days(&expiration["NoncurrentDays"]))
            .build()
    });
    let abort = rule.get("AbortIncompleteMultipartUpload").map(|abort| {
        AbortIncompleteMultipartUpload::builder()
            .set_days_after_initiation(days(&abort["DaysAfterInitiation"]))
            .build()
    });
    LifecycleRule::builder()
        .id(rule["ID"].as_str().unwrap())
        .status(ExpirationStatus::from(rule["Status"].as_str().unwrap()))
        .filter(LifecycleRuleFilter::builder().prefix(rule["Filter"]["Prefix"].as_str().unwrap()).build())
        .set_expiration(expiration)
        .set_noncurrent_version_expiration(noncurrent)
        .set_abort_incomplete_multipart_upload(abort)
        .build()
        .unwrap()
}
