//! The rank of this process in a parallel job whose ranks share one recording.

use std::path::PathBuf;
use std::time::Duration;

pub use crate::enter::launcher::variables;
use crate::enter::{Rank, launcher};

/// Returns the rank of this process, or `None` if no launcher set one. Ranks wait `patience` for each other, and meet
/// in `directory` if it is given.
pub fn of_environment(patience: Duration, directory: Option<PathBuf>) -> Option<Rank> {
    launcher::rank("record", patience, directory)
}
