//! A disk that can only be read, as after an error: what is stored can be restored, and nothing else happens.
//!
//! Invariant: needs root to mount; says so loudly where it cannot.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::{Path, PathBuf};
use std::process::Command;

use pawl_tests::content::{id_of, noise};
use pawl_tests::not_tested;
use pawl_tests::server::Server;

/// A directory that was made read-only. Writable again with the end of the value.
struct ReadOnly(PathBuf);

impl ReadOnly {
    fn make(path: &Path) -> Self {
        let mount =
            |args: &[&str]| assert!(Command::new("mount").args(args).arg(path).status().unwrap().success());
        mount(&["--bind", path.to_str().unwrap()]);
        let made = Self(path.to_owned());
        mount(&["-o", "remount,ro,bind"]);
        made
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_server_on_a_read_only_disk_starts_and_restores() {
    if !rustix::process::geteuid().is_root() {
        not_tested("only root can mount");
        return;
    }
    for tls in [false, true] {
        let server = Server::build();
        let mut server = if tls { server.tls() } else { server }.start();
        let credential = server.add_host("web1", &[]);
        let pack = noise("a pack", 1000);
        let target = format!("/web1/data/{}", id_of(&pack));
        if !tls {
            let web1 = server.client(&credential);
            assert_eq!(web1.ask("POST", "/web1/?create=true").unwrap().status, 200);
            assert_eq!(web1.post(&target, &pack).unwrap().status, 200);
        }
        assert!(server.stop().success());
        let before = server.stored();
        let read_only = ReadOnly::make(server.data());
        server.start_again();
        if !tls {
            let web1 = server.client(&credential);
            assert_eq!(web1.ask("GET", &target).unwrap().body, pack);
            let more = noise("more", 1000);
            assert_eq!(web1.post(&format!("/web1/data/{}", id_of(&more)), &more).unwrap().status, 503);
        }
        assert!(server.stop().success());
        before.assert_unchanged(&server.stored());
        drop(read_only);
    }
}
