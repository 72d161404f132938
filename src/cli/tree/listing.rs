//! A tree as lists: the load order, the dependency chains of one library, the bindings.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use crate::app::tree::Why;
use crate::app::tree::{Place, Tree, TreeBinding, TreeObject};
use crate::cli::tree::render::{conclusion, problems, rule};
use compat_loader::loader::Problem;

/// Returns every library in load order, as ldd prints them.
pub(super) fn flat(tree: &Tree, with_subject: bool) -> String {
    let mut text = String::new();
    if with_subject {
        let _ = writeln!(text, "{}:", tree.subject);
    }
    let mut missing: Vec<&str> = Vec::new();
    for edge in tree.objects.iter().flat_map(|object| &object.needs) {
        if let Some(object) = edge.loaded().map(|object| &tree.objects[object]) {
            let why = rule(&object.found);
            let _ = if object.path == edge.name {
                writeln!(text, "\t{} ({why})", edge.name)
            } else {
                writeln!(text, "\t{} => {} ({why})", edge.name, object.path)
            };
        } else if edge.is_mandatory()
            && edge.object.is_none()
            && !edge.is_kernels()
            && !missing.contains(&edge.name.as_str())
        {
            missing.push(&edge.name);
            let red = AnsiColor::Red.on_default().bold();
            let _ = writeln!(text, "\t{} => {red}not found{red:#}", edge.name);
        }
    }
    if tree.objects.iter().all(|object| object.needs.is_empty()) && tree.problems.is_empty() {
        let _ = writeln!(text, "\tneeds nothing");
    }
    for line in trouble(tree) {
        let _ = writeln!(text, "\t{line}");
    }
    text
}

/// Returns the problems that the list does not show.
fn trouble(tree: &Tree) -> Vec<String> {
    let is_listed = |problem: &Problem| matches!(problem, Problem::LibraryMissing { .. });
    let mut places: Vec<Option<Place>> = Vec::new();
    for problem in tree.problems.iter().filter(|problem| !is_listed(&problem.problem)) {
        if !places.contains(&problem.at) {
            places.push(problem.at);
        }
    }
    places.into_iter().flat_map(|place| problems(tree, place)).collect()
}

/// Returns every dependency chain to one library.
pub(super) fn chains(tree: &Tree, why: &Why) -> String {
    let mut text = String::new();
    if why.chains.is_empty() {
        let _ = writeln!(text, "nothing in {} needs {}", tree.subject, why.name);
        return text;
    }
    let found = tree.objects.iter().find(|object| object.goes_by(&why.name));
    let bold = Style::new().bold();
    let _ = match found {
        Some(object) => {
            writeln!(text, "{bold}{}{bold:#} => {} ({})", why.name, object.path, rule(&object.found))
        }
        None => writeln!(text, "{bold}{}{bold:#} => not found", why.name),
    };
    for chain in &why.chains {
        let _ = writeln!(text, "  {}", chain.join(" -> "));
    }
    if why.truncated {
        let _ = writeln!(text, "  and more");
    }
    text
}

/// Returns the symbols of each object, grouped by the object that they would be bound to.
pub(super) fn bindings(tree: &Tree) -> String {
    let mut text = String::new();
    let bold = Style::new().bold();
    for object in &tree.objects {
        let bindings = object.bindings.as_deref().unwrap_or_default();
        let _ = writeln!(text, "{bold}{}{bold:#}", object.path);
        let providers = (0..tree.objects.len()).map(Some).chain([None]);
        for provider in providers {
            let bound: Vec<&TreeBinding> = bindings.iter().filter(|bound| bound.from == provider).collect();
            if !bound.is_empty() {
                let _ = writeln!(text, "  from {}", provider_name(tree, object, provider));
                bound.iter().for_each(|bound| symbol(&mut text, bound));
            }
        }
    }
    text.push_str(&conclusion(tree));
    text
}

fn provider_name<'a>(tree: &'a Tree, object: &TreeObject, provider: Option<usize>) -> &'a str {
    match provider.map(|provider| &tree.objects[provider]) {
        Some(provider) if std::ptr::eq(provider, object) => "itself",
        Some(provider) => &provider.path,
        None => "nothing",
    }
}

fn symbol(text: &mut String, bound: &TreeBinding) {
    let version = bound.version.as_ref().map(|version| format!("@{version}")).unwrap_or_default();
    let marks = [(bound.weak, "weak"), (bound.lazy, "lazy"), (bound.copy, "copied")];
    let marks: Vec<&str> = marks.into_iter().filter(|(set, _)| *set).map(|(_, mark)| mark).collect();
    let marks = if marks.is_empty() { String::new() } else { format!(" ({})", marks.join(", ")) };
    let _ = writeln!(text, "    {}{version}{marks}", bound.symbol);
}
