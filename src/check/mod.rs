//! Specification x host -> report.
//!
//! Each subject of the specification is started on the host as far as its entry point, in the
//! loader's model; what the loader would object to becomes the findings. "Incompatible" is a finding,
//! not an error: nothing here fails.

mod names;
mod report;

use std::io;
use std::path::Path;

use crate::elf::IsaLevel;
use crate::host::{Platform, Root};
use crate::loader::{self, Environment, HostFiles, Load, ScopeFiles};
use crate::spec::Specification;

pub use report::{
    Exactness, Finding, HostSummary, Impact, Matter, REPORT_IDENTIFIER, Remark, Report, Source, Subject,
    Verdict,
};

/// What a check is to assume.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `LD_LIBRARY_PATH` of the program's start.
    pub library_path: Option<String>,
    /// The CPU's level instead of this machine's.
    pub isa: Option<IsaLevel>,
    /// The kernel instead of this machine's.
    pub kernel: Option<crate::elf::KernelVersion>,
}

/// A machine, or what stands for one.
#[derive(Debug)]
pub struct Host {
    /// Its files.
    pub files: HostFiles,
    /// Its CPU and kernel, and what a start there depends on.
    pub environment: Environment,
}

impl Host {
    /// This machine.
    pub fn this_machine(options: &Options) -> Self {
        let working_directory = std::env::current_dir()
            .map_or_else(|_| "/".to_owned(), |path| path.to_string_lossy().into_owned());
        Self::new(Root::of_this_machine(), working_directory, options)
    }

    /// The root file system in a folder, with this machine's CPU and kernel.
    ///
    /// # Errors
    ///
    /// Where the folder cannot be read.
    pub fn at(directory: &Path, options: &Options) -> io::Result<Self> {
        Ok(Self::new(Root::at(directory)?, "/".to_owned(), options))
    }

    fn new(root: Root, working_directory: String, options: &Options) -> Self {
        let mut platform = Platform::of_this_machine();
        platform.isa = options.isa.or(platform.isa);
        platform.kernel = options.kernel.or(platform.kernel);
        let library_path = options.library_path.clone();
        Self {
            files: HostFiles::new(root),
            environment: Environment { platform, library_path, working_directory },
        }
    }

    /// What a report says of this host.
    pub fn summary(&self) -> HostSummary {
        let platform = &self.environment.platform;
        HostSummary {
            root: self.files.root().directory().to_string_lossy().into_owned(),
            machine: platform.machine.to_string(),
            isa: platform.isa.map(|isa| isa.to_string()),
            kernel: platform.kernel.map(|kernel| kernel.to_string()),
        }
    }
}

/// Compares a specification with a host.
pub fn check(specification: &Specification, host: &Host) -> Report {
    let mut report = Report::new(host.summary());
    if specification.is_names_only() {
        names::check(specification, host, &mut report);
        return report.concluded();
    }
    let files = ScopeFiles::new(specification, &host.files);
    let environment = loader::environment_of(specification, &files, &host.environment);
    for subject in &specification.subjects {
        let load = loader::start_subject(specification, subject, &files, &environment);
        report.add(subject, &load);
    }
    report.concluded()
}

impl Report {
    /// Adds what became of the start of one subject.
    fn add(&mut self, subject: &str, load: &Load) {
        let mut worst = Impact::Note;
        for problem in &load.problems {
            let finding = Finding::of_problem(problem, subject);
            worst = worst.max(finding.impact);
            self.add_finding(finding);
        }
        if !load.left_to_program.is_empty() {
            self.add_finding(Finding::left_to_program(subject, &load.left_to_program));
        }
        self.subjects.push(Subject { path: subject.to_owned(), verdict: worst.verdict() });
    }
}
