//! The facts that the loader reads from one object, taken from its file or from a specification.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::elf::{
    self, Class, Dependency, FileType, Flags, IdentificationFault, Import, IsaLevel, KernelVersion, Layout,
    Machine, Uses, VersionReference, VersionRule, Wanted, gnu_hash,
};
use crate::loader::mark;
use crate::loader::specified::{
    has_unknown, specified_dependencies, specified_identification, specified_initial_exec, specified_layout,
    specified_thread_local, specified_versions,
};
use crate::spec;
use compat_sys::raw;

/// The kind of object, from the loader's point of view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An executable for fixed addresses (`ET_EXEC`).
    FixedExecutable,
    /// A position-independent executable.
    Executable,
    /// A shared library.
    Library,
    /// Neither executable nor library (`ET_REL`, `ET_CORE`).
    Other,
}

/// The facts of one object.
#[derive(Debug)]
pub struct Facts {
    /// The machine that the object is for.
    pub machine: Machine,
    /// The width of its addresses.
    pub class: Class,
    /// Most significant byte first.
    pub big_endian: bool,
    /// `EI_OSABI`.
    pub os_abi: u8,
    /// The fault in its first bytes that glibc's loader would report.
    pub identification: Option<IdentificationFault>,
    /// The segments. `None` if a document omits them because every kernel and loader maps them.
    pub layout: Option<Layout>,
    /// Nobody has permission to execute the file.
    pub not_executable: bool,
    /// This user may not execute the file on this machine.
    pub denied: bool,
    /// On this machine, the file is on a file system that is mounted with `noexec`.
    pub on_noexec: bool,
    /// The document says something about the object that this version does not understand.
    pub has_unknown: bool,
    /// The kind of object.
    pub form: Form,
    /// Whether it has a dynamic section.
    pub has_dynamic_section: bool,
    /// The loader that it names.
    pub interpreter: Option<String>,
    /// The soname.
    pub soname: Option<String>,
    /// The objects that it needs, in order.
    pub needed: Vec<Dependency>,
    /// `DT_RPATH`.
    pub rpath: Option<String>,
    /// `DT_RUNPATH`.
    pub runpath: Option<String>,
    /// Flags of the dynamic section.
    pub flags: Flags,
    /// The x86-64 levels that it declares to need.
    pub isa: Option<IsaLevel>,
    /// The CPU features beyond the minimum of its machine that its toolchain built it for, as `KEY=VALUE`.
    pub cpu: Vec<String>,
    /// The tool that packed the program: it unpacks another program and runs that.
    pub packed_by: Option<String>,
    /// The oldest kernel that it was built for.
    pub kernel: Option<KernelVersion>,
    /// It is a static program that exits on a kernel older than that.
    pub checks_kernel: bool,
    /// The build ID in hexadecimal.
    pub build_id: Option<String>,
    /// It runs with raised privileges if a user other than its owner starts it.
    pub secure: bool,
    /// Whether it runs with raised privileges if this process starts it on this machine, if known.
    pub secure_here: Option<bool>,
    /// It needs an executable stack.
    pub executable_stack: bool,
    /// Its thread-local segment.
    pub thread_local: Option<elf::ThreadLocal>,
    /// Its versions and symbols are not known.
    pub names_only: bool,
    /// The release of the C library, if the object is a C library or its loader.
    pub release: Option<String>,
    /// The versions that it needs: the library, then each version and whether it may be missing.
    pub version_needs: Vec<(String, Vec<(String, bool)>)>,
    /// The versions that it defines, without the base version, or `None` if it has no such table.
    pub version_definitions: Option<Vec<String>>,
    /// The libraries that it opens at run time, according to its notes.
    pub dlopen: Vec<spec::DlopenNeed>,
    /// A number that is unique among all objects that were read.
    pub(super) number: u64,
    /// The size in bytes, of the file or of its description in the document.
    pub(super) size: u64,
    /// The thread-local variables that it needs in static memory, once requested.
    initial_exec: OnceLock<elf::InitialExec>,
    symbols: Symbols,
}

/// The source of the symbols.
#[derive(Debug)]
enum Symbols {
    /// The object's file. Its imports and references are read once.
    Object(Box<elf::Object>, OnceLock<Vec<elf::ImportEntry>>, OnceLock<Vec<elf::ImportEntry>>),
    /// A specification.
    Listed(Listed),
}

#[derive(Debug, Default)]
struct Listed {
    imports: Vec<ListedImport>,
    own: Vec<ListedImport>,
    /// The definitions, by the bytes of the name.
    definitions: HashMap<Vec<u8>, Vec<ListedDefinition>>,
    has_versions: bool,
    /// The version whose definitions satisfy an unversioned reference even if they are hidden (index 2).
    first_version: Option<Arc<str>>,
}

#[derive(Debug)]
struct ListedImport {
    name: Vec<u8>,
    gnu_hash: u32,
    weak: bool,
    uses: Uses,
    /// The library and the version, one text for all symbols of the version.
    version: Option<Arc<(String, String)>>,
    own: bool,
}

#[derive(Debug)]
struct ListedDefinition {
    version: Option<Arc<str>>,
    hidden: bool,
    undefined: bool,
    indirect: bool,
}

impl Facts {
    /// Returns the facts of an object that was read from its file.
    pub fn of_object(object: elf::Object) -> Self {
        let dynamic = object.dynamic.clone();
        let has_dynamic_section = dynamic.is_some();
        let dynamic = dynamic.unwrap_or_default();
        let version_needs = object.version_needs.iter().map(|need| {
            let versions = need.versions.iter().map(|version| (version.name.clone(), version.weak));
            (need.library.clone(), versions.collect())
        });
        let version_definitions = object.version_definitions.as_ref().map(|versions| {
            versions.iter().filter(|version| !version.base).map(|version| version.name.clone()).collect()
        });
        Self {
            machine: object.machine,
            class: object.class,
            big_endian: object.endian == elf::Endian::Big,
            os_abi: object.os_abi,
            identification: object.identification_fault,
            layout: Some(object.layout.clone()),
            not_executable: false,
            denied: false,
            on_noexec: false,
            has_unknown: false,
            form: match object.kind {
                FileType::Executable => Form::FixedExecutable,
                FileType::Shared if dynamic.flags.pie || object.is_bare => Form::Executable,
                FileType::Shared => Form::Library,
                FileType::Other(_) => Form::Other,
            },
            has_dynamic_section,
            interpreter: object.interpreter.clone(),
            soname: dynamic.soname.clone(),
            needed: dynamic.needed,
            rpath: dynamic.rpath,
            runpath: dynamic.runpath,
            flags: dynamic.flags,
            isa: mark::isa(object.notes.isa, &object.marks.cpu),
            cpu: object.marks.cpu.clone(),
            packed_by: object.marks.packed_by.map(str::to_owned),
            kernel: object.notes.kernel,
            checks_kernel: object.marks.checks_kernel,
            build_id: object.notes.build_id.as_deref().map(hexadecimal),
            secure: false,
            secure_here: None,
            executable_stack: object.executable_stack.unwrap_or_else(|| is_stack_executable(object.machine)),
            thread_local: object.thread_local,
            names_only: false,
            release: release(&object, dynamic.soname.as_deref()),
            version_needs: version_needs.collect(),
            version_definitions,
            dlopen: object.notes.dlopen.iter().map(noted).collect(),
            number: next_number(),
            size: object.bytes().len() as u64,
            initial_exec: OnceLock::new(),
            symbols: Symbols::Object(Box::new(object), OnceLock::new(), OnceLock::new()),
        }
    }

    /// Returns the facts of an object that a specification describes. `None` if it names a machine or class
    /// that this version does not know.
    pub fn of_specified(object: &spec::Object) -> Option<Self> {
        let has = |flag| object.flags.contains(&flag);
        let fixed = has(spec::ObjectFlag::FixedAddress);
        let provides = object.provides.as_ref();
        Some(Self {
            machine: Machine::from_name(&object.machine)?,
            class: Class::from_bits(object.class)?,
            big_endian: object.big_endian,
            os_abi: object.os_abi.unwrap_or(0),
            identification: object.identification.and_then(specified_identification),
            layout: object.layout.as_ref().map(specified_layout),
            not_executable: has(spec::ObjectFlag::NotExecutable),
            denied: false,
            on_noexec: false,
            has_unknown: has_unknown(object),
            form: match object.kind {
                spec::ObjectKind::Executable if fixed => Form::FixedExecutable,
                spec::ObjectKind::Executable if has(spec::ObjectFlag::Pie) => Form::Executable,
                spec::ObjectKind::Executable | spec::ObjectKind::Library => Form::Library,
            },
            has_dynamic_section: !has(spec::ObjectFlag::NoDynamicSection),
            interpreter: object.interpreter.clone(),
            soname: object.soname.clone(),
            needed: specified_dependencies(object),
            rpath: object.rpath.clone(),
            runpath: object.runpath.clone(),
            flags: Flags {
                bind_now: has(spec::ObjectFlag::BindNow),
                symbolic: has(spec::ObjectFlag::Symbolic),
                no_default_libraries: has(spec::ObjectFlag::NoDefaultLibraries),
                pie: has(spec::ObjectFlag::Pie),
                debug: has(spec::ObjectFlag::NotExecutable),
                no_open: has(spec::ObjectFlag::NoOpen),
                relr: has(spec::ObjectFlag::Relr),
            },
            isa: object.isa.map(IsaLevel),
            cpu: object.cpu.clone(),
            packed_by: object.packed_by.clone(),
            checks_kernel: has(spec::ObjectFlag::ChecksKernel),
            kernel: object.kernel.as_deref().and_then(KernelVersion::parse),
            build_id: object.build_id.clone(),
            secure: has(spec::ObjectFlag::Secure),
            secure_here: None,
            executable_stack: has(spec::ObjectFlag::ExecutableStack),
            thread_local: object.thread_local.as_ref().and_then(specified_thread_local),
            names_only: false,
            release: object.release.clone(),
            version_needs: specified_versions(object),
            version_definitions: provides.and_then(|provides| provides.versions.clone()),
            dlopen: object.dlopen.clone(),
            number: next_number(),
            size: spec::written_size(object),
            initial_exec: specified_initial_exec(object).into(),
            symbols: Symbols::Listed(Listed::of(object)),
        })
    }

    /// Returns the object itself if the facts were read from its file.
    pub fn object(&self) -> Option<&elf::Object> {
        match &self.symbols {
            Symbols::Object(object, ..) => Some(object),
            Symbols::Listed(_) => None,
        }
    }

    /// Returns the usual name of the machine that the object is for.
    pub fn machine_name(&self) -> String {
        self.machine.usual_name_of(self.class, self.big_endian)
    }

    /// Returns whether its definitions have versions.
    pub fn has_symbol_versions(&self) -> bool {
        match &self.symbols {
            Symbols::Object(object, ..) => object.has_symbol_versions(),
            Symbols::Listed(listed) => listed.has_versions,
        }
    }

    /// Returns whether it is a program that the kernel starts.
    pub fn is_program(&self) -> bool {
        match self.form {
            Form::FixedExecutable | Form::Executable => true,
            Form::Library => self.interpreter.is_some(),
            Form::Other => false,
        }
    }

    /// Returns whether the kernel starts it as a program, or for one, so that it needs permission to execute. A
    /// library that names an interpreter, such as modules of Qt and PAM, is still a library.
    pub fn is_executed(&self) -> bool {
        const LOADERS: [&str; 4] = ["ld-", "ld.", "ld64", "libc.musl"];
        let is_library = self.form == Form::Library && (self.soname.is_some() || !self.flags.debug);
        let is_loaders =
            |name: &str| name == "libc.so" || LOADERS.iter().any(|beginning| name.starts_with(beginning));
        let is_loader = self.interpreter.is_none() && self.soname.as_deref().is_some_and(is_loaders);
        (self.is_program() && !is_library) || is_loader
    }

    /// Returns whether the kernel starts it with raised privileges (`AT_SECURE`).
    pub fn is_secure(&self, on_this_machine: bool) -> bool {
        self.secure_here.filter(|_| on_this_machine).unwrap_or(self.secure)
    }

    /// Returns the symbols that it needs from other objects.
    pub fn imports(&self) -> Vec<Import<'_>> {
        (0..self.import_count()).map(|index| self.import(index)).collect()
    }

    /// Returns the symbols that are looked up by name. They include its own symbols if these are known: a
    /// specification lists only the symbols that other objects must provide.
    pub fn references(&self) -> Vec<Import<'_>> {
        match &self.symbols {
            Symbols::Object(object, ..) => object.references(),
            Symbols::Listed(_) => self.imports(),
        }
    }

    /// Returns its own symbols that are looked up by name. An object in a specification has only those that
    /// another object or another loader may resolve differently.
    pub fn own_references(&self) -> Vec<Import<'_>> {
        match &self.symbols {
            Symbols::Object(object, _, entries) => {
                let entries = entries.get_or_init(|| object.own_entries());
                entries.iter().map(|entry| object.import(entry)).collect()
            }
            Symbols::Listed(listed) => listed.own.iter().map(ListedImport::as_import).collect(),
        }
    }

    /// Returns the references to its own symbols that only a loader with support for versions and indirect
    /// functions finds. musl's loader has no such support.
    pub fn found_by_version_only(&self) -> Vec<Import<'_>> {
        let is_found = |import: &Import<'_>| {
            self.satisfies(&Wanted { version: VersionRule::Ignored, ..Wanted::of(import) })
        };
        self.own_references().into_iter().filter(|import| !is_found(import)).collect()
    }

    /// Returns the thread-local variables that it needs in static memory.
    pub fn initial_exec(&self) -> &elf::InitialExec {
        self.initial_exec.get_or_init(|| self.object().map(elf::Object::initial_exec).unwrap_or_default())
    }

    /// Returns the number of symbols that it needs from other objects.
    pub fn import_count(&self) -> usize {
        match &self.symbols {
            Symbols::Object(object, entries, _) => entries.get_or_init(|| object.import_entries()).len(),
            Symbols::Listed(listed) => listed.imports.len(),
        }
    }

    /// Returns one of the symbols that it needs from other objects.
    ///
    /// # Panics
    ///
    /// If `index` is not less than [`Facts::import_count`].
    pub fn import(&self, index: usize) -> Import<'_> {
        match &self.symbols {
            Symbols::Object(object, entries, _) => {
                object.import(&entries.get_or_init(|| object.import_entries())[index])
            }
            Symbols::Listed(listed) => listed.imports[index].as_import(),
        }
    }

    /// Returns the names of the indirect functions that other objects can bind to. Only those of a program
    /// matter.
    pub fn indirect_functions(&self) -> HashSet<Vec<u8>> {
        match &self.symbols {
            Symbols::Object(object, ..) => {
                let indirect = object.definitions().into_iter().filter(|definition| definition.indirect);
                indirect.map(|definition| definition.name.to_vec()).collect()
            }
            Symbols::Listed(listed) => {
                let is_indirect = |all: &[ListedDefinition]| all.iter().any(|definition| definition.indirect);
                let named = listed.definitions.iter().filter(|(_, all)| is_indirect(all));
                named.map(|(name, _)| name.clone()).collect()
            }
        }
    }

    /// Returns whether it satisfies a reference.
    pub fn satisfies(&self, wanted: &Wanted<'_>) -> bool {
        match &self.symbols {
            Symbols::Object(object, ..) => object.satisfies(wanted),
            Symbols::Listed(listed) => listed.satisfies(wanted),
        }
    }
}

fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Returns the release that glibc's `libc.so.6` and `ld.so` contain: `(Debian GLIBC 2.36-9) stable release
/// version 2.36`. The loader contains it since 2.33.
fn release(object: &elf::Object, soname: Option<&str>) -> Option<String> {
    soname.filter(|name| name.starts_with("libc.so.") || name.starts_with("ld"))?;
    let constants = elf::constants(object.bytes());
    constants.into_iter().rev().find_map(|data| {
        let version = memchr::memmem::find(data, b" release version ")?;
        let start = data[..version].iter().rposition(|byte| *byte == b'(' || *byte == 0)?;
        let end = version + memchr::memchr2(b'\n', 0, &data[version..])?;
        let text = std::str::from_utf8(&data[start..end]).ok()?;
        Some(text.trim_end_matches('.').to_owned())
    })
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Converts a note to the terms of the specification.
fn noted(note: &elf::DlopenNote) -> spec::DlopenNeed {
    spec::DlopenNeed {
        sonames: note.sonames.clone(),
        feature: note.feature.clone(),
        description: note.description.clone(),
        priority: match note.priority {
            elf::Priority::Required => spec::DlopenPriority::Required,
            elf::Priority::Recommended => spec::DlopenPriority::Recommended,
            elf::Priority::Suggested => spec::DlopenPriority::Suggested,
        },
    }
}

/// Returns whether a program without a stack header gets an executable stack (`DEFAULT_STACK_PERMS` in glibc's
/// `stackinfo.h`).
fn is_stack_executable(machine: Machine) -> bool {
    !matches!(machine, Machine::AARCH64 | Machine::PPC64 | Machine::LOONGARCH)
}

impl Listed {
    fn of(object: &spec::Object) -> Self {
        let mut listed = Self::default();
        listed.add_imports(&object.own, None);
        listed.own = std::mem::take(&mut listed.imports);
        listed.own.iter_mut().for_each(|import| import.own = true);
        listed.add_imports(&object.unversioned, None);
        for need in &object.wants {
            for version in &need.versions {
                listed.add_imports(&version.symbols, Some((need.library.clone(), version.version.clone())));
            }
        }
        if let Some(provides) = &object.provides {
            listed.has_versions = provides.symbol_versions;
            listed.first_version = provides
                .versions
                .as_ref()
                .and_then(|versions| versions.first())
                .map(|first| first.as_str().into());
            provides.definitions.iter().for_each(|definitions| listed.add_definitions(definitions));
        }
        listed
    }

    fn add_imports(&mut self, symbols: &spec::Symbols, version: Option<(String, String)>) {
        let version = version.map(Arc::new);
        let called: HashSet<&str> = symbols.weak_lazy.iter().map(String::as_str).collect();
        let descriptors: HashSet<&str> = symbols.descriptors.iter().map(String::as_str).collect();
        let lists = [
            (&symbols.symbols, Uses::DATA, false),
            (&symbols.lazy, Uses::JUMP_SLOT, false),
            (&symbols.copy, Uses::COPY, false),
            (&symbols.weak, Uses::DATA, true),
        ];
        for (names, uses, weak) in lists {
            self.imports.extend(names.iter().map(|name| ListedImport {
                gnu_hash: gnu_hash(&raw::bytes(name)),
                name: raw::bytes(name).into_owned(),
                weak,
                uses: match uses {
                    Uses::DATA if descriptors.contains(name.as_str()) => Uses::DESCRIPTOR,
                    Uses::DATA if weak && called.contains(name.as_str()) => Uses::JUMP_SLOT,
                    uses => uses,
                },
                version: version.clone(),
                own: false,
            }));
        }
    }

    fn add_definitions(&mut self, definitions: &spec::Definitions) {
        let version: Option<Arc<str>> = definitions.version.as_deref().map(Into::into);
        let lists = [
            (&definitions.symbols, false, false),
            (&definitions.hidden, true, false),
            (&definitions.canonical, false, true),
        ];
        let indirect: HashSet<&str> = definitions.indirect.iter().map(String::as_str).collect();
        for (names, hidden, undefined) in lists {
            for name in names {
                let indirect = indirect.contains(name.as_str());
                let definition = ListedDefinition { version: version.clone(), hidden, undefined, indirect };
                self.definitions.entry(raw::bytes(name).into_owned()).or_default().push(definition);
            }
        }
    }

    fn satisfies(&self, wanted: &Wanted<'_>) -> bool {
        let Some(definitions) = self.definitions.get(wanted.name) else { return false };
        let counting = || definitions.iter().filter(|d| wanted.accept_undefined || !d.undefined);
        if !self.has_versions {
            let is_musl = wanted.version == VersionRule::Ignored;
            return counting().any(|d| !(is_musl && d.indirect));
        }
        match wanted.version {
            VersionRule::Named { name, refuses_unversioned } => counting().any(|d| match &d.version {
                Some(version) => **version == *name,
                None => !d.hidden && !refuses_unversioned,
            }),
            VersionRule::Unversioned => {
                let is_first = |d: &ListedDefinition| d.version.is_none() || d.version == self.first_version;
                counting().any(is_first) || counting().filter(|d| !d.hidden).count() == 1
            }
            VersionRule::Ignored => counting().any(|d| !d.hidden && !d.indirect),
        }
    }
}

impl ListedImport {
    fn as_import(&self) -> Import<'_> {
        let version = self.version.as_deref();
        let version = version.map(|(library, name)| VersionReference { library, name, hidden: false });
        Import {
            name: &self.name,
            gnu_hash: self.gnu_hash,
            weak: self.weak,
            uses: self.uses,
            version,
            own: self.own,
            protected: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_names_an_interpreter_is_not_executed() {
        let mut object = spec::Object::new("x", spec::ObjectKind::Executable, "x86_64", 64);
        object.interpreter = Some("/lib64/ld-linux-x86-64.so.2".to_owned());
        let mut facts = Facts::of_specified(&object).unwrap();
        assert!(!facts.is_executed());
        facts.flags.debug = true;
        assert!(facts.is_executed());
        facts.soname = Some("x".to_owned());
        assert!(!facts.is_executed());
        facts.form = Form::Executable;
        assert!(facts.is_executed());
    }
}
