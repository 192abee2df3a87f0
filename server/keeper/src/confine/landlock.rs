//! Landlock: the kernel refuses, for this process and all it starts, what no rule allows.
//!
//! Invariant: everything that the kernel's Landlock can refuse is refused, but for the rules. No right is ever left
//! out because a kernel does not know it: such a kernel counts as one of an older ABI.

use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, PathFd,
    PathFdError, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, Scope,
};

use super::ConfineError;

/// Newest first. Those that add no right of their own are not told apart from the one before.
const KNOWN: [(u8, ABI); 7] =
    [(9, ABI::V9), (6, ABI::V6), (5, ABI::V5), (4, ABI::V4), (3, ABI::V3), (2, ABI::V2), (1, ABI::V1)];

/// What stays allowed.
#[derive(Debug)]
pub(super) struct Rights {
    /// What may be done beneath each of these places. A place that is not there is left out.
    pub places: Vec<(PathBuf, BitFlags<AccessFs>)>,
    /// TCP ports to connect to.
    pub ports: Vec<u16>,
    /// Below this ABI the process could not do its work.
    pub abi_min: u8,
}

/// Confines the calling thread; returns the ABI that is in force, 0 if none.
pub(super) fn apply(rights: &Rights, abi_max: Option<u8>) -> Result<u8, ConfineError> {
    let step = |e: &dyn std::fmt::Display| ConfineError::step("Landlock", e);
    let usable =
        |(number, _): &&(u8, ABI)| *number >= rights.abi_min && abi_max.is_none_or(|max| *number <= max);
    for (number, abi) in KNOWN.iter().filter(usable) {
        // A kernel that does not know all of this ABI refuses; then an older one is tried.
        let Ok(mut ruleset) = everything(*abi) else { continue };
        for (path, access) in &rights.places {
            ruleset = allow(ruleset, path, *access & AccessFs::from_all(*abi), *abi).map_err(|e| step(&e))?;
        }
        if !AccessNet::from_all(*abi).is_empty() {
            for port in &rights.ports {
                let rule = NetPort::new(*port, AccessNet::ConnectTcp);
                ruleset = ruleset.add_rule(rule).map_err(|e| step(&e))?;
            }
        }
        ruleset.restrict_self().map_err(|e| step(&e))?;
        return Ok(*number);
    }
    Ok(0)
}

/// The newest ABI that this kernel knows as a whole, 0 if none.
pub(super) fn offered(at_most: Option<u8>) -> u8 {
    let usable = KNOWN.iter().filter(|(number, _)| at_most.is_none_or(|max| *number <= max));
    usable.clone().find(|(_, abi)| everything(*abi).is_ok()).map_or(0, |(number, _)| *number)
}

/// A ruleset that refuses all that this ABI can refuse.
fn everything(abi: ABI) -> Result<RulesetCreated, landlock::RulesetError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(abi))?;
    if !AccessNet::from_all(abi).is_empty() {
        ruleset = ruleset.handle_access(AccessNet::from_all(abi))?;
    }
    if !Scope::from_all(abi).is_empty() {
        ruleset = ruleset.scope(Scope::from_all(abi))?;
    }
    ruleset.create()
}

fn allow(
    ruleset: RulesetCreated,
    path: &PathBuf,
    access: BitFlags<AccessFs>,
    abi: ABI,
) -> Result<RulesetCreated, landlock::RulesetError> {
    let place = match PathFd::new(path) {
        Ok(place) => place,
        // What is not there needs no right. Whoever makes it later restarts the server.
        Err(PathFdError::OpenCall { .. } | _) => return Ok(ruleset),
    };
    // Rights to directories mean nothing for a file, and are refused by the kernel.
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(abi) };
    ruleset.add_rule(PathBeneath::new(place, access))
}
