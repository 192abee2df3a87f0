//! What a program sees of the machine's clock: the time, and what the machine says of it.
//!
//! Invariant: the machine's own clock is left alone; only the program that is started sees another.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on should stop"
)]

use std::path::Path;
use std::process::Command;

use crate::shared::made_once;
use crate::store::plant_program;

/// What the kernel says of its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Something keeps it right.
    Synchronised,
    /// Nothing does.
    Unsynchronised,
    /// Nothing: a filter of system calls keeps the question away.
    Silent,
}

/// The variables that have a program see its clock so.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    preloaded: Vec<String>,
    variables: Vec<(String, String)>,
}

impl Clock {
    /// It shows this: `+15d`, `+` and a number of seconds, or a moment.
    #[must_use]
    pub fn at(mut self, time: &str) -> Self {
        let library = ["x86_64", "aarch64"]
            .map(|machine| format!("/usr/lib/{machine}-linux-gnu/faketime/libfaketime.so.1"))
            .into_iter()
            .find(|path| Path::new(path).exists())
            .unwrap_or_else(|| panic!("libfaketime is missing: run scripts/setup"));
        self.preloaded.push(library);
        self.and("FAKETIME", time).and("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    }

    /// The kernel says this of it.
    #[must_use]
    pub fn of(mut self, kernel: Kernel) -> Self {
        let library = made_once("kernel.so", |path| {
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/clock/kernel.c");
            let compiled =
                Command::new("gcc").args(["-shared", "-fPIC", "-o"]).arg(path).arg(source).status();
            assert!(compiled.is_ok_and(|status| status.success()), "gcc is missing: run scripts/setup");
        });
        self.preloaded.push(library.to_str().expect("a path in UTF-8").to_owned());
        match kernel {
            Kernel::Synchronised => self.and("KERNEL_CLOCK_ERROR", "20000"),
            Kernel::Unsynchronised => self.and("KERNEL_CLOCK_ERROR", "16000000"),
            Kernel::Silent => self,
        }
    }

    /// The `timedatectl` of the machine prints this, or fails as it does without D-Bus. It is made in this directory.
    #[must_use]
    pub fn and_timedatectl(self, directory: &Path, prints: Option<&str>) -> Self {
        let does = prints.map_or_else(|| "exit 1".to_owned(), |line| format!("echo {line}"));
        plant_program(&directory.join("timedatectl"), &format!("#!/bin/sh\n{does}\n"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        self.and("PATH", &format!("{}:{}", directory.display(), path.display()))
    }

    fn and(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The variables.
    #[must_use]
    pub fn variables(&self) -> Vec<(String, String)> {
        let preloaded =
            (!self.preloaded.is_empty()).then(|| ("LD_PRELOAD".to_owned(), self.preloaded.join(":")));
        self.variables.iter().cloned().chain(preloaded).collect()
    }
}
