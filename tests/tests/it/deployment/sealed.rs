//! What the frontend's user can do from a shell, past Pawl and all that confines its process: it owns nothing.

use pawl_tests::store::Stored;

use super::{MAINTAIN, back_up_and_restore, deployed, host};

/// What would take a stored file back, or hide it. `$f` is one, `$d` its directory, `$r` its repository's.
const ATTEMPTS: [&str; 16] = [
    "rm -f $f",
    "mv $f $d/other",
    "echo x > $d/../../other && mv $d/../../other $f",
    "cp /etc/hostname $f",
    "truncate -s 0 $f",
    "echo x >> $f",
    "chmod 600 $f",
    "touch -d 2001-01-01 $f",
    "ln $f $d/link",
    "ln -s /etc/hostname $d/link",
    "touch $d/new",
    "mkdir $r/snapshots/new",
    "mv $r $r.away",
    "mv $d $d.away",
    "chmod 700 $d",
    "mkfifo $r/config.new",
];

/// The lines of a shell that define what [`ATTEMPTS`] stand for, in this data directory.
fn targets(data: &str) -> String {
    format!("r={data}/web2; f=$(find $r/data -type f | head -n 1); test -f \"$f\"; d=$(dirname $f)")
}

/// A135: A shell as the user of the frontend, and every way to remove, overwrite, change or create a stored file.
#[test]
#[ignore = "boots a machine; scripts/test --full runs it"]
fn the_doors_user_cannot_touch_what_is_stored() {
    let (machine, _) = deployed();
    let restic = host(&machine, "web2");
    restic.succeed(["init"]);
    back_up_and_restore(&restic);
    machine.run("systemctl stop pawl.service"); // its own lines in the audit log are no attack
    let data = machine.path("/var/lib/pawl");
    let before = Stored::read(&data);

    let lines = |user: &str, data: &str, attempt: &str| {
        format!("{}; export r f d; runuser -u {user} -- sh -euc '{attempt}'", targets(data))
    };
    for attempt in ATTEMPTS {
        // Root can do that, to a copy: it is the user that stops it, and not how it was tried.
        machine.run("cp --archive /var/lib/pawl /tmp/copy");
        machine.run(&lines("root", "/tmp/copy", attempt));
        machine.run("rm -rf /tmp/copy");

        let tried = machine.try_run(&lines("pawl", "/var/lib/pawl", attempt));
        assert_ne!(tried.code, Some(0), "{attempt} succeeded");
        before.assert_unchanged(&Stored::read(&data));
    }

    // It can read, which is its work, but nothing of maintenance's, and no key of an authority.
    let targets = targets("/var/lib/pawl");
    machine.run(&format!("{targets}; runuser -u pawl -- cat $f $r/config >/dev/null"));
    machine.run(&format!("{MAINTAIN} admin add ana --config /etc/pawl/pawl.toml"));
    for secret in ["maintenance/admins.toml", "tls/ca.key"] {
        let tried = machine.try_run(&format!("runuser -u pawl -- cat /var/lib/pawl/.pawl/{secret}"));
        assert_ne!(tried.code, Some(0), "{secret} can be read");
        machine.run(&format!("test -s /var/lib/pawl/.pawl/{secret}"));
    }

    machine.run("systemctl start pawl.service");
    restic.check();
}

/// A136: Another user of the machine at the keeper's socket, and at the maintenance server.
#[test]
#[ignore = "boots a machine; scripts/test --full runs it"]
fn others_reach_neither_the_keeper_nor_the_door_to_admins() {
    let (machine, _) = deployed();
    machine.run("systemctl start pawl-maintenance.service");
    machine.run("useradd mallory");
    let sockets = ["/run/pawl-keeper/keeper.sock", "/var/lib/pawl/.pawl/maintenance/maintain.sock"];
    for socket in sockets {
        machine.run(&format!("test -S {socket}"));
        for (user, may) in
            [("mallory", false), ("pawl", socket == sockets[0]), ("pawl-keeper", socket == sockets[1])]
        {
            let tried = machine.try_run(&format!("runuser -u {user} -- test -w {socket}"));
            assert_eq!(tried.code == Some(0), may, "{user} at {socket}");
        }
    }
}
