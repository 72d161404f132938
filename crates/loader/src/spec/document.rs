//! The types of the document. Field order is the order in which they are written; a field that is
//! empty is left out. Written canonically: same inputs, same bytes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spec::schema::{self, IDENTIFIER};
use crate::spec::{Identification, Image, Layout, Recorded};

/// What an application needs of the machine it is to run on.
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
    /// How much the objects tell; absent means everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Detail>,
    /// Free attributes: reverse-DNS keys with string values. Those of compat-lib 0.0.1
    /// (llnl.compatlib.executable-name, llnl.compatlib.library-name.N) are filled as it did.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::attributes")]
    pub attributes: BTreeMap<String, String>,
    /// Where the scope lies on the machine, as an absolute path. Only given when the answer depends on
    /// it: something in the scope names an absolute path inside it, or leaves it by $ORIGIN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Directories that the application's start puts into LD_LIBRARY_PATH; relative ones lie in the
    /// scope.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub library_path: Vec<String>,
    /// What the verdict is about: paths of objects and scripts in the scope.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<String>,
    /// Subjects of which each host needs its own: the same for other machines, C libraries or versions of
    /// Python.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<Alternatives>,
    /// The ELF objects of the scope: what the application brings along.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<Object>,
    /// The scripts among the subjects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scripts: Vec<Script>,
    /// Symbolic links of the scope: path to target. A target in the scope is relative to it, another one
    /// absolute.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<String, String>,
    /// Paths of the scope at which the loader would stop, because they have the name of a needed library
    /// and are none: path to what it would say.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unusable: BTreeMap<String, String>,
    /// The container image that the scope is, when it is one: the loader then sees nothing but the image
    /// and what a container runtime puts into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// What recorded runs executed and loaded besides; what it names may be optional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Recorded>,
    /// The libraries outside the scope that were loaded when this was generated, and from where. For
    /// people; a check does not depend on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub closure: Vec<ClosureEntry>,
}

/// Subjects that stand for one another. One that is not for the host is passed over if another one of them
/// is; if none is, all of them are judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alternatives {
    /// What they differ in.
    pub by: Distinction,
    /// Paths of subjects.
    pub subjects: Vec<String>,
}

/// What tells the files of a directory apart of which a host needs only some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Distinction {
    /// The machine or the width of addresses.
    Machine,
    /// The C library.
    Libc,
    /// The version of Python that imports them.
    Python,
    /// Nothing: they are test data, so that one for another machine or C library stands for none that is
    /// lacking.
    TestData,
    /// Something that this reader does not know.
    #[serde(other)]
    Unknown,
}

/// How much the objects of a document tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Detail {
    /// The names of libraries, and neither versions nor symbols.
    Names,
    /// Something that this reader does not know.
    #[serde(other)]
    Unknown,
}

/// One ELF object of the scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Object {
    /// Its path, relative to the scope.
    pub path: String,
    /// What it is.
    pub kind: ObjectKind,
    /// The machine it is for, by the name that `uname -m` gives (x86_64, aarch64, …).
    pub machine: String,
    /// The width of its addresses in bits.
    #[schemars(schema_with = "schema::class")]
    pub class: u8,
    /// Whether its integers are stored most significant byte first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub big_endian: bool,
    /// EI_OSABI of the ELF header when it is neither 0 (System V) nor 3 (GNU).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_abi: Option<u8>,
    /// The dynamic loader it names (PT_INTERP).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<String>,
    /// The name others link against it by (DT_SONAME).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soname: Option<String>,
    /// Needed libraries, in order (DT_NEEDED).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needed: Vec<String>,
    /// Libraries it is a filter for (DT_FILTER); needed too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filter: Vec<String>,
    /// Libraries it is an auxiliary filter for (DT_AUXILIARY); optional.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub auxiliary: Vec<String>,
    /// The order of these three in the dynamic section, a letter for each entry: `n` for one of `needed`, `f` of `filter`,
    /// `a` of `auxiliary`. Absent, all of `needed` come first, then all of `filter`.
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
    /// The x86-64 levels it says it needs, as the mask of GNU_PROPERTY_X86_ISA_1_NEEDED: bit 0 is the
    /// baseline, bit 1 is x86-64-v2, and so on; those of Go's GOAMD64 among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isa: Option<u32>,
    /// What its toolchain says it was built for beyond the least CPU of its machine, as KEY=VALUE
    /// (GOAMD64=v3).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cpu: Vec<String>,
    /// The tool that packed it, such as UPX: it unpacks another program and runs that, of which nothing is
    /// known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packed_by: Option<String>,
    /// The oldest Linux kernel it was built for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9]+\.[0-9]+\.[0-9]+$"))]
    pub kernel: Option<String>,
    /// Its build-id in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^([0-9a-f]{2})*$"))]
    pub build_id: Option<String>,
    /// The release of the GNU C library that it says it is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// The versions and symbols it wants of each library.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wants: Vec<LibraryNeed>,
    /// The symbols that it defines itself and that the loader looks up all the same, where another object or
    /// another loader may give another answer: definitions that only references to their version bind to
    /// (musl's loader finds none), and those that a program defines as indirect functions.
    #[serde(default, skip_serializing_if = "Symbols::is_empty")]
    pub own: Symbols,
    /// Its thread-local variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_local: Option<ThreadLocal>,
    /// The symbols it wants without saying of which version.
    #[serde(default, skip_serializing_if = "Symbols::is_empty")]
    pub unversioned: Symbols,
    /// The libraries that it says it opens by itself once it runs (the note .note.dlopen), in the order
    /// of the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dlopen: Vec<DlopenNeed>,
    /// What it offers to others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provides: Option<Provision>,
    /// What a loader objects to in the object's first bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identification: Option<Identification>,
    /// Its segments, unless every kernel and every loader would map them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
}

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ObjectKind {
    /// A program that the kernel starts.
    Executable,
    /// A library that others load.
    Library,
}

/// A flag that changes how an object is loaded.
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
    /// Its own definitions come first for itself.
    Symbolic,
    /// The default directories are not searched for it.
    NoDefaultLibraries,
    /// It has packed relative relocations (DT_RELR).
    Relr,
    /// It runs with raised privileges (set-user-ID, set-group-ID or file capabilities), so that the
    /// loader ignores LD_LIBRARY_PATH.
    Secure,
    /// It is linked statically and ends on a kernel that is older than the one it was built for.
    ChecksKernel,
    /// Nobody has the permission to execute its file, which the kernel asks for of programs and dynamic
    /// loaders.
    NotExecutable,
    /// It asks for an executable stack.
    ExecutableStack,
    /// It must not be opened at run time (DF_1_NOOPEN).
    NoOpen,
    /// A flag that this reader does not know.
    #[serde(other)]
    Unknown,
}

/// The thread-local variables of an object, and those that it wants in static memory (the initial-exec model).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ThreadLocal {
    /// How many bytes it has for each thread.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub size: u64,
    /// Their alignment in bytes; 1 when absent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub alignment: u64,
    /// How far the first byte lies behind an aligned address, in bytes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub first_byte: u64,
    /// Its own must lie in static memory.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub initial_exec: bool,
    /// The symbols of others' that must lie in static memory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub initial_exec_symbols: Vec<String>,
    /// It reaches some by descriptors, which take static memory while there is some.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub descriptors: bool,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What an object wants of one library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LibraryNeed {
    /// The library, by its soname.
    pub library: String,
    /// The versions, in the order of the file.
    pub versions: Vec<VersionNeed>,
}

/// One version wanted of a library, and the symbols of that version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VersionNeed {
    /// The version's name, such as GLIBC_2.34.
    pub version: String,
    /// Its absence does not stop the start (VER_FLG_WEAK).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// The symbols.
    #[serde(flatten)]
    pub symbols: Symbols,
}

/// A library that an object opens by itself once it runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DlopenNeed {
    /// The names it is tried under, the preferred one first.
    #[schemars(length(min = 1))]
    pub sonames: Vec<String>,
    /// What it is for, in a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature: Option<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How much depends on it; recommended when absent.
    #[serde(default, skip_serializing_if = "DlopenPriority::is_default")]
    pub priority: DlopenPriority,
}

/// How much depends on a library that is opened at run time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DlopenPriority {
    /// Nothing works without it.
    Required,
    /// Only a full installation has it.
    Suggested,
    /// It should be there.
    #[default]
    #[serde(other)]
    Recommended,
}

impl DlopenPriority {
    /// Whether it is what a note that says nothing means.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Wanted symbols by the way in which they are used. A symbol used in several ways is in each list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Symbols {
    /// Bound at start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub symbols: Vec<String>,
    /// Only called: bound at the first call, unless all are bound at start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lazy: Vec<String>,
    /// Copied from the library into the program at start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copy: Vec<String>,
    /// May be absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weak: Vec<String>,
    /// Those of the last that are only called, as far as they name a version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weak_lazy: Vec<String>,
    /// Those of `symbols` and `weak` that are thread-local variables and only reached by descriptors among the
    /// relocations of the procedure linkage table: older releases of glibc bind them at the first use, unless
    /// all are bound at start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub descriptors: Vec<String>,
}

impl Symbols {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        [&self.symbols, &self.lazy, &self.copy, &self.weak, &self.weak_lazy]
            .iter()
            .all(|list| list.is_empty())
    }
}

/// What an object offers to others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Provision {
    /// The versions it defines, without the base version; absent when it has no such table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<Vec<String>>,
    /// Whether its symbols carry versions (DT_VERSYM).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub symbol_versions: bool,
    /// The symbols it defines, by version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub definitions: Vec<Definitions>,
}

/// The symbols that an object defines in one version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Definitions {
    /// The version's name; absent for the base version and for objects without versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The symbols of which this is the default version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub symbols: Vec<String>,
    /// The symbols that only a reference to this version binds to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<String>,
    /// Functions that the program does not define but has the canonical address of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub canonical: Vec<String>,
    /// Those of the functions above whose address another function returns (STT_GNU_IFUNC); of programs, and of
    /// what a library looks up of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indirect: Vec<String>,
}

/// A script among the subjects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Script {
    /// Its path, relative to the scope.
    pub path: String,
    /// The interpreter that its first line names.
    pub interpreter: String,
    /// The argument on its first line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argument: Option<String>,
    /// The command that it ends with, if that can be told without running it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<ScriptBody>,
    /// Nobody has the permission to execute its file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not_executable: bool,
}

/// What is known of a script's text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScriptBody {
    /// The words of the command that it ends with: "$@" stands for what the script is given, "${0%/*}" at the
    /// beginning of a word for its directory. None if it starts nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// The directory that it changes to before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// PATH and LD_LIBRARY_PATH of the command; $PATH and $LD_LIBRARY_PATH in them stand for the values before.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
    /// It does something else besides, which was not followed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

/// A library outside the scope, as found at generation time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClosureEntry {
    /// The name it was asked for by.
    pub name: String,
    /// Where it was found; absent when it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Its build-id in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_id: Option<String>,
    /// The first object that asked for it: a path in the scope, or a name in this list.
    pub needed_by: String,
}

impl Specification {
    /// An empty document of the version that this program writes.
    pub fn new() -> Self {
        Self {
            schema: Some(IDENTIFIER.to_owned()),
            version: crate::spec::VERSION.to_owned(),
            ..Self::default()
        }
    }

    /// The document in its canonical form: compact JSON in the order of the fields, attributes and
    /// links sorted by key, a final newline.
    ///
    /// # Panics
    ///
    /// Never: the types hold nothing that JSON cannot.
    pub fn to_canonical_json(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("a specification is plain data");
        bytes.push(b'\n');
        bytes
    }

    /// Whether the document lists names only: one of compat-lib 0.0.1, or with nothing but attributes.
    pub fn is_names_only(&self) -> bool {
        let has_programs = !self.subjects.is_empty() || !self.objects.is_empty() || !self.scripts.is_empty();
        !has_programs && self.image.is_none() && self.recorded.is_none()
    }

    /// Whether a program that writes a newer minor version may have written it. What it says besides is not
    /// known here, and may be a reason against the application.
    pub fn is_newer(&self) -> bool {
        let numbers = |version: &str| {
            let mut numbers = version.split('.').map(|number| number.parse::<u64>().ok());
            (numbers.next().flatten(), numbers.next().flatten())
        };
        numbers(&self.version) > numbers(crate::spec::VERSION)
    }

    /// The object at a path of the scope.
    pub fn object(&self, path: &str) -> Option<&Object> {
        self.objects.iter().find(|object| object.path == path)
    }
}

impl Object {
    /// An object about which nothing but this is known.
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
