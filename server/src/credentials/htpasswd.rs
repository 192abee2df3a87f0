//! Users of an existing `.htpasswd`, so that a rest-server can be replaced in place.
//!
//! Invariant: a line that is not understood lets nobody in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pawl_policy::PrincipalName;

use super::chosen::ChosenPassword;

/// Parses the file's text. Lines that let nobody in are named in the log.
pub(super) fn parse(text: &str, file: &str) -> Vec<(PrincipalName, ChosenPassword)> {
    let mut users = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match parse_line(line) {
            Ok(user) => users.push(user),
            Err(cause) => tracing::warn!(file, line = index + 1, cause, "this htpasswd line lets nobody in"),
        }
    }
    users
}

fn parse_line(line: &str) -> Result<(PrincipalName, ChosenPassword), &'static str> {
    let (user, hash) = line.split_once(':').ok_or("it is not of the form user:hash")?;
    let name = user.parse().map_err(|_| "the user is not a principal's name")?;
    if let Some(encoded) = hash.strip_prefix("{SHA}") {
        let digest = STANDARD.decode(encoded).ok().and_then(|bytes| <[u8; 20]>::try_from(bytes).ok());
        return Ok((name, ChosenPassword::Sha1(digest.ok_or("{SHA} is not followed by a base64 SHA-1")?)));
    }
    if ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| hash.starts_with(prefix)) {
        if bcrypt_cost(hash).is_none_or(|cost| cost > COST_MAX) {
            return Err("the bcrypt cost is missing or above 15");
        }
        return Ok((name, ChosenPassword::Bcrypt(hash.to_owned())));
    }
    Err("the hash is neither bcrypt ($2y$, made by `htpasswd -B`) nor {SHA}")
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
        let names: Vec<_> = parse(text, "test").into_iter().map(|(name, _)| name.to_string()).collect();
        assert_eq!(names, ["ana", "bob"]);
    }
}
