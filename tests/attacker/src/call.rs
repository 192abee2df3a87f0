//! System calls by their number, as code writes them that was injected and has no library.
//!
//! Invariant: what a call returns is told as it is; a pointer that is passed points to memory that outlives the call.

use std::ffi::{CStr, CString};
use std::io;
use std::path::Path;

/// What an attempt came to: whether its decisive call went through.
pub(crate) type Outcome = io::Result<()>;

/// The current directory.
pub(crate) const CWD: i64 = libc::AT_FDCWD as i64;

/// Makes the call.
pub(crate) fn call<const N: usize>(number: i64, arguments: [i64; N]) -> io::Result<i64> {
    let mut all = [0_i64; 6];
    for (place, argument) in all.iter_mut().zip(arguments) {
        *place = argument;
    }
    let [first, second, third, fourth, fifth, sixth] = all;
    // SAFETY: the kernel checks every argument. Pointers are to values that the caller borrows for the whole call
    // and that are as large as the call expects; what is made of them, a hostile program accepts.
    let result = unsafe { libc::syscall(number, first, second, third, fourth, fifth, sixth) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Makes the call, for those whose value does not matter.
pub(crate) fn did<const N: usize>(number: i64, arguments: [i64; N]) -> Outcome {
    call(number, arguments).map(drop)
}

/// The address of a value.
pub(crate) fn at<T: ?Sized>(value: &T) -> i64 {
    (std::ptr::from_ref(value).cast::<u8>().expose_provenance() as u64).cast_signed()
}

/// The address of a value that the kernel writes to.
pub(crate) fn at_mut<T: ?Sized>(value: &mut T) -> i64 {
    (std::ptr::from_mut(value).cast::<u8>().expose_provenance() as u64).cast_signed()
}

/// The address of a text.
pub(crate) fn text(value: &CStr) -> i64 {
    at(value.to_bytes_with_nul())
}

/// A path as the kernel takes it.
pub(crate) fn path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_encoded_bytes()).unwrap_or_default()
}

/// An error of this number.
pub(crate) fn error(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

/// Opens; the descriptor stays open, as its process is about to end.
pub(crate) fn open(path: &CStr, flags: i32) -> io::Result<i64> {
    call(libc::SYS_openat, [CWD, text(path), i64::from(flags), 0o600])
}

/// Writes a few bytes that are in no backup.
pub(crate) fn write(descriptor: i64) -> Outcome {
    did(libc::SYS_write, [descriptor, at(b"destroyed"), 9])
}
