//! A bucket is tried out once a day, not by every command.

use pawl_tests::on_each_s3;
use pawl_tests::s3::S3;

use super::host::{Host, host_with_five_backups};

on_each_s3! {
    a_bucket_is_tried_out_once_and_by_each_door,
}

/// Servers leave signs of life beside the trials.
fn is_trial(request: &str) -> bool {
    request.contains("/.pawl-probe/") && !request.contains("/servers/")
}

fn trials(host: &Host) -> usize {
    host.line.seen().iter().filter(|line| line.starts_with("PUT ") && is_trial(line)).count()
}

fn a_bucket_is_tried_out_once_and_by_each_door(s3: &S3) {
    let host = host_with_five_backups(s3);
    let by_the_server = trials(&host);
    assert!(by_the_server > 0);
    // There is no place yet to remember it in for a command that only reads.
    let _ = host.maintain(&["verify", "--share", "1/10000"]).expect_code(0);
    let by_the_first = trials(&host);
    assert!(by_the_first > by_the_server);
    for command in [&["deleted"][..], &["restore", "--dry-run"], &["restore"], &["verify"], &["purge"]] {
        let _ = host.maintain(command).expect_code(0);
    }
    assert_eq!(trials(&host), by_the_first);
    let mut door = host.door();
    assert!(trials(&host) > by_the_first);
    door.stop();
    let by_the_door = trials(&host);
    let _ = host.maintain(&["deleted"]).expect_code(0);
    assert_eq!(trials(&host), by_the_door);
}
