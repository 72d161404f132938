//! The real loader's answer, the model's answer, and the comparison of the two.

#[expect(dead_code, reason = "shared with the registry tests, which require other things too")]
#[path = "../../registry-tests/harness/case.rs"]
pub mod case;
pub mod comparison;
#[expect(dead_code, reason = "shared with the registry tests, which push images too")]
#[path = "../../registry-tests/harness/docker.rs"]
pub mod docker;
pub mod exception;
pub mod image_root;
pub mod loader;
#[expect(dead_code, reason = "shared with the registry tests, which judge images too")]
#[path = "../../registry-tests/harness/made_image.rs"]
pub mod made_image;
pub mod model;
#[expect(dead_code, reason = "shared with the registry tests, which start servers too")]
#[path = "../../registry-tests/harness/process.rs"]
pub mod process;
#[expect(dead_code, reason = "shared with the registry tests, which ask the loader of a few programs")]
#[path = "../../registry-tests/harness/root.rs"]
pub mod root;
pub mod trace;
#[path = "../../registry-tests/harness/workspace.rs"]
pub mod workspace;

pub use case::{Case, Requirement};
pub use comparison::{Comparison, Figures};
pub use loader::{Scene, Truth};
pub use model::Model;
pub use trace::Sets;
pub use workspace::Workspace;
