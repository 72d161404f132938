//! The bounds on what is read from a registry or a layout (`docs/registries.md`): nothing that others
//! control is read without one.

use std::time::Duration;

/// The largest manifest or index (what the distribution specification asks registries to accept).
pub const MANIFEST: u64 = 4 << 20;
/// The largest compatibility document.
pub const SPECIFICATION: u64 = 32 << 20;
/// The largest document that is stored as it is: a larger one is compressed.
pub const PLAIN: usize = 128 << 10;
/// The largest content, if need be compressed, that is embedded in its descriptor, so that reading it
/// costs no request.
pub(crate) const EMBEDDED: usize = 2 << 20;
/// The largest answer of a token service.
pub(crate) const TOKEN_ANSWER: u64 = 1 << 20;
/// How much of an error's body is looked at; the rest is ignored.
pub(crate) const ERROR_BODY: u64 = 64 << 10;
/// The largest page of a listing.
pub const PAGE: u64 = 4 << 20;
/// The most pages of a listing.
pub(crate) const PAGES: usize = 100;
/// The most redirects of one request.
pub(crate) const REDIRECTS: usize = 5;
/// The longest `Retry-After` that is waited for.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(60);
/// How long one run waits between tries, all waits together.
pub(crate) const WAITING: Duration = Duration::from_secs(300);
/// A wait of this length or more is said.
pub(crate) const SILENCE: Duration = Duration::from_secs(2);
/// How long another origin is waited for that a registry sends a request to for which there is another way.
pub const ELSEWHERE: Duration = Duration::from_secs(5);
/// The slowest that content may come as a stream, in bytes a second of waiting for it.
pub(crate) const MINIMUM_RATE: u64 = 1024;
/// The largest file with credentials or settings.
pub(crate) const SETTINGS_FILE: u64 = 4 << 20;
/// How many indexes may lie in each other in what is copied.
pub const NESTING: usize = 8;
/// The most manifests that one recursive copy or listing walks through.
pub const GRAPH: usize = 10_000;
/// The largest recording, compressed. A check never fetches one.
pub const RECORDING: u64 = 512 << 20;
/// All recordings that are pushed with one artifact, compressed: they are held in memory.
pub const RECORDINGS: u64 = RECORDING;
