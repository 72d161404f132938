//! What a specification says of recorded runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What runs of the application executed and loaded besides what its start asks for. Paths that are
/// relative lie in the scope, absolute ones outside of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Recorded {
    /// How many runs were merged.
    #[schemars(range(min = 1))]
    pub runs: u32,
    /// The programs and scripts that they executed, in the order of the first execution.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<RecordedProgram>,
    /// How many other files were opened for reading: data. They are not listed.
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
    /// Its path; empty where the recording does not tell which program it was.
    pub path: String,
    /// In how many runs.
    #[schemars(range(min = 1))]
    pub seen: u32,
    /// It was not there any more when the document was made: what its start loads is not known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
    /// The libraries that it loaded once it ran (dlopen(3)), in the order of loading. Of a program that is gone or
    /// has no loader, all that it opened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub libraries: Vec<RecordedLibrary>,
}

/// A library that a program loaded once it ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordedLibrary {
    /// Where it was, links followed.
    pub path: String,
    /// The name under which the loader's own search finds it for the program, or found it in the run; absent
    /// where only its path leads to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The recorded library that it was loaded for, by its path; absent where the program opened it by
    /// itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed_by: Option<String>,
    /// Its build-id in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^([0-9a-f]{2})*$"))]
    pub build_id: Option<String>,
    /// In how many runs.
    #[schemars(range(min = 1))]
    pub seen: u32,
    /// It was not there any more when the document was made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
}
