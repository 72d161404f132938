//! Symbol versions: those that an object needs (`DT_VERNEED`) and those that it defines (`DT_VERDEF`).
//!
//! Source: "ELF Symbol Versioning" (U. Drepper), the structures in `elf.h`, and `_dl_check_map_versions` in
//! glibc's `elf/dl-version.c`, which fills the same table from them.

use crate::elf::name::Names;
use crate::elf::reader::Reader;
use crate::elf::{Error, sysv_hash};

const WHAT: &str = "version table";
const VER_FLG_BASE: u16 = 1;
const VER_FLG_WEAK: u16 = 2;
/// The maximum number of entries: a version index has 15 bits.
const MAXIMUM_ENTRIES: usize = 0x8000;

/// The versions that an object needs from one library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionNeed {
    /// The library, by the name that the link editor used (its soname).
    pub library: String,
    /// The versions, in the order of the file.
    pub versions: Vec<NeededVersion>,
}

/// One needed version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeededVersion {
    /// Its name, such as `GLIBC_2.34`.
    pub name: String,
    /// The version may be missing (`VER_FLG_WEAK`).
    pub weak: bool,
    /// The System V hash that the object contains for it.
    pub(super) hash: u32,
    /// Its version index in this object, with the hidden bit.
    pub(super) index: u16,
}

/// One version that an object defines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefinedVersion {
    /// Its name. For the base version, it is the object's own name.
    pub name: String,
    /// Whether it is the base version, which no reference can name.
    pub base: bool,
    pub(super) hash: u32,
    pub(super) index: u16,
}

/// One version index of an object, to which the entries of `DT_VERSYM` point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VersionEntry {
    pub name: String,
    pub hash: u32,
    /// A reference to this version does not accept an unversioned definition.
    pub hidden: bool,
    /// The index into the needs of its library, or `None` for a defined version.
    pub need: Option<usize>,
}

/// Reads the needs at `offset`.
pub(super) fn parse_needs(
    reader: Reader<'_>,
    offset: usize,
    names: &Names<'_>,
) -> Result<Vec<VersionNeed>, Error> {
    let mut needs = Vec::new();
    let mut budget = MAXIMUM_ENTRIES;
    let mut at = offset;
    loop {
        let (library, auxiliary, next) = read(|| {
            Some((
                reader.u32(at + 4)?,
                reader.u32(at.checked_add(8)?)? as usize,
                reader.u32(at + 12)? as usize,
            ))
        })?;
        let library = names.name(WHAT, library.into())?;
        let versions = needed_versions(reader, at.saturating_add(auxiliary), names, &mut budget)?;
        needs.push(VersionNeed { library, versions });
        match next {
            0 => return Ok(needs),
            _ => at = at.saturating_add(next),
        }
    }
}

fn needed_versions(
    reader: Reader<'_>,
    offset: usize,
    names: &Names<'_>,
    budget: &mut usize,
) -> Result<Vec<NeededVersion>, Error> {
    let mut versions = Vec::new();
    let mut at = offset;
    loop {
        *budget = budget.checked_sub(1).ok_or_else(|| malformed("more entries than version indices"))?;
        let (hash, flags, index, name, next) = read(|| {
            Some((
                reader.u32(at)?,
                reader.u16(at + 4)?,
                reader.u16(at + 6)?,
                reader.u32(at + 8)?,
                reader.u32(at + 12)? as usize,
            ))
        })?;
        let name = names.name(WHAT, name.into())?;
        versions.push(NeededVersion { name, weak: flags & VER_FLG_WEAK != 0, hash, index });
        match next {
            0 => return Ok(versions),
            _ => at = at.saturating_add(next),
        }
    }
}

/// Reads the definitions at `offset`.
pub(super) fn parse_definitions(
    reader: Reader<'_>,
    offset: usize,
    names: &Names<'_>,
) -> Result<Vec<DefinedVersion>, Error> {
    let mut versions = Vec::new();
    let mut at = offset;
    loop {
        if versions.len() == MAXIMUM_ENTRIES {
            return Err(malformed("more entries than version indices"));
        }
        let (flags, index, hash, auxiliary, next) = read(|| {
            Some((
                reader.u16(at.checked_add(2)?)?,
                reader.u16(at + 4)?,
                reader.u32(at.checked_add(8)?)?,
                reader.u32(at + 12)? as usize,
                reader.u32(at + 16)? as usize,
            ))
        })?;
        let name = read(|| reader.u32(at.checked_add(auxiliary)?))?;
        let name = names.name(WHAT, name.into())?;
        versions.push(DefinedVersion { name, base: flags & VER_FLG_BASE != 0, hash, index });
        match next {
            0 => return Ok(versions),
            _ => at = at.saturating_add(next),
        }
    }
}

/// Returns the end in the file of the needs at `offset`, which were already read without an error.
pub(super) fn needs_end(reader: Reader<'_>, offset: usize) -> usize {
    chain_end(reader, offset, 16, 12, |at, end| {
        let auxiliary = at.saturating_add(reader.u32(at.saturating_add(8)).unwrap_or(0) as usize);
        *end = (*end).max(chain_end(reader, auxiliary, 16, 12, |_, _| {}));
    })
}

/// Returns the end in the file of the definitions at `offset`, which were already read without an error.
pub(super) fn definitions_end(reader: Reader<'_>, offset: usize) -> usize {
    chain_end(reader, offset, 20, 16, |at, end| {
        let auxiliary = at.saturating_add(reader.u32(at.saturating_add(12)).unwrap_or(0) as usize);
        *end = (*end).max(auxiliary.saturating_add(8));
    })
}

/// Returns the end of a chain of entries of `size` bytes, whose distance to the next one is at `link`.
fn chain_end(
    reader: Reader<'_>,
    offset: usize,
    size: usize,
    link: usize,
    mut visit: impl FnMut(usize, &mut usize),
) -> usize {
    let (mut at, mut end) = (offset, offset);
    for _ in 0..MAXIMUM_ENTRIES {
        end = end.max(at.saturating_add(size));
        visit(at, &mut end);
        match reader.u32(at.saturating_add(link)) {
            None | Some(0) => break,
            Some(next) => at = at.saturating_add(next as usize),
        }
    }
    end
}

/// Returns the table from version index to version, as the loader builds it. The base definition has no name
/// that a reference could match.
pub(super) fn entries(needs: &[VersionNeed], definitions: &[DefinedVersion]) -> Vec<Option<VersionEntry>> {
    let mut table: Vec<Option<VersionEntry>> = Vec::new();
    let mut put = |index: u16, entry: VersionEntry| {
        let index = usize::from(index & 0x7fff);
        if table.len() <= index {
            table.resize(index + 1, None);
        }
        table[index] = Some(entry);
    };
    for (need, library) in needs.iter().enumerate() {
        for version in &library.versions {
            let hidden = version.index & 0x8000 != 0;
            let entry =
                VersionEntry { name: version.name.clone(), hash: version.hash, hidden, need: Some(need) };
            put(version.index, entry);
        }
    }
    for version in definitions.iter().filter(|version| !version.base) {
        let entry =
            VersionEntry { name: version.name.clone(), hash: version.hash, hidden: false, need: None };
        put(version.index, entry);
    }
    table
}

impl NeededVersion {
    /// Returns a needed version as a specification names it. The hash follows from the name.
    pub fn named(name: impl Into<String>, weak: bool) -> Self {
        let name = name.into();
        Self { hash: sysv_hash(name.as_bytes()), name, weak, index: 0 }
    }
}

fn read<T>(fields: impl FnOnce() -> Option<T>) -> Result<T, Error> {
    fields().ok_or_else(|| malformed("an entry is outside the file"))
}

fn malformed(why: &str) -> Error {
    Error::Malformed { what: WHAT, why: why.to_owned() }
}
