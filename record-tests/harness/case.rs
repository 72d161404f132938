//! A case: a name that states a behaviour, what it requires of the machine, and a function that
//! panics when the behaviour is not there.

use std::path::Path;

use libtest_mimic::{Completion, Failed, Trial};

/// Something that a machine may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// A program in `PATH`.
    Tool(&'static str),
    /// `/dev/fuse`, and root to mount it.
    Mirror,
}

impl Requirement {
    fn missing(self) -> Option<String> {
        match self {
            Self::Tool(name) => {
                let path = std::env::var_os("PATH").unwrap_or_default();
                let found = std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
                (!found).then(|| format!("{name} is not installed (record-tests/setup installs it)"))
            }
            Self::Mirror if !Path::new("/dev/fuse").exists() => Some("there is no /dev/fuse".to_owned()),
            Self::Mirror if !rustix::process::geteuid().is_root() => Some("needs root".to_owned()),
            Self::Mirror => None,
        }
    }
}

/// One case.
pub struct Case {
    name: &'static str,
    requirements: Vec<Requirement>,
    run: fn(&Path),
}

impl Case {
    /// A case; its function gets an empty directory. All need the mirror.
    pub fn new(name: &'static str, tools: &[&'static str], run: fn(&Path)) -> Self {
        let mut requirements = vec![Requirement::Mirror];
        requirements.extend(tools.iter().map(|tool| Requirement::Tool(tool)));
        Self { name, requirements, run }
    }

    /// The trial: ignored with the reason where something is missing, a failure under `CI=true`.
    pub fn into_trial(self) -> Trial {
        Trial::ignorable_test(self.name, move || {
            let reasons: Vec<String> =
                self.requirements.iter().filter_map(|requirement| requirement.missing()).collect();
            if reasons.is_empty() {
                let folder = tempfile::tempdir().expect("a temporary folder");
                (self.run)(folder.path());
                Ok(Completion::Completed)
            } else if std::env::var("CI").is_ok_and(|value| value == "true") {
                Err(Failed::from(format!("missing in CI: {}", reasons.join("; "))))
            } else {
                Ok(Completion::ignored_with(reasons.join("; ")))
            }
        })
    }
}
