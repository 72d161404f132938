//! A root that contains only a C library and a case's own files in `/case`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use compat_loader::host::Root;

use super::fixture::Step;
use crate::harness::case::tool;
use crate::harness::process::run;
use crate::harness::{Workspace, root};

/// musl's loader on this machine.
pub const MUSL: &str = concat!("/lib/ld-musl-", "x86_64", ".so.1");

/// glibc's loader and the directory of its libraries.
const GLIBC: &str = "/lib64/ld-linux-x86-64.so.2";
const GLIBC_DIRECTORY: &str = "/lib/x86_64-linux-gnu";

/// The same for programs of i386.
const GLIBC_I386: &str = "/lib/ld-linux.so.2";
const GLIBC_DIRECTORY_I386: &str = "/lib/i386-linux-gnu";
/// The end of a release's name for its i386 programs.
const I386: &str = "-i386";

/// The directory of a case.
const CASE: &str = "case";

/// The flags for every object. Nothing of this machine's C library is used, and nothing depends on a compiler's
/// defaults.
const FLAGS: [&str; 11] = [
    "-w",
    "-O1",
    "-fPIC",
    "-nostdlib",
    "-fno-stack-protector",
    "-fcf-protection=none",
    "-ftls-model=initial-exec",
    "-L.",
    "-Wl,--no-as-needed",
    "-Wl,-z,lazy",
    "-Wl,--allow-shlib-undefined",
];

/// A root under construction.
pub struct Sandbox<'a> {
    workspace: &'a Workspace,
    /// The directory of the root.
    pub root: PathBuf,
    loader: &'static str,
    source: PathBuf,
}

impl<'a> Sandbox<'a> {
    /// Creates a root with the C library of a Debian release, or with this machine's musl.
    pub fn new(workspace: &'a Workspace, library: &str, source: PathBuf) -> Self {
        let root = workspace.directory("root");
        for directory in [CASE, "etc", "proc", "tmp"] {
            fs::create_dir_all(root.join(directory)).expect("directories of a root");
        }
        let loader = match library {
            "musl" => MUSL,
            library if library.ends_with(I386) => GLIBC_I386,
            _ => GLIBC,
        };
        let sandbox = Self { workspace, root, loader, source };
        if library == "musl" {
            sandbox.bring(Path::new("/"), MUSL);
        } else if let Some(release) = library.strip_suffix(I386) {
            let release = root::debian_of(workspace, release, "i386");
            sandbox.bring(&release, GLIBC_I386);
            sandbox.bring(&release, &format!("{GLIBC_DIRECTORY_I386}/libc.so.6"));
        } else {
            let release = root::debian(workspace, library);
            sandbox.bring(&release, GLIBC);
            for name in ["libc.so.6", "libm.so.6", "libdl.so.2"] {
                sandbox.bring(&release, &format!("{GLIBC_DIRECTORY}/{name}"));
            }
        }
        sandbox
    }

    /// Copies a file of another root to the same path.
    fn bring(&self, from: &Path, path: &str) {
        let walked = Root::at(from).expect("a root").resolve(Path::new(path));
        let real = walked.unwrap_or_else(|error| panic!("{path} in {}: {error}", from.display()));
        let target = root::inside(&self.root, Path::new(path));
        fs::create_dir_all(target.parent().expect("a file is in a directory"))
            .expect("directories of a root");
        fs::copy(root::inside(from, &real), target).expect("a file of the C library");
    }

    /// Returns the path on this machine.
    fn outside(&self, path: &str) -> PathBuf {
        root::inside(&self.root, &Path::new("/").join(CASE).join(path))
    }

    /// Returns the path on this machine, after creating its parent directories.
    fn made(&self, path: &str) -> PathBuf {
        let path = self.outside(path);
        fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("directories of a case");
        path
    }

    /// Performs one step.
    pub fn take(&self, step: &Step) {
        let done = match step {
            Step::Compile { output, flags, shared } => return self.compile(output, flags, *shared),
            Step::Cache => return self.write_cache(),
            Step::Write { path, text } => {
                fs::write(self.made(path), text).and_then(|()| set_mode(&self.outside(path), 0o755))
            }
            Step::Link { path, target } => symlink(target, self.made(path)),
            Step::HardLink { path, target } => fs::hard_link(self.outside(target), self.made(path)),
            Step::Copy { from, to } => fs::copy(self.outside(from), self.made(to)).map(drop),
            Step::Move { from, to } => fs::rename(self.outside(from), self.made(to)),
            Step::Rename { path, name } => {
                let place = self.outside(path);
                fs::rename(&place, place.with_file_name(OsStr::from_bytes(name)))
            }
            Step::Remove { path } => fs::remove_file(self.outside(path)),
            Step::Directory { path } => fs::create_dir_all(self.outside(path)),
            Step::Cut { path, length } => {
                fs::File::options().write(true).open(self.outside(path)).and_then(|f| f.set_len(*length))
            }
            Step::Mode { path, mode } => set_mode(&self.outside(path), *mode),
            Step::Bytes { path, offset, bytes } => change(&self.outside(path), |data| {
                data[*offset..offset + bytes.len()].copy_from_slice(bytes);
            }),
            Step::Replace { path, text, bytes } => {
                change(&self.outside(path), |data| replace(data, text.as_bytes(), bytes))
            }
            Step::Weaken { path, version } => change(&self.outside(path), |data| weaken(data, version)),
        };
        done.unwrap_or_else(|error| panic!("{step:?}: {error}"));
    }

    fn compile(&self, output: &str, flags: &[String], shared: bool) {
        let place = self.made(output);
        let known = Known { output, flags, loader: self.loader, before: self.digest() };
        if let Some(data) = known.find() {
            fs::write(&place, data).and_then(|()| set_mode(&place, 0o755)).expect("a known object");
            return;
        }
        let mut command = Command::new(tool("gcc"));
        command.current_dir(self.outside("")).arg(&self.source).args(["-o", output]).args(FLAGS);
        command.arg(format!("-D{}", if shared { macro_of(output) } else { "PROGRAM".to_owned() }));
        command.arg(if shared { "-shared" } else { "-pie" });
        if self.loader == GLIBC_I386 {
            command.arg("-m32");
        }
        if !shared {
            command.arg(format!("-Wl,--dynamic-linker={}", self.loader));
        }
        run(self.workspace, command.args(flags));
        known.remember(fs::read(&place).expect("what was compiled"));
    }

    /// Returns a digest of the case's current content, which the linker reads.
    fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.source.hash(&mut hasher);
        hash_directory(&self.outside(""), &mut hasher);
        hasher.finish()
    }

    fn write_cache(&self) {
        run(self.workspace, Command::new(tool("ldconfig")).arg("-r").arg(&self.root));
    }
}

/// The inputs of one compilation. Many cases begin alike, and compilation takes most of the time.
#[derive(PartialEq, Eq, Hash)]
struct Known<'a> {
    output: &'a str,
    flags: &'a [String],
    loader: &'a str,
    before: u64,
}

impl Known<'_> {
    fn key(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    fn find(&self) -> Option<Vec<u8>> {
        KNOWN.lock().expect("no thread panics").get(&self.key()).cloned()
    }

    fn remember(&self, data: Vec<u8>) {
        KNOWN.lock().expect("no thread panics").insert(self.key(), data);
    }
}

static KNOWN: Mutex<BTreeMap<u64, Vec<u8>>> = Mutex::new(BTreeMap::new());

fn hash_directory(directory: &Path, hasher: &mut DefaultHasher) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(directory).into_iter().flatten().flatten().map(|e| e.path()).collect();
    entries.sort();
    for entry in entries {
        entry.file_name().hash(hasher);
        match entry.is_dir() && !entry.is_symlink() {
            true => hash_directory(&entry, hasher),
            false => fs::read(&entry).unwrap_or_default().hash(hasher),
        }
    }
}

/// Converts `lib/libx.so.1` to `LIBX`.
fn macro_of(output: &str) -> String {
    let name = output.rsplit('/').next().unwrap_or(output);
    let stem = name.split(".so").next().unwrap_or(name);
    stem.replace(|c: char| !c.is_ascii_alphanumeric(), "_").to_ascii_uppercase()
}

fn set_mode(path: &Path, mode: u32) -> std::io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> std::io::Result<()> {
    let mut data = fs::read(path)?;
    change(&mut data);
    fs::write(path, data)
}

/// Overwrites every occurrence of a text.
fn replace(data: &mut [u8], text: &[u8], bytes: &[u8]) {
    assert!(bytes.len() <= text.len(), "more bytes than there is room for");
    let places: Vec<usize> =
        data.windows(text.len()).enumerate().filter(|(_, at)| *at == text).map(|(at, _)| at).collect();
    assert!(!places.is_empty(), "the text is not in the file");
    places.iter().for_each(|at| data[*at..at + bytes.len()].copy_from_slice(bytes));
}

/// Sets `VER_FLG_WEAK` in each `Elf64_Vernaux` of a version, which begins with the hash of the version's name
/// and two bytes of flags.
fn weaken(data: &mut [u8], version: &str) {
    let mut wanted = [0; 6];
    wanted[..4].copy_from_slice(&sysv_hash(version).to_le_bytes());
    let found: Vec<usize> = (0..data.len() - 6).filter(|at| data[*at..at + 6] == wanted).collect();
    assert!(!found.is_empty(), "the version {version} is not needed");
    found.into_iter().for_each(|at| data[at + 4] = 2);
}

fn sysv_hash(name: &str) -> u32 {
    name.bytes().fold(0_u32, |hash, byte| {
        let hash = (hash << 4).wrapping_add(u32::from(byte));
        let high = hash & 0xf000_0000;
        (hash ^ (high >> 24)) & !high
    })
}
