//! Any credential but the owner's, used on the settings of the bucket and of single objects.

use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{
    BucketCannedAcl, BucketLifecycleConfiguration, BucketVersioningStatus, DefaultRetention,
    ExpirationStatus, LifecycleExpiration, LifecycleRule, LifecycleRuleFilter, NoncurrentVersionExpiration,
    ObjectCannedAcl, ObjectLockConfiguration, ObjectLockEnabled, ObjectLockLegalHold,
    ObjectLockLegalHoldStatus, ObjectLockRetention, ObjectLockRetentionMode, ObjectLockRule,
    PublicAccessBlockConfiguration, Tag, Tagging,
};
use pawl_tests::bucket::Bucket;
use pawl_tests::on_each_s3;
use pawl_tests::s3::S3;

use super::stand::{Stand, ask, name};

on_each_s3!(
    no_key_ends_the_keeping_of_versions,
    no_key_has_the_store_remove_versions,
    no_key_changes_who_may_do_what,
    no_key_marks_an_object,
);

fn each(s3: &S3, attack: impl Fn(&Stand, &Bucket)) {
    let stand = Stand::new(s3);
    let before = stand.look();
    for thief in [&stand.writer, &stand.reader, &stand.maintenance] {
        attack(&stand, thief);
        stand.unchanged(&before);
    }
}

/// A83: A thief of any key suspends versions, or removes the bucket.
fn no_key_ends_the_keeping_of_versions(s3: &S3) {
    each(s3, |stand, thief| {
        stand.refused("suspending", thief.set_versioning(BucketVersioningStatus::Suspended));
        let removed = ask(thief, |client, bucket| client.delete_bucket().bucket(bucket).send());
        stand.refused("removing the bucket", removed);
    });
}

/// A84: A thief of any key sets a lifecycle rule, which no policy binds, or takes away the one that is there.
fn no_key_has_the_store_remove_versions(s3: &S3) {
    each(s3, |stand, thief| {
        let rule = LifecycleRule::builder()
            .id("all")
            .status(ExpirationStatus::Enabled)
            .filter(LifecycleRuleFilter::builder().prefix("").build())
            .expiration(LifecycleExpiration::builder().days(1).build())
            .noncurrent_version_expiration(NoncurrentVersionExpiration::builder().noncurrent_days(1).build())
            .build()
            .unwrap();
        let rules = BucketLifecycleConfiguration::builder().rules(rule).build().unwrap();
        let set = ask(thief, |client, bucket| {
            client.put_bucket_lifecycle_configuration().bucket(bucket).lifecycle_configuration(rules).send()
        });
        stand.refused("a lifecycle rule", set);
        let gone = ask(thief, |client, bucket| client.delete_bucket_lifecycle().bucket(bucket).send());
        stand.refused("no lifecycle rules", gone);
    });
}

/// A85: A thief of any key changes the bucket's policy, its ACL or its public access, or the default of Object Lock.
fn no_key_changes_who_may_do_what(s3: &S3) {
    each(s3, |stand, thief| {
        let open = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":"*","Action":"s3:*",
                "Resource":["arn:aws:s3:::{0}","arn:aws:s3:::{0}/*"]}}]}}"#,
            thief.name()
        );
        stand.refused("a policy", thief.set_policy(&open));
        let gone = ask(thief, |client, bucket| client.delete_bucket_policy().bucket(bucket).send());
        stand.refused("no policy", gone);
        let acl = ask(thief, |client, bucket| {
            client.put_bucket_acl().bucket(bucket).acl(BucketCannedAcl::PublicReadWrite).send()
        });
        stand.refused("an ACL", acl);
        let block = PublicAccessBlockConfiguration::builder().block_public_acls(false).build();
        let access = ask(thief, |client, bucket| {
            client.put_public_access_block().bucket(bucket).public_access_block_configuration(block).send()
        });
        stand.refused("public access", access);
        let retention =
            DefaultRetention::builder().mode(ObjectLockRetentionMode::Compliance).days(36_500).build();
        let lock = ObjectLockConfiguration::builder()
            .object_lock_enabled(ObjectLockEnabled::Enabled)
            .rule(ObjectLockRule::builder().default_retention(retention).build())
            .build();
        let locked = ask(thief, |client, bucket| {
            client.put_object_lock_configuration().bucket(bucket).object_lock_configuration(lock).send()
        });
        stand.refused("retention for a hundred years", locked);
    });
}

/// A86: A thief of any key holds a file for ever, tags it for a rule of the bucket, or opens it to the world.
fn no_key_marks_an_object(s3: &S3) {
    each(s3, |stand, thief| {
        no_key_tags_or_opens(stand, thief);
        // moto takes these for a PUT of the object.
        if matches!(s3, S3::Rgw(_)) {
            no_key_holds(stand, thief);
        }
    });
}

fn no_key_holds(stand: &Stand, thief: &Bucket) {
    let key = name("web1", "data");
    let retention = ObjectLockRetention::builder()
        .mode(ObjectLockRetentionMode::Compliance)
        .retain_until_date(DateTime::from_secs(4_000_000_000))
        .build();
    let held = ask(thief, |client, bucket| {
        client.put_object_retention().bucket(bucket).key(&key).retention(retention).send()
    });
    stand.refused("retention", held);
    let legal = ObjectLockLegalHold::builder().status(ObjectLockLegalHoldStatus::On).build();
    let held = ask(thief, |client, bucket| {
        client.put_object_legal_hold().bucket(bucket).key(&key).legal_hold(legal).send()
    });
    stand.refused("a legal hold", held);
}

fn no_key_tags_or_opens(stand: &Stand, thief: &Bucket) {
    let key = name("web1", "data");
    let tag = Tag::builder().key("pawl").value("lock").build().unwrap();
    let tags = Tagging::builder().tag_set(tag).build().unwrap();
    let tagged = ask(thief, |client, bucket| {
        client.put_object_tagging().bucket(bucket).key(&key).tagging(tags).send()
    });
    stand.refused("tags", tagged);
    let opened = ask(thief, |client, bucket| {
        client.put_object_acl().bucket(bucket).key(&key).acl(ObjectCannedAcl::PublicRead).send()
    });
    stand.refused("an ACL", opened);
}
