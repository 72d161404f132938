//! The cases, one file a theme.

mod behaviour;
mod ending;
mod event;
mod limit;
mod program;
mod suite;
mod transparency;
mod witness;

use crate::harness::case::Case;

/// All cases of all themes.
pub fn all() -> Vec<Case> {
    let themes = [
        transparency::cases(),
        behaviour::cases(),
        program::cases(),
        event::cases(),
        witness::cases(),
        ending::cases(),
        limit::cases(),
        suite::cases(),
    ];
    themes.into_iter().flatten().collect()
}
