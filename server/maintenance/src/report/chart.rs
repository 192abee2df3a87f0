//! The charts of the page, drawn as SVG.
//!
//! Invariant: every axis says what it measures; where there is nothing to draw, that is said instead.

use jiff::civil::Date;
use maud::{Markup, html};

use super::axis;
use super::model::{Grown, ReceivedDay, Verified};
use super::words::{number, size};

/// In units of the drawing: on a phone one chart is as wide as the screen, so that its letters can be read there.
const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 180.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 24.0;

/// As many days are drawn one by one; of more, weeks.
const DAYS_MAX: i32 = 62;
const WEEK: i32 = 7;
/// Weeks that are drawn: a year.
const WEEKS_MAX: i32 = 53;
/// Dates beside an axis.
const DATES_MAX: i32 = 5;
/// Bars of verification within its time, and as many beyond it.
const AGES: u64 = 7;

/// What is written beside an axis, and where.
struct Tick {
    at: f64,
    label: String,
}

/// How much a repository held on each day.
pub(super) fn growth(days: &[Grown]) -> Markup {
    let [first, .., last] = days else {
        return nothing("No history yet: every day with a `pawl maintain run` adds to it.");
    };
    let span = days_between(first.day, last.day).max(1);
    let ticks = axis::of_bytes(days.iter().map(|day| day.bytes).max().unwrap_or(0));
    let top = ticks.last().copied().unwrap_or(1);
    let points: Vec<_> = days
        .iter()
        .map(|day| {
            let x = x_of(f64::from(days_between(first.day, day.day)) / f64::from(span));
            format!("{x:.1},{:.1}", y_of(day.bytes, top))
        })
        .collect();
    let line = points.join(" ");
    let area = format!(
        "{LEFT:.1},{bottom:.1} {line} {right:.1},{bottom:.1}",
        bottom = HEIGHT - BOTTOM,
        right = WIDTH - RIGHT
    );
    let label = format!(
        "Bytes stored from {} to {}: from {} to {}",
        first.day,
        last.day,
        size(first.bytes),
        size(last.bytes)
    );
    let drawn = html! {
        polygon.area points=(area) {}
        polyline.line points=(line) {}
    };
    frame(&label, &of_bytes(&ticks), &dates(first.day, last.day, 0.0), &drawn)
}

/// Whether what arrived is drawn by `day` or by `week`.
pub(super) fn unit(days: &[ReceivedDay], today: Date) -> &'static str {
    let span = days.first().map_or(0, |first| days_between(first.day, today));
    if span < DAYS_MAX { "day" } else { "week" }
}

/// How much arrived on each day, or in each week.
pub(super) fn received(days: &[ReceivedDay], today: Date) -> Markup {
    let Some(first) = days.first().map(|day| day.day.min(today)) else {
        return nothing("Nothing was received yet.");
    };
    let (span, unit) = (days_between(first, today) + 1, unit(days, today));
    let (width, bars) = if unit == "day" { (1, span) } else { (WEEK, (span / WEEK + 1).min(WEEKS_MAX)) };
    // The last bar ends today; what clocks put later counts to it.
    let begin = today.saturating_sub(jiff::Span::new().days(width * bars - 1));
    let mut sums = vec![0_u64; usize::try_from(bars).unwrap_or(0)];
    for day in days {
        let at = days_between(begin, day.day.min(today)).div_euclid(width);
        if let Some(sum) = usize::try_from(at).ok().and_then(|at| sums.get_mut(at)) {
            *sum = sum.saturating_add(day.bytes);
        }
    }
    let ticks = axis::of_bytes(sums.iter().copied().max().unwrap_or(0));
    let label =
        format!("Bytes received each {unit} from {begin} to {today}: {} in all", size(sums.iter().sum()));
    let bars: Vec<_> = sums
        .iter()
        .zip(0_i32..)
        .map(|(bytes, at)| {
            let from = begin.saturating_add(jiff::Span::new().days(at * width));
            let what = if width == 1 { from.to_string() } else { format!("week from {from}") };
            Bar { value: *bytes, title: format!("{what}: {}", size(*bytes)), is_late: false }
        })
        .collect();
    let half = 0.5 / f64::from(span.min(width * bars_of(&bars)).max(1));
    frame(&label, &of_bytes(&ticks), &dates(begin, today, half), &drawn(&bars, &ticks))
}

/// How many of a repository's parts were read how long ago.
pub(super) fn coverage(of: &Verified) -> Markup {
    if of.ages.is_empty() {
        return nothing("Nothing was verified yet.");
    }
    let width = of.within_days.div_ceil(AGES).max(1);
    let within = of.within_days.div_ceil(width);
    let last = within * 2;
    let in_bar = |bar: u64| -> u64 {
        let ages = of.ages.iter().filter(|aged| (aged.days / width).min(last) == bar);
        ages.map(|aged| u64::from(aged.parts)).sum()
    };
    let mut bars: Vec<_> = (0..=last)
        .map(|bar| {
            let age = match (bar == last, width) {
                (true, _) => format!("{} days ago or earlier", bar * width),
                (false, 1) => format!("{} ago", number(bar, "day")),
                (false, _) => format!("{} to {} days ago", bar * width, (bar + 1) * width - 1),
            };
            let title = format!("{} read {age}", number(in_bar(bar), "part"));
            Bar { value: in_bar(bar), title, is_late: bar >= within }
        })
        .collect();
    bars.push(Bar { value: 0, title: String::new(), is_late: false }); // room between the words below
    let title = format!("{} never read", number(of.never.into(), "part"));
    bars.push(Bar { value: of.never.into(), title, is_late: true });
    let ticks = axis::of_numbers(bars.iter().map(|bar| bar.value).max().unwrap_or(0));
    let count = f64::from(bars_of(&bars));
    let place = |bar: u64| (float(bar) + 0.5) / count;
    let below = vec![
        Tick { at: x_of(place(0)), label: "today".to_owned() },
        Tick { at: x_of(place(within)), label: number(within * width, "day") },
        Tick { at: x_of(place(last)), label: "older".to_owned() },
        Tick { at: x_of(place(last + 2)), label: "never".to_owned() },
    ];
    let label = format!(
        "Parts by the age of their verification: {} of 256 within {}",
        of.parts,
        number(of.within_days, "day")
    );
    let beside: Vec<_> = ticks
        .iter()
        .map(|tick| Tick { at: y_of(*tick, ticks.last().copied().unwrap_or(1)), label: tick.to_string() })
        .collect();
    frame(&label, &beside, &below, &drawn(&bars, &ticks))
}

/// One bar.
struct Bar {
    value: u64,
    title: String,
    is_late: bool,
}

fn bars_of(bars: &[Bar]) -> i32 {
    i32::try_from(bars.len()).unwrap_or(i32::MAX)
}

fn drawn(bars: &[Bar], ticks: &[u64]) -> Markup {
    let top = ticks.last().copied().unwrap_or(1);
    let room = (WIDTH - LEFT - RIGHT) / f64::from(bars_of(bars).max(1));
    let gap = (room * 0.2).min(3.0);
    html! {
        @for (bar, at) in bars.iter().zip(0_i32..) {
            @let y = y_of(bar.value, top);
            @if bar.value > 0 {
                rect.bar.late[bar.is_late]
                    x=(coordinate(LEFT + room * f64::from(at) + gap / 2.0)) y=(coordinate(y))
                    width=(coordinate(room - gap)) height=(coordinate(HEIGHT - BOTTOM - y)) {
                    title { (bar.title) }
                }
            }
        }
    }
}

fn frame(label: &str, beside: &[Tick], below: &[Tick], drawn: &Markup) -> Markup {
    html! {
        svg viewBox=(format!("0 0 {WIDTH:.0} {HEIGHT:.0}")) role="img" aria-label=(label) {
            @for tick in beside {
                line.grid x1=(coordinate(LEFT)) x2=(coordinate(WIDTH - RIGHT)) y1=(coordinate(tick.at)) y2=(coordinate(tick.at)) {}
                text.beside x=(coordinate(LEFT - 6.0)) y=(coordinate(tick.at + 4.0)) { (tick.label) }
            }
            @for tick in below {
                text.below x=(coordinate(tick.at)) y=(coordinate(HEIGHT - 6.0)) { (tick.label) }
            }
            (drawn)
        }
    }
}

fn nothing(why: &str) -> Markup {
    html! { p.nothing { (why) } }
}

fn of_bytes(ticks: &[u64]) -> Vec<Tick> {
    let top = ticks.last().copied().unwrap_or(1);
    ticks.iter().map(|tick| Tick { at: y_of(*tick, top), label: axis::label_of_bytes(*tick) }).collect()
}

/// Dates between two days: beginnings of months if they are far apart. `inset` is the middle of the first bar.
fn dates(first: Date, last: Date, inset: f64) -> Vec<Tick> {
    let span = days_between(first, last).max(1);
    let place =
        |day: Date| x_of(inset + f64::from(days_between(first, day)) / f64::from(span) * (1.0 - 2.0 * inset));
    if span <= DAYS_MAX {
        let step = (span / DATES_MAX).max(1);
        let days = (0..=span).step_by(usize::try_from(step).unwrap_or(1));
        let days = days.map(|days| first.saturating_add(jiff::Span::new().days(days)));
        let all: Vec<_> =
            days.map(|day| Tick { at: place(day), label: day.strftime("%-d %b").to_string() }).collect();
        return within_reach(all);
    }
    let step = span / (30 * DATES_MAX) + 1;
    let months = (1..=span / 28 + 1).step_by(usize::try_from(step).unwrap_or(1));
    let months = months.map(|month| first.first_of_month().saturating_add(jiff::Span::new().months(month)));
    let all = months.filter(|month| *month <= last).map(|month| {
        let label = if month.month() <= i8::try_from(step).unwrap_or(1) { "%b %Y" } else { "%b" };
        Tick { at: place(month), label: month.strftime(label).to_string() }
    });
    within_reach(all.collect())
}

/// Without those whose words would be cut at the edge.
fn within_reach(ticks: Vec<Tick>) -> Vec<Tick> {
    const HALF_A_LABEL: f64 = 18.0;
    ticks.into_iter().filter(|tick| tick.at <= WIDTH - HALF_A_LABEL).collect()
}

fn days_between(first: Date, last: Date) -> i32 {
    first.until(last).map_or(0, |span| span.get_days())
}

fn x_of(share: f64) -> f64 {
    LEFT + (WIDTH - LEFT - RIGHT) * share
}

fn y_of(value: u64, top: u64) -> f64 {
    let share = float(value) / float(top.max(1));
    HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * share
}

#[expect(clippy::cast_precision_loss, reason = "no pixel is that small")]
const fn float(value: u64) -> f64 {
    value as f64
}

fn coordinate(at: f64) -> String {
    format!("{at:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::Aged;

    fn date(text: &str) -> Date {
        text.parse().unwrap()
    }

    /// Every coordinate is a number within the drawing.
    fn assert_drawn(drawn: &Markup) {
        let text = &drawn.0;
        assert!(text.contains("<svg") && !text.contains("NaN") && !text.contains("inf"), "{text}");
        for (name, max) in [(" x=\"", WIDTH), (" y=\"", HEIGHT), (" width=\"", WIDTH), (" height=\"", HEIGHT)]
        {
            for value in text.split(name).skip(1).map(|rest| rest.split('"').next().unwrap()) {
                let value: f64 = value.parse().unwrap();
                assert!((0.0..=max).contains(&value), "{name}{value}: {text}");
            }
        }
    }

    #[test]
    fn what_a_clock_set_wrongly_wrote_down_is_drawn_within_the_chart() {
        let today = date("2026-11-21");
        for days in [
            &["2026-11-21"][..],
            &["2030-01-01"],
            &["1970-01-01", "2026-11-20", "2030-01-01"],
            &["2025-11-20", "2026-11-21"],
            &["2026-09-20"],
        ] {
            let days: Vec<_> =
                days.iter().map(|day| ReceivedDay { day: date(day), bytes: u64::MAX / 4096 }).collect();
            assert_drawn(&received(&days, today));
            let grown = |day: &ReceivedDay| Grown { day: day.day, files: 1, bytes: day.bytes, snapshots: 1 };
            let days: Vec<_> = days.iter().map(grown).collect();
            if days.len() > 1 {
                assert_drawn(&growth(&days));
            } else {
                assert!(growth(&days).0.contains("No history yet"));
            }
        }
        assert!(received(&[], today).0.contains("Nothing was received yet."));
    }

    #[test]
    fn what_was_received_today_is_in_the_last_bar_and_nothing_is_left_out() {
        let today = date("2026-11-21");
        let of = |day: &str, bytes| ReceivedDay { day: date(day), bytes };
        let drawn = received(&[of("2026-11-01", 1024), of("2026-11-21", 2048)], today).0;
        assert!(drawn.contains("2026-11-01: 1.0 KiB") && drawn.contains("2026-11-21: 2.0 KiB"), "{drawn}");
        let drawn =
            received(&[of("2026-01-01", 1024), of("2026-11-15", 1024), of("2026-11-21", 2048)], today).0;
        assert!(
            drawn.contains("week from 2026-11-15: 3.0 KiB") && drawn.contains("4.0 KiB in all"),
            "{drawn}"
        );
    }

    #[test]
    fn parts_that_are_late_or_were_never_read_look_otherwise() {
        let aged = |days, parts| Aged { days, parts };
        let mut verified = Verified {
            parts: 200,
            share: 0.8,
            within_days: 7,
            oldest: None,
            late: true,
            ages: vec![aged(0, 100), aged(6, 100), aged(7, 20), aged(500, 6)],
            never: 30,
            suspicious: 0,
        };
        let drawn = coverage(&verified);
        assert_drawn(&drawn);
        assert_eq!(drawn.0.matches("class=\"bar late\"").count(), 3);
        for title in [
            "100 parts read 6 days ago",
            "20 parts read 7 days ago",
            "6 parts read 14 days ago or earlier",
            "30 parts never read",
        ] {
            assert!(drawn.0.contains(title), "{title}: {}", drawn.0);
        }
        verified.within_days = 60;
        assert_drawn(&coverage(&verified));
        verified.ages.clear();
        assert!(coverage(&verified).0.contains("Nothing was verified yet."));
    }
}
