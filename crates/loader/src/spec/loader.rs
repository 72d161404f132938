//! The facts of a dynamic loader, as documents carry them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whose loader it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Flavour {
    /// The GNU C library, with its version where the file tells it (2.33 and newer do).
    Glibc {
        /// Major and minor version.
        version: Option<(u32, u32)>,
    },
    /// musl, whose loader is its C library.
    Musl,
}

/// The facts of one dynamic loader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DynamicLoader {
    /// The path that programs name it by.
    pub path: String,
    /// Whose it is.
    pub flavour: Flavour,
    /// The directories it searches last, without a trailing slash.
    pub default_directories: Vec<String>,
    /// Where glibc's looks for its cache, and musl's for its list of directories.
    pub cache_path: String,
    /// What `$LIB` stands for.
    pub lib_token: String,
    /// It searches `glibc-hwcaps` (2.33 and newer).
    pub searches_hwcaps: bool,
    /// It searches the legacy sub-directories `tls`, `haswell` and so on (up to 2.36).
    pub searches_legacy_hwcaps: bool,
    /// It refuses objects for a newer CPU (2.33 and newer).
    pub checks_isa: bool,
    /// It knows packed relative relocations and their version marker (2.36 and newer).
    pub knows_relr: bool,
}
