//! What the documents say that the program says and takes, it says and takes.

use std::collections::BTreeMap;

use pawl_tests::command::pawl_command;
use pawl_tests::document::{page, pages, root};
use pawl_tests::program::Run;

/// Every `pawl …` of this page, in blocks and in sentences, as words.
fn commands(text: &str) -> Vec<Vec<String>> {
    let joined = text.replace("\\\n", " ");
    let mut commands = Vec::new();
    let mut is_block = false;
    for line in joined.lines() {
        if line.starts_with("```") {
            is_block = !is_block;
            continue;
        }
        let texts: Vec<_> = if is_block {
            let begins = |at: usize| at == 0 || ["-- ", "$(", ": "].iter().any(|it| line[..at].ends_with(it));
            line.match_indices("pawl ").filter(|(at, _)| begins(*at)).map(|(at, _)| &line[at..]).collect()
        } else {
            line.split('`').skip(1).step_by(2).filter(|code| code.starts_with("pawl ")).collect()
        };
        for text in texts {
            let end =
                |word: &&str| ["|", "||", "#", ">", "\"$(pawl"].iter().all(|end| !word.starts_with(end));
            commands.push(text.split_whitespace().skip(1).take_while(end).map(str::to_owned).collect());
        }
    }
    commands
}

/// The help of the command that these words begin with.
fn help(words: &[String], known: &mut BTreeMap<String, String>) -> Option<String> {
    let is_name = |word: &&String| {
        word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !word.starts_with('-')
    };
    let names: Vec<_> = words.iter().take(3).take_while(is_name).cloned().collect();
    (1..=names.len()).rev().find_map(|count| {
        let name = names[..count].join(" ");
        let help = known.entry(name.clone()).or_insert_with(|| {
            let mut command = pawl_command();
            command.args(&names[..count]).arg("--help");
            let run = Run::start(command).end();
            // Of a word that names no command, the help above is printed.
            let is_about = run.code == Some(0) && run.stdout.contains(&format!("Usage: pawl {name}"));
            if is_about { run.stdout } else { String::new() }
        });
        (!help.is_empty()).then(|| help.clone())
    })
}

#[test]
fn every_command_that_the_documents_name_exists_with_its_options() {
    let mut known = BTreeMap::new();
    let mut seen = 0;
    let mut others: Vec<_> = ["CONTRIBUTING.md", "SECURITY.md"].map(str::to_owned).into();
    others.extend(pages());
    for name in others {
        for words in commands(&page(&name)) {
            let Some(help) = help(&words, &mut known) else {
                unreachable!("{name}: there is no command `pawl {}`", words.join(" "))
            };
            for option in words.iter().filter(|word| word.starts_with("--")) {
                let option = option.split('=').next().unwrap().trim_end_matches([')', ',', '.']);
                assert!(help.contains(option), "{name}: `pawl {}` has no option {option}", words.join(" "));
            }
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen} commands");
}

/// All of the program's source as one text, in which a string that goes over several lines is in one piece.
fn source() -> String {
    let mut texts = String::new();
    let mut ahead = ["server", "policy"].map(|folder| root().join(folder)).to_vec();
    while let Some(path) = ahead.pop() {
        if path.is_dir() {
            ahead.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            texts.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
    let mut pieces = texts.split("\\\n");
    let first = pieces.next().unwrap().to_owned();
    pieces.fold(first, |whole, piece| whole + piece.trim_start())
}

#[test]
fn every_error_that_the_page_on_troubleshooting_explains_is_one_of_the_programs() {
    let source = source();
    let page = page("docs/troubleshooting.md");
    let texts: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert!(texts.len() > 30, "{texts:?}");
    for text in texts {
        for piece in text.split('…').filter(|piece| piece.trim().len() > 3) {
            assert!(source.contains(piece.trim()), "{text:?}: no such text in the program: {piece:?}");
        }
    }
}
