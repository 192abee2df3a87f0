//! The page on the configuration names every key that `pawl` knows, and no other.

use std::collections::BTreeSet;

use pawl_tests::document::page;
use pawl_tests::terminal::Terminal;

use super::write;

/// Tables, and how the page names their keys: with the table before them, or within a section of their own.
const TABLES: [(&str, bool); 12] = [
    ("", true),
    ("tls", true),
    ("proxy", true),
    ("credentials", true),
    ("limits", true),
    ("caps", true),
    ("log", true),
    ("status", true),
    ("s3", true),
    ("maintenance", true),
    ("maintenance.run", false),
    ("maintenance.report", false),
];

/// Keys of this table, as the error about one that does not exist lists them.
fn known(terminal: &Terminal, table: &str) -> BTreeSet<String> {
    let header = if table.is_empty() { String::new() } else { format!("[{table}]\n") };
    let needed = match table {
        "proxy" => "addresses = []\n",
        "s3" => "bucket = \"backup\"\n",
        _ => "",
    };
    let config = format!("data = {:?}\n{header}{needed}no_such_key = 1\n", terminal.at("pawl-data"));
    write(&terminal.path().join("pawl.toml"), &config);
    let refused = terminal.run("pawl host list --config ./pawl.toml").expect_code(1).stderr;
    let (_, list) =
        refused.split_once("expected ").unwrap_or_else(|| unreachable!("no list of keys: {refused}"));
    let words = list.split([',', ' ', '\n', '`']).filter(|word| !["", "one", "of", "or"].contains(word));
    words.map(str::to_owned).collect()
}

/// The names in the first cells of the page's tables, below this heading or everywhere.
fn described(section: Option<&str>) -> BTreeSet<String> {
    let page = page("docs/configuration.md");
    let text = section.map_or(page.as_str(), |section| {
        let (_, rest) = page.split_once(&format!("\n## `[{section}]`\n")).unwrap();
        rest.split("\n## ").next().unwrap()
    });
    let cells = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[test]
fn the_page_on_the_configuration_names_every_key_and_no_other() {
    let terminal = Terminal::open();
    let tables: BTreeSet<_> = TABLES.iter().map(|(table, _)| *table).collect();
    let mut all = BTreeSet::new();
    for (table, has_prefix) in TABLES {
        let keys = known(&terminal, table);
        let is_table = |key: &String| {
            key == "repositories" || tables.contains(format!("{table}.{key}").trim_start_matches('.'))
        };
        let keys: BTreeSet<_> = keys.into_iter().filter(|key| !is_table(key)).collect();
        if has_prefix {
            let dotted = |key: &String| format!("{table}.{key}").trim_start_matches('.').to_owned();
            all.extend(keys.iter().map(dotted));
        } else {
            let mut keys = keys;
            if table == "maintenance.run" {
                keys.insert("at".to_owned()); // of the server, and no option of the command
            }
            assert_eq!(described(Some(table)), keys, "{table}");
            all.extend(keys);
        }
    }
    assert_eq!(described(None), all);
}
