//! From an empty machine to a backup, by the commands of `docs/install.md`.

use pawl_tests::wait::until;

use super::{back_up_and_restore, blocks, deployed, host, restic};

/// What `systemd-analyze` may find of each service as it runs, in tenths, as the page promises.
const EXPOSURE_MAX: [(&str, u32); 4] =
    [("pawl", 12), ("pawl-keeper", 5), ("pawl-maintenance", 4), ("pawl-maintain", 7)];

#[test]
#[ignore = "boots a machine; scripts/test --full runs it"]
fn an_empty_machine_becomes_a_sealed_server() {
    let (machine, printed) = deployed();

    // What the last command printed is pasted on the host.
    let value = |name: &str| {
        let line = printed.lines().find_map(|line| line.strip_prefix(&format!("export {name}=")));
        line.unwrap_or_else(|| panic!("no {name} in {printed}")).trim_matches('\'').to_owned()
    };
    let restic = restic(&machine, &value("RESTIC_REPOSITORY"), "/var/lib/pawl/.pawl/tls/ca.crt");
    restic.succeed(["init"]);
    back_up_and_restore(&restic);
    restic.check();

    machine.run(&blocks()[2]);
    let log = machine.log("pawl*");
    assert!(log.contains("confinement: strong"), "{log}");
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    restic.refused(["forget", "latest", "--prune"], "403");
    for (unit, max) in EXPOSURE_MAX {
        machine.run(&format!("systemd-analyze security --no-pager --threshold={max} {unit}.service"));
    }
}

#[test]
#[ignore = "boots a machine; scripts/test --full runs it"]
fn a_door_without_a_network_takes_backups_through_passed_sockets() {
    let (machine, _) = deployed();
    machine.run(&blocks()[3]);
    let restic = host(&machine, "web2");
    restic.succeed(["init"]);
    back_up_and_restore(&restic);
    machine.run("systemd-analyze security --no-pager --threshold=4 pawl.service");
    // It sees no interface but a loopback that is down.
    let door = machine.run("systemctl show --property MainPID --value pawl.service");
    let interfaces = machine.run(&format!("cat /proc/{}/net/dev", door.trim()));
    assert!(interfaces.contains("lo:") && !interfaces.contains("host0"), "{interfaces}");
}

/// A137: An unknown network, and Pawl's own users where they call. The rules as they are shipped let in nobody but the
/// documentation's networks; an admin puts in their own.
#[test]
#[ignore = "boots a machine; scripts/test --full runs it"]
fn only_known_networks_reach_the_server() {
    let (machine, _) = deployed();
    let restic = host(&machine, "web2").option("--retry-lock=0s");
    restic.succeed(["init"]);

    machine.run(&blocks()[1]);
    let reaches = || {
        std::net::TcpStream::connect_timeout(
            &format!("{}:8000", machine.address()).parse().unwrap(),
            std::time::Duration::from_secs(2),
        )
        .is_ok()
    };
    assert!(!reaches(), "an unknown network reaches the server");

    let network = machine.address().rsplit_once('.').unwrap().0;
    machine.run(&format!(
        "sed -i 's,192.0.2.0/24,{network}.0/24,' /etc/nftables.conf; systemctl reload nftables"
    ));
    until("a known network reaches the server", || reaches().then_some(()));
    back_up_and_restore(&restic);

    // And Pawl, even from a shell, reaches nobody: not even itself.
    let call = "exec 3<>/dev/tcp/127.0.0.1/8000";
    machine.run(&format!("bash -c '{call}'"));
    for user in ["pawl", "pawl-keeper"] {
        let called = machine.try_run(&format!("runuser -u {user} -- bash -c '{call}'"));
        assert_ne!(called.code, Some(0), "{user} can call somebody");
    }
}
