//! Text that a host wrote is text on every way out.

use std::collections::BTreeSet;

use serde_json::json;

use super::Ground;

/// What a thief of a host would call it.
const NAMES: [&str; 4] = [
    "<script>document.title='ran'</script>",
    "\"><img src=x onerror=alert(1)>'",
    "</pre></style></title><svg onload=alert(1)>",
    "\u{1b}[2J\u{1b}]0;ran\u{7}\u{202e}gnp.exe\u{9b}31m\r\nloss",
];

pub(crate) fn remember(ground: &Ground, more: &str) {
    let names: Vec<_> = NAMES.iter().map(|name| format!("{name}{more}")).collect();
    let held: Vec<_> = names
        .iter()
        .map(|name| {
            json!({"id": ground.snapshots[0], "host": name, "received": name,
                   "reason": format!("lacks {name}"), "suspicious": true})
        })
        .collect();
    let said = json!({"step": "forget", "ended": "notice", "said": names, "batch": names[0], "took_ms": 1});
    let junk = json!({"file": names[0], "creator": names[1], "reason": names[2], "batch": names[3]});
    let last = json!({"began_ms": 1, "ended_ms": 2, "steps": [said]});
    ground.remember(&json!({"last": last, "held": held, "junk": [junk]}));
}

/// A155: A thief of a host names it, its paths or its tags so that they run as a script where the report is read, or steer
/// the terminal.
#[test]
fn what_a_host_wrote_is_text_in_the_page_on_the_terminal_and_in_json() {
    let ground = Ground::new();
    let plain = ground.page();
    remember(&ground, "");
    let page = ground.page();
    // Not one element or attribute more than the template's own.
    let tags = |page: &str| -> BTreeSet<String> {
        let names = page.split('<').skip(1).map(|rest| {
            rest.split(|letter: char| !letter.is_ascii_alphanumeric()).next().unwrap().to_owned()
        });
        names.collect()
    };
    assert!(!tags(&page).contains("script") && !tags(&page).contains("img"), "{:?}", tags(&page));
    assert_eq!(page.matches("<style").count(), 1);
    assert!(page.contains("&lt;script&gt;") && page.contains("&quot;&gt;&lt;img"), "{page}");
    assert!(plain.len() < page.len());
    // Nothing outside of itself is named.
    for word in ["http://", "https://", "src=", "url(", "@import", "<link", "<script", "javascript:"] {
        assert!(!plain.contains(word), "{word}");
    }
    let policy = "content=\"default-src 'none'; style-src 'sha256-";
    assert!(page.contains(policy));

    let text = ground.report(&[]).expect_code(1).stdout;
    assert!(text.contains("<script>"), "on a terminal that is harmless, and is told as it is");
    assert!(
        !text.chars().any(|letter| (letter.is_control() && letter != '\n') || letter == '\u{202e}'),
        "{text:?}"
    );
    assert_eq!(text.lines().filter(|line| line.starts_with("loss")).count(), 0);

    let report = ground.json(1, &[]);
    let hosts = report["repositories"][0]["held"]
        .as_array()
        .unwrap()
        .iter()
        .map(|held| held["host"].as_str().unwrap());
    assert_eq!(hosts.collect::<Vec<_>>(), NAMES);
}

#[test]
fn a_repositorys_files_that_are_none_of_restics_are_shown_as_text() {
    let ground = Ground::new();
    // What verification finds and remembers comes from the directory: names of files that anybody with the disk could make.
    let state = ground.server.data().join(".pawl/maintenance/verify/web1.json");
    let mut value: serde_json::Value = serde_json::from_slice(&std::fs::read(&state).unwrap()).unwrap();
    let found = json!({"file": NAMES[0], "kind": "damaged", "detail": NAMES[3], "snapshots": [NAMES[1]]});
    value["damaged"] = json!({NAMES[0]: found});
    pawl_tests::store::plant(&state, value.to_string().as_bytes());
    let page = ground.page();
    assert!(page.contains("&lt;script&gt;document.title='ran'&lt;/script&gt;"), "{page}");
    assert!(!page.contains("<script") && !page.contains("<img") && !page.contains('\u{1b}'));
}
