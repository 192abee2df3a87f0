//! What a process gives up before the kernel is told to refuse it more: capabilities, new privileges, core dumps.
//!
//! Invariant: none of it can be had back, also not by starting another program.

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::ConfineError;

/// Gives up everything. The caller is the only thread, or the others would keep theirs.
pub(super) fn drop_all() -> Result<(), ConfineError> {
    let threads =
        std::fs::read_dir("/proc/self/task").map_err(|e| ConfineError::step("counting threads", e))?;
    match threads.count() {
        1 => {}
        threads => return Err(ConfineError::Threads(threads)),
    }
    // A core, or another process of this user, would show secrets.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(Resource::Core, none).map_err(|e| ConfineError::step("no core dumps", e))?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|e| ConfineError::step("being not dumpable", e))?;
    drop_capabilities()?;
    rustix::thread::set_no_new_privs(true).map_err(|e| ConfineError::step("no new privileges", e))
}

fn drop_capabilities() -> Result<(), ConfineError> {
    let step = |e: Errno| ConfineError::step("dropping capabilities", e);
    for capability in CapabilitySet::all().iter() {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // Without the right to: there is nothing to gain from the bounding set without new privileges.
            // Unknown to this kernel: not there.
            Ok(()) | Err(Errno::PERM | Errno::INVAL) => {}
            Err(error) => return Err(step(error)),
        }
    }
    match rustix::thread::clear_ambient_capability_set() {
        Ok(()) | Err(Errno::INVAL) => {}
        Err(error) => return Err(step(error)),
    }
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    // Who holds none needs no call that a service manager may refuse.
    if rustix::thread::capabilities(None).map_err(step)? == sets {
        return Ok(());
    }
    rustix::thread::set_capabilities(None, sets).map_err(step)
}
