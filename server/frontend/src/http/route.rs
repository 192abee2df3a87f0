//! From method and URL to an action: the only place that reads a URL.
//!
//! Invariant: a path is accepted only if it is, byte for byte, the canonical path of the action it becomes.
//! Nothing is decoded and nothing is normalised.

use hyper::{Method, Uri};
use pawl_policy::{
    Action, Create, CreateRepository, Delete, DeleteRepository, FileType, Handle, List, Read, RepositoryName,
    Stat,
};

/// Longest path in bytes. The longest that means anything has about 350.
const PATH_BYTES_MAX: usize = 2048;

/// Why a request is no action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RouteError {
    /// The path names nothing that could exist.
    NotFound,
    /// The path is too long to look at.
    TooLong,
    /// The method does not go with the path; these do.
    Method(&'static str),
    /// `POST` on a repository without `create=true`.
    Query,
}

/// Whether the method is answered without a body, whatever the answer.
pub(super) fn wants_no_body(method: &Method) -> bool {
    *method == Method::HEAD
}

/// What a path names.
enum Place {
    Repository(RepositoryName),
    Directory(RepositoryName, FileType),
    File(RepositoryName, Handle),
}

/// The action that a request asks for.
pub(super) fn route(method: &Method, uri: &Uri) -> Result<Action, RouteError> {
    if uri.path().len() > PATH_BYTES_MAX || uri.query().is_some_and(|query| query.len() > PATH_BYTES_MAX) {
        return Err(RouteError::TooLong);
    }
    match place(uri.path()).ok_or(RouteError::NotFound)? {
        Place::Repository(repository) => match *method {
            Method::POST if uri.query() == Some("create=true") => {
                Ok(Action::CreateRepository(CreateRepository { repository }))
            }
            Method::POST => Err(RouteError::Query),
            Method::DELETE => Ok(Action::DeleteRepository(DeleteRepository { repository })),
            _ => Err(RouteError::Method("POST, DELETE")),
        },
        Place::Directory(repository, file_type) => match *method {
            Method::GET => Ok(Action::List(List { repository, file_type })),
            _ => Err(RouteError::Method("GET")),
        },
        Place::File(repository, handle) => match *method {
            Method::HEAD => Ok(Action::Stat(Stat { repository, handle })),
            Method::GET => Ok(Action::Read(Read { repository, handle })),
            Method::POST => Ok(Action::Create(Create { repository, handle })),
            Method::DELETE => Ok(Action::Delete(Delete { repository, handle })),
            _ => Err(RouteError::Method("HEAD, GET, POST, DELETE")),
        },
    }
}

/// A page of the status listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    /// `/metrics`
    Metrics,
    /// `/healthz`
    Health,
    /// `/readyz`
    Readiness,
}

/// The page of the status listener that a request asks for.
pub(super) fn page(method: &Method, uri: &Uri) -> Result<Page, RouteError> {
    let page = match uri.path() {
        "/metrics" => Page::Metrics,
        "/healthz" => Page::Health,
        "/readyz" => Page::Readiness,
        _ => return Err(RouteError::NotFound),
    };
    match *method {
        Method::GET | Method::HEAD => Ok(page),
        _ => Err(RouteError::Method("GET, HEAD")),
    }
}

fn place(path: &str) -> Option<Place> {
    let path = path.strip_prefix('/')?;
    if let Some(path) = path.strip_suffix('/') {
        let directory =
            path.rsplit_once('/').and_then(|(repository, last)| Some((repository, last.parse().ok()?)));
        return match directory {
            Some((repository, file_type)) => Some(Place::Directory(repository.parse().ok()?, file_type)),
            None => Some(Place::Repository(path.parse().ok()?)),
        };
    }
    let (rest, last) = path.rsplit_once('/')?;
    if last == "config" {
        return Some(Place::File(rest.parse().ok()?, Handle::Config));
    }
    let (repository, file_type) = rest.rsplit_once('/')?;
    let handle = Handle::File(file_type.parse().ok()?, last.parse().ok()?);
    Some(Place::File(repository.parse().ok()?, handle))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn routed(method: &Method, path: &str) -> Result<Action, RouteError> {
        route(method, &path.parse().unwrap())
    }

    #[test]
    fn every_request_of_restic_is_an_action() {
        for (method, path, action) in [
            (Method::POST, "/web1/?create=true".to_owned(), "create repository"),
            (Method::HEAD, "/hosts/web1/config".to_owned(), "stat config"),
            (Method::GET, "/a/b/c/d/config".to_owned(), "read config"),
            (Method::POST, "/web1/config".to_owned(), "create config"),
            (Method::GET, "/web1/data/".to_owned(), "list data"),
            (Method::GET, format!("/web1/data/{ID}"), "read data"),
            (Method::POST, format!("/web1/keys/{ID}"), "create keys"),
            (Method::DELETE, format!("/web1/locks/{ID}"), "delete locks"),
            (Method::DELETE, "/web1/".to_owned(), "delete repository"),
        ] {
            assert_eq!(routed(&method, &path).unwrap().to_string(), action);
        }
    }

    #[test]
    fn a_path_that_is_not_canonical_names_nothing() {
        for path in [
            "/",
            "//",
            "/web1",
            "/web1/data",
            "/data/",
            "/config",
            "//config",
            "/web1//config",
            "/./web1/config",
            "/../web1/config",
            "/web1/../config",
            "/web1/%63onfig",
            "/%77eb1/config",
            "/web1/config/",
            "/a/b/c/d/e/config",
            "/web1/data/abc",
            "/.pawl/config",
            "/.pawl/hosts.toml",
            "/web1/locks/../data/",
        ] {
            assert_eq!(routed(&Method::GET, path), Err(RouteError::NotFound), "{path}");
        }
        let upper = format!("/web1/data/{}", ID.to_uppercase());
        assert_eq!(routed(&Method::GET, &upper), Err(RouteError::NotFound));
    }

    #[test]
    fn wrong_methods_are_told_the_right_ones() {
        assert_eq!(routed(&Method::GET, "/web1/"), Err(RouteError::Method("POST, DELETE")));
        assert_eq!(routed(&Method::HEAD, "/web1/data/"), Err(RouteError::Method("GET")));
        let put = routed(&Method::PUT, "/web1/config");
        assert_eq!(put, Err(RouteError::Method("HEAD, GET, POST, DELETE")));
        assert_eq!(routed(&Method::POST, "/web1/?create=yes"), Err(RouteError::Query));
        assert_eq!(routed(&Method::POST, "/web1/"), Err(RouteError::Query));
        let long = format!("/{}/config", "a".repeat(PATH_BYTES_MAX));
        assert_eq!(routed(&Method::GET, &long), Err(RouteError::TooLong));
    }
}
