//! The `Authorization` header, and the certificate that the connection began with.
//!
//! Invariant: the password is taken from the header to the comparison and nowhere else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;

use crate::credentials::{Fingerprint, Presented};

/// A user name and a password as they were sent. The `Debug` form shows neither.
pub(super) struct Basic {
    pub(super) user: String,
    pub(super) password: String,
}

impl std::fmt::Debug for Basic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Basic(…)")
    }
}

/// What a request over a connection with this certificate brings; `None` if that is nothing, or if there is a header
/// that is not understood. An empty name with an empty password is what restic since 0.15 sends without either.
pub(super) fn presented<'a>(
    headers: &HeaderMap,
    basic: Option<&'a Basic>,
    certificate: Option<Fingerprint>,
) -> Option<Presented<'a>> {
    match basic {
        Some(Basic { user, password }) if user.is_empty() && password.is_empty() => {
            certificate.map(|_| Presented { login: None, certificate })
        }
        Some(basic) => Some(Presented { login: Some((&basic.user, &basic.password)), certificate }),
        None if headers.contains_key(AUTHORIZATION) => None,
        None => certificate.map(|_| Presented { login: None, certificate }),
    }
}

/// Reads the one `Authorization: Basic` header (RFC 7617); `None` if there is none, several, or another kind.
pub(super) fn basic(headers: &HeaderMap) -> Option<Basic> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some(Basic { user: user.to_owned(), password: password.to_owned() })
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn parsed(values: &[&str]) -> Option<(String, String)> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        basic(&headers).map(|basic| (basic.user, basic.password))
    }

    #[test]
    fn a_password_may_contain_colons_and_a_scheme_any_case() {
        assert_eq!(parsed(&["Basic d2ViMTphOmI="]), Some(("web1".to_owned(), "a:b".to_owned())));
        assert_eq!(parsed(&["bAsIc d2ViMTphOmI="]), Some(("web1".to_owned(), "a:b".to_owned())));
    }

    #[test]
    fn a_certificate_is_enough_only_where_no_header_contradicts() {
        let certificate = Some(Fingerprint::of(b"a certificate"));
        let mut headers = HeaderMap::new();
        assert!(presented(&headers, None, None).is_none());
        assert!(presented(&headers, None, certificate).is_some_and(|presented| presented.login.is_none()));
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer d2ViMTphOmI="));
        assert!(presented(&headers, basic(&headers).as_ref(), certificate).is_none());
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Basic Og=="));
        let empty = basic(&headers);
        assert!(presented(&headers, empty.as_ref(), None).is_none());
        let alone = presented(&headers, empty.as_ref(), certificate);
        assert!(alone.is_some_and(|presented| presented.login.is_none()));
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Basic d2ViMTphOmI="));
        let basic = basic(&headers);
        let both = presented(&headers, basic.as_ref(), certificate).unwrap();
        assert_eq!((both.login, both.certificate), (Some(("web1", "a:b")), certificate));
    }

    #[test]
    fn anything_else_is_no_credential() {
        for values in [
            &[][..],
            &["Bearer d2ViMTphOmI="],
            &["Basic"],
            &["Basic !"],
            &["Basic d2ViMQ=="],
            &["Basic //8="],
            &["Basic d2ViMTphOmI=", "Basic d2ViMTphOmI="],
        ] {
            assert_eq!(parsed(values), None, "{values:?}");
        }
    }
}
