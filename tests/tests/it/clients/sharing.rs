//! Several hosts at one server.

use std::time::Duration;

use pawl_tests::clients::{self, Restic, Version};
use pawl_tests::content::noise;
use pawl_tests::proxy::{Fault, Proxy};
use pawl_tests::server::{Credential, Server};
use pawl_tests::store::plant;
use pawl_tests::with_each_restic_on_each_store;

use super::{assert_same, files, locks};

const NO_ACCESS: &str = "403 no access to this repository";
const LOCK_OF_ANOTHER: &str = "403 lock of another credential, not yet expired";

with_each_restic_on_each_store! {
    a_host_sees_nothing_of_anothers_repository,
    a_host_cannot_back_up_to_anothers_repository,
    hosts_that_share_a_repository_back_up_at_the_same_time,
    a_host_cannot_remove_anothers_live_lock,
    a_host_works_alone_once_anothers_lock_has_expired,
}

/// `thief`'s credential for `owner`'s repository.
fn foreign(owner: &Credential, thief: &Credential) -> Credential {
    Credential { repository: owner.repository.clone(), ..thief.clone() }
}

fn a_host_sees_nothing_of_anothers_repository(server: &Server, version: Version) {
    let (web1, web2) = (clients::ready(server, "web1"), clients::ready(server, "web2"));
    let owner = Restic::new(version, &web1);
    let backup = owner.report_of_backup(&files(owner.home()), &[]);
    let thief = Restic::new(version, &foreign(&web1, &web2));
    let seen = thief.refused(["snapshots"], NO_ACCESS);
    assert!(!seen.contains(&backup.snapshot[..8]), "{seen}");
    assert!(Restic::new(version, &web2).snapshots().is_empty());
}

fn a_host_cannot_back_up_to_anothers_repository(server: &Server, version: Version) {
    let (web1, web2) = (clients::ready(server, "web1"), clients::ready(server, "web2"));
    let thief = Restic::new(version, &foreign(&web1, &web2));
    let files = files(thief.home());
    let before = server.stored();
    thief.refused(["backup", files.to_str().unwrap()], NO_ACCESS);
    before.assert_unchanged(&server.stored());
}

/// Two hosts of one repository, which is initialised.
fn two_hosts(server: &Server) -> [Credential; 2] {
    let hosts = ["web1", "web2"].map(|name| server.add_host(name, &["--repository", "shared"]));
    clients::initialise(&server.client(&hosts[0]), "shared");
    hosts
}

fn hosts_that_share_a_repository_back_up_at_the_same_time(server: &Server, version: Version) {
    let hosts = two_hosts(server).map(|credential| Restic::new(version, &credential));
    // Each holds a lock and has data to send before either goes on.
    let line = Proxy::start(server.address(), Fault::Hold, "POST /shared/data/");
    let running = hosts.each_ref().map(|restic| {
        let files = files(restic.home());
        plant(&files.join("own"), &noise(restic.repository(), 2_000_000));
        let far = restic.through(line.address());
        (far.start(["backup", "--json", files.to_str().unwrap()]), far, files)
    });
    let client = server.client(&server.add_host("watcher", &["--repository", "shared"]));
    pawl_tests::wait::until("both hosts hold a lock", || (locks(&client, "shared").len() == 2).then_some(()));
    line.wait_for_fault();
    line.let_through();
    for ((backup, _far, files), restic) in running.into_iter().zip(&hosts) {
        let backup = clients::Backup::reported(&backup.end().expect_code(0).stdout);
        let target = restic.home().join("restored");
        restic.succeed(["restore", &backup.snapshot, "--target", target.to_str().unwrap()]);
        assert_same(&files, &target.join(files.strip_prefix("/").unwrap()));
    }
    hosts[0].check();
}

/// Two hosts, of which the first has left a lock.
fn with_a_lock(server: &Server, version: Version) -> [Restic; 2] {
    let [web1, web2] = two_hosts(server).map(|credential| Restic::new(version, &credential));
    let line = Proxy::start(server.address(), Fault::Hold, "POST /shared/data/");
    let files = files(web1.home());
    let backup = web1.through(line.address()).start(["backup", files.to_str().unwrap()]);
    line.wait_for_fault();
    backup.kill();
    [web1, web2]
}

fn a_host_cannot_remove_anothers_live_lock(server: &Server, version: Version) {
    let [web1, web2] = with_a_lock(server, version);
    let before = server.stored();
    // restic itself would remove it: the process that made it is dead.
    web2.refused(["unlock"], LOCK_OF_ANOTHER);
    web2.refused(["unlock", "--remove-all"], LOCK_OF_ANOTHER);
    before.assert_unchanged(&server.stored());
    web1.succeed(["unlock"]);
    web2.check();
}

fn a_host_works_alone_once_anothers_lock_has_expired(server: &Server, version: Version) {
    let [web1, web2] = with_a_lock(server, version);
    let client = server.client(&server.add_host("watcher", &["--repository", "shared"]));
    let lock = format!("shared/locks/{}", locks(&client, "shared").remove(0));
    server.back_date(&lock, Duration::from_mins(59));
    let alone = web2.run(["check"]);
    assert!(alone.stderr.contains("already locked"), "{alone:?}");
    server.back_date(&lock, Duration::from_hours(1));
    web2.check();
    web1.check();
}
