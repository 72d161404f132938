//! A saved host: the files that its loaders would find, as a document, so that `compat` can check a host
//! without access to it.
//!
//! Format: JSON, `schemas/host.json`, compressed with zstd if the file's name ends with `.zst`. It contains:
//!
//! - every library in the default directories of the loaders, and in the directories that installed programs
//!   and libraries name in a RUNPATH or RPATH, with its versions, symbols and needs;
//! - the facts about the loaders, and the cache unchanged;
//! - the programs in PATH with their needs, for scripts;
//! - the names of all other files in these directories, so that files that are not recorded do not count as
//!   missing.
//!
//! Its content does not depend on the time.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::elf::{IsaLevel, KernelVersion, Machine};
use crate::host::{Drivers, DynamicLoader, Handler, Platform};
use crate::spec::{Object, Script};

/// The identifier of the schema.
pub const PROFILE_IDENTIFIER: &str = "urn:compatlib:schema:host:1";

/// The version that this program writes.
const VERSION: &str = "1.0.0";

/// The largest profile that is read, in bytes, before and after compression.
pub const MAXIMUM_PROFILE_SIZE: usize = 256 * 1024 * 1024;

/// A saved host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// The identifier of this document's schema.
    #[serde(rename = "$schema")]
    pub schema: String,
    /// The version of the format. Readers refuse a newer major version.
    pub version: String,
    /// The machine of the CPU, as `uname -m` prints it.
    pub machine: String,
    /// The x86-64 levels of the CPU as a mask. Bit 0 is the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isa: Option<u32>,
    /// Whether the CPU is made by Intel.
    #[serde(default)]
    pub intel: bool,
    /// The kernel's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// The size of a page, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_size: Option<u64>,
    /// The programs for file formats that its kernel does not support itself (binfmt_misc).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub handlers: Vec<Handler>,
    /// Whether the kernel runs programs with 32-bit addresses on x86-64 (x32). Absent if it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x32: Option<bool>,
    /// Whether the machine's integers are stored with the most significant byte first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub big_endian: bool,
    /// The sub-directories of `glibc-hwcaps` that its loader searches, best first, on other machines than x86-64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hwcaps: Vec<String>,
    /// Its drivers and devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drivers: Option<Drivers>,
    /// Whether all libraries in `directories` are recorded. Otherwise only the core libraries are.
    pub complete: bool,
    /// The directories that were recorded.
    pub directories: BTreeSet<String>,
    /// Links, from absolute path to the final target.
    pub links: BTreeMap<String, String>,
    /// The dynamic loaders.
    pub loaders: Vec<DynamicLoader>,
    /// The libraries, with absolute paths.
    pub libraries: Vec<Object>,
    /// The programs in PATH, with absolute paths but without versions and symbols.
    pub programs: Vec<Object>,
    /// The scripts in PATH, with absolute paths.
    pub scripts: Vec<Script>,
    /// Files that loaders read, in base64.
    pub files: BTreeMap<String, String>,
    /// The names of all other files, by directory of `directories`. They may be of any kind. A name that is not
    /// recorded anywhere does not exist. Absent in older profiles, which do not make this distinction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unrecorded: Option<BTreeMap<String, Vec<String>>>,
    /// Files that have the name of a library but cannot be loaded, from path to the loader's message. The
    /// loader stops at such a file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unusable: BTreeMap<String, String>,
    /// The libraries that are also executable programs.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub executables: BTreeSet<String>,
}

/// The libraries of a minimal profile, by the prefix of their names.
const CORE_LIBRARIES: [&str; 16] = [
    "ld-linux",
    "ld-musl",
    "ld64.so",
    "libanl.so",
    "libatomic.so",
    "libc.",
    "libcrypt.so",
    "libdl.so",
    "libgcc_s.so",
    "libgomp.so",
    "libm.so",
    "libpthread.so",
    "libresolv.so",
    "librt.so",
    "libstdc++.so",
    "libutil.so",
];

/// Whether a library belongs to the compiler or the C library, by its name.
pub fn is_core_library(name: &str) -> bool {
    CORE_LIBRARIES.iter().any(|core| name.starts_with(core))
}

/// Why bytes cannot be read as a profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// It is too large, before or after compression.
    #[error("the host profile is larger than {MAXIMUM_PROFILE_SIZE} bytes")]
    TooLarge,
    /// It is compressed but cannot be decompressed.
    #[error("the host profile cannot be decompressed")]
    Compression(#[source] std::io::Error),
    /// It is not a profile.
    #[error("not a host profile")]
    Syntax(#[source] serde_json::Error),
    /// A newer program wrote it.
    #[error("the host profile has version {0}, but this compat reads only versions up to 1")]
    NewerVersion(String),
}

impl Profile {
    /// Returns an empty profile of a platform.
    pub fn new(platform: &Platform) -> Self {
        Self {
            schema: PROFILE_IDENTIFIER.to_owned(),
            version: VERSION.to_owned(),
            machine: platform.machine.to_string(),
            isa: platform.isa.map(|isa| isa.0),
            intel: platform.is_intel,
            kernel: platform.kernel.map(|kernel| kernel.to_string()),
            page_size: platform.page_size,
            handlers: platform.handlers.clone(),
            x32: platform.x32,
            big_endian: platform.big_endian,
            hwcaps: platform.hwcaps.clone(),
            complete: true,
            ..Self::default()
        }
    }

    /// Returns the CPU and the kernel.
    pub fn platform(&self) -> Platform {
        Platform {
            machine: Machine::from_name(&self.machine).unwrap_or(Machine(0)),
            isa: self.isa.map(IsaLevel),
            is_intel: self.intel,
            kernel: self.kernel.as_deref().and_then(KernelVersion::parse),
            page_size: self.page_size.filter(|size| size.is_power_of_two()),
            handlers: self.handlers.clone(),
            x32: self.x32,
            big_endian: self.big_endian,
            hwcaps: self.hwcaps.clone(),
        }
    }

    /// Returns the document as compact JSON with a final newline.
    ///
    /// # Panics
    ///
    /// Never: JSON can represent all values of these types.
    pub fn to_json(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("a profile is plain data");
        bytes.push(b'\n');
        bytes
    }

    /// Reads a profile, compressed or not.
    ///
    /// # Errors
    ///
    /// If the bytes are too many, not a profile, or of a newer major version.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProfileError> {
        const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
        if bytes.len() > MAXIMUM_PROFILE_SIZE {
            return Err(ProfileError::TooLarge);
        }
        let decompressed;
        let text = if bytes.starts_with(ZSTD_MAGIC) {
            decompressed = decompress(bytes)?;
            &decompressed[..]
        } else {
            bytes
        };
        let profile: Self = serde_json::from_slice(text).map_err(ProfileError::Syntax)?;
        match profile.version.split('.').next().and_then(|major| major.parse::<u64>().ok()) {
            Some(1) => Ok(profile),
            _ => Err(ProfileError::NewerVersion(profile.version)),
        }
    }
}

fn decompress(bytes: &[u8]) -> Result<Vec<u8>, ProfileError> {
    use std::io::Read as _;
    let decoder = zstd::stream::read::Decoder::new(bytes).map_err(ProfileError::Compression)?;
    let mut text = Vec::new();
    let limit = MAXIMUM_PROFILE_SIZE as u64 + 1;
    decoder.take(limit).read_to_end(&mut text).map_err(ProfileError::Compression)?;
    if text.len() > MAXIMUM_PROFILE_SIZE { Err(ProfileError::TooLarge) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform() -> Platform {
        let isa = Some(IsaLevel::up_to(3));
        let kernel = Some(KernelVersion(6, 1, 0));
        Platform { isa, is_intel: true, kernel, ..Platform::of_machine(Machine::X86_64, false) }
    }

    #[test]
    fn a_profile_round_trips_compressed_or_not() {
        let profile = Profile::new(&platform());
        let text = profile.to_json();
        assert_eq!(Profile::parse(&text).unwrap(), profile);
        let compressed = zstd::bulk::compress(&text, 3).unwrap();
        assert_eq!(Profile::parse(&compressed).unwrap(), profile);
        assert_eq!(profile.platform(), platform());
    }

    #[test]
    fn what_is_no_profile_is_refused() {
        for text in [&b""[..], b"{}", b"\x28\xb5\x2f\xfdx"] {
            assert!(Profile::parse(text).is_err());
        }
        let newer = Profile { version: "2.0.0".to_owned(), ..Profile::default() };
        let error = Profile::parse(&newer.to_json()).unwrap_err();
        insta::assert_snapshot!(error, @"the host profile has version 2.0.0, but this compat reads only versions up to 1");
    }
}
