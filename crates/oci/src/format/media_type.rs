//! The stable media types (`docs/media-types.md`).

/// The `artifactType` of a compatibility artifact's manifest.
pub const ARTIFACT_TYPE: &str = "application/vnd.compatlib.compatibility.v1";

/// The media type of the first layer: the specification as JSON.
pub const SPEC: &str = "application/vnd.compatlib.compatibility.spec.v1+json";

/// The media type of the first layer when the specification is compressed with zstd (RFC 8878).
pub const SPEC_COMPRESSED: &str = "application/vnd.compatlib.compatibility.spec.v1+json+zstd";

/// The title annotation (`org.opencontainers.image.title`) of the specification's layer.
pub const SPEC_TITLE: &str = "compat.json";

/// The media type of a recording in its own layer (`docs/recording.md`).
pub const RECORDING: &str = "application/vnd.compatlib.recording.v1+jsonl";

/// The media type of a recording that is compressed with zstd (RFC 8878).
pub const RECORDING_COMPRESSED: &str = "application/vnd.compatlib.recording.v1+jsonl+zstd";
