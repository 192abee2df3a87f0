//! The credential that `pawl serve` holds: what it is for, and removing with it.

use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use pawl_tests::on_each_s3;
use pawl_tests::s3::S3;

use super::stand::{Stand, ask, content, name, names};

on_each_s3!(
    each_role_can_do_its_work,
    the_writers_key_hides_nothing,
    the_writers_key_removes_no_version,
    the_writers_key_writes_nothing_of_pawls_own,
    a_lock_that_was_hidden_is_still_there,
);

fn each_role_can_do_its_work(s3: &S3) {
    let stand = Stand::new(s3);
    let config = name("web1", "config");
    for role in [&stand.writer, &stand.reader, &stand.maintenance] {
        assert_eq!(role.get(&config).unwrap(), content("web1", "config"));
        assert!(role.list("backup/web1/").unwrap().len() >= 7);
        assert_eq!(role.get("backup/web1/data/ab/missing").unwrap_err().status(), Some(404), "not 403");
        let versions = role
            .ask(|client| client.list_object_versions().bucket(role.name()).prefix(&config).send())
            .unwrap();
        let first = versions.versions().first().unwrap().version_id().unwrap().to_owned();
        assert_eq!(role.get_version(&config, &first).unwrap(), content("web1", "config"));
    }
    for role in [&stand.writer, &stand.maintenance] {
        ask(role, |client, bucket| client.get_bucket_versioning().bucket(bucket).send()).unwrap();
        ask(role, |client, bucket| client.get_object_lock_configuration().bucket(bucket).send()).unwrap();
        // Allowed to ask: there is none.
        let none =
            ask(role, |client, bucket| client.get_bucket_lifecycle_configuration().bucket(bucket).send());
        assert_eq!(none.unwrap_err().status(), Some(404));
        role.put_new(&format!("backup/.pawl-probe/{}", role.access().key), b"a probe").unwrap();
        role.put_new(&format!("backup/{}/initialised", role.access().key), b"").unwrap();
        assert_eq!(role.get("backup/.pawl/hosts.toml").unwrap(), b"[web1]");
    }
    let id = "0123456789abcdef";
    stand.writer.put_new(&format!("backup/web1/.aside/{id}"), b"").unwrap();
    stand.writer.put_new(&format!("backup/web1/.rescued/data/{id}"), b"good bytes").unwrap();
    stand.writer.delete(&name("web1", "locks")).unwrap();
    stand.maintenance.delete(&name("web1", "data")).unwrap();
    stand.maintenance.put_new(&name("web1", "data"), &content("web1", "data")).unwrap();
    stand.maintenance.put(&format!("backup/.pawl/deleted/{id}"), b"a batch").unwrap();
    stand.maintenance.delete(&format!("backup/.pawl/deleted/{id}")).unwrap();
}

/// A76: A thief of the writer's key hides what is stored, one by one and many at once.
fn the_writers_key_hides_nothing(s3: &S3) {
    let stand = Stand::new(s3);
    let before = stand.look();
    for key in names() {
        stand.refused(&key, stand.writer.delete(&key));
    }
    let objects = names().into_iter().map(|key| ObjectIdentifier::builder().key(key).build().unwrap());
    let many = Delete::builder().set_objects(Some(objects.collect())).build().unwrap();
    let _ = ask(&stand.writer, |client, bucket| client.delete_objects().bucket(bucket).delete(many).send());
    assert_eq!(stand.look(), before, "many at once: the answer is 200, with a refusal for each");
}

/// A77: A thief of the writer's key removes versions for good, of locks too.
fn the_writers_key_removes_no_version(s3: &S3) {
    let stand = Stand::new(s3);
    let before = stand.look();
    let mut all = Vec::new();
    for key in before.0.keys() {
        for version in before.0.versions(key) {
            stand.refused(key, stand.writer.delete_version(key, &version.id));
            all.push(ObjectIdentifier::builder().key(key).version_id(&version.id).build().unwrap());
        }
    }
    let many = Delete::builder().set_objects(Some(all)).build().unwrap();
    let _ = ask(&stand.writer, |client, bucket| client.delete_objects().bucket(bucket).delete(many).send());
    assert_eq!(stand.look(), before, "many at once");
}

/// A78: A thief of the writer's key writes or hides what is Pawl's own: credentials, tombstones, batches.
fn the_writers_key_writes_nothing_of_pawls_own(s3: &S3) {
    let stand = Stand::new(s3);
    let before = stand.look();
    // The last ones are spelled as if they were files of a repository.
    for key in
        ["hosts.toml", "new", "tombstones/web1/x", "x/config", "x/data/ab/y", "x/locks/y", "locks/y", "x/"]
    {
        let key = format!("backup/.pawl/{key}");
        stand.refused(&key, stand.writer.put(&key, b"a thief's"));
        stand.refused(&key, stand.writer.put_new(&key, b"a thief's"));
        stand.refused(&key, stand.writer.delete(&key));
    }
    for key in ["config", "elsewhere/web1/config", "backup/hosts.toml", "backup/.pawlx"] {
        stand.refused(key, stand.writer.put_new(key, b"a thief's"));
    }
    stand.unchanged(&before);
}

/// A79: A thief of the writer's key hides the locks of others, or writes over them.
fn a_lock_that_was_hidden_is_still_there(s3: &S3) {
    let stand = Stand::new(s3);
    let before = stand.look();
    let lock = name("hosts/web2", "locks");
    let _ = stand.writer.put(&lock, b"a thief's");
    stand.writer.delete(&lock).unwrap();
    stand.harmless("a lock", &before);
    let seen = stand.owner.snapshot();
    let others = |name: &&str| **name != *lock;
    assert!(before.0.visible().keys().copied().filter(others).eq(seen.visible().keys().copied()));
}
