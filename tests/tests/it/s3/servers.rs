//! The S3 servers themselves.

use aws_sdk_s3::types::BucketVersioningStatus;
use pawl_tests::bucket::{Access, Failure, Kind};
use pawl_tests::moto::Moto;
use pawl_tests::on_each_s3;
use pawl_tests::s3::S3;

on_each_s3!(
    versions_are_kept_and_compared,
    a_name_is_taken_once,
    a_wrong_secret_is_refused,
    a_bucket_tells_its_settings,
);

fn a_bucket_tells_its_settings(s3: &S3) {
    let bucket = s3.bucket("settings", Kind::Versioned);
    let told = bucket.ask(|client| client.get_bucket_versioning().bucket(bucket.name()).send()).unwrap();
    assert_eq!(told.status, Some(BucketVersioningStatus::Enabled));
    bucket.set_versioning(BucketVersioningStatus::Suspended).unwrap();
    let told = bucket.ask(|client| client.get_bucket_versioning().bucket(bucket.name()).send()).unwrap();
    assert_eq!(told.status, Some(BucketVersioningStatus::Suspended));
    let told = bucket.ask(|client| client.get_bucket_acl().bucket(bucket.name()).send()).unwrap();
    assert_eq!(told.grants().len(), 1);
}

fn versions_are_kept_and_compared(s3: &S3) {
    let bucket = s3.bucket("versions", Kind::Versioned);
    let first = bucket.put("web1/config", b"first").unwrap().unwrap();
    bucket.put("web1/locks/a", b"a lock").unwrap();
    let before = bucket.snapshot();
    assert_eq!(before.visible(), [("web1/config", &b"first"[..]), ("web1/locks/a", b"a lock")].into());

    let second = bucket.put("web1/config", b"second").unwrap().unwrap();
    bucket.delete("web1/locks/a").unwrap();
    let after = bucket.snapshot();
    assert_ne!(before, after);
    assert_eq!(before.lost_in(&after), [""; 0], "an overwrite and a marker remove nothing");
    assert_eq!(after.visible(), [("web1/config", &b"second"[..])].into());
    assert_eq!(bucket.get_version("web1/config", &first).unwrap(), b"first");
    assert_eq!(bucket.list("web1/").unwrap(), ["web1/config"]);

    bucket.delete_version("web1/config", &first).unwrap();
    let lost = before.lost_in(&bucket.snapshot());
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert_eq!(bucket.get_version("web1/config", &second).unwrap(), b"second");
}

fn a_name_is_taken_once(s3: &S3) {
    let bucket = s3.bucket("taken", Kind::Versioned);
    bucket.put_new("web1/config", b"first").unwrap();
    let refused = bucket.put_new("web1/config", b"second").unwrap_err();
    assert_eq!(refused, Failure::Answer { status: 412, code: "PreconditionFailed".into() });
    assert_eq!(bucket.get("web1/config").unwrap(), b"first");
}

fn a_wrong_secret_is_refused(s3: &S3) {
    let bucket = match s3 {
        S3::Moto(moto) => moto.checked_bucket("secret", Kind::Versioned),
        S3::Rgw(rgw) => rgw.bucket("secret", Kind::Versioned),
    };
    bucket.put("web1/config", b"first").unwrap();
    let thief = bucket.with(&Access { secret: "guessed".into(), ..bucket.access().clone() });
    let refused = thief.get("web1/config").unwrap_err();
    assert_eq!(refused, Failure::Answer { status: 403, code: "SignatureDoesNotMatch".into() });
    assert_eq!(bucket.get("web1/config").unwrap(), b"first");
}

#[test]
fn moto_checks_what_a_user_may_do_in_a_checked_bucket() {
    let moto = Moto::shared();
    let bucket = moto.checked_bucket("users", Kind::Versioned);
    let policy = r#"{"Version":"2012-10-17","Statement":[
        {"Effect":"Allow","Action":["s3:PutObject","s3:GetObject"],"Resource":"arn:aws:s3:::NAME/*"}]}"#;
    let policy = policy.replace("NAME", bucket.name());
    let writer = bucket.with(&moto.user("writer", &[&policy]));
    writer.put_new("web1/config", b"first").unwrap();
    assert_eq!(writer.get("web1/config").unwrap(), b"first");
    let before = bucket.snapshot();
    assert_eq!(writer.delete("web1/config").unwrap_err().status(), Some(403));
    assert_eq!(bucket.snapshot(), before);
}
