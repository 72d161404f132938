//! An arbitrary specification against a root that holds nothing but a dynamic loader.
//!
//! Invariant: a report with a verdict on each subject, whatever the document says of objects, links
//! that loop, libraries that need each other, and names that climb.

#![no_main]

use std::cell::RefCell;

use arbitrary::{Arbitrary, Result, Unstructured};
use compat::check::{Host, Options, check};
use compat::elf::Machine;
use compat::spec::{
    Definitions, LibraryNeed, Object, ObjectFlag, ObjectKind, Provision, Script, Specification, Symbols,
    VersionNeed,
};
use compat_fuzz::{LOADER, root};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

/// Names and paths that mean something to one another.
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

#[derive(Debug)]
struct Document(Specification);

impl<'a> Arbitrary<'a> for Document {
    fn arbitrary(source: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self(Specification {
            location: optional(source, name)?,
            library_path: some(source, 3, name)?,
            subjects: some(source, 6, name)?,
            objects: some(source, 12, object)?,
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
    })
}

fn script(source: &mut Unstructured<'_>) -> Result<Script> {
    let interpreter = if bool::arbitrary(source)? { name(source)? } else { "/usr/bin/env".to_owned() };
    Ok(Script { path: name(source)?, interpreter, argument: optional(source, name)? })
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
        rpath: optional(source, name)?,
        runpath: optional(source, name)?,
        flags: some(source, 1, |source| Ok(*source.choose(&flags)?))?,
        isa: optional(source, u32::arbitrary)?,
        kernel: optional(source, word)?,
        wants: some(source, 2, want)?,
        unversioned: symbols(source)?,
        provides: optional(source, provision)?,
        ..Object::new(&name(source)?, kind, &machine, class)
    })
}

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
        })
    })?;
    let versions = optional(source, |source| some(source, 3, word))?;
    Ok(Provision { versions, symbol_versions: bool::arbitrary(source)?, definitions })
}

thread_local! {
    static ROOT: RefCell<TempDir> = RefCell::new(root());
}

fuzz_target!(|document: Document| {
    let Document(specification) = document;
    ROOT.with_borrow(|root| {
        // A host of its own each time: what it remembers must not pile up.
        let options = Options { library_path: Some("/lib:$ORIGIN:".to_owned()), ..Options::default() };
        let host = Host::at(root.path(), &options).expect("the folder is there");
        let report = check(&specification, &host);
        if !specification.is_names_only() {
            assert_eq!(report.subjects.len(), specification.subjects.len());
        }
        serde_json::to_vec(&report).expect("a report is plain data");
    });
});
