//! The `CloudFormation` template, as cfn-lint judges it and as moto makes a stack of it.
//!
//! Invariant: what it says of the rights to the bucket is what `pawl policy s3` prints, word for word.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

use std::path::{Path, PathBuf};
use std::process::Command;

use pawl_tests::command::pawl;
use pawl_tests::program::tool;
use pawl_tests::shared::made_once;
use pawl_tests::store::plant;
use serde_json::{Value, json};

const APPLY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/cloudformation/apply.py");
const PARAMETERS: [&str; 4] = [
    "BucketName=example-backup",
    "AdminPrincipal=arn:aws:iam::123456789012:role/admins",
    "HostNetwork=192.0.2.0/24",
    "ServerName=backup.example.org",
];

fn template() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy/aws/pawl.yaml")
}

/// A stack of the template with these parameters besides.
fn stack(parameters: &[&str]) -> Value {
    let made = Command::new(tool("moto/bin/python3"))
        .args(["-W", "ignore", APPLY])
        .arg(template())
        .args(PARAMETERS)
        .args(parameters)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let stack: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!(stack["status"], "CREATE_COMPLETE");
    assert_eq!(stack["buckets"], json!(["example-backup"]));
    stack
}

/// A stack with all parameters as they are by themselves, made once for all tests.
fn plain() -> Value {
    let made = made_once("stack.json", |path| plant(path, stack(&[]).to_string().as_bytes()));
    serde_json::from_slice(&std::fs::read(made).unwrap()).unwrap()
}

/// What `pawl policy s3` prints for the account and bucket of the stack.
fn printed(args: &[&str]) -> Value {
    let common = ["policy", "s3", "--bucket", "example-backup", "--account", "123456789012"];
    pawl([&common[..], args].concat()).expect_code(0).json()
}

#[test]
fn cfn_lint_finds_no_fault() {
    let linted = Command::new(tool("moto/bin/cfn-lint")).arg(template()).output().unwrap();
    assert!(linted.status.success(), "{}", String::from_utf8_lossy(&linted.stdout));
}

#[test]
fn policies_are_those_that_pawl_prints() {
    let stack = plain();
    for role in ["writer", "reader", "maintenance", "break-glass"] {
        let of_stack = &stack["roles"][format!("pawl-{role}")]["policies"]["bucket"];
        assert_eq!(of_stack, &printed(&["--role", role]), "{role}");
    }
    assert_eq!(stack["bucket-policy"], printed(&["--document", "bucket-policy"]));
    assert_eq!(stack["roles"].as_object().unwrap().len(), 4);
}

#[test]
fn the_lifecycle_is_the_one_that_pawl_prints() {
    for days in ["30", "90"] {
        let stack = stack(&[&format!("NoncurrentDays={days}")]);
        let printed = printed(&["--document", "lifecycle", "--noncurrent-days", days]);
        let rules = printed["Rules"].as_array().unwrap().iter().map(in_the_words_of_cloudformation);
        assert_eq!(stack["bucket"]["LifecycleConfiguration"]["Rules"], rules.collect::<Value>());
    }
}

/// A lifecycle rule of S3's own, as a template says it.
fn in_the_words_of_cloudformation(rule: &Value) -> Value {
    let mut said = json!({
        "Id": rule["ID"],
        "Status": rule["Status"],
        "Prefix": rule["Filter"]["Prefix"],
        "NoncurrentVersionExpiration": rule["NoncurrentVersionExpiration"],
    });
    for (key, value) in [
        ("AbortIncompleteMultipartUpload", &rule["AbortIncompleteMultipartUpload"]),
        ("ExpiredObjectDeleteMarker", &rule["Expiration"]["ExpiredObjectDeleteMarker"]),
        ("ExpirationInDays", &rule["Expiration"]["Days"]),
    ] {
        if !value.is_null() {
            said[key] = value.clone();
        }
    }
    said
}

#[test]
fn the_bucket_keeps_versions_is_not_public_and_can_have_object_lock() {
    let plain = plain();
    let plain = &plain["bucket"];
    assert_eq!(plain["VersioningConfiguration"]["Status"], "Enabled");
    let not_public = plain["PublicAccessBlockConfiguration"].as_object().unwrap();
    assert!(not_public.len() == 4 && not_public.values().all(|value| value == true), "{not_public:?}");
    assert!(plain.get("ObjectLockEnabled").is_none() && plain.get("ObjectLockConfiguration").is_none());

    let locked = &stack(&["ObjectLockDays=14", "ObjectLockMode=COMPLIANCE"])["bucket"];
    assert_eq!(locked["ObjectLockEnabled"], true);
    let retention = &locked["ObjectLockConfiguration"]["Rule"]["DefaultRetention"];
    assert_eq!(*retention, json!({ "Mode": "COMPLIANCE", "Days": 14 }));
}

#[test]
fn people_take_their_roles_with_a_second_factor_and_the_server_only_its_own() {
    let stack = plain();
    for role in ["reader", "maintenance", "break-glass"] {
        let trust = &stack["roles"][format!("pawl-{role}")]["trust"]["Statement"];
        assert_eq!(trust.as_array().unwrap().len(), 1);
        assert_eq!(trust[0]["Principal"], json!({ "AWS": "arn:aws:iam::123456789012:role/admins" }));
        assert_eq!(trust[0]["Condition"]["Bool"]["aws:MultiFactorAuthPresent"], "true", "{role}");
    }
    let trust = &stack["roles"]["pawl-writer"]["trust"]["Statement"];
    assert_eq!(trust[0]["Principal"], json!({ "Service": "ec2.amazonaws.com" }));

    // Beside the bucket: its volume and its address, on servers of this stack.
    let own = &stack["roles"]["pawl-writer"]["policies"]["volume-and-address"]["Statement"];
    for statement in own.as_array().unwrap() {
        let resource = statement["Resource"].as_str().unwrap();
        let is_one = !resource.ends_with('*') && !resource.ends_with('/');
        assert!(
            is_one || statement["Condition"]["StringEquals"]["aws:ResourceTag/pawl"] == "pawl",
            "{statement}"
        );
    }
}

#[test]
fn the_server_has_no_ssh_and_is_made_anew_every_day() {
    let stack = plain();
    let ingress = stack["ingress"].as_array().unwrap();
    assert_eq!(ingress.len(), 1);
    assert_eq!((&ingress[0]["FromPort"], &ingress[0]["ToPort"]), (&json!(8000), &json!(8000)));
    assert_eq!(ingress[0]["IpRanges"][0]["CidrIp"], "192.0.2.0/24");
    assert!(stack["template"].get("KeyName").is_none());
    assert_eq!(stack["template"]["MetadataOptions"]["HttpTokens"], "required");

    assert_eq!((&stack["group"]["MaxSize"], &stack["instances"]), (&json!(1), &json!(1)));
    let schedule = stack["schedule"].as_array().unwrap().iter();
    let schedule: Vec<_> = schedule
        .map(|action| (action["Recurrence"].as_str().unwrap(), action["DesiredCapacity"].as_u64().unwrap()))
        .collect();
    assert_eq!(schedule, [("0 3 * * *", 0), ("5 3 * * *", 1)]);
}

#[test]
fn what_the_server_runs_at_its_start_is_a_script_and_its_configuration_is_accepted() {
    let stack = plain();
    let script = stack["template"]["UserData"].as_str().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("script");
    plant(&path, script.as_bytes());
    assert!(Command::new("bash").arg("-n").arg(&path).status().unwrap().success(), "{script}");

    let (_, after) = script.split_once("<<'END'\n").unwrap();
    let (config, _) = after.split_once("\nEND\n").unwrap();
    assert!(config.contains("bucket = \"example-backup\"") && config.contains("confinement = \"strong\""));
    let config = config.replace("/var/lib/pawl", dir.path().to_str().unwrap());
    let path = dir.path().join("pawl.toml");
    plant(&path, config.as_bytes());
    let _ = pawl(["host", "list", "--config", path.to_str().unwrap()]).expect_code(0);
}
