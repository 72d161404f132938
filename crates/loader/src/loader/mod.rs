//! A model of the dynamic loader: the file for every needed name, the binding of versions and symbols, and the
//! problems.
//!
//! The phases, in the loader's order:
//!
//! 1. [`start`](start()): the kernel's part. Scripts and their interpreters, the machine, `PT_INTERP`.
//! 2. `load`: the objects, breadth-first from the program. `search` resolves each name. `dlopen` looks for the
//!    libraries that an object's notes declare for run time.
//! 3. `version`: every needed version in the object that should provide it.
//! 4. `binding`: every symbol of every relocation in the global scope.
//!
//! The real loader stops at its first error. This model continues and collects all of them, in the order in
//! which the loader would find them. Objects come from a [`Files`]: a host's root, or the scope of a
//! specification on top of one. Nothing is executed.
//!
//! Sources: glibc `elf/dl-load.c`, `dl-deps.c`, `dl-version.c`, `dl-lookup.c`, `dl-cache.c`; musl
//! `ldso/dynlink.c`; ld.so(8); execve(2).
//!
//! `recorded` opens the libraries that recorded runs loaded in addition.
//!
//! The model does not cover `LD_PRELOAD` and `LD_AUDIT` of the environment, or libraries that `dlopen` loads at
//! run time without a note or a recording.

mod above;
mod alternative;
mod application;
mod binding;
mod bound;
mod candidate;
mod context;
mod dlopen;
mod edge;
mod effort;
mod elsewhere;
mod emulation;
mod facts;
mod family;
mod files;
mod follow;
mod hwcaps;
mod index;
mod indirect;
mod layout;
mod library;
mod listed_script;
mod load;
mod loaded;
mod lock;
mod mark;
mod memo;
mod memory;
mod message;
mod problem;
mod profile_files;
mod reason;
mod recorded;
mod root;
mod scope_files;
mod sealed_files;
mod search;
mod specified;
mod start;
mod static_tls;
mod token;
mod uncertain;
mod vdso;
mod version;

pub use alternative::{PassedFor, PassedOver, python_of};
pub use application::{Application, Started};
pub use bound::{Bindings, Bound};
pub use context::{Context, Environment};
pub use edge::{Edge, EdgeKind, EdgeOutcome, KnownBy};
pub use effort::Effort;
pub use elsewhere::Elsewhere;
pub use facts::{Facts, Form};
pub use family::Family;
pub use files::{
    Blocked, Files, HostFiles, Injection, ObjectIdentity, Obstacle, OpenError, Opened, SharedFiles,
};
pub(crate) use layout::is_usual;
pub use listed_script::{listed, parsed};
pub use loaded::{LeftToProgram, Load, LoadedObject, Rule, Start};
pub use memory::Memory;
pub use problem::{Effect, Libc, Problem, Rejection};
pub use profile_files::ProfileFiles;
pub use reason::Reason;
pub use recorded::{RecordedStart, Unknown};
pub use scope_files::{ScopeContext, ScopeFiles};
pub use sealed_files::SealedFiles;
pub use search::{platform_token, search_directories};
pub(crate) use specified::{specify_dependency_order, specify_identification, specify_layout};
pub use start::{start, start_and_open, start_script_line};
pub use token::Tokens;

/// The `PATH` in which a program named by `env` is searched: the usual one of a shell.
pub const DEFAULT_PROGRAM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
