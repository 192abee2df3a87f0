//! Others have locked a repository in a bucket.

use std::time::Duration;

use pawl_tests::command::pawl;
use pawl_tests::content::{id_of, noise};
use pawl_tests::program::program;
use pawl_tests::s3::S3;
use pawl_tests::server::{PREFIX, key_of};
use pawl_tests::store::plant;
use pawl_tests::{on_each_s3, wait};

use super::host::host_with_five_backups;

on_each_s3! {
    a_thief_of_a_host_and_of_the_writers_key_does_not_keep_a_bucket_locked,
}

fn a_thief_of_a_host_and_of_the_writers_key_does_not_keep_a_bucket_locked(s3: &S3) {
    let host = host_with_five_backups(s3);
    let thief = host.server.client(&host.server.add_host("thief", &["--repository", "web1"]));
    let lock = |seed: &str| {
        let content = noise(seed, 100);
        (format!("web1/locks/{}", id_of(&content)), content)
    };
    let post = |seed: &str| {
        let (file, content) = lock(seed);
        thief.post(&format!("/{file}"), &content).unwrap()
    };
    assert_eq!(post("first").status, 200);
    let password = host.restic.home().join("password");
    plant(&password, b"secret");
    let (restic, password) = (program("restic-0.18"), password.to_str().unwrap());
    let restic = restic.to_str().unwrap();
    let mut args = vec!["forget", "web1", "--keep-last", "3", "--json", "--lock-wait", "1s"];
    args.extend(["--locks-arrive-within", "10s"]);
    args.extend(["--restic", restic, "--password-file", password]);
    let mut run = host.start_maintaining(&args);
    let marks = format!("{PREFIX}/.pawl/suspended/web1/locks/");
    let mark = wait::until("locks are suspended", || host.bucket.list(&marks).unwrap().pop());
    let refused = post("second");
    assert!(refused.status == 403 && refused.reason.starts_with("maintenance is waiting"), "{refused:?}");

    // Who has the writer's key reads the mark, and cannot write, prolong or remove it.
    let writer = host.roles.owner.with(&host.roles.writer);
    assert_eq!(writer.list(&marks).unwrap(), std::slice::from_ref(&mark));
    for key in [mark.clone(), format!("{marks}9999999999999"), format!("{marks}junk")] {
        assert_eq!(writer.put(&key, b"").unwrap_err().status(), Some(403), "{key}");
        assert_eq!(writer.put_new(&key, b"").unwrap_err().status(), Some(403), "{key}");
        assert_eq!(writer.delete(&key).unwrap_err().status(), Some(403), "{key}");
    }
    assert_eq!(host.bucket.list(&marks).unwrap(), [mark]);

    // Past the server that key stores locks all the same.
    wait::until("the first lock is waited for", || {
        assert!(!run.has_ended(), "the first lock is not waited for: {}", run.seen());
        run.seen().contains("waiting until these are stale").then_some(())
    });
    for number in 0..3 {
        let (file, content) = lock(&format!("in spite {number}"));
        writer.put_new(&key_of(&file), &content).unwrap();
    }
    host.back_date(&key_of(&lock("first").0), Duration::from_mins(31));
    let report = run.end().expect_code(1).json();
    assert_eq!(report["removed"], 2, "{report}");
    let kept_by = report["locks"]["kept_by"].as_array().unwrap();
    let told: Vec<_> = kept_by.iter().map(|it| (it["principal"].as_str(), it["in_spite"].as_u64())).collect();
    assert_eq!(told, [(None, Some(3)), (Some("thief"), Some(0))], "{report}");
    assert_eq!(host.bucket.list(&marks).unwrap(), Vec::<String>::new());
    assert_eq!(post("afterwards").status, 200);
    let shown = pawl(["audit", "show"].into_iter().chain(host.server.place())).expect_code(0).stdout;
    for told in ["suspended new locks of hosts in web1 until 20", "let hosts lock web1 again for uid-"] {
        assert_eq!(shown.lines().filter(|line| line.contains(told)).count(), 1, "{shown}");
    }
    let _ = host.maintain(&["undelete", report["batch"].as_str().unwrap()]).expect_code(0);
    for key in host.bucket.list(&format!("{PREFIX}/web1/locks/")).unwrap() {
        host.bucket.delete(&key).unwrap();
    }
    host.assert_all_restore();
}
