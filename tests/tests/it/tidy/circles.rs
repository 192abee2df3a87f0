//! Whether the modules of a crate use each other in circles.
//!
//! Invariant: what counts is the program part, without tests and comments. A folder and the file of its name are one module
//! for what lies outside of it; what a module uses of those that contain it is no circle.

#![expect(clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

use std::collections::{BTreeMap, BTreeSet};

/// A module, by the names that lead to it from its crate.
type Module = Vec<String>;

/// One crate's modules, with the program part of each.
pub(super) struct Crate(BTreeMap<Module, String>);

impl Crate {
    /// Of source files, by their paths from the crate's `src`.
    pub(super) fn new<'a>(files: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let module = |path: &str| -> Module {
            let path = path.trim_end_matches(".rs");
            path.split('/').filter(|name| !["lib", "main"].contains(name)).map(str::to_owned).collect()
        };
        Self(files.map(|(path, text)| (module(path), without_comments(text))).collect())
    }

    /// Modules that lie beside each other and use each other in a circle, each circle as one line.
    pub(super) fn circles(&self) -> Vec<String> {
        let mut uses: BTreeMap<(Module, String), BTreeMap<String, String>> = BTreeMap::new();
        for (from, text) in &self.0 {
            for path in paths(text) {
                let Some(to) = self.target(from, &path, 0) else { continue };
                let shared = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
                // One of the two contains the other.
                let (Some(one), Some(other)) = (from.get(shared), to.get(shared)) else { continue };
                let why = format!("{} uses {}", from.join("::"), path.join("::"));
                uses.entry((from[..shared].to_vec(), one.clone())).or_default().insert(other.clone(), why);
            }
        }
        let mut circles = BTreeSet::new();
        for (folder, begin) in uses.keys() {
            if let Some(circle) = shortest(&uses, folder, begin) {
                circles.insert(circle);
            }
        }
        circles.into_iter().collect()
    }

    /// Which module a path names something of, as it is written in this one. A name that a module passes on is sought
    /// where that one has it from.
    fn target(&self, from: &[String], path: &[String], passed: usize) -> Option<Module> {
        let mut module = from.to_vec();
        let mut names = path.iter().peekable();
        match names.peek().map(|name| name.as_str()) {
            Some("crate") => {
                names.next();
                module.clear();
            }
            Some("super") => {
                while names.next_if(|name| *name == "super").is_some() {
                    module.pop()?;
                }
            }
            Some("self") => drop(names.next()),
            // Of a child, or of another crate.
            _ => {}
        }
        while let Some(name) = names.peek() {
            module.push((*name).clone());
            if !self.0.contains_key(&module) {
                module.pop();
                break;
            }
            names.next();
        }
        let (Some(name), true) = (names.next(), passed < 8) else { return Some(module) };
        let text = self.0.get(&module)?;
        let passes_on = uses_of(text).into_iter().find(|path| path.len() > 1 && path.last() == Some(name));
        match passes_on {
            Some(path) if path != [vec!["self".to_owned()], vec![name.clone()]].concat() => {
                let is_own = ["crate", "super", "self"].contains(&path[0].as_str())
                    || self.0.contains_key(&[&module[..], &path[..1]].concat());
                if is_own { self.target(&module, &path, passed + 1) } else { Some(module) }
            }
            _ => Some(module),
        }
    }
}

/// The shortest way from a module back to itself, told from its first name on, so that each circle is told once.
fn shortest(
    uses: &BTreeMap<(Module, String), BTreeMap<String, String>>,
    folder: &Module,
    begin: &str,
) -> Option<String> {
    let mut ways = vec![vec![begin.to_owned()]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            let Some(next) = uses.get(&(folder.clone(), way.last()?.clone())) else { continue };
            for name in next.keys() {
                if name == begin {
                    if way.iter().min()? != begin {
                        return None;
                    }
                    let steps = way.iter().zip(way.iter().skip(1).chain([name]));
                    let reasons: Vec<_> = steps
                        .map(|(one, other)| uses[&(folder.clone(), one.clone())][other].clone())
                        .collect();
                    return Some(reasons.join(", "));
                }
                if seen.insert(name.clone()) {
                    longer.push([&way[..], std::slice::from_ref(name)].concat());
                }
            }
        }
        ways = longer;
    }
    None
}

/// All paths that begin with `crate` or `super`, and those of `use`.
fn paths(text: &str) -> Vec<Vec<String>> {
    let mut found: Vec<_> =
        uses_of(text).into_iter().filter(|path| ["crate", "super"].contains(&path[0].as_str())).collect();
    for keyword in ["crate::", "super::"] {
        for (at, _) in text.match_indices(keyword) {
            let is_begin = !text[..at]
                .ends_with(|before: char| before == ':' || before.is_alphanumeric() || before == '_');
            let rest = &text[at..];
            let end = rest.find(|char: char| char != ':' && char != '_' && !char.is_alphanumeric());
            let path = rest[..end.unwrap_or(rest.len())].trim_end_matches(':');
            if is_begin {
                found.push(path.split("::").map(str::to_owned).collect());
            }
        }
    }
    found
}

/// What is brought in by `use`, each name by its whole path; under another name, by that as well.
fn uses_of(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for line in text.split(';') {
        let Some(at) = line.rfind("use ") else { continue };
        let is_use = line[..at].trim_end().rsplit('\n').next().is_some_and(|before| {
            ["", "pub", "pub(crate)", "pub(super)"].contains(&before.trim())
                || before.trim().ends_with(')')
                || before.trim().ends_with(']')
                || before.trim().ends_with('}')
        });
        if is_use {
            expand(&[], &line[at + 4..], &mut found);
        }
    }
    found
}

/// Takes the braces of a `use` apart.
fn expand(before: &[String], tree: &str, found: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    if let Some(open) = tree.find('{') {
        let head: Vec<_> = tree[..open]
            .split("::")
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        let head = [before, &head].concat();
        let inner = tree[open + 1..].trim_end();
        let inner = inner.strip_suffix('}').unwrap_or(inner);
        let (mut depth, mut begin) = (0, 0);
        for (at, char) in inner.char_indices().chain([(inner.len(), ',')]) {
            match char {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    if !inner[begin..at].trim().is_empty() {
                        expand(&head, &inner[begin..at], found);
                    }
                    begin = at + 1;
                }
                _ => {}
            }
        }
        return;
    }
    let (path, renamed) =
        tree.split_once(" as ").map_or((tree, None), |(path, name)| (path, Some(name.trim())));
    let path: Vec<_> =
        path.split("::").map(|name| name.trim().to_owned()).filter(|name| name != "self").collect();
    let path = [before, &path].concat();
    if let Some(name) = renamed {
        found.push([&path[..], &[name.to_owned()]].concat());
    }
    found.push(path);
}

fn without_comments(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}
