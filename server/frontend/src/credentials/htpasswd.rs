//! Users of an existing `.htpasswd`, so that a rest-server can be replaced in place.
//!
//! Invariant: a line that is not understood lets nobody in.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pawl_config::files::{self, FileError};
use pawl_policy::PrincipalName;

use super::chosen::ChosenPassword;

/// A line that lets nobody in.
#[derive(Debug)]
pub(super) struct BadLine {
    /// Counted from 1.
    pub(super) number: usize,
    pub(super) cause: String,
}

/// Somebody whom the file lets in.
pub(super) type User = (PrincipalName, ChosenPassword);

/// Reads the file: its users, and the lines that let nobody in.
pub(super) fn read(path: &Path) -> Result<(Vec<User>, Vec<BadLine>), FileError> {
    let missing = || FileError::new("read", path, std::io::ErrorKind::NotFound.into());
    Ok(parse(&files::read(path)?.ok_or_else(missing)?))
}

fn parse(text: &str) -> (Vec<(PrincipalName, ChosenPassword)>, Vec<BadLine>) {
    let (mut users, mut bad) = (Vec::new(), Vec::new());
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match parse_line(line) {
            Ok(user) => users.push(user),
            Err(cause) => bad.push(BadLine { number, cause }),
        }
    }
    (users, bad)
}

fn parse_line(line: &str) -> Result<(PrincipalName, ChosenPassword), String> {
    let (user, hash) = line.split_once(':').ok_or("it is not of the form user:hash")?;
    let name = user.parse().map_err(|error| format!("the user cannot be a host: {error}"))?;
    if let Some(encoded) = hash.strip_prefix("{SHA}") {
        let digest = STANDARD.decode(encoded).ok().and_then(|bytes| <[u8; 20]>::try_from(bytes).ok());
        return Ok((name, ChosenPassword::Sha1(digest.ok_or("{SHA} is not followed by a base64 SHA-1")?)));
    }
    if ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| hash.starts_with(prefix)) {
        if bcrypt_cost(hash).is_none_or(|cost| cost > COST_MAX) {
            return Err("the bcrypt cost is missing or above 15".to_owned());
        }
        return Ok((name, ChosenPassword::Bcrypt(hash.to_owned())));
    }
    Err("the hash is neither bcrypt ($2y$, made by `htpasswd -B`) nor {SHA}".to_owned())
}

/// A verification of cost 15 takes seconds; more would let one login hold up all others.
const COST_MAX: u32 = 15;

/// The cost of a bcrypt hash, `$2y$COST$…`.
pub(super) fn bcrypt_cost(hash: &str) -> Option<u32> {
    hash.split('$').nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn understood_lines_are_users_and_all_others_are_passed_over() {
        let text = "# users\n\nana:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\nbob:$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC\n\
                    eve:$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00\nnohash\n../x:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\nmax:$2y$31$abc\n";
        let names: Vec<_> = parse(text).0.into_iter().map(|(name, _)| name.to_string()).collect();
        assert_eq!(names, ["ana", "bob"]);
        assert_eq!(parse(text).1.iter().map(|bad| bad.number).collect::<Vec<_>>(), [5, 6, 7, 8]);
    }
}
