//! A disk whose power can be cut: everything that is written to it is recorded, and afterwards it is built again as
//! any cut would have left it.
//!
//! Invariant: what was written before the last flush that the disk had answered is there after a cut; of what was
//! written since, any part may be, sector by sector, in which order ever it was written.

mod filesystem;
mod recorder;
mod replay;
mod tape;

pub use filesystem::{Kind, Mounted};
pub use recorder::Recorder;
pub use replay::{Cut, Kept, Replay};
pub use tape::{Position, Tape};
