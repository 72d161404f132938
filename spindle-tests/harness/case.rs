//! A case. It gets an empty directory, and requires the right and the device to mount a mirror.

use std::path::Path;

pub use compat_harness::Case;
use compat_harness::Requirement;

/// Returns a case that also requires these tools.
pub fn case(name: &'static str, tools: &[&'static str], run: fn(&Path)) -> Case {
    let mut requirements = vec![Requirement::Fuse, Requirement::Root];
    requirements.extend(tools.iter().copied().map(Requirement::Tool));
    Case::new(name, &requirements, move |workspace| run(workspace.root()))
}
