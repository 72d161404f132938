//! The facts about a dynamic loader in a document.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The C library of a loader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Flavour {
    /// The GNU C library. The version is known if the file states it (2.33 and newer do).
    Glibc {
        /// Major and minor version.
        version: Option<(u32, u32)>,
    },
    /// musl, in which the loader and the C library are one file.
    Musl,
}

/// The facts about one dynamic loader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DynamicLoader {
    /// The path by which programs name it.
    pub path: String,
    /// Its C library.
    pub flavour: Flavour,
    /// The directories that it searches last, without a trailing slash.
    pub default_directories: Vec<String>,
    /// The path of glibc's cache, or of musl's list of directories.
    pub cache_path: String,
    /// The value of `$LIB`.
    pub lib_token: String,
    /// Whether it searches `glibc-hwcaps` (2.33 and newer).
    pub searches_hwcaps: bool,
    /// Whether it searches the legacy sub-directories `tls`, `haswell` and so on (up to 2.36).
    pub searches_legacy_hwcaps: bool,
    /// Whether it refuses objects for a newer CPU (2.33 and newer).
    pub checks_isa: bool,
    /// Whether it supports packed relative relocations and their version marker (2.36 and newer).
    pub knows_relr: bool,
}
