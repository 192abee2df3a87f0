//! The writer's credential, used to put other bytes under the names of what is stored.
//!
//! AWS refuses each PUT without a condition by the bucket's policy. No server here knows that condition, so what is
//! looked at is what stays: the good version.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use pawl_tests::bucket::Bucket;
use pawl_tests::content::{base64, noise};
use pawl_tests::on_each_s3;
use pawl_tests::s3::S3;
use sha2::{Digest, Sha256};

use super::stand::{Stand, ask, content, name};

on_each_s3!(
    what_is_overwritten_with_the_writers_key_is_still_there,
    a_false_checksum_replaces_nothing,
    what_is_overwritten_in_parts_or_by_a_copy_is_still_there,
);

const FILE_TYPES: [&str; 5] = ["config", "data", "index", "keys", "snapshots"];

/// A80: A thief of the writer's key overwrites files of every type without a condition, with tags and an ACL besides.
fn what_is_overwritten_with_the_writers_key_is_still_there(s3: &S3) {
    let stand = Stand::new(s3);
    let before = stand.look();
    for file_type in FILE_TYPES {
        let key = name("web1", file_type);
        assert_eq!(stand.writer.put_new(&key, b"a thief's").unwrap_err().status(), Some(412));
        stand.writer.put(&key, b"a thief's").unwrap();
        // A rule of the bucket may go by tags, and an ACL may open an object to the world.
        let _ = ask(&stand.writer, |client, bucket| {
            let put = client.put_object().bucket(bucket).key(&key).body(ByteStream::from_static(b"tagged"));
            put.tagging("pawl=lock").send()
        });
        stand.harmless(file_type, &before);
        is_brought_back(&stand, &key, &content("web1", file_type));
    }
}

/// What maintenance does with it, without any right to remove a version: hide what is wrong, put the right bytes back.
fn is_brought_back(stand: &Stand, key: &str, good: &[u8]) {
    let versions = stand.maintenance.snapshot();
    let version =
        versions.versions(key).iter().find(|version| version.content.as_deref() == Some(good)).unwrap();
    let bytes = stand.maintenance.get_version(key, &version.id).unwrap();
    stand.maintenance.delete(key).unwrap();
    stand.maintenance.put_new(key, &bytes).unwrap();
    assert_eq!(stand.reader.get(key).unwrap(), good);
}

/// A81: A thief of the writer's key overwrites with bytes that do not have the checksum that is sent with them.
fn a_false_checksum_replaces_nothing(s3: &S3) {
    let stand = Stand::new(s3);
    let before = stand.look();
    let key = name("web1", "data");
    let checksum = base64(&Sha256::digest(content("web1", "data")));
    let refused = ask(&stand.writer, |client, bucket| {
        let put = client.put_object().bucket(bucket).key(&key).body(ByteStream::from_static(b"a thief's"));
        put.checksum_algorithm(ChecksumAlgorithm::Sha256).checksum_sha256(checksum).send()
    });
    match s3 {
        // moto compares no checksums.
        S3::Moto(_) => stand.harmless("a false checksum", &before),
        S3::Rgw(_) => {
            assert_eq!(refused.unwrap_err().status(), Some(400));
            assert_eq!(stand.look(), before);
        }
    }
}

/// A82: A thief of the writer's key overwrites by a multipart upload, or by copying another file over it.
fn what_is_overwritten_in_parts_or_by_a_copy_is_still_there(s3: &S3) {
    let stand = Stand::new(s3);
    let before = stand.look();
    for file_type in FILE_TYPES {
        let key = name("web1", file_type);
        upload_in_parts(&stand.writer, &key);
        stand.harmless(file_type, &before);
        let source = format!("{}/{}", stand.writer.name(), name("hosts/web2", file_type));
        ask(&stand.writer, |client, bucket| {
            client.copy_object().bucket(bucket).key(&key).copy_source(source).send()
        })
        .unwrap();
        stand.harmless(file_type, &before);
        is_brought_back(&stand, &key, &content("web1", file_type));
    }
}

fn upload_in_parts(bucket: &Bucket, key: &str) {
    let name = || bucket.name().to_owned();
    let begun = bucket.ask(|client| client.create_multipart_upload().bucket(name()).key(key).send()).unwrap();
    let upload = begun.upload_id.unwrap();
    let body = ByteStream::from(noise("a thief's", 2000));
    let part = bucket
        .ask(|client| {
            client.upload_part().bucket(name()).key(key).upload_id(&upload).part_number(1).body(body).send()
        })
        .unwrap();
    let part = CompletedPart::builder().part_number(1).set_e_tag(part.e_tag).build();
    let parts = CompletedMultipartUpload::builder().parts(part).build();
    bucket
        .ask(|client| {
            let complete = client.complete_multipart_upload().bucket(name()).key(key);
            complete.upload_id(&upload).multipart_upload(parts).send()
        })
        .unwrap();
}
