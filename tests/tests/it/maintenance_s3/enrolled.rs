//! Hosts of a bucket that are enrolled, and retired.

use pawl_tests::on_each_s3;
use pawl_tests::program::program;
use pawl_tests::s3::S3;
use pawl_tests::store::plant_secret;

use super::host::host_with_five_backups;

on_each_s3! { a_host_with_backups_and_a_new_one_are_enrolled_and_the_new_one_retired }

fn a_host_with_backups_and_a_new_one_are_enrolled_and_the_new_one_retired(s3: &S3) {
    let host = host_with_five_backups(s3);
    let (own, restic) = (host.server.dir().join("own"), program("restic-0.19"));
    plant_secret(&own, b"secret");
    let [own, restic] = [&own, &restic].map(|path| path.to_str().unwrap());
    let enrolled = host.maintain(&["enroll", "web1", "--password-file", own, "--restic", restic]);
    let printed = enrolled.expect_code(0).stdout;
    assert!(printed.contains("The credential of web1 stays as it is"), "{printed}");
    let printed = host.maintain(&["enroll", "web2"]).expect_code(0).stdout;
    assert!(printed.contains("export RESTIC_PASSWORD='"), "{printed}");
    host.assert_all_restore();

    let night = host.maintain(&["run", "--json"]).json();
    let steps = night["steps"].as_array().unwrap();
    let is_done = |repository: &str, step: &str| {
        steps
            .iter()
            .any(|line| line["repository"] == repository && line["step"] == step && line["ended"] == "well")
    };
    for repository in ["web1", "web2"] {
        for step in ["examine", "forget", "prune", "check"] {
            assert!(is_done(repository, step), "{step} of {repository}: {night}");
        }
    }
    let _ = host.maintain(&["retire", "web2"]).expect_code(0);
    let night = host.maintain(&["run", "--json"]).json();
    assert_eq!(night["failed"], 0, "{night}");
    host.restic.check();
}
