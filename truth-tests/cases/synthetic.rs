//! Synthetic objects for situations that no package shows: one case for each fixture case and C library.

use std::fs;
use std::path::{Path, PathBuf};

use super::fixture::{self, Fixture, Outcome};
use super::sandbox::{MUSL, Sandbox};
use crate::harness::case::DEBOOTSTRAP;
use crate::harness::{Case, Comparison, Requirement, Scene, Workspace, exception, model};

/// The releases with the glibc for every case.
const RELEASES: [&str; 2] = ["bullseye", "bookworm"];

/// The variable with more of them, separated by commas.
const VARIABLE: &str = "COMPAT_TRUTH_LIBCS";

/// Returns every case of every fixture.
pub fn all() -> Vec<Case> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("truth-tests/fixtures");
    let mut files: Vec<PathBuf> =
        fs::read_dir(&directory).expect("fixtures").flatten().map(|e| e.path()).collect();
    files.sort();
    files.iter().flat_map(|file| of_file(file)).collect()
}

fn of_file(file: &Path) -> Vec<Case> {
    let name = file.file_stem().expect("a file has a name").to_string_lossy().into_owned();
    let source = fs::read_to_string(file).expect("a fixture is text");
    let mut cases = Vec::new();
    for fixture in fixture::parse(&source, &name) {
        for library in libraries(&fixture) {
            cases.push(case(&name, fixture.clone(), library, file.to_owned()));
        }
    }
    cases
}

/// Returns the C libraries of a case, with `glibc` replaced by the releases.
fn libraries(fixture: &Fixture) -> Vec<String> {
    let more = std::env::var(VARIABLE).unwrap_or_default();
    let more = more.split(',').filter(|name| !name.is_empty()).map(str::to_owned);
    let every: Vec<String> = RELEASES.map(str::to_owned).into_iter().chain(more).collect();
    let of_name = |name: &String| if name == "glibc" { every.clone() } else { vec![name.clone()] };
    fixture.libraries.iter().flat_map(of_name).collect()
}

fn case(file: &str, fixture: Fixture, library: String, source: PathBuf) -> Case {
    let mut requirements = vec![Requirement::Root, Requirement::Tool("gcc"), Requirement::Tool("ldconfig")];
    requirements.push(if library == "musl" { Requirement::Tool("musl-gcc") } else { DEBOOTSTRAP });
    let name = format!("{file}::{}", fixture.name);
    Case::new(format!("synthetic::{name}::{library}"), &requirements, move |workspace| {
        compare(workspace, &name, &fixture, &library, source);
    })
}

fn compare(workspace: &Workspace, name: &str, fixture: &Fixture, library: &str, source: PathBuf) {
    let sandbox = Sandbox::new(workspace, library, source);
    fixture.steps.iter().for_each(|step| sandbox.take(step));
    let start = fixture.start.as_deref().unwrap_or("app");
    let scene = Scene {
        directory: fixture.directory.clone().unwrap_or_else(|| "/case".to_owned()),
        user: fixture.user,
        library_path: fixture.library_path.clone(),
        plugin: fixture.plugin.as_ref().map(|plugin| format!("/case/{plugin}")),
        musl: (library == "musl").then(|| MUSL.to_owned()),
        ..Scene::new(&sandbox.root, &format!("/case/{start}"))
    };
    let comparison = Comparison::of(&scene, &model::host(&sandbox.root));
    let mut faults = comparison.differences.clone();
    faults.extend(unexpected(&comparison, fixture.expected(library)));
    let excepted = exception::of(library).iter().any(|exception| exception.name == name);
    assert!(!excepted || !faults.is_empty(), "{name} no longer needs its exception for {library}");
    assert!(excepted || faults.is_empty(), "{name} with {library}:\n    {}", faults.join("\n    "));
}

/// Returns how the loader itself differs from the expectation of the fixture.
fn unexpected(comparison: &Comparison, expected: Option<Outcome>) -> Option<String> {
    let Comparison { lazy: (lazy, _), now: (now, _), misbehaves, .. } = comparison;
    let is_so = match expected? {
        Outcome::Loads => *lazy && *now && !misbehaves,
        Outcome::Misbehaves => *lazy && *misbehaves,
        Outcome::Refused => !lazy,
    };
    let expected = expected?;
    let what =
        format!("expected: {expected:?}; loader: lazy {lazy}, now {now}; compat: misbehaves {misbehaves}");
    (!is_so).then_some(what)
}
