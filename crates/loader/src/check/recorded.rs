//! Compares the programs and libraries of recorded runs with a host.
//!
//! A run executed and loaded these files, but the application may not need them: it may try one plugin after the
//! other. So if such a file would not load, the verdict is undecided instead of compatible, and never incompatible
//! for that reason.

use std::collections::HashSet;

use crate::check::report::Finding;
use crate::check::{Impact, Matter, Remark, Report};
use crate::loader::{Application, Load, Problem, RecordedStart, ScopeContext, Unknown};
use crate::spec::Recorded;

/// The worst impact of a recorded file that does not load.
const WORST: Impact = Impact::Undecided;

impl Report {
    /// Adds the findings about the programs and libraries of recorded runs.
    pub(super) fn add_recorded(
        &mut self,
        recorded: &Recorded,
        application: &Application,
        context: ScopeContext<'_>,
    ) {
        let subjects: HashSet<String> = self.subjects.iter().map(|subject| subject.path.clone()).collect();
        application.start_recorded(recorded, context, |start| {
            let is_subject = subjects.contains(&start.program.path);
            for finding in findings(&start, recorded.runs, is_subject) {
                self.add_recorded_finding(finding, &start.program.path);
            }
        });
    }

    /// Adds a finding to the subject that it is about, or to all subjects if the program is not a subject.
    fn add_recorded_finding(&mut self, mut finding: Finding, program: &str) {
        let is_one = self.subjects.iter().any(|subject| subject.path == program);
        for subject in self.subjects.iter_mut().filter(|subject| !is_one || subject.path == program) {
            if finding.impact >= Impact::Undecided && subject.verdict == Impact::Note.verdict() {
                subject.verdict = WORST.verdict();
            }
            if finding.subjects.len() < MOST_SUBJECTS && !finding.subjects.contains(&subject.path) {
                finding.subjects.push(subject.path.clone());
            }
        }
        self.add_finding(finding);
    }
}

/// The maximum number of subjects that such a finding lists.
const MOST_SUBJECTS: usize = 16;

/// Returns the findings about one program. The problems of a subject's own start were added before.
fn findings(start: &RecordedStart<'_>, runs: u32, is_subject: bool) -> Vec<Finding> {
    let program = start.program;
    // For a program that was gone, the finding that it is missing here adds nothing.
    let is_gone = |problem: &Problem| {
        start.unknown == Some(Unknown::Gone) && matches!(problem, Problem::NotAProgram { .. })
    };
    // The recording shows the commands of a script.
    let is_script = |problem: &Problem| matches!(problem, Problem::ScriptNotFollowed { .. });
    let own = start.problems.iter().filter(|problem| !is_script(problem));
    let own = own.filter(|problem| !(is_subject || is_gone(problem)) || is_end(problem));
    let own = own.map(|problem| {
        let remark = Remark::RecordedProgram {
            program: program.path.clone(),
            seen: program.seen,
            runs,
            problem: Box::new(problem.clone()),
        };
        finding(problem, remark)
    });
    let of_libraries = start.of_libraries.iter().map(|(library, problem)| {
        let remark = Remark::RecordedLibrary {
            library: library.name.as_ref().unwrap_or(&library.path).clone(),
            program: program.path.clone(),
            seen: library.seen,
            runs,
            problem: Box::new(problem.clone()),
        };
        finding(problem, remark)
    });
    let unknown = start.unknown.map(|reason| {
        let (program, seen) = (program.path.clone(), program.seen);
        let remark = Remark::RecordedProgramUnknown { program, seen, runs, reason };
        Finding::remark(WORST, remark, Vec::new())
    });
    own.chain(of_libraries).chain(unknown).collect()
}

fn is_end(problem: &Problem) -> bool {
    matches!(problem, Problem::EffortExceeded { .. })
}

fn finding(problem: &Problem, remark: Remark) -> Finding {
    let plain = Finding::of_problem(problem, "", &Load::default());
    // The finding that the check stopped early stays unchanged.
    let matter = if is_end(problem) { plain.matter.clone() } else { Matter::Remark(remark) };
    Finding { impact: plain.impact.min(WORST), matter, subjects: Vec::new(), ..plain }
}
