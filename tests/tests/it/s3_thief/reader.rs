//! The credential of those who restore without Pawl.

use pawl_tests::on_each_s3;
use pawl_tests::s3::S3;

use super::stand::{Stand, name, names};

on_each_s3!(the_readers_key_writes_nothing);

/// A87: A thief of the reader's key writes, hides or removes anything, or reads Pawl's own state.
fn the_readers_key_writes_nothing(s3: &S3) {
    let stand = Stand::new(s3);
    let before = stand.look();
    for key in
        [names(), vec![name("web1", "locks"), "backup/.pawl-probe/x".into(), "elsewhere".into()]].concat()
    {
        stand.refused(&key, stand.reader.put(&key, b"a thief's"));
        stand.refused(&key, stand.reader.put_new(&key, b"a thief's"));
        stand.refused(&key, stand.reader.delete(&key));
        for version in before.0.versions(&key) {
            stand.refused(&key, stand.reader.delete_version(&key, &version.id));
        }
    }
    stand.refused("reading Pawl's own", stand.reader.get("backup/.pawl/hosts.toml"));
    stand.unchanged(&before);
}
