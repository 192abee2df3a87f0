//! The table `[maintenance.run]`: how `pawl maintain run` does its work.
//!
//! Invariant: a key is an option of that command and means the same, because the command line's own definition reads it.

use std::collections::BTreeMap;
use std::error::Error;

use clap::{Args, Command, FromArgMatches};
use jiff::civil::Time;
use pawl_policy::RepositoryName;
use serde::Deserialize;
use toml::{Table, Value};

use super::refused::{Refused, renamed};
use crate::run_settings::{RunSettings, Until};

const TABLE: &str = "maintenance.run";
/// Of these one is meant: whoever says one leaves the other.
const PASSWORDS: [&str; 2] = ["password_file", "password_command"];

/// How repositories are maintained.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// When the server begins the night, if it does.
    at: Option<Time>,
    general: RunSettings,
    repositories: BTreeMap<RepositoryName, RunSettings>,
}

impl Run {
    /// The time of the day at which `pawl serve` begins the night, by this machine's clock.
    #[must_use]
    pub const fn at(&self) -> Option<Time> {
        self.at
    }

    /// What is written for all.
    #[must_use]
    pub const fn general(&self) -> &RunSettings {
        &self.general
    }

    /// What is written for this one, with what is written for all behind it.
    #[must_use]
    pub fn of(&self, repository: &RepositoryName) -> &RunSettings {
        self.repositories.get(repository).unwrap_or(&self.general)
    }

    /// Whether this one has a table of its own.
    #[must_use]
    pub fn has_table(&self, repository: &RepositoryName) -> bool {
        self.repositories.contains_key(repository)
    }

    /// Repositories that have a table here, and are none of these; nothing where only some are `asked` for.
    #[must_use]
    pub fn unknown(&self, there: &[RepositoryName], asked: &[RepositoryName]) -> Vec<String> {
        let unknown = self.repositories.keys().filter(|name| asked.is_empty() && !there.contains(name));
        unknown.map(ToString::to_string).collect()
    }
}

/// The table as it is written.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Written {
    at: Option<String>,
    #[serde(default)]
    repositories: BTreeMap<String, Table>,
    #[serde(flatten)]
    general: Table,
}

impl Written {
    pub(super) fn check(self) -> Result<Run, Refused> {
        let at = self.at.as_deref().map(time_of_day).transpose()?;
        let general = settings("", &self.general)?;
        let mut repositories = BTreeMap::new();
        for (name, table) in self.repositories {
            let within = format!("repositories.\"{name}\".");
            let name = name.parse::<RepositoryName>();
            let name = name.map_err(|error| (TABLE, format!("{within} is no repository: {error}")))?;
            settings(&within, &table)?;
            let mut whole = self.general.clone();
            if PASSWORDS.iter().any(|key| table.contains_key(*key)) {
                whole.retain(|key, _| PASSWORDS.iter().all(|password| key != *password));
            }
            whole.extend(table);
            repositories.insert(name, settings(&within, &whole)?);
        }
        Ok(Run { at, general, repositories })
    }
}

fn time_of_day(text: &str) -> Result<Time, Refused> {
    match text.parse() {
        Ok(Until::Daily(time)) => Ok(time),
        _ => Err((TABLE, format!("at: expected a time of the day such as 03:30, found {text:?}"))),
    }
}

/// Reads a table as if it had been typed.
fn settings(within: &str, table: &Table) -> Result<RunSettings, Refused> {
    let command = RunSettings::augment_args(Command::new("run").no_binary_name(true));
    let mut words = Vec::new();
    for (key, value) in table {
        let refused = |why: String| (TABLE, format!("{within}{key}: {why}"));
        let of_key = typed(&command, key, value).map_err(refused)?;
        // Alone, so that an error is about this key.
        command.clone().try_get_matches_from(&of_key).map_err(|error| refused(reason(&error)))?;
        words.extend(of_key);
    }
    let refused = |error: clap::Error| (TABLE, format!("{within}{}", reason(&error)));
    let matches = command.try_get_matches_from(words).map_err(refused)?;
    let settings = RunSettings::from_arg_matches(&matches).map_err(refused)?;
    if settings.restic.password_file.as_ref().is_some_and(|path| !path.is_absolute()) {
        return Err((TABLE, format!("{within}password_file: expected an absolute path")));
    }
    if let Some(Until::Once(_)) = settings.until {
        let reason = "expected a time of the day such as 06:00; a moment is over for good, and is for the command line";
        return Err((TABLE, format!("{within}until: {reason}")));
    }
    Ok(settings)
}

/// The words that one would have typed for it.
fn typed(command: &Command, key: &str, value: &Value) -> Result<Vec<String>, String> {
    let options: Vec<_> = command
        .get_arguments()
        .filter_map(|option| option.get_long())
        .map(|it| it.replace('-', "_"))
        .collect();
    if !options.iter().any(|option| option == key) {
        return Err(match renamed(key) {
            Some(new) => format!("it is called {new} now"),
            None => format!("there is no such key; expected one of {}", options.join(", ")),
        });
    }
    let values = match value {
        Value::Array(values) => values.as_slice(),
        value => std::slice::from_ref(value),
    };
    let option = key.replace('_', "-");
    if let Value::Boolean(is_set) = value
        && command.get_arguments().any(|it| it.get_long() == Some(&option) && !it.get_action().takes_values())
    {
        return Ok(if *is_set { vec![format!("--{option}")] } else { Vec::new() });
    }
    let words = values.iter().map(|value| match value {
        Value::String(text) => Ok(format!("--{option}={text}")),
        Value::Integer(number) => Ok(format!("--{option}={number}")),
        other => Err(format!("expected a text, a number, or a list of these; found a {}", other.type_str())),
    });
    words.collect()
}

/// What is wrong, without what is only for whoever types.
fn reason(error: &clap::Error) -> String {
    if let Some(source) = error.source() {
        return source.to_string();
    }
    let text = error.to_string();
    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Run, String> {
        let written: Written = toml::from_str(text).unwrap();
        written.check().map_err(|(key, reason)| format!("{key}: {reason}"))
    }

    #[test]
    fn a_repository_overrides_key_by_key() {
        let run = check(
            "keep_daily = 14\nkeep_tag = ['a,b', 'c']\nkeep_last = 'unlimited'\npassword_command = 'pass it'\n\
             until = '06:00'\nbytes_per_second = '50MiB'\nmax_share = '30%'\ngroup_by = 'host'\ncheck_portions = 7\n\
             lock_wait = '1h'\nrestic = '/usr/bin/restic'\nassume_clock_synced = true\n\
             [repositories.'hosts/web1']\nkeep_daily = 30\npassword_file = '/etc/pawl/web1'\nassume_clock_synced = false",
        );
        let run = run.unwrap();
        let [general, web1] = [run.general(), run.of(&"hosts/web1".parse().unwrap())];
        assert_ne!(general.retention.keep.rules(), web1.retention.keep.rules());
        assert_eq!(general.retention.keep.rules().tags.len(), 2);
        assert_eq!(web1.retention.keep.rules().tags.len(), 2);
        assert_eq!((general.assume_clock_synced, web1.assume_clock_synced), (true, false));
        assert_eq!(general.restic.password_command.as_deref(), Some("pass it"));
        assert_eq!(web1.restic.password_command, None);
        assert!(web1.restic.password_file.is_some() && web1.until == general.until && web1.until.is_some());
        let other = run.of(&"db1".parse().unwrap());
        assert_eq!(other.retention.keep.rules(), general.retention.keep.rules());
    }

    #[test]
    fn errors_name_the_key_and_what_is_allowed() {
        for (text, wanted) in [
            (
                "keep_dayly = 1",
                "maintenance.run: keep_dayly: there is no such key; expected one of keep_last, ",
            ),
            ("password = 'secret'", "password: there is no such key"),
            ("keep-daily = 1", "keep-daily: there is no such key"),
            ("clock_is_right = true", "clock_is_right: it is called assume_clock_synced now"),
            ("max_share = '200%'", "max_share: expected 0% to 100%"),
            ("at = 'late'", "maintenance.run: at: expected a time of the day such as 03:30, found \"late\""),
            ("[repositories.web1]\nat = '03:30'", "at: there is no such key"),
            ("until = 'late'", "until: expected a time of the day"),
            ("until = '2099-11-22T05:00:00Z'", "maintenance.run: until: expected a time of the day"),
            (
                "[repositories.web1]\nuntil = '2099-11-22T05:00:00Z'",
                "repositories.\"web1\".until: expected a time of the day",
            ),
            ("check_portions = 0", "check_portions: expected 1 to 256"),
            ("lock_wait = true", "lock_wait: expected a text, a number, or a list of these; found a boolean"),
            ("assume_clock_synced = 1", "assume_clock_synced: "),
            ("lock_wait = ['1m', '2m']", "lock_wait: "),
            ("password_file = 'relative'", "password_file: expected an absolute path"),
            ("password_file = '/a'\npassword_command = 'b'", "cannot be used with"),
            ("[repositories.web1]\nkeep_last = 'some'", "repositories.\"web1\".keep_last: "),
            ("[repositories.'a//b']\nkeep_last = 1", "repositories.\"a//b\". is no repository"),
        ] {
            let error = check(text).unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
