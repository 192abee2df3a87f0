//! The part of a file that a request asks for.
//!
//! Invariant: what is answered lies within the file.

use http_range_header::{EndPosition, RangeUnsatisfiableError, StartPosition, parse_range_header};

use pawl_store::{Part, Span};

/// What to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The whole file.
    Whole,
    /// A part of it.
    Part(Span),
    /// A part that lies behind the end.
    Unsatisfiable,
}

/// Reads a `Range` header for a file of `size` bytes. As RFC 9110 allows, a header that is malformed or asks for
/// several ranges is ignored.
pub(super) fn wanted(header: Option<&str>, size: u64) -> Wanted {
    let parsed = match header.map(parse_range_header) {
        Some(Ok(parsed)) => parsed,
        Some(Err(RangeUnsatisfiableError::ZeroSuffix)) => return Wanted::Unsatisfiable, // the last 0 bytes
        Some(Err(_)) | None => return Wanted::Whole,
    };
    let [range] = parsed.ranges.as_slice() else {
        return Wanted::Whole;
    };
    let (start, end) = match (range.start, range.end) {
        // restic asks for `bytes=0-` even if it wants all; an empty file is whole then.
        (StartPosition::Index(0), EndPosition::LastByte) if size == 0 => return Wanted::Whole,
        (StartPosition::FromLast(_), _) if size == 0 => return Wanted::Whole,
        (StartPosition::Index(start), _) if start >= size => return Wanted::Unsatisfiable,
        (StartPosition::Index(start), EndPosition::LastByte) => (start, size),
        (StartPosition::Index(start), EndPosition::Index(last)) if last < start => return Wanted::Whole,
        (StartPosition::Index(start), EndPosition::Index(last)) => (start, last.saturating_add(1).min(size)),
        (StartPosition::FromLast(count), _) => (size.saturating_sub(count), size),
    };
    Wanted::Part(Span { start, len: end.saturating_sub(start) })
}

/// What a `Range` header probably asks for, before the size is known.
pub(super) fn part(header: Option<&str>) -> Part {
    let Some(header) = header else { return Part::Whole };
    let Ok(parsed) = parse_range_header(header) else { return Part::Unknown };
    match parsed.ranges.as_slice() {
        [range] => match (range.start, range.end) {
            (StartPosition::Index(start), EndPosition::LastByte) => Part::From { start, end: None },
            (StartPosition::Index(start), EndPosition::Index(last)) if last >= start => {
                Part::From { start, end: Some(last.saturating_add(1)) }
            }
            _ => Part::Unknown,
        },
        _ => Part::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(start: u64, len: u64) -> Wanted {
        Wanted::Part(Span { start, len })
    }

    #[test]
    fn each_form_of_a_range_is_understood() {
        for (header, size, expected) in [
            ("bytes=0-", 100, part(0, 100)),
            ("bytes=10-19", 100, part(10, 10)),
            ("bytes=90-", 100, part(90, 10)),
            ("bytes=90-200", 100, part(90, 10)),
            ("bytes=99-99", 100, part(99, 1)),
            ("bytes=-10", 100, part(90, 10)),
            ("bytes=-200", 100, part(0, 100)),
            ("bytes=0-18446744073709551615", 100, part(0, 100)),
            ("bytes=100-", 100, Wanted::Unsatisfiable),
            ("bytes=100-200", 100, Wanted::Unsatisfiable),
            ("bytes=0-", 0, Wanted::Whole),
            ("bytes=-5", 0, Wanted::Whole),
            ("bytes=0-5", 0, Wanted::Unsatisfiable),
            ("bytes=5-4", 100, Wanted::Whole),
            ("bytes=0-1,3-4", 100, Wanted::Whole),
            ("bytes=a-b", 100, Wanted::Whole),
            ("lines=0-1", 100, Wanted::Whole),
            ("bytes=-0", 100, Wanted::Unsatisfiable),
            ("", 100, Wanted::Whole),
        ] {
            assert_eq!(wanted(Some(header), size), expected, "{header} of {size}");
        }
        assert_eq!(wanted(None, 100), Wanted::Whole);
    }

    #[test]
    fn the_part_is_guessed_before_the_size_is_known() {
        for (header, expected) in [
            ("bytes=0-", Part::From { start: 0, end: None }),
            ("bytes=10-19", Part::From { start: 10, end: Some(20) }),
            ("bytes=-5", Part::Unknown),
            ("bytes=5-4", Part::Unknown),
            ("bytes=0-1,3-4", Part::Unknown),
            ("lines=1-2", Part::Unknown),
        ] {
            assert_eq!(super::part(Some(header)), expected, "{header}");
        }
        assert_eq!(super::part(None), Part::Whole);
    }
}
