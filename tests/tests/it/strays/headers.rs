//! A batch whose header cannot be read.

use pawl_tests::bucket::{Access, Kind};
use pawl_tests::clients::{Restic, Version, ready};
use pawl_tests::content::noise;
use pawl_tests::maintenance::{batch_of, maintain, maintain_at_time};
use pawl_tests::moto::Moto;
use pawl_tests::s3::S3;
use pawl_tests::server::Server;
use pawl_tests::store::plant;

use super::step;

/// Two hosts, of each of which a snapshot was deleted; returns the batches.
pub(crate) fn two_batches(server: &Server) -> [String; 2] {
    ["web1", "db1"].map(|name| {
        let restic = Restic::new(Version::V0_19, &ready(server, name));
        plant(&restic.home().join("files/one"), &noise(name, 10_000));
        let snapshots = [(); 2].map(|()| restic.report_of_backup(&restic.home().join("files"), &[]).snapshot);
        let file = format!("snapshots/{}", snapshots[0]);
        let args = ["delete", name, &file, "--below-floor", "--json"];
        let _ = maintain(&server.place(), &args).expect_code(0);
        let deleted = maintain(&server.place(), &["deleted", "--json"]).expect_code(0).json();
        let mut batches = deleted.as_array().unwrap().iter();
        batch_of(batches.find(|batch| batch["repository"] == name).unwrap())
    })
}

fn costs_itself_alone(server: &Server) {
    let place = server.place();
    let [broken, whole] = two_batches(server);
    let header = format!(".pawl/deleted/{broken}/batch.json");
    let right = String::from_utf8(server.content(&header).unwrap()).unwrap();
    for wrong in [String::new(), right.replace("\"deleted\"", "\"reorganised\"")] {
        assert_ne!(wrong, right);
        server.plant(&header, wrong.as_bytes());
        let is_named = |text: &str| text.contains(&header) && text.contains(&broken);

        let verified = maintain(&place, &["verify"]);
        assert!(verified.code == Some(0) || server.bucket().is_some(), "{verified:#?}");
        let deleted = maintain(&place, &["deleted", "--json"]).expect_code(1);
        assert_eq!(deleted.json()[0]["batch"], whole.as_str(), "{deleted:#?}");
        assert!(is_named(&deleted.stderr), "{deleted:#?}");

        let run = maintain(&place, &["run", "--json"]).expect_code(2);
        assert!(is_named(run.json()["error"].as_str().unwrap()), "{run:#?}");
        assert_eq!(step(&run.json(), "db1", "purge").0, "well", "{run:#?}");
        let report = maintain(&place, &["report", "--json"]).expect_code(1).json();
        let attention = report["attention"].as_array().unwrap();
        assert!(attention.iter().any(|line| is_named(line["text"].as_str().unwrap())), "{report:#}");

        let refused = maintain(&place, &["undelete", &broken]).expect_code(1);
        assert!(is_named(&refused.stderr), "{refused:#?}");
        let purged = maintain_at_time("+30d", &place, &["purge", "--assume-clock-synced"]).expect_code(1);
        assert!(is_named(&purged.stderr), "{purged:#?}");
    }
    // What it holds was not touched.
    server.plant(&header, right.as_bytes());
    let back = maintain(&place, &["undelete", &broken, "--json"]).expect_code(0).json();
    assert_eq!(back["brought_back"], 1, "{back:#}");
}

/// A184: Somebody who can write one file makes the header of a batch unreadable, and so ends maintenance of all repositories.
#[test]
fn a_header_that_cannot_be_read_costs_its_batch_alone() {
    costs_itself_alone(&Server::start());
}

#[test]
fn a_header_in_a_bucket_that_cannot_be_read_costs_its_batch_alone() {
    let s3 = S3::Moto(Moto::shared());
    let bucket = s3.bucket("pawl", Kind::Versioned);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("credentials");
    let Access { key, secret, .. } = bucket.access();
    let credentials = format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n");
    plant(&file, credentials.as_bytes());
    let table = format!("[maintenance]\ncredentials_file = \"{}\"", file.display());
    costs_itself_alone(&Server::build().bucket(&bucket).config(&table).start());
}
