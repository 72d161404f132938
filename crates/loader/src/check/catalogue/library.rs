//! Kinds of findings about libraries that are missing or cannot be used.

use super::{Entry, Shown, Topic};
use crate::check::Impact::{DoesNotStart, Misbehaves, Note, Undecided, Warning};

pub(super) const LIBRARY_MISSING: Entry = Entry {
    name: "library-missing",
    topic: Topic::Library,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart, Undecided],
    depends: "It is undecided if the host is a saved profile that does not record all searched directories.",
    summary: "A needed library was not found",
    meaning: "The loader searches RPATH, LD_LIBRARY_PATH, RUNPATH, its cache and the default directories. None of \
              them contains the library. In the JSON report, `searched` lists the directories, and `rejected` the files that the loader \
              skips.",
    example: "On a system that has only OpenSSL 3, the loader prints `error while loading shared libraries: \
              libssl.so.1.1: cannot open shared object file`.",
    advice: "Install the package that contains the library, bundle it with the application, or set LD_LIBRARY_PATH. \
             After copying a library to the host, run `ldconfig`.",
};

pub(super) const LIBRARY_UNCERTAIN: Entry = Entry {
    name: "library-uncertain",
    topic: Topic::Library,
    shown: Shown::CheckAndTree,
    impacts: &[Undecided],
    depends: "",
    summary: "A library was found, but the host may have another one earlier in the search path",
    meaning: "The loader first searches a directory that the saved profile of the host does not record. If that \
              directory contains a library of this name, the loader takes it.",
    example: "A program has the RUNPATH `/opt/vendor/lib`, and the profile of the host does not cover `/opt`.",
    advice: "Check on the host itself, or bundle the library with the application.",
};

pub(super) const HOST_LIBRARY_MISSING: Entry = Entry {
    name: "host-library-missing",
    topic: Topic::Library,
    shown: Shown::Check,
    impacts: &[DoesNotStart, Undecided],
    depends: "It is undecided if the host is a saved profile that does not record the path.",
    summary: "The host lacks a library that the container runtime mounts into the container",
    meaning: "Some libraries belong to the drivers of the host, so images do not contain them. The container runtime \
              mounts them from the host. The host does not have this library.",
    example: "An image needs `libcuda.so.1`, and NVIDIA's driver is not installed on the host.",
    advice: "Install the driver that the finding names, or choose another host.",
};

pub(super) const PRELOAD_IGNORED: Entry = Entry {
    name: "preload-ignored",
    topic: Topic::Library,
    shown: Shown::CheckAndTree,
    impacts: &[Warning],
    depends: "",
    summary: "A library that /etc/ld.so.preload names cannot be preloaded",
    meaning: "The loader prints an error and continues without the library. This happens to every program on the \
              host.",
    example: "`ERROR: ld.so: object 'libhook.so' from /etc/ld.so.preload cannot be preloaded: ignored.`",
    advice: "Install the library again, or remove its line from `/etc/ld.so.preload`.",
};

pub(super) const LIBRARY_UNUSABLE: Entry = Entry {
    name: "library-unusable",
    topic: Topic::Library,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart],
    depends: "",
    summary: "A library was found, but the loader cannot use it and stops",
    meaning: "The loader skips files for another machine, but stops at damaged and unsuitable files. The finding contains the \
              message that it would print.",
    example: "`libfoo.so.1` is a linker script, a text file or a truncated file: `invalid ELF header`.",
    advice: "Replace the file. If it is not the file that you expect, inspect the search path with `compat tree`.",
};

pub(super) const DLOPEN_MISSING: Entry = Entry {
    name: "dlopen-missing",
    topic: Topic::Library,
    shown: Shown::CheckAndTree,
    impacts: &[Misbehaves, Undecided, Warning, Note],
    depends: "The priority in the object's note decides. It misbehaves if the library is required, but is undecided \
              if a saved profile does not record the path. It is a warning if the library is recommended, and a note \
              if it is suggested.",
    summary: "A library that an object opens at run time was not found",
    meaning: "The object contains a note (`.note.dlopen`) that lists the libraries it opens with dlopen(3). None of \
              the names was found. A library without a priority counts as recommended.",
    example: "systemd's programs open `libtss2-esys.so.0` only to use a TPM.",
    advice: "Install the library if you need the feature that the finding names.",
};

pub(super) const OTHER_LIBC: Entry = Entry {
    name: "other-libc",
    topic: Topic::Library,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart, Note],
    depends: "It is a note if the library loads anyway (`loads` in the JSON report).",
    summary: "A library was built for another C library than the host has",
    meaning: "The library was linked with glibc, and the host has musl, or the other way round. This explains most \
              other findings about the library.",
    example: "A Python wheel for `manylinux` is checked on Alpine Linux.",
    advice: "Use the build for the C library of the host, such as the `musllinux` wheel.",
};

pub(super) const LOADER_MISSING: Entry = Entry {
    name: "loader-missing",
    topic: Topic::Library,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart, Undecided],
    depends: "It is undecided if the host is a saved profile that does not record the paths (`unrecorded` in the JSON report).",
    summary: "The host has no dynamic loader that can load a library",
    meaning: "A library that is checked without a program is loaded by a loader of the host. No loader for its \
              machine exists at the usual paths (`tried` in the JSON report).",
    example: "A 32-bit library is checked on a host that has only 64-bit libraries.",
    advice: "Install the C library for that machine, or use a library for the machine of the host.",
};

pub(super) const LEFT_TO_SEARCH: Entry = Entry {
    name: "left-to-search",
    topic: Topic::Directory,
    shown: Shown::Check,
    impacts: &[Undecided, Warning],
    depends: "It is undecided for a program, and a warning for a library.",
    summary: "A needed library is in the directory, but not in the search path of the files that need it",
    meaning: "The program that loads or starts these files must load the library first or set LD_LIBRARY_PATH. This \
              kind applies to libraries, and to programs below `lib` or `libexec` without a link from elsewhere. It \
              never applies to images, because their configuration shows how programs are started.",
    example: "A plugin in `plugins/` needs `libcore.so` in `lib/` and has no RUNPATH. The main program loads \
              `libcore.so` before the plugin.",
    advice: "If no program does this, give the files a RUNPATH such as `$ORIGIN/../lib`.",
};

pub(super) const LEFT_TO_PROGRAM: Entry = Entry {
    name: "left-to-program",
    topic: Topic::Directory,
    shown: Shown::Check,
    impacts: &[Note],
    depends: "",
    summary: "A library refers to symbols that the program that loads it must define",
    meaning: "The library was checked without a program. Neither it nor its libraries define these symbols. Plugins \
              expect such symbols from the program that opens them.",
    example: "A Python module refers to `PyModule_Create2`, which the Python interpreter defines.",
    advice: "Check the library with its program: `compat check --host-program PATH FILE`.",
};

pub(super) const PASSED_OVER: Entry = Entry {
    name: "passed-over",
    topic: Topic::Directory,
    shown: Shown::Check,
    impacts: &[Note],
    depends: "",
    summary: "Files of a directory were not checked, because only other hosts load them",
    meaning: "Packages contain the same library for several machines, C libraries or Python versions. Only the file \
              for this host was checked. In the JSON report, `paths` lists the others, `why` names the difference, and `madeFor` the \
              hosts that they are for.",
    example: "A package contains `prebuilds/linux-arm64/a.node` and `prebuilds/linux-x64/a.node`, and the host is \
              x86_64.",
    advice: "Do nothing. To check such a file anyway, name it on the command line.",
};
