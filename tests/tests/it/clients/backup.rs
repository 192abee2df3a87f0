//! Backing up and getting it back.

use std::fs;

use pawl_tests::clients::{self, Restic, Version};
use pawl_tests::content::noise;
use pawl_tests::proxy::{Fault, Proxy};
use pawl_tests::server::Server;
use pawl_tests::store::plant;
use pawl_tests::with_each_restic_on_each_store;

use super::{assert_same, files};

with_each_restic_on_each_store! {
    a_backup_is_restored_byte_for_byte,
    a_backup_with_the_strongest_compression_is_restored,
    a_backup_passes_a_check_of_all_data,
    a_second_backup_adds_only_what_is_new,
    a_file_is_dumped_out_of_a_snapshot,
    a_snapshot_is_listed,
    snapshots_are_copied_to_another_repository,
    a_backup_whose_answers_are_lost_succeeds,
}

fn a_backup_is_restored_byte_for_byte(server: &Server, version: Version) {
    let restic = Restic::new(version, &clients::ready(server, "web1"));
    let files = files(restic.home());
    restic.backup(&files);
    assert_same(&files, &restic.restore(&files, &[]));
}

fn a_backup_with_the_strongest_compression_is_restored(server: &Server, version: Version) {
    let restic = Restic::new(version, &clients::ready(server, "web1"));
    let files = files(restic.home());
    let backup = restic.report_of_backup(&files, &["--compression", "max"]);
    let stored = server.stored().bytes();
    assert!(
        stored < backup.added - 150_000,
        "the letter of 220,000 bytes is stored compressed: {stored}, {backup:?}"
    );
    assert_same(&files, &restic.restore(&files, &[]));
}

fn a_backup_passes_a_check_of_all_data(server: &Server, version: Version) {
    let restic = Restic::new(version, &clients::ready(server, "web1"));
    restic.backup(&files(restic.home()));
    restic.check();
}

fn a_second_backup_adds_only_what_is_new(server: &Server, version: Version) {
    let restic = Restic::new(version, &clients::ready(server, "web1"));
    let files = files(restic.home());
    let first = restic.report_of_backup(&files, &[]);
    let before = server.stored();
    plant(&files.join("new"), &noise("new", 300_000));
    let second = restic.report_of_backup(&files, &[]);
    assert!(first.added > 2_000_000, "{first:?}");
    assert!((300_000..1_000_000).contains(&second.added), "{second:?}");
    before.assert_kept(&server.stored());
    assert_same(&files, &restic.restore(&files, &[]));
}

fn a_file_is_dumped_out_of_a_snapshot(server: &Server, version: Version) {
    let restic = Restic::new(version, &clients::ready(server, "web1"));
    let files = files(restic.home());
    restic.backup(&files);
    let letter = files.join("letter.txt");
    let dumped = restic.succeed(["dump", "latest", letter.to_str().unwrap()]);
    assert!(dumped == fs::read_to_string(&letter).unwrap(), "{} bytes", dumped.len());
}

fn a_snapshot_is_listed(server: &Server, version: Version) {
    let restic = Restic::new(version, &clients::ready(server, "web1"));
    let files = files(restic.home());
    let backup = restic.report_of_backup(&files, &[]);
    let listed = restic.succeed(["ls", &backup.snapshot]);
    for name in ["letter.txt", "deep/er/größer \u{1F4BE}/noise", "nothing", "deep/link"] {
        let line = files.join(name).to_str().unwrap().to_owned();
        assert!(listed.lines().any(|listed| listed == line), "{line} in:\n{listed}");
    }
}

fn snapshots_are_copied_to_another_repository(server: &Server, version: Version) {
    let web1 = Restic::new(version, &clients::ready(server, "web1"));
    let web2 = Restic::new(version, &clients::ready(server, "web2"));
    let files = files(web1.home());
    web1.backup(&files);
    plant(&files.join("new"), b"something new");
    web1.backup(&files);
    assert_eq!(server.stored().count_in("web1/snapshots"), 2);

    let before = server.stored();
    web2.succeed(["copy", "--from-repo", web1.repository()]);
    before.assert_kept(&server.stored());
    assert_eq!(web2.snapshots().len(), 2);
    web2.check();
    assert_same(&files, &web2.restore(&files, &[]));
}

/// The upload arrived, but the client never learns it: it asks to delete the file, is refused, and sends it again.
fn a_backup_whose_answers_are_lost_succeeds(server: &Server, version: Version) {
    let restic = Restic::new(version, &clients::ready(server, "web1"));
    let files = files(restic.home());
    let lines =
        ["data", "index", "snapshots", "locks"].iter().fold(Vec::<Proxy>::new(), |mut lines, file_type| {
            let next = lines.last().map_or(server.address(), Proxy::address);
            lines.push(Proxy::start(next, Fault::LoseAnswer, &format!("POST /web1/{file_type}/")));
            lines
        });
    let far = restic.through(lines.last().unwrap().address());
    far.backup(&files);
    for line in lines {
        assert!(line.lost().starts_with("HTTP/1.1 200 "), "{:?}", line.lost());
    }
    restic.check();
    assert_same(&files, &restic.restore(&files, &[]));
}
