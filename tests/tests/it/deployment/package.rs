//! The package itself: what it brings, starts and leaves.

use pawl_tests::store::Stored;

use super::{back_up_and_restore, blocks, delivered, deployed, host};

#[test]
#[ignore = "boots a machine; scripts/test --full runs it"]
fn installing_it_starts_nothing_and_its_configuration_is_accepted() {
    let machine = delivered();
    let install: Vec<_> = blocks()[0].lines().take(2).map(str::to_owned).collect();
    machine.run(&install.join("\n"));
    let running = machine.run("systemctl list-units --all --plain --no-legend 'pawl*'");
    assert!(!running.contains(" active "), "{running}");
    machine.run("pawl doctor --config /etc/pawl/pawl.toml");
    for path in [
        "/usr/share/man/man1/pawl.1.gz",
        "/usr/share/man/man1/pawl-maintain-purge.1.gz",
        "/usr/share/bash-completion/completions/pawl",
        "/usr/share/doc/pawl/copyright",
        "/usr/share/doc/pawl/libraries.txt.gz",
        "/usr/libexec/pawl/pawl-keeper",
    ] {
        // dpkg leaves documents out where the machine says so.
        // Not --quiet: that grep ends at the first match, and dpkg by SIGPIPE.
        machine.run(&format!("dpkg --listfiles pawl | grep --line-regexp '{path}'"));
    }
    machine.run("bash -c 'source /usr/share/bash-completion/completions/pawl'");
}

#[test]
#[ignore = "boots a machine; scripts/test --full runs it"]
fn installing_it_again_restarts_what_runs_and_keeps_what_was_configured() {
    let (machine, _) = deployed();
    let restic = host(&machine, "web2");
    restic.succeed(["init"]);
    let door = machine.run("systemctl show --property MainPID --value pawl.service");
    machine.run(
        "echo '# mine' >>/etc/pawl/pawl.toml; apt-get install --yes --reinstall ./pawl_0.1.0-1_amd64.deb",
    );
    assert_ne!(machine.run("systemctl show --property MainPID --value pawl.service"), door);
    machine.run("systemctl is-active pawl.service; tail -n 1 /etc/pawl/pawl.toml | grep --quiet mine");
    back_up_and_restore(&restic);
}

#[test]
#[ignore = "boots a machine; scripts/test --full runs it"]
fn purging_it_leaves_the_backups() {
    let (machine, _) = deployed();
    let restic = host(&machine, "web2");
    restic.succeed(["init"]);
    back_up_and_restore(&restic);
    machine.run("systemctl stop pawl.service");
    let data = machine.path("/var/lib/pawl");
    let before = Stored::read(&data);
    machine.run("apt-get purge --yes pawl");
    before.assert_unchanged(&Stored::read(&data));
    assert!(!machine.path("/usr/bin/pawl").exists() && !machine.path("/etc/pawl/pawl.toml").exists());
    machine
        .run("test -z \"$(systemctl list-unit-files --plain --no-legend 'pawl*')\"; id pawl; id pawl-keeper");

    // And a new installation goes on with them.
    machine.run(&blocks()[0].replace("pawl host add web1", "pawl host list"));
    restic.check();
}
