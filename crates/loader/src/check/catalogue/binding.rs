//! Kinds of findings about versions, symbols, relocations and memory of loaded libraries.

use super::{Entry, Shown, Topic};
use crate::check::Impact::{DoesNotStart, Misbehaves, Note, Undecided, Warning};

pub(super) const VERSION_MISSING: Entry = Entry {
    name: "version-missing",
    topic: Topic::Binding,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart],
    depends: "",
    summary: "A library lacks a symbol version that an object needs",
    meaning: "An object lists the symbol versions that it needs from each library. The loader checks that list \
              before it binds symbols. In the JSON report, `highest` is the newest version of the same family that the \
              library defines. It may be lower than the release: glibc 2.31 defines nothing newer than `GLIBC_2.30`.",
    example: "`/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found`: the program was built on a newer system.",
    advice: "Build on the oldest system that you support, or update the library. You cannot replace glibc alone: \
             upgrade the distribution.",
};

pub(super) const VERSION_UNKNOWN: Entry = Entry {
    name: "version-unknown",
    topic: Topic::Binding,
    shown: Shown::CheckAndTree,
    impacts: &[Warning],
    depends: "",
    summary: "An object needs symbol versions from a library that defines none",
    meaning: "The object was linked with a build of the library that has symbol versions. The library on the host \
              has none. The loader prints a warning and continues.",
    example: "With a self-built libcurl, the loader prints `libcurl.so.4: no version information available (required \
              by app)`.",
    advice: "Use the library of the distribution, or build it with symbol versions.",
};

pub(super) const VERSIONED_LIBRARY_NOT_LOADED: Entry = Entry {
    name: "versioned-library-not-loaded",
    topic: Topic::Binding,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart],
    depends: "",
    summary: "An object needs symbol versions from a library under a name that no loaded object has",
    meaning: "The object names a library in its list of versions, but not in its list of needed libraries. The \
              loader stops with a failed assertion. Tools that edit the list of needed libraries can cause this.",
    example: "An old release of `patchelf --replace-needed` changed the name in only one of the two lists.",
    advice: "Link the object again, or edit it with a current release of patchelf.",
};

pub(super) const VERSIONLESS_PROVIDER: Entry = Entry {
    name: "versionless-provider",
    topic: Topic::Binding,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart, Misbehaves],
    depends: "It misbehaves if all such symbols are only called (`lazy` in the JSON report): the first call kills the program.",
    summary: "A symbol that is needed with a version comes from a library without versions",
    meaning: "The library has the right name and defines the symbol, but without a version. The loader of glibc \
              before 2.41 stops with a failed assertion, even if the reference is weak.",
    example: "A stub of `libcrypto.so.3` without versions comes before the real library in the search path.",
    advice: "Use a build of the library with symbol versions.",
};

pub(super) const MIXED_LIBC: Entry = Entry {
    name: "mixed-libc",
    topic: Topic::Binding,
    shown: Shown::CheckAndTree,
    impacts: &[Misbehaves],
    depends: "",
    summary: "libc and the dynamic loader are from different glibc releases",
    meaning: "glibc's libc and its loader share private data, so both must come from the same release. Here the \
              loader finds a libc of another release.",
    example: "An application bundles `libc.so.6` from Debian 12 in its `lib/`, and the loader is from Debian 11.",
    advice: "Do not bundle libc, or start the application with the loader of the same release.",
};

pub(super) const RELR_UNDECLARED: Entry = Entry {
    name: "relr-undeclared",
    topic: Topic::Binding,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart],
    depends: "",
    summary: "An object has packed relocations but does not require a libc that supports them",
    meaning: "An object with packed relocations (DT_RELR) must need the version `GLIBC_ABI_DT_RELR`. Since glibc \
              2.36, the loader refuses objects without it.",
    example: "The object was linked with `--pack-dyn-relocs=relr` by a linker that does not add the version.",
    advice: "Link the object again with `-z pack-relative-relocs`, or without packed relocations.",
};

pub(super) const RELR_UNKNOWN: Entry = Entry {
    name: "relr-unknown",
    topic: Topic::Binding,
    shown: Shown::CheckAndTree,
    impacts: &[Misbehaves],
    depends: "",
    summary: "An object has packed relocations, and the loader is too old to apply them",
    meaning: "The loader does not support DT_RELR and skips these relocations. The program is loaded without an \
              error and crashes when it uses one of the pointers.",
    example: "A library with packed relocations on musl before 1.2.4.",
    advice: "Link without packed relocations, or use a newer loader (glibc 2.36 or musl 1.2.4).",
};

pub(super) const SYMBOL_MISSING: Entry = Entry {
    name: "symbol-missing",
    topic: Topic::Binding,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart, Misbehaves],
    depends: "It misbehaves if the symbol is only called and bound at the first call (`lazy` in the JSON report). The \
              program starts and exits at that call.",
    summary: "No loaded object defines a symbol",
    meaning: "The loader searches all loaded objects for the symbol, in load order. None of them defines it in the \
              required version. In the JSON report, `library` is the library that defined it when the object was \
              linked.",
    example: "A newer `psql` finds an older `libpq.so.5`: `undefined symbol: PQsetTraceFlags`.",
    advice: "Update the library, or build against the older one. `compat tree --bindings` shows which library \
             defines each symbol.",
};

pub(super) const FILTER_FAILS: Entry = Entry {
    name: "filter-fails",
    topic: Topic::Binding,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart],
    depends: "",
    summary: "glibc's loader crashes or stops at a filter library (DT_FILTER, DT_AUXILIARY)",
    meaning: "If two libraries are filters of each other (`circular` in the JSON report), the loader recurses until it crashes. If the \
              program or an opened library is a filter, glibc before 2.32 stops with a failed assertion.",
    example: "A library was linked with `-f libb.so`, and `libb.so` with `-f liba.so`.",
    advice: "Link without the filter (options `-f` and `-F` of ld). If only the program is a filter, a newer glibc \
             helps as well.",
};

pub(super) const INDIRECT_FUNCTION_OF_PROGRAM: Entry = Entry {
    name: "indirect-function-of-program",
    topic: Topic::Binding,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart, Note],
    depends: "It is a note if the function is only called (`lazy` in the JSON report): then the start fails only with LD_BIND_NOW.",
    summary: "A library refers to an indirect function of the program",
    meaning: "The resolver of an indirect function (STT_GNU_IFUNC) would have to run before the program is \
              relocated. glibc on x86 stops the start with an error.",
    example: "A program defines its own `memcpy` with `__attribute__((ifunc))`, and a library takes its address.",
    advice: "Make it an ordinary function, or keep it out of the program's dynamic symbols.",
};

pub(super) const STATIC_TLS_FULL: Entry = Entry {
    name: "static-tls-full",
    topic: Topic::Binding,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart, Undecided],
    depends: "It is undecided if the variables may still fit (`undecided` in the JSON report).",
    summary: "The static thread-local storage is too small for a library that is opened at run time",
    meaning: "Some libraries need their thread-local variables in static storage (initial-exec). For libraries that \
              are opened later, glibc reserves 1664 bytes plus alignment, and musl reserves none.",
    example: "Python imports a module that needs `libgomp.so.1`: `cannot allocate memory in static TLS block`.",
    advice: "Preload the library (LD_PRELOAD), link the program with it, or raise \
             `GLIBC_TUNABLES=glibc.rtld.optional_static_tls`.",
};
