//! The report as a page for a browser.
//!
//! Invariant: it fetches nothing and runs nothing, and says so to the browser; all text goes through the template, which
//! escapes it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::model::{Grade, Report, Repository};
use super::words::{Moment, Words, number, size};
use super::{chart, seen, text};

use pawl_config::hint;

const STYLE: &str = include_str!("page.css");

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    let title = format!("Backups, {}", report.made);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="referrer" content="no-referrer";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) } // it is this program's own
            }
            body {
                (head(report))
                @for (at, repository) in report.repositories.iter().enumerate() {
                    (of_repository(at, repository, report))
                }
                (frees(report))
                (refused(report))
                (audit(report))
                (store(report))
                (adversaries(report))
                (expected(report))
            }
        }
    };
    page.into_string()
}

/// Nothing but this one style sheet.
fn policy() -> String {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'")
}

fn head(report: &Report) -> Markup {
    let all = &report.summary;
    html! {
        header {
            h1 { "Backups" }
            p.soft {
                "Report of " time datetime=(report.made) { (report.made) } " by Pawl " (report.version)
                @if let Some(compared) = &report.compared {
                    "; compared with " (Words::from(&compared.with)) ", made " (compared.made)
                }
            }
            @if report.attention.is_empty() {
                p.verdict { "Nothing needs attention." }
            } @else {
                ul.attention {
                    @for attention in &report.attention {
                        li.loss[attention.grade == Grade::Loss] {
                            b { (attention.grade.word()) } " "
                            @if let Some(name) = &attention.repository { strong { (name) } ": " }
                            (attention.text)
                        }
                    }
                }
            }
            dl.numbers {
                @for (what, how_many) in [
                    ("repositories", all.repositories.to_string()),
                    ("snapshots", all.snapshots.to_string()),
                    ("stored", size(all.bytes)),
                    ("to be freed", size(all.pending_bytes)),
                    ("held snapshots", all.held.to_string()),
                    ("refused attempts", all.refused.to_string()),
                ] {
                    div { dt { (what) } dd { (how_many) } }
                }
            }
            nav aria-label="Contents" {
                ul {
                    @for (at, repository) in report.repositories.iter().enumerate() {
                        li { a href=(format!("#repository-{at}")) { (repository.name) } }
                    }
                    @for (id, title, _) in SECTIONS { li { a href=(format!("#{id}")) { (title) } } }
                }
            }
        }
    }
}

/// Sections beside the repositories': anchor, title, and what is said of an empty one.
const SECTIONS: [(&str, &str, &str); 6] = [
    ("frees", "Space that will be free", "Nothing is deleted that will be final."),
    ("refused", "Refused attempts", "Nothing was refused."),
    ("audit", "Audit log", "There is none."),
    ("store", "The store and this machine", "Nothing was looked at."),
    ("adversaries", "What each adversary could still do", "Nothing was looked at."),
    ("expected", "What has to be there the next time", "Nothing."),
];

/// One of them.
fn section(id: &str, is_empty: bool, content: &Markup) -> Markup {
    let (_, title, nothing) = SECTIONS.iter().find(|section| section.0 == id).copied().unwrap_or_default();
    html! {
        section.plain id=(id) {
            h2 { (title) }
            @if is_empty { p.nothing { (nothing) } } @else { (content) }
        }
    }
}

fn of_repository(at: usize, of: &Repository, report: &Report) -> Markup {
    html! {
        section id=(format!("repository-{at}")) {
            h2 { (of.name) @if of.is_retired { " (retired)" } }
            @if let Some(why) = &of.unreadable {
                p.bad { "It cannot be read: " (why) }
            } @else {
                dl.facts {
                    dt { "Last backup" } dd { (text::last_backup(of, report)) }
                    @if let Some(newest) = &of.newest { dt { "Newest" } dd { (text::newest(newest, report)) } }
                    dt { "Stored" } dd {
                        (number(of.snapshots, "snapshot")) " in " (number(of.files, "file")) ", " (size(of.bytes))
                    }
                    @if of.last_run.is_none() && !of.is_retired { dt { "First night" } dd { (report.first_night) } }
                    @if let Some(verified) = &of.verified {
                        dt { "Verified" } dd.bad[verified.late] { (text::verified(verified, report)) }
                    }
                }
                (charts(of, report))
                (findings(of))
                (pending(of))
                (held(of))
                (last_run(of))
            }
        }
    }
}

fn charts(of: &Repository, report: &Report) -> Markup {
    let what = if of.received.from == "files" { "Received, of what is still there" } else { "Received" };
    let today = seen::day(report.made.0);
    let unit = chart::unit(&of.received.days, today);
    html! {
        div.charts {
            figure { figcaption { "Stored (bytes, by day)" } (chart::growth(&of.growth)) }
            figure {
                figcaption { (what) " (bytes, by " (unit) ")" }
                (chart::received(&of.received.days, today))
            }
            @if let Some(verified) = &of.verified {
                figure { figcaption { "Parts (of 256) by when they were last verified" } (chart::coverage(verified)) }
            }
        }
    }
}

fn findings(of: &Repository) -> Markup {
    html! {
        @if !of.findings.is_empty() {
            h3 { "Found by verification" }
            div.wide { table {
                tr { th { "What" } th { "File" } th { "Detail" } th { "Snapshots that need it" } }
                @for found in of.findings.iter().take(text::SHOWN_MAX) {
                    tr {
                        td.whole { (found.kind) }
                        td { @if let Some(file) = &found.file { code { (file) } } }
                        td.text { (found.detail) }
                        td { @for snapshot in &found.snapshots { code { (snapshot) } " " } }
                    }
                }
            } }
            (more(of.findings.len()))
        }
    }
}

fn more(all: usize) -> Markup {
    html! { @if let Some(more) = text::more(all) { p.soft { (more) } } }
}

fn pending(of: &Repository) -> Markup {
    html! {
        @if !of.pending.is_empty() {
            h3 { "Deleted, and can be brought back" }
            ul { @for batch in of.pending.iter().take(text::SHOWN_MAX) { li { (text::pending(batch)) } } }
            (more(of.pending.len()))
        }
    }
}

fn held(of: &Repository) -> Markup {
    html! {
        @if !of.held.is_empty() {
            h3 { "Snapshots held back" }
            div.wide { table {
                tr { th { "Snapshot" } th { "Host" } th { "Received" } th { "Why" } }
                @for held in of.held.iter().take(text::SHOWN_MAX) {
                    tr {
                        td { code { (text::short(&held.id)) } }
                        td.text { @if let Some(host) = &held.host { (Words::from(host)) } }
                        td.whole { (Words::from(&held.received)) }
                        td.text.bad[held.suspicious] { (Words::from(&held.reason)) }
                    }
                }
            } }
            (more(of.held.len()))
        }
        @if !of.junk.is_empty() {
            h3 { "Junk that was hidden" }
            div.wide { table {
                tr { th { "File" } th { "From" } th { "Why" } th { "Batch" } }
                @for junk in of.junk.iter().take(text::SHOWN_MAX) {
                    tr {
                        td { code { (Words::from(&junk.file)) } }
                        td { @if let Some(creator) = &junk.creator { (Words::from(creator)) } }
                        td.text { (Words::from(&junk.reason)) }
                        td { code { (Words::from(&junk.batch)) } }
                    }
                }
            } }
            (more(of.junk.len()))
        }
    }
}

fn last_run(of: &Repository) -> Markup {
    html! {
        @if let Some(night) = &of.last_run {
            h3 { "Last run" }
            p.soft {
                "Began " (Moment(night.began_ms))
                @match night.ended_ms {
                    Some(ended_ms) => { ", ended " (Moment(ended_ms)) },
                    None => { "; it was cut, or is at work" },
                }
            }
            div.wide { table {
                tr { th { "Step" } th { "Ended" } th { "What was done" } th { "To undo" } }
                @for done in &night.steps {
                    tr {
                        td.whole { (done.step.word()) }
                        td.whole { (done.ended.word()) }
                        td.text { (Words::from(done.said.join("; "))) }
                        td { @if let Some(batch) = &done.batch { code { (Words::from(batch)) } } }
                    }
                }
            } }
        }
    }
}

fn frees(report: &Report) -> Markup {
    section(
        "frees",
        report.frees.is_empty(),
        &html! {
            table.small {
                tr { th { "Final on (UTC)" } th.number { "Space" } th { "" } }
                @for frees in &report.frees {
                    tr { td.whole { (frees.day) } td.number { (size(frees.bytes)) } td { (text::batches(frees.batches)) } }
                }
            }
        },
    )
}

fn refused(report: &Report) -> Markup {
    section(
        "refused",
        report.refused.is_empty(),
        &html! {
            @if let Some(since) = report.since { p.soft { "Since " (since) } }
            div.wide { table {
                tr { th.number { "Times" } th { "What" } th.number { "Status" } th { "What was said" } }
                @for refused in &report.refused {
                    tr { th colspan="4" { (text::who(refused)) } }
                    @for tried in &refused.attempts {
                        tr {
                            td.number { (tried.number) } td.text { (tried.action) }
                            td.number { (tried.status) } td.text { (tried.outcome) }
                        }
                    }
                }
            } }
        },
    )
}

fn audit(report: &Report) -> Markup {
    section(
        "audit",
        report.audit.is_empty(),
        &html! {
            dl.facts {
                @for log in &report.audit {
                    dt { (log.name) } dd.bad[log.broken.is_some()] { (text::of_log(log)) }
                }
            }
        },
    )
}

fn store(report: &Report) -> Markup {
    section(
        "store",
        report.store.is_empty(),
        &html! {
            div.wide { table {
                @for line in &report.store {
                    tr {
                        td.whole { (line.verdict.word()) }
                        td.text {
                            (Words::from(&line.text))
                            @if let Some(consequence) = &line.consequence { br; span.soft { (Words::from(consequence)) } }
                        }
                    }
                }
            } }
        },
    )
}

fn adversaries(report: &Report) -> Markup {
    section(
        "adversaries",
        report.adversaries.is_empty(),
        &html! {
            div.wide { table {
                tr { th { "" } th { "Who" } th { "Pawl's promise" } th { "What they could do" } }
                @for of in &report.adversaries {
                    tr {
                        td.whole { (of.letter) } td.whole { (of.who) } td.whole { (of.holds.word()) }
                        td.text {
                            (Words::from(&of.text))
                            @if let Some(remedy) = &of.remedy { br; span.soft { (Words::from(remedy)) } }
                        }
                    }
                }
            } }
        },
    )
}

/// For `pawl maintain report --compare`, from a copy of this page on another machine.
fn expected(report: &Report) -> Markup {
    let json = serde_json::to_string_pretty(&report.expected).unwrap_or_default(); // names and numbers: it cannot fail
    section(
        "expected",
        false,
        &html! {
            p.soft {
                "Kept on another machine in a file, this shows whether anything was removed past Pawl: "
                code { (hint::pawl("maintain report --compare FILE")) }
            }
            details { summary { "Snapshots and audit heads" } pre id="expected-json" { (json) } }
        },
    )
}
