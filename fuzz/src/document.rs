//! Arbitrary specifications, made of names that refer to one another.

use arbitrary::{Arbitrary, Result, Unstructured};
use compat_loader::elf::Machine;
use compat_loader::spec::{
    Alternatives, CacheLine, Definitions, Distinction, DynamicLoader, Flavour, HostLibrary, Identification,
    Image, Interpreted, Layout, LibraryNeed, Object, ObjectFlag, ObjectKind, Provision, Requirement, Script,
    ScriptBody, Segment, SegmentRole, Specification, Symbols, ThreadLocal, VersionNeed,
};

use crate::LOADER;

/// Names and paths that refer to one another.
const NAMES: &[&str] = &[
    "a",
    "b",
    "lib/a",
    "lib/b",
    "lib",
    "..",
    "../a",
    "lib/../a",
    "",
    "/",
    "/app/lib/b",
    "a/b/a",
    "libc.so.6",
    "$ORIGIN",
    "$ORIGIN/../lib:$LIB:${PLATFORM}",
    ":",
    LOADER,
    "/lib",
    "\u{e9}\n",
];
/// Symbols and versions.
const WORDS: &[&str] =
    &["printf", "GLIBC_2.34", "GLIBC_2.9", "GLIBC_ABI_DT_RELR", "V", "V_1.99999999999999999999", "", "x"];

/// A document without an image.
#[derive(Debug)]
pub struct Document(pub Specification);

impl<'a> Arbitrary<'a> for Document {
    fn arbitrary(source: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self(Specification {
            location: optional(source, name)?,
            library_path: some(source, 3, name)?,
            subjects: some(source, 6, name)?,
            objects: some(source, 12, object)?,
            alternatives: some(source, 2, alternatives)?,
            scripts: some(source, 3, script)?,
            links: some(source, 8, |source| Ok((name(source)?, name(source)?)))?.into_iter().collect(),
            attributes: some(source, 3, |source| {
                Ok((format!("llnl.compatlib.library-name.{}", source.int_in_range(0..=9)?), name(source)?))
            })?
            .into_iter()
            .collect(),
            ..Specification::new()
        }))
    }
}

fn some<'a, T>(
    source: &mut Unstructured<'a>,
    most: usize,
    mut one: impl FnMut(&mut Unstructured<'a>) -> Result<T>,
) -> Result<Vec<T>> {
    let count = source.int_in_range(0..=most)?;
    (0..count).map(|_| one(source)).collect()
}

fn optional<'a, T>(
    source: &mut Unstructured<'a>,
    one: impl FnOnce(&mut Unstructured<'a>) -> Result<T>,
) -> Result<Option<T>> {
    if bool::arbitrary(source)? { one(source).map(Some) } else { Ok(None) }
}

fn name(source: &mut Unstructured<'_>) -> Result<String> {
    if source.ratio(1, 32)? { String::arbitrary(source) } else { Ok((*source.choose(NAMES)?).to_owned()) }
}

fn word(source: &mut Unstructured<'_>) -> Result<String> {
    Ok((*source.choose(WORDS)?).to_owned())
}

fn symbols(source: &mut Unstructured<'_>) -> Result<Symbols> {
    Ok(Symbols {
        symbols: some(source, 2, word)?,
        lazy: some(source, 2, word)?,
        copy: some(source, 1, word)?,
        weak: some(source, 1, word)?,
        weak_lazy: some(source, 1, word)?,
        descriptors: some(source, 1, word)?,
    })
}

fn script(source: &mut Unstructured<'_>) -> Result<Script> {
    let interpreter = if bool::arbitrary(source)? { name(source)? } else { "/usr/bin/env".to_owned() };
    Ok(Script {
        path: name(source)?,
        interpreter,
        argument: optional(source, name)?,
        body: optional(source, body)?,
        not_executable: source.ratio(1, 8)?,
    })
}

fn body(source: &mut Unstructured<'_>) -> Result<ScriptBody> {
    let word = |source: &mut Unstructured<'_>| Ok((*source.choose(COMMANDS)?).to_owned());
    let variable = |source: &mut Unstructured<'_>| {
        let variables = ["PATH", "LD_LIBRARY_PATH", "X"];
        Ok(((*source.choose(&variables)?).to_owned(), word(source)?))
    };
    Ok(ScriptBody {
        command: some(source, 4, word)?,
        directory: optional(source, name)?,
        variables: some(source, 2, variable)?.into_iter().collect(),
        partial: bool::arbitrary(source)?,
    })
}

/// Words of commands: programs that start others, and placeholders of a script.
const COMMANDS: &[&str] =
    &["a", "lib/a", "/app/a", "env", "sh", "-c", "$@", "${0%/*}/a", "$PATH:/x", "timeout", "exec", "", "--"];

fn alternatives(source: &mut Unstructured<'_>) -> Result<Alternatives> {
    let by = [
        Distinction::Machine,
        Distinction::Libc,
        Distinction::Python,
        Distinction::TestData,
        Distinction::Unknown,
    ];
    Ok(Alternatives { by: *source.choose(&by)?, subjects: some(source, 4, name)? })
}

/// Returns a number that is small, near a page size, or arbitrary.
fn number(source: &mut Unstructured<'_>) -> Result<u64> {
    match source.int_in_range(0..=3)? {
        0 => source.int_in_range(0..=16),
        1 | 2 => Ok(source.int_in_range(0..=64_u64)? * 0x400),
        _ => u64::arbitrary(source),
    }
}

fn layout(source: &mut Unstructured<'_>) -> Result<Layout> {
    let roles = [
        SegmentRole::Load,
        SegmentRole::Load,
        SegmentRole::Load,
        SegmentRole::Dynamic,
        SegmentRole::Interpreter,
        SegmentRole::Headers,
        SegmentRole::Tls,
        SegmentRole::Relro,
        SegmentRole::Unknown,
    ];
    let segment = |source: &mut Unstructured<'_>| {
        Ok(Segment {
            role: *source.choose(&roles)?,
            flags: (*source.choose(&["r", "rw", "rx", "rwx", "", "?"])?).to_owned(),
            offset: number(source)?,
            address: number(source)?,
            file_size: number(source)?,
            memory_size: number(source)?,
            alignment: number(source)?,
        })
    };
    Ok(Layout {
        entry: number(source)?,
        table: number(source)?,
        count: u16::arbitrary(source)?,
        segments: some(source, 5, segment)?,
    })
}

fn thread_local(source: &mut Unstructured<'_>) -> Result<ThreadLocal> {
    Ok(ThreadLocal {
        size: number(source)?,
        alignment: number(source)?,
        first_byte: number(source)?,
        initial_exec: bool::arbitrary(source)?,
        initial_exec_symbols: some(source, 1, word)?,
        descriptors: bool::arbitrary(source)?,
    })
}

fn object(source: &mut Unstructured<'_>) -> Result<Object> {
    let machine = match source.int_in_range(0..=15)? {
        0 => "toaster".to_owned(),
        1 => "machine-99999".to_owned(),
        2 => "i386".to_owned(),
        _ => Machine::of_this_program().to_string(),
    };
    let class = *source.choose(&[64, 64, 64, 64, 64, 64, 32, 0])?;
    let kind = *source.choose(&[ObjectKind::Executable, ObjectKind::Library])?;
    let flags = [
        ObjectFlag::FixedAddress,
        ObjectFlag::NoDynamicSection,
        ObjectFlag::BindNow,
        ObjectFlag::Symbolic,
        ObjectFlag::NoDefaultLibraries,
        ObjectFlag::Relr,
        ObjectFlag::Secure,
        ObjectFlag::NotExecutable,
        ObjectFlag::ExecutableStack,
        ObjectFlag::NoOpen,
        ObjectFlag::Unknown,
    ];
    let interpreter = match kind {
        ObjectKind::Executable if source.ratio(7, 8)? => Some(LOADER.to_owned()),
        _ => optional(source, name)?,
    };
    Ok(Object {
        interpreter,
        big_endian: source.ratio(1, 16)?,
        soname: optional(source, name)?,
        needed: some(source, 4, name)?,
        filter: some(source, 1, name)?,
        auxiliary: some(source, 1, name)?,
        dependency_order: optional(source, |source| Ok((*source.choose(&["an", "fan", "nan", "x"])?).to_owned()))?,
        rpath: optional(source, name)?,
        runpath: optional(source, name)?,
        flags: some(source, 1, |source| Ok(*source.choose(&flags)?))?,
        isa: optional(source, u32::arbitrary)?,
        kernel: optional(source, word)?,
        wants: some(source, 2, want)?,
        unversioned: symbols(source)?,
        provides: optional(source, provision)?,
        cpu: some(source, 1, word)?,
        packed_by: if source.ratio(1, 16)? { Some(word(source)?) } else { None },
        own: symbols(source)?,
        thread_local: optional(source, thread_local)?,
        identification: if source.ratio(1, 16)? { Some(*source.choose(&IDENTIFICATIONS)?) } else { None },
        layout: if source.ratio(1, 4)? { Some(layout(source)?) } else { None },
        ..Object::new(&name(source)?, kind, &machine, class)
    })
}

const IDENTIFICATIONS: [Identification; 5] = [
    Identification::Version,
    Identification::AbiVersion,
    Identification::Padding,
    Identification::FileVersion,
    Identification::Unknown,
];

fn want(source: &mut Unstructured<'_>) -> Result<LibraryNeed> {
    let versions = some(source, 2, |source| {
        Ok(VersionNeed {
            version: word(source)?,
            optional: bool::arbitrary(source)?,
            symbols: symbols(source)?,
        })
    })?;
    Ok(LibraryNeed { library: name(source)?, versions })
}

fn provision(source: &mut Unstructured<'_>) -> Result<Provision> {
    let definitions = some(source, 2, |source| {
        Ok(Definitions {
            version: optional(source, word)?,
            symbols: some(source, 2, word)?,
            hidden: some(source, 1, word)?,
            canonical: some(source, 1, word)?,
            indirect: some(source, 1, word)?,
        })
    })?;
    let versions = optional(source, |source| some(source, 3, word))?;
    Ok(Provision { versions, symbol_versions: bool::arbitrary(source)?, definitions })
}

/// A document with an image as its scope.
#[derive(Debug)]
pub struct ImageDocument(pub Specification);

impl<'a> Arbitrary<'a> for ImageDocument {
    fn arbitrary(source: &mut Unstructured<'a>) -> Result<Self> {
        let Document(specification) = Document::arbitrary(source)?;
        Ok(Self(Specification { image: Some(image(source)?), ..specification }))
    }
}

fn interpreted(source: &mut Unstructured<'_>) -> Result<Interpreted> {
    Ok(Interpreted { interpreter: name(source)?, what: name(source)?, missing: bool::arbitrary(source)? })
}

fn image(source: &mut Unstructured<'_>) -> Result<Image> {
    let files = some(source, 3, |source| Ok((name(source)?, (*source.choose(FILES)?).to_owned())))?;
    Ok(Image {
        platform: "linux/amd64".to_owned(),
        command: some(source, 2, name)?,
        unfollowed: some(source, 1, name)?,
        interpreted: some(source, 1, interpreted)?,
        working_directory: optional(source, name)?,
        program_path: optional(source, name)?,
        loaders: some(source, 2, loader)?,
        cache: some(source, 6, cache_line)?,
        files: files.into_iter().collect(),
        host_libraries: some(source, 4, host_library)?,
        requirements: some(source, 3, requirement)?,
        size: optional(source, u64::arbitrary)?,
    })
}

/// Small files in base64: an empty one, lists of directories, one that includes itself, and invalid base64.
const FILES: &[&str] =
    &["", "L2xpYjovYXBwL2xpYgo=", "L2xpYgovYS9iL2EK", "aW5jbHVkZSAvZXRjL2xkLnNvLmNvbmYK", "?"];

fn loader(source: &mut Unstructured<'_>) -> Result<DynamicLoader> {
    let version = optional(source, |source| Ok((u32::arbitrary(source)?, source.int_in_range(0..=99)?)))?;
    let flavour = if bool::arbitrary(source)? { Flavour::Musl } else { Flavour::Glibc { version } };
    Ok(DynamicLoader {
        path: if source.ratio(7, 8)? { LOADER.to_owned() } else { name(source)? },
        flavour,
        default_directories: some(source, 3, name)?,
        cache_path: name(source)?,
        lib_token: name(source)?,
        searches_hwcaps: bool::arbitrary(source)?,
        searches_legacy_hwcaps: bool::arbitrary(source)?,
        checks_isa: bool::arbitrary(source)?,
        knows_relr: bool::arbitrary(source)?,
    })
}

fn cache_line(source: &mut Unstructured<'_>) -> Result<CacheLine> {
    Ok(CacheLine {
        name: name(source)?,
        path: name(source)?,
        flags: *source.choose(&[0x0303, 0x0a03, 3, 0, -1])?,
        hwcaps: optional(source, |source| Ok(format!("x86-64-v{}", source.int_in_range(0..=9)?)))?,
        legacy_hwcaps: *source.choose(&[0, 0, 0, 1 << 56, u64::MAX])?,
    })
}

fn host_library(source: &mut Unstructured<'_>) -> Result<HostLibrary> {
    Ok(HostLibrary {
        name: name(source)?,
        provider: word(source)?,
        wanted_by: some(source, 2, name)?,
        versions: want(source)?.versions,
        symbols: symbols(source)?,
    })
}

/// Parts of valid and invalid conditions.
const CONDITIONS: &[&str] =
    &["cuda>=12.2", "cuda<", "driver=535", "brand=tesla", ">=", ",", " ", "driver!=1.2.3.4", "="];

fn requirement(source: &mut Unstructured<'_>) -> Result<Requirement> {
    Ok(match source.int_in_range(0..=2)? {
        0 => {
            let constraint = some(source, 6, |source| Ok((*source.choose(CONDITIONS)?).to_owned()))?.concat();
            Requirement::NvidiaConstraint { variable: "NVIDIA_REQUIRE_CUDA".to_owned(), constraint }
        }
        1 => Requirement::NvidiaCapability {
            capability: (*source.choose(&["compute", "utility", "video", "graphics", "", "x"])?).to_owned(),
        },
        _ => Requirement::Unknown,
    })
}
