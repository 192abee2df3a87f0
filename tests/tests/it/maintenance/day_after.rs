//! The page on what to do after an attack, as it stands there.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use pawl_tests::clients::{Restic, Version};
use pawl_tests::command::pawl_binary;
use pawl_tests::document::blocks;
use pawl_tests::maintenance::Maintenance;
use pawl_tests::store::{Stored, plant};

use super::{Host, files_below, host_with_five_backups};

/// A thief held the credential of an admin and that of a host, and had the server's disk for a while.
#[test]
fn the_day_after_an_attack_ends_with_everything_restored() {
    let host = host_with_five_backups(Version::V0_19);
    let second = host.server.dir().join("second");
    for path in files_below(&host.server.data().join("web1")) {
        let name = path.strip_prefix(host.server.data()).unwrap();
        plant(&second.join(name), &std::fs::read(&path).unwrap());
    }
    let repository = host.server.data().join("web1");
    let before = Stored::read(&repository);
    let visible = host.visible();
    attack(&host, &visible);
    assert!(host.restic.run(["check", "--read-data"]).code != Some(0));

    let bin = host.server.dir().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(pawl_binary(), bin.join("pawl")).unwrap();
    let block = blocks("docs/after-an-attack.md", "sh")[0]
        .replace("./pawl-data", host.server.data().to_str().unwrap())
        .replace("/mnt/second", second.to_str().unwrap());
    let path = format!("{}:{}", bin.display(), std::env::var_os("PATH").unwrap().display());
    let output =
        Command::new("bash").args(["-euo", "pipefail", "-c", &block]).env("PATH", path).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{printed}\n{said}");

    assert!(visible.is_subset(&host.visible())); // what prune wrote anew stays as well
    before.assert_kept(&Stored::read(&repository));
    // The thief's credentials are worth nothing now; the new one restores.
    assert!(host.restic.run(["snapshots"]).code != Some(0));
    let (_, url) = printed.split_once("export RESTIC_REPOSITORY='").unwrap();
    let (url, _) = url.split_once('\'').unwrap();
    let restic = Restic::at(Version::V0_19, url);
    assert_eq!(restic.snapshots(), host.snapshots);
    for (snapshot, state) in host.snapshots.iter().zip(&host.states) {
        let target = tempfile::tempdir_in(restic.home()).unwrap();
        restic.succeed(["restore", snapshot, "--target", target.path().to_str().unwrap()]);
        let files = host.restic.home().join("files");
        let restored = target.path().join(files.strip_prefix("/").unwrap());
        Stored::read(state).assert_unchanged(&Stored::read(&restored));
    }
}

/// Prunes two snapshots, and changes bytes on the disk that the second store has as well.
fn attack(host: &Host, in_second: &BTreeSet<PathBuf>) {
    let server = &host.server;
    let mut door = Maintenance::start(server);
    let thief = door.restic(Version::V0_19, "web1");
    thief.succeed(["forget", &host.snapshots[0], &host.snapshots[1], "--prune", "--max-unused", "0"]);
    door.stop();
    let packs = files_below(&server.data().join("web1/data"));
    let mut rotten = 0;
    for path in packs.intersection(in_second).take(3) {
        let mut content = std::fs::read(path).unwrap();
        let middle = content.len() / 2;
        content[middle] ^= 0x40;
        plant(path, &content);
        rotten += 1;
    }
    assert!(rotten > 0);
}
