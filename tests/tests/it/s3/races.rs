//! Several servers on one bucket, and many writers who want the same names.
//!
//! Invariant: what a writer was told is compared with every version in the bucket, and with what each server answers.

use std::sync::Barrier;
use std::thread;

use pawl_tests::bucket::{Bucket, Kind};
use pawl_tests::clients;
use pawl_tests::command::pawl_command;
use pawl_tests::content::{id_of, noise};
use pawl_tests::http::{Client, Response};
use pawl_tests::moto::Moto;
use pawl_tests::on_each_s3;
use pawl_tests::program::Run;
use pawl_tests::rgw::Rgw;
use pawl_tests::s3::S3;
use pawl_tests::server::{Server, key_of};

on_each_s3!(
    writers_at_one_server_who_want_the_same_names_are_all_answered,
    writers_at_one_server_make_one_config,
);

const WRITERS: usize = 16;
const ROUNDS: usize = 4;

/// Servers on the same bucket, and for each a client that uses `web1`.
struct Servers {
    bucket: Bucket,
    running: Vec<(Server, Client)>,
}

impl Servers {
    /// One, on a store that may let several win.
    fn one(s3: &S3) -> Self {
        let bucket = s3.bucket("races", Kind::Versioned);
        let server = Server::build().bucket(&bucket).start();
        Self::with(bucket, vec![server])
    }

    /// Two, on a store that lets one win.
    fn two(moto: &Moto) -> Self {
        let bucket = moto.bucket("races", Kind::Versioned);
        let servers = [(); 2].map(|()| Server::build().bucket(&bucket).one_of_many().start());
        Self::with(bucket, servers.into())
    }

    fn with(bucket: Bucket, servers: Vec<Server>) -> Self {
        let with_client = |server: Server| {
            let client = server.add_client("web1", &[]);
            (server, client)
        };
        Self { bucket, running: servers.into_iter().map(with_client).collect() }
    }

    fn clients(&self) -> impl Iterator<Item = &Client> + Clone {
        self.running.iter().map(|(_, client)| client)
    }

    /// What each writer is told, spread over the servers, when all send at once.
    fn all_at_once(&self, target: &str, content: impl Fn(usize) -> Vec<u8> + Sync) -> Vec<Response> {
        let all_are_ready = Barrier::new(WRITERS);
        thread::scope(|scope| {
            let writers: Vec<_> = self
                .clients()
                .cycle()
                .take(WRITERS)
                .enumerate()
                .map(|(number, client)| {
                    let (content, all_are_ready) = (&content, &all_are_ready);
                    scope.spawn(move || {
                        let content = content(number);
                        all_are_ready.wait();
                        client.post(target, &content).unwrap()
                    })
                })
                .collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        })
    }

    /// Everybody wants to store the same content. All are told that it is stored, and it is, once.
    fn race_for_the_same_content(&self, file_type: &str, bytes: usize) {
        for round in 0..ROUNDS {
            let content = noise(&format!("{file_type} {bytes} {round}"), bytes);
            let file = format!("web1/{file_type}/{}", id_of(&content));
            let answers = self.all_at_once(&format!("/{file}"), |_| content.clone());
            let told: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
            assert_eq!(told, [200; WRITERS], "{file}");
            let stored = self.bucket.snapshot();
            let versions = stored.versions(&key_of(&file));
            let [version] = versions else { panic!("{file}: {} versions", versions.len()) };
            assert!(version.content.as_ref() == Some(&content), "{file}");
            for client in self.clients() {
                assert!(client.ask("GET", &format!("/{file}")).unwrap().body == content, "{file}");
            }
        }
    }

    fn race_for_all_types(&self) {
        clients::initialise(self.clients().next().unwrap(), "web1");
        for (file_type, bytes) in [("data", 1 << 10), ("data", 1 << 20), ("index", 1 << 10), ("locks", 200)] {
            self.race_for_the_same_content(file_type, bytes);
        }
    }

    /// Everybody wants another `config`. One gets it, the others learn that there is one, and all see the same.
    fn race_for_config(&self) {
        for client in self.clients().take(1) {
            assert_eq!(client.ask("POST", "/web1/?create=true").unwrap().status, 200);
        }
        let config = |number: usize| format!("the config of writer {number}").into_bytes();
        let answers = self.all_at_once("/web1/config", config);
        let winners: Vec<usize> = (0..WRITERS).filter(|&number| answers[number].status == 200).collect();
        let [winner] = winners[..] else { panic!("not one winner: {answers:?}") };
        for loser in answers.iter().filter(|answer| answer.status != 200) {
            let known =
                ["append-only: repository is already initialised", "append-only: config exists and differs"];
            assert!(loser.status == 403 && known.contains(&loser.reason.as_str()), "{loser:?}");
        }
        for client in self.clients() {
            assert_eq!(client.ask("GET", "/web1/config").unwrap().body, config(winner));
        }
        let stored = self.bucket.snapshot();
        let [version] = stored.versions(&key_of("web1/config")) else {
            panic!("not one version: {stored:?}")
        };
        assert_eq!(version.content, Some(config(winner)));
    }
}

fn writers_at_one_server_who_want_the_same_names_are_all_answered(s3: &S3) {
    Servers::one(s3).race_for_all_types();
}

fn writers_at_one_server_make_one_config(s3: &S3) {
    Servers::one(s3).race_for_config();
}

#[test]
fn writers_at_two_servers_who_want_the_same_names_are_all_answered() {
    let moto = Moto::shared();
    Servers::two(&moto).race_for_all_types();
}

#[test]
fn writers_at_two_servers_make_one_config() {
    let moto = Moto::shared();
    Servers::two(&moto).race_for_config();
}

/// Keys and files that one server has stored are seen at the other at once.
#[test]
fn what_one_server_stored_the_other_shows() {
    let moto = Moto::shared();
    let servers = Servers::two(&moto);
    let [(_, here), (_, there)] = &servers.running[..] else { panic!("two servers") };
    clients::initialise(here, "web1");
    for file_type in ["keys", "data", "index", "snapshots", "locks"] {
        let listed = |client: &Client| {
            let answer = client.ask("GET", &format!("/web1/{file_type}/")).unwrap();
            assert_eq!(answer.status, 200, "{file_type}");
            let mut names: Vec<String> = serde_json::from_slice(&answer.body).unwrap();
            names.sort();
            names
        };
        if file_type != "keys" {
            let content = noise(file_type, 1000);
            let target = format!("/web1/{file_type}/{}", id_of(&content));
            assert_eq!(here.post(&target, &content).unwrap().status, 200);
            assert!(listed(there).contains(&id_of(&content)), "{file_type}");
        }
        assert_eq!(listed(here), listed(there), "{file_type}");
    }
    assert_eq!(there.ask("POST", "/web1/?create=true").unwrap().status, 200);
    assert_eq!(here.ask("GET", "/web1/config").unwrap().status, 200);
}

/// The store lets several conditional writers of one name win, so that nothing but one server may decide.
#[test]
#[ignore = "needs Ceph RGW: scripts/test --full"]
fn several_servers_are_refused_where_several_writers_win() {
    let s3 = S3::Rgw(Rgw::running());
    let bucket = s3.bucket("refused", Kind::Versioned);
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("pawl.toml");
    let text = format!(
        "data = {:?}\nlisten = \"127.0.0.1:0\"\n[s3]\nbucket = {:?}\nendpoint = {:?}\ninstances = \"many\"\n\
         accept = [\"powerful-credential\"]\n",
        dir.path().join("data").to_str().unwrap(),
        bucket.name(),
        bucket.endpoint_url()
    );
    pawl_tests::store::plant(&config, text.as_bytes());
    let mut command = pawl_command();
    command.args(["serve", "--config"]).arg(&config);
    command
        .env("AWS_ACCESS_KEY_ID", &bucket.access().key)
        .env("AWS_SECRET_ACCESS_KEY", &bucket.access().secret);
    // Ends at the deadline of all waiting if the server starts.
    let refused = Run::start(command).end();
    assert_ne!(refused.code, Some(0), "{refused:#?}");
    for words in ["lets several writers of one name win", "s3.instances = \"one\""] {
        assert!(refused.stderr.contains(words), "{refused:#?}");
    }
}
