//! The rights of a plain user, for a test that has to be root only to prepare its ground.
//!
//! Invariant: root may write to read-only files, and a server may not: what is started meanwhile is no root.

#![expect(clippy::expect_used, clippy::missing_panics_doc, reason = "a test that cannot go on should stop")]

use std::os::unix::fs::chown;
use std::path::Path;

use rustix::fs::{Access, access};
use rustix::process::{Gid, Uid, getgroups};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::command::pawl_binary;

/// The user `nobody`, who owns no files.
const ID: u32 = 65534;

/// While there is one, this thread and all that it starts are a plain user's.
#[derive(Debug)]
pub struct PlainUser {
    groups: Vec<Gid>,
}

impl PlainUser {
    /// Gives up root's rights for a while, and root's place with them. `None` if that user cannot run Pawl where it was built.
    #[must_use]
    pub fn owning(place: &Path) -> Option<Self> {
        chown(place, Some(ID), Some(ID)).expect("root can give a directory away");
        std::fs::File::open(place).and_then(|place| place.sync_all()).expect("it is on the disk");
        let plain = Self { groups: getgroups().expect("a process has groups") };
        set_thread_groups(&[]).expect("root can leave its groups");
        set_thread_res_gid(Gid::from_raw(ID), Gid::from_raw(ID), Gid::ROOT)
            .expect("root can be another group");
        set_thread_res_uid(Uid::from_raw(ID), Uid::from_raw(ID), Uid::ROOT)
            .expect("root can be another user");
        let can_run = access(pawl_binary(), Access::EXEC_OK).is_ok();
        if !can_run {
            eprintln!("NOT TESTED as a plain user: uid {ID} cannot reach {}", pawl_binary().display());
        }
        can_run.then_some(plain)
    }
}

impl Drop for PlainUser {
    fn drop(&mut self) {
        set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).expect("it was root");
        set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).expect("it was root");
        set_thread_groups(&self.groups).expect("it was root");
    }
}
