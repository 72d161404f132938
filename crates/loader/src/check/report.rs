//! The report: findings and the verdict, one form for text, JSON and services.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::catalogue;
use crate::loader::{Effect, Elsewhere, LeftToProgram, Load, PassedOver, Problem, Rule, Unknown};

/// The identifier of the report's schema.
pub const REPORT_IDENTIFIER: &str = "urn:compatlib:schema:report:1";

/// How many findings a report tells. Nobody reads as many.
const MOST_FINDINGS: usize = 5000;

/// Whether the application will run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It will.
    Compatible,
    /// It will not, or it will fail later.
    Incompatible,
    /// It cannot be told.
    Undecided,
}

/// How exact the answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Exactness {
    /// Names, versions and symbols were compared.
    Symbols,
    /// The document had nothing but the names of libraries.
    Names,
}

/// What a finding means for the application, from the least to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Impact {
    /// Nothing; something to know.
    Note,
    /// The loader prints a warning and goes on.
    Warning,
    /// It cannot be told what would happen.
    Undecided,
    /// The application starts, and fails or misbehaves later.
    Misbehaves,
    /// The application does not start.
    DoesNotStart,
}

impl Impact {
    /// The verdict when this is the worst finding.
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

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Matter {
    /// The loader would object.
    Problem(Problem),
    /// Something else that the reader should know.
    Remark(Remark),
}

/// What the loader would not object to, and the reader should know.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Remark {
    /// The document lists the names of libraries only, so versions and symbols were not compared.
    NamesOnly {
        /// How many names.
        names: usize,
    },
    /// The document names nothing that could be checked.
    NothingToCheck {},
    /// One of several sources could not be read.
    SourceFailed {
        /// The source.
        source: String,
        /// Why not.
        reason: String,
        /// What can be done about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
    /// More was found than a report tells.
    FindingsLeftOut {
        /// How many findings more.
        count: usize,
    },
    /// The image asks something of NVIDIA's driver, and the host has none: a container starts without it.
    DriverMissing {
        /// What it asks.
        asked: Vec<String>,
    },
    /// The image asks something of the host's drivers, and nothing is known of those.
    DriversUnknown {
        /// What it asks.
        asked: Vec<String>,
    },
    /// The host's driver does not meet a constraint, or it cannot be told whether it does.
    DriverConstraint {
        /// The variable of the image's configuration.
        variable: String,
        /// Its value.
        constraint: String,
        /// The driver's version.
        driver: String,
        /// The newest CUDA that it runs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cuda: Option<String>,
        /// The conditions that it does not meet.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unmet: Vec<String>,
        /// The conditions of which the driver's files say nothing.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unknown: Vec<String>,
    },
    /// NVIDIA's driver is installed, and its kernel module is not loaded.
    DriverNotLoaded {
        /// The driver's version.
        driver: String,
    },
    /// NVIDIA's driver is loaded, and there is no device node of it.
    DeviceMissing {
        /// The driver's version.
        driver: String,
    },
    /// A library of the driver that the image asks for is not on the host.
    DriverLibraryMissing {
        /// The capability that it stands for.
        capability: String,
        /// The library.
        library: String,
    },
    /// The document asks something that this program does not know.
    RequirementUnknown {},
    /// The document is of a newer minor version, which may say things that this program does not know.
    NewerDocument {
        /// Its version.
        version: String,
    },
    /// A library that recorded runs loaded would not load, or not as it should.
    RecordedLibrary {
        /// The name it is searched for by, or its path.
        library: String,
        /// The program that loaded it.
        program: String,
        /// In how many runs.
        seen: u32,
        /// How many runs were recorded.
        runs: u32,
        /// What the loader objects to.
        problem: Box<Problem>,
    },
    /// A program that recorded runs executed would not start, or not as it should.
    RecordedProgram {
        /// The program.
        program: String,
        /// In how many runs.
        seen: u32,
        /// How many runs were recorded.
        runs: u32,
        /// What the loader objects to.
        problem: Box<Problem>,
    },
    /// It cannot be told what a program that recorded runs executed would do.
    RecordedProgramUnknown {
        /// The program; empty where the recording does not tell which it was.
        program: String,
        /// In how many runs.
        seen: u32,
        /// How many runs were recorded.
        runs: u32,
        /// Why not.
        reason: Unknown,
    },
    /// Files of a directory that are no subjects on this host.
    PassedOver(PassedOver),
    /// A library that files of a directory need lies in it where they do not look: the program that loads or starts them
    /// has to load it before, or to say where it is.
    LeftToSearch {
        /// The name that it is asked for by.
        library: String,
        /// The file of the directory.
        path: String,
    },
    /// Symbols that a library, or one that it loads, expects from the program that loads it.
    LeftToProgram {
        /// The library.
        object: String,
        /// The symbols.
        symbols: Vec<String>,
    },
}

/// One reason for or against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What it means for the application.
    pub impact: Impact,
    /// What was found.
    #[serde(flatten)]
    pub matter: Matter,
    /// The subjects it was found for.
    pub subjects: Vec<String>,
    /// What the loader or the kernel would print.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The files among those of an image's finding that a container runtime brings from the host; the others
    /// are the image's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub of_host: Vec<String>,
    /// What in the files explains it.
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

    /// Whether it tells that not everything was looked at, which no report leaves out.
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

    /// What a subject needs from where it does not look. A library is loaded by a program that has it already; how a
    /// program is started nobody knows.
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

/// The verdict on one subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Subject {
    /// Its path in the scope.
    pub path: String,
    /// The verdict on it.
    pub verdict: Verdict,
}

/// The host that was compared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostSummary {
    /// The directory of its root file system, or the file of its profile; `/` is this machine.
    pub root: String,
    /// Whether it is a saved host.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub saved: bool,
    /// The machine of its CPU.
    pub machine: String,
    /// The x86-64 level of its CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isa: Option<String>,
    /// Its kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
}

/// Where the specification came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// What was asked for.
    pub reference: String,
    /// The digest of the artifact's manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The manifest that the artifact was attached to: `artifact` (none), `manifest`, `platform` or
    /// `index`; `generated` where it was derived from the image itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// How many compatibility artifacts are attached there, if there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidates: Option<usize>,
    /// Why the one with this digest counts, if there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<String>,
}

impl Source {
    /// What was asked for, of which nothing else is known.
    pub fn named(reference: impl Into<String>) -> Self {
        let reference = reference.into();
        Self { reference, digest: None, level: None, candidates: None, chosen: None }
    }
}

/// The findings and the verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The identifier of this document's schema.
    #[serde(rename = "$schema")]
    pub schema: String,
    /// Whether the application will run.
    pub verdict: Verdict,
    /// How exact the answer is.
    pub exactness: Exactness,
    /// Where the specification came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// What it was compared with.
    pub host: HostSummary,
    /// The verdict on each subject.
    pub subjects: Vec<Subject>,
    /// The reasons, the worst first.
    pub findings: Vec<Finding>,
    /// The findings by what was found, while they are gathered.
    #[serde(skip)]
    #[schemars(skip)]
    gathered: Gathered,
}

/// Findings by the hash of what was found, so that any number of them is told apart in one pass.
#[derive(Clone, Debug, Default)]
struct Gathered {
    hasher: RandomState,
    places: HashMap<u64, Vec<usize>>,
    left_out: usize,
    /// The worst of what was left out.
    worst: Option<Impact>,
}

/// It is no part of what a report says.
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
    /// A report without findings, which is not decided.
    pub fn new(host: HostSummary) -> Self {
        Self {
            schema: REPORT_IDENTIFIER.to_owned(),
            verdict: Verdict::Undecided,
            exactness: Exactness::Symbols,
            source: None,
            host,
            subjects: Vec::new(),
            findings: Vec::new(),
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

    /// The report, or a part of one, that stands for a source that could not be read: whatever the others say,
    /// the whole is undecided at the best. `hint` says what can be done about it.
    pub fn of_failed_source(host: HostSummary, source: &str, reason: &str, hint: Option<&str>) -> Self {
        let mut report = Self::new(host);
        report.source = Some(Source::named(source));
        let (reason, hint) = (reason.to_owned(), hint.map(str::to_owned));
        let remark = Remark::SourceFailed { source: source.to_owned(), reason, hint };
        report.add_finding(Finding::remark(Impact::Undecided, remark, Vec::new()));
        report.concluded()
    }

    /// Tells that the document is of a newer version than this program knows.
    pub(super) fn tell_newer(&mut self, version: &str) {
        let subjects = self.subjects.iter().map(|subject| subject.path.clone()).collect();
        let remark = Remark::NewerDocument { version: version.to_owned() };
        self.add_finding(Finding::remark(Impact::Undecided, remark, subjects));
    }

    /// Tells that names were all that the document had.
    pub(super) fn tell_names_only(&mut self, names: usize) {
        self.exactness = Exactness::Names;
        let subjects = self.subjects.iter().map(|subject| subject.path.clone()).collect();
        self.add_finding(Finding::remark(Impact::Note, Remark::NamesOnly { names }, subjects));
    }

    /// Adds what was found about another application on the same host. How exact the whole is, is how
    /// exact its least exact part is.
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

    /// Draws the verdict from the findings.
    pub(super) fn concluded(mut self) -> Self {
        let Gathered { left_out: count, worst, .. } = std::mem::take(&mut self.gathered);
        if let Some(impact) = worst {
            self.findings.push(Finding::remark(impact, Remark::FindingsLeftOut { count }, Vec::new()));
        }
        let tells_nothing = |finding: &Finding| finding.impact <= Impact::Warning;
        if self.subjects.is_empty() && self.findings.iter().all(tells_nothing) {
            let finding = Finding::remark(Impact::Undecided, Remark::NothingToCheck {}, Vec::new());
            self.findings.push(finding);
        }
        self.findings.sort_by_key(|finding| std::cmp::Reverse(finding.impact));
        let worst = self.findings.first().map_or(Impact::Note, |finding| finding.impact);
        self.verdict = worst.verdict();
        self
    }
}
