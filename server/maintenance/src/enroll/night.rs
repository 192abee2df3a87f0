//! What a repository's nights need: a password of management's, rules, and a time. What is missing is made and written down.
//!
//! Invariant: nothing that the configuration says is changed. What is written is understood before it takes its place.

use std::error::Error;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use pawl_config::Config;
use pawl_config::Place;
use pawl_config::files;
use pawl_config::hint;
use pawl_config::print::{self, ExitStatus, Outcome};
use pawl_frontend::credentials::Secret;
use pawl_policy::RepositoryName;
use pawl_policy::retention::Rules;

use crate::command_line::Enroll;
use crate::restic::Restic;
use crate::secret;
use crate::state_file;

/// The rules of whoever has none: two weeks, two months and a year.
const RULES: [&str; 3] = ["keep_daily = 14", "keep_weekly = 8", "keep_monthly = 12"];
/// When the night begins unless somebody says otherwise.
const AT: &str = "at = \"03:30\"";
const TABLE: &str = "[maintenance.run]";
/// The configuration's mode, if it is new.
const MODE: u32 = 0o640;

/// What the nights of a repository need.
pub(super) struct Night {
    /// How restic is found, and told the management password.
    pub(super) restic: Restic,
    /// Lines for the table that the configuration lacks.
    lacks: Vec<String>,
}

/// What became of the lines.
pub(super) enum Written {
    /// Nothing was missing.
    Nothing,
    To(PathBuf),
    /// Somebody else has to write them, for this reason.
    Refused {
        path: PathBuf,
        why: String,
        lines: Vec<String>,
    },
}

impl Night {
    /// What there is for a repository, and what is missing.
    pub(super) fn of(
        config: &Config,
        repository: &RepositoryName,
        options: &Enroll,
    ) -> Result<Self, Box<dyn Error>> {
        let settings = config.maintenance.run.of(repository);
        let mut restic = settings.restic.clone();
        let mut lacks = Vec::new();
        if !restic.knows_password() {
            let file = state_file::directory(&config.data).join("management.password");
            lacks.push(format!("password_file = {}", quoted(&file)));
            restic.password_file = Some(file);
        }
        if let (Some(program), None) = (&options.restic, &restic.restic) {
            lacks.push(format!("restic = {}", quoted(&std::path::absolute(program)?)));
        }
        restic.restic = options.restic.clone().or(restic.restic);
        if settings.retention.keep.rules() == Rules::default() {
            lacks.extend(RULES.map(str::to_owned));
        }
        if !lacks.is_empty() && config.maintenance.run.at().is_none() && config.keeper.is_none() {
            lacks.insert(0, AT.to_owned());
        }
        Ok(Self { restic: restic.into(), lacks })
    }

    /// The management password, which is made if the file for it is missing.
    pub(super) fn password(&self) -> Result<Vec<u8>, Box<dyn Error>> {
        if let Some(file) = &self.restic.options.password_file {
            if !file.exists() {
                files::make(file, &format!("{}\n", Secret::generate()?.reveal()), 0o600)?;
            }
            secret::refuse_shared(file)?;
        }
        Ok(self.restic.password()?)
    }

    /// Writes what is missing into the configuration.
    pub(super) fn write(self, place: &Place) -> Written {
        let Some(path) = place.file().filter(|_| !self.lacks.is_empty()) else { return Written::Nothing };
        match add(&path, &self.lacks, place) {
            Ok(()) => Written::To(path),
            Err(error) => Written::Refused { path, why: error.to_string(), lines: self.lacks },
        }
    }
}

/// Adds lines to the table, and takes them back if the configuration is not understood with them.
fn add(path: &Path, lines: &[String], place: &Place) -> Result<(), Box<dyn Error>> {
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned()); // not the link that leads there
    let before = files::read(path)?;
    let mode = std::fs::metadata(path).map_or(MODE, |metadata| metadata.permissions().mode() & 0o777);
    files::replace(path, &with_lines(before.as_deref().unwrap_or_default(), lines), mode)?;
    place.configuration().map(drop).map_err(|error| {
        let taken_back = files::replace(path, before.as_deref().unwrap_or_default(), mode);
        taken_back.err().map_or_else(|| error.to_string(), |worse| format!("{error}; {worse}")).into()
    })
}

/// The text with these lines in the table.
fn with_lines(text: &str, lines: &[String]) -> String {
    let block = format!("{}\n", lines.join("\n"));
    let mut read = 0;
    for line in text.split_inclusive('\n') {
        read += line.len();
        if line.split('#').next().unwrap_or_default().trim() == TABLE {
            let (above, below) = text.split_at(read);
            let end = if above.ends_with('\n') { "" } else { "\n" };
            return format!("{above}{end}{block}{below}");
        }
    }
    let gap = if text.is_empty() { "" } else { "\n" };
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{end}{gap}{TABLE}\n{block}")
}

/// A path as TOML has it.
fn quoted(path: &Path) -> String {
    toml::Value::String(path.display().to_string()).to_string()
}

impl Written {
    /// Says what happens tonight, and what is still to be done for it.
    pub(super) fn tell(&self, config: &Config) -> Outcome {
        match self {
            Self::Nothing => {}
            Self::To(path) => print::line(&format!("\n{} has the settings of the night.", path.display()))?,
            Self::Refused { path, why, lines } => print::line(&format!(
                "\nThe settings of the night could not be written ({why}). Add to {}:\n\n{TABLE}\n{}",
                path.display(),
                lines.join("\n")
            ))?,
        }
        let begin = match (self, &config.keeper, config.maintenance.run.at()) {
            (Self::Refused { .. }, ..) => {
                let message = "without these settings no night prunes this repository".to_owned();
                return Err(ExitStatus { code: 1, message }.into());
            }
            (_, Some(_), _) => "pawl-maintain.timer begins the night.".to_owned(),
            (Self::To(_), None, None) => {
                "`pawl serve` begins the night at 03:30; one that runs notices that.".to_owned()
            }
            (_, None, Some(at)) => {
                let at = at.strftime("%H:%M");
                format!("`pawl serve` begins the night at {at}; one that runs notices new settings.")
            }
            (Self::Nothing, None, None) => {
                format!("Nothing begins the night yet: `{}`.", hint::pawl("maintain run"))
            }
        };
        let days = config.maintenance.purge_delay_days();
        print::line(&format!(
            "{begin}\nEach night verifies, forgets, prunes and checks. Deletions can be undone for {days} days.\n\
             How all backups are: {}",
            hint::pawl("maintain report")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_join_the_table_that_is_there_or_make_one() {
        let lines = ["keep_daily = 14".to_owned()];
        assert_eq!(with_lines("", &lines), "[maintenance.run]\nkeep_daily = 14\n");
        assert_eq!(
            with_lines("data = '/srv'\n[log]", &lines),
            "data = '/srv'\n[log]\n\n[maintenance.run]\nkeep_daily = 14\n"
        );
        assert_eq!(
            with_lines("[maintenance.run] # nights\nuntil = '06:00'\n[log]\n", &lines),
            "[maintenance.run] # nights\nkeep_daily = 14\nuntil = '06:00'\n[log]\n"
        );
        assert_eq!(with_lines("[maintenance.run]", &lines), "[maintenance.run]\nkeep_daily = 14\n");
    }
}
