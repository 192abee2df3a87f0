//! Which servers use the bucket: each leaves a sign of life now and then.
//!
//! Invariant: a sign is a name without content, so that one listing tells of all. It is for people: whoever has a server's
//! credential can leave any, and nothing is decided by them.

use std::collections::{BTreeMap, HashMap};

use pawl_config::s3::Instances;
use pawl_config::url::machine_name;

use super::facts::new_mark;
use super::{S3Store, names};
use crate::{StoreError, now_ms};

const MINUTE_MS: u64 = 60_000;
/// How often a server leaves one, in minutes.
pub const SIGNS_EVERY_MINUTES: u64 = 30;
/// So long a server lives after its last sign, of which one may be lost.
const LIVES_MS: u64 = (2 * SIGNS_EVERY_MINUTES + 5) * MINUTE_MS;
/// Signs that are looked at: those of twenty servers in a day. Whoever has a server's key can leave more.
const SIGNS_MAX: usize = 1000;
/// Characters of a machine's name that are told, as many as Linux allows.
const HOST_CHARS_MAX: usize = 64;

/// What a sign says beside who left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// The server lives.
    Lives,
    /// It has stopped.
    Stopped,
}

/// This server, from its start to its end.
#[derive(Debug)]
pub struct Server {
    run: String,
    host: String,
}

impl Server {
    /// One that starts now, on this machine.
    pub fn start() -> Result<Self, StoreError> {
        Ok(Self { run: new_mark()?, host: machine_name() })
    }
}

/// Another server that left a sign lately, and none that it has stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// The name of its machine.
    pub host: String,
    /// How many servers it says may use the bucket.
    pub instances: Instances,
    /// How long ago it left its last sign, in minutes.
    pub seen_minutes: u64,
}

impl S3Store {
    /// Leaves a sign of this server.
    pub async fn sign(&self, server: &Server, sign: Sign) -> Result<(), StoreError> {
        let word = match (sign, self.settings.instances) {
            (Sign::Stopped, _) => STOPPED,
            (Sign::Lives, Instances::One) => ONE,
            (Sign::Lives, Instances::Many) => MANY,
        };
        let Server { run, host } = server;
        self.mark(&format!("{}{:013}-{run}-{word}-{host}", self.layout.signs(), now_ms())).await
    }

    /// The servers that live, but for this one.
    pub async fn other_servers(&self, own: Option<&Server>) -> Result<Vec<Other>, StoreError> {
        let (root, now_ms) = (self.layout.signs(), now_ms());
        // S3 refuses whoever has a clock that is more than 15 minutes off.
        let after = format!("{root}{:013}", now_ms.saturating_sub(LIVES_MS));
        let mut signs = Vec::new();
        let mut pages = names::objects(self, &self.settings.bucket, &root, Some(after));
        while let Some(page) = futures_util::StreamExt::next(&mut pages).await {
            if signs.len() >= SIGNS_MAX {
                break;
            }
            signs.extend(
                page?.into_iter().filter_map(|object| Some(object.key.strip_prefix(&root)?.to_owned())),
            );
        }
        Ok(others(&signs, now_ms, own.map(|server| server.run.as_str())))
    }
}

const ONE: &str = "one";
const MANY: &str = "many";
const STOPPED: &str = "stopped";

/// What the signs of one server say together.
struct Left<'a> {
    host: &'a str,
    first_ms: u64,
    last_ms: u64,
    word: &'a str,
}

/// Those that live, by their signs, the oldest first.
fn others(signs: &[String], now_ms: u64, own: Option<&str>) -> Vec<Other> {
    let mut left: BTreeMap<&str, Left<'_>> = BTreeMap::new();
    for sign in signs {
        let mut parts = sign.splitn(4, '-');
        let (Some(at_ms), Some(run), Some(word), Some(host)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let Ok(at_ms) = at_ms.parse() else { continue };
        let left = left.entry(run).or_insert(Left { host, first_ms: at_ms, last_ms: at_ms, word });
        (left.last_ms, left.word) = (at_ms, word);
    }
    // One that was killed left no last sign; whoever starts on its machine later is its successor.
    let mut newest: HashMap<&str, u64> = HashMap::new();
    for left in left.values() {
        let first_ms = newest.entry(left.host).or_default();
        *first_ms = left.first_ms.max(*first_ms);
    }
    let is_succeeded = |of: &Left<'_>| newest.get(of.host).is_some_and(|first_ms| *first_ms > of.last_ms);
    let lives = left.iter().filter(|(run, left)| {
        Some(**run) != own
            && left.word != STOPPED
            && now_ms.saturating_sub(left.last_ms) < LIVES_MS
            && !is_succeeded(left)
    });
    let other = |(_, left): (&&str, &Left<'_>)| Other {
        host: shown(left.host),
        instances: if left.word == ONE { Instances::One } else { Instances::Many },
        seen_minutes: now_ms.saturating_sub(left.last_ms) / MINUTE_MS,
    };
    lives.map(other).collect()
}

/// A name that anybody may have chosen, as it can be shown.
fn shown(host: &str) -> String {
    let is_plain = |char: &char| char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '_');
    host.chars().filter(is_plain).take(HOST_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_800_000_000_000;

    fn seen(signs: &[&str]) -> Vec<(String, Instances, u64)> {
        let sign = |sign: &&str| {
            let (minutes_ago, rest) = sign.split_once('-').unwrap();
            format!("{:013}-{rest}", NOW_MS - minutes_ago.parse::<u64>().unwrap() * MINUTE_MS)
        };
        let signs: Vec<_> = signs.iter().map(sign).collect();
        let others = others(&signs, NOW_MS, Some("own"));
        others.into_iter().map(|other| (other.host, other.instances, other.seen_minutes)).collect()
    }

    #[test]
    fn a_server_lives_until_it_stops_or_another_starts_on_its_machine_after_its_last_sign() {
        let other = |minutes| vec![("b".to_owned(), Instances::One, minutes)];
        assert_eq!(seen(&["40-x-one-b", "10-x-one-b", "5-own-one-a"]), other(10));
        assert_eq!(seen(&["10-x-one-b", "5-own-one-b"]), [], "its successor");
        assert_eq!(seen(&["10-own-one-b", "5-x-one-b"]), other(5), "a second one on the machine");
        assert_eq!(seen(&["20-x-one-b", "10-own-one-b", "5-x-one-b"]), other(5));
        assert_eq!(seen(&["10-x-one-b", "5-x-stopped-b"]), []);
        assert_eq!(seen(&["66-x-one-b"]), []);
        assert_eq!(seen(&["9-x-many-b-1\u{1b}[2J"]), [("b-12J".to_owned(), Instances::Many, 9)]);
        assert_eq!(seen(&["1-x", "1-y-one"]), []);
    }
}
