//! The page on retention, as it stands there.

use std::process::Command;

use pawl_tests::command::pawl_binary;
use pawl_tests::document::blocks;
use pawl_tests::program::program;

use super::Ground;

/// Twenty good backups, a flood of empty ones, and the commands of the page one after the other.
#[test]
fn the_page_on_retention_is_carried_out_as_it_stands() {
    let ground = Ground::new();
    let good = ground.daily(28, 20);
    ground.empty();
    for number in 0..20 {
        ground.backup(8 * super::DAY - number, &[]);
    }
    let bin = ground.server.dir().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(pawl_binary(), bin.join("pawl")).unwrap();
    std::os::unix::fs::symlink(program("restic-0.19"), bin.join("restic")).unwrap();
    let block = blocks("docs/retention.md", "sh")[0]
        .replace("--data ./pawl-data", &ground.server.place().join(" "))
        .replace("management.password", ground.server.dir().join("password").to_str().unwrap());
    let path = format!("{}:{}", bin.display(), std::env::var_os("PATH").unwrap().display());
    let output =
        Command::new("bash").args(["-euo", "pipefail", "-c", &block]).env("PATH", path).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(printed.matches("shrunken").count(), 40, "{printed}");
    // How many of the six oldest are the newest of their week depends on the day.
    let removed = 40 - ground.there().len();
    assert!((2..=6).contains(&removed), "{printed}");
    for words in [format!("Would remove {removed} of web1"), format!("Removed {removed} of web1")] {
        assert!(printed.contains(&words), "{printed}");
    }
    ground.assert_there(&good[6..]);
}
