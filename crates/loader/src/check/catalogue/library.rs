//! Kinds about libraries that are missing or cannot be used.

use super::{Entry, Shown, Topic};
use crate::check::Impact::{DoesNotStart, Misbehaves, Note, Undecided, Warning};

pub(super) const LIBRARY_MISSING: Entry = Entry {
    name: "library-missing",
    topic: Topic::Library,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart, Undecided],
    depends: "It is undecided if a saved host does not record a place that is searched.",
    summary: "A needed library was not found",
    meaning: "The loader searches RPATH, LD_LIBRARY_PATH, RUNPATH, its cache and the default directories. The library \
              is in none of them. `searched` lists the directories, and `rejected` the files that do not fit.",
    example: "`error while loading shared libraries: libssl.so.1.1: cannot open shared object file`, on a system that has \
              OpenSSL 3 only.",
    advice: "Install the package that has the library, bring it along with the application, or set LD_LIBRARY_PATH. \
             After a new library was copied, run `ldconfig`.",
};

pub(super) const LIBRARY_UNCERTAIN: Entry = Entry {
    name: "library-uncertain",
    topic: Topic::Library,
    shown: Shown::CheckAndTree,
    impacts: &[Undecided],
    depends: "",
    summary: "A library was found, but the saved host may have another file that comes before it",
    meaning: "The loader would search a directory first that the saved host does not record. If it has a library of this \
              name, that one is loaded.",
    example: "A program has the RUNPATH `/opt/vendor/lib`, and the profile of the host does not cover `/opt`.",
    advice: "Check on the host itself, or bring the library along with the application.",
};

pub(super) const HOST_LIBRARY_MISSING: Entry = Entry {
    name: "host-library-missing",
    topic: Topic::Library,
    shown: Shown::Check,
    impacts: &[DoesNotStart, Undecided],
    depends: "It is undecided if a saved host does not record the place.",
    summary: "The host lacks a library that a container runtime would bring into the image",
    meaning: "Some libraries belong to the drivers of the host, and images leave them out on purpose. The runtime mounts \
              them into the container. The host does not have this one.",
    example: "An image needs `libcuda.so.1`, and NVIDIA's driver is not installed on the host.",
    advice: "Install the driver that `provider` names, or choose another host.",
};

pub(super) const PRELOAD_IGNORED: Entry = Entry {
    name: "preload-ignored",
    topic: Topic::Library,
    shown: Shown::CheckAndTree,
    impacts: &[Warning],
    depends: "",
    summary: "A library that /etc/ld.so.preload names cannot be preloaded",
    meaning: "The loader prints an error and goes on without the library. That happens to every program on the host.",
    example: "`ERROR: ld.so: object 'libhook.so' from /etc/ld.so.preload cannot be preloaded: ignored.`",
    advice: "Install the library again, or take its line out of `/etc/ld.so.preload`.",
};

pub(super) const LIBRARY_UNUSABLE: Entry = Entry {
    name: "library-unusable",
    topic: Topic::Library,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart],
    depends: "",
    summary: "A library was found, and the loader stops at it",
    meaning: "The loader passes over files for another machine, but stops at damaged and unsuitable ones. `reason` is \
              what it would print.",
    example: "`libfoo.so.1` is a linker script, a text file, or was cut short: `invalid ELF header`.",
    advice: "Replace the file. If it is not the one that you expect, look at the search path with `compat tree`.",
};

pub(super) const DLOPEN_MISSING: Entry = Entry {
    name: "dlopen-missing",
    topic: Topic::Library,
    shown: Shown::CheckAndTree,
    impacts: &[Misbehaves, Undecided, Warning, Note],
    depends: "The priority in the object's note decides: it misbehaves if the library is required (undecided if a \
              saved host does not record the place). A recommended one gives a warning, and a suggested one a note.",
    summary: "A library that an object opens once it runs was not found",
    meaning: "The object carries a note (`.note.dlopen`) with libraries that it opens by itself (dlopen(3)). None of the \
              names leads to a file. Without a priority, a library counts as recommended.",
    example: "systemd's programs open `libtss2-esys.so.0` only if a TPM is used.",
    advice: "Install the library if you need the feature that `feature` and `description` name.",
};

pub(super) const OTHER_LIBC: Entry = Entry {
    name: "other-libc",
    topic: Topic::Library,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart, Note],
    depends: "It is a note if the library loads all the same (`loads`).",
    summary: "A library was made for another C library than the host has",
    meaning: "The library was linked with glibc, and the host has musl, or the other way round. This is the cause of \
              what else is missing.",
    example: "A Python wheel for `manylinux` is checked on Alpine Linux.",
    advice: "Use the build for the C library of the host, such as the `musllinux` wheel.",
};

pub(super) const LOADER_MISSING: Entry = Entry {
    name: "loader-missing",
    topic: Topic::Library,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart, Undecided],
    depends: "It is undecided if a saved host does not record the places (`unrecorded`).",
    summary: "The host has no dynamic loader for a library",
    meaning: "A library that is checked on its own is loaded by a loader of the host. There is none for its machine at \
              the usual places (`tried`).",
    example: "A 32-bit library is checked on a host that has 64-bit libraries only.",
    advice: "Install the C library for that machine, or use a library for the machine of the host.",
};

pub(super) const LEFT_TO_SEARCH: Entry = Entry {
    name: "left-to-search",
    topic: Topic::Directory,
    shown: Shown::Check,
    impacts: &[Undecided, Warning],
    depends: "It is undecided for a program, and a warning for a library.",
    summary: "A needed library is in the directory, but the files that need it do not look there",
    meaning: "The program that loads or starts these files has to load the library first, or to set LD_LIBRARY_PATH. \
              This is said of libraries, and of programs below `lib` or `libexec` to which no link from elsewhere leads. It \
              is not said of images: they say how their programs are started.",
    example: "A plugin in `plugins/` needs `libcore.so` in `lib/`, and has no RUNPATH. The main program loads `libcore.so` \
              before it.",
    advice: "If no program does that, give the files a RUNPATH such as `$ORIGIN/../lib`.",
};

pub(super) const LEFT_TO_PROGRAM: Entry = Entry {
    name: "left-to-program",
    topic: Topic::Directory,
    shown: Shown::Check,
    impacts: &[Note],
    depends: "",
    summary: "A library leaves symbols to the program that will load it",
    meaning: "A library that is checked on its own refers to symbols that none of its libraries defines. Plugins \
              expect them from the program that opens them.",
    example: "A module of Python refers to `PyModule_Create2`, which Python itself defines.",
    advice: "Check it with its program: `compat check --host-program PATH FILE`.",
};

pub(super) const PASSED_OVER: Entry = Entry {
    name: "passed-over",
    topic: Topic::Directory,
    shown: Shown::Check,
    impacts: &[Note],
    depends: "",
    summary: "Files of a directory were not judged, because only another host would load them",
    meaning: "Packages bring the same library for several machines, C libraries or versions of Python. The one for this \
              host is judged. `why` says what the others differ in, `madeFor` what they are for, and `paths` which they \
              are.",
    example: "`prebuilds/linux-arm64/a.node` lies beside `prebuilds/linux-x64/a.node`, and the host is x86_64.",
    advice: "Nothing. To judge such a file all the same, name it on the command line.",
};
