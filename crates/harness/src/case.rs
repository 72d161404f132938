//! A case: a name that states a behaviour, its requirements on the machine, and a function that panics if the
//! behaviour is missing.

use std::path::{Path, PathBuf};

use libtest_mimic::{Completion, Failed, Trial};

use crate::{Suite, Workspace};

/// A requirement that a machine may not meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// A program in `PATH` or in Go's directory for programs.
    Tool(&'static str),
    /// The privilege to chroot and mount.
    Root,
    /// `/dev/fuse`.
    Fuse,
}

/// The C compiler for fixtures.
pub const CC: Requirement = Requirement::Tool("cc");
/// Roots of other Debian releases.
pub const DEBOOTSTRAP: Requirement = Requirement::Tool("debootstrap");
/// The container engine's client.
pub const DOCKER: Requirement = Requirement::Tool("docker");
/// The container engine.
pub const DOCKERD: Requirement = Requirement::Tool("dockerd");

impl Requirement {
    /// Returns the reason if this machine does not meet the requirement.
    fn missing(self, setup: &str) -> Option<String> {
        match self {
            Self::Tool(name) if find(name).is_none() => {
                Some(format!("{name} is not installed ({setup} installs it)"))
            }
            Self::Fuse if !Path::new("/dev/fuse").exists() => Some("/dev/fuse does not exist".to_owned()),
            Self::Root if !rustix::process::geteuid().is_root() => Some("needs root".to_owned()),
            _ => None,
        }
    }
}

/// One case.
pub struct Case {
    name: String,
    requirements: Vec<Requirement>,
    run: Box<dyn FnOnce(&Workspace) + Send>,
}

impl Case {
    /// Returns a case of a theme. Its name is shown as `theme::behaviour`.
    pub fn new(
        name: impl Into<String>,
        requirements: &[Requirement],
        run: impl FnOnce(&Workspace) + Send + 'static,
    ) -> Self {
        Self { name: name.into(), requirements: requirements.to_vec(), run: Box::new(run) }
    }

    /// Returns the trial. If a requirement is missing, it is ignored with the reason, or fails with `CI=true`.
    pub(crate) fn into_trial(self, suite: &'static Suite) -> Trial {
        let Self { name, requirements, run } = self;
        Trial::ignorable_test(name.clone(), move || {
            let reasons: Vec<String> =
                requirements.iter().filter_map(|requirement| requirement.missing(suite.setup)).collect();
            if reasons.is_empty() {
                run(&Workspace::new(suite, &name));
                Ok(Completion::Completed)
            } else if strict() {
                Err(Failed::from(format!("missing in CI: {}", reasons.join("; "))))
            } else {
                Ok(Completion::ignored_with(reasons.join("; ")))
            }
        })
    }
}

/// Whether a missing requirement is a failure.
fn strict() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

/// Finds a program.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    directories.extend(["/usr/sbin", "/sbin", "/usr/local/go/bin"].map(PathBuf::from));
    directories.extend(std::env::var_os("GOBIN").map(PathBuf::from));
    directories.extend(std::env::var_os("GOPATH").map(|path| PathBuf::from(path).join("bin")));
    directories.extend(std::env::var_os("HOME").map(|home| PathBuf::from(home).join("go/bin")));
    directories.into_iter().map(|directory| directory.join(name)).find(|file| file.is_file())
}

/// The path of a program. The case must declare it as a requirement.
///
/// # Panics
///
/// If the case does not declare it.
pub fn tool(name: &str) -> PathBuf {
    find(name).unwrap_or_else(|| panic!("{name} is not installed, and the case did not require it"))
}
