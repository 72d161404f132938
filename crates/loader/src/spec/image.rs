//! What a specification says of a container image.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spec::{DynamicLoader, Symbols, VersionNeed};

/// The container image that is the scope of a specification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// The platform that its configuration states, OS/ARCH[/VARIANT].
    pub platform: String,
    /// What it runs when nothing else is asked of it: entrypoint and command of its configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Shell commands that it runs and that were not followed to their end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unfollowed: Vec<String>,
    /// What interpreters run that its command starts: nobody looked at it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interpreted: Vec<Interpreted>,
    /// The working directory of its configuration; "/" when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    /// PATH of its configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program_path: Option<String>,
    /// The dynamic loaders that its programs name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loaders: Vec<DynamicLoader>,
    /// The lines of its ld.so.cache for the names that its programs ask for, in the cache's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cache: Vec<CacheLine>,
    /// Other files that its loaders read, in base64: absolute path to content.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
    /// Libraries that a container runtime is expected to bring from the host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_libraries: Vec<HostLibrary>,
    /// What it asks of the host's drivers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requirements: Vec<Requirement>,
    /// The manifest's size and that of its layers, compressed, in bytes: what a pull would move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// One line of ld.so.cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CacheLine {
    /// The library's name.
    pub name: String,
    /// Its file.
    pub path: String,
    /// What kind of library it is (FLAG_* in glibc's ldconfig.h).
    pub flags: i32,
    /// The sub-directory of glibc-hwcaps it lies in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hwcaps: Option<String>,
    /// The legacy hardware capabilities it is for, as a mask.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub legacy_hwcaps: u64,
}

fn is_zero(mask: &u64) -> bool {
    *mask == 0
}

/// A library that the image wants and does not have, because a container runtime brings it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostLibrary {
    /// Its name.
    pub name: String,
    /// What brings it, such as "NVIDIA driver".
    pub provider: String,
    /// The objects that want it: paths of the image.
    pub wanted_by: Vec<String>,
    /// The versions wanted of it, with their symbols.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<VersionNeed>,
    /// Symbols without a version that nothing in the image defines, wanted by those objects: of this
    /// library or another one that the host brings.
    #[serde(default, skip_serializing_if = "Symbols::is_empty")]
    pub symbols: Symbols,
}

/// Something that an image asks of the host's drivers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Requirement {
    /// A GPU driver that meets a constraint, in the syntax of NVIDIA's container runtime: alternatives
    /// separated by spaces, each a list of conditions separated by commas.
    NvidiaConstraint {
        /// The variable of the configuration, such as NVIDIA_REQUIRE_CUDA.
        variable: String,
        /// Its value.
        constraint: String,
    },
    /// Libraries of the NVIDIA driver for a capability (NVIDIA_DRIVER_CAPABILITIES).
    NvidiaCapability {
        /// The capability, such as compute.
        capability: String,
    },
    /// Something that this reader does not know.
    #[serde(other)]
    Unknown,
}

/// What an interpreter (Python, Java) is told to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Interpreted {
    /// The path of the interpreter, relative to the root.
    pub interpreter: String,
    /// What it runs: a file, or an option with its value.
    pub what: String,
    /// It is a file, and the image lacks it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub missing: bool,
}
