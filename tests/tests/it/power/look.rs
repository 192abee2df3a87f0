//! Looking at what a power cut has left.
//!
//! Invariant: everything that was promised before the cut is looked for, by a server that was started without any repair;
//! what is wrong is told, each thing in a line.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pawl_tests::clients::{Restic, Version};
use pawl_tests::command::{Finished, pawl};
use pawl_tests::content::id_of;
use pawl_tests::http::Client;
use pawl_tests::maintenance::{batch_of, maintain};
use pawl_tests::plain_user::PlainUser;
use pawl_tests::power::{Mounted, Position};
use pawl_tests::server::{Credential, Server};
use pawl_tests::store::{fact, path_of};

use super::promises::{Claim, Known, files_below, name_of};
use super::work::Recording;

/// How many of the files that were not confirmed are sent again.
const SENT_AGAIN: usize = 8;
/// What the audit log may lose is the last second; the sync of that second takes its time on a busy machine.
const AUDIT_MAY_LOSE: Duration = Duration::from_secs(10);

/// What is wrong with this disk, on which everything that was promised at this position has to be.
pub(crate) fn look(recording: &Recording, disk: &Path, at: Position) -> Vec<String> {
    let mounted = match Mounted::recover(disk, recording.kind) {
        Ok(mounted) => mounted,
        Err(error) => return vec![format!("the disk cannot be mounted: {error}")],
    };
    let plain = PlainUser::owning(mounted.path());
    let data = mounted.path().join("data");
    let files = recording.promises.at(at);
    let mut wrong = torn(&data, &files);
    let mut server = Server::build().data(&data).start();
    let found = Found { recording, server: &server, files, hosts: recording.promises.hosts_at(at), at };
    wrong.extend(found.broken_promises());
    wrong.extend(found.uncounted());
    wrong.extend(found.unaudited());
    // restic asks for a minute for what is not there.
    if wrong.is_empty() {
        wrong.extend(found.refused_again());
        wrong.extend(found.kept_from_coming_back());
        wrong.extend(found.unreadable());
    }
    assert_eq!(server.stop().code(), Some(0));
    drop((server, plain));
    wrong.extend(mounted.check().err());
    wrong
}

/// Files that are not what they were sent as, with all that belongs to them, shown or in a batch.
fn torn(data: &Path, files: &BTreeMap<String, Known>) -> Vec<String> {
    let is_right = |path: &Path| {
        let hash = id_of(&fs::read(path).unwrap());
        path.ends_with(&hash) || files.get(&name_of(data, path)).is_some_and(|known| known.hash == hash)
    };
    let shown = fs::read_dir(data).into_iter().flatten().map(|entry| entry.unwrap().path());
    let shown =
        shown.filter(|path| path.is_dir() && !path.ends_with(".pawl")).flat_map(|path| files_below(&path));
    let mut wrong = Vec::new();
    for path in shown.chain(hidden(data)) {
        if !is_right(&path) {
            wrong.push(format!("{} is not what was sent", path.display()));
        }
        if fact(&path, "creator").is_none() || fact(&path, "received").is_none() {
            wrong.push(format!("{} is without its facts", path.display()));
        }
        if path.metadata().unwrap().permissions().mode() & 0o222 != 0 {
            wrong.push(format!("{} can be written to", path.display()));
        }
    }
    wrong
}

/// Files in batches of what maintenance deleted.
fn hidden(data: &Path) -> impl Iterator<Item = PathBuf> {
    let is_id = |path: &PathBuf| path.file_name().is_some_and(|name| name.len() == 64);
    files_below(&data.join(".pawl/deleted")).into_iter().filter(is_id)
}

struct Found<'a> {
    recording: &'a Recording,
    server: &'a Server,
    files: BTreeMap<String, Known>,
    hosts: Vec<Credential>,
    at: Position,
}

impl Found<'_> {
    fn client(&self, repository: &str) -> Option<Client> {
        self.hosts.iter().find(|host| host.user == repository).map(|host| self.server.client(host))
    }

    fn claimed(&self, claim: Claim) -> impl Iterator<Item = (&String, &Known)> {
        self.files.iter().filter(move |(_, known)| known.claim == claim)
    }

    fn broken_promises(&self) -> Vec<String> {
        let hidden: BTreeSet<String> = hidden(self.server.data())
            .filter_map(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()))
            .collect();
        let mut broken = Vec::new();
        for host in &self.hosts {
            let answer = self.server.client(host).ask("GET", &format!("/{}/config", host.user)).unwrap();
            if !matches!(answer.status, 200 | 404) {
                broken.push(format!("lost: the host {} is answered {}", host.user, answer.status));
            }
        }
        for (name, known) in &self.files {
            let shown = path_of(self.server.data(), name).exists();
            let is_hidden = hidden.contains(&known.hash);
            let held = match known.claim {
                Claim::Visible => self.is_served(name, &known.hash),
                Claim::Kept => shown || is_hidden,
                Claim::Hidden => !shown && is_hidden,
                Claim::Gone => !shown && !is_hidden,
                Claim::Open => true,
            };
            if !held {
                let what = if known.claim == Claim::Gone { "not gone" } else { "lost" };
                broken.push(format!("{what}: {name} was promised to be {:?}; shown: {shown}", known.claim));
            }
        }
        broken
    }

    fn is_served(&self, name: &str, hash: &str) -> bool {
        let (repository, _) = name.split_once('/').unwrap();
        let answer = self.client(repository).map(|client| client.ask("GET", &format!("/{name}")).unwrap());
        answer.is_some_and(|answer| answer.status == 200 && id_of(&answer.body) == hash)
    }

    /// What a host has stored is never counted too low: it could store more than its quota.
    fn uncounted(&self) -> Option<String> {
        let _ = self.server.log().wait_for_line(&["all files were counted"]);
        let counts = |name: &str| name.starts_with("raw/") && !name.starts_with("raw/locks/");
        let stored: Vec<_> = self.claimed(Claim::Visible).filter(|(name, _)| counts(name)).collect();
        let bytes: u64 = stored
            .iter()
            .map(|(name, _)| {
                path_of(self.server.data(), name).metadata().map_or(0, |metadata| metadata.len())
            })
            .sum();
        let kept_at = self.server.data().join(".pawl/usage/raw");
        let numbers = |name: &str| -> Vec<u64> {
            let text = kept_at.exists().then(|| fact(&kept_at, name)).flatten();
            let text = text.unwrap_or_else(|| "1 0 0 0 0".to_owned());
            text.split(' ').skip(1).map(|number| number.parse().unwrap()).collect()
        };
        // What the keeper of the hosts has counted, what maintenance has added, less what it has taken away.
        let (own, of) = (numbers("usage"), numbers("maintained"));
        let counted_bytes = own[0] + of[0] - of[2];
        (counted_bytes < bytes)
            .then(|| format!("raw stored {bytes} bytes in {} files, counted: {counted_bytes}", stored.len()))
    }

    /// What was not confirmed can be sent again.
    fn refused_again(&self) -> Vec<String> {
        let Some(client) = self.client("raw").filter(|_| self.is_begun("raw")) else { return Vec::new() };
        let unconfirmed = self.claimed(Claim::Open).filter(|(name, _)| name.starts_with("raw/"));
        let unconfirmed = unconfirmed.filter_map(|(name, known)| Some((name, known.content.as_ref()?)));
        let send = |(name, content): (&String, &std::sync::Arc<Vec<u8>>)| {
            let answer = client.post(&format!("/{name}"), content).unwrap();
            let held = answer.status == 200 && self.is_served(name, &id_of(content));
            (!held).then(|| format!("{name} was sent again: {} {}", answer.status, answer.text()))
        };
        unconfirmed.take(SENT_AGAIN).filter_map(send).collect()
    }

    /// A prune or an undelete that the cut ended can be undone, or completed, as a whole.
    fn kept_from_coming_back(&self) -> Vec<String> {
        let kept: Vec<_> = self.claimed(Claim::Kept).collect();
        if kept.is_empty() {
            return Vec::new();
        }
        let place = self.server.place();
        let batches = maintain(&place, &["deleted", "--json"]).expect_code(0).json();
        let batches = batches.as_array().unwrap().iter().map(batch_of);
        let failed = batches.filter_map(|batch| failed(&maintain(&place, &["undelete", &batch])));
        let mut wrong: Vec<_> = failed.collect();
        let missing = kept.into_iter().filter(|(name, known)| !self.is_served(name, &known.hash));
        wrong.extend(missing.map(|(name, _)| format!("lost: {name} did not come back")));
        wrong
    }

    /// Whether the repository has a config for certain.
    fn is_begun(&self, repository: &str) -> bool {
        let config = self.files.get(&format!("{repository}/config"));
        config.is_some_and(|known| matches!(known.claim, Claim::Visible | Claim::Kept))
    }

    /// What maintenance's verification and restic find wrong.
    fn unreadable(&self) -> Vec<String> {
        let mut wrong: Vec<_> =
            failed(&maintain(&self.server.place(), &["verify", "--all"])).into_iter().collect();
        for host in self.hosts.iter().filter(|host| host.user != "raw" && self.is_begun(&host.user)) {
            let restic = Restic::new(Version::V0_19, host).through(self.server.address());
            // A lock of before the cut is there still, as after any cut of a client's.
            wrong.extend(failed(&restic.run(["check", "--no-lock", "--read-data"])));
        }
        wrong
    }

    /// The chain of the audit log holds, and it has what was confirmed well before the cut.
    fn unaudited(&self) -> Vec<String> {
        let data = self.server.data().to_str().unwrap();
        let mut wrong: Vec<_> = failed(&pawl(["audit", "verify", "--data", data])).into_iter().collect();
        let shown = pawl(["audit", "show", "--principal", "raw", "--json", "--data", data]).stdout;
        let tape = self.recording.disk.tape();
        let is_due = |known: &Known| tape.time(known.since) + AUDIT_MAY_LOSE < tape.time(self.at);
        let due = self.claimed(Claim::Visible).filter(|(_, known)| known.content.is_some() && is_due(known));
        wrong.extend(due.filter(|(_, known)| !shown.contains(&known.hash)).map(|(name, _)| {
            format!("{name} was confirmed more than {AUDIT_MAY_LOSE:?} before the cut, and is not in the audit log")
        }));
        wrong
    }
}

fn failed(finished: &Finished) -> Option<String> {
    (finished.code != Some(0)).then(|| format!("{finished:#?}"))
}
