//! The log: one line for each event, to standard error.
//!
//! Invariant: only Pawl's own events are written. Libraries log what they read from the network, credentials
//! included, so they are left out whatever the level.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

use crate::config::{Log, LogFormat, LogLevel};

/// Starts to log. Call once.
pub fn start(log: Log) {
    let filter = Targets::new().with_target("pawl", level(log.level));
    let color = log.format == LogFormat::Text && is_terminal();
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match log.format {
        LogFormat::Text => {
            fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(color).boxed()
        }
        LogFormat::Json => {
            fmt::layer().json().flatten_event(true).with_writer(std::io::stderr).with_target(false).boxed()
        }
    };
    tracing_subscriber::registry().with(layer.with_filter(filter)).init();
}

fn is_terminal() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none()
}

const fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
