//! The cases, one file a theme.

mod ending;
mod event;
mod limit;
mod place;
mod provided;
mod rank;
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
        place::cases(),
        rank::cases(),
        suite::cases(),
    ];
    themes.into_iter().flatten().collect()
}
