//! The mirror: a FUSE view of a root file system. Programs see it unchanged. It has hooks for observers
//! ([`Observer`]) and for caches ([`Cache`]). It contains no code for recording, and none that stores contents.
//!
//! The module speaks the kernel's protocol (`linux/fuse.h`) directly (`wire`). Every volume of the root is a
//! FUSE mount with its own device number. Threads answer its requests, and each thread has its own descriptor
//! of the connection ([`Session`], `workers`). Files are reached through descriptors and names in
//! directories, in bytes, never through paths (`node`, `handle_cache`). If the kernel allows it, reads and
//! writes of open files bypass this process (FUSE passthrough, Linux 6.9).
//!
//! Locking: each node, the table of nodes, the cache of descriptors and each table of opens has its own lock.
//! A thread that holds a node's lock takes no other lock, except that of the node's facts (`cache::facts`), under
//! which it takes none of the mirror. A thread that holds the table's lock, or the lock
//! of the retries, may take a node's lock, never the other way round. Names are moved and removed one at a
//! time (`HandleCache::moving`). A thread that does not find a file at its last place waits for that move. So
//! a program that opens a file while another program replaces it finds either the old file or the new one.
//!
//! The module does not mount anything, start processes or enter namespaces.

#![warn(missing_docs)]

mod access_rule;
mod admission;
mod arguments;
mod attribute;
mod cache;
mod caller_status;
mod dispatch;
mod handle_cache;
mod handler;
mod identity;
mod long_path;
mod names;
mod node;
mod number;
mod observer;
mod open_file;
mod open_handle;
mod quota;
mod reply;
mod request;
mod retry;
mod session;
mod sharing;
mod stamp;
mod table;
mod volume;
mod wire;
mod workers;

pub(crate) use access_rule::has_further_rules;
pub(crate) use attribute::WANTED as WANTED_ATTRIBUTES;
pub use cache::{
    Ahead, Cache, CacheEvent, CachedFile, Coherence, Content, Found, KeptFact, Listed, Listing, Question,
    Recalled, RecalledAttribute,
};
pub use handle_cache::Holders;
pub use long_path::{LONGEST as LONGEST_PATH, ends as path_ends};
pub use observer::{Action, Caller, Event, Observer, Traffic};
pub use session::Session;
pub use sharing::Sharing;
pub use stamp::{Moment, Stamp};
pub use volume::{Options, Volume};
