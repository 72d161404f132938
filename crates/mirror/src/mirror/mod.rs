//! The mirror: a root file system shown once more through FUSE, with nothing changed in what programs
//! see, and with hooks for whoever watches ([`Observer`]) and for whoever serves what is read from
//! elsewhere ([`Provider`]). Nothing of recording or of a cache is in here.
//!
//! The kernel's protocol (`linux/fuse.h`) is spoken directly (`wire`): every volume of the root is
//! one FUSE mount with a device number of its own, answered by threads that each have their own
//! descriptor of the connection ([`Session`], `workers`). Files are reached by descriptors and names in directories,
//! in bytes, never by paths (`node`, `handle_cache`). Where the kernel allows it, reads and writes of
//! open files go past this process altogether (FUSE passthrough, Linux 6.9).
//!
//! Locking: each node, the table of nodes, the cache of descriptors and each table of opens have a lock
//! of their own. While a node's lock is held no other is taken; the table's (and that of the retries) may be
//! held when a node's is taken, never the other way round. Names are moved and taken away one at a time (`HandleCache::moving`), and who does not
//! find a file where it was waits for that: a program that opens what another replaces finds the one or the other.
//!
//! What it does not do: it does not mount, start anything or enter namespaces.

#![warn(missing_docs)]

mod access_rule;
mod admission;
mod arguments;
mod attribute;
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
mod provider;
mod quota;
mod reply;
mod request;
mod retry;
mod session;
mod sharing;
mod table;
mod volume;
mod wire;
mod workers;

pub(crate) use access_rule::has_further_rules;
pub use handle_cache::Holders;
pub use long_path::{LONGEST as LONGEST_PATH, ends as path_ends};
pub use observer::{Action, Caller, Event, Observer, Traffic};
pub use provider::{Provider, Wanted};
pub use session::Session;
pub use sharing::Sharing;
pub use volume::{Options, Volume};
