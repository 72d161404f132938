//! The cases, one file for each theme.

mod attribute;
mod behaviour;
mod compat_lib;
mod content;
mod ending;
mod event;
mod limit;
mod meanwhile;
mod meeting;
mod mount;
mod nested;
mod open_file;
mod out;
mod outside;
mod place;
mod privilege;
mod program;
mod provided;
mod rank;
mod specification;
mod stop;
mod suite;
mod trace;
mod transparency;
mod witness;

use crate::harness::case::Case;

/// All cases of all themes.
pub fn all() -> Vec<Case> {
    let themes = [
        transparency::cases(),
        behaviour::cases(),
        open_file::cases(),
        attribute::cases(),
        program::cases(),
        event::cases(),
        content::cases(),
        witness::cases(),
        ending::cases(),
        out::cases(),
        stop::cases(),
        nested::cases(),
        meanwhile::cases(),
        limit::cases(),
        outside::cases(),
        provided::cases(),
        place::cases(),
        privilege::cases(),
        rank::cases(),
        meeting::cases(),
        mount::cases(),
        suite::cases(),
        specification::cases(),
        trace::cases(),
        compat_lib::cases(),
    ];
    themes.into_iter().flatten().collect()
}
