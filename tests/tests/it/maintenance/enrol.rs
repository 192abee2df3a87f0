//! Introducing a host.

use pawl_tests::clients::{Restic, Version};
use pawl_tests::command::Finished;
use pawl_tests::content::noise;
use pawl_tests::maintenance::{Maintenance, maintain};
use pawl_tests::program::program;
use pawl_tests::server::Server;
use pawl_tests::store::plant;

const VERSION: Version = Version::V0_19;

fn enrol(server: &Server, restic: &str, name: &str) -> Finished {
    let (own, management) = (server.dir().join("own"), server.dir().join("management"));
    plant(&own, b"secret");
    plant(&management, b"of management");
    let restic = program(restic);
    let [own, management, restic] = [&own, &management, &restic].map(|path| path.to_str().unwrap());
    let files = ["--password-file", own, "--management-password-file", management, "--restic", restic];
    maintain(&server.place(), &[&["enrol", name], &files[..]].concat())
}

#[test]
fn a_host_is_enrolled_and_management_opens_its_repository_without_its_password() {
    let server = Server::start();
    let printed = enrol(&server, "restic-0.19", "web1").expect_code(0).stdout;
    let line = printed.lines().find_map(|line| line.strip_prefix("export RESTIC_REPOSITORY='"));
    let host = Restic::at(VERSION, line.and_then(|line| line.strip_suffix('\'')).expect("a repository"));
    assert!(!printed.contains("restic init"), "{printed}");
    let files = host.home().join("files");
    plant(&files.join("a"), &noise("a", 100_000));
    host.backup(&files);
    assert_eq!(host.succeed(["key", "list", "--json"]).matches("\"id\"").count(), 1);

    let door = Maintenance::start(&server);
    let file = server.dir().join("management");
    let admin = door.restic(VERSION, "web1").option("--password-file").option(file.to_str().unwrap());
    admin.check();
    assert_eq!(admin.succeed(["key", "list", "--json"]).matches("\"id\"").count(), 2);
    // The door that it opened for itself is closed.
    let own = server.data().join(".pawl/maintenance");
    let sockets: Vec<_> = std::fs::read_dir(own)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("sock"))
        .collect();
    assert_eq!(sockets, ["maintain.sock"]);
}

#[test]
fn what_stands_in_the_way_is_said_before_anything_is_done() {
    let server = Server::start();
    let none = enrol(&server, "rest-server", "web1").expect_code(1);
    assert!(none.stderr.contains("is no restic"), "{none:?}");
    assert_eq!(server.host(&["list", "--json"]).expect_code(0).json().as_array().unwrap().len(), 0);
    let _ = server.add_host("web1", &[]);
    let twice = enrol(&server, "restic-0.19", "web1").expect_code(1);
    assert!(twice.stderr.contains("host 'web1' exists"), "{twice:?}");
}

#[test]
fn every_restic_enrols() {
    let server = Server::start();
    for (restic, name) in [("restic-0.14", "web1"), ("restic-0.18", "web2"), ("restic-0.19", "web3")] {
        let _ = enrol(&server, restic, name).expect_code(0);
        let keys = maintain(&server.place(), &["key", "list", name, "--json"]).expect_code(0).json();
        assert_eq!(keys.as_array().unwrap().len(), 2, "{restic}: {keys}");
    }
}
