//! A bucket that does not answer.

use pawl_tests::moto::Moto;
use pawl_tests::s3::S3;

use super::host::host_with_five_backups;

#[test]
fn a_run_whose_bucket_is_away_says_so_once() {
    let s3 = S3::Moto(Moto::shared());
    let host = host_with_five_backups(&s3);
    let _ = host.maintain(&["verify"]).expect_code(0);
    host.line.go_away();
    let run = host.maintain(&["run"]).expect_code(2);
    assert_eq!(run.stderr.matches("cannot list repositories").count(), 1, "{run:?}");
}
