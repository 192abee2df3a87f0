//! What is done on the disk while it records: hosts, restic and maintenance.
//!
//! Invariant: every answer is noted as a promise.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use pawl_tests::clients::{self, Restic, Version};
use pawl_tests::content::{id_of, noise};
use pawl_tests::http::Client;
use pawl_tests::maintenance::{Maintenance, maintain_at_time};
use pawl_tests::plain_user::PlainUser;
use pawl_tests::power::{Kind, Mounted, Position, Recorder};
use pawl_tests::random::Random;
use pawl_tests::server::Server;
use pawl_tests::store::{back_date, plant};

use super::promises::{Claim, Promises, files_below};

/// XFS makes none that is smaller than 300 MiB.
pub(crate) const DISK_BYTES: usize = 384 << 20;
const UPLOADERS: u64 = 4;
const UPLOADS_EACH: u64 = 30;
const FILE_BYTES_MIN: u64 = 4 << 10;
const FILE_BYTES_MAX: u64 = 2 << 20;
/// Each n-th upload is followed by a lock that is made, and every second of these is removed.
const LOCK_EVERY: u64 = 4;
const LOCK_BYTES: usize = 150;
const BACKUPS: u32 = 3;
/// Old enough for maintenance to delete.
const AGE: Duration = Duration::from_hours(24 * 10);

/// What was recorded.
pub(crate) struct Recording {
    pub(crate) kind: Kind,
    pub(crate) disk: Recorder,
    pub(crate) promises: Promises,
    /// When the file system had been made.
    pub(crate) begin: Position,
    /// When the last promise had been noted.
    pub(crate) end: Position,
}

/// How much is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    Uploads,
    Everything,
}

impl Recording {
    /// Makes a file system, works on it, and switches it off.
    pub(crate) fn make(kind: Kind, seed: u64, extent: Extent) -> Self {
        let disk = Recorder::new(DISK_BYTES);
        let mounted = Mounted::make(&disk.path(), kind);
        let plain = PlainUser::owning(mounted.path());
        let begin = disk.tape().position();
        let promises = Promises::on(disk.tape());
        let mut server = Server::build().data(&mounted.path().join("data")).start();
        let work = Work { server: &server, promises: &promises, seed };
        work.upload();
        if extent == Extent::Everything {
            work.maintain();
        }
        let end = disk.tape().position();
        assert_eq!(server.stop().code(), Some(0));
        drop((server, plain));
        Self { kind, disk, promises, begin, end }
    }
}

struct Work<'a> {
    server: &'a Server,
    promises: &'a Promises,
    seed: u64,
}

impl Work<'_> {
    /// Several connections, restic and `pawl host` at once.
    fn upload(&self) {
        let raw = self.host("raw");
        clients::initialise(&raw, "raw");
        self.promises.note_stored(self.server.data(), "raw");
        thread::scope(|scope| {
            for uploader in 0..UPLOADERS {
                let raw = &raw;
                scope.spawn(move || self.upload_files(raw, uploader));
            }
            scope.spawn(|| self.back_up());
            scope.spawn(|| self.begin_a_repository());
        });
    }

    fn host(&self, name: &str) -> Client {
        let credential = self.server.add_host(name, &["--total-quota", "1GiB"]);
        self.promises.note_host(&credential);
        self.server.client(&credential)
    }

    fn upload_files(&self, client: &Client, uploader: u64) {
        let mut random = Random::new(self.seed * 1000 + uploader);
        for number in 0..UPLOADS_EACH {
            let file_type =
                ["data", "data", "data", "index", "snapshots"][usize::try_from(random.below(5)).unwrap()];
            let content = noise(&format!("{} {uploader} {number}", self.seed), size(&mut random));
            self.store(client, file_type, content);
            if number % LOCK_EVERY == 0 {
                let lock = noise(&format!("lock {} {uploader} {number}", self.seed), LOCK_BYTES);
                let (name, content) = self.store(client, "locks", lock);
                if number % (2 * LOCK_EVERY) == 0 {
                    self.promises.note(&name, &content, Claim::Open);
                    assert_eq!(client.ask("DELETE", &format!("/{name}")).unwrap().status, 200);
                    self.promises.note(&name, &content, Claim::Gone);
                }
            }
        }
    }

    fn store(&self, client: &Client, file_type: &str, content: Vec<u8>) -> (String, Arc<Vec<u8>>) {
        let name = format!("raw/{file_type}/{}", id_of(&content));
        let content = Arc::new(content);
        assert_eq!(client.post(&format!("/{name}"), &content).unwrap().status, 200, "{name}");
        self.promises.note(&name, &content, Claim::Visible);
        (name, content)
    }

    /// Into a repository whose key opens quickly, as it is opened after each cut.
    fn back_up(&self) {
        let data = self.server.data();
        let credential = self.server.add_host("web1", &[]);
        self.promises.note_host(&credential);
        clients::initialise(&self.server.client(&credential), "web1");
        self.promises.note_stored(data, "web1");
        let restic = Restic::new(Version::V0_19, &credential);
        let files = restic.home().join("files");
        for number in 0..BACKUPS {
            plant(&files.join("changing"), &noise(&format!("{} {number}", self.seed), 1_500_000));
            plant(&files.join(number.to_string()), &noise(&format!("{} new {number}", self.seed), 50_000));
            restic.backup(&files);
            self.promises.note_stored(data, "web1");
        }
    }

    /// With `restic init`, by a host that is added while others store.
    fn begin_a_repository(&self) {
        let credential = self.server.add_host("new1", &[]);
        self.promises.note_host(&credential);
        let restic = Restic::new(Version::V0_19, &credential);
        restic.succeed(["init"]);
        self.promises.note_stored(self.server.data(), "new1");
        let files = restic.home().join("files");
        plant(&files.join("one"), &noise(&format!("{} one", self.seed), 200_000));
        restic.backup(&files);
        self.promises.note_stored(self.server.data(), "new1");
    }

    /// Prunes, undoes it, prunes again, and makes that final.
    fn maintain(&self) {
        for snapshot in files_below(&self.server.data().join("web1/snapshots")) {
            back_date(&snapshot, AGE);
        }
        let mut door = Maintenance::start(self.server);
        self.prune(&door);
        door.stop();
        let batch = door.one_batch();
        self.promises.note_change("web1", Claim::Hidden, Claim::Kept);
        let _ = door.run_command(&["undelete", &batch]).expect_code(0);
        self.promises.note_change("web1", Claim::Kept, Claim::Visible);

        door.start_again();
        self.prune(&door);
        door.stop();
        let place = self.server.place();
        self.promises.note_change("web1", Claim::Hidden, Claim::Open);
        for day in 1..=6 {
            let _ = maintain_at_time(&format!("+{day}d"), &place, &["purge", "--assume-clock-synced"]);
        }
        let purged = maintain_at_time("+15d", &place, &["purge", "--assume-clock-synced"]).expect_code(0);
        assert!(door.deleted().is_empty(), "{purged:?}");
        self.promises.note_change("web1", Claim::Open, Claim::Gone);
    }

    fn prune(&self, door: &Maintenance) {
        let admin = door.restic(Version::V0_19, "web1");
        self.promises.note_change("web1", Claim::Visible, Claim::Kept);
        admin.succeed(["forget", "--keep-last", "1", "--prune", "--max-unused", "0"]);
        self.promises.note_pruned(self.server.data(), "web1");
    }
}

/// Any order of magnitude is as likely as any other.
fn size(random: &mut Random) -> usize {
    let magnitude = random.below(u64::from((FILE_BYTES_MAX / FILE_BYTES_MIN).ilog2()));
    let size = FILE_BYTES_MIN << magnitude;
    usize::try_from(size + random.below(size)).unwrap()
}
