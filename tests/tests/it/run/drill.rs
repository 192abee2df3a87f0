//! The page on the nightly run, as it stands there.

use std::process::Command;

use pawl_tests::command::pawl_binary;
use pawl_tests::document::blocks;
use pawl_tests::program::program;

use super::Ground;

/// Two hosts with a history, and the commands of the page one after the other.
#[test]
fn the_page_on_the_nightly_run_is_carried_out_as_it_stands() {
    let ground = Ground::new(&["web1", "db1"]);
    // There was a report before.
    let _ = super::maintain(&ground.server.place(), &["report", "--acknowledge"]).expect_code(1);
    let bin = ground.server.dir().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(pawl_binary(), bin.join("pawl")).unwrap();
    std::os::unix::fs::symlink(program("restic-0.19"), bin.join("restic")).unwrap();
    let page = "docs/nightly-run.md";
    let block = blocks(page, "sh")[1].replace("--data ./pawl-data", &ground.server.place().join(" "));
    let path = format!("{}:{}", bin.display(), std::env::var_os("PATH").unwrap().display());
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &block])
        .env("PATH", path)
        .current_dir(ground.server.dir())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    // The table that it shows has the rows that were printed, in their order.
    let shown = &blocks(page, "text")[0];
    let shown: Vec<_> = table(shown).collect();
    let printed_rows: Vec<_> = table(&printed).take(7).collect();
    assert_eq!(shown, printed_rows, "{printed}");
    let last = printed.lines().find_map(|line| line.strip_prefix("pawl-run: ")).unwrap();
    let last: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!((&last["exit"], &last["repositories"]), (&0.into(), &2.into()), "{printed}");
    for host in ["web1", "db1"] {
        ground.restic(host).check();
    }
}

/// Step and end of each row.
fn table(text: &str) -> impl Iterator<Item = (String, String)> {
    let steps = ["verify", "restore", "compare", "examine", "forget", "prune", "check", "purge"];
    text.lines().filter_map(move |line| {
        let words: Vec<_> = line.split_whitespace().take(3).collect();
        let at = words.iter().position(|word| steps.contains(word))?;
        Some((words[at].to_owned(), (*words.get(at + 1)?).to_owned()))
    })
}
