//! The cases, one file a theme.

mod harness_works;

use crate::harness::Case;

/// All cases of all themes.
pub fn all() -> Vec<Case> {
    [harness_works::cases()].into_iter().flatten().collect()
}
