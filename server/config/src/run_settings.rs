//! How a repository is maintained: options of `pawl maintain run`, and keys of `[maintenance.run]`.
//!
//! Invariant: an option and its key have one definition; parsing has no effect.

use std::num::NonZeroU16;
use std::str::FromStr;

use bytesize::ByteSize;
use clap::Args;
use jiff::civil::Time;
use jiff::{Timestamp, Zoned};

use crate::lock_wait::LockWait;
use crate::restic_options::ResticOptions;
use crate::retention::Retention;

/// Unless told otherwise: what an index says and is not so has to be found while what a prune removed can be brought back.
const PORTIONS: NonZeroU16 = NonZeroU16::new(7).unwrap();
/// restic's own limit.
const PORTIONS_MAX: u16 = 256;

/// How a repository is maintained. In the configuration the keys are the options, with `_` for `-`.
#[derive(Debug, Clone, Default, Args)]
pub struct RunSettings {
    /// Which snapshots stay
    #[command(flatten)]
    pub retention: Retention,
    /// How restic is found, and told the password
    #[command(flatten)]
    pub restic: ResticOptions,
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
    pub assume_clock_synced: bool,
}

impl RunSettings {
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
            assume_clock_synced: self.assume_clock_synced || other.assume_clock_synced,
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
        let near = RunSettings { lock_wait: Some("1m".parse().unwrap()), ..RunSettings::default() };
        let mut far = RunSettings { lock_wait: Some("2m".parse().unwrap()), ..RunSettings::default() };
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
