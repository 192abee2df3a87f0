//! seccomp: system calls that are not on a list fail.
//!
//! Invariant: it is a list of what is allowed; what is missing there, also a call that no kernel has yet, is refused
//! with `EPERM`.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

use super::ConfineError;

/// The system calls that stay allowed, each with the alternatives of arguments under which it is; none means always.
#[derive(Debug, Default)]
pub(super) struct Calls(BTreeMap<i64, Vec<SeccompRule>>);

/// One argument must have these bits, of those in the mask.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bits {
    /// Which argument, from 0.
    pub argument: u8,
    /// The bits that are looked at.
    pub mask: u64,
    /// What they must be.
    pub value: u64,
}

impl Calls {
    /// Allows each of these, whatever its arguments.
    pub(super) fn allow(&mut self, calls: &[i64]) {
        for call in calls {
            self.0.insert(*call, Vec::new());
        }
    }

    /// Allows this call if all of these hold, or another alternative does that was added before.
    pub(super) fn allow_if(&mut self, call: i64, all: &[Bits]) -> Result<(), ConfineError> {
        let conditions: Result<Vec<_>, _> = all
            .iter()
            .map(|bits| {
                let compare = SeccompCmpOp::MaskedEq(bits.mask);
                SeccompCondition::new(bits.argument, SeccompCmpArgLen::Qword, compare, bits.value)
            })
            .collect();
        let rule = conditions.and_then(SeccompRule::new).map_err(step)?;
        self.0.entry(call).or_default().push(rule);
        Ok(())
    }
}

/// glibc tries these first and goes on with the older call, whose arguments can be looked at, only if it is told that
/// there is no such call.
const NO_SUCH_CALL: [i64; 3] = [libc::SYS_clone3, libc::SYS_openat2, libc::SYS_faccessat2];

/// Confines the calling thread and all that it starts.
pub(super) fn apply(calls: &Calls) -> Result<(), ConfineError> {
    let missing: BTreeMap<_, _> = NO_SUCH_CALL
        .iter()
        .filter(|call| !calls.0.contains_key(call))
        .map(|call| (*call, Vec::new()))
        .collect();
    // Of two refusals the kernel tells the later filter's, so that this one lets pass what the first has answered.
    let mut allowed = calls.0.clone();
    allowed.extend(missing.clone());
    let no_such_call = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    install(missing, SeccompAction::Allow, no_such_call)?;
    install(allowed, SeccompAction::Errno(libc::EPERM.unsigned_abs()), SeccompAction::Allow)
}

fn install(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<(), ConfineError> {
    let machine = TargetArch::try_from(std::env::consts::ARCH).map_err(step)?;
    let filter = SeccompFilter::new(rules, otherwise, matched, machine).map_err(step)?;
    let program = BpfProgram::try_from(filter).map_err(step)?;
    seccompiler::apply_filter(&program).map_err(step)
}

fn step(error: impl std::fmt::Display) -> ConfineError {
    ConfineError::step("seccomp", error)
}
