//! The line that fails, in front of moto.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use pawl_tests::bucket::{Bucket, Failure, Kind};
use pawl_tests::content::noise;
use pawl_tests::faults::{Fault, Faults, Which};
use pawl_tests::moto::Moto;

/// A bucket, the same through the line, and the line.
fn on_a_line(moto: &Moto) -> (Bucket, Bucket, Faults) {
    let line = Faults::in_front_of(moto.address());
    let bucket = moto.bucket("on-a-line", Kind::Versioned);
    let through = bucket.through(line.address());
    (bucket, through, line)
}

#[test]
fn without_a_rule_everything_passes() {
    let moto = Moto::shared();
    let (bucket, through, line) = on_a_line(&moto);
    let large = noise("large", 5_000_000);
    through.put("web1/data/a", &large).unwrap();
    assert!(through.get("web1/data/a").unwrap() == large);
    assert_eq!(through.list("web1/").unwrap(), ["web1/data/a"]);
    assert!(through.head("web1/data/a").is_ok());
    through.delete("web1/data/a").unwrap();
    assert_eq!(bucket.snapshot(), through.snapshot());
    assert_eq!(line.faults(), 0);
    assert!(
        line.seen().iter().any(|request| request.starts_with(&format!("PUT /{}/web1/data/a", bucket.name())))
    );
}

#[test]
fn a_chosen_request_is_answered_without_the_server() {
    let moto = Moto::shared();
    let (bucket, through, line) = on_a_line(&moto);
    line.add(Which::nth("PUT", "/data/*-b", 1), Fault::Answer(409, "ConditionalRequestConflict"));
    line.add(Which::all("HEAD", "/data/"), Fault::Answer(503, "SlowDown"));
    through.put_new("web1/data/1-b", b"1").unwrap();
    through.put_new("web1/data/2-a", b"2").unwrap();
    let refused = through.put_new("web1/data/3-b", b"3").unwrap_err();
    assert_eq!(refused, Failure::Answer { status: 409, code: "ConditionalRequestConflict".into() });
    through.put_new("web1/data/4-b", b"4").unwrap();
    assert_eq!(through.head("web1/data/4-b").unwrap_err().status(), Some(503));
    assert_eq!(line.faults(), 2);
    line.heal();
    assert!(through.head("web1/data/4-b").is_ok());
    assert_eq!(bucket.list("").unwrap(), ["web1/data/1-b", "web1/data/2-a", "web1/data/4-b"]);
}

#[test]
fn an_answer_is_lost_after_the_request_was_carried_out() {
    let moto = Moto::shared();
    let (bucket, through, line) = on_a_line(&moto);
    line.add(Which::first("PUT", ""), Fault::LoseAnswer);
    let lost = through.put_new("web1/config", b"kept").unwrap_err();
    assert!(matches!(lost, Failure::Line(_)), "{lost}");
    assert_eq!(bucket.get("web1/config").unwrap(), b"kept");
    line.add(Which::first("PUT", "/cut"), Fault::Cut);
    assert!(matches!(through.put_new("web1/cut", b"never seen").unwrap_err(), Failure::Line(_)));
    assert_eq!(bucket.list("").unwrap(), ["web1/config"]);
}

#[test]
fn a_client_that_is_killed_in_the_middle_of_an_upload_leaves_the_line_quiet() {
    let moto = Moto::shared();
    let (bucket, _, line) = on_a_line(&moto);
    let mut client = TcpStream::connect(line.address()).unwrap();
    let name = bucket.name();
    write!(client, "PUT /{name}/web1/config HTTP/1.1\r\nHost: s3\r\nContent-Length: 1000\r\n\r\nhalf")
        .unwrap();
    drop(client);
    line.wait_until_quiet();
    assert_eq!(bucket.list("").unwrap(), Vec::<String>::new());
}

#[test]
fn an_answer_is_cut() {
    let moto = Moto::shared();
    let (bucket, through, line) = on_a_line(&moto);
    bucket.put("web1/data/a", &noise("a", 300_000)).unwrap();
    line.add(Which::all("GET", "/data/a"), Fault::CutAnswer(200_000));
    assert!(matches!(through.get("web1/data/a").unwrap_err(), Failure::Line(_)));
    line.add(Which::first("GET", "versions"), Fault::CutAnswer(100));
    assert!(through.ask(|client| client.list_object_versions().bucket(bucket.name()).send()).is_err());
    assert_eq!(line.faults(), 2);
}

#[test]
fn a_condition_and_a_checksum_are_stripped() {
    let moto = Moto::shared();
    let (bucket, through, line) = on_a_line(&moto);
    line.add(Which::all("PUT", "").header("if-none-match: *"), Fault::StripHeader("if-none-match"));
    line.add(Which::all("GET", "/config"), Fault::StripAnswer("etag"));
    through.put_new("web1/config", b"first").unwrap();
    through.put_new("web1/config", b"second").unwrap();
    assert_eq!(bucket.snapshot().versions("web1/config").len(), 2, "the store ignores conditions");
    let get = |bucket: &Bucket| {
        bucket
            .ask(|client| client.get_object().bucket(bucket.name()).key("web1/config").send())
            .unwrap()
            .e_tag
    };
    assert!(get(&bucket).is_some());
    assert_eq!(get(&through), None);
}

#[test]
fn a_request_is_late_or_stands_still() {
    let moto = Moto::shared();
    let (_, through, line) = on_a_line(&moto);
    let time = Duration::from_millis(300);
    line.add(Which::first("PUT", "/late"), Fault::Delay(time));
    let before = Instant::now();
    through.put("late", b"late").unwrap();
    assert!(before.elapsed() >= time);

    line.add(Which::all("PUT", "/stalled"), Fault::Stall);
    thread::scope(|scope| {
        let upload = scope.spawn(|| through.put("stalled", &noise("stalled", 3_000_000)));
        line.wait_for_faults(2);
        assert!(!upload.is_finished());
        line.let_through();
        upload.join().unwrap().unwrap();
    });
    assert_eq!(through.get("stalled").unwrap().len(), 3_000_000);
}

#[test]
fn a_line_is_quiet_once_what_was_sent_has_been_carried_out() {
    let moto = Moto::shared();
    let (bucket, _, line) = on_a_line(&moto);
    line.add(Which::first("PUT", "/late"), Fault::Delay(Duration::from_millis(500)));
    // By somebody who is gone when it arrives.
    let mut client = TcpStream::connect(line.address()).unwrap();
    let name = bucket.name();
    write!(client, "PUT /{name}/late HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nlate").unwrap();
    drop(client);
    line.wait_until_quiet();
    assert_eq!(bucket.get("late").unwrap(), b"late");
}

#[test]
fn the_store_is_away_for_a_while() {
    let moto = Moto::shared();
    let (_, through, line) = on_a_line(&moto);
    through.put("web1/config", b"before").unwrap();
    line.go_away();
    assert!(matches!(through.get("web1/config").unwrap_err(), Failure::Line(_)));
    line.come_back();
    assert_eq!(through.get("web1/config").unwrap(), b"before");
}
