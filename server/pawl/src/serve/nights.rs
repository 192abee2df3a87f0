//! The process that starts `pawl maintain run` every night, if the configuration says when.
//!
//! Invariant: it is started before this process is confined and has connections. It shares nothing with it, so that nothing
//! that runs here can end it without ending the server.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use pawl_config::Place;

/// Starts it.
pub(super) fn start(place: &Place) -> io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("pawl").args(["maintain", "nights", "--server", &std::process::id().to_string()]);
    command.args(place.args()).stdin(Stdio::null()).stdout(Stdio::null());
    command.process_group(0).spawn() // Ctrl-C is for the server
}

/// Tells of its end, which is an error: it ends after this process. Not before this process is confined, as a thread that
/// is there before is not.
pub(super) fn watch(mut nights: Child) {
    std::thread::spawn(move || {
        let status = nights.wait().map(|status| status.to_string()).unwrap_or_default();
        tracing::error!(status, "the process that runs the nights has ended; restart the server");
    });
}
