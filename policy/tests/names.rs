//! The parsers of names: what they accept prints back, and nothing that could escape is a name.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::str::FromStr;

use pawl_policy::{FileId, FileType, Handle, InvalidName, PrincipalName, RepositoryName, Role};
use proptest::prelude::*;

fn error<T: FromStr>(text: &str) -> T::Err {
    text.parse::<T>().err().unwrap_or_else(|| unreachable!("{text:?} must not be a name"))
}

#[test]
fn repository_names_of_one_to_four_segments_are_names() {
    for text in ["web1", "hosts/web1", "a/b/c/d", "W_e-b.1@x+y", "data1", "0", &"a".repeat(64)] {
        assert_eq!(text.parse::<RepositoryName>().unwrap().as_str(), text);
    }
    let name: RepositoryName = "a/b/c".parse().unwrap();
    assert_eq!(name.segments().collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[test]
fn names_that_could_escape_are_no_names() {
    for (text, expected) in [
        ("", InvalidName::Segments),
        ("a/b/c/d/e", InvalidName::Segments),
        ("/", InvalidName::Length),
        ("/web1", InvalidName::Length),
        ("web1/", InvalidName::Length),
        ("a//b", InvalidName::Length),
        (".", InvalidName::Start),
        ("..", InvalidName::Start),
        ("../web1", InvalidName::Start),
        ("web1/..", InvalidName::Start),
        (".pawl", InvalidName::Start),
        ("a/.pawl", InvalidName::Start),
        ("-rf", InvalidName::Start),
        ("web 1", InvalidName::Character),
        ("web%31", InvalidName::Character),
        ("web\\1", InvalidName::Character),
        ("web\x001", InvalidName::Character),
        ("web\n1", InvalidName::Character),
        ("wéb", InvalidName::Character),
        ("data", InvalidName::Reserved),
        ("config", InvalidName::Reserved),
        ("lost+found", InvalidName::Reserved),
        ("a/locks", InvalidName::Reserved),
        ("a/keys/b", InvalidName::Reserved),
        ("a/b/c/snapshots", InvalidName::Reserved),
        ("index", InvalidName::Reserved),
    ] {
        assert_eq!(error::<RepositoryName>(text), expected, "{text:?}");
    }
    assert_eq!(error::<RepositoryName>(&"a".repeat(65)), InvalidName::Length);
    for text in ["", ".", "..", "a/b", "a b", "-x", "é", "a:b", &"a".repeat(65)] {
        assert!(text.parse::<PrincipalName>().is_err(), "{text:?}");
    }
}

#[test]
fn ids_are_64_lower_case_hex_digits() {
    let id = "0123456789abcdef".repeat(4);
    assert_eq!(id.parse::<FileId>().unwrap().to_string(), id);
    for text in [&id.to_uppercase(), &id[1..], &format!("{id}0"), &format!("{}g", &id[1..]), ""] {
        assert_eq!(error::<FileId>(text), InvalidName::Id, "{text:?}");
    }
    let multibyte = "é".repeat(32); // 64 bytes
    assert_eq!(error::<FileId>(&multibyte), InvalidName::Id);
}

#[test]
fn handles_print_and_parse() {
    let id = FileId::from_sha256([0xab; 32]);
    for handle in [Handle::Config, Handle::File(FileType::Data, id), Handle::File(FileType::Locks, id)] {
        assert_eq!(handle.to_string().parse::<Handle>(), Ok(handle));
    }
    for text in ["", "data", "data/", "data/xyz", "conf", "config/", &format!("other/{id}")] {
        assert!(text.parse::<Handle>().is_err(), "{text:?}");
    }
}

#[test]
fn roles_print_and_parse() {
    for role in Role::ALL {
        assert_eq!(role.to_string().parse::<Role>(), Ok(role));
    }
    assert!("Backup".parse::<Role>().is_err());
    assert!("".parse::<Role>().is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn names_made_by_the_rules_are_accepted(
        segments in prop::collection::vec("[a-zA-Z0-9_@+][a-zA-Z0-9._@+-]{0,63}", 1..=4)
    ) {
        prop_assume!(segments.iter().all(|s| s != "config" && s != "lost+found" && s.parse::<FileType>().is_err()));
        let text = segments.join("/");
        prop_assert_eq!(text.parse::<RepositoryName>().unwrap().to_string(), text);
    }

    #[test]
    fn a_file_id_prints_back(bytes in prop::array::uniform32(any::<u8>())) {
        let id = FileId::from_sha256(bytes);
        prop_assert_eq!(id.to_string().parse::<FileId>(), Ok(id));
    }
}
