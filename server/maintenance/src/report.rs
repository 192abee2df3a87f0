//! `pawl maintain report`: how all backups are, what somebody should look at, and what has to be there the next time.
//!
//! Invariant: it only reads, and takes no lock; of its own it keeps what has to be there the next time, and nothing else.

mod attention;
mod audited;
mod axis;
mod chart;
mod comparison;
mod delivery;
mod earlier;
mod expected;
mod gather;
mod model;
mod page;
mod remembered;
mod seen;
mod text;
mod webhook;
mod words;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use pawl_config::Config;
use pawl_config::files;
use pawl_config::print::{self, ExitStatus, Outcome};
use pawl_policy::RepositoryName;
use pawl_store::either::EitherMaintenance;
use pawl_store::now_ms;
use serde_json::json;

use super::session::{self, Session};
use crate::command_line;
use crate::state_file;
pub(super) use comparison::Comparison;
use expected::Last;
use gather::Basis;
use model::Report;
pub(super) use words::{need_attention, number};

/// The page is for whoever runs the command, and their group.
const PAGE_MODE: u32 = 0o640;

/// Whether the last report expects anything of a repository.
pub(super) fn expects(session: &Session, repository: &RepositoryName) -> Result<bool, String> {
    Ok(Last::load(&session.config.data)?.is_some_and(|last| last.expects(repository)))
}

/// The numbers of the last records that the next report looks for, by log; nothing if there was no report.
pub(super) fn told(data: &Path) -> Result<Option<BTreeMap<String, u64>>, String> {
    Ok(Last::load(data)?.map(|last| last.numbers()))
}

/// Has the next report expect nothing of a repository.
pub(super) fn expect_no_more(session: &Session, repository: &RepositoryName) -> Result<(), Box<dyn Error>> {
    let data = &session.config.data;
    if let Some(mut last) = Last::load(data)?.filter(|last| last.expects(repository)) {
        last.expect_no_more(repository);
        last.save(data)?;
    }
    Ok(())
}

/// Runs the command.
pub(super) fn run(options: &command_line::Report) -> Outcome {
    session::read(&options.place, async |config, store| {
        let made = make(&config, &store, options).await;
        let mut report = match made {
            Ok(report) => report,
            Err(error) => return failed(error.as_ref(), options),
        };
        let delivered = if options.deliver { hand_out(&mut report, &config).await } else { Ok(()) };
        say(&report, options)?;
        match (delivered, report.summary.exit) {
            (Err(error), _) => Err(ExitStatus { code: 2, message: error.to_string() }.into()),
            (Ok(()), 0) => Ok(()),
            (Ok(()), code) => Err(ExitStatus { code, message: String::new() }.into()),
        }
    })
    .map_err(|error| match error.downcast::<ExitStatus>() {
        Ok(ended) => (*ended).into(),
        Err(error) => ExitStatus { code: 2, message: error.to_string() }.into(),
    })
}

async fn make(
    config: &Config,
    store: &EitherMaintenance,
    options: &command_line::Report,
) -> Result<Report, Box<dyn Error>> {
    if options.deliver && !config.maintenance.report.is_delivered() {
        return Err("nobody is named to whom the report is delivered: set command or webhook in [maintenance.report] of the \
                    configuration"
            .into());
    }
    let basis = Basis::of(Last::load(&config.data), options.compare.as_deref())?;
    let report =
        Box::pin(gather::gather(store, config, &options.repositories, basis, options.acknowledge)).await?;
    if options.acknowledge {
        keep(&config.data, &Last::seen(&report))?;
    }
    if let Some(path) = &options.html {
        write_page(&std::path::absolute(path)?, &page::page(&report))?;
    }
    Ok(report)
}

/// It is put in place of a file; a device or a link that was named by mistake stays what it is.
fn write_page(path: &Path, page: &str) -> Result<(), Box<dyn Error>> {
    if std::fs::symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
        return Err(
            format!("{}: expected a file or nothing there, found something else", path.display()).into()
        );
    }
    Ok(files::replace(path, page, PAGE_MODE)?)
}

/// That there is no report is also said to whatever reads the last line.
fn failed(error: &dyn Error, options: &command_line::Report) -> Outcome {
    let said = json!({ "exit": 2, "error": error.to_string() });
    if options.json {
        print::json(&json!({ "summary": said }))?;
    } else {
        print::line(&format!("pawl-report: {said}"))?;
    }
    Err(ExitStatus { code: 2, message: error.to_string() }.into())
}

fn say(report: &Report, options: &command_line::Report) -> Outcome {
    if options.json {
        return print::json(report);
    }
    print::line(&text::text(report))
}

/// Hands the report to whom the configuration names, and keeps what the next one is compared with.
async fn hand_out(report: &mut Report, config: &Config) -> Result<(), Box<dyn Error>> {
    report.summary.delivered = true; // as whoever gets it reads it
    let delivered = delivery::deliver(report, &config.maintenance.report).await;
    let kept = match &delivered {
        Ok(()) => {
            let before = Last::load(&config.data).ok().flatten();
            keep(&config.data, &Last::delivered(report, before.as_ref()))
        }
        Err(_) => Ok(()),
    };
    report.summary.note_delivery(delivered.is_ok() && kept.is_ok());
    delivered.map_err(|error| format!("the report was not delivered: {error}"))?;
    kept
}

fn keep(data: &Path, last: &Last) -> Result<(), Box<dyn Error>> {
    state_file::own_directory(data).map_err(|error| error.to_string())?;
    last.save(data)?;
    Ok(())
}

/// Makes a report, compared with this file or else with the last, and hands it out, where somebody is named for that. What
/// is missing has to be there the next time as well: only `--acknowledge` says that somebody has looked.
pub(super) async fn deliver(
    store: &EitherMaintenance,
    config: &Config,
    compare: Option<&Path>,
) -> Result<Delivered, Box<dyn Error>> {
    let last = Last::load(&config.data);
    let basis = Basis::of(last.clone(), compare)?;
    let mut report = Box::pin(gather::gather(store, config, &[], basis, false)).await?;
    let to_somebody = config.maintenance.report.is_delivered();
    if to_somebody {
        hand_out(&mut report, config).await?;
    } else if let Ok(last) = last {
        keep(&config.data, &Last::kept(&report, last.as_ref()))?;
    }
    Ok(Delivered { to_somebody, attention: report.summary.attention })
}

/// When somebody last said that they have looked, in Unix milliseconds; nothing if nobody did, or that cannot be read.
pub(super) fn looked_ms(data: &Path) -> Option<u64> {
    Last::load(data).ok().flatten()?.looked_ms().filter(|looked_ms| *looked_ms <= now_ms())
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delivered {
    /// Whether it was handed out; otherwise nobody is named for that.
    pub(super) to_somebody: bool,
    /// At how much somebody should look.
    pub(super) attention: usize,
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use pawl_config::Config;
    use pawl_store::local::LocalMaintenance;

    use super::*;

    struct Place {
        data: tempfile::TempDir,
        store: EitherMaintenance,
        config: Config,
    }

    /// A directory with a repository that has one snapshot.
    #[expect(clippy::disallowed_methods, reason = "stands in for the keeper")]
    fn place() -> (Place, PathBuf) {
        let data = tempfile::tempdir().unwrap();
        for name in ["data", "index", "keys", "locks", "snapshots"] {
            std::fs::create_dir_all(data.path().join("web1").join(name)).unwrap();
        }
        std::fs::write(data.path().join("web1/config"), "x").unwrap();
        let snapshot = data.path().join("web1/snapshots").join("5f".repeat(32));
        std::fs::write(&snapshot, "x").unwrap();
        let store = EitherMaintenance::Local(LocalMaintenance::open_for_reading(data.path()).unwrap());
        let config = Config::for_data(data.path().to_owned());
        (Place { data, store, config }, snapshot)
    }

    async fn losses(place: &Place) -> usize {
        let basis = Basis::of(Last::load(&place.config.data), None).unwrap();
        gather::gather(&place.store, &place.config, &[], basis, false).await.unwrap().summary.missing
    }

    async fn told(place: &Place) -> Delivered {
        deliver(&place.store, &place.config, None).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    #[expect(clippy::disallowed_methods, reason = "stands in for somebody with the disk")]
    async fn what_is_missing_is_missed_until_somebody_says_that_they_have_looked() {
        let (mut place, snapshot) = place();
        assert_eq!(losses(&place).await, 0, "there was no report yet");
        assert!(!told(&place).await.to_somebody);
        std::fs::remove_file(snapshot).unwrap();
        assert_eq!(losses(&place).await, 1);
        assert!(matches!(told(&place).await, Delivered { to_somebody: false, attention: 1.. }));
        assert_eq!(losses(&place).await, 1, "nobody was told");
        place.config.maintenance.report.command = Some(vec!["/bin/false".to_owned()]);
        assert!(deliver(&place.store, &place.config, None).await.is_err());
        assert_eq!(losses(&place).await, 1, "whoever was to be told did not hear it");
        place.config.maintenance.report.command = Some(vec!["/bin/true".to_owned()]);
        for _ in 0..2 {
            assert!(matches!(told(&place).await, Delivered { to_somebody: true, attention: 1.. }));
            assert_eq!(losses(&place).await, 1, "a letter is not somebody who looked");
        }
        let basis = Basis::of(Last::load(&place.config.data), None).unwrap();
        let seen = gather::gather(&place.store, &place.config, &[], basis, true).await.unwrap();
        keep(&place.config.data, &Last::seen(&seen)).unwrap();
        assert_eq!(losses(&place).await, 0);
        let kept = std::fs::metadata(place.data.path().join(".pawl/maintenance")).unwrap().permissions();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&kept) & 0o777, 0o700);
    }

    /// Compared with what was kept elsewhere, where Pawl's own copy was changed.
    #[tokio::test(flavor = "multi_thread")]
    #[expect(clippy::disallowed_methods, reason = "stands in for somebody with the disk")]
    async fn a_report_is_compared_with_the_file_that_is_named() {
        let (place, snapshot) = place();
        let basis = Basis::of(Ok(None), None).unwrap();
        let made = gather::gather(&place.store, &place.config, &[], basis, false).await.unwrap();
        let elsewhere = place.data.path().join("elsewhere.json");
        std::fs::write(&elsewhere, serde_json::to_string(&made.expected).unwrap()).unwrap();
        std::fs::remove_file(snapshot).unwrap();
        let without = told(&place).await.attention;
        let with = deliver(&place.store, &place.config, Some(&elsewhere)).await.unwrap();
        assert_eq!(with.attention, without + 1);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "makes what is to be written over")]
    fn a_page_takes_the_place_of_a_file_and_of_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        std::fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        write_page(&file, "new").unwrap();
        assert_eq!(std::fs::read_to_string(file).unwrap(), "new");
        assert!(write_page(&link, "new").is_err() && write_page(dir.path(), "new").is_err());
    }
}
