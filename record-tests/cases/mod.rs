//! The cases, one file a theme.

mod ending;
mod event;
mod limit;
mod provided;
mod suite;
mod transparency;
mod witness;

use crate::harness::case::Case;

/// All cases of all themes.
pub fn all() -> Vec<Case> {
    let themes = [
        transparency::cases(),
        event::cases(),
        witness::cases(),
        ending::cases(),
        limit::cases(),
        provided::cases(),
        suite::cases(),
    ];
    themes.into_iter().flatten().collect()
}
