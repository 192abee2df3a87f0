//! What each adversary of `docs/threat-model.md` could do with this deployment.
//!
//! Invariant: nothing is said to hold that was not looked at.

use pawl_config::Config;
use pawl_config::Level;
use pawl_config::hint;
use serde::Serialize;

use super::machine::Machine;
use super::store::{Store, WITHOUT_VERSIONS};
use super::upkeep::Upkeep;

/// Whether Pawl's promise against an adversary holds here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Holds {
    Yes,
    Partly,
    No,
}

impl Holds {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Yes => "the promise holds",
            Self::Partly => "the promise holds in part",
            Self::No => "the promise does not hold",
        }
    }
}

/// One adversary.
#[derive(Debug, Serialize)]
pub(crate) struct Adversary {
    pub(crate) letter: char,
    pub(crate) who: &'static str,
    pub(crate) holds: Holds,
    /// What they could do, and what not.
    pub(crate) text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remedy: Option<String>,
}

/// Weighs what was found out.
pub(super) fn weigh(config: &Config, machine: &Machine, store: &Store, upkeep: &Upkeep) -> Vec<Adversary> {
    vec![
        network(machine),
        host(),
        door(machine, store),
        root(store),
        maintenance(config, store),
        rot(store, upkeep),
    ]
}

fn network(machine: &Machine) -> Adversary {
    let (holds, text, remedy) = if machine.encrypts {
        (Holds::Yes, "can read and write nothing, and guesses passwords slowly", None)
    } else {
        (
            Holds::Partly,
            "can read and write nothing without a password, but could see one on its way",
            Some("let Pawl speak TLS, or make sure that the proxy in front does".to_owned()),
        )
    };
    Adversary { letter: 'A', who: "somebody on the network", holds, text: text.to_owned(), remedy }
}

fn host() -> Adversary {
    let text = "can read its own repository and add to it; cannot change, hide or delete what is there. Junk that it \
                adds can be hidden by one command";
    Adversary {
        letter: 'B',
        who: "a host, or whoever took it over",
        holds: Holds::Yes,
        text: text.to_owned(),
        remedy: None,
    }
}

fn door(machine: &Machine, store: &Store) -> Adversary {
    let who = "code that runs in the frontend's process";
    if let Store::Bucket { powerful: None, .. } = store {
        return untried('C', who);
    }
    if let Store::Bucket { keeps_versions, powerful, .. } = store {
        let safe = *keeps_versions && *powerful == Some(false);
        let text = if safe {
            "has the frontend's credential, which cannot delete versions: what it overwrites or hides can be restored"
        } else {
            "has the frontend's credential, with which it can destroy what is stored for good"
        };
        let remedy = (!safe).then(|| store.against_its_credential());
        let holds = if safe { Holds::Yes } else { Holds::No };
        return Adversary { letter: 'C', who, holds, text: text.to_owned(), remedy };
    }
    let (holds, remedy) = match machine.level {
        Level::Strong => (Holds::Yes, None),
        Level::SameUser => (
            Holds::Yes,
            Some("a keeper under a user of its own (keeper_socket) holds even if both fail".to_owned()),
        ),
        Level::Seccomp => {
            (Holds::Yes, Some("use Linux 6.2 or newer, so that Landlock refuses it as well".to_owned()))
        }
        Level::Off => (Holds::No, Some("remove confinement = \"off\"".to_owned())),
    };
    let text = format!("{}. It could add junk, remove hosts' locks, and be silent", machine.level.meaning());
    Adversary { letter: 'C', who, holds, text, remedy }
}

/// The answer hangs on the frontend's credential of the bucket, which is not at hand.
fn untried(letter: char, who: &'static str) -> Adversary {
    Adversary {
        letter,
        who,
        holds: Holds::Partly,
        text: "has the frontend's credential of the bucket, and what that can do was not tried here"
            .to_owned(),
        remedy: Some("run `pawl doctor` where the server runs".to_owned()),
    }
}

fn root(store: &Store) -> Adversary {
    let who = "root on this machine";
    match store {
        Store::Directory => Adversary {
            letter: 'D',
            who,
            holds: Holds::No,
            text: "can destroy everything here".to_owned(),
            remedy: Some("keep a second store on another machine, or in a bucket with versions".to_owned()),
        },
        Store::Bucket { powerful: None, .. } => untried('D', who),
        Store::Bucket { keeps_versions: true, powerful: Some(false), knows_rules: false, .. } => Adversary {
            letter: 'D',
            who,
            holds: Holds::Partly,
            text: "can hide and overwrite; what is stored can be restored until a lifecycle rule of the bucket ends it, \
                   which could not be read"
                .to_owned(),
            remedy: Some("let the server's credential read the bucket's lifecycle rules".to_owned()),
        },
        Store::Bucket { keeps_versions: true, powerful: Some(false), noncurrent_days, .. } => {
            let until = noncurrent_days.map_or_else(
                || "for good".to_owned(),
                |days| format!("for {days} days after it was overwritten"),
            );
            Adversary {
                letter: 'D',
                who,
                holds: Holds::Yes,
                text: format!("can hide and overwrite, but what is stored can be restored {until}"),
                remedy: None,
            }
        }
        Store::Bucket { .. } => Adversary {
            letter: 'D',
            who,
            holds: Holds::No,
            text: "can destroy everything in the bucket".to_owned(),
            remedy: Some(store.against_its_credential()),
        },
    }
}

fn maintenance(config: &Config, store: &Store) -> Adversary {
    if !store.keeps_what_is_deleted() {
        return Adversary {
            letter: 'E',
            who: "a stolen maintenance credential",
            holds: Holds::No,
            text: "can destroy everything in the bucket, which keeps no versions".to_owned(),
            remedy: Some(WITHOUT_VERSIONS.to_owned()),
        };
    }
    let days = config.maintenance.purge_delay_days();
    let has_floor = config.maintenance.floor_ms() > 0;
    let text = format!(
        "can have files deleted, which are listed and can be brought back for {days} days{}",
        if has_floor { "; cannot delete a young snapshot" } else { ", the newest snapshots among them" }
    );
    Adversary {
        letter: 'E',
        who: "a stolen maintenance credential",
        holds: if has_floor { Holds::Yes } else { Holds::Partly },
        text,
        remedy: (!has_floor).then(|| "set maintenance.min_snapshot_age_days".to_owned()),
    }
}

fn rot(store: &Store, upkeep: &Upkeep) -> Adversary {
    let source = match store {
        Store::Directory | Store::Bucket { keeps_versions: false, .. } => {
            "from a second store, if there is one"
        }
        Store::Bucket { .. } => "from a version, where the bucket still has a good one",
    };
    Adversary {
        letter: 'F',
        who: "a disk that rots",
        holds: if upkeep.verified { Holds::Yes } else { Holds::Partly },
        text: format!("is found out by `pawl maintain verify`, and repaired {source}"),
        remedy: (!upkeep.verified).then(|| format!("run `{}` every day", hint::pawl("maintain verify"))),
    }
}
