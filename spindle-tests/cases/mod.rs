//! The cases, one file for each theme.

mod command_line;
mod fault;
mod partial;
mod rank;
mod session;

use crate::harness::case::Case;

/// All cases of all themes.
pub fn all() -> Vec<Case> {
    let themes = [command_line::cases(), partial::cases(), session::cases(), rank::cases(), fault::cases()];
    themes.into_iter().flatten().collect()
}
