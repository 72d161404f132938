//! Kinds about versions, symbols, relocations and memory of libraries that are loaded.

use super::{Entry, Shown, Topic};
use crate::check::Impact::{DoesNotStart, Misbehaves, Note, Undecided, Warning};

pub(super) const VERSION_MISSING: Entry = Entry {
    name: "version-missing",
    topic: Topic::Binding,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart],
    depends: "",
    summary: "A library lacks a symbol version that an object needs",
    meaning: "Objects record the versions that they need of each library, and the loader checks them before it binds \
              symbols. `highest` is the newest version of the same family that the library has.",
    example: "`/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found`: the program was built on a newer system.",
    advice: "Build on the oldest system that you support, or update the library. glibc itself comes with the system.",
};

pub(super) const VERSION_UNKNOWN: Entry = Entry {
    name: "version-unknown",
    topic: Topic::Binding,
    shown: Shown::CheckAndTree,
    impacts: &[Warning],
    depends: "",
    summary: "Versions are wanted of a library that defines none",
    meaning: "The object was linked with a build of the library that has symbol versions. The one on the host has none. \
              The loader prints a warning and goes on.",
    example: "`libcurl.so.4: no version information available (required by app)`, with a self-built libcurl.",
    advice: "Use the library of the distribution, or build it with symbol versions.",
};

pub(super) const VERSIONED_LIBRARY_NOT_LOADED: Entry = Entry {
    name: "versioned-library-not-loaded",
    topic: Topic::Binding,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart],
    depends: "",
    summary: "Versions are wanted of a library by a name that no loaded object has",
    meaning: "The object names a library in its list of versions, but not in its list of needed libraries. The loader \
              stops with an assertion. Such files come from edits of the needed names.",
    example: "`patchelf --replace-needed` of an old release changed the name in one of the two lists.",
    advice: "Link the object again, or edit it with a current release of patchelf.",
};

pub(super) const VERSIONLESS_PROVIDER: Entry = Entry {
    name: "versionless-provider",
    topic: Topic::Binding,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart, Misbehaves],
    depends: "It misbehaves if all such symbols are only called (`lazy`): the first call ends the program.",
    summary: "A versioned symbol is found in a library that has no versions",
    meaning: "The library has the right name and defines the symbol, but without any version. A loader before glibc \
              2.41 stops with an assertion, also for a weak reference.",
    example: "A stub of `libcrypto.so.3` without versions lies before the real one in the search path.",
    advice: "Use a build of the library with symbol versions.",
};

pub(super) const MIXED_LIBC: Entry = Entry {
    name: "mixed-libc",
    topic: Topic::Binding,
    shown: Shown::CheckAndTree,
    impacts: &[Misbehaves],
    depends: "",
    summary: "libc and the dynamic loader are of different builds",
    meaning: "glibc's library and its loader share private data, and work only together. Here the search found a libc of \
              another release than the loader.",
    example: "An application brings `libc.so.6` of Debian 12 in its own `lib/`, and the loader is that of Debian 11.",
    advice: "Do not bring libc along, or start the application with the loader that belongs to it.",
};

pub(super) const RELR_UNDECLARED: Entry = Entry {
    name: "relr-undeclared",
    topic: Topic::Binding,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart],
    depends: "",
    summary: "An object has packed relocations and does not ask libc for them",
    meaning: "An object with packed relocations (DT_RELR) has to need the version `GLIBC_ABI_DT_RELR`. A loader from \
              glibc 2.36 on refuses one that does not.",
    example: "The object was linked with `--pack-dyn-relocs=relr` by a linker that does not add the version.",
    advice: "Link again with `-z pack-relative-relocs`, or without packed relocations.",
};

pub(super) const RELR_UNKNOWN: Entry = Entry {
    name: "relr-unknown",
    topic: Topic::Binding,
    shown: Shown::CheckAndTree,
    impacts: &[Misbehaves],
    depends: "",
    summary: "An object has packed relocations, and the loader is too old to apply them",
    meaning: "The loader does not know DT_RELR and skips these relocations. The program is loaded without an error, and \
              crashes when it uses such a pointer.",
    example: "A library with packed relocations on musl before 1.2.4.",
    advice: "Link without packed relocations, or use a newer loader: glibc 2.36 or musl 1.2.4.",
};

pub(super) const SYMBOL_MISSING: Entry = Entry {
    name: "symbol-missing",
    topic: Topic::Binding,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart, Misbehaves],
    depends: "It misbehaves if the symbol is only called and bound at the first call (`lazy`). The program starts, and \
              ends at that call.",
    summary: "No loaded object defines a symbol",
    meaning: "The loader looks for the symbol in all loaded objects, in their order. None defines it, or not in the wanted \
              version. `library` is where it was when the object was linked.",
    example: "`undefined symbol: PQsetTraceFlags`: a newer `psql` found an older `libpq.so.5`.",
    advice: "Update the library, or build for the older one. `compat tree --bindings` shows where symbols come from.",
};

pub(super) const FILTER_FAILS: Entry = Entry {
    name: "filter-fails",
    topic: Topic::Binding,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart],
    depends: "",
    summary: "glibc's loader fails over a filter (DT_FILTER, DT_AUXILIARY)",
    meaning: "Two libraries are filters of each other (`circular`), and the loader crashes: it does not come to an end. Or the \
              program, or what it opens, is a filter: releases before 2.32 stop with a failed assertion.",
    example: "A library was linked with `-f libb.so`, and `libb.so` with `-f liba.so`.",
    advice: "Link without the filter (`-f` and `-F` of ld), or use a newer glibc for a program that is one.",
};

pub(super) const INDIRECT_FUNCTION_OF_PROGRAM: Entry = Entry {
    name: "indirect-function-of-program",
    topic: Topic::Binding,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart, Note],
    depends: "It is a note if the function is only called (`lazy`): then only LD_BIND_NOW ends the start.",
    summary: "A library refers to an indirect function of the program",
    meaning: "The resolver of such a function (STT_GNU_IFUNC) would have to run before the program is relocated. glibc on \
              x86 ends the start.",
    example: "A program defines its own `memcpy` with `__attribute__((ifunc))`, and a library takes its address.",
    advice: "Make the function a usual one, or keep it out of the program's dynamic symbols.",
};

pub(super) const STATIC_TLS_FULL: Entry = Entry {
    name: "static-tls-full",
    topic: Topic::Binding,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart, Undecided],
    depends: "It is undecided if the variables may fit all the same (`undecided`).",
    summary: "The static thread-local memory is too small for a library that is opened at run time",
    meaning: "Some libraries want their thread-local variables in static memory (initial-exec). A program keeps little of \
              it for what it opens later: glibc 1664 bytes and what alignment adds, musl none.",
    example: "`cannot allocate memory in static TLS block` when Python imports a module with `libgomp.so.1`.",
    advice: "Preload the library (LD_PRELOAD), link the program with it, or raise \
             `GLIBC_TUNABLES=glibc.rtld.optional_static_tls`.",
};
