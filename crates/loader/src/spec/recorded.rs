//! The recorded runs in a specification.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Additional programs and libraries that runs of the application executed and loaded, beyond those of its
/// start. Relative paths are inside the scope, absolute paths outside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Recorded {
    /// The number of merged runs.
    #[schemars(range(min = 1))]
    pub runs: u32,
    /// The programs and scripts that the runs executed, in the order of the first execution.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<RecordedProgram>,
    /// The number of other files that were opened for reading. They are data and are not listed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub other_files: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// A program or script that was executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordedProgram {
    /// Its path. Empty if the recording does not identify the program.
    pub path: String,
    /// The number of runs that executed it.
    #[schemars(range(min = 1))]
    pub seen: u32,
    /// Whether it no longer existed when the document was generated. The libraries that its start loads are
    /// then unknown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
    /// The libraries that it loaded at run time (dlopen(3)), in the order of loading. For a program that is
    /// gone or has no loader, all libraries that it opened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub libraries: Vec<RecordedLibrary>,
}

/// A library that a program loaded at run time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordedLibrary {
    /// Its path with all links resolved.
    pub path: String,
    /// The name under which the loader's search finds it for the program, or found it during the run. Absent if
    /// only its path leads to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The path of the recorded library for which it was loaded. Absent if the program opened it itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed_by: Option<String>,
    /// Its build-id in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^([0-9a-f]{2})*$"))]
    pub build_id: Option<String>,
    /// The number of runs that loaded it.
    #[schemars(range(min = 1))]
    pub seen: u32,
    /// Whether it no longer existed when the document was generated.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
}
