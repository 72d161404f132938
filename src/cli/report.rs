//! A report as text for people: missing libraries, the objects that need them, and the host's alternatives.

mod problem;
mod remark;
mod start;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use compat_loader::check::catalogue;
use compat_loader::check::{Exactness, Finding, Impact, Matter, Remark, Report, Verdict};
use compat_loader::loader::Problem;
use compat_sys::raw;

pub(super) use problem::describe;
use remark::times;

/// The maximum number of names that a list shows. The rest is counted.
const MOST_NAMES: usize = 8;

/// Returns the report as text, with terminal styles.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    let (word, style) = match report.verdict {
        Verdict::Compatible => ("compatible", AnsiColor::Green.on_default().bold()),
        Verdict::Incompatible => ("incompatible", AnsiColor::Red.on_default().bold()),
        Verdict::Undecided => ("undecided", AnsiColor::Yellow.on_default().bold()),
    };
    let _ = writeln!(text, "{style}{word}{style:#}: {}", printable(&headline(report)));
    for group in groups(report) {
        render_group(&mut text, &group);
    }
    if let Some(advice) = advice(&report.findings) {
        let _ = writeln!(text, "{advice}");
    }
    if let Some(note) = footnote(report) {
        let _ = writeln!(text, "{note}");
    }
    text
}

/// Returns the reports on several sources as text. Each is introduced by the name of its source.
pub fn render_each(reports: &[(String, Report)]) -> String {
    let bold = Style::new().bold();
    let one = |(source, report): &(String, Report)| {
        format!("{bold}{}{bold:#}\n{}", printable(source), render(report))
    };
    reports.iter().map(one).collect::<Vec<_>>().join("\n")
}

/// Returns a line of the report with control characters escaped. Names come from untrusted documents and must not
/// control the terminal.
pub(super) fn printable(line: &str) -> String {
    compat_oci::text::shown(&raw::shown(line), 4000)
}

/// A name that would control a terminal if it were printed unescaped.
#[cfg(test)]
pub(super) const STEERING: &str = "lib\u{1b}[31mX\u{9b}m\u{202e}\u{efff}.so";

fn headline(report: &Report) -> String {
    let place = match report.host.root.as_str() {
        root if report.host.saved => format!("the host saved in {root}"),
        "/" => "this machine".to_owned(),
        root => format!("the root {root}"),
    };
    let subjects = names(report.subjects.iter().map(|subject| subject.path.as_str()));
    let is_one = report.subjects.len() == 1;
    let misbehaves = report.findings.iter().any(|finding| finding.impact == Impact::Misbehaves);
    let refuses = report.findings.iter().any(|finding| finding.impact == Impact::DoesNotStart);
    match report.verdict {
        Verdict::Compatible if start::is_followed_in_part(report) => {
            let start = if is_one { "starts" } else { "start" };
            format!("{subjects} {start} on {place}, but scripts were not checked completely")
        }
        Verdict::Compatible if is_one => format!("{subjects} runs on {place}"),
        Verdict::Compatible => format!("{subjects} run on {place}"),
        Verdict::Incompatible if misbehaves && !refuses => {
            format!("{} would start on {place} and fail later", failing(report))
        }
        Verdict::Incompatible => format!("{} would not start on {place}", failing(report)),
        Verdict::Undecided => format!("could not decide whether {subjects} runs on {place}"),
    }
}

fn failing(report: &Report) -> String {
    let failing = report.subjects.iter().filter(|subject| subject.verdict == Verdict::Incompatible);
    names(failing.map(|subject| subject.path.as_str()))
}

/// Returns names for a sentence: the first few, and the number of the others.
pub(super) fn names<'a>(all: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<&str> = all.collect();
    match all.len() {
        0 => "the application".to_owned(),
        count if count > MOST_NAMES => {
            format!("{} and {} more", all[..MOST_NAMES].join(", "), count - MOST_NAMES)
        }
        _ => all.join(", "),
    }
}

/// Findings that are printed together: the missing versions of one library, or the missing symbols of one object.
struct Group<'a> {
    impact: Impact,
    sentence: String,
    details: Vec<String>,
    findings: Vec<&'a Finding>,
}

fn groups(report: &Report) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut known: HashMap<Common<'_>, usize> = HashMap::new();
    for finding in &report.findings {
        let place = match common(finding) {
            Some(common) => *known.entry(common).or_insert(groups.len()),
            None => groups.len(),
        };
        match groups.get_mut(place) {
            Some(group) => group.findings.push(finding),
            None => groups.push(Group {
                impact: finding.impact,
                sentence: String::new(),
                details: Vec::new(),
                findings: vec![finding],
            }),
        }
    }
    groups.iter_mut().for_each(|group| group.describe(report.is_of_image));
    groups
}

/// The properties that the findings of a group have in common.
#[derive(PartialEq, Eq, Hash)]
enum Common<'a> {
    /// Missing versions of one file: the file, and the newest version of the same family.
    Versions(&'a str, &'a str),
    /// Missing versions of one file without versions of that family: the file, and the object that needs them.
    Family(&'a str, &'a str),
    /// Missing symbols of one object: the library, the object, the version, and whether they are only called.
    Symbols(Option<&'a str>, &'a str, Option<&'a str>, bool),
    /// Missing libraries that recorded runs loaded: the program, the number of runs that loaded them, and all
    /// runs.
    Recorded(&'a str, u32, u32),
    /// Scripts whose commands were not checked: the interpreter.
    Scripts(&'a str),
}

fn common(finding: &Finding) -> Option<Common<'_>> {
    match &finding.matter {
        Matter::Problem(Problem::VersionMissing { path, wanted_by, highest, .. }) => {
            Some(match highest.as_deref() {
                Some(highest) => Common::Versions(path, highest),
                None => Common::Family(path, wanted_by),
            })
        }
        Matter::Problem(Problem::SymbolMissing { library, wanted_by, version, lazy, .. }) => {
            Some(Common::Symbols(library.as_deref(), wanted_by, version.as_deref(), *lazy))
        }
        Matter::Problem(Problem::ScriptNotFollowed { interpreter, started: None, .. }) => {
            Some(Common::Scripts(interpreter))
        }
        Matter::Remark(Remark::RecordedLibrary { program, seen, runs, .. }) => {
            recorded_missing(finding).map(|_| Common::Recorded(program, *seen, *runs))
        }
        _ => None,
    }
}

impl Group<'_> {
    fn describe(&mut self, is_of_image: bool) {
        let first = self.findings[0];
        match &first.matter {
            Matter::Problem(problem) => {
                self.sentence = self.problem(problem);
                self.details = details(problem);
            }
            Matter::Remark(Remark::RecordedLibrary { program, seen, runs, .. })
                if recorded_missing(first).is_some() =>
            {
                let missing = names(self.findings.iter().filter_map(|finding| recorded_missing(finding)));
                let (times, them) =
                    (times(*seen, *runs), if self.findings.len() == 1 { "it" } else { "them" });
                self.sentence = format!("{program} loaded {missing} {times}, but this host lacks {them}");
                return;
            }
            Matter::Remark(remark) => {
                self.sentence = remark::describe(remark);
                self.details = details_of_remark(remark);
                if matches!(remark, Remark::LeftToSearch { .. }) {
                    let subjects = names(first.subjects.iter().map(String::as_str));
                    self.details.push(format!("needed by {subjects}"));
                }
            }
        }
        self.details.extend(first.message.iter().map(|message| format!("would print: {message}")));
        let of_host: BTreeSet<&str> = self.each(|finding| &finding.of_host).collect();
        if !of_host.is_empty() {
            let of_host = names(of_host.into_iter());
            self.details.push(format!("from the host: {of_host} (all other paths are in the image)"));
        } else if is_of_image && is_inherent(&first.matter) {
            self.details.push("all paths are in the image, so this fails on every host".to_owned());
        }
        let mut known = HashSet::new();
        let hints: Vec<&str> =
            self.each(|finding| &finding.hints).filter(|hint| known.insert(*hint)).collect();
        let hints: Vec<String> = hints.iter().take(MOST_NAMES).map(|hint| format!("hint: {hint}")).collect();
        self.details.extend(hints);
    }

    /// Returns one kind of text of all findings.
    fn each(&self, texts: impl Fn(&Finding) -> &Vec<String>) -> impl Iterator<Item = &str> {
        self.findings.iter().flat_map(move |finding| texts(finding)).map(String::as_str)
    }

    /// Returns the objects that need something, each once: the first few, and the number of the others.
    fn wanting(&self) -> (String, &'static str) {
        let mut known = HashSet::new();
        let all = self.findings.iter().filter_map(|finding| match &finding.matter {
            Matter::Problem(
                Problem::VersionMissing { wanted_by, .. } | Problem::SymbolMissing { wanted_by, .. },
            ) => Some(wanted_by.as_str()),
            _ => None,
        });
        let all: Vec<&str> = all.filter(|object| known.insert(*object)).collect();
        let verb = if all.len() == 1 { "needs" } else { "need" };
        (names(all.into_iter()), verb)
    }

    fn problem(&self, problem: &Problem) -> String {
        match problem {
            Problem::VersionMissing { library, highest, .. } => {
                let mut known = HashSet::new();
                let versions = self.findings.iter().filter_map(|finding| missing_version(finding));
                let wanted = names(versions.filter(|version| known.insert(*version)));
                let (wanting, need) = self.wanting();
                match highest {
                    Some(highest) => {
                        format!("{library} has versions up to {highest}, but {wanting} {need} {wanted}")
                    }
                    None => format!("{library} lacks {wanted}, which {wanting} {need}"),
                }
            }
            Problem::SymbolMissing { library, wanted_by, version, lazy, .. } => {
                let symbols = names(self.findings.iter().filter_map(|finding| missing_symbol(finding)));
                let of = match (library, version) {
                    (Some(library), Some(version)) => format!(" with version {version} (of {library})"),
                    _ => String::new(),
                };
                let when = if *lazy { " (it would fail at the first call)" } else { "" };
                format!("no loaded object defines {symbols}{of}, which {wanted_by} needs{when}")
            }
            Problem::ScriptNotFollowed { interpreter, started: None, .. } if self.findings.len() > 1 => {
                let scripts = names(self.findings.iter().filter_map(|finding| match &finding.matter {
                    Matter::Problem(problem) => problem.object(),
                    Matter::Remark(_) => None,
                }));
                format!("{scripts} are scripts for {interpreter}: their commands were not checked")
            }
            other => describe(other),
        }
    }
}

/// Returns whether the files alone decide about a finding, and not the CPU, kernel or drivers of a host.
fn is_inherent(matter: &Matter) -> bool {
    let Matter::Problem(problem) = matter else { return false };
    matches!(
        problem,
        Problem::InterpreterMissing { .. }
            | Problem::LoaderMissing { .. }
            | Problem::LibraryMissing { .. }
            | Problem::LibraryUnusable { .. }
            | Problem::VersionMissing { .. }
            | Problem::VersionUnknown { .. }
            | Problem::SymbolMissing { .. }
            | Problem::ProgramMissing { .. }
            | Problem::ScriptFails { .. }
            | Problem::NotExecutable { .. }
    )
}

fn missing_version(finding: &Finding) -> Option<&str> {
    match &finding.matter {
        Matter::Problem(Problem::VersionMissing { version, .. }) => Some(version),
        _ => None,
    }
}

/// Returns the library of recorded runs that the host lacks.
fn recorded_missing(finding: &Finding) -> Option<&str> {
    match &finding.matter {
        Matter::Remark(Remark::RecordedLibrary { library, problem, .. }) => match &**problem {
            Problem::LibraryMissing { library: missing, rejected, .. } => {
                Some(library.as_str()).filter(|library| library == missing && rejected.is_empty())
            }
            _ => None,
        },
        _ => None,
    }
}

fn missing_symbol(finding: &Finding) -> Option<&str> {
    match &finding.matter {
        Matter::Problem(Problem::SymbolMissing { symbol, .. }) => Some(symbol),
        _ => None,
    }
}

/// Returns lines that help to find the cause.
fn details(problem: &Problem) -> Vec<String> {
    match problem {
        Problem::VersionMissing { path, .. } => vec![format!("found: {path}")],
        Problem::LibraryMissing { searched, rejected, .. }
        | Problem::DlopenMissing { searched, rejected, .. } => {
            let searched = searched.iter().map(String::as_str);
            let mut lines = vec![format!("searched: {}", names_or_nothing(searched))];
            let skipped = rejected.iter().take(MOST_NAMES);
            lines.extend(skipped.map(|file| format!("skipped: {} ({})", file.path, file.reason)));
            lines
        }
        Problem::LibraryUncertain { rejected, .. } => {
            rejected.iter().map(|file| format!("{}: {}", file.path, file.reason)).collect()
        }
        Problem::Packed { .. }
        | Problem::InterpreterMissing { .. }
        | Problem::Interpreted { .. }
        | Problem::ScriptNotFollowed { .. } => start::details(problem),
        Problem::ProgramMissing { program, .. } if program.ends_with('\r') => start::details(problem),
        Problem::ProgramMissing { searched, .. } if !searched.is_empty() => {
            vec![format!("searched: {}", names_or_nothing(searched.iter().map(String::as_str)))]
        }
        _ => Vec::new(),
    }
}

fn details_of_remark(remark: &Remark) -> Vec<String> {
    let Remark::DriverConstraint { unmet, unknown, .. } = remark else { return Vec::new() };
    let mut lines = Vec::new();
    if !unmet.is_empty() {
        lines.push(format!("not met: {}", unmet.join(", ")));
    }
    if !unknown.is_empty() {
        lines.push(format!("undecided, because the driver's files do not show it: {}", unknown.join(", ")));
    }
    lines
}

fn names_or_nothing<'a>(all: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<&str> = all.collect();
    if all.is_empty() { "only the loader's cache".to_owned() } else { all.join(", ") }
}

fn render_group(text: &mut String, group: &Group<'_>) {
    let (mark, style) = match group.impact {
        Impact::DoesNotStart | Impact::Misbehaves => ("x", AnsiColor::Red.on_default().bold()),
        Impact::Undecided => ("?", AnsiColor::Yellow.on_default().bold()),
        Impact::Warning => ("!", AnsiColor::Yellow.on_default()),
        Impact::Note => ("-", Style::new()),
    };
    let _ = writeln!(text, "  {style}{mark}{style:#} {}", printable(&group.sentence));
    let dim = Style::new().dimmed();
    for line in &group.details {
        let _ = writeln!(text, "    {dim}{}{dim:#}", printable(line));
    }
}

/// Returns the command that explains the findings and their remedies, or `None` if notes are the only findings.
fn advice(findings: &[Finding]) -> Option<String> {
    let serious = findings.iter().filter(|finding| finding.impact > Impact::Note);
    let mut known = HashSet::new();
    let kinds: Vec<&str> = serious.map(kind).filter(|kind| known.insert(*kind)).collect();
    match kinds.as_slice() {
        [] => None,
        [kind] => Some(format!("for the remedy, run `compat explain {kind}`")),
        all => Some(format!("for the remedies, run `compat explain KIND` (kinds: {})", all.join(", "))),
    }
}

/// Returns the kind of a finding. For a recorded file, this is the kind of its problem, which determines the remedy.
fn kind(finding: &Finding) -> &'static str {
    match &finding.matter {
        Matter::Remark(Remark::RecordedLibrary { problem, .. } | Remark::RecordedProgram { problem, .. }) => {
            catalogue::of_problem(problem).name
        }
        matter => catalogue::of(matter).name,
    }
}

fn footnote(report: &Report) -> Option<String> {
    let source = report.source.as_ref()?;
    let level = match source.level.as_deref() {
        Some("generated") => {
            let image = source.digest.as_deref().unwrap_or(&source.reference);
            return Some(format!(
                "decided by the layers of {}, which were read for this check",
                printable(image)
            ));
        }
        Some("platform") => "attached to the image of this platform",
        Some("index") => "attached to the image's index",
        Some("manifest") => "attached to the image",
        _ => return None,
    };
    let exact = if report.exactness == Exactness::Names { ", names only" } else { "" };
    let chosen = source.chosen.as_ref().map(|chosen| format!(", {chosen}")).unwrap_or_default();
    let artifact = source.digest.as_deref().unwrap_or("the artifact");
    Some(format!("decided by {artifact} {level}{chosen}{exact}"))
}

#[cfg(test)]
mod tests;
