//! The units at work: after a kill, at a reload, at night.

use pawl_tests::clients::PASSWORD;
use pawl_tests::program::program;
use pawl_tests::wait::until;
use serde_json::Value;

use super::machine::{Machine, write};
use super::{MAINTAIN, NO_NIGHT, back_up_and_restore, deployed, host};

/// The number of a unit's process.
fn process(machine: &Machine, unit: &str) -> String {
    machine.run(&format!("systemctl show --property MainPID --value {unit}")).trim().to_owned()
}

#[test]
#[ignore = "boots a machine; scripts/test --full runs it"]
fn whatever_is_killed_comes_back() {
    let (machine, _) = deployed();
    let restic = host(&machine, "web2");
    restic.succeed(["init"]);
    for killed in ["pawl-keeper.service", "pawl.service"] {
        let before = ["pawl.service", "pawl-keeper.service"].map(|unit| process(&machine, unit));
        machine.run(&format!("systemctl kill --kill-whom main --signal KILL {killed}"));
        until("both are started again", || {
            let now = ["pawl.service", "pawl-keeper.service"].map(|unit| process(&machine, unit));
            let all_new = now.iter().zip(&before).all(|(now, before)| now != "0" && now != before);
            (all_new && machine.try_run("systemctl is-active pawl.service").code == Some(0)).then_some(())
        });
        back_up_and_restore(&restic);
    }
    restic.check();
}

#[test]
#[ignore = "boots a machine; scripts/test --full runs it"]
fn hosts_come_and_go_without_a_restart_and_a_reload_disturbs_nobody() {
    let (machine, _) = deployed();
    let door = process(&machine, "pawl.service");
    let restic = host(&machine, "web2");
    restic.succeed(["init"]);
    machine.run("systemctl reload pawl.service");
    back_up_and_restore(&restic);
    machine.run("pawl host revoke web2 --config /etc/pawl/pawl.toml; systemctl reload pawl.service");
    restic.refused(["snapshots"], "401");
    assert_eq!(process(&machine, "pawl.service"), door);
}

/// The certificate is the admin's, renewed in place, as tools do that renew certificates.
#[test]
#[ignore = "boots a machine; scripts/test --full runs it"]
fn a_renewed_certificate_is_shown_after_a_reload() {
    let (machine, _) = deployed();
    let issue = |name: &str| {
        let dir = machine.path("/etc/pawl/tls");
        std::fs::create_dir_all(&dir).unwrap();
        let made = std::process::Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
            ])
            .args(["-subj", &format!("/CN={name}"), "-keyout"])
            .arg(dir.join("key.pem"))
            .arg("-out")
            .arg(dir.join("fullchain.pem"))
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        machine.run("chown -R root:pawl /etc/pawl/tls; chmod 640 /etc/pawl/tls/*; chmod 750 /etc/pawl/tls");
    };
    let shown = || {
        let lines = format!(
            "openssl s_client -connect {}:8000 </dev/null 2>/dev/null | openssl x509 -noout -subject",
            machine.address()
        );
        let output = std::process::Command::new("bash").args(["-c", &lines]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().replace(' ', "")
    };
    let path = machine.path("/etc/pawl/pawl.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    let own = "certificate = \"/etc/pawl/tls/fullchain.pem\"\nkey = \"/etc/pawl/tls/key.pem\"";
    write(&path, &config.replace("names = [\"backup.example.org\"]", own));
    issue("first");
    machine.run("systemctl restart pawl.service");
    assert_eq!(shown(), "subject=CN=first");
    issue("second");
    machine.run("systemctl reload pawl.service"); // returns when the signal was sent
    until("the second certificate is shown", || (shown() == "subject=CN=second").then_some(()));
}

#[test]
#[ignore = "boots a machine; scripts/test --full runs it"]
fn the_night_verifies_and_purges_and_gives_the_door_to_admins_back() {
    let (machine, _) = deployed();
    let restic = host(&machine, "web2");
    restic.succeed(["init"]);
    back_up_and_restore(&restic);
    let next = || machine.run("systemctl show --property NextElapseUSecRealtime --value pawl-maintain.timer");
    assert!(next().contains("2099"), "the page's commands started no timer");
    // Stopped, it says nothing of a next time; started for a moment, as it is shipped, what it waits for.
    machine.run(&format!("systemctl stop pawl-maintain.timer; rm {NO_NIGHT}; systemctl daemon-reload"));
    machine.run("systemctl start pawl-maintain.timer");
    let night = next();
    machine.run("systemctl stop pawl-maintain.timer");
    assert!(!night.trim().is_empty() && !night.contains("2099"), "the timer waits for nothing: {night}");

    machine.run("systemctl enable --now pawl-maintenance.service");
    let before = process(&machine, "pawl-maintenance.service");
    machine.run("systemctl start pawl-maintain.service");
    until("the maintenance server is back", || {
        let now = process(&machine, "pawl-maintenance.service");
        (now != "0" && now != before).then_some(())
    });

    // Damage ends it before anything is removed for good, and the unit has failed.
    machine.run(
        "f=$(find /var/lib/pawl/web2/data -type f | head -n 1); chmod 640 $f; printf x | dd of=$f conv=notrunc; chmod 440 $f",
    );
    machine.run(&format!("{MAINTAIN} verify --all --config /etc/pawl/pawl.toml || test $? = 1"));
    assert_ne!(machine.try_run("systemctl start pawl-maintain.service").code, Some(0));
    assert!(machine.log("pawl-maintain.service").contains("damage stays"));
    until("the maintenance server is back", || {
        (process(&machine, "pawl-maintenance.service") != "0").then_some(())
    });
}

/// Debian's own restic is reached over the loopback network, which the unit has for itself.
#[test]
#[ignore = "boots a machine; scripts/test --full runs it"]
fn the_night_forgets_and_prunes_with_every_restic() {
    let (machine, _) = deployed();
    let restic = host(&machine, "web2");
    restic.succeed(["init"]);
    back_up_and_restore(&restic);
    machine.run(&format!("umask 077; echo '{PASSWORD}' >/etc/pawl/management.password"));
    machine.run("chown pawl-keeper /etc/pawl/management.password");
    let path = machine.path("/etc/pawl/pawl.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    let run = "[maintenance.run]\nkeep_daily = 14\npassword_file = \"/etc/pawl/management.password\"\n";
    write(&path, &format!("{config}\n{run}"));
    for name in ["restic-0.14", "restic-0.19"] {
        machine.bring(&program(name), "/usr/bin/restic");
        machine.run("systemctl start pawl-maintain.service");
    }
    let log = machine.log("pawl-maintain.service");
    assert_eq!(log.matches("no errors; read portion").count(), 2, "{log}");
    restic.check();
}

/// Plain restic, newer than Debian 12's, on the machine itself: the maintenance server is a Unix socket.
#[test]
#[ignore = "boots a machine; scripts/test --full runs it"]
fn an_admin_works_at_the_door_that_the_unit_opens() {
    let (machine, _) = deployed();
    let restic = host(&machine, "web2");
    restic.succeed(["init"]);
    back_up_and_restore(&restic);
    machine.run("systemctl start pawl-maintenance.service");
    let added = machine.run(&format!("{MAINTAIN} admin add ana --json --config /etc/pawl/pawl.toml"));
    let added: Value = serde_json::from_str(&added).unwrap();
    let (url, password) = (added["url"].as_str().unwrap(), added["password"].as_str().unwrap());
    let url = url.replace("http+unix://", &format!("http+unix://ana:{password}@"));
    machine.bring(&program("restic-0.19"), "/usr/bin/restic");
    let run = |command: &str| {
        let variables = format!("RESTIC_REPOSITORY='{url}web2/' RESTIC_PASSWORD='{PASSWORD}'");
        machine.run(&format!("export {variables}; restic --no-cache {command}"))
    };
    run("prune --max-unused 0");
    run("check --read-data");

    // A key that is added here is maintenance's: the frontend cannot even read it.
    machine.run("echo of-management >/root/password");
    run("key add --new-password-file /root/password");
    let readable = |user: &str| {
        let lines = format!(
            "for key in *; do runuser -u {user} -- cat $key >/dev/null 2>&1 && echo $key; done; true"
        );
        machine.run(&format!("cd /var/lib/pawl/web2/keys; {lines}"))
    };
    let (of_hosts, all) = (readable("pawl"), readable("pawl-keeper"));
    assert_eq!((of_hosts.lines().count(), all.lines().count()), (1, 2), "{of_hosts}");

    // What is removed can be undone.
    let added = all.lines().find(|key| !of_hosts.contains(*key)).unwrap();
    run(&format!("key remove {added}"));
    assert!(machine.run(&format!("{MAINTAIN} deleted --config /etc/pawl/pawl.toml")).contains("web2"));
    restic.check();
}

/// Files that root made among those of maintenance would stop the next night.
#[test]
#[ignore = "boots a machine; scripts/test --full runs it"]
fn maintenance_by_root_is_refused_and_leaves_nothing() {
    let (machine, _) = deployed();
    for command in ["verify", "purge", "serve", "admin add ana"] {
        let tried = machine.try_run(&format!("pawl maintain {command} --config /etc/pawl/pawl.toml"));
        assert!(tried.code == Some(1) || tried.code == Some(2), "{tried:?}");
        assert!(tried.stderr.contains("runuser"), "{tried:?}");
    }
    let strangers = machine.run("find /var/lib/pawl ! -user pawl-keeper -o ! -group pawl");
    assert_eq!(strangers, "");
    machine.run("systemctl start pawl-maintain.service");
}
