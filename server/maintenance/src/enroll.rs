//! `pawl maintain enroll`: one command after which a host, new or not, is backed up and maintained every night.
//!
//! Invariant: what is there stays as it is. Each step is left out where its result is there, so that the command can be
//! run again. No password is on a command line, and the host sees no key that opens with the management password.

use std::error::Error;
use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use futures_util::TryStreamExt;
use pawl_config::hint;
use pawl_config::print::{self, Outcome};
use pawl_config::restic_options::ResticOptions;
use pawl_policy::{Audience, FileId, FileType, Handle, PrincipalName, RepositoryName};
use pawl_store::AppendStore;
use pawl_store::maintenance::{Found, MaintenanceStore, Reason};
use serde::Deserialize;

use super::forget::trust_what_came_from_elsewhere;
use super::restic::{Address, Version};
use super::secret;
use super::server::PrivateServer;
use super::session::{self, Session};
use crate::command_line::Enroll;
use crate::restic::Restic;
use pawl_frontend::invitation::{self, Credential};

mod made;
mod night;

use made::Made;
use night::Night;

/// What restic says, of every version, when a password opens no key.
const WRONG_PASSWORD: [&str; 2] = ["wrong password", "no key found"];

/// What the command found out and did.
struct Enrolled {
    is_new: bool,
    given: Option<Given>,
    /// The password that was made for the host, if one was.
    password: Option<String>,
    /// Snapshots whose times are believed from now on.
    trusted: usize,
    credential: Credential,
}

/// Runs the command.
pub(super) fn run(options: &Enroll) -> Outcome {
    let repository = match &options.repository {
        Some(repository) => repository.clone(),
        None => options.name.as_str().parse().map_err(|error| {
            format!("'{}' cannot name a repository as well ({error}): give --repository", options.name)
        })?,
    };
    let given = options.password_file.clone().map(Given::read).transpose()?;
    session::act(&options.place, async |session| {
        let night = Night::of(&session.config, &repository, options)?;
        let version = Version::of(night.restic.program())?;
        let management = night.password()?;
        let made = Made::of(&session.config.data, &repository)?;
        let door = PrivateServer::open(session, &repository, version).await?;
        let restic = AtDoor { restic: &night.restic, address: door.address() };
        let opened = open(session, &repository, &restic, &management, (given.as_ref(), &made)).await;
        door.close().await?;
        let Opened { is_new, password } = opened?;
        let trusted = trust_what_came_from_elsewhere(session, &repository).await?;
        let credential = invitation::admit(&session.config, &options.name, &repository, &made.credential)?;
        let enrolled = Enrolled { is_new, given, password, trusted, credential };
        tell(&options.name, &repository, &enrolled)?;
        let written = night.write(&options.place);
        made.remove()?;
        written.tell(&session.config)
    })
}

/// What is known once hosts and management can open the repository.
struct Opened {
    is_new: bool,
    password: Option<String>,
}

/// Has the repository made if it is missing, and the keys added that are missing.
async fn open(
    session: &Session,
    repository: &RepositoryName,
    restic: &AtDoor<'_>,
    management: &[u8],
    (given, made): (Option<&Given>, &Made),
) -> Result<Opened, Box<dyn Error>> {
    let is_new = session.files.facts(repository, &Handle::Config).await?.is_none();
    if is_new {
        refuse_retired(session, repository).await?;
        restic.run(management, &["init"], None).await?;
    } else if !restic.opens(management).await? {
        let given = given.ok_or_else(|| {
            format!(
                "{repository} exists, and the management password opens none of its keys; expected --password-file with a \
                 password that opens it"
            )
        })?;
        if !restic.opens(&given.password).await? {
            return Err(format!(
                "the password in {} opens no key of {repository}; expected that of its `restic init`, on one line",
                given.file.display()
            )
            .into());
        }
        restic.add_key(&given.password, management).await?;
    }
    let password = given.is_none().then(|| made.password.clone());
    let of_host = given.map_or(made.password.as_bytes(), |given| &given.password);
    let mut before = keys(session, repository).await?;
    // One that was cut may have come as far as this.
    let added = if made.is_of_before && of_host != management { restic.key_of(of_host).await? } else { None };
    if before.iter().any(|(_, audience)| *audience == Audience::All) {
        return Ok(Opened { is_new, password: password.filter(|_| added.is_some()) });
    }
    match added {
        Some(added) => before.retain(|(key, _)| !key.to_string().starts_with(&added)),
        None => restic.add_key(management, of_host).await?,
    }
    for (key, _) in keys(session, repository).await?.iter().filter(|key| !before.contains(key)) {
        session.store.set_audience(repository, key, Audience::All).await?;
    }
    Ok(Opened { is_new, password })
}

/// A repository that was retired comes back by `undelete`; begun anew beside that it would be two in one.
async fn refuse_retired(session: &Session, repository: &RepositoryName) -> Outcome {
    let mut batches = session.store.batches().await?.into_iter();
    let Some(batch) =
        batches.find(|batch| batch.repository == *repository && batch.reason == Reason::Deleted)
    else {
        return Ok(());
    };
    Err(format!(
        "{repository} was deleted, and can still be brought back: `{}`. To begin anew, choose another \
         name with --repository",
        hint::pawl(format!("maintain undelete {}", batch.id))
    )
    .into())
}

/// The keys of a repository, and who sees them.
async fn keys(
    session: &Session,
    repository: &RepositoryName,
) -> Result<Vec<(FileId, Audience)>, Box<dyn Error>> {
    let mut keys = Vec::new();
    let mut walked = std::pin::pin!(session.store.walk(repository).await?);
    while let Some(batch) = walked.try_next().await? {
        keys.extend(batch.into_iter().filter_map(|found| match found {
            Found::File { handle: Handle::File(FileType::Keys, id), facts, .. } => Some((id, facts.audience)),
            Found::File { .. } | Found::Unexplained { .. } | Found::Foreign { .. } => None,
        }));
    }
    Ok(keys)
}

/// A key as restic lists it.
#[derive(Deserialize)]
struct ListedKey {
    current: bool,
    id: String,
}

/// The user's restic at the repository.
struct AtDoor<'a> {
    restic: &'a Restic,
    address: Address<'a>,
}

impl AtDoor<'_> {
    /// Whether this password opens a key.
    async fn opens(&self, password: &[u8]) -> Result<bool, Box<dyn Error>> {
        Ok(self.if_opens(password, &["cat", "config"]).await?.is_some())
    }

    /// The beginning of the id of the key that this password opens, if it opens one.
    async fn key_of(&self, password: &[u8]) -> Result<Option<String>, Box<dyn Error>> {
        let Some(listed) = self.if_opens(password, &["key", "list", "--json"]).await? else {
            return Ok(None);
        };
        let listed: Vec<ListedKey> = serde_json::from_str(&listed)?;
        Ok(listed.into_iter().find(|key| key.current).map(|key| key.id))
    }

    /// What a command prints, if this password opens a key.
    async fn if_opens(&self, password: &[u8], args: &[&str]) -> Result<Option<String>, Box<dyn Error>> {
        match self.run(password, args, None).await {
            Ok(printed) => Ok(Some(printed)),
            Err(error) if WRONG_PASSWORD.iter().any(|words| error.to_string().contains(words)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Adds a key that opens with `new`.
    async fn add_key(&self, password: &[u8], new: &[u8]) -> Outcome {
        self.run(password, &["key", "add", "--new-password-file", "/dev/stdin"], Some(new)).await.map(drop)
    }

    /// Runs a command, which may read from its standard input.
    async fn run(
        &self,
        password: &[u8],
        args: &[&str],
        input: Option<&[u8]>,
    ) -> Result<String, Box<dyn Error>> {
        let mut command = self.restic.command(&self.address);
        command.env_remove("RESTIC_PASSWORD_FILE").env_remove("RESTIC_PASSWORD_COMMAND");
        command.args(args).env("RESTIC_PASSWORD", OsStr::from_bytes(password));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let input = input.unwrap_or_default().to_owned();
        let program = self.restic.program().display().to_string();
        let run = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn()?;
            if let Some(mut pipe) = child.stdin.take() {
                let _ = pipe.write_all(&input); // if it does not read it, its own error says why
            }
            child.wait_with_output()
        });
        let output = run.await?.map_err(|error| format!("cannot start {program}: {error}; see --restic"))?;
        let Output { status, stdout, stderr } = output;
        if status.success() {
            return Ok(String::from_utf8_lossy(&stdout).into_owned());
        }
        let words = String::from_utf8_lossy(&stderr);
        let said: Vec<_> = args.iter().take(2).copied().collect();
        Err(format!("restic {} ended with {status}: {}", said.join(" "), words.trim()).into())
    }
}

/// The host's password for the repository, which somebody brings.
struct Given {
    file: PathBuf,
    password: Vec<u8>,
}

impl Given {
    fn read(file: PathBuf) -> Result<Self, String> {
        secret::refuse_shared(&file)?;
        let options = ResticOptions { password_file: Some(file.clone()), ..ResticOptions::default() };
        Ok(Self { file, password: Restic::from(options).password()? })
    }
}

/// Says what was done, and what to paste on the host.
fn tell(name: &PrincipalName, repository: &RepositoryName, enrolled: &Enrolled) -> Outcome {
    let Enrolled { is_new, given, password, trusted, credential } = enrolled;
    print::line(&match (is_new, given) {
        (true, None) => format!("{name} is enrolled. Its repository {repository} is new."),
        (true, Some(_)) => {
            format!(
                "{name} is enrolled. There was no repository {repository}: one was made with this password."
            )
        }
        (false, _) => format!("{name} is enrolled. Its repository {repository} was there already."),
    })?;
    if *trusted > 0 {
        print::line(&format!(
            "{trusted} of its snapshots came from elsewhere; their own times are believed from now on."
        ))?;
    }
    let access = match credential {
        Credential::New { lines } => {
            format!("On {name}, paste:\n\n{}\n", with_password(lines, password.as_deref()))
        }
        Credential::Granted => {
            format!("{name} can now use {repository} as well, with the credential that it has.")
        }
        Credential::There => format!("The credential of {name} stays as it is."),
    };
    print::line(&access)?;
    if password.is_some() {
        print::line(
            "These passwords are shown only now. Without RESTIC_PASSWORD nobody can restore: keep a copy elsewhere.",
        )?;
    } else if matches!(credential, Credential::New { .. }) {
        print::line(
            "The password in RESTIC_REPOSITORY is shown only now. restic asks for that of the repository.",
        )?;
    }
    Ok(())
}

/// The lines to paste, with the repository's password if it was made here.
fn with_password(lines: &str, password: Option<&str>) -> String {
    let Some(password) = password else { return lines.to_owned() };
    lines.replace("restic backup", &format!("export RESTIC_PASSWORD='{password}'\nrestic backup"))
}
