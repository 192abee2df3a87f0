//! Honest hosts for a long time, beside one client of each bad kind.

mod cross;
