//! A store that has no room, or none within a quota of its own.

use pawl_tests::bucket::Kind;
use pawl_tests::clients;
use pawl_tests::content::{id_of, noise};
use pawl_tests::faults::{Fault, Faults, Which};
use pawl_tests::moto::Moto;
use pawl_tests::server::Server;
use pawl_tests::status::{ON, Status};
use pawl_tests::wait;
use serde_json::json;

/// With the words of Ceph and of `MinIO`.
#[test]
fn a_store_without_room_is_full_until_it_takes_something() {
    let moto = Moto::shared();
    let line = Faults::in_front_of(moto.address());
    let bucket = moto.bucket("full", Kind::Versioned).through(line.address());
    let server = Server::build().bucket(&bucket).config(ON).start();
    let web1 = server.client(&clients::ready(&server, "web1"));
    let post = |content: &[u8]| web1.post(&format!("/web1/data/{}", id_of(content)), content).unwrap();
    let status = Status::of(&server);
    let wait_for = |code: u16, page: serde_json::Value| {
        wait::until("the server says so", || (status.json("/readyz") == (code, page.clone())).then_some(()));
    };
    wait_for(200, json!({"status": "ready"}));
    for (code, word) in [(403, "QuotaExceeded"), (507, "XMinioStorageFull")] {
        line.add(Which::all("PUT", "/data/"), Fault::Answer(code, word));
        // In one piece, and as it arrives.
        for bytes in [1000, 300_000] {
            let refused = post(&noise("pack", bytes));
            assert_eq!((refused.status, &*refused.reason), (507, "no space left on the server"), "{word}");
        }
        wait_for(503, json!({"status": "not ready", "cause": "no space left"}));
        let _ = server.log().wait_for_line(&["ERROR", "the store has no room", word]);
        line.heal();
        assert_eq!(post(&noise(word, 1000)).status, 200);
        wait_for(200, json!({"status": "ready"}));
    }
}
