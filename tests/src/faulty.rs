//! JSON in which one thing is wrong, or odd, by chance.
//!
//! Invariant: the same source of random numbers does the same to the same document. What comes out may still be right.

#![expect(clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

use serde_json::Value;

use crate::random::Random;

/// What may stand where something else should, as text.
const VALUES: &[&str] = &[
    "null",
    "true",
    "0",
    "-1",
    "-0",
    "1.0",
    "1.5",
    "1e2",
    "4294967295",
    "4294967296",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e400",
    "[]",
    "{}",
    "[null]",
    "[[]]",
    "[{}]",
    r#"{"id":null}"#,
    r#""""#,
    r#""x""#,
    r#""data""#,
    r#""tree""#,
    r#""\ud800""#,
    r#""\ud83d\ude00""#,
    r#""\u0000""#,
    r#""a\nb""#,
    r#""a\\nb""#,
    r#""\\q""#,
    r#""AA==""#,
    r#""AB==""#,
    r#""A\nA==""#,
    r#""AAA""#,
    "\"\u{1}\"",
    "\"\u{feff}\u{2028}\"",
    r#""2026-11-20T01:02:60Z""#,
    r#""2026-11-20T24:00:00Z""#,
    r#""2026-02-29T01:02:03Z""#,
    r#""0000-01-01T00:00:00Z""#,
    r#""9999-12-31T23:59:59.999999999Z""#,
    r#""10000-01-01T00:00:00Z""#,
    r#""2026-11-20t01:02:03z""#,
    r#""2026-11-20T01:02:03,5Z""#,
    r#""2026-11-20T01:02:03.Z""#,
    r#""2026-11-20T01:02:03.1234567890123Z""#,
    r#""2026-11-20T1:02:03Z""#,
    r#""2026-11-20T01:02:03+23:59""#,
    r#""2026-11-20T01:02:03+24:00""#,
    r#""2026-11-20T01:02:03-00:60""#,
    r#""2026-11-20T01:02:03""#,
];
/// How deep something is nested: below what serde reads, above that, and above what Go reads.
const DEPTHS: &[usize] = &[20, 200, 10_050];
/// What may stand behind a document, or before it.
const BESIDE: &[&[u8]] = &[b"\n", b" \t\r\n", b"x", b"{}", b"null", b"]", b"}", b",", b"\0", b"\xef\xbb\xbf"];
/// Bytes of which no text consists.
const NO_TEXT: &[&[u8]] = &[b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\0", b"\x1f"];

/// A document whose parts are as they would be written.
enum Json {
    Scalar(String),
    List(Vec<Json>),
    /// Keys with their quotes.
    Object(Vec<(String, Json)>),
}

/// The document, with something done to it.
#[must_use]
pub fn faulty(document: &Value, random: &mut Random) -> Vec<u8> {
    let mut json = Json::of(document);
    if random.below(6) == 0 {
        return torn(json.text().into_bytes(), random);
    }
    let mut at = random.below(json.parts());
    if let Some(part) = json.part(&mut at) {
        part.change(random);
    }
    json.text().into_bytes()
}

/// A text that ends early, goes on, or is none.
fn torn(mut text: Vec<u8>, random: &mut Random) -> Vec<u8> {
    let at = usize::try_from(random.below(text.len() as u64)).unwrap_or_default();
    match random.below(5) {
        0 => text.truncate(at),
        1 => text.extend(pick(BESIDE, random)),
        2 => drop(text.splice(..0, pick(BESIDE, random).iter().copied())),
        3 => drop(text.splice(at..at, pick(NO_TEXT, random).iter().copied())),
        _ => text[at] = u8::try_from(random.below(256)).unwrap_or_default(),
    }
    text
}

impl Json {
    fn of(value: &Value) -> Self {
        match value {
            Value::Array(items) => Self::List(items.iter().map(Self::of).collect()),
            Value::Object(entries) => Self::Object(
                entries
                    .iter()
                    .map(|(key, value)| (Value::from(key.as_str()).to_string(), Self::of(value)))
                    .collect(),
            ),
            scalar => Self::Scalar(scalar.to_string()),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Scalar(text) => text.clone(),
            Self::List(items) => format!("[{}]", items.iter().map(Self::text).collect::<Vec<_>>().join(",")),
            Self::Object(entries) => {
                let entries = entries.iter().map(|(key, value)| format!("{key}:{}", value.text()));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
            }
        }
    }

    fn parts(&self) -> u64 {
        1 + match self {
            Self::Scalar(_) => 0,
            Self::List(items) => items.iter().map(Self::parts).sum(),
            Self::Object(entries) => entries.iter().map(|(_, value)| value.parts()).sum(),
        }
    }

    /// The part of this number, in the order of the text.
    fn part(&mut self, at: &mut u64) -> Option<&mut Self> {
        if *at == 0 {
            return Some(self);
        }
        *at -= 1;
        match self {
            Self::Scalar(_) => None,
            Self::List(items) => items.iter_mut().find_map(|item| item.part(at)),
            Self::Object(entries) => entries.iter_mut().find_map(|(_, value)| value.part(at)),
        }
    }

    fn change(&mut self, random: &mut Random) {
        if random.below(3) == 0 {
            *self = odd(random);
            return;
        }
        match self {
            Self::Scalar(text) if text.len() > 2 && text.starts_with('"') => *text = respelt(text, random),
            Self::Scalar(_) => *self = odd(random),
            Self::List(items) => change_list(items, random),
            Self::Object(entries) => change_object(entries, random),
        }
    }
}

fn change_list(items: &mut Vec<Json>, random: &mut Random) {
    let twin = items.first().map(|item| Json::Scalar(item.text()));
    match (random.below(4), twin) {
        (0, _) => items.clear(),
        (1, Some(twin)) => items.push(twin),
        (2, Some(twin)) => items[0] = Json::List(vec![twin]),
        _ => items.push(odd(random)),
    }
}

fn change_object(entries: &mut Vec<(String, Json)>, random: &mut Random) {
    if entries.is_empty() {
        return entries.push(("\"x\"".to_owned(), odd(random)));
    }
    let at = usize::try_from(random.below(entries.len() as u64)).unwrap_or_default();
    let key = entries[at].0.clone();
    match random.below(8) {
        0 => drop(entries.remove(at)),
        1 => entries.push((key, odd(random))),
        2 => entries.insert(0, (key, odd(random))),
        3 => entries.push((respelt(&key, random), odd(random))),
        4 => entries[at].0 = respelt(&key, random),
        5 => entries.push(("\"unknown\"".to_owned(), odd(random))),
        6 => entries.push(("\"\"".to_owned(), odd(random))),
        _ => entries.reverse(),
    }
}

/// Anything.
fn odd(random: &mut Random) -> Json {
    if random.below(12) > 0 {
        return Json::Scalar(pick(VALUES, random).to_owned());
    }
    let depth = DEPTHS[usize::try_from(random.below(DEPTHS.len() as u64)).unwrap_or_default()];
    let (open, close) = if random.below(2) == 0 { ("[", "]") } else { ("{\"x\":", "}") };
    Json::Scalar(open.repeat(depth) + "1" + &close.repeat(depth))
}

/// A text in other letters, between its quotes.
fn respelt(text: &str, random: &mut Random) -> String {
    let inner: Vec<char> = text[1..text.len() - 1].chars().collect();
    let at = usize::try_from(random.below(inner.len().max(1) as u64)).unwrap_or_default();
    let Some(letter) = inner.get(at).copied() else { return "\"x\"".to_owned() };
    let other = match random.below(8) {
        0 => format!("\\u{:04x}", u32::from(letter)),
        1 => letter.to_uppercase().to_string(),
        2 => letter.to_lowercase().to_string(),
        3 => String::new(),
        4 => format!("{letter}{letter}"),
        5 => format!("\\{letter}"),
        6 => "\\\\".to_owned(),
        _ => match letter.to_ascii_lowercase() {
            's' => "\u{17f}".to_owned(),
            'k' => "\u{212a}".to_owned(),
            _ => letter.to_ascii_uppercase().to_string(),
        },
    };
    let before: String = inner.iter().take(at).collect();
    let behind: String = inner.iter().skip(at + 1).collect();
    format!("\"{before}{other}{behind}\"")
}

fn pick<'a, T: ?Sized>(choices: &'a [&'a T], random: &mut Random) -> &'a T {
    choices[usize::try_from(random.below(choices.len() as u64)).unwrap_or_default()]
}
