//! Axes: which values are written beside a chart.
//!
//! Invariant: the first tick is 0 and the last is no less than the greatest value.

use super::words::size;

/// Steps between ticks that people read easily.
const STEPS: [u64; 3] = [1, 2, 5];
/// Spaces between ticks.
const SPACES_MAX: u64 = 4;

/// Ticks of an axis of sizes: multiples of whole KiB, MiB, GiB, …
pub(super) fn of_bytes(max: u64) -> Vec<u64> {
    let mut unit = 1;
    while max / unit >= 1024 {
        unit *= 1024;
    }
    ticks(max, unit)
}

/// Ticks of an axis of numbers.
pub(super) fn of_numbers(max: u64) -> Vec<u64> {
    ticks(max, 1)
}

fn ticks(max: u64, unit: u64) -> Vec<u64> {
    let spaces = max.div_ceil(unit).max(1);
    let mut power = 1;
    let step = loop {
        if let Some(step) =
            STEPS.iter().map(|step| step * power).find(|step| spaces.div_ceil(*step) <= SPACES_MAX)
        {
            break step;
        }
        power *= 10;
    };
    (0..=spaces.div_ceil(step)).map(|at| at * step * unit).collect()
}

/// How a size is written there: without a fraction, since ticks have none.
pub(super) fn label_of_bytes(bytes: u64) -> String {
    if bytes == 0 { "0".to_owned() } else { size(bytes).replace(".0 ", " ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_reach_the_greatest_value() {
        assert_eq!(of_numbers(0), [0, 1]);
        assert_eq!(of_numbers(256), [0, 100, 200, 300]);
        assert_eq!(of_numbers(7), [0, 2, 4, 6, 8]);
        let labels: Vec<_> = of_bytes(1_288_490_189).into_iter().map(label_of_bytes).collect();
        assert_eq!(labels, ["0", "1 GiB", "2 GiB"]);
        let labels: Vec<_> = of_bytes(700 << 20).into_iter().map(label_of_bytes).collect();
        assert_eq!(labels, ["0", "200 MiB", "400 MiB", "600 MiB", "800 MiB"]);
        for max in [1, 1023, 1024, 1025, 5_000_000, u64::MAX / 2048] {
            let ticks = of_bytes(max);
            assert!(ticks.len() <= 6 && *ticks.last().unwrap() >= max, "{max}: {ticks:?}");
        }
    }
}
