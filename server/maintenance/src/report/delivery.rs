//! Handing the report to a command or a webhook.
//!
//! Invariant: whoever takes it has a time limit, and learns nothing but the report; no secret is in an error.

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use pawl_config::Format;
use rustix::process::{Pid, Signal, kill_process_group};

use super::model::Report;
use super::{page, text, webhook};

/// How often it is looked whether a command has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a command says when it fails is repeated so far, in bytes.
const SAID_BYTES_MAX: u64 = 2000;
/// What it said is there as soon as it has ended, unless something that it left behind could still say more.
const SAID_WITHIN: Duration = Duration::from_secs(10);

/// Variables that a command gets, with what they hold if they are not set: what it takes to find programs and to write
/// letters.
const VARIABLES: [(&str, &str); 2] =
    [("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("LANG", "C.UTF-8")];

/// Hands the report to all whom the configuration names. If one fails, the others have it nevertheless.
pub(super) async fn deliver(report: &Report, to: &pawl_config::Report) -> Result<(), Box<dyn Error>> {
    let timeout = to.timeout();
    let mut failures = Vec::new();
    if let Some(words) = to.command.clone() {
        let content = content(report, to.format.unwrap_or(Format::Text))?;
        let ran = tokio::task::spawn_blocking(move || run(&words, &content, timeout)).await?;
        failures.extend(ran.err());
    }
    if let Some(url) = &to.webhook {
        let format = to.webhook_format.unwrap_or(Format::Json);
        let content = content(report, format)?;
        let posted = webhook::post(url, format, content, to.webhook_token_file.as_deref(), timeout).await;
        failures.extend(posted.err().map(|error| error.to_string()));
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("; ").into()) }
}

/// The report in this form.
fn content(report: &Report, format: Format) -> Result<String, serde_json::Error> {
    Ok(match format {
        Format::Text => format!("{}\n", text::text(report)),
        Format::Json => format!("{}\n", serde_json::to_string(report)?),
        Format::Html => page::page(report),
    })
}

/// Runs a program with this on its standard input.
fn run(words: &[String], content: &str, timeout: Duration) -> Result<(), String> {
    let Some((program, args)) = words.split_first() else { return Err("the command is empty".to_owned()) };
    let failed = |why: String| format!("command {program:?}: {why}");
    let mut command = Command::new(program);
    command.args(args).env_clear().process_group(0).current_dir("/");
    for (name, otherwise) in VARIABLES {
        command.env(name, std::env::var_os(name).unwrap_or_else(|| otherwise.into()));
    }
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| failed(format!("it does not start: {error}")))?;
    // What is said is read, and what is asked for written, as long as the program has not ended: threads that wait longer,
    // for something that it left behind, are waited for by nobody.
    let (told, hear) = std::sync::mpsc::channel();
    if let Some(errors) = child.stderr.take() {
        std::thread::spawn(move || {
            let (mut errors, mut said) = (errors, Vec::new());
            let _ = (&mut errors).take(SAID_BYTES_MAX).read_to_end(&mut said); // what there is
            let _ = told.send(String::from_utf8_lossy(&said).trim().to_owned()); // or nobody listens any more
            let _ = std::io::copy(&mut errors, &mut std::io::sink());
        });
    }
    let content = content.to_owned();
    let input = child.stdin.take();
    std::thread::spawn(move || {
        // A program that does not read all of it says by its exit code whether that is an error.
        let _ = input.map(|mut input| input.write_all(content.as_bytes()));
    });
    let status = wait(&mut child, timeout).map_err(|error| failed(error.to_string()))?;
    match status {
        None => Err(failed(format!("it did not end within {} s, and was stopped", timeout.as_secs()))),
        Some(status) if status.success() => Ok(()),
        Some(status) => {
            let said = hear.recv_timeout(SAID_WITHIN).unwrap_or_default();
            let why = if said.is_empty() { said } else { format!(": {}", super::words::Words::from(said)) };
            Err(failed(format!("it ended with {status}{why}")))
        }
    }
}

/// How a program ended; nothing if it was killed because it took too long.
fn wait(child: &mut Child, timeout: Duration) -> std::io::Result<Option<ExitStatus>> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() >= timeout {
            kill_process_group(Pid::from_child(child), Signal::KILL)?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
