//! Takes away from a process, before it meets anybody, what it does not need: Landlock, seccomp, capabilities.
//!
//! Invariant: what is taken away cannot be had back by any code in the process. A process that is confined less than
//! its configuration demands does not serve, and one that finds that it could still destroy something ends.

mod calls;
mod landlock;
mod privileges;
mod rights;
mod seccomp;
mod self_test;

use std::fmt;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use pawl_config::{Demand, Level};
use serde::{Deserialize, Serialize};

pub use self_test::Surprise;
pub use self_test::{AFTER, BEFORE, CANARY};

/// Landlock alone holds what is promised of it from this ABI on (Linux 6.2): files cannot be truncated either.
const LANDLOCK_ABI_WHOLE: u8 = 3;
/// Where files belong to another user, who alone can truncate them, an older one will do (Linux 5.19, and Debian 12).
const LANDLOCK_ABI_MIN: u8 = 2;

/// How far one process was confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confined {
    /// Whether seccomp is in force.
    pub seccomp: bool,
    /// The ABI of Landlock that is in force; 0 if none is.
    pub landlock_abi: u8,
    /// Who the process runs as.
    pub uid: u32,
}

impl Confined {
    /// Not at all.
    #[must_use]
    pub fn not() -> Self {
        Self { seccomp: false, landlock_abi: 0, uid: rustix::process::getuid().as_raw() }
    }
}

/// The level that frontend and keeper reach together.
#[must_use]
pub const fn level(door: Confined, keeper: Confined) -> Level {
    if !door.seccomp || !keeper.seccomp {
        return Level::Off;
    }
    // Of root nothing is kept by its files' belonging to somebody else.
    let is_another = door.uid != keeper.uid && door.uid != 0;
    let abi = if door.landlock_abi < keeper.landlock_abi { door.landlock_abi } else { keeper.landlock_abi };
    if is_another && abi >= LANDLOCK_ABI_MIN {
        Level::Strong
    } else if abi >= LANDLOCK_ABI_WHOLE {
        Level::SameUser
    } else {
        Level::Seccomp
    }
}

/// A process cannot be confined as it must be.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// There are threads already, which would keep all powers.
    #[error(
        "cannot confine this process: it has {0} threads already, and only the calling one would be confined"
    )]
    Threads(usize),
    /// The kernel refuses a step.
    #[error(
        "cannot confine this process: {step}: {cause}. If this kernel or container cannot do better, confinement = \
         \"off\" in the configuration serves without; code that gets to run in the server could then delete backups"
    )]
    Step {
        /// What was tried.
        step: &'static str,
        /// Why it failed.
        cause: String,
    },
    /// Less was reached than demanded.
    #[error(
        "confinement reaches only the level \"{reached}\", but \"{demanded}\" is demanded ({why}). Meet that, or accept \
         less with confinement = \"{reached}\" in the configuration"
    )]
    TooWeak {
        /// What was reached.
        reached: Level,
        /// What the configuration demands.
        demanded: Level,
        /// What is missing.
        why: String,
    },
    /// The self-test could do what it must not.
    #[error(transparent)]
    Surprise(#[from] Surprise),
}

impl ConfineError {
    fn step(step: &'static str, cause: impl fmt::Display) -> Self {
        Self::Step { step, cause: cause.to_string() }
    }
}

/// What the frontend needs to go on reading, and to reach.
#[derive(Debug, Default)]
pub struct FrontendNeeds {
    /// Directories to read and list, with all that is beneath.
    pub trees: Vec<PathBuf>,
    /// Files to read again, also after somebody has replaced them.
    pub files: Vec<PathBuf>,
    /// TCP ports to connect to; `None` if no connection is ever begun.
    pub ports: Option<Vec<u16>>,
}

/// The ABI of Landlock that this kernel offers, 0 if none. Confines nothing.
#[must_use]
pub fn landlock_abi(at_most: Option<u8>) -> u8 {
    landlock::offered(at_most)
}

/// Confines the frontend. The caller is the only thread and has opened what it will write to.
pub fn door(needs: &FrontendNeeds, demand: Demand, canary: Option<&Path>) -> Result<Confined, ConfineError> {
    if demand.least == Level::Off {
        return Ok(Confined::not());
    }
    let landlock_abi = door_without_seccomp(needs, demand, canary)?;
    seccomp::apply(&calls::of_door(needs.ports.is_some())?)?;
    self_test::all_refused(canary, "seccomp")?;
    Ok(Confined { seccomp: true, landlock_abi, ..Confined::not() })
}

/// The first half of that, which must hold by itself where the kernel has enough of Landlock. Returns its ABI.
#[doc(hidden)] // for the program that attacks it
pub fn door_without_seccomp(
    needs: &FrontendNeeds,
    demand: Demand,
    canary: Option<&Path>,
) -> Result<u8, ConfineError> {
    privileges::drop_all()?;
    let landlock_abi = landlock::apply(&rights::of_door(needs), demand.landlock_abi_max)?;
    if landlock_abi >= LANDLOCK_ABI_WHOLE {
        self_test::all_refused(canary, "Landlock")?;
    }
    Ok(landlock_abi)
}

/// Confines the keeper of `data` to its verbs beneath it. The caller is the only thread.
pub fn keeper(data: BorrowedFd<'_>, demand: Demand) -> Result<Confined, ConfineError> {
    if demand.least == Level::Off {
        return Ok(Confined::not());
    }
    privileges::drop_all()?;
    let landlock_abi = landlock::apply(&rights::of_keeper(data)?, demand.landlock_abi_max)?;
    seccomp::apply(&calls::of_keeper()?)?;
    Ok(Confined { seccomp: true, landlock_abi, ..Confined::not() })
}

/// Compares what was reached with what is demanded.
pub fn check(door: Confined, keeper: Confined, demand: Demand) -> Result<Level, ConfineError> {
    let reached = level(door, keeper);
    if reached >= demand.least {
        return Ok(reached);
    }
    let abi = door.landlock_abi.min(keeper.landlock_abi);
    let why = match demand.least {
        Level::Strong if abi >= LANDLOCK_ABI_MIN => {
            "the keeper must be a service of its own, under a user of its own (keeper_socket), and the frontend must not \
             be root"
                .to_owned()
        }
        Level::Strong => {
            format!("Landlock of ABI {LANDLOCK_ABI_MIN} or newer, Linux 5.19, is needed; in force is {abi}")
        }
        _ => format!("Landlock of ABI {LANDLOCK_ABI_WHOLE} or newer, Linux 6.2, is needed; in force is {abi}"),
    };
    Err(ConfineError::TooWeak { reached, demanded: demand.least, why })
}
