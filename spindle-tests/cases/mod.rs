//! The cases, one file for each theme.

mod bound;
mod coherence;
mod command_line;
mod count;
mod fault;
mod integrity;
mod mixture;
mod open_reader;
mod partial;
mod rank;
mod session;

use crate::harness::case::Case;

/// All cases of all themes.
pub fn all() -> Vec<Case> {
    let themes = [
        bound::cases(),
        coherence::cases(),
        count::cases(),
        command_line::cases(),
        integrity::cases(),
        mixture::cases(),
        open_reader::cases(),
        partial::cases(),
        session::cases(),
        rank::cases(),
        fault::cases(),
    ];
    themes.into_iter().flatten().collect()
}
