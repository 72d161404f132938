//! The types of the specification. They are written in the order of their fields, and empty fields are left
//! out. The form is canonical: the same inputs result in the same bytes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spec::schema::{self, IDENTIFIER};
use crate::spec::{Identification, Image, Layout, Recorded};

/// The requirements of an application on the host that runs it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(title = "Specification")]
pub struct Specification {
    /// The identifier of this document's schema.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The version of the format, MAJOR.MINOR.PATCH. Readers refuse a newer major version.
    #[schemars(regex(pattern = r"^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)$"))]
    pub version: String,
    /// The level of detail of the objects. Absent means full detail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Detail>,
    /// Custom attributes: reverse-DNS keys with string values. The attributes of compat-lib 0.0.1
    /// (llnl.compatlib.executable-name, llnl.compatlib.library-name.N) are set as compat-lib sets them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::attributes")]
    pub attributes: BTreeMap<String, String>,
    /// The absolute path of the scope on the host. Only set if the result depends on it: something in the scope
    /// names an absolute path inside it or leaves it through $ORIGIN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Directories that the application adds to LD_LIBRARY_PATH when it starts. Relative paths start at the
    /// scope.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub library_path: Vec<String>,
    /// The subjects of the verdict: paths of objects and scripts in the scope.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<String>,
    /// Groups of subjects of which each host needs one, such as builds for different machines, C libraries or
    /// versions of Python.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<Alternatives>,
    /// The ELF objects of the scope: the programs and libraries that the application brings along.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<Object>,
    /// The scripts among the subjects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scripts: Vec<Script>,
    /// Symbolic links of the scope, from path to target. A target in the scope is relative to it, any other
    /// target is absolute.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<String, String>,
    /// Files in the scope that have the name of a needed library but cannot be loaded, from path to the
    /// loader's message. The loader stops at such a file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unusable: BTreeMap<String, String>,
    /// The container image, if the scope is an image. The loader then sees only the image and the files that a
    /// container runtime adds to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// Additional programs and libraries that recorded runs executed and loaded. They may be optional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Recorded>,
    /// The libraries outside the scope that were loaded when the specification was generated, and their paths.
    /// For information only: a check does not use them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub closure: Vec<ClosureEntry>,
}

/// Subjects that are alternatives of each other. A subject that does not fit the host is skipped if another
/// subject of the group fits. If no subject fits, all of them are checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alternatives {
    /// The difference between them.
    pub by: Distinction,
    /// Paths of the subjects.
    pub subjects: Vec<String>,
}

/// The difference between alternative files of which a host needs only some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Distinction {
    /// The machine or the width of addresses.
    Machine,
    /// The C library.
    Libc,
    /// The version of Python that imports them.
    Python,
    /// None: the files are test data. A file for another machine or C library does not mean that a file for
    /// this host is missing.
    TestData,
    /// A value that this reader does not know.
    #[serde(other)]
    Unknown,
}

/// The level of detail of the objects in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Detail {
    /// Names of libraries without versions and symbols.
    Names,
    /// A value that this reader does not know.
    #[serde(other)]
    Unknown,
}

/// One ELF object of the scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Object {
    /// Its path, relative to the scope.
    pub path: String,
    /// Its kind.
    pub kind: ObjectKind,
    /// The machine it is built for, as `uname -m` prints it (x86_64, aarch64, …).
    pub machine: String,
    /// The width of its addresses in bits.
    #[schemars(schema_with = "schema::class")]
    pub class: u8,
    /// Whether its integers are stored with the most significant byte first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub big_endian: bool,
    /// EI_OSABI of the ELF header, unless it is 0 (System V) or 3 (GNU).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_abi: Option<u8>,
    /// The path of its dynamic loader (PT_INTERP).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<String>,
    /// Its soname, by which other objects are linked against it (DT_SONAME).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soname: Option<String>,
    /// The libraries that it needs, in order (DT_NEEDED).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needed: Vec<String>,
    /// The libraries for which it is a filter (DT_FILTER). They are needed too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filter: Vec<String>,
    /// The libraries for which it is an auxiliary filter (DT_AUXILIARY). They are optional.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub auxiliary: Vec<String>,
    /// The order of these three lists in the dynamic section, with one letter for each entry: `n` for `needed`,
    /// `f` for `filter`, `a` for `auxiliary`. If it is absent, all of `needed` come first, then all of
    /// `filter`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[nfa]*$"))]
    pub dependency_order: Option<String>,
    /// DT_RPATH, elements separated by ":".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpath: Option<String>,
    /// DT_RUNPATH, elements separated by ":".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runpath: Option<String>,
    /// Flags that change how it is loaded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<ObjectFlag>,
    /// The x86-64 levels that it declares as needed, as the mask of GNU_PROPERTY_X86_ISA_1_NEEDED: bit 0 is the
    /// baseline, bit 1 is x86-64-v2, and so on. The level of Go's GOAMD64 is included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isa: Option<u32>,
    /// The CPU that it is built for, as KEY=VALUE (GOAMD64=v3). Only set if its toolchain recorded more than the
    /// baseline of its machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cpu: Vec<String>,
    /// The tool that packed it, such as UPX. A packed program unpacks and runs another program, about which
    /// nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packed_by: Option<String>,
    /// The oldest Linux kernel that it is built for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9]+\.[0-9]+\.[0-9]+$"))]
    pub kernel: Option<String>,
    /// Its build-id in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^([0-9a-f]{2})*$"))]
    pub build_id: Option<String>,
    /// The release of the GNU C library that it belongs to, as it states itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// The versions and symbols that it needs from each library.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wants: Vec<LibraryNeed>,
    /// Symbols that it defines itself but that the loader still looks up, because another object or another
    /// loader may resolve them differently. These are definitions that only references to their version bind to
    /// (musl's loader does not find them), and indirect functions that a program defines.
    #[serde(default, skip_serializing_if = "Symbols::is_empty")]
    pub own: Symbols,
    /// Its thread-local variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_local: Option<ThreadLocal>,
    /// The symbols that it needs without a version.
    #[serde(default, skip_serializing_if = "Symbols::is_empty")]
    pub unversioned: Symbols,
    /// The libraries that it opens at run time according to its note .note.dlopen, in the order of the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dlopen: Vec<DlopenNeed>,
    /// The versions and symbols that it provides to other objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provides: Option<Provision>,
    /// The defect in the object's first bytes that a loader rejects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identification: Option<Identification>,
    /// Its segments, unless every kernel and every loader would map them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
}

/// The kind of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ObjectKind {
    /// A program that the kernel starts.
    Executable,
    /// A library that other objects load.
    Library,
}

/// A flag that changes the loading of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectFlag {
    /// ET_EXEC: the program is built for fixed addresses.
    FixedAddress,
    /// DF_1_PIE: it is a position-independent executable, which cannot be loaded as a library.
    Pie,
    /// It has no dynamic section.
    NoDynamicSection,
    /// All symbols are bound at start.
    BindNow,
    /// References in the object bind to its own definitions first.
    Symbolic,
    /// The default directories are not searched for its libraries.
    NoDefaultLibraries,
    /// It has packed relative relocations (DT_RELR).
    Relr,
    /// It runs with raised privileges (set-user-ID, set-group-ID or file capabilities), so the loader ignores
    /// LD_LIBRARY_PATH.
    Secure,
    /// It is linked statically and exits on a kernel that is older than the one it is built for.
    ChecksKernel,
    /// No user has permission to execute its file. The kernel requires this permission for programs and dynamic
    /// loaders.
    NotExecutable,
    /// It requires an executable stack.
    ExecutableStack,
    /// It must not be opened at run time (DF_1_NOOPEN).
    NoOpen,
    /// A flag that this reader does not know.
    #[serde(other)]
    Unknown,
}

/// The thread-local variables of an object, and those that it needs in static memory (the initial-exec model).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ThreadLocal {
    /// Their size in bytes for each thread.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub size: u64,
    /// Their alignment in bytes. 1 if absent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub alignment: u64,
    /// The distance of the first byte from an aligned address, in bytes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub first_byte: u64,
    /// Whether its own variables must be in static memory.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub initial_exec: bool,
    /// The symbols of other objects that must be in static memory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub initial_exec_symbols: Vec<String>,
    /// Whether it reaches some variables through TLS descriptors, which use static memory as long as some is
    /// left.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub descriptors: bool,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The versions that an object needs from one library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LibraryNeed {
    /// The library, by its soname.
    pub library: String,
    /// The versions, in the order of the file.
    pub versions: Vec<VersionNeed>,
}

/// One version that is needed from a library, and the symbols of that version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VersionNeed {
    /// The version's name, such as GLIBC_2.34.
    pub version: String,
    /// Whether the program also starts without this version (VER_FLG_WEAK).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// The symbols.
    #[serde(flatten)]
    pub symbols: Symbols,
}

/// A library that an object opens at run time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DlopenNeed {
    /// The names under which the object tries to open it, the preferred one first.
    #[schemars(length(min = 1))]
    pub sonames: Vec<String>,
    /// The feature that uses it, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature: Option<String>,
    /// The purpose of the library.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The importance of the library. Recommended if absent.
    #[serde(default, skip_serializing_if = "DlopenPriority::is_default")]
    pub priority: DlopenPriority,
}

/// The importance of a library that is opened at run time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DlopenPriority {
    /// The object does not work without it.
    Required,
    /// Only a full installation includes it.
    Suggested,
    /// It should be installed.
    #[default]
    #[serde(other)]
    Recommended,
}

impl DlopenPriority {
    /// Whether it is the priority of a note that states none.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Needed symbols, grouped by their use. A symbol with several uses is in each list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Symbols {
    /// Symbols that are bound at start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub symbols: Vec<String>,
    /// Functions that are only called. They are bound at the first call, unless all symbols are bound at start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lazy: Vec<String>,
    /// Variables that are copied from the library into the program at start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copy: Vec<String>,
    /// Symbols that may be absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weak: Vec<String>,
    /// Symbols of `weak` that are only called, if they name a version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weak_lazy: Vec<String>,
    /// Symbols of `symbols` and `weak` that are thread-local variables and are only reached through TLS
    /// descriptors in the relocations of the procedure linkage table. Older releases of glibc bind them at the
    /// first use, unless all symbols are bound at start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub descriptors: Vec<String>,
}

impl Symbols {
    /// Whether all lists are empty.
    pub fn is_empty(&self) -> bool {
        [&self.symbols, &self.lazy, &self.copy, &self.weak, &self.weak_lazy]
            .iter()
            .all(|list| list.is_empty())
    }
}

/// The versions and symbols that an object provides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Provision {
    /// The versions that it defines, without the base version. Absent if the object has no version definitions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<Vec<String>>,
    /// Whether its symbols have versions (DT_VERSYM).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub symbol_versions: bool,
    /// The symbols that it defines, by version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub definitions: Vec<Definitions>,
}

/// The symbols that an object defines in one version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Definitions {
    /// The name of the version. Absent for the base version and for objects without versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The symbols for which this is the default version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub symbols: Vec<String>,
    /// The symbols that only a reference to this version binds to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<String>,
    /// Functions that the program does not define but of which it holds the canonical address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub canonical: Vec<String>,
    /// Functions of the lists above with an address that another function returns (STT_GNU_IFUNC). Listed for
    /// programs, and for the symbols of a library that the loader looks up although the library defines them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indirect: Vec<String>,
}

/// A script among the subjects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Script {
    /// Its path, relative to the scope.
    pub path: String,
    /// The interpreter on its first line.
    pub interpreter: String,
    /// The argument on its first line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argument: Option<String>,
    /// The command that it ends with, if it can be determined without running the script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<ScriptBody>,
    /// Whether no user has permission to execute its file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not_executable: bool,
}

/// The known facts about a script's text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScriptBody {
    /// The words of the command that it ends with. "$@" stands for the script's arguments, and "${0%/*}" at the
    /// beginning of a word stands for its directory. Empty if the script starts nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// The directory that it changes to before the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// PATH and LD_LIBRARY_PATH of the command. $PATH and $LD_LIBRARY_PATH in them stand for the previous
    /// values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
    /// Whether it does something else that was not followed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

/// A library outside the scope, as found when the specification was generated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClosureEntry {
    /// The name that was searched for.
    pub name: String,
    /// The path of the library. Absent if it was not found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Its build-id in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_id: Option<String>,
    /// The first object that needed it: a path in the scope, or a name in this list.
    pub needed_by: String,
}

impl Specification {
    /// Returns an empty document of the version that this program writes.
    pub fn new() -> Self {
        Self {
            schema: Some(IDENTIFIER.to_owned()),
            version: crate::spec::VERSION.to_owned(),
            ..Self::default()
        }
    }

    /// Returns the document in its canonical form: compact JSON in the order of the fields, attributes and
    /// links sorted by key, and a final newline.
    ///
    /// # Panics
    ///
    /// Never: JSON can represent all values of these types.
    pub fn to_canonical_json(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("a specification is plain data");
        bytes.push(b'\n');
        bytes
    }

    /// Whether the document contains only names: a document of compat-lib 0.0.1, or one with only attributes.
    pub fn is_names_only(&self) -> bool {
        let has_programs = !self.subjects.is_empty() || !self.objects.is_empty() || !self.scripts.is_empty();
        !has_programs && self.image.is_none() && self.recorded.is_none()
    }

    /// Whether a program with a newer minor version may have written the document. This version does not know
    /// its additional content, which may contain further requirements.
    pub fn is_newer(&self) -> bool {
        let numbers = |version: &str| {
            let mut numbers = version.split('.').map(|number| number.parse::<u64>().ok());
            (numbers.next().flatten(), numbers.next().flatten())
        };
        numbers(&self.version) > numbers(crate::spec::VERSION)
    }

    /// Returns the object at a path of the scope.
    pub fn object(&self, path: &str) -> Option<&Object> {
        self.objects.iter().find(|object| object.path == path)
    }
}

impl Object {
    /// Returns an object with only these facts.
    pub fn new(path: &str, kind: ObjectKind, machine: &str, class: u8) -> Self {
        Self {
            path: path.to_owned(),
            kind,
            machine: machine.to_owned(),
            class,
            big_endian: false,
            os_abi: None,
            interpreter: None,
            soname: None,
            needed: Vec::new(),
            filter: Vec::new(),
            auxiliary: Vec::new(),
            dependency_order: None,
            rpath: None,
            runpath: None,
            flags: Vec::new(),
            isa: None,
            cpu: Vec::new(),
            packed_by: None,
            kernel: None,
            build_id: None,
            release: None,
            wants: Vec::new(),
            own: Symbols::default(),
            thread_local: None,
            unversioned: Symbols::default(),
            dlopen: Vec::new(),
            provides: None,
            identification: None,
            layout: None,
        }
    }
}
