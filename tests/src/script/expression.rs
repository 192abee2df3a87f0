//! CONTENT, and the texts in braces that are replaced in every line.
//!
//! Invariant: what cannot be read is an error, never taken literally.

use crate::content::{base64, id_of, key_file, noise};

/// Reads CONTENT that makes up all of the text.
pub(super) fn content(text: &str) -> Result<Vec<u8>, String> {
    let (content, rest) = joined(text.trim_start())?;
    if rest.trim().is_empty() { Ok(content) } else { Err(format!("what is {rest:?} after the content?")) }
}

/// Replaces `{KEYWORD of CONTENT}`.
pub(super) fn replace(text: &str) -> Result<String, String> {
    let mut done = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        done.push_str(before);
        let id = from.strip_prefix("{id of ");
        let encoded = from.strip_prefix("{base64 of ");
        let Some(inner) = id.or(encoded) else {
            done.push('{');
            rest = from.get(1..).unwrap_or_default();
            continue;
        };
        let (content, after) = joined(inner)?;
        done.push_str(&if id.is_some() { id_of(&content) } else { base64(&content) });
        rest = after
            .trim_start()
            .strip_prefix('}')
            .ok_or_else(|| format!("a }} is missing before {after:?}"))?;
    }
    done.push_str(rest);
    Ok(done)
}

fn joined(text: &str) -> Result<(Vec<u8>, &str), String> {
    let (mut content, mut rest) = one(text)?;
    while let Some(more) = rest.trim_start().strip_prefix('+') {
        let (next, after) = one(more.trim_start())?;
        content.extend(next);
        rest = after;
    }
    Ok((content, rest))
}

fn one(text: &str) -> Result<(Vec<u8>, &str), String> {
    if let Some(rest) = text.strip_prefix("empty") {
        return Ok((Vec::new(), rest));
    }
    if let Some(rest) = text.strip_prefix("key ") {
        let (seed, rest) = quoted(rest)?;
        return Ok((key_file(&String::from_utf8_lossy(&seed)), rest));
    }
    if let Some(rest) = text.strip_prefix("noise ") {
        let (seed, rest) = quoted(rest)?;
        let (bytes, rest) = number(rest)?;
        return Ok((noise(&String::from_utf8_lossy(&seed), bytes), rest));
    }
    let (content, rest) = quoted(text)?;
    match rest.trim_start().strip_prefix('*') {
        Some(times) => {
            let (times, rest) = number(times)?;
            Ok((content.repeat(times), rest))
        }
        None => Ok((content, rest)),
    }
}

fn number(text: &str) -> Result<(usize, &str), String> {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Ok((digits.parse().map_err(|_| format!("a number is missing before {text:?}"))?, rest))
}

fn quoted(text: &str) -> Result<(Vec<u8>, &str), String> {
    let inner = text.strip_prefix('"').ok_or_else(|| format!("content expected, not {text:?}"))?;
    let mut content = Vec::new();
    let mut chars = inner.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Ok((content, inner.get(at + 1..).unwrap_or_default())),
            '\\' => content.push(match chars.next().map(|(_, escaped)| escaped) {
                Some('n') => b'\n',
                Some('r') => b'\r',
                Some('t') => b'\t',
                Some('"') => b'"',
                Some('\\') => b'\\',
                Some('x') => {
                    let digits: String = chars.by_ref().take(2).map(|(_, digit)| digit).collect();
                    u8::from_str_radix(&digits, 16).map_err(|_| format!("\\x{digits} is no byte"))?
                }
                other => return Err(format!("unknown escape {other:?}")),
            }),
            other => content.extend(other.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    Err(format!("a \" is missing in {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::{content, replace};

    #[test]
    fn content_is_what_was_written() {
        for (text, expected) in [
            (r#""a b""#, "a b"),
            (r#""a\n\"\\\x41""#, "a\n\"\\A"),
            (r#""ab" * 3"#, "ababab"),
            (r#""ab" * 2 + "c""#, "ababc"),
            ("empty", ""),
        ] {
            assert_eq!(content(text), Ok(expected.as_bytes().to_vec()), "{text}");
        }
        assert_eq!(content(r#"noise "x" 100"#).map(|noise| noise.len()), Ok(100));
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        for text in
            ["", "a", r#""a"#, r#""a" b"#, r#""a" * x"#, r#""\q""#, r#""\xzz""#, r#""a" +"#, "noise 100"]
        {
            assert!(content(text).is_err(), "{text}");
        }
        for text in ["{id of }", "{id of \"a\"", "{id of a}"] {
            assert!(replace(text).is_err(), "{text}");
        }
    }

    #[test]
    fn braces_are_replaced_and_others_stay() {
        let id = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for (text, expected) in [
            (r#"GET /a/{id of "abc"}"#, format!("GET /a/{id}")),
            (r#"[{"name":"{id of "a" + "bc"}"}]"#, format!(r#"[{{"name":"{id}"}}]"#)),
            (r#"{base64 of "a}b"} {} {id}"#, "YX1i {} {id}".to_owned()),
        ] {
            assert_eq!(replace(text), Ok(expected), "{text}");
        }
    }
}
