//! What would the dynamic loader do: which file every needed name resolves to, which versions and
//! symbols bind, and why not.
//!
//! The phases, in the loader's order:
//!
//! 1. [`start`](start()): the kernel's part. Scripts to their interpreters, machine, `PT_INTERP`.
//! 2. `load`: the objects, breadth-first from the program, each name resolved by `search`.
//!    Libraries that an object's notes say it opens later are looked for by `dlopen`.
//! 3. `version`: every needed version against the object that is to provide it.
//! 4. `binding`: every symbol of every relocation against the global scope.
//!
//! Where the real loader stops at its first error, this one goes on and collects all of them; the
//! problems are in the order in which the loader would meet them. Objects come from a [`Files`]: a
//! host's root, or a specification's scope laid over one. Nothing is executed.
//!
//! Sources: glibc `elf/dl-load.c`, `dl-deps.c`, `dl-version.c`, `dl-lookup.c`, `dl-cache.c`; musl
//! `ldso/dynlink.c`; ld.so(8); execve(2).
//!
//! What recorded runs loaded besides is opened once more by `recorded`.
//!
//! Not modelled: `LD_PRELOAD` and `LD_AUDIT` of the environment, what `dlopen` loads at run time
//! beyond what notes and recordings say.

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
pub use search::search_directories;
pub(crate) use specified::{specify_dependency_order, specify_identification, specify_layout};
pub use start::{start, start_and_open, start_script_line};

/// How exactly a dependency on a program named by `env` is searched: the usual `PATH` of a shell.
pub const DEFAULT_PROGRAM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
