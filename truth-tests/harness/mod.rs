//! The real loader's answer, the model's answer, and the comparison of the two.

pub mod comparison;
pub mod exception;
pub mod image_root;
pub mod loader;
pub mod model;
pub mod trace;

pub use comparison::{Comparison, Figures};
pub use compat_harness::{
    Case, Requirement, Suite, Workspace, case, docker, made_image, print_figure, process, root,
};
pub use loader::{Scene, Truth};
pub use model::Model;
pub use trace::Sets;

/// This suite.
pub const SUITE: Suite = compat_harness::suite!("registry-tests/setup");
