//! Root file systems to check against, and the dynamic loader's own word about them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use super::Workspace;
use super::case::tool;
use super::process::{outcome, run};

/// What `ld.so` says about a program in a root.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LoaderAnswer {
    /// Sonames it does not find.
    pub missing_libraries: BTreeSet<String>,
    /// Symbol versions it does not find, with the library that lacks them.
    pub missing_versions: BTreeSet<(String, String)>,
    /// Sonames it finds, by their file name.
    pub found: BTreeSet<String>,
}

impl LoaderAnswer {
    /// Whether the program starts.
    pub fn is_clean(&self) -> bool {
        self.missing_libraries.is_empty() && self.missing_versions.is_empty()
    }
}

/// Where roots are kept from run to run: making one takes a minute.
fn store() -> PathBuf {
    let kept = std::env::var_os("COMPAT_TEST_ROOTS").map(PathBuf::from);
    let folder = kept.unwrap_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("roots"));
    fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    folder
}

/// The root of a Debian release, made with debootstrap when it is not there yet.
pub fn debian(workspace: &Workspace, release: &str) -> PathBuf {
    debian_with(workspace, release, &[])
}

/// The same with further packages.
pub fn debian_with(workspace: &Workspace, release: &str, packages: &[&str]) -> PathBuf {
    let names: Vec<&str> = [release].into_iter().chain(packages.iter().copied()).collect();
    kept(&names.join("-"), |partial| {
        let mut command = Command::new(tool("debootstrap"));
        command.arg("--variant=minbase");
        if !packages.is_empty() {
            command.arg(format!("--include={}", packages.join(",")));
        }
        run(workspace, command.arg(release).arg(partial));
        let _ = fs::remove_dir_all(partial.join("var/cache/apt"));
    })
}

/// The root of a Debian release for another architecture. If this machine does not run its programs, its packages
/// are unpacked and not configured.
pub fn debian_of(workspace: &Workspace, release: &str, architecture: &str) -> PathBuf {
    let is_run_here = architecture == "i386" && cfg!(target_arch = "x86_64");
    kept(&format!("{release}-{architecture}"), |partial| {
        let mut command = Command::new(tool("debootstrap"));
        command.args(["--variant=minbase", &format!("--arch={architecture}")]);
        if !is_run_here {
            command.arg("--foreign");
        }
        run(workspace, command.arg(release).arg(partial));
        for left in ["debootstrap", "var/cache/apt"] {
            let _ = fs::remove_dir_all(partial.join(left));
        }
    })
}

/// A folder that is kept from run to run: `make` fills it when it is not there yet.
pub fn kept(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    static MAKING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = MAKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = store().join(name);
    if !folder.is_dir() {
        let partial = store().join(format!("{name}.partial"));
        let _ = fs::remove_dir_all(&partial);
        make(&partial);
        fs::rename(&partial, &folder).expect("the finished folder takes its name");
    }
    folder
}

/// A root that holds a program, what the loader opens for it, and `env`; nothing else.
pub fn minimal(workspace: &Workspace, name: &str, program: &Path) -> PathBuf {
    let root = workspace.folder(name);
    for file in [program, Path::new("/usr/bin/env")] {
        copy_into(&root, file);
        for library in opened_here(workspace, file) {
            copy_into(&root, &library);
        }
    }
    root
}

/// A root with a static shell and no libc at all.
pub fn busybox(workspace: &Workspace) -> PathBuf {
    let root = workspace.folder("busybox");
    fs::create_dir_all(root.join("bin")).expect("folders of a root");
    fs::copy(tool("busybox"), root.join("bin/sh")).expect("a shell of the root");
    root
}

/// Copies a file to the same path in a root, links followed.
pub fn copy_into(root: &Path, file: &Path) {
    let target = inside(root, file);
    fs::create_dir_all(target.parent().expect("a file is in a folder")).expect("folders of a root");
    fs::copy(file, &target)
        .unwrap_or_else(|error| panic!("{} to {}: {error}", file.display(), target.display()));
}

/// A path of this machine in a root.
pub fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// The files that this machine's loader opens for one of its own programs.
pub fn opened_here(workspace: &Workspace, program: &Path) -> Vec<PathBuf> {
    let text = run(workspace, Command::new(program).env("LD_TRACE_LOADED_OBJECTS", "1"));
    let path = |line: &str| {
        let right = line.split_once("=>").map_or(line, |(_, right)| right);
        let word = right.split_whitespace().next()?;
        word.starts_with('/').then(|| PathBuf::from(word))
    };
    text.lines().filter_map(path).collect()
}

/// Asks the root's own loader about a program of the root. The variables are set inside, so that
/// they do not reach `chroot` itself.
pub fn ask_loader(workspace: &Workspace, root: &Path, program: &Path) -> LoaderAnswer {
    let mut command = Command::new(tool("chroot"));
    command.arg(root).arg("/usr/bin/env");
    command.args(["LD_TRACE_LOADED_OBJECTS=1", "LD_WARN=1", "LD_BIND_NOW=1"]).arg(program);
    let (_, stdout, stderr) = outcome(workspace, &mut command);
    parse_trace(&format!("{stdout}\n{stderr}"))
}

/// Reads the loader's trace: `libz.so.1 => not found`, `libc.so.6 => /lib/… (0x…)` and
/// `PROGRAM: /lib/…/libc.so.6: version `GLIBC_2.34' not found (required by PROGRAM)`.
fn parse_trace(text: &str) -> LoaderAnswer {
    let mut answer = LoaderAnswer::default();
    for line in text.lines() {
        if let Some((left, version)) = line.split_once(": version `") {
            let library = left.rsplit('/').next().unwrap_or(left).to_owned();
            let version = version.split('\'').next().unwrap_or_default().to_owned();
            answer.missing_versions.insert((library, version));
        } else if let Some((name, place)) = line.trim().split_once(" => ") {
            let set = if place.starts_with("not found") {
                &mut answer.missing_libraries
            } else {
                &mut answer.found
            };
            set.insert(name.to_owned());
        }
    }
    answer
}

/// A program that is in a root for the time of a case: roots are shared.
pub struct Guest {
    file: PathBuf,
    /// Its path inside the root.
    pub path: PathBuf,
}

impl Guest {
    /// Copies a program of this machine into the root's folder for temporary files.
    pub fn new(workspace: &Workspace, root: &Path, program: &Path) -> Self {
        let name = workspace.root().file_name().expect("a workspace has a name");
        let path = Path::new("/tmp").join(name);
        let file = inside(root, &path);
        fs::copy(program, &file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        Self { file, path }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

/// The parser must tell a trace's three kinds of lines apart, or every comparison with it is void.
pub fn check_parser() {
    let answer = parse_trace(
        "/tmp/git: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.34' not found (required by /tmp/git)\n\
         \tlinux-vdso.so.1 (0x00007ffe)\n\tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007f)\n\
         \tlibpcre2-8.so.0 => not found\n",
    );
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(answer.missing_libraries, set(&["libpcre2-8.so.0"]));
    assert_eq!(answer.found, set(&["libz.so.1"]));
    assert!(answer.missing_versions.contains(&("libc.so.6".to_owned(), "GLIBC_2.34".to_owned())));
}
