//! One operation through `io_uring`, which asks no filter of system calls about it.
//!
//! Invariant: a ring is made for each operation, and is gone with the process.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::call::{Outcome, at_mut, call, error};

/// What is to be done, as far as these attempts need it.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) code: u8,
    pub(crate) descriptor: i64,
    pub(crate) address: i64,
    /// A second address, or an offset.
    pub(crate) offset: i64,
    pub(crate) length: i64,
    pub(crate) flags: i64,
}

impl Operation {
    pub(crate) const fn new(code: u8, descriptor: i64, address: i64) -> Self {
        Self { code, descriptor, address, offset: 0, length: 0, flags: 0 }
    }

    /// As the kernel reads it (`struct io_uring_sqe`).
    fn bytes(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        let mut put = |at: usize, value: &[u8]| {
            if let Some(place) = bytes.get_mut(at..at + value.len()) {
                place.copy_from_slice(value);
            }
        };
        let low = |value: i64| -> [u8; 4] {
            let [a, b, c, d, ..] = value.to_le_bytes();
            [a, b, c, d]
        };
        put(0, &[self.code]);
        put(4, &low(self.descriptor));
        put(8, &self.offset.to_le_bytes());
        put(16, &self.address.to_le_bytes());
        put(24, &low(self.length));
        put(28, &low(self.flags));
        bytes
    }
}

/// Offsets that the kernel tells of its rings (`struct io_uring_params`), in words of 32 bits.
const SQ_TAIL: usize = 11;
const SQ_ARRAY: usize = 16;
const CQ_ENTRIES: usize = 25;
const OFFSET_OF_OPERATIONS: i64 = 0x1000_0000;
const RING_BYTES: i64 = 4096;
const GET_EVENTS: i64 = 1;

/// Submits it and waits for what comes of it.
pub(crate) fn submit(operation: &Operation) -> Outcome {
    let mut parameters = [0_u32; 30];
    let ring = call(libc::SYS_io_uring_setup, [1, at_mut(&mut parameters)])?;
    let (rings, operations) = (map(ring, 0)?, map(ring, OFFSET_OF_OPERATIONS)?);
    let offset = |word: usize| parameters.get(word).map_or(0, |offset| *offset as usize);
    // SAFETY: both maps are of a page, larger than the rings of one entry, shared with the kernel, and never unmapped.
    // The kernel told the offsets, and reads the operation only after the tail was moved.
    let result = unsafe {
        operations.cast::<[u8; 64]>().write_volatile(operation.bytes());
        rings.byte_add(offset(SQ_ARRAY)).write_volatile(0);
        (*rings.byte_add(offset(SQ_TAIL)).cast::<AtomicU32>()).store(1, Ordering::Release);
        call(libc::SYS_io_uring_enter, [ring, 1, 1, GET_EVENTS, 0, 0])?;
        rings.byte_add(offset(CQ_ENTRIES) + 8).cast::<i32>().read_volatile()
    };
    if result < 0 { Err(error(-result)) } else { Ok(()) }
}

fn map(ring: i64, offset: i64) -> std::io::Result<*mut u32> {
    let protection = i64::from(libc::PROT_READ | libc::PROT_WRITE);
    let map = call(libc::SYS_mmap, [0, RING_BYTES, protection, i64::from(libc::MAP_SHARED), ring, offset])?;
    Ok(std::ptr::with_exposed_provenance_mut(usize::try_from(map).unwrap_or_default()))
}
