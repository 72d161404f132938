//! The scope: the files of the application, and the subjects of the verdict among them.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::elf;
use crate::generate::{alternative, member};
use crate::host::{self, Starter};
use crate::loader::{Application, Facts, Form, PassedFor, PassedOver, listed};
use crate::script::{self, parse_script};
use crate::spec::Script;
use compat_sys::raw;
use compat_trace::Runs;

/// The maximum depth of directories that are read.
const MAXIMUM_DEPTH: usize = 128;

/// The error if no specification can be derived.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory cannot be read.
    #[error("could not read {}", path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A named file is an ELF object that cannot be parsed.
    #[error("could not read the ELF object {}", path.display())]
    Elf {
        /// The path.
        path: PathBuf,
        /// The cause.
        source: elf::Error,
    },
    /// A named file is neither an ELF object nor a script.
    #[error("{} is neither an ELF object nor a script{why}", path.display())]
    Neither {
        /// The path.
        path: PathBuf,
        /// The reason after a colon. Empty if nothing more is known.
        why: String,
    },
    /// A named file is an object file or a core dump.
    #[error("{} is an ELF file that is neither a program nor a library", path.display())]
    NotLoadable {
        /// The path.
        path: PathBuf,
    },
    /// Recorded runs executed a program that does not exist here.
    #[error("{}, which the run on {hosts} executed, does not exist on this machine", path.display())]
    ExecutedElsewhere {
        /// The program.
        path: PathBuf,
        /// The machines of the runs.
        hosts: String,
    },
    /// A recorded run executed the dynamic loader, which then read the program.
    #[error("the recorded run executed {}, which is a dynamic loader, so the program is not known", path.display())]
    LoaderExecuted {
        /// The loader.
        path: PathBuf,
    },
    /// Recorded runs show no program.
    #[error("the recorded runs on {hosts} contain no program that existed before the run")]
    NothingExecuted {
        /// The machines of the runs.
        hosts: String,
    },
    /// A directory contains no object and no script.
    #[error("{} contains no ELF object and no script", path.display())]
    Empty {
        /// The directory.
        path: PathBuf,
    },
}

impl Error {
    /// Returns the error for a file that cannot be started, with the reason that its first bytes show.
    pub fn neither(path: &Path) -> Self {
        let mut head = Vec::new();
        let read = compat_sys::open_regular(path).and_then(|file| file.take(256).read_to_end(&mut head));
        let why = read.map(|_| script::why_none(&head)).ok().filter(|why| !why.starts_with("neither"));
        Self::Neither { path: path.to_owned(), why: why.map(|why| format!(": {why}")).unwrap_or_default() }
    }

    /// Returns advice for the user.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Neither { why, .. } if !why.is_empty() => None,
            Self::Neither { .. } => Some("name the program, or the directory that contains it"),
            Self::NotLoadable { .. } => {
                Some("link it first, because only programs and libraries can be loaded")
            }
            Self::ExecutedElsewhere { .. } => Some(
                "if the run was in a container, run this command in the container, or pass its image with \
                      --image SOURCE",
            ),
            Self::LoaderExecuted { .. } | Self::NothingExecuted { .. } => {
                Some("name the programs to describe on the command line")
            }
            Self::Elf { .. } => Some("if the file is incomplete, copy or build it again"),
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("check the path; to describe an image, run `compat gen --image SOURCE`")
            }
            Self::Empty { .. } => {
                Some("name a directory that contains programs, libraries or executable scripts")
            }
            Self::Read { .. } => None,
        }
    }
}

/// The files of an application.
#[derive(Default)]
pub(super) struct Scope {
    /// The directory that paths are relative to.
    pub directory: PathBuf,
    /// Directories that belong entirely to the scope.
    pub directories: Vec<PathBuf>,
    /// The root file system that contains the scope, if it is not this machine's.
    pub root: Option<PathBuf>,
    pub application: Application,
    pub notes: Vec<String>,
}

impl Scope {
    /// Returns the name of the first program, or else of the first script or library.
    pub(super) fn executable_name(&self) -> Option<&str> {
        let program = self.application.objects.iter().find(|(_, facts)| facts.is_program());
        let first = program.map(|(path, _)| path).or_else(|| self.application.subjects.first())?;
        first.rsplit('/').next()
    }

    fn relative(&self, path: &Path) -> String {
        raw::of_path(path.strip_prefix(&self.directory).unwrap_or(path))
    }
}

/// Reads the programs that recorded runs executed first.
pub(super) fn read_executed(runs: &Runs) -> Result<Scope, Error> {
    let hosts = || runs.hosts.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    if runs.commands.is_empty() {
        return Err(Error::NothingExecuted { hosts: hosts() });
    }
    let paths: Vec<PathBuf> = runs.commands.iter().map(|path| raw::path(path).into_owned()).collect();
    match paths.iter().find(|path| !path.exists()) {
        Some(path) => Err(Error::ExecutedElsewhere { path: path.clone(), hosts: hosts() }),
        None => {
            let scope = read(&paths, None, None)?;
            let loader = scope.application.objects.iter().find(|(_, facts)| !facts.is_program());
            match loader {
                Some((path, _)) => Err(Error::LoaderExecuted { path: scope.directory.join(raw::path(path)) }),
                None => Ok(scope),
            }
        }
    }
}

/// Reads all files of the named paths. `starter` is the process that starts the programs on this machine, if
/// known.
pub(super) fn read(
    paths: &[PathBuf],
    root: Option<&Path>,
    starter: Option<&'static Starter>,
) -> Result<Scope, Error> {
    let read_error = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Read { path, source }
    };
    let mut named = Vec::new();
    for path in paths {
        let real = real_path(path, root).map_err(read_error(path))?;
        let is_directory = fs::metadata(&real).map_err(read_error(path))?.is_dir();
        named.push((path, real, is_directory));
    }
    let mut scope = Scope { root: root.map(Path::to_owned), ..Scope::default() };
    let roots = named.iter().map(
        |(_, real, is_directory)| if *is_directory { real.as_path() } else { real.parent().unwrap_or(real) },
    );
    scope.directory = common_ancestor(roots);
    scope.directories =
        named.iter().filter(|(_, _, is_directory)| *is_directory).map(|named| named.1.clone()).collect();
    let mut reader = Reader { scope, starter, ..Reader::default() };
    for (path, real, is_directory) in named {
        if is_directory { reader.read_directory(path, &real)? } else { reader.read_named(path, &real)? }
    }
    Ok(reader.finish())
}

fn common_ancestor<'a>(paths: impl Iterator<Item = &'a Path>) -> PathBuf {
    let shared = |a: PathBuf, b: &Path| {
        let same = a.components().zip(b.components()).take_while(|(a, b)| a == b);
        same.map(|(component, _)| component).collect::<PathBuf>()
    };
    let mut paths = paths;
    let first = paths.next().map(Path::to_owned).unwrap_or_default();
    paths.fold(first, shared)
}

#[derive(Default)]
struct Reader {
    scope: Scope,
    starter: Option<&'static Starter>,
    /// The path in the scope by device and inode, so that a hard link is a second name of one object.
    seen: HashMap<(u64, u64), String>,
    /// The paths of links that were found.
    links: Vec<PathBuf>,
    /// Paths in the scope of the objects that the user named. They are checked on every host.
    named: HashSet<String>,
    /// Executable scripts outside the directories for programs.
    scripts: Vec<Script>,
}

/// The content of a file.
enum FileContent {
    Object(Box<Facts>),
    Script(Script),
    Other,
}

impl Reader {
    fn read_named(&mut self, shown: &Path, real: &Path) -> Result<(), Error> {
        let path = || shown.to_owned();
        let (content, metadata) = self.content(real, shown)?;
        let added = match content {
            FileContent::Object(facts) if facts.form == Form::Other => {
                return Err(Error::NotLoadable { path: path() });
            }
            // Uses the name that the user typed: xzcat instead of xz, the target of the link.
            FileContent::Object(facts) => self.add_object(&named_as(shown, real), *facts, &metadata),
            FileContent::Script(script) => {
                let name = script.path.clone();
                self.scope.application.scripts.push(script);
                name
            }
            FileContent::Other => return Err(Error::neither(shown)),
        };
        if !self.scope.application.subjects.contains(&added) {
            self.scope.application.subjects.push(added.clone());
        }
        self.named.insert(added);
        Ok(())
    }

    fn read_directory(&mut self, shown: &Path, real: &Path) -> Result<(), Error> {
        let count = |application: &Application| (application.objects.len(), application.scripts.len());
        let before = count(&self.scope.application);
        self.walk(real, real, 0)?;
        let scripts = std::mem::take(&mut self.scripts);
        if before != count(&self.scope.application) {
            self.pass_over(scripts);
        } else if scripts.is_empty() {
            return Err(Error::Empty { path: shown.to_owned() });
        } else {
            // In a directory of only scripts, the scripts are the subjects. Test data counts only if there is
            // nothing else.
            let (tests, others): (Vec<_>, Vec<_>) =
                scripts.into_iter().partition(|script| member::is_test_data(&script.path));
            let (subjects, passed) = if others.is_empty() { (tests, others) } else { (others, tests) };
            subjects.into_iter().for_each(|script| self.add_script(script));
            self.pass_over(passed);
        }
        Ok(())
    }

    fn add_script(&mut self, script: Script) {
        self.scope.application.subjects.push(script.path.clone());
        self.scope.application.scripts.push(script);
    }

    /// Records scripts that other programs start.
    fn pass_over(&mut self, scripts: Vec<Script>) {
        if !scripts.is_empty() {
            let paths = scripts.into_iter().map(|script| script.path).collect();
            let passed = PassedOver { why: PassedFor::Script, made_for: None, paths };
            self.scope.application.passed_over.push(passed);
        }
    }

    /// Reads a directory sorted by name, so that the same files give the same document.
    fn walk(&mut self, top: &Path, directory: &Path, depth: usize) -> Result<(), Error> {
        let read_error = |source| Error::Read { path: directory.to_owned(), source };
        let mut entries = fs::read_dir(directory)
            .map_err(read_error)?
            .collect::<io::Result<Vec<_>>>()
            .map_err(read_error)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let kind = entry.file_type().map_err(read_error)?;
            let path = entry.path();
            if kind.is_symlink() {
                self.links.push(path);
            } else if kind.is_dir() && depth < MAXIMUM_DEPTH {
                self.note_unusable(&path, "cannot read file data: Is a directory");
                self.walk(top, &path, depth + 1)?;
            } else if kind.is_file() {
                self.read_member(top, &path);
            }
        }
        Ok(())
    }

    /// Adds a file of a directory if it is an object or an executable script.
    fn read_member(&mut self, top: &Path, path: &Path) {
        match self.content(path, path) {
            Ok((FileContent::Object(facts), _)) if facts.form == Form::Other => {
                self.note_unusable(path, "only ET_DYN and ET_EXEC can be loaded");
            }
            Ok((FileContent::Object(facts), _))
                if !facts.has_dynamic_section && member::is_debug_file(path) =>
            {
                self.note_unusable(path, "object file has no dynamic section");
            }
            Ok((FileContent::Object(facts), _))
                if facts.not_executable && facts.is_executed() && member::is_test(top, path) => {}
            Ok((FileContent::Object(facts), metadata)) => {
                let is_program = facts.is_program();
                let added = self.add_object(path, *facts, &metadata);
                if is_program {
                    self.scope.application.subjects.push(added);
                }
            }
            Ok((FileContent::Script(script), metadata)) if is_executable(&metadata) => {
                if member::is_place_of_programs(top, path) {
                    self.add_script(script)
                } else {
                    self.scripts.push(script)
                }
            }
            Ok((_, metadata)) => {
                let is_short = metadata.len() < 64;
                self.note_unusable(path, if is_short { "file too short" } else { "invalid ELF header" });
            }
            Err(error) => {
                self.note_unusable(path, "cannot be read as an ELF object");
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
                self.scope.notes.push(format!("skipped: {error}{}", cause.unwrap_or_default()));
            }
        }
    }

    /// Records a file that has the name of a library but is not a library. Entries that no object needs are
    /// removed later.
    fn note_unusable(&mut self, path: &Path, reason: &str) {
        let is_named_so = path.file_name().is_some_and(|name| name.to_string_lossy().contains(".so"));
        if is_named_so {
            let path = self.scope.relative(path);
            self.scope.application.unusable.insert(path, reason.to_owned());
        }
    }

    /// Removes the entries with names that no object needs.
    fn keep_needed_unusable(&mut self) {
        let application = &mut self.scope.application;
        let objects = &application.objects;
        let names = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let needed: HashSet<String> = objects
            .iter()
            .flat_map(|(_, facts)| facts.needed.iter().map(|dependency| names(&dependency.name)))
            .collect();
        application.unusable.retain(|path, _| needed.contains(&names(path)));
    }

    fn content(&mut self, path: &Path, shown: &Path) -> Result<(FileContent, Metadata), Error> {
        let read_error = |source| Error::Read { path: shown.to_owned(), source };
        let mut file = compat_sys::open_regular(path).map_err(read_error)?;
        let metadata = file.metadata().map_err(read_error)?;
        let mut head = Vec::new();
        Read::by_ref(&mut file).take(4096).read_to_end(&mut head).map_err(read_error)?;
        if head.starts_with(b"\x7fELF") {
            let name = path.file_name().map(OsStr::as_encoded_bytes).unwrap_or_default();
            let data = host::object(&file, name).map_err(read_error)?;
            let parsed = elf::Object::parse(data);
            let object = parsed.map_err(|source| Error::Elf { path: shown.to_owned(), source })?;
            let mut facts = Facts::of_object(object);
            let privileges = host::FilePrivileges::of(path, &metadata);
            facts.secure = privileges.raise_others();
            facts.secure_here = self.starter.map(|starter| starter.is_raised_by(&privileges));
            facts.not_executable = !is_executable(&metadata);
            facts.denied = !host::may_execute(path);
            facts.on_noexec = host::is_noexec(&file);
            return Ok((FileContent::Object(Box::new(facts)), metadata));
        }
        if head.starts_with(b"#!") {
            let rest = (script::LONGEST + 1 - head.len()) as u64;
            Read::by_ref(&mut file).take(rest).read_to_end(&mut head).map_err(read_error)?;
        }
        let content = match parse_script(&head) {
            Some(Ok(script)) => {
                // Only directories next to the script are checked here. The host decides about the others.
                let has_directory = |directory: &str| {
                    let beside = directory.strip_prefix(script::OWN_DIRECTORY);
                    let rest = beside.map(|rest| rest.trim_start_matches('/'));
                    rest.zip(path.parent()).is_none_or(|(rest, own)| own.join(raw::path(rest)).is_dir())
                };
                let listed = listed(&self.script_path(path), &script, has_directory);
                FileContent::Script(Script { not_executable: !is_executable(&metadata), ..listed })
            }
            _ => FileContent::Other,
        };
        Ok((content, metadata))
    }

    /// Returns a script's path in the scope, and records if this user must not execute it.
    fn script_path(&mut self, path: &Path) -> String {
        let relative = self.scope.relative(path);
        if !host::may_execute(path) {
            self.scope.application.denied_scripts.insert(relative.clone());
        }
        relative
    }

    /// Adds an object under its path. A second name of a known object becomes a link to it.
    fn add_object(&mut self, real: &Path, facts: Facts, metadata: &Metadata) -> String {
        let path = self.scope.relative(real);
        let identity = (metadata.dev(), metadata.ino());
        if let Some(known) = self.seen.get(&identity) {
            if *known != path {
                self.scope.application.links.insert(path, known.clone());
            }
            return known.clone();
        }
        self.seen.insert(identity, path.clone());
        self.scope.application.objects.push((path.clone(), Arc::new(facts)));
        path
    }

    /// Keeps the links to members and directories of the scope. Also keeps links out of the scope if the loader
    /// can search them.
    fn finish(mut self) -> Scope {
        for link in std::mem::take(&mut self.links) {
            let target = match real_path(&link, self.scope.root.as_deref()) {
                Ok(target) => target,
                Err(error) => {
                    self.keep_blocked(&link, &error);
                    continue;
                }
            };
            let path = self.scope.relative(&link);
            let inside = self.scope.directories.iter().any(|directory| target.starts_with(directory));
            let name = link.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let may_be_searched =
                if target.is_dir() { name.starts_with("lib") } else { name.contains(".so") };
            if inside {
                let target_path = self.scope.relative(&target);
                if target.is_dir() || self.scope.application.object(&target_path).is_some() {
                    self.scope.application.links.insert(path, target_path);
                }
            } else if may_be_searched {
                let target = super::place_inside(&target, self.scope.root.as_deref());
                self.scope.application.links.insert(path, target);
            }
        }
        self.scope.application.objects.sort_by(|a, b| a.0.cmp(&b.0));
        self.keep_needed_unusable();
        let application = &mut self.scope.application;
        let members = application.objects.iter().filter(|(path, _)| !self.named.contains(path));
        application.alternatives =
            alternative::groups(members.map(|(path, facts)| (path.as_str(), &**facts)).collect());
        self.scope
    }
}

impl Reader {
    /// Keeps a link that can stop a search: a link through a file, a loop, or a link to a name that is too long.
    fn keep_blocked(&mut self, link: &Path, error: &io::Error) {
        let walked = error.get_ref().and_then(|error| error.downcast_ref::<host::WalkError>());
        let is_absent = error.kind() == io::ErrorKind::NotFound
            || matches!(walked, Some(host::WalkError::NotFound | host::WalkError::Denied));
        let is_library = link.file_name().is_some_and(|name| name.to_string_lossy().contains(".so"));
        let Some(target) = fs::read_link(link).ok().filter(|_| !is_absent && is_library) else { return };
        let target = link.parent().map_or_else(|| target.clone(), |directory| directory.join(&target));
        let is_inside = self.scope.directories.iter().any(|directory| target.starts_with(directory));
        let target = if is_inside {
            self.scope.relative(&target)
        } else {
            super::place_inside(&target, self.scope.root.as_deref())
        };
        let path = self.scope.relative(link);
        self.scope.application.links.insert(path, target);
    }
}

/// Returns a path without links. In a root file system, links are resolved inside that root.
fn real_path(path: &Path, root: Option<&Path>) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    let inside = root.and_then(|root| Some((root, absolute.strip_prefix(root).ok()?)));
    let Some((directory, inside)) = inside else { return fs::canonicalize(path) };
    let real = host::Root::at(directory)?.resolve(&Path::new("/").join(inside)).map_err(io::Error::other)?;
    Ok(directory.join(real.strip_prefix("/").unwrap_or(&real)))
}

fn is_executable(metadata: &Metadata) -> bool {
    metadata.permissions().mode() & 0o111 != 0
}

/// Returns the real path of a file, with the name that the user typed.
fn named_as(shown: &Path, real: &Path) -> PathBuf {
    shown.file_name().map_or_else(|| real.to_owned(), |name| real.with_file_name(name))
}
