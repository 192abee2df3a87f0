//! A running `pawl maintain serve` beside a server, and an admin of it.
//!
//! Invariant: neither of its two processes outlives the value.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on should stop"
)]

use rustix::process::Signal;
use serde_json::Value;

use crate::clients::{Restic, Version};
use crate::clock::{Clock, Kernel};
use crate::command::{Finished, pawl, pawl_command};
use crate::program::Run;
use crate::server::{Credential, Server};
use crate::wait;

const READY: &str = "for maintenance data=";

/// A maintenance server.
#[derive(Debug)]
pub struct Maintenance {
    place: [String; 2],
    listen: Option<String>,
    run: Option<Run>,
    admin: Option<Credential>,
}

impl Maintenance {
    /// One that listens on a socket in the server's data directory.
    #[must_use]
    pub fn start(server: &Server) -> Self {
        Self::start_at(server, None)
    }

    /// One that restic of this version can reach: before 0.17 over TLS.
    #[must_use]
    pub fn for_version(server: &Server, version: Version) -> Self {
        Self::start_at(server, (version == Version::V0_14).then_some("127.0.0.1:0"))
    }

    fn start_at(server: &Server, listen: Option<&str>) -> Self {
        let place = server.place().map(str::to_owned);
        let mut door = Self { place, listen: listen.map(str::to_owned), run: None, admin: None };
        door.start_again();
        let added = door.run_command(&["admin", "add", "tester", "--json"]).expect_code(0).json();
        let text = |key: &str| added[key].as_str().map(str::to_owned);
        door.admin = Some(Credential {
            user: text("user").unwrap(),
            password: text("password").unwrap(),
            repository: text("url").unwrap(),
            ca_file: text("ca_file").map(Into::into),
        });
        door
    }

    /// Starts after [`Self::stop`] or [`Self::kill`].
    pub fn start_again(&mut self) {
        assert!(self.run.is_none(), "the server still runs");
        let mut command = pawl_command();
        command.args(["maintain", "serve"]).args(&self.place);
        if let Some(listen) = &self.listen {
            command.args(["--listen", listen]);
        }
        let mut run = Run::start(command);
        wait::until("the maintenance server listens", || {
            assert!(!run.has_ended(), "the maintenance server ended at start:\n{}", run.seen());
            run.seen().contains(READY).then_some(())
        });
        self.run = Some(run);
    }

    /// The admin who comes in here.
    #[must_use]
    pub fn admin(&self) -> &Credential {
        self.admin.as_ref().expect("an admin was added")
    }

    /// The admin's restic, for this repository.
    #[must_use]
    pub fn restic(&self, version: Version, repository: &str) -> Restic {
        self.restic_of(version, repository, self.admin())
    }

    /// Somebody's restic at this server.
    #[must_use]
    pub fn restic_of(&self, version: Version, repository: &str, who: &Credential) -> Restic {
        let here = self.admin();
        let repository = format!("{}{repository}/", here.repository);
        Restic::new(version, &Credential { repository, ca_file: here.ca_file.clone(), ..who.clone() })
    }

    /// What it has printed.
    #[must_use]
    pub fn seen(&self) -> String {
        self.run.as_ref().expect("the server runs").seen()
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(&mut self) {
        let run = self.run.take().expect("the server runs");
        run.signal(Signal::TERM);
        let _ = run.end().expect_code(0);
    }

    /// Kills it as `kill -9` does.
    pub fn kill(&mut self) {
        self.run.take().expect("the server runs").kill();
    }

    /// Runs `pawl maintain` with these arguments on the same data.
    #[must_use]
    pub fn run_command(&self, args: &[&str]) -> Finished {
        maintain(&self.place, args)
    }

    /// The batches that are pending, oldest first.
    #[must_use]
    pub fn deleted(&self) -> Vec<Value> {
        self.run_command(&["deleted", "--json"]).expect_code(0).json().as_array().unwrap().clone()
    }

    /// The name of the one batch that is pending.
    #[must_use]
    pub fn one_batch(&self) -> String {
        let deleted = self.deleted();
        assert!(deleted.len() == 1, "expected one batch: {deleted:?}");
        batch_of(&deleted[0])
    }
}

/// The name of a batch as `deleted --json` lists it.
#[must_use]
pub fn batch_of(listed: &Value) -> String {
    listed["batch"].as_str().expect("a batch has a name").to_owned()
}

/// Runs `pawl maintain` with these arguments on the data at this place.
#[must_use]
pub fn maintain<P: AsRef<std::ffi::OsStr>>(place: &[P; 2], args: &[&str]) -> Finished {
    let args = ["maintain"].iter().chain(args).map(std::ffi::OsStr::new);
    pawl(args.chain(place.iter().map(AsRef::as_ref)))
}

/// Runs it on a machine whose clock nothing corrects, and that is set to this, as `+15d` or a moment.
#[must_use]
pub fn maintain_at_time<P: AsRef<std::ffi::OsStr>>(time: &str, place: &[P; 2], args: &[&str]) -> Finished {
    start_at_time(time, place, args).end()
}

/// Starts it there.
#[must_use]
pub fn start_at_time<P: AsRef<std::ffi::OsStr>>(time: &str, place: &[P; 2], args: &[&str]) -> Run {
    start_by(&Clock::default().at(time).of(Kernel::Unsynchronised), place, args)
}

/// Runs it on a machine with this clock.
#[must_use]
pub fn maintain_by<P: AsRef<std::ffi::OsStr>>(clock: &Clock, place: &[P; 2], args: &[&str]) -> Finished {
    start_by(clock, place, args).end()
}

/// Starts it there.
#[must_use]
pub fn start_by<P: AsRef<std::ffi::OsStr>>(clock: &Clock, place: &[P; 2], args: &[&str]) -> Run {
    let mut command = pawl_command();
    command.arg("maintain").args(args).args(place).envs(clock.variables());
    Run::start(command)
}
