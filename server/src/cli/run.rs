//! The command line of `pawl maintain run`, whose settings can be written into the configuration as well.
//!
//! Invariant: as for all of the command line, parsing has no effect.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::str::FromStr;

use bytesize::ByteSize;
use clap::Args;
use jiff::civil::Time;
use jiff::{Timestamp, Zoned};
use pawl_policy::RepositoryName;

use super::{LockWait, Place, Retention, UsersRestic};
use crate::maintenance::Step;

/// Help beyond the options.
pub(super) const HELP: &str = "\
Examples:
  pawl maintain run --data ./pawl-data     # with the settings that `enroll` wrote; without any: verify, restore, purge
  pawl maintain run --keep-daily 14 --keep-weekly 8 --keep-monthly 12 \\
      --password-file management.password --data ./pawl-data
  pawl maintain run web1 db1 --until 06:00 --bytes-per-second 50MiB --config /etc/pawl/pawl.toml
  pawl maintain run web1 --only forget,prune --config /etc/pawl/pawl.toml   # at once, with the settings of the night
  pawl maintain run --json --config /etc/pawl/pawl.toml

In every repository: verify, restore what is damaged and has a good copy, compare with the last report, purge what is due,
open what is new and hide what restic would choke on, forget, prune, `restic check` of one portion; in the end a report is
handed out. A surprise (damage that stays, an error of restic's) ends the work in its repository, and the others go on;
nothing is purged where verify found damage. Rules that would take more than --max-share stop forget alone. Without keep rules nothing is forgotten,
and pruned only what was deleted. What is removed can be brought back, as always: `pawl maintain undelete`.

Settings can be written into the configuration, for all repositories and for single ones; the command line goes before
both. In a file of passwords one line is the password, and nobody but its owner may read it:
  [maintenance.run]
  password_file = \"/etc/pawl/management.password\"
  keep_daily = 14
  until = \"06:00\"
  [maintenance.run.repositories.\"db1\"]
  keep_daily = 30

Cut at any moment it goes on where it was, if it is run again within 12 hours. It ends at --until, by SIGTERM and by Ctrl-C
alike: restic removes its locks, and what is left is done first the next time. Two runs never work at once.

Its last line is for programs: `pawl-run: ` and JSON. The keys, which --json has as well, with the steps beside them:
  exit          the exit code
  repositories  how many there were; well, notices, failed: how many of these ended how. Those of which something is
                left are none of the well ones
  left          steps for which there was no time
  ended_by      \"until\" or \"signal\" if it was ended, else null
  resumed       whether it went on with a run that was cut
  delivered     whether a report was handed out ([maintenance.report])
  attention     at how many things somebody should look, which `pawl maintain report` lists: also at what this run is not
                about, such as a host that sends no backups
  began, seconds
  unknown       repositories that the configuration has a table for, and that are not there
  error         why nothing was done, else null
Exit code: 0 if all is well, 1 if somebody should look at something, as `notices`, `attention` or `unknown` say, 2 if
something could not be done.";

/// Unless told otherwise: what an index says and is not so has to be found while what a prune removed can be brought back.
const PORTIONS: NonZeroU16 = NonZeroU16::new(7).unwrap();
/// restic's own limit.
const PORTIONS_MAX: u16 = 256;

/// Options of `pawl maintain run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Repositories [default: all]
    #[arg(value_name = "REPOSITORY")]
    pub repositories: Vec<RepositoryName>,
    /// Do only these steps: verify, restore, compare, purge, examine, forget, prune or check; several with commas
    #[arg(long, value_name = "STEP,…", value_enum, value_delimiter = ',', hide_possible_values = true)]
    pub only: Vec<Step>,
    /// What can be written into the configuration as well
    #[command(flatten)]
    pub settings: Settings,
    /// Compare with the JSON of an earlier report, kept on another machine, instead of the last that Pawl keeps itself
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Data directory or configuration
    #[command(flatten)]
    pub place: Place,
}

/// How a repository is maintained. In the configuration the keys are the options, with `_` for `-`.
#[derive(Debug, Clone, Default, Args)]
pub struct Settings {
    /// Which snapshots stay
    #[command(flatten)]
    pub retention: Retention,
    /// How restic is found, and told the password
    #[command(flatten)]
    pub restic: UsersRestic,
    /// Begin nothing after this time of the day, the next time that this machine's clock shows it, such as 06:00, or after
    /// a moment that lies ahead, such as 2026-11-22T05:00:00Z, and end what then goes on
    #[arg(long, value_name = "HH:MM")]
    pub until: Option<Until>,
    /// Read at most so many bytes a second, such as 100MiB
    #[arg(long, value_name = "SIZE")]
    pub bytes_per_second: Option<ByteSize>,
    /// Wait so long for others' locks [default: 2h]
    #[arg(long, value_name = "TIME")]
    pub lock_wait: Option<LockWait>,
    /// In so many runs `restic check` reads all data once [default: 7]
    #[arg(long, value_name = "NUMBER")]
    pub check_portions: Option<Portions>,
    /// Purge although this machine does not say whether its clock is synchronised: the clock is right
    #[arg(long)]
    pub clock_is_right: bool,
}

impl Settings {
    /// The same, with the other's where nothing is said.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self {
            retention: self.retention.or(&other.retention),
            restic: self.restic.or(&other.restic),
            until: self.until.or(other.until),
            bytes_per_second: self.bytes_per_second.or(other.bytes_per_second),
            lock_wait: self.lock_wait.or(other.lock_wait),
            check_portions: self.check_portions.or(other.check_portions),
            clock_is_right: self.clock_is_right || other.clock_is_right,
        }
    }
}

/// When work has to be over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// The next time that the clock on the wall shows this.
    Daily(Time),
    /// Then.
    Once(Timestamp),
}

impl FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_time = text.len() == 5 && text.as_bytes().get(2) == Some(&b':');
        if let (true, Ok(time)) = (is_time, text.parse()) {
            return Ok(Self::Daily(time));
        }
        text.parse().map(Self::Once).map_err(|_| {
            "expected a time of the day such as 06:00, or a moment such as 2026-11-22T05:00:00Z".to_owned()
        })
    }
}

impl Until {
    /// The moment, which lies ahead.
    pub fn moment(self, now: &Zoned) -> Result<Timestamp, String> {
        match self {
            Self::Once(moment) if moment > now.timestamp() => Ok(moment),
            Self::Once(moment) => Err(format!(
                "until: expected a moment that lies ahead, found {moment}, and now it is {:.0}; say a later one, or a time \
                 of the day such as 06:00, which is taken as the next",
                now.timestamp()
            )),
            Self::Daily(time) => next(time, now).map_err(|error| format!("until: {error}")),
        }
    }
}

/// The next time that the clock on the wall shows this.
fn next(time: Time, now: &Zoned) -> Result<Timestamp, jiff::Error> {
    let today = now.date().to_datetime(time).to_zoned(now.time_zone().clone())?;
    if today > *now {
        return Ok(today.timestamp());
    }
    let tomorrow = now.date().tomorrow()?.to_datetime(time).to_zoned(now.time_zone().clone())?;
    Ok(tomorrow.timestamp())
}

/// Of how many portions `restic check` reads one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Portions(NonZeroU16);

impl Default for Portions {
    fn default() -> Self {
        Self(PORTIONS)
    }
}

impl FromStr for Portions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.parse().ok().filter(|portions: &NonZeroU16| portions.get() <= PORTIONS_MAX);
        parsed.map(Self).ok_or_else(|| format!("expected 1 to {PORTIONS_MAX}"))
    }
}

impl Portions {
    /// How many.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0.get().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn until_is_the_next_time_that_the_clock_shows() {
        let now: Zoned = "2026-11-21T05:30:00+01:00[+01:00]".parse().unwrap();
        let moment = |text: &str| text.parse::<Until>().unwrap().moment(&now).unwrap().to_string();
        assert_eq!(moment("06:00"), "2026-11-21T05:00:00Z");
        assert_eq!(moment("05:30"), "2026-11-22T04:30:00Z");
        assert_eq!(moment("00:00"), "2026-11-21T23:00:00Z");
        assert_eq!(moment("2026-11-21T04:30:01Z"), "2026-11-21T04:30:01Z");
        for past in ["2026-11-01T00:00:00Z", "2026-11-21T04:30:00Z", "2026-11-21T05:30:00+01:00"] {
            let refused = past.parse::<Until>().unwrap().moment(&now).unwrap_err();
            assert!(refused.contains("lies ahead") && refused.contains("2026-11-21T04:30:00Z"), "{refused}");
        }
        for text in ["6", "6:00", "24:00", "06:00:00", "", "tomorrow", "-1:00"] {
            assert!(text.parse::<Until>().is_err(), "{text}");
        }
    }

    #[test]
    fn portions_are_told_restic_in_its_words() {
        assert_eq!("256".parse::<Portions>().unwrap().get(), 256);
        for text in ["0", "257", "-1", "7/7"] {
            assert!(text.parse::<Portions>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_said_nearer_goes_before() {
        let near = Settings { lock_wait: Some("1m".parse().unwrap()), ..Settings::default() };
        let mut far = Settings { lock_wait: Some("2m".parse().unwrap()), ..Settings::default() };
        far.check_portions = Some("7".parse().unwrap());
        far.restic.password_command = Some("pass".to_owned());
        let both = near.or(&far);
        assert_eq!(both.lock_wait, near.lock_wait);
        assert_eq!(both.check_portions, far.check_portions);
        let mut with_file = near;
        with_file.restic.password_file = Some("/file".into());
        assert_eq!(with_file.or(&far).restic.password_command, None);
    }
}
