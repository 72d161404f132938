//! Specifications for cases that are not about their content.

use std::path::PathBuf;

use super::Workspace;
use super::compat::{Output, digest_of};

/// A small program of this machine that is linked dynamically.
pub const PROGRAM: &str = "/usr/bin/env";

/// Generates a specification; the salt makes it another one.
pub fn specification(workspace: &Workspace, file: &str, salt: &str) -> PathBuf {
    let attribute = format!("org.example.salt={salt}");
    workspace.compat(["gen", "-o", file, "--attribute", &attribute, PROGRAM]).ok();
    workspace.path(file)
}

/// Pushes a specification and returns the artifact's digest.
pub fn push(workspace: &Workspace, reference: &str, salt: &str) -> String {
    let file = format!("{salt}.json");
    specification(workspace, &file, salt);
    digest_of(&workspace.compat(["push", "--format", "json", reference, &file]).ok())
}

/// Attaches a specification to an image and returns the artifact's digest.
pub fn attach(workspace: &Workspace, image: &str, salt: &str) -> String {
    let file = format!("{salt}.json");
    specification(workspace, &file, salt);
    digest_of(&workspace.compat(["attach", "--format", "json", image, &file]).ok())
}

/// What `discover` shows.
pub fn discover(workspace: &Workspace, image: &str) -> Output {
    workspace.compat(["discover", "--format", "json", image]).ok()
}
