//! Carries out a script's statements, one after the other.
//!
//! Invariant: a request is sent exactly once, when its code is checked.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Fault, Line, checks, expression};
use crate::content::{basic, key_file};
use crate::http::{Body, Connection, Request, Response};
use crate::server::{Builder, Credential, Server};
use crate::store::Stored;

type Outcome<T = ()> = Result<T, String>;

/// What is to be sent.
#[derive(Debug)]
enum Pending {
    Request { who: String, request: Request },
    Raw(Vec<u8>),
}

/// What came back: an answer, or why there was none.
pub(super) type Answer = Result<Response, String>;

/// Everything that a statement can refer to.
#[derive(Debug)]
pub(super) struct World {
    server: Server,
    credentials: BTreeMap<String, Credential>,
    pending: Option<(usize, Pending)>,
    answer: Option<Answer>,
    mark: Option<Stored>,
}

pub(super) fn run(lines: &[Line], mut builder: Builder) -> Result<(), Fault> {
    let is_config = |line: &&Line| line.text.starts_with("config ");
    for line in lines.iter().take_while(is_config) {
        builder = builder.config(line.text.trim_start_matches("config "));
    }
    let mut world = World::start(builder);
    for line in lines.iter().skip_while(is_config) {
        let done = world.replaced(&line.text).and_then(|text| world.step(line.number, &text));
        done.map_err(|why| {
            let log = world.server.log().text();
            let why = format!("{}\n  {why}\n--- the server's log:\n{log}---", line.text);
            Fault { line: line.number, why }
        })?;
    }
    match world.pending {
        Some((line, _)) => Err(Fault { line, why: "a request without a check of its code".to_owned() }),
        None => Ok(()),
    }
}

impl World {
    fn start(builder: Builder) -> Self {
        let server = builder.start();
        Self { server, credentials: BTreeMap::new(), pending: None, answer: None, mark: None }
    }

    /// The line with all that stands in braces replaced.
    fn replaced(&self, line: &str) -> Outcome<String> {
        let mut line = line.replace("{address}", &self.server.address().to_string());
        for (name, credential) in &self.credentials {
            line = line.replace(&format!("{{password of {name}}}"), &credential.password);
            let header = basic(&credential.user, &credential.password);
            line = line.replace(&format!("{{credential of {name}}}"), &header);
        }
        expression::replace(&line)
    }

    fn step(&mut self, number: usize, text: &str) -> Outcome {
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        let of_request = match verb {
            "send" | "chunked" | "cut" | "code" => true,
            "body" => checks::is_content(rest),
            _ => false,
        };
        if self.pending.is_some() && !of_request {
            return Err("the request before this has no check of its code".to_owned());
        }
        match verb {
            "as" => {
                let (who, request) = rest.split_once(' ').ok_or("as WHO METHOD TARGET")?;
                let (method, target) = request.split_once(' ').ok_or("as WHO METHOD TARGET")?;
                let request = Request::new(method, target);
                self.pending = Some((number, Pending::Request { who: who.to_owned(), request }));
                Ok(())
            }
            "raw" => {
                self.pending = Some((number, Pending::Raw(expression::content(rest)?)));
                Ok(())
            }
            "send" => {
                let (name, value) = rest.split_once(": ").ok_or("send NAME: VALUE")?;
                self.request()?.headers.push((name.to_owned(), value.to_owned()));
                Ok(())
            }
            "body" if of_request => self.set_body(Body::Sized(expression::content(rest)?)),
            "chunked" => self.set_body(Body::Chunked(expression::content(rest)?)),
            "cut" => {
                let (sent, rest) = rest.split_once(' ').ok_or("cut BYTES CONTENT")?;
                let sent = sent.parse().map_err(|_| "cut BYTES CONTENT")?;
                self.set_body(Body::Cut { content: expression::content(rest)?, sent })
            }
            "code" => {
                let (_, pending) = self.pending.take().ok_or("there is no request to send")?;
                let answer = self.send(pending)?;
                checks::code(rest, &answer)?;
                self.answer = Some(answer);
                Ok(())
            }
            "reason" | "header" | "allows" | "body" | "json" => match &self.answer {
                Some(Ok(response)) => checks::response(verb, rest, response),
                Some(Err(_)) | None => Err("there was no answer".to_owned()),
            },
            "stored" | "absent" | "aside" | "fact" | "mode" => checks::file(verb, rest, &self.server),
            "mark" => {
                self.mark = Some(self.server.stored());
                Ok(())
            }
            "unchanged" | "kept" => {
                let mark = self.mark.as_ref().ok_or("there is no mark before this")?;
                let now = self.server.stored();
                let wrong = if verb == "kept" { mark.losses(&now) } else { mark.differences(&now) };
                if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n  ")) }
            }
            "log" => {
                self.server.stop();
                checks::log(rest, &self.server.log().bytes())
            }
            _ => self.arrange(verb, rest),
        }
    }

    /// The statements that make a situation.
    fn arrange(&mut self, verb: &str, rest: &str) -> Outcome {
        match verb {
            "host" => {
                let mut words = rest.split_whitespace();
                let name = words.next().ok_or("host NAME")?;
                let options: Vec<&str> = words.collect();
                let credential = self.server.add_host(name, &options);
                self.credentials.insert(name.to_owned(), credential);
                Ok(())
            }
            "init" => {
                let (repository, who) = rest.split_once(" as ").ok_or("init REPOSITORY as WHO")?;
                self.init(repository, who)
            }
            "plant" => {
                let (name, content) = rest.split_once(' ').ok_or("plant FILE CONTENT")?;
                self.server.plant(name, &expression::content(content)?);
                Ok(())
            }
            "remove" => {
                self.server.remove(rest);
                Ok(())
            }
            "age" => {
                let (name, minutes) = rest.split_once(' ').ok_or("age FILE MINUTES")?;
                let minutes = minutes.parse().map_err(|_| "age FILE MINUTES")?;
                self.server.back_date(name, Duration::from_mins(minutes));
                Ok(())
            }
            "set" => {
                let (name, fact) = rest.split_once(' ').ok_or("set FILE FACT = VALUE")?;
                let (fact, value) = fact.split_once(" = ").ok_or("set FILE FACT = VALUE")?;
                self.server.set_fact(name, fact, value);
                Ok(())
            }
            "restart" => {
                self.server.stop();
                self.server.start_again();
                Ok(())
            }
            "config" => Err("config comes before everything else".to_owned()),
            _ => Err("unknown statement".to_owned()),
        }
    }

    fn init(&self, repository: &str, who: &str) -> Outcome {
        let client = self.server.client(self.credential(who)?);
        let key = key_file("the first key");
        let requests = [
            (format!("/{repository}/?create=true"), Vec::new()),
            (format!("/{repository}/keys/{}", crate::content::id_of(&key)), key),
            (format!("/{repository}/config"), b"the config".to_vec()),
        ];
        for (target, content) in requests {
            match client.post(&target, &content) {
                Ok(response) if response.status == 200 => {}
                other => return Err(format!("POST {target}: {other:?}")),
            }
        }
        Ok(())
    }

    fn credential(&self, who: &str) -> Outcome<&Credential> {
        self.credentials.get(who).ok_or_else(|| format!("there is no host {who}"))
    }

    fn request(&mut self) -> Outcome<&mut Request> {
        match &mut self.pending {
            Some((_, Pending::Request { request, .. })) => Ok(request),
            Some((_, Pending::Raw(_))) | None => Err("there is no request before this".to_owned()),
        }
    }

    fn set_body(&mut self, body: Body) -> Outcome {
        self.request()?.body = body;
        Ok(())
    }

    fn send(&self, pending: Pending) -> Outcome<Answer> {
        match pending {
            Pending::Request { who, request } => {
                let client = match who.as_str() {
                    "nobody" => self.server.nobody(),
                    _ => self.server.client(self.credential(&who)?),
                };
                Ok(client.send(request).map_err(|error| error.to_string()))
            }
            Pending::Raw(bytes) => {
                let open = Connection::open(self.server.address());
                let mut connection = open.map_err(|error| error.to_string())?;
                // The server may answer and close before it has read all.
                let _ = connection.send_bytes(&bytes);
                Ok(connection.receive("GET").map_err(|error| error.to_string()))
            }
        }
    }
}
