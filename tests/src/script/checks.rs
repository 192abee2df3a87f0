//! What a script can check.
//!
//! Invariant: a check says what it found instead.

use serde_json::Value;

use super::expression::content;
use super::run::Answer;
use crate::http::Response;
use crate::server::Server;

/// Whether what follows `body` is what to send rather than what to check.
pub(super) fn is_content(rest: &str) -> bool {
    !rest.starts_with("== ") && !rest.starts_with("contains ")
}

fn equal<T: PartialEq + std::fmt::Debug>(found: &T, expected: &T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("found {found:?}\n  expected {expected:?}")) }
}

fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes.get(..2000).unwrap_or(bytes)).into_owned();
    format!("{} bytes {text:?}", bytes.len())
}

fn equal_bytes(found: &[u8], expected: &[u8]) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("found {}\n  expected {}", shown(found), shown(expected)))
    }
}

fn contains(whole: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && whole.windows(part.len()).any(|window| window == part)
}

pub(super) fn code(rest: &str, answer: &Answer) -> Result<(), String> {
    let (relation, codes) = rest.split_once(' ').ok_or("code == NUMBER")?;
    let codes: Vec<&str> = match relation {
        "==" => vec![codes],
        "in" => codes.split(' ').collect(),
        _ => return Err("code == NUMBER or code in NUMBER…".to_owned()),
    };
    if let Some(odd) = codes.iter().find(|code| **code != "none" && code.parse::<u16>().is_err()) {
        return Err(format!("{odd} is no code"));
    }
    match answer {
        Ok(response) if codes.contains(&response.status.to_string().as_str()) => Ok(()),
        Ok(response) => {
            Err(format!("found {} {}, body {}", response.status, response.reason, shown(&response.body)))
        }
        Err(_) if codes.contains(&"none") => Ok(()),
        Err(error) => Err(format!("no answer: {error}")),
    }
}

pub(super) fn response(verb: &str, rest: &str, response: &Response) -> Result<(), String> {
    match verb {
        "reason" => match rest.split_once(' ') {
            Some(("==", expected)) => equal(&response.reason.as_str(), &expected),
            Some(("contains", part)) if contains(response.reason.as_bytes(), part.as_bytes()) => Ok(()),
            Some(_) | None => Err(format!("found {:?}", response.reason)),
        },
        "header" => {
            let (name, check) = rest.split_once(' ').ok_or("header NAME == TEXT")?;
            match check.strip_prefix("== ") {
                Some(expected) => equal(&response.header(name), &Some(expected)),
                None if check == "absent" => equal(&response.header(name), &None),
                None if check == "present" => equal(&response.header(name).is_some(), &true),
                None => Err("header NAME == TEXT, header NAME absent or present".to_owned()),
            }
        }
        "allows" => {
            let sorted = |list: &str| {
                let words = list.split([',', ' ']).filter(|word| !word.is_empty());
                let mut words: Vec<String> = words.map(str::to_owned).collect();
                words.sort();
                words
            };
            equal(&sorted(response.header("allow").unwrap_or_default()), &sorted(rest))
        }
        "body" => match rest.split_once(' ') {
            Some(("==", expected)) => equal_bytes(&response.body, &content(expected)?),
            Some(("contains", part)) if contains(&response.body, &content(part)?) => Ok(()),
            Some(_) | None => Err(format!("found {}", shown(&response.body))),
        },
        "json" => {
            let expected = rest.strip_prefix("== ").ok_or("json == JSON")?;
            let read = |what: &str, text: &[u8]| {
                serde_json::from_slice(text).map_err(|error| format!("{what} is not JSON: {error}"))
            };
            let found = sorted(read("the answer", &response.body)?);
            equal(&found, &sorted(read("what is expected", expected.as_bytes())?))
        }
        _ => Err("unknown check".to_owned()),
    }
}

/// With the elements of an array in an order of their own.
fn sorted(mut value: Value) -> Value {
    if let Value::Array(elements) = &mut value {
        elements.sort_by_key(Value::to_string);
    }
    value
}

pub(super) fn file(verb: &str, rest: &str, server: &Server) -> Result<(), String> {
    let (name, check) = rest.split_once(' ').unwrap_or((rest, ""));
    let there = || if server.has(name) { Ok(()) } else { Err(format!("{name} is not there")) };
    match verb {
        "stored" => {
            let expected = content(check.strip_prefix("== ").ok_or("stored FILE == CONTENT")?)?;
            let found = server.content(name).ok_or_else(|| format!("{name} is not there"))?;
            equal_bytes(&found, &expected)
        }
        "absent" if check.is_empty() => match there() {
            Ok(()) => Err(format!("{name} is there")),
            Err(_) => Ok(()),
        },
        "aside" if server.is_aside(name) => Ok(()),
        "aside" => Err(format!("{name} is not set aside")),
        "fact" => {
            there()?;
            let (fact, check) = check.split_once(' ').ok_or("fact FILE NAME == TEXT")?;
            let found = server.fact(name, fact);
            match check.strip_prefix("== ") {
                Some(expected) => equal(&found.as_deref(), &Some(expected)),
                None if check == "absent" => equal(&found, &None),
                None => Err("fact FILE NAME == TEXT or fact FILE NAME absent".to_owned()),
            }
        }
        "mode" => {
            there()?;
            let expected = check.strip_prefix("== ").ok_or("mode FILE == OCTAL")?;
            server.mode(name).map_or(Ok(()), |mode| equal(&format!("{mode:04o}").as_str(), &expected))
        }
        _ => Err("unknown check".to_owned()),
    }
}

pub(super) fn log(rest: &str, log: &[u8]) -> Result<(), String> {
    match rest.split_once(' ') {
        Some(("contains", part)) => {
            if contains(log, &content(part)?) {
                Ok(())
            } else {
                Err("it does not".to_owned())
            }
        }
        Some(("lacks", part)) => {
            let part = content(part)?;
            if part.is_empty() {
                Err("nothing is in every log".to_owned())
            } else if contains(log, &part) {
                Err(format!("it has:\n{}", String::from_utf8_lossy(log)))
            } else {
                Ok(())
            }
        }
        Some(_) | None => Err("log contains CONTENT or log lacks CONTENT".to_owned()),
    }
}
