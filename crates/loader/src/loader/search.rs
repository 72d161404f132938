//! The search for a name: the directories, their order, and the rules.
//!
//! glibc: ld.so(8) and `_dl_map_object` in `elf/dl-load.c`; musl: `load_library` in `ldso/dynlink.c`. The
//! sub-directories for the CPU come from `hwcaps`.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

use crate::elf::Machine;
use crate::host::{DynamicLoader, LibraryCache, MAXIMUM_NAME, MAXIMUM_PATH};
use crate::loader::candidate::{Fit, Verdict};
use crate::loader::hwcaps::Hwcaps;
use crate::loader::token::Tokens;
use crate::loader::{Context, Effort, Facts, Injection, LoadedObject, Opened, Reason, Rejection, Rule};
use compat_sys::raw;

/// The budget cost of a path, in addition to its length.
const COST_OF_PATH: usize = 8;
/// The budget cost of a directory that is reported with a missing name.
const COST_OF_DIRECTORY: usize = 8;
/// The budget cost of a file that is reported with a missing name.
const COST_OF_REJECTION: usize = 64;

/// The size of the buffer in which musl builds a path. A longer path is skipped (`load_library`).
const MUSL_BUFFER: usize = 2 * MAXIMUM_NAME + 2;

/// The result of a search.
#[derive(Debug)]
pub(super) enum Outcome {
    /// An object, its path, and the rule that found it.
    Found(Opened, String, Rule),
    /// A file on which the start fails.
    Stopped { path: String, reason: Reason },
    /// No file, although a container runtime should have added the host's.
    NotInjected { provider: String, rejected: Vec<Rejection> },
    /// No file.
    Missing { searched: Vec<String>, rejected: Vec<Rejection> },
}

/// Everything that a search depends on and that is constant for one program.
pub(super) struct Search<'a> {
    context: Context<'a>,
    loader: &'a DynamicLoader,
    fit: Fit<'a>,
    cache: Option<Arc<LibraryCache>>,
    hwcaps: Hwcaps,
    /// musl's directories from its path file, if there is one.
    default_directories: Vec<String>,
    /// The first place that the last search checked before it found a file, and that is not recorded.
    unsure: RefCell<Option<Rejection>>,
}

/// A directory of a list.
struct Directory {
    /// The absolute path.
    path: String,
    /// The list contains a relative path.
    is_relative: bool,
    /// The length of the path in the list.
    length: usize,
}

impl From<&String> for Directory {
    fn from(path: &String) -> Self {
        Self { path: path.clone(), is_relative: false, length: path.len() }
    }
}

/// One search in progress.
struct Attempt<'s, 'a> {
    search: &'s Search<'a>,
    name: &'s str,
    searched: Vec<String>,
    rejected: Vec<Rejection>,
    /// An unrecorded file was already reported.
    unrecorded_told: bool,
    /// The current directory was named by a relative path.
    in_relative: bool,
    /// A file could not be opened in a way that ends the directory list.
    list_ended: bool,
}

/// A file that ends a search: the object, or the reason why the start fails.
struct Hit {
    opened: Result<Opened, Reason>,
    path: String,
}

impl<'a> Search<'a> {
    /// Prepares the searches for one program.
    pub(super) fn new(context: Context<'a>, loader: &'a DynamicLoader, fit: Fit<'a>) -> Self {
        let cache = context.library_cache(&loader.cache_path, fit.program.big_endian);
        let musl_directories =
            || context.files.read(&loader.musl_path_file()).ok().map(|data| musl_directories(&data));
        let default_directories = if loader.is_musl() {
            musl_directories().unwrap_or_else(|| loader.default_directories.clone())
        } else {
            loader.default_directories.clone()
        };
        let hwcaps = Hwcaps::of(fit.program, loader, &context.environment.platform);
        let unsure = RefCell::default();
        Self { context, loader, fit, cache, hwcaps, default_directories, unsure }
    }

    /// The searched files, the environment and the budget.
    pub(super) fn context(&self) -> Context<'a> {
        self.context
    }

    /// Returns the reason why the loader refuses an object as a library, no matter how it found it.
    pub(super) fn refusal(&self, opened: Opened) -> Option<Reason> {
        match self.fit.judge_opened(opened) {
            Verdict::Use(_) => None,
            Verdict::Pass(reason) | Verdict::EndList { reason, .. } | Verdict::Stop(reason) => Some(reason),
        }
    }

    /// Returns the tokens of an object that was found in `origin`.
    fn tokens<'t>(&'t self, origin: &'t str) -> Tokens<'t> {
        let platform = &self.context.environment.platform;
        let has_v3 = platform.is_intel && platform.isa.is_some_and(|isa| isa.highest() >= 3);
        let platform = match self.fit.program.machine {
            Machine::X86_64 if has_v3 && !self.loader.is_musl() => "haswell",
            machine => platform_token(machine),
        };
        Tokens { origin, lib: &self.loader.lib_token, platform }
    }

    /// Replaces the tokens in a needed name of `requester`.
    pub(super) fn expand(&self, name: &str, requester: &LoadedObject) -> String {
        if self.loader.is_musl() || name.len() >= MAXIMUM_PATH {
            return name.to_owned();
        }
        self.tokens(&requester.origin).expand(name)
    }

    /// Searches for `name` on behalf of the object `requester` of `objects`.
    pub(super) fn find(&self, name: &str, requester: usize, objects: &[LoadedObject]) -> Outcome {
        let mut attempt = Attempt {
            search: self,
            name,
            searched: Vec::new(),
            rejected: Vec::new(),
            unrecorded_told: false,
            in_relative: false,
            list_ended: false,
        };
        let found = if name.contains('/') {
            attempt.open(self.absolute(name)).map(|hit| (hit, Rule::Path))
        } else if self.loader.is_musl() {
            attempt.in_musl_order(requester, objects)
        } else {
            attempt.in_glibc_order(requester, objects)
        };
        let unsure = |file: &&Rejection| file.reason == Reason::Unrecorded && found.is_some();
        self.unsure.replace(attempt.rejected.iter().find(unsure).cloned());
        match found {
            Some((Hit { opened: Ok(opened), path }, rule)) => Outcome::Found(opened, path, rule),
            Some((Hit { opened: Err(reason), path }, _)) => {
                Outcome::Stopped { path: self.context.files.placed(&path), reason }
            }
            None => attempt.injected(objects[requester].rule == Rule::Injected),
        }
    }

    /// Returns the place in which a saved host may have another file than the one that the last search found.
    pub(super) fn take_unsure(&self) -> Option<Rejection> {
        self.unsure.take()
    }

    /// Takes `units` from the budget and returns whether it was large enough.
    fn spend(&self, units: usize) -> bool {
        self.context.budget().spend(Effort::Search, units)
    }

    /// Returns the elements of a list, until the budget is exhausted.
    fn elements<'t>(&'t self, list: &'t str, separators: &'t [char]) -> impl Iterator<Item = &'t str> {
        list.split(separators).take_while(|element| self.spend(2 + element.len() / 16))
    }

    /// Returns the directory of a list element for glibc. An empty element is the working directory.
    fn directory(&self, element: &str, tokens: &Tokens<'_>) -> Option<Directory> {
        // The kernel refuses a longer path. An absolute one is then not a directory. The loader does not check
        // a relative one.
        let is_too_long = element.len() >= MAXIMUM_PATH;
        if is_too_long && element.starts_with(['/', '$']) {
            return None;
        }
        let expanded =
            if is_too_long { element.chars().take(MAXIMUM_PATH).collect() } else { tokens.expand(element) };
        let is_relative = !expanded.starts_with('/');
        let path = match expanded.as_str() {
            "" => self.context.environment.working_directory.clone(),
            expanded => self.absolute(expanded),
        };
        Some(Directory { path, is_relative, length: raw::length(&expanded) })
    }

    fn absolute(&self, path: &str) -> String {
        self.context.environment.absolute(path)
    }

    /// Returns the directories of an object's RPATH or RUNPATH, with tokens replaced. For glibc, an empty
    /// element is the working directory. In a program with raised privileges, `$ORIGIN` counts only if it leads
    /// to a default directory.
    fn directories_of(&self, list: &str, object: &LoadedObject, program: &LoadedObject) -> Vec<Directory> {
        if self.loader.is_musl() {
            return self.musl_directories_of(list, object);
        }
        let is_guarded = self.is_secure(&program.facts) && object.rule == Rule::Program;
        let tokens = self.tokens(&object.origin);
        let elements = self.elements(list, &[':']).filter_map(|element| {
            let directory = self.directory(element, &tokens)?;
            let uses_origin = element.contains("$ORIGIN") || element.contains("${ORIGIN}");
            let is_trusted = || self.default_directories.contains(&directory.path);
            (!is_guarded || !uses_origin || is_trusted()).then_some(directory)
        });
        elements.collect()
    }

    fn is_secure(&self, facts: &Facts) -> bool {
        facts.is_secure(self.context.files.is_this_machine())
    }

    /// musl supports only `$ORIGIN`. Any other `$`, or `$ORIGIN` in a program with raised privileges, voids the
    /// whole list (`fixup_rpath`). Empty elements are skipped.
    fn musl_directories_of(&self, list: &str, object: &LoadedObject) -> Vec<Directory> {
        const SEPARATORS: &[char] = &[':', '\n'];
        let rest = list.replace("${ORIGIN}", "").replace("$ORIGIN", "");
        let uses_origin = rest.len() != list.len();
        let is_void = rest.contains('$')
            || (uses_origin
                && (self.is_secure(&object.facts)
                    || object.origin.contains('$')
                    || self.is_origin_too_long(object)));
        if is_void || !self.spend(list.len() / 16) {
            return Vec::new();
        }
        let mut directories = Vec::new();
        for element in self.elements(list, SEPARATORS) {
            let expanded = element.replace("${ORIGIN}", &object.origin).replace("$ORIGIN", &object.origin);
            self.spend(expanded.len() / 16);
            let parts = expanded.split(SEPARATORS).filter(|part| !part.is_empty());
            directories.extend(parts.map(|part| self.musl_directory(part)));
        }
        directories
    }

    fn musl_directory(&self, element: &str) -> Directory {
        let is_relative = !element.starts_with('/');
        Directory { path: self.absolute(element), is_relative, length: raw::length(element) }
    }

    /// musl reads the path of the program from `/proc/self/exe` into a buffer.
    fn is_origin_too_long(&self, object: &LoadedObject) -> bool {
        object.rule == Rule::Program
            && raw::length(&self.context.files.real_path(&object.path)) >= MUSL_BUFFER
    }

    fn library_path(&self, program: &LoadedObject) -> Vec<Directory> {
        let Some(list) = self.context.environment.library_path.as_deref().filter(|list| !list.is_empty())
        else {
            return Vec::new();
        };
        if self.is_secure(&program.facts) {
            return Vec::new();
        }
        if self.loader.is_musl() {
            let elements = self.elements(list, &[':', '\n']).filter(|element| !element.is_empty());
            return elements.map(|element| self.musl_directory(element)).collect();
        }
        let tokens = self.tokens(&program.origin);
        self.elements(list, &[':', ';']).filter_map(|element| self.directory(element, &tokens)).collect()
    }

    fn is_default_directory(&self, path: &str) -> bool {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        let is_in = |default: &String| {
            directory == default
                || directory.strip_prefix(default.as_str()).is_some_and(|d| d.starts_with('/'))
        };
        self.default_directories.iter().any(is_in)
    }
}

impl Attempt<'_, '_> {
    fn open(&mut self, path: String) -> Option<Hit> {
        if !self.search.spend(COST_OF_PATH + path.len() / 8) {
            return None;
        }
        match self.search.fit.judge(self.search.context.files, &path) {
            Verdict::Use(opened) => Some(Hit { opened: Ok(opened), path }),
            Verdict::Stop(reason) => Some(Hit { opened: Err(reason), path }),
            Verdict::Pass(reason) => {
                let is_told = match &reason {
                    Reason::Unrecorded => std::mem::replace(&mut self.unrecorded_told, true),
                    other => other.is_unrecorded() && self.unrecorded_told,
                };
                if !reason.is_absence() && !is_told {
                    self.search.spend(COST_OF_REJECTION + path.len());
                    self.rejected.push(Rejection { path: self.search.context.files.placed(&path), reason });
                }
                None
            }
            Verdict::EndList { reason, in_directory } => {
                self.list_ended = in_directory || self.in_relative;
                if self.list_ended || reason != Reason::NotDirectory {
                    self.search.spend(COST_OF_REJECTION + path.len());
                    self.rejected.push(Rejection { path: self.search.context.files.placed(&path), reason });
                }
                None
            }
        }
    }

    /// Returns the directories that were searched, each once.
    fn searched(&self) -> Vec<String> {
        let mut known = HashSet::new();
        let once = self.searched.iter().filter(|directory| known.insert(directory.as_str()));
        once.map(|directory| self.search.context.files.placed(directory)).collect()
    }

    /// Returns the result for a library that was not found: a container runtime may add it from the host.
    fn injected(mut self, by_injected: bool) -> Outcome {
        match self.search.context.files.injected(self.name, self.search.fit.program, by_injected) {
            Injection::Found(opened, path) => Outcome::Found(opened, path, Rule::Injected),
            Injection::Absent { provider, recorded } => {
                let path = self.name.to_owned();
                let unknown = (!recorded).then_some(Rejection { path, reason: Reason::Unrecorded });
                self.rejected.extend(unknown);
                Outcome::NotInjected { provider, rejected: self.rejected }
            }
            Injection::NotExpected => Outcome::Missing { searched: self.searched(), rejected: self.rejected },
        }
    }

    fn in_directories(&mut self, directories: &[Directory]) -> Option<Hit> {
        for directory in directories {
            if !self.search.spend(COST_OF_DIRECTORY + directory.path.len() / 4) {
                return None;
            }
            self.searched.push(directory.path.clone());
            if self.search.loader.is_musl() && directory.length + 1 + raw::length(self.name) >= MUSL_BUFFER {
                continue;
            }
            self.in_relative = directory.is_relative;
            for subdirectory in &self.search.hwcaps.subdirectories {
                let directory = directory.path.trim_end_matches('/');
                // glibc checks only the last error, which is that of the directory itself.
                self.list_ended = false;
                let hit = self.open(format!("{directory}/{subdirectory}{}", self.name));
                if hit.is_some() {
                    return hit;
                }
            }
            if self.list_ended {
                return None;
            }
        }
        None
    }

    /// Returns the objects whose RPATH counts for `requester`: itself, those that loaded it, and the program.
    /// An object with a RUNPATH has no RPATH.
    fn rpath_holders(&self, requester: usize, objects: &[LoadedObject]) -> Vec<usize> {
        let mut chain = Vec::new();
        let mut holder = Some(requester);
        while let Some(index) = holder {
            chain.push(index);
            holder = objects[index].loaded_by;
        }
        // A chain of thousands of libraries, each requested by the previous one, is walked for each of them.
        self.search.spend(chain.len());
        if !chain.contains(&0) {
            chain.push(0);
        }
        let has_rpath = |index: &usize| {
            let facts = &objects[*index].facts;
            facts.runpath.is_none() && facts.rpath.as_deref().is_some_and(|list| !list.is_empty())
        };
        chain.retain(has_rpath);
        chain
    }

    fn in_glibc_order(&mut self, requester: usize, objects: &[LoadedObject]) -> Option<(Hit, Rule)> {
        if objects[requester].facts.runpath.is_none() {
            for holder in self.rpath_holders(requester, objects) {
                let object = &objects[holder];
                let list = object.facts.rpath.as_deref().unwrap_or_default();
                let directories = self.search.directories_of(list, object, &objects[0]);
                if let Some(hit) = self.in_directories(&directories) {
                    return Some((hit, Rule::Rpath { object: object.shown.clone() }));
                }
            }
        }
        let library_path = self.search.library_path(&objects[0]);
        if let Some(hit) = self.in_directories(&library_path) {
            return Some((hit, Rule::LibraryPath));
        }
        let object = &objects[requester];
        if let Some(list) = object.facts.runpath.as_deref().filter(|list| !list.is_empty()) {
            let directories = self.search.directories_of(list, object, &objects[0]);
            if let Some(hit) = self.in_directories(&directories) {
                return Some((hit, Rule::Runpath { object: object.shown.clone() }));
            }
        }
        if let Some(hit) = self.in_cache(object) {
            return Some((hit, Rule::Cache));
        }
        if object.facts.flags.no_default_libraries {
            return None;
        }
        self.in_default_directories()
    }

    fn in_default_directories(&mut self) -> Option<(Hit, Rule)> {
        let directories: Vec<_> = self.search.default_directories.iter().map(Directory::from).collect();
        self.in_directories(&directories).map(|hit| (hit, Rule::DefaultDirectory))
    }

    fn in_cache(&mut self, requester: &LoadedObject) -> Option<Hit> {
        let entries = self.search.cache.as_ref()?.find(self.name);
        let path = self.search.hwcaps.choose(entries)?;
        if requester.facts.flags.no_default_libraries && self.search.is_default_directory(&path) {
            return None;
        }
        self.open(path)
    }

    fn in_musl_order(&mut self, requester: usize, objects: &[LoadedObject]) -> Option<(Hit, Rule)> {
        if raw::length(self.name) > MAXIMUM_NAME {
            return None;
        }
        let library_path = self.search.library_path(&objects[0]);
        if let Some(hit) = self.in_directories(&library_path) {
            return Some((hit, Rule::LibraryPath));
        }
        let mut holder = Some(requester);
        while let Some(index) = holder {
            let object = &objects[index];
            self.search.spend(1);
            if let Some(list) = object.facts.runpath.as_deref().or(object.facts.rpath.as_deref()) {
                let directories = self.search.directories_of(list, object, &objects[0]);
                if let Some(hit) = self.in_directories(&directories) {
                    return Some((hit, Rule::Runpath { object: object.shown.clone() }));
                }
            }
            holder = object.loaded_by;
        }
        self.in_default_directories()
    }
}

/// Returns the value of `$PLATFORM` on the most basic CPU of a machine.
pub fn platform_token(machine: Machine) -> &'static str {
    match machine {
        Machine::X86_64 => "x86_64",
        Machine::AARCH64 => "aarch64",
        Machine::I386 => "i686",
        Machine::ARM => "v7l",
        _ => "",
    }
}

/// Returns the directories of an RPATH or RUNPATH of an object in `origin`, with tokens replaced, for every CPU
/// of a machine.
pub fn search_directories(list: &str, origin: &str, loader: &DynamicLoader, machine: Machine) -> Vec<String> {
    let platforms: &[&str] = if machine == Machine::X86_64 { &["haswell", "x86_64"] } else { &[""] };
    let platforms = platforms.iter().map(|name| if name.is_empty() { platform_token(machine) } else { name });
    let tokens = |platform| Tokens { origin, lib: &loader.lib_token, platform };
    platforms
        .flat_map(|platform| list.split(':').map(move |element| tokens(platform).expand(element)))
        .collect()
}

fn musl_directories(data: &[u8]) -> Vec<String> {
    let text = raw::text(data);
    let elements = text.split([':', '\n']).filter(|element| !element.is_empty());
    elements.map(str::to_owned).collect()
}
