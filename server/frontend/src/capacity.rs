//! How many connections this machine can hold.
//!
//! Invariant: with every place taken, descriptors and memory are left for what is asked on the connections.

use std::num::NonZeroU32;
use std::path::Path;

use rustix::process::Resource;

use pawl_config::Limits;

/// Each connection has one descriptor, and one more for the file that it sends or takes.
const DESCRIPTORS_EACH: u64 = 2;
/// For everything else: sockets, the store, the log.
const DESCRIPTORS_KEPT: u64 = 128;
/// An upload over TLS holds two chunks and the buffers of TLS and HTTP, of which a quarter of the memory may be.
const BYTES_EACH: u64 = 256 << 10;
const PARTS_OF_MEMORY: u64 = 4;
/// However small the machine is, and however large.
const CONNECTIONS: std::ops::RangeInclusive<u64> = 64..=65_536;

/// Raises the limit on descriptors, and allows as many connections as there is room for, unless configured.
pub fn use_what_there_is(limits: &mut Limits) {
    pawl_keeper::raise_descriptor_limit();
    if limits.connections.is_none() {
        let descriptors = rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        limits.connections = Some(connections(descriptors, memory_bytes()));
        tracing::debug!(connections = limits.connections, "as many connections as there is room for");
    }
}

fn connections(descriptors: u64, memory_bytes: u64) -> NonZeroU32 {
    let by_descriptors = descriptors.saturating_sub(DESCRIPTORS_KEPT) / DESCRIPTORS_EACH;
    let by_memory = memory_bytes / PARTS_OF_MEMORY / BYTES_EACH;
    let fitting = by_descriptors.min(by_memory).clamp(*CONNECTIONS.start(), *CONNECTIONS.end());
    u32::try_from(fitting).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN)
}

/// The machine's memory, or what a container or a service may have of it.
fn memory_bytes() -> u64 {
    let machine = rustix::system::sysinfo();
    let total = machine.totalram.saturating_mul(u64::from(machine.mem_unit));
    let group = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = group.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let root = Path::new("/sys/fs/cgroup");
    let limits = root.join(group);
    let limits =
        limits.ancestors().take_while(|directory| directory.starts_with(root)).filter_map(|directory| {
            std::fs::read_to_string(directory.join("memory.max")).ok()?.trim().parse::<u64>().ok()
        });
    limits.fold(total, u64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_least_of_decides() {
        for (descriptors, memory_bytes, expected) in [
            (524_288, 8 << 30, 8192),
            (524_288, 1 << 30, 1024),
            (4096, 64 << 30, 1984),
            (1024, 64 << 30, 448),
            (64, 1 << 30, 64),
            (u64::MAX, u64::MAX, 65_536),
        ] {
            assert_eq!(
                connections(descriptors, memory_bytes).get(),
                expected,
                "{descriptors}, {memory_bytes}"
            );
        }
        assert!(memory_bytes() > 0);
    }
}
