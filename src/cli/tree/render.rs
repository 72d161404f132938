//! The tree as text for people.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use crate::app::tree::{Place, Tree, TreeEdge, TreeProblem};
use crate::cli::report;
use compat_loader::check::{Impact, Verdict};
use compat_loader::loader::{EdgeKind, KnownBy, Problem, Rejection, Rule};
use compat_loader::spec::DlopenPriority;

/// The maximum number of problems that are printed at one place. The rest is counted.
const MOST_PROBLEMS: usize = 8;

/// Returns the tree with its problems, at most `depth` levels deep, with terminal styles.
pub(super) fn tree(tree: &Tree, depth: usize) -> String {
    let mut renderer = Renderer { tree, depth, text: String::new() };
    renderer.subject();
    renderer.text.push_str(&conclusion(tree));
    renderer.text
}

/// Returns the rule that led to the file of an object.
pub(super) fn rule(rule: &Rule) -> String {
    match rule {
        Rule::Program => "the program".to_owned(),
        Rule::Interpreter => "the program's interpreter".to_owned(),
        Rule::Preload => "/etc/ld.so.preload".to_owned(),
        Rule::Path => "path".to_owned(),
        Rule::Rpath { object } => format!("rpath of {object}"),
        Rule::LibraryPath => "LD_LIBRARY_PATH".to_owned(),
        Rule::Runpath { object } => format!("runpath of {object}"),
        Rule::Cache => "ld.so.cache".to_owned(),
        Rule::DefaultDirectory => "default directory".to_owned(),
        Rule::Injected => "mounted from the host".to_owned(),
    }
}

/// Returns the verdict as a line, or an empty text if the subject is compatible.
pub(super) fn conclusion(tree: &Tree) -> String {
    let refuses = tree.problems.iter().any(|problem| problem.impact == Impact::DoesNotStart);
    let (word, style) = match tree.verdict {
        Verdict::Compatible => return String::new(),
        Verdict::Incompatible if refuses => ("would not start", AnsiColor::Red.on_default().bold()),
        Verdict::Incompatible => ("would start and fail later", AnsiColor::Red.on_default().bold()),
        Verdict::Undecided => ("could not be decided", AnsiColor::Yellow.on_default().bold()),
    };
    format!("{style}{}: {word}{style:#}\n", tree.subject)
}

/// Returns the problems of one place, one line each, with lines that help to find the cause.
pub(super) fn problems(tree: &Tree, at: Option<Place>) -> Vec<String> {
    let here: Vec<&TreeProblem> = tree.problems.iter().filter(|problem| problem.at == at).collect();
    let mut said: Vec<String> = here.iter().take(MOST_PROBLEMS).flat_map(|problem| told(problem)).collect();
    if here.len() > MOST_PROBLEMS {
        said.push(format!("and {} more", here.len() - MOST_PROBLEMS));
    }
    // Missing versions of one library share the line about its newest version.
    let later = |at: usize| said[at + 1..].contains(&said[at]);
    (0..said.len()).filter(|at| !later(*at)).map(|at| said[at].clone()).collect()
}

fn told(problem: &TreeProblem) -> Vec<String> {
    let (mark, style) = match problem.impact {
        Impact::DoesNotStart | Impact::Misbehaves => ("x", AnsiColor::Red.on_default().bold()),
        Impact::Undecided => ("?", AnsiColor::Yellow.on_default().bold()),
        Impact::Warning => ("!", AnsiColor::Yellow.on_default()),
        Impact::Note => ("-", Style::new()),
    };
    let said = problem.message.clone().unwrap_or_else(|| report::describe(&problem.problem));
    let when = match problem.problem {
        Problem::SymbolMissing { lazy: true, .. } | Problem::VersionlessProvider { lazy: true, .. } => {
            ", at the first call"
        }
        _ => "",
    };
    let said = report::printable(&said);
    let mut lines = vec![format!("{style}{mark}{style:#} {said}{when}")];
    match &problem.problem {
        Problem::LibraryMissing { searched, rejected, .. }
        | Problem::DlopenMissing { searched, rejected, .. } => lines.extend(sought(searched, rejected)),
        Problem::VersionMissing { highest: Some(highest), .. } => {
            let newest = format!("  the newest version is {highest}");
            lines.push(dimmed(&report::printable(&newest)));
        }
        _ => {}
    }
    lines
}

/// Returns the directories that were searched and the files that were skipped.
fn sought(searched: &[String], rejected: &[Rejection]) -> Vec<String> {
    let all = match searched {
        [] => "only the loader's cache".to_owned(),
        all => all.join(", "),
    };
    let skipped = rejected.iter().map(|file| format!("skipped: {} ({})", file.path, file.reason));
    let lines = std::iter::once(format!("searched: {all}")).chain(skipped);
    lines.map(|line| dimmed(&format!("  {}", report::printable(&line)))).collect()
}

fn dimmed(text: &str) -> String {
    let dim = Style::new().dimmed();
    format!("{dim}{text}{dim:#}")
}

struct Renderer<'a> {
    tree: &'a Tree,
    depth: usize,
    text: String,
}

impl Renderer<'_> {
    /// Adds the first line and everything below it.
    fn subject(&mut self) {
        let tree = self.tree;
        let roots: Vec<usize> = tree.roots().collect();
        let bold = Style::new().bold();
        let own = roots.first().filter(|root| tree.objects[**root].path == tree.subject);
        let loader = own.and_then(|root| tree.objects[*root].interpreter.as_deref());
        let loader = loader.map(|loader| dimmed(&format!(" (started by {loader})"))).unwrap_or_default();
        let _ = writeln!(self.text, "{bold}{}{bold:#}{loader}", tree.subject);
        let rail = if roots.is_empty() { "    " } else { "│   " };
        self.lines(rail, &problems(tree, None));
        match (own, roots.len()) {
            (Some(root), 1) => self.below(*root, "", 1),
            // A script and the programs that it starts, or a library and the program that opens it.
            _ => {
                for (number, root) in roots.iter().enumerate() {
                    let (branch, indent) = branches(number + 1 == roots.len());
                    let _ = writeln!(self.text, "{branch}{}", tree.objects[*root].path);
                    self.below(*root, indent, 2);
                }
            }
        }
        if !tree.left_to_program.is_empty() {
            let symbols = report::names(tree.left_to_program.iter().map(String::as_str));
            self.lines("", &[format!("- needs {symbols} from the program that loads it")]);
        }
    }

    /// Adds the problems of an object and the names that it needs.
    fn below(&mut self, object: usize, indent: &str, depth: usize) {
        let tree = self.tree;
        let needs = if depth > self.depth { &[][..] } else { &tree.objects[object].needs[..] };
        let rail = if needs.is_empty() { "    " } else { "│   " };
        self.lines(&format!("{indent}{rail}"), &problems(tree, Some(Place { object, need: None })));
        for (need, edge) in needs.iter().enumerate() {
            let (branch, rail) = branches(need + 1 == needs.len());
            let _ = writeln!(self.text, "{indent}{branch}{}", line(tree, edge));
            let indent = format!("{indent}{rail}");
            let deeper =
                edge.loaded().filter(|loaded| depth < self.depth && !tree.objects[*loaded].needs.is_empty());
            let own_rail = if deeper.is_some() { "│   " } else { "    " };
            let at = Place { object, need: Some(need) };
            self.lines(&format!("{indent}{own_rail}"), &problems(tree, Some(at)));
            if let Some(loaded) = edge.loaded() {
                self.below(loaded, &indent, depth + 1);
            }
        }
    }

    fn lines(&mut self, indent: &str, lines: &[String]) {
        for line in lines {
            let _ = writeln!(self.text, "{indent}{line}");
        }
    }
}

/// Returns the prefix of a line and the prefix of the lines below it.
fn branches(is_last: bool) -> (&'static str, &'static str) {
    if is_last { ("└── ", "    ") } else { ("├── ", "│   ") }
}

/// Returns one name and the file that it resolves to.
fn line(tree: &Tree, edge: &TreeEdge) -> String {
    let name = match kind(edge.kind) {
        Some(kind) => format!("{} ({kind})", edge.name),
        None => edge.name.clone(),
    };
    let red = AnsiColor::Red.on_default().bold();
    if let Some(available) = &edge.available {
        let file = dimmed(&format!("({})", rule(&available.found)));
        return format!("{name} => {} {file}", available.path);
    }
    let Some(object) = edge.object.map(|object| &tree.objects[object]) else {
        return if edge.is_kernels() {
            format!("{name} {}", dimmed("(provided by the kernel)"))
        } else if edge.is_mandatory() {
            format!("{name} => {red}not found{red:#}")
        } else {
            format!("{name} => not found")
        };
    };
    match edge.known_by {
        None if object.path == edge.name => {
            format!("{name} {}", dimmed(&format!("({})", rule(&object.found))))
        }
        None => format!("{name} => {} {}", object.path, dimmed(&format!("({})", rule(&object.found)))),
        Some(KnownBy::Name | KnownBy::Kernel) => format!("{name} {}", dimmed("(already loaded)")),
        Some(KnownBy::Soname) => {
            format!("{name} {}", dimmed(&format!("(already loaded: the soname of {})", object.path)))
        }
        Some(KnownBy::File) => {
            format!("{name} {}", dimmed(&format!("(already loaded: the same file as {})", object.path)))
        }
    }
}

/// Returns the kind of a need, unless it is a plain needed library.
fn kind(kind: EdgeKind) -> Option<&'static str> {
    match kind {
        EdgeKind::Needed => None,
        EdgeKind::Filter => Some("filter"),
        EdgeKind::Auxiliary => Some("auxiliary filter"),
        EdgeKind::Preload => Some("preload"),
        EdgeKind::Dlopen { priority } => Some(match priority {
            DlopenPriority::Required => "dlopen, required",
            DlopenPriority::Recommended => "dlopen, recommended",
            DlopenPriority::Suggested => "dlopen, suggested",
        }),
    }
}

#[cfg(test)]
mod tests;
