//! The limits on content from a registry or a layout (`docs/registries.md`). Everything that others control
//! is read with a limit.

use std::time::Duration;

/// The largest manifest or index (the size that the distribution specification asks registries to accept).
pub const MANIFEST: u64 = 4 << 20;
/// The largest configuration of an image.
pub const CONFIG: u64 = 4 << 20;
/// The largest compatibility document.
pub const SPECIFICATION: u64 = 32 << 20;
/// The largest document that is stored without compression.
pub const PLAIN: usize = 128 << 10;
/// The largest content, compressed if necessary, that is embedded in its descriptor. Reading embedded content
/// costs no request.
pub(crate) const EMBEDDED: usize = 2 << 20;
/// The largest response of a token service.
pub(crate) const TOKEN_ANSWER: u64 = 1 << 20;
/// The number of bytes of an error body that are read. The rest is ignored.
pub(crate) const ERROR_BODY: u64 = 64 << 10;
/// The largest page of a listing.
pub const PAGE: u64 = 4 << 20;
/// The most pages of a listing.
pub(crate) const PAGES: usize = 100;
/// The most redirects of one request.
pub(crate) const REDIRECTS: usize = 5;
/// The longest `Retry-After` that is honoured.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(60);
/// The longest time that one run waits between attempts, in total.
pub(crate) const WAITING: Duration = Duration::from_secs(300);
/// The shortest wait that is reported to the user.
pub(crate) const SILENCE: Duration = Duration::from_secs(2);
/// The timeout for another origin to which a registry redirects a request that also has a fallback.
pub const ELSEWHERE: Duration = Duration::from_secs(5);
/// The minimum rate of streamed content, in bytes per second of waiting for it.
pub(crate) const MINIMUM_RATE: u64 = 1024;
/// The largest file with credentials or settings.
pub(crate) const SETTINGS_FILE: u64 = 4 << 20;
/// The maximum nesting depth of the indexes in a copy.
pub const NESTING: usize = 8;
/// The maximum number of manifests that one recursive copy or listing visits.
pub const GRAPH: usize = 10_000;
/// The largest recording, compressed. A check never fetches a recording.
pub const RECORDING: u64 = 512 << 20;
/// The maximum size of all recordings that are pushed with one artifact, compressed. They are held in memory.
pub const RECORDINGS: u64 = RECORDING;
