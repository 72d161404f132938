//! The report: the findings and the verdict, in one form for text, JSON and services.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::catalogue;
use crate::loader::{Effect, Elsewhere, LeftToProgram, Load, PassedOver, Problem, Rule, Unknown};

/// The identifier of the report's schema.
pub const REPORT_IDENTIFIER: &str = "urn:compatlib:schema:report:1";

/// The maximum number of findings in a report. Nobody reads more.
const MOST_FINDINGS: usize = 5000;

/// The verdict: whether the application will run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The application will run.
    Compatible,
    /// The application will not start, or it will start and fail later.
    Incompatible,
    /// It could not be decided whether the application will run.
    Undecided,
}

/// The exactness of the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Exactness {
    /// Names, versions and symbols were compared.
    Symbols,
    /// The specification lists only the names of libraries.
    Names,
}

/// The impact of a finding on the application, from the least to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Impact {
    /// No impact. The finding is for information.
    Note,
    /// The application starts, possibly with a warning.
    Warning,
    /// The impact could not be decided.
    Undecided,
    /// The application starts, and fails or misbehaves later.
    Misbehaves,
    /// The application does not start.
    DoesNotStart,
}

impl Impact {
    /// Returns the verdict if this is the worst impact.
    pub fn verdict(self) -> Verdict {
        match self {
            Self::Note | Self::Warning => Verdict::Compatible,
            Self::Undecided => Verdict::Undecided,
            Self::Misbehaves | Self::DoesNotStart => Verdict::Incompatible,
        }
    }
}

impl From<Effect> for Impact {
    fn from(effect: Effect) -> Self {
        match effect {
            Effect::None => Self::Note,
            Effect::Warns => Self::Warning,
            Effect::Undecided => Self::Undecided,
            Effect::Misbehaves => Self::Misbehaves,
            Effect::Refuses => Self::DoesNotStart,
        }
    }
}

/// The matter of a finding.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Matter {
    /// A problem that the loader or the kernel would report.
    Problem(Problem),
    /// Another fact that the reader should know.
    Remark(Remark),
}

/// A fact that the loader does not report but that the reader should know.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Remark {
    /// The specification lists only the names of libraries, so versions and symbols were not compared.
    NamesOnly {
        /// The number of names.
        names: usize,
    },
    /// The specification or directory contains nothing to check.
    NothingToCheck {},
    /// One of several sources could not be read.
    SourceFailed {
        /// The source.
        source: String,
        /// The error.
        reason: String,
        /// A possible remedy.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
    /// More was found than the report can list.
    FindingsLeftOut {
        /// The number of findings that are not listed.
        count: usize,
    },
    /// The image requires NVIDIA's driver, and the host does not have it. A container would start without a GPU.
    DriverMissing {
        /// The settings of the image that require the driver.
        asked: Vec<String>,
    },
    /// The image requires a driver, and the drivers of the host are not known.
    DriversUnknown {
        /// The settings of the image that require the driver.
        asked: Vec<String>,
    },
    /// The host's driver does not meet a constraint of the image, or this could not be decided.
    DriverConstraint {
        /// The variable of the image's configuration.
        variable: String,
        /// The value of the variable.
        constraint: String,
        /// The driver's version.
        driver: String,
        /// The newest CUDA version that the driver supports.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cuda: Option<String>,
        /// The conditions that the driver does not meet.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unmet: Vec<String>,
        /// The conditions that the driver's files cannot decide.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unknown: Vec<String>,
    },
    /// NVIDIA's driver is installed, but its kernel module is not loaded.
    DriverNotLoaded {
        /// The driver's version.
        driver: String,
    },
    /// NVIDIA's driver is loaded, but its device nodes do not exist.
    DeviceMissing {
        /// The driver's version.
        driver: String,
    },
    /// The host lacks a library of NVIDIA's driver that the image requires.
    DriverLibraryMissing {
        /// The capability that includes the library.
        capability: String,
        /// The library.
        library: String,
    },
    /// The specification has a requirement that this version does not understand.
    RequirementUnknown {},
    /// The specification has a newer minor version than this program understands.
    NewerDocument {
        /// The version of the specification.
        version: String,
    },
    /// A library that recorded runs loaded has a problem on this host.
    RecordedLibrary {
        /// The name by which it is searched, or its path.
        library: String,
        /// The program that loaded it.
        program: String,
        /// The number of runs in which it was seen.
        seen: u32,
        /// The number of recorded runs.
        runs: u32,
        /// The problem.
        problem: Box<Problem>,
    },
    /// A program that recorded runs executed has a problem on this host.
    RecordedProgram {
        /// The program.
        program: String,
        /// The number of runs in which it was seen.
        seen: u32,
        /// The number of recorded runs.
        runs: u32,
        /// The problem.
        problem: Box<Problem>,
    },
    /// It could not be decided whether a program that recorded runs executed would work.
    RecordedProgramUnknown {
        /// The program. Empty if the recording does not identify it.
        program: String,
        /// The number of runs in which it was seen.
        seen: u32,
        /// The number of recorded runs.
        runs: u32,
        /// The reason.
        reason: Unknown,
    },
    /// Files of a directory that are not subjects on this host.
    PassedOver(PassedOver),
    /// A needed library is in the directory, but not in the search path of the files that need it. The program
    /// that loads or starts them must load the library first or set `LD_LIBRARY_PATH`.
    LeftToSearch {
        /// The needed name.
        library: String,
        /// The path of the library in the directory.
        path: String,
    },
    /// Symbols that a library needs from the program that loads it.
    LeftToProgram {
        /// The library.
        object: String,
        /// The symbols.
        symbols: Vec<String>,
    },
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The impact on the application.
    pub impact: Impact,
    /// The matter.
    #[serde(flatten)]
    pub matter: Matter,
    /// The affected subjects.
    pub subjects: Vec<String>,
    /// The message that the loader or the kernel would print.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// In a finding about an image: the files that a container runtime mounts from the host. All other files are
    /// in the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub of_host: Vec<String>,
    /// Facts that explain the finding, or remedies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
}

impl Finding {
    pub(super) fn of_problem(problem: &Problem, subject: &str, load: &Load) -> Self {
        let impact = problem.effect().into();
        let message = problem.message(load).filter(|_| impact != Impact::Undecided);
        let injected = load.objects.iter().filter(|object| object.rule == Rule::Injected);
        let of_host = injected.filter(|object| problem.is_about(&object.shown));
        Self {
            impact,
            matter: Matter::Problem(problem.clone()),
            subjects: vec![subject.to_owned()],
            message,
            of_host: of_host.map(|object| object.shown.clone()).collect(),
            hints: Vec::new(),
        }
    }

    /// Returns whether the finding says that the check stopped early. A report never leaves out such a finding.
    fn is_end(&self) -> bool {
        matches!(self.matter, Matter::Problem(Problem::EffortExceeded { .. }))
    }

    pub(super) fn left_to_program(subject: &str, left: &LeftToProgram) -> Self {
        let (object, symbols) = (left.object.clone(), left.symbols.clone());
        let remark = Remark::LeftToProgram { object, symbols };
        Self::remark(Impact::Note, remark, vec![subject.to_owned()])
    }

    pub(super) fn passed_over(passed: PassedOver) -> Self {
        Self::remark(Impact::Note, Remark::PassedOver(passed), Vec::new())
    }

    /// Returns the finding about a needed library outside the subject's search path. If the subject is a library,
    /// it is a warning: the program that loads it usually has loaded the needed library before. If the subject is
    /// a program, it is undecided, because its start is not known.
    pub(super) fn left_to_search(subject: &str, found: &Elsewhere, load: &Load) -> Self {
        let is_program = load.objects.first().is_none_or(|object| object.facts.is_program());
        let impact = if is_program { Impact::Undecided } else { Impact::Warning };
        let (library, path) = (found.library.clone(), found.path.clone());
        Self::remark(impact, Remark::LeftToSearch { library, path }, vec![subject.to_owned()])
    }

    pub(super) fn remark(impact: Impact, remark: Remark, subjects: Vec<String>) -> Self {
        debug_assert!(catalogue::of_remark(&remark).impacts.contains(&impact), "{remark:?}: {impact:?}");
        let (of_host, hints) = (Vec::new(), Vec::new());
        Self { impact, matter: Matter::Remark(remark), subjects, message: None, of_host, hints }
    }
}

/// One subject and its verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Subject {
    /// The path of the subject, relative to the application.
    pub path: String,
    /// The verdict.
    pub verdict: Verdict,
}

/// The host that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostSummary {
    /// The directory of the root file system, or the file of the profile. `/` is this machine.
    pub root: String,
    /// Whether the host is a saved profile.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub saved: bool,
    /// The machine of the CPU.
    pub machine: String,
    /// The x86-64 level of the CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isa: Option<String>,
    /// The kernel version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
}

/// The source of the specification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// The reference, file or path that was checked.
    pub reference: String,
    /// The digest of the artifact's manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The manifest that the artifact is attached to: `manifest`, `platform` or `index`. `artifact` if the
    /// reference names the artifact itself, and `generated` if the specification was derived from the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// The number of compatibility artifacts that are attached there, if there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidates: Option<usize>,
    /// The reason why this artifact was chosen, if there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<String>,
}

impl Source {
    /// Returns a source with only a reference.
    pub fn named(reference: impl Into<String>) -> Self {
        let reference = reference.into();
        Self { reference, digest: None, level: None, candidates: None, chosen: None }
    }
}

/// The report: the findings and the verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The identifier of this document's schema.
    #[serde(rename = "$schema")]
    pub schema: String,
    /// The verdict: whether the application will run.
    pub verdict: Verdict,
    /// The exactness of the verdict.
    pub exactness: Exactness,
    /// The source of the specification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The host.
    pub host: HostSummary,
    /// The verdict on each subject.
    pub subjects: Vec<Subject>,
    /// The findings, the worst first.
    pub findings: Vec<Finding>,
    /// Whether the specification is that of an image, so that all paths are paths in it, unless they are
    /// [of the host](Finding::of_host). It is not part of the document.
    #[serde(skip)]
    #[schemars(skip)]
    pub is_of_image: bool,
    /// The index of the findings, while they are collected.
    #[serde(skip)]
    #[schemars(skip)]
    gathered: Gathered,
}

/// An index of findings by the hash of their matter, to detect duplicates in one pass.
#[derive(Clone, Debug, Default)]
struct Gathered {
    hasher: RandomState,
    places: HashMap<u64, Vec<usize>>,
    left_out: usize,
    /// The worst impact of the findings that were left out.
    worst: Option<Impact>,
}

/// The index does not count when reports are compared.
impl PartialEq for Gathered {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Gathered {}

impl Gathered {
    fn add(&mut self, finding: &Finding, place: usize) {
        self.places.entry(self.hasher.hash_one(&finding.matter)).or_default().push(place);
    }
}

impl Report {
    /// Returns an undecided report without findings.
    pub fn new(host: HostSummary) -> Self {
        Self {
            schema: REPORT_IDENTIFIER.to_owned(),
            verdict: Verdict::Undecided,
            exactness: Exactness::Symbols,
            source: None,
            host,
            subjects: Vec::new(),
            findings: Vec::new(),
            is_of_image: false,
            gathered: Gathered::default(),
        }
    }

    /// Adds a finding, or its subjects to the same finding.
    pub(super) fn add_finding(&mut self, finding: Finding) {
        if self.gathered.places.is_empty() {
            for (place, known) in self.findings.iter().enumerate() {
                self.gathered.add(known, place);
            }
        }
        let places = self.gathered.places.get(&self.gathered.hasher.hash_one(&finding.matter));
        let same = |place: &&usize| self.findings[**place].matter == finding.matter;
        match places.and_then(|places| places.iter().find(same)) {
            Some(place) => {
                let known = &mut self.findings[*place];
                known.impact = known.impact.max(finding.impact);
                known.subjects.extend(finding.subjects);
            }
            None if self.findings.len() >= MOST_FINDINGS && !finding.is_end() => {
                self.gathered.left_out += 1;
                self.gathered.worst = self.gathered.worst.max(Some(finding.impact));
            }
            None => {
                self.gathered.add(&finding, self.findings.len());
                self.findings.push(finding);
            }
        }
    }

    /// Returns a report about a source that could not be read. After a merge, the whole report is undecided or
    /// worse. `hint` is a possible remedy.
    pub fn of_failed_source(host: HostSummary, source: &str, reason: &str, hint: Option<&str>) -> Self {
        let mut report = Self::new(host);
        report.source = Some(Source::named(source));
        let (reason, hint) = (reason.to_owned(), hint.map(str::to_owned));
        let remark = Remark::SourceFailed { source: source.to_owned(), reason, hint };
        report.add_finding(Finding::remark(Impact::Undecided, remark, Vec::new()));
        report.concluded()
    }

    /// Adds the finding that the specification has a newer version than this program understands.
    pub(super) fn add_newer(&mut self, version: &str) {
        let subjects = self.subjects.iter().map(|subject| subject.path.clone()).collect();
        let remark = Remark::NewerDocument { version: version.to_owned() };
        self.add_finding(Finding::remark(Impact::Undecided, remark, subjects));
    }

    /// Adds the finding that the specification lists only names.
    pub(super) fn add_names_only(&mut self, names: usize) {
        self.exactness = Exactness::Names;
        let subjects = self.subjects.iter().map(|subject| subject.path.clone()).collect();
        self.add_finding(Finding::remark(Impact::Note, Remark::NamesOnly { names }, subjects));
    }

    /// Merges the report on another application on the same host. The exactness is that of the least exact report.
    pub fn merge(mut self, other: Self) -> Self {
        if other.exactness == Exactness::Names {
            self.exactness = Exactness::Names;
        }
        self.source = None;
        self.subjects.extend(other.subjects);
        for finding in other.findings {
            self.add_finding(finding);
        }
        self.concluded()
    }

    /// Concludes the report: sorts the findings and sets the verdict.
    pub(super) fn concluded(mut self) -> Self {
        let Gathered { left_out: count, worst, .. } = std::mem::take(&mut self.gathered);
        if let Some(impact) = worst {
            self.findings.push(Finding::remark(impact, Remark::FindingsLeftOut { count }, Vec::new()));
        }
        let is_minor = |finding: &Finding| finding.impact <= Impact::Warning;
        if self.subjects.is_empty() && self.findings.iter().all(is_minor) {
            let finding = Finding::remark(Impact::Undecided, Remark::NothingToCheck {}, Vec::new());
            self.findings.push(finding);
        }
        self.findings.sort_by_key(|finding| std::cmp::Reverse(finding.impact));
        let worst = self.findings.first().map_or(Impact::Note, |finding| finding.impact);
        self.verdict = worst.verdict();
        self
    }
}
