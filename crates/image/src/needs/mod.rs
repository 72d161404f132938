//! Derives the specification of an image.
//!
//! The image is the scope: every name is resolved inside it, on every CPU level that it has libraries for. The
//! files that the loader uses become the objects of the specification. A library that the image lacks and a
//! container runtime provides becomes a host library.

mod account;
mod base;
mod files;
mod host_library;
mod recorded;
mod requirement;
mod subject;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use base64::Engine as _;

use crate::config::Config;
use crate::tree::Tree;
use account::Account;
use compat_loader::elf::{IsaLevel, Machine};
use compat_loader::generate::recorded::RecordedContent;
use compat_loader::generate::{Generated, attributes, leave_names, object};
use compat_loader::host::{LibraryCache, Platform};
use compat_loader::loader::{
    Context, EdgeKind, EdgeOutcome, Environment, Facts, Files as _, Form, Load, Problem, Start, start,
    start_and_open,
};
use compat_loader::script::ARGUMENTS;
use compat_loader::spec::{
    CacheLine, HostLibrary, Image, Recorded, Script, Specification, Symbols, VersionNeed,
};
use compat_sys::raw;
use compat_trace::Runs;
use files::{Seen, TreeFiles, relative};

pub use host_library::HostLibraries;

/// The options for deriving a specification.
#[derive(Clone, Debug, Default)]
pub struct ImageOptions {
    /// Every ELF object instead of the objects that the image runs.
    pub all: bool,
    /// Additional programs, as absolute paths in the image.
    pub executables: Vec<String>,
    /// Custom attributes.
    pub attributes: BTreeMap<String, String>,
    /// Leave out versions and symbols.
    pub names_only: bool,
    /// The libraries that are expected from the host.
    pub host_libraries: HostLibraries,
    /// Recorded runs of the image. The programs that they executed first are added, as are the libraries that
    /// they loaded.
    pub runs: Option<Runs>,
}

/// Why no specification can be derived.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The configuration names no command.
    #[error("the image has nothing to run: its configuration sets neither an entrypoint nor a command")]
    NoCommand,
    /// The command is not in the image.
    #[error("the image runs {}, which it does not contain", visible(command))]
    CommandMissing {
        /// The first word of the command.
        command: String,
    },
    /// The image is for another operating system.
    #[error("the image is for {platform}, but only images for Linux are supported")]
    OtherSystem {
        /// The platform in its configuration.
        platform: String,
    },
    /// The command is in the image, but no user may execute it.
    #[error(
        "the image runs {command}, which has no execute permission: exec: {command:?}: permission denied"
    )]
    NotExecutable {
        /// The first word of the command.
        command: String,
    },
    /// The image lacks the user or the group of its command.
    #[error("the image's command runs as {user:?}, but the image's {file} has no entry for {name:?}")]
    NoAccount {
        /// The user in its configuration.
        user: String,
        /// The missing name.
        name: String,
        /// The file that lacks it.
        file: &'static str,
    },
    /// The user named a program that the image does not contain.
    #[error("{path} is not a file in the image")]
    NotInImage {
        /// The path.
        path: String,
    },
    /// The image contains neither an ELF object nor an executable script.
    #[error("the image contains no program")]
    Empty,
}

impl ImageError {
    /// The user's next step.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoCommand => Some("name a program with --executable, or use --all for every object"),
            Self::CommandMissing { command } if command.ends_with('\r') => Some(
                "the name ends with a Windows line ending: convert the Dockerfile or the script that wrote it (dos2unix FILE)",
            ),
            Self::CommandMissing { .. } => Some(
                "the container itself would not start; to check another program of the image, use --executable PATH or --all",
            ),
            Self::OtherSystem { .. } => {
                Some("if it is an index, choose another image with --platform linux/ARCHITECTURE")
            }
            Self::NotExecutable { .. } => Some(
                "set it when you build the image (chmod +x, COPY --chmod=755), or name another program with --executable",
            ),
            Self::NoAccount { .. } => Some(
                "add it when you build the image, set USER to a number, or name a program with --executable",
            ),
            Self::NotInImage { .. } => Some("use an absolute path in the image's root"),
            Self::Empty => None,
        }
    }
}

/// Returns a word of a command for a message. Quoted if it contains invisible characters.
fn visible(word: &str) -> String {
    if word.contains(char::is_control) { format!("{word:?}") } else { word.to_owned() }
}

/// Derives the specification of an image.
///
/// # Errors
///
/// If the image has nothing to run, or lacks a program that the options name.
pub fn generate_image(
    tree: &Tree,
    config: &Config,
    size: Option<u64>,
    options: &ImageOptions,
) -> Result<Generated, ImageError> {
    let files = TreeFiles::new(tree, config, &options.host_libraries);
    let subject::Command { subjects, arguments, unfollowed, interpreted, library_path, .. } =
        subjects(tree, config, &files, options)?;
    let platform = config.platform().map(|platform| platform.to_string()).unwrap_or_default();
    let mut survey = Survey::default();
    let environments = environments(tree, config);
    for environment in &environments {
        survey.start_all(&subjects, &files, environment);
        if let Some(runs) = &options.runs {
            survey.add_runs(runs, &files, environment);
        }
    }
    if options.all {
        survey.start_unreached(tree, &files, &environments[0]);
    }
    for environment in &environments {
        survey.open_base(&files, environment);
    }
    let image = Image {
        platform,
        command: config.command().into_iter().map(str::to_owned).collect(),
        working_directory: Some(config.working_dir.clone()).filter(|path| !matches!(path.as_str(), "" | "/")),
        program_path: config.variable("PATH").map(str::to_owned).filter(|path| path != subject::DEFAULT_PATH),
        requirements: requirement::requirements(config),
        size,
        unfollowed,
        interpreted,
        ..Image::default()
    };
    survey.arguments = arguments;
    survey.library_path = library_path;
    Ok(survey.into_specification(tree, config, image, files, options))
}

/// Finds the subjects of the verdict: paths relative to the root.
fn subjects(
    tree: &Tree,
    config: &Config,
    files: &TreeFiles<'_>,
    options: &ImageOptions,
) -> Result<subject::Command, ImageError> {
    let mut command = subject::Command::default();
    let mut subjects = Vec::new();
    for path in &options.executables {
        let real = files.real(path).filter(|real| tree.file(real.as_ref()).is_ok());
        let real = real.ok_or_else(|| ImageError::NotInImage { path: path.clone() })?;
        subjects.push(relative(&real));
    }
    if options.all {
        subjects.extend(programs(tree, files));
        subjects.sort_unstable();
        subjects.dedup();
        return if subjects.is_empty() && tree.objects().next().is_none() {
            Err(ImageError::Empty)
        } else {
            Ok(subject::Command { subjects, ..command })
        };
    }
    if subjects.is_empty() {
        let executed = executed(options, files);
        command = subject::find(config, files);
        if let Some(missing) = command.missing.take().filter(|_| executed.is_empty()) {
            let command = missing.word;
            return Err(match (missing.is_there, config.platform()) {
                (true, _) => ImageError::NotExecutable { command },
                (false, Some(platform)) if platform.os != "linux" => {
                    ImageError::OtherSystem { platform: platform.to_string() }
                }
                (false, _) => ImageError::CommandMissing { command },
            });
        }
        if let Some((name, file)) = Account::missing(config, tree).filter(|_| executed.is_empty()) {
            return Err(ImageError::NoAccount { user: config.user.clone(), name: name.to_owned(), file });
        }
        subjects = std::mem::take(&mut command.subjects);
        subjects.extend(executed);
        if subjects.is_empty() {
            return Err(ImageError::NoCommand);
        }
    }
    let mut seen = HashSet::new();
    subjects.retain(|subject| seen.insert(subject.clone()));
    Ok(subject::Command { subjects, ..command })
}

/// The programs that recorded runs executed first, if the image contains them.
fn executed(options: &ImageOptions, files: &TreeFiles<'_>) -> Vec<String> {
    let commands = options.runs.iter().flat_map(|runs| &runs.commands);
    let is_program = |path: &&String| match files.content(path) {
        RecordedContent::Object(facts) => facts.is_program() && files.is_executable(path),
        RecordedContent::Script => files.is_executable(path),
        RecordedContent::Other | RecordedContent::Gone => false,
    };
    commands.filter(is_program).map(|path| relative(path)).collect()
}

/// Every program of an image that the kernel can start.
fn programs(tree: &Tree, files: &TreeFiles<'_>) -> Vec<String> {
    let all = tree.objects().filter(|(_, _, file, _)| file.is_executable());
    let programs = all.filter_map(|(path, ..)| {
        let path = raw::of_path(path);
        let opened = files.open(&path).ok()?;
        (opened.facts.is_program() && opened.facts.form != Form::Other).then(|| relative(&path))
    });
    programs.collect()
}

/// The environments to start in: the best CPU first, and lesser ones if some libraries are specific to a CPU.
fn environments(tree: &Tree, config: &Config) -> Vec<Environment> {
    const SPECIAL: [&str; 4] = ["/glibc-hwcaps/", "/haswell/", "/avx512_1/", "/tls/"];
    let (machine, big_endian) = machine(tree, config);
    let environment = |level: Option<u32>, is_intel: bool| Environment {
        platform: Platform {
            isa: level.map(IsaLevel::up_to),
            is_intel,
            x32: Some(true),
            ..Platform::of_machine(machine, big_endian)
        },
        library_path: config.variable("LD_LIBRARY_PATH").map(str::to_owned),
        working_directory: Some(config.working_dir.clone())
            .filter(|p| !p.is_empty())
            .unwrap_or("/".to_owned()),
        program_path: config.variable("PATH").unwrap_or(subject::DEFAULT_PATH).to_owned(),
        host_program: None,
        opens_programs: false,
    };
    if machine != Machine::X86_64 {
        return vec![environment(None, false)];
    }
    let is_special = |path: &str| SPECIAL.iter().any(|directory| path.contains(directory));
    if !tree.objects().any(|(path, ..)| is_special(&raw::of_path(path))) {
        return vec![environment(Some(4), true)];
    }
    let levels = (1..=4).rev();
    levels.flat_map(|level| [environment(Some(level), true), environment(Some(level), false)]).collect()
}

/// The machine and byte order of the configuration's architecture, or else of the first object.
fn machine(tree: &Tree, config: &Config) -> (Machine, bool) {
    let of_objects = || {
        let (_, _, _, packed) = tree.objects().next()?;
        let object = compat_loader::elf::Object::parse(packed.unpack().ok()?).ok()?;
        Some((object.machine, object.endian == compat_loader::elf::Endian::Big))
    };
    let here = || (Machine::of_this_program(), cfg!(target_endian = "big"));
    Machine::from_usual_name(&config.architecture).or_else(of_objects).unwrap_or_else(here)
}

/// The result of starting all subjects.
#[derive(Default)]
struct Survey {
    subjects: Vec<String>,
    /// Paths of the objects that at least one subject loads.
    reached: BTreeSet<String>,
    /// The sonames of all libraries, in the order of loading.
    names: Vec<String>,
    /// Names of all symbols that an object imports.
    referenced: HashSet<String>,
    host_libraries: BTreeMap<String, HostLibrary>,
    /// The programs that load them, by absolute path.
    expecting: BTreeSet<String>,
    /// Problems that occur on every host.
    notes: Vec<String>,
    recorded: Option<Recorded>,
    /// The arguments of the command's scripts, by path.
    arguments: BTreeMap<String, Vec<String>>,
    /// `LD_LIBRARY_PATH` as the command's shell sets it.
    library_path: Option<String>,
}

impl Survey {
    fn start_all(&mut self, subjects: &[String], files: &TreeFiles<'_>, environment: &Environment) {
        for subject in subjects {
            let path = format!("/{subject}");
            let load = start(&Start { path: &path, shown: &path }, Context::new(files, environment));
            self.add(subject, &load);
            self.open_later(&path, &load, files, environment);
        }
    }

    /// Loads the libraries that the notes of loaded objects list for later `dlopen` calls, recursively.
    fn open_later(&mut self, program: &str, load: &Load, files: &TreeFiles<'_>, environment: &Environment) {
        let environment = Environment { host_program: Some(program.to_owned()), ..environment.clone() };
        let mut ahead = opened_later(load);
        let mut done = HashSet::new();
        while let Some(path) = ahead.pop() {
            if !done.insert(path.clone()) {
                continue;
            }
            let load = start(&Start { path: &path, shown: &path }, Context::new(files, &environment));
            self.add_objects(&load);
            ahead.extend(opened_later(&load));
        }
    }

    /// Looks up the libraries that host libraries take from the image, once for each program that loads host
    /// libraries.
    fn open_base(&self, files: &TreeFiles<'_>, environment: &Environment) {
        for program in &self.expecting {
            start_and_open(
                &Start { path: program, shown: program },
                &base::names(),
                Context::new(files, environment),
            );
        }
    }

    /// Starts the libraries that no program loads separately.
    fn start_unreached(&mut self, tree: &Tree, files: &TreeFiles<'_>, environment: &Environment) {
        for (path, _, file, _) in tree.objects() {
            let path = raw::of_path(path);
            let Ok(opened) = files.open(&path) else { continue };
            // Some libraries name an interpreter so that they can also be executed.
            let is_program = opened.facts.is_program() && file.is_executable();
            let is_library = opened.facts.form == Form::Library && !is_program;
            let is_ours = environment.platform.runs(opened.facts.machine, opened.facts.big_endian);
            if is_library && is_ours && opened.facts.has_dynamic_section && !self.reached.contains(&path) {
                self.start_all(&[relative(&path)], files, environment);
            }
        }
    }

    fn add(&mut self, subject: &str, load: &Load) {
        if !self.subjects.iter().any(|known| known == subject) {
            self.subjects.push(subject.to_owned());
        }
        self.add_objects(load);
        for problem in &load.problems {
            self.add_problem(subject, problem, load);
        }
    }

    fn add_objects(&mut self, load: &Load) {
        for object in &load.objects {
            if !self.reached.insert(object.shown.clone()) {
                continue;
            }
            self.referenced.extend(load.wanted_names(object));
            if let Some(name) = object.names.first() {
                self.names.push(object.facts.soname.as_ref().unwrap_or(name).clone());
            }
        }
    }

    fn add_problem(&mut self, subject: &str, problem: &Problem, load: &Load) {
        if let Problem::HostLibraryMissing { library, provider, .. } = problem {
            self.add_host_library(library, provider, load);
            self.expecting.extend(load.objects.first().map(|program| program.path.clone()));
            return;
        }
        let note = match problem.loader_message() {
            Some(message) => format!("{subject} cannot run on any host: {message}"),
            None => return,
        };
        if !self.notes.contains(&note) && problem.effect() >= compat_loader::loader::Effect::Misbehaves {
            self.notes.push(note);
        }
    }

    /// Records a library that the host must provide, with the versions and symbols that its users need.
    fn add_host_library(&mut self, library: &str, provider: &str, load: &Load) {
        let entry = self.host_libraries.entry(library.to_owned()).or_insert_with(|| HostLibrary {
            name: library.to_owned(),
            provider: provider.to_owned(),
            wanted_by: Vec::new(),
            versions: Vec::new(),
            symbols: Symbols::default(),
        });
        let wanting = load
            .objects
            .iter()
            .filter(|object| object.facts.needed.iter().any(|dependency| dependency.name == library));
        for object in wanting {
            let path = relative(&object.shown);
            if entry.wanted_by.contains(&path) {
                continue;
            }
            entry.wanted_by.push(path.clone());
            let wants = object::specify(&path, &object.facts).wants;
            for need in wants.into_iter().filter(|need| need.library == library) {
                need.versions.into_iter().for_each(|version| merge_version(&mut entry.versions, version));
            }
        }
    }

    fn into_specification(
        self,
        tree: &Tree,
        config: &Config,
        mut image: Image,
        files: TreeFiles<'_>,
        options: &ImageOptions,
    ) -> Generated {
        let seen = files.into_seen();
        image.loaders = seen.loaders.values().cloned().collect();
        let expects_host = !self.host_libraries.is_empty();
        let base = if expects_host { base::names() } else { Vec::new() };
        image.cache = cache_lines(tree, &seen, &base, self.recorded.as_ref());
        let encode = |bytes: &bytes::Bytes| base64::engine::general_purpose::STANDARD.encode(bytes);
        let files =
            seen.files.iter().filter(|(path, _)| !seen.caches.iter().any(|(cache, _)| cache == *path));
        image.files = files.map(|(path, bytes)| (path.clone(), encode(bytes))).collect();
        image.host_libraries = self.host_libraries.into_values().collect();
        let mut specification = Specification::new();
        specification.objects =
            seen.objects.iter().map(|(path, facts)| object::specify(&relative(path), facts)).collect();
        wanted_without_version(&mut image.host_libraries, &seen);
        let expected = image.host_libraries.iter().map(|library| library.name.as_str()).collect();
        let whole = if expects_host {
            base::below_host_libraries(&specification.objects, &expected)
        } else {
            HashSet::new()
        };
        let keeps_all = |object: &compat_loader::spec::Object| whole.contains(&object.path);
        let facts_of = |path: &str| seen.objects.get(&format!("/{path}")).map(|facts| &**facts);
        let own = object::add_own_of_indirect(&mut specification.objects, facts_of);
        let all = self.referenced.into_iter().chain(own).collect();
        object::keep_referenced(&mut specification.objects, &all, keeps_all);
        specification.scripts = seen.scripts.into_values().collect();
        specification.scripts.iter_mut().for_each(|script| give(script, &self.arguments));
        let relative_paths = |map: BTreeMap<String, String>| {
            map.into_iter().map(|(path, text)| (relative(&path), text)).collect()
        };
        let targets = seen.links.into_iter().map(|(path, target)| (path, relative(&target))).collect();
        specification.links = relative_paths(targets);
        specification.unusable = relative_paths(seen.unusable);
        specification.location = Some("/".to_owned());
        let set_by_shell = self.library_path.as_deref();
        specification.library_path = library_path(config, set_by_shell);
        let executable = self.subjects.first().and_then(|path| path.rsplit('/').next()).map(str::to_owned);
        specification.attributes = attributes(&options.attributes, executable, &self.names);
        specification.subjects = self.subjects;
        specification.recorded = self.recorded;
        specification.image = Some(image);
        if options.names_only {
            leave_names(&mut specification);
        }
        Generated { specification, notes: self.notes }
    }
}

/// Replaces the last command of a script by the script's arguments, if it is only `"$@"`.
fn give(script: &mut Script, arguments: &BTreeMap<String, Vec<String>>) {
    let given =
        arguments.get(&script.path).filter(|given| given.first().is_some_and(|w| !w.starts_with('-')));
    if let (Some(body), Some(given)) = (&mut script.body, given)
        && body.command == [ARGUMENTS]
    {
        body.command.clone_from(given);
    }
}

/// The directories of the configuration's `LD_LIBRARY_PATH`. An empty element stands for the configuration's
/// working directory, and relative elements start there.
fn library_path(config: &Config, set_by_shell: Option<&str>) -> Vec<String> {
    let directory = config.working_dir.trim_end_matches('/');
    let list = set_by_shell.or(config.variable("LD_LIBRARY_PATH")).filter(|list| !list.is_empty());
    let elements = list.into_iter().flat_map(|list| list.split([':', ';']));
    let absolute = |element: &str| match element.chars().next() {
        Some('/' | '$') => element.to_owned(),
        _ => format!("{directory}/{element}"),
    };
    elements.map(absolute).collect()
}

/// The paths that the notes of objects list for later `dlopen` calls.
fn opened_later(load: &Load) -> Vec<String> {
    let edges = load.objects.iter().flat_map(|object| &object.edges);
    let paths = edges.filter_map(|edge| match (&edge.kind, &edge.outcome) {
        (EdgeKind::Dlopen { .. }, EdgeOutcome::Available { path, .. }) => Some(path.clone()),
        _ => None,
    });
    paths.collect()
}

fn merge_version(versions: &mut Vec<VersionNeed>, new: VersionNeed) {
    let Some(known) = versions.iter_mut().find(|known| known.version == new.version) else {
        versions.push(new);
        return;
    };
    known.optional &= new.optional;
    let lists = [
        (&mut known.symbols.symbols, new.symbols.symbols),
        (&mut known.symbols.lazy, new.symbols.lazy),
        (&mut known.symbols.copy, new.symbols.copy),
        (&mut known.symbols.weak, new.symbols.weak),
    ];
    for (list, more) in lists {
        list.extend(more);
        list.sort_unstable();
        list.dedup();
    }
}

/// Adds to each host library the unversioned symbols that its users import and no object in the image defines.
fn wanted_without_version(libraries: &mut [HostLibrary], seen: &Seen) {
    if libraries.is_empty() {
        return;
    }
    let defined =
        |wanted: &compat_loader::elf::Wanted<'_>| seen.objects.values().any(|facts| facts.satisfies(wanted));
    for library in libraries {
        for path in &library.wanted_by {
            let Some(facts) = seen.objects.get(&format!("/{path}")) else { continue };
            let undefined = |import: &compat_loader::elf::Import<'_>| {
                import.version.is_none() && !defined(&compat_loader::elf::Wanted::of(import))
            };
            let imports = facts.imports().into_iter().filter(undefined).collect::<Vec<_>>();
            let symbols = object::symbols(imports.iter());
            let need = VersionNeed { version: String::new(), optional: true, symbols };
            let mut merged = vec![VersionNeed {
                version: String::new(),
                optional: true,
                symbols: std::mem::take(&mut library.symbols),
            }];
            merge_version(&mut merged, need);
            library.symbols = merged.remove(0).symbols;
        }
    }
}

/// The lines of the image's caches for every library name that is needed.
fn cache_lines(tree: &Tree, seen: &Seen, base: &[String], recorded: Option<&Recorded>) -> Vec<CacheLine> {
    let mut names: BTreeSet<&str> = seen.objects.values().flat_map(|facts| asked_for(facts)).collect();
    names.extend(base.iter().map(String::as_str));
    let programs = recorded.into_iter().flat_map(|recorded| &recorded.programs);
    let opened = programs.flat_map(|program| program.libraries.iter().filter_map(|l| l.name.as_deref()));
    names.extend(opened);
    let mut lines: Vec<CacheLine> = Vec::new();
    for (path, big_endian) in &seen.caches {
        let Ok((_, _, file)) = tree.file(path.as_ref()) else { continue };
        let crate::tree::FileContent::Whole(bytes) = &file.content else { continue };
        let Some(cache) = LibraryCache::parse_as(bytes, *big_endian) else { continue };
        lines.extend(names.iter().flat_map(|name| cache.lines(name)));
    }
    lines
}

/// The names of the libraries that an object needs.
fn asked_for(facts: &Facts) -> impl Iterator<Item = &str> {
    let needed = facts.needed.iter().map(|dependency| dependency.name.as_str());
    needed.chain(facts.dlopen.iter().flat_map(|need| need.sonames.iter().map(String::as_str)))
}
