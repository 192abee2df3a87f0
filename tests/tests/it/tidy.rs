//! What is true of the source itself: layers, and documents that keep step with the tests.
//!
//! Invariant: nothing is run here; text is compared with text.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod circles;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use circles::Crate;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every file below `folder` with this ending, as its path from the root and its text.
fn texts(folder: &str, ending: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut ahead = vec![root().join(folder)];
    while let Some(directory) = ahead.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                ahead.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
                found.push((name, std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    found
}

/// The part of a source file that is built into the program.
fn program(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap()
}

/// Files of the server whose program part contains `word`.
fn files_with(word: &str) -> Vec<String> {
    let mut files: Vec<_> = texts("server", ".rs")
        .into_iter()
        .filter(|(_, text)| program(text).contains(word))
        .map(|(name, _)| name)
        .collect();
    files.sort();
    files
}

/// `A7: …` in the first line of a script, or in the comment of a test: number and the test's name.
fn attacks() -> BTreeMap<u32, String> {
    let mut attacks = BTreeMap::new();
    let mut note = |number: u32, test: &str| {
        let earlier = attacks.insert(number, test.to_owned());
        assert_eq!(earlier, None, "A{number} was given to {test} as well");
    };
    for (name, text) in texts("tests/adversary", ".http") {
        let name = name.rsplit('/').next().unwrap();
        let number = text.strip_prefix("# A").and_then(|rest| rest.split(':').next()?.parse().ok()).unwrap();
        assert!(name.starts_with(&format!("a{number:02}_")), "{name} is A{number}");
        note(number, name);
    }
    for (_, text) in texts("tests/tests", ".rs") {
        let mut attack = None;
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("/// A") {
                attack = rest.split(':').next().and_then(|number| number.parse::<u32>().ok()).or(attack);
            }
            if let (Some(number), Some(rest)) = (attack, line.strip_prefix("fn ")) {
                note(number, rest.split('(').next().unwrap());
                attack = None;
            }
        }
    }
    attacks
}

#[test]
fn the_threat_model_lists_each_attack_with_its_test() {
    let model = std::fs::read_to_string(root().join("docs/threat-model.md")).unwrap();
    let mut listed = BTreeMap::new();
    for row in model.lines().filter(|line| line.starts_with("| A")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [_, number, _, test, _] = cells[..] else { unreachable!("not a row of three cells: {row}") };
        listed.insert(number.trim_start_matches('A').parse().unwrap(), test.trim_matches('`').to_owned());
    }
    assert_eq!(listed, attacks());
    let numbers: Vec<_> = listed.keys().copied().collect();
    let gapless: Vec<_> = (1..=u32::try_from(numbers.len()).unwrap()).collect();
    assert_eq!(numbers, gapless);
}

#[test]
fn the_threat_model_names_only_tests_that_exist() {
    let model = std::fs::read_to_string(root().join("docs/threat-model.md")).unwrap();
    for file in model.split('`').filter(|word| word.starts_with("tests/")) {
        assert!(root().join(file).exists(), "{file}");
    }
}

#[test]
fn only_one_file_names_a_status_and_only_one_reads_a_url() {
    assert_eq!(files_with("StatusCode::"), ["server/frontend/src/http/respond.rs"]);
    assert_eq!(files_with("Uri}"), ["server/frontend/src/http/route.rs"]);
    assert_eq!(files_with("Method::"), ["server/frontend/src/http/route.rs"]);
}

/// The crates of Pawl in a manifest's `[dependencies]`.
fn uses(manifest: &str) -> Vec<String> {
    let (_, dependencies) = manifest.split_once("\n[dependencies]\n").unwrap_or_default();
    let dependencies = dependencies.split("\n[").next().unwrap();
    let names = dependencies.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name);
    names.filter(|name| name.starts_with("pawl")).map(str::to_owned).collect()
}

#[test]
fn the_architecture_shows_the_crates_in_an_order_in_which_none_uses_a_later_one() {
    let page = std::fs::read_to_string(root().join("docs/architecture/overview.md")).unwrap();
    let mut above = Vec::new();
    for row in page.lines().filter(|line| line.starts_with("| `pawl")) {
        let cells: Vec<_> =
            row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
        let [name, folder, _, used] = &cells[..] else { unreachable!("not a row of four cells: {row}") };
        let manifest = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        assert!(manifest.contains(&format!("\nname = \"{name}\"\n")), "{folder} is not {name}");
        assert_eq!(uses(&manifest).join(", "), *used, "{name}");
        assert!(
            uses(&manifest).iter().all(|other| above.contains(other)),
            "{name} uses {used}, above it: {above:?}"
        );
        above.push(name.clone());
    }
    let manifests = texts("server", "Cargo.toml").len() + texts("policy", "Cargo.toml").len();
    assert_eq!(above.len(), manifests, "{above:?}");
}

#[test]
fn the_picture_of_the_crates_shows_what_each_is_built_from() {
    let picture = std::fs::read_to_string(root().join("docs/pictures/crates.svg")).unwrap();
    let shown = picture
        .split("<title>")
        .skip(1)
        .filter_map(|rest| rest.split("</title>").next()?.split_once(" uses "));
    let mut drawn: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (one, other) in shown {
        drawn.entry(one.to_owned()).or_default().insert(other.to_owned());
    }
    let manifests = texts("server", "Cargo.toml").into_iter().chain(texts("policy", "Cargo.toml"));
    let used = manifests.map(|(_, manifest)| {
        let name = manifest.split("\nname = \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        (name, uses(&manifest).into_iter().collect())
    });
    let used: BTreeMap<String, BTreeSet<String>> = used.collect();
    for name in used.keys() {
        assert_eq!(
            reached(&drawn, name),
            reached(&used, name),
            "{name}: `scripts/pictures crates` draws it anew"
        );
    }
}

/// All that a crate is built from.
fn reached(uses: &BTreeMap<String, BTreeSet<String>>, name: &str) -> BTreeSet<String> {
    let own = uses.get(name).into_iter().flatten();
    own.flat_map(|used| reached(uses, used).into_iter().chain([used.clone()])).collect()
}

/// What each crate is made of, without its tests.
fn crates() -> Vec<(String, Vec<(String, String)>)> {
    let mut crates = Vec::new();
    for (manifest, _) in texts("server", "Cargo.toml").into_iter().chain(texts("policy", "Cargo.toml")) {
        let sources = manifest.replace("Cargo.toml", "src");
        let files = texts(&sources, ".rs")
            .into_iter()
            .filter(|(name, _)| !name.split('/').any(|part| ["tests", "tests.rs"].contains(&part)));
        let inside = |name: &str| name.strip_prefix(&*sources).unwrap().trim_start_matches('/').to_owned();
        crates.push((
            sources.clone(),
            files.map(|(name, text)| (inside(&name), program(&text).to_owned())).collect(),
        ));
    }
    crates
}

#[test]
fn no_modules_use_each_other_in_a_circle_and_none_climbs_past_its_parent() {
    let crates = crates();
    assert!(crates.len() >= 8, "{}", crates.len());
    for (name, files) in crates {
        let circles = Crate::new(files.iter().map(|(path, text)| (path.as_str(), text.as_str()))).circles();
        assert!(circles.is_empty(), "{name}:\n{}", circles.join("\n"));
        for (path, text) in files {
            assert!(
                !text.contains("super::super::"),
                "{name}/{path}: a path from `crate` says where it leads"
            );
        }
    }
}

#[test]
fn circles_are_found_through_folders_braces_and_names_that_are_passed_on() {
    let planted = [
        ("lib.rs", "mod store;\npub use store::Store;\nmod report;\nmod words;"),
        ("report.rs", "use crate::{Store, words::{self, Word as W}};"),
        ("store.rs", "mod disk;\npub use disk::Store;"),
        ("store/disk.rs", "// crate::words\npub struct Store(crate::report::page::Page);"),
        ("report/page.rs", "use super::Title;"),
        ("words.rs", "mod english;\nuse crate::{times::Time, sizes::{self}};"),
        ("words/english.rs", "use std::fmt;"),
        ("sizes.rs", "use crate::{times::Time, words::{english::{self}}};"),
    ];
    let circles = Crate::new(planted.into_iter()).circles();
    assert_eq!(
        circles,
        [
            "report uses crate::Store, store::disk uses crate::report::page::Page",
            "sizes uses crate::words::english, words uses crate::sizes",
        ]
    );
}

#[test]
fn the_store_and_the_keeper_know_no_http() {
    for word in ["hyper", "http_body"] {
        // The body of a PUT to a bucket is one of HTTP's, and a report is posted; nothing of what hosts speak is known there.
        let asks = ["server/store/src/s3/put.rs", "server/maintenance/src/report/webhook.rs"];
        let is_known =
            |name: &String| name.starts_with("server/frontend/src/http") || asks.contains(&name.as_str());
        let outside: Vec<_> = files_with(word).into_iter().filter(|name| !is_known(name)).collect();
        assert!(outside.is_empty(), "{word} in {outside:?}");
    }
}

#[test]
fn unsafe_code_has_two_corners_with_one_call_each() {
    assert_eq!(files_with("unsafe {"), ["server/keeper/src/lease.rs", "server/maintenance/src/clock.rs"]);
    for (name, text) in texts("server", ".rs") {
        let (blocks, proofs) = (text.matches("unsafe {").count(), text.matches("// SAFETY: ").count());
        assert!(blocks <= 1 && blocks == proofs, "{name}: {blocks} blocks, {proofs} proofs");
    }
}

#[test]
fn stored_files_are_named_and_removed_by_the_keeper_and_maintenance_only() {
    for call in ["linkat(", "renameat_with(", "mkdirat("] {
        let allowed = ["server/keeper/src", "server/store/src/local/maintain"];
        let mut elsewhere = files_with(call);
        elsewhere.retain(|name| !allowed.iter().any(|folder| name.starts_with(folder)));
        assert!(elsewhere.is_empty(), "{call} in {elsewhere:?}");
    }
    assert_eq!(files_with("std::fs::remove_file"), ["server/config/src/files.rs"]);
}

#[test]
fn a_source_file_has_one_purpose_and_says_which() {
    const LINES_MAX: usize = 700;
    for folder in ["policy/src", "server"] {
        for (name, text) in texts(folder, ".rs") {
            assert!(text.starts_with("//! "), "{name} does not begin by saying what it is for");
            let lines = program(&text).lines().count();
            let only_tests = name.ends_with("conformance.rs");
            assert!(lines <= LINES_MAX || only_tests, "{name} has {lines} lines: two purposes?");
        }
    }
}

/// Text outside of blocks and of code in a line.
fn prose(text: &str) -> String {
    let mut prose = String::new();
    let mut is_block = false;
    for line in text.lines() {
        if line.starts_with("```") {
            is_block = !is_block;
        } else if !is_block {
            // A link's own text can be code: only what could be taken for a link goes.
            let pieces = line.split('`').enumerate();
            prose.extend(pieces.map(|(at, piece)| if at % 2 == 0 { piece } else { "code" }));
            prose.push('\n');
        }
    }
    prose
}

/// Anchors that a page's headings get on GitHub and in mdBook.
fn anchors(text: &str) -> Vec<String> {
    let mut is_block = false;
    let headings = text.lines().filter(|line| {
        is_block ^= line.starts_with("```");
        !is_block && line.starts_with('#')
    });
    let anchor = |heading: &str| {
        let words = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        words.chars().filter(|letter| letter.is_alphanumeric() || "-_".contains(*letter)).collect::<String>()
    };
    headings.map(anchor).collect()
}

/// Where a page's links and pictures lead.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let links = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let pictures = prose.split("<img src=\"").skip(1).filter_map(|rest| rest.split('"').next());
    links.chain(pictures).map(str::to_owned).collect()
}

/// All documents, as paths from the root.
fn documents() -> Vec<(String, String)> {
    let mut documents = texts("docs", ".md");
    for entry in std::fs::read_dir(root()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "md") {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            documents.push((name, std::fs::read_to_string(path).unwrap()));
        }
    }
    documents
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut seen = 0;
    for (name, text) in documents() {
        for link in links(&text).into_iter().filter(|link| !link.contains("://")) {
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => root().join(&name),
                path => root().join(&name).parent().unwrap().join(path),
            };
            assert!(target.exists(), "{name}: {link} leads nowhere");
            // The site that mdBook builds has nothing from outside.
            let outside = !target.canonicalize().unwrap().starts_with(root().join("docs"));
            assert!(!(name.starts_with("docs/") && outside), "{name}: {link} leads out of docs");
            if !anchor.is_empty() {
                let anchors = anchors(&std::fs::read_to_string(&target).unwrap());
                assert!(anchors.iter().any(|it| it == anchor), "{name}: {link}: one of {anchors:?}");
            }
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen} links");
}

#[test]
fn every_page_is_in_the_summary_and_every_picture_in_a_page() {
    let summary = links(&std::fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap());
    let all: String = documents().into_iter().map(|(_, text)| text).collect();
    for (name, _) in texts("docs", ".md") {
        let name = name.strip_prefix("docs/").unwrap();
        assert!(name == "SUMMARY.md" || summary.iter().any(|link| link == name), "{name} is in no summary");
    }
    for entry in std::fs::read_dir(root().join("docs/pictures")).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        assert!(all.contains(&format!("pictures/{name}")), "{name} is in no page");
    }
}
