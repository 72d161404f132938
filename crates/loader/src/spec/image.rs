//! The container image of a specification.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spec::{DynamicLoader, Symbols, VersionNeed};

/// The container image that is the scope of a specification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// The platform in its configuration, OS/ARCH[/VARIANT].
    pub platform: String,
    /// The command that it runs by default: the entrypoint and command of its configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Shell commands that it runs and that were not followed completely.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unfollowed: Vec<String>,
    /// Files or modules that interpreters run for its command. They were not checked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interpreted: Vec<Interpreted>,
    /// The working directory in its configuration. "/" if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    /// PATH in its configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program_path: Option<String>,
    /// The dynamic loaders of its programs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loaders: Vec<DynamicLoader>,
    /// The lines of its ld.so.cache for the names that its programs need, in the order of the cache.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cache: Vec<CacheLine>,
    /// Other files that its loaders read, in base64, from absolute path to content.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
    /// Libraries that a container runtime is expected to bring from the host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_libraries: Vec<HostLibrary>,
    /// Its requirements on the host's drivers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requirements: Vec<Requirement>,
    /// The size of the manifest and the compressed layers, in bytes: the amount of data that a pull transfers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// One line of ld.so.cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CacheLine {
    /// The library's name.
    pub name: String,
    /// The path of the library.
    pub path: String,
    /// The type of the library (FLAG_* in glibc's ldconfig.h).
    pub flags: i32,
    /// The sub-directory of glibc-hwcaps that contains it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hwcaps: Option<String>,
    /// The legacy hardware capabilities that it requires, as a mask.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub legacy_hwcaps: u64,
}

fn is_zero(mask: &u64) -> bool {
    *mask == 0
}

/// A library that the image needs but does not contain, because a container runtime brings it from the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostLibrary {
    /// Its name.
    pub name: String,
    /// The software that provides it, such as "NVIDIA driver".
    pub provider: String,
    /// The objects that need it, as paths in the image.
    pub wanted_by: Vec<String>,
    /// The versions that are needed from it, with their symbols.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<VersionNeed>,
    /// Symbols without a version that these objects need and nothing in the image defines. This library or
    /// another host library must define them.
    #[serde(default, skip_serializing_if = "Symbols::is_empty")]
    pub symbols: Symbols,
}

/// A requirement of an image on the host's drivers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Requirement {
    /// A GPU driver that meets a constraint in the syntax of NVIDIA's container runtime: alternatives separated
    /// by spaces, each a list of conditions separated by commas.
    NvidiaConstraint {
        /// The variable in the configuration, such as NVIDIA_REQUIRE_CUDA.
        variable: String,
        /// Its value.
        constraint: String,
    },
    /// Libraries of the NVIDIA driver for a capability (NVIDIA_DRIVER_CAPABILITIES).
    NvidiaCapability {
        /// The capability, such as compute.
        capability: String,
    },
    /// A requirement that this reader does not know.
    #[serde(other)]
    Unknown,
}

/// A file or module that an interpreter (Python, Java) runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Interpreted {
    /// The path of the interpreter, relative to the root.
    pub interpreter: String,
    /// The file, or the option with its value, such as a module.
    pub what: String,
    /// Whether it is a file that the image lacks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub missing: bool,
}
