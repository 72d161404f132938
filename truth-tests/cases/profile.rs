//! Every ELF program of one root, checked for another root from its saved profile and from the root itself.
//!
//! `pair` compares the answer of the root with that of the loader. A profile of the same root gives the same
//! verdict for installed files. For other files, it may leave the verdict undecided if it does not record a
//! place.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use compat_loader::check::{Host, Options, Verdict, check_application};
use compat_loader::generate::{self, ProfileOptions};
use compat_loader::host::{Platform, Profile, Root};
use compat_loader::loader::HostFiles;

use crate::harness::case::DEBOOTSTRAP;
use crate::harness::{Case, Requirement, Workspace, model, print_figure, root};

/// The pairs `PROGRAMS:ROOT`. `this` is this machine.
const PAIRS: [&str; 5] =
    ["this:this", "bullseye:bullseye", "bookworm:bookworm", "bookworm:bullseye", "this:bookworm"];

/// The trees with the programs that are checked.
const TREES: [&str; 4] = ["/usr/bin", "/usr/sbin", "/usr/libexec", "/usr/lib"];

/// Returns one case for each pair.
pub fn all() -> Vec<Case> {
    let case = |pair: &'static str| {
        let requirements = [Requirement::Root, DEBOOTSTRAP];
        let needed = if pair == "this:this" { &requirements[..1] } else { &requirements[..] };
        Case::new(format!("profiles::{pair}"), needed, move |workspace| compare(workspace, pair))
    };
    PAIRS.into_iter().map(case).collect()
}

fn directory(workspace: &Workspace, name: &str) -> PathBuf {
    if name == "this" { PathBuf::from("/") } else { root::debian(workspace, name) }
}

fn compare(workspace: &Workspace, pair: &str) {
    let (from, to) = pair.split_once(':').expect("PROGRAMS:ROOT");
    let (from, to) = (directory(workspace, from), directory(workspace, to));
    let host = model::host(&to);
    let saved = saved(&to);
    let mut figures = [[0_usize; 3]; 3];
    let mut faults = Vec::new();
    let all = programs(&from);
    let found = all.len();
    for program in all {
        let options = generate::Options {
            paths: vec![root::inside(&from, Path::new(&program))],
            ..generate::Options::default()
        };
        let Ok(mut read) = generate::read(&options) else { continue };
        let above = Path::new(&program).parent().expect("a program is in a directory");
        read.application.location = Some(above.to_string_lossy().into_owned());
        let by_root = check_application(&read.application, &host).verdict;
        let by_profile = check_application(&read.application, &saved).verdict;
        figures[by_root as usize][by_profile as usize] += 1;
        let may_differ = from != to && by_profile == Verdict::Undecided;
        if by_root != by_profile && !may_differ {
            faults.push(format!("{program}: {by_root:?} by the root, {by_profile:?} by the profile"));
        }
    }
    print_figure(&format!("{pair}: root x profile, each compatible, incompatible, undecided: {figures:?}"));
    // A comparison without programs, or of undecided answers only, would find no difference.
    let compared: usize = figures.iter().flatten().sum();
    let decided: usize = figures.iter().flat_map(|row| &row[..2]).sum();
    assert!(compared > 150 && compared * 10 > found * 9, "{pair}: {compared} of {found} programs");
    assert!(decided * 10 > compared * 7, "{pair}: only {decided} of {compared} are decided by the profile");
    assert!(faults.is_empty(), "{pair}: {} differ\n{}", faults.len(), faults.join("\n"));
}

/// Returns the host that its profile describes, after writing and reading it.
fn saved(root: &Path) -> Host {
    let files = HostFiles::new(Root::at(root).expect("a root"));
    let profile = generate::profile(&files, &Platform::of_this_machine(), &ProfileOptions::default());
    let profile = Profile::parse(&profile.to_json()).expect("the profile is one");
    Host::of_profile(profile, root.display().to_string(), &Options::default())
}

/// Returns the ELF programs of a root, by their paths in it.
fn programs(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting: Vec<String> = TREES.map(str::to_owned).to_vec();
    while let Some(directory) = waiting.pop() {
        let entries = fs::read_dir(root::inside(root, Path::new(&directory)));
        for entry in entries.into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            let path = format!("{directory}/{}", entry.file_name().to_string_lossy());
            if metadata.is_dir() {
                waiting.push(path);
            } else if metadata.is_file()
                && metadata.permissions().mode() & 0o111 != 0
                && is_elf(&entry.path())
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn is_elf(path: &Path) -> bool {
    let mut head = [0; 4];
    File::open(path).is_ok_and(|mut file| file.read_exact(&mut head).is_ok()) && head == *b"\x7fELF"
}
