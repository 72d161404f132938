//! Kinds about the start of a program: the kernel, the machine, the file and its interpreter.

use super::{Entry, Shown, Topic};
use crate::check::Impact::{DoesNotStart, Misbehaves, Undecided, Warning};

pub(super) const WRONG_MACHINE: Entry = Entry {
    name: "wrong-machine",
    topic: Topic::Start,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart],
    depends: "",
    summary: "The program is for another machine",
    meaning: "The kernel does not execute the file, because its ELF header names another machine or word size than \
              the host has. No registered emulator (binfmt_misc) takes it either.",
    example: "A program for aarch64 is checked on an x86_64 host. The shell would print `Exec format error`.",
    advice: "Use the build for this machine. Of a multi-platform image, `compat select` prints the manifest that fits.",
};

pub(super) const NOT_A_PROGRAM: Entry = Entry {
    name: "not-a-program",
    topic: Topic::Start,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart, Undecided],
    depends: "It is undecided if a saved host does not record the file.",
    summary: "The file cannot be started as a program",
    meaning: "The file is neither an ELF program nor a script with a `#!` line, or it cannot be read. `reason` says \
              which.",
    example: "The entrypoint of an image is a text file without `#!`, or a script with a byte order mark in front \
              of it.",
    advice: "Check the path. If the file is a script, give it a first line such as `#!/bin/sh`.",
};

pub(super) const INTERPRETER_MISSING: Entry = Entry {
    name: "interpreter-missing",
    topic: Topic::Start,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart, Undecided],
    depends: "It is undecided if a saved host does not record the place.",
    summary: "The dynamic loader or the script interpreter is missing, or may not be executed",
    meaning: "The kernel starts the interpreter that the file names: the dynamic loader of a program (PT_INTERP), or \
              what follows `#!` in a script. That file is missing on the host or cannot be executed.",
    example: "A program for glibc names `/lib64/ld-linux-x86-64.so.2`, and the host is Alpine Linux. The shell prints \
              `No such file or directory`, although the program is there.",
    advice: "Install the interpreter, or build the program for the C library of the host. A script with Windows line \
             endings has to be converted (`dos2unix FILE`).",
};

pub(super) const INTERPRETER_UNKNOWN: Entry = Entry {
    name: "interpreter-unknown",
    topic: Topic::Start,
    shown: Shown::CheckAndTree,
    impacts: &[Undecided],
    depends: "",
    summary: "The program names a loader that is neither glibc's nor musl's",
    meaning: "The kernel starts whatever a program names as its loader. The rules of this one are not known, so its \
              libraries were not looked at.",
    example: "The program was linked with `-Wl,--dynamic-linker=/opt/tool/loader`.",
    advice: "Record a run on a machine where it works (`compat record`), or judge it by hand.",
};

pub(super) const EMULATED: Entry = Entry {
    name: "emulated",
    topic: Topic::Start,
    shown: Shown::CheckAndTree,
    impacts: &[Undecided, Warning],
    depends: "It is a warning if the handler is one of qemu's emulators, and undecided if it is another program.",
    summary: "The program is for another machine, and the kernel has an emulator for it",
    meaning: "A program is registered with the kernel (binfmt_misc) for files of this kind. Programs that qemu starts \
              load as on their own machine, so their libraries are still checked. What another handler does is not \
              known.",
    example: "An aarch64 program runs on an x86_64 host by `qemu-aarch64-static`.",
    advice: "Nothing, if emulation is intended. Otherwise use the build for this machine, which is much faster.",
};

pub(super) const MACHINE_UNCERTAIN: Entry = Entry {
    name: "machine-uncertain",
    topic: Topic::Start,
    shown: Shown::CheckAndTree,
    impacts: &[Undecided],
    depends: "",
    summary: "It is not known whether the kernel runs programs of this kind",
    meaning: "Programs with 32-bit addresses on x86-64 (x32) need a kernel that was built for them. The \
              configuration of the host's kernel was not found.",
    example: "An x32 program is checked on a host that has neither `/boot/config-*` nor `/proc/config.gz`.",
    advice: "Check on a host whose kernel configuration can be read, or use the usual 64-bit build.",
};

pub(super) const NOT_EXECUTABLE: Entry = Entry {
    name: "not-executable",
    topic: Topic::Start,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart],
    depends: "",
    summary: "The kernel refuses to execute the file for lack of permission",
    meaning: "The file has no execute permission for the user in question, or its file system is mounted `noexec`. \
              On this machine that user is you. In an image it is the user whom the configuration names.",
    example: "An image has `/app/run.sh` with mode 0644. The container would stop with `permission denied`.",
    advice: "Set the permission (`chmod +x FILE`), or mount the file system without `noexec`.",
};

pub(super) const PACKED: Entry = Entry {
    name: "packed",
    topic: Topic::Start,
    shown: Shown::CheckAndTree,
    impacts: &[Undecided],
    depends: "",
    summary: "The program unpacks another program and runs that",
    meaning: "Only the outer program was judged. It unpacks another one when it runs: UPX, PyInstaller's one-file \
              mode, AppImage, staticx, Nuitka's one-file mode or an appended file system.",
    example: "A tool was compressed with `upx`. Its libraries are named in the compressed part only.",
    advice: "Unpack it and check the result: `upx -d -o OUT FILE`, or `FILE --appimage-extract` for an AppImage. For \
             the others, record a run (`compat record`).",
};

pub(super) const ISA_TOO_LOW: Entry = Entry {
    name: "isa-too-low",
    topic: Topic::Host,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart, Misbehaves],
    depends: "It does not start if the loader or the program's own start code checks the level (`refused`). Otherwise it \
              ends at the first instruction that the CPU lacks.",
    summary: "The CPU is older than an object says it needs",
    meaning: "The object carries a note with the level of x86-64 that it was built for, or the setting of Go's \
              toolchain (`setting`). The CPU of the host has a lower level.",
    example: "A library was built with `-march=x86-64-v3 -Wl,-z,x86-64-v3`, and the CPU has x86-64-v2.",
    advice: "Use a build for the lower level, or a newer machine. `--cpu` assumes another CPU.",
};

pub(super) const CPU_UNKNOWN: Entry = Entry {
    name: "cpu-unknown",
    topic: Topic::Host,
    shown: Shown::CheckAndTree,
    impacts: &[Undecided],
    depends: "",
    summary: "It is not known whether the CPU has what an object was built for",
    meaning: "A toolchain built the object for a CPU that can do more than every CPU of its machine must. Nothing is \
              known of the CPU of this host.",
    example: "A Go program was built with `GOARM64=v8.2`.",
    advice: "Compare the setting in `wanted` with the CPU of the host, or build for the least CPU of the machine.",
};

pub(super) const KERNEL_TOO_OLD: Entry = Entry {
    name: "kernel-too-old",
    topic: Topic::Host,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart, Warning],
    depends: "It does not start if the start code of a static program checks the kernel (before glibc 2.36). Otherwise \
              it is a warning (`ignored`).",
    summary: "The kernel is older than an object says it needs",
    meaning: "The object carries a note (`.note.ABI-tag`) with the oldest kernel that it was built for. The kernel of \
              the host is older.",
    example: "A static program for Linux 3.2 prints `FATAL: kernel too old` on Linux 2.6.32.",
    advice: "Use a newer kernel or an older build. `--kernel` assumes another kernel.",
};

pub(super) const SEGMENTS_UNUSABLE: Entry = Entry {
    name: "segments-unusable",
    topic: Topic::Start,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart, Misbehaves, Undecided],
    depends: "It does not start if the kernel or the loader refuses the segments (`refused`). It misbehaves if they \
              are mapped and a signal ends the start. With `pageSize` it is undecided: it is so on hosts with pages of \
              that size only.",
    summary: "The kernel or the loader cannot map the segments of an object",
    meaning: "The program headers ask for a mapping that is not possible, for the given `reason`. Often the segments \
              are aligned for smaller pages than the kernel has.",
    example: "A library for aarch64 is aligned to 4 KiB, and the kernel of the host has pages of 64 KiB.",
    advice: "Link again with `-z max-page-size=65536`. If the file is damaged, get it anew. `--page-size` says which \
             pages the host has.",
};

pub(super) const OBJECT_UNKNOWN: Entry = Entry {
    name: "object-unknown",
    topic: Topic::Document,
    shown: Shown::Check,
    impacts: &[Undecided],
    depends: "",
    summary: "The specification says something of an object that this compat does not know",
    meaning: "A newer compat wrote a property of the object that this one cannot judge. That property may keep the \
              object from being loaded.",
    example: "A later version of the format adds a flag for an object.",
    advice: "Check with a newer compat.",
};

pub(super) const EFFORT_EXCEEDED: Entry = Entry {
    name: "effort-exceeded",
    topic: Topic::Document,
    shown: Shown::CheckAndTree,
    impacts: &[Undecided],
    depends: "",
    summary: "The start takes more work than any program is known to need, and was not followed to its end",
    meaning: "The work for one application is limited, so that a hostile file cannot keep compat busy for ever. \
              `effort` says what took too much: libraries, search, symbols or problems.",
    example: "A crafted file needs 100,000 libraries.",
    advice: "Look at the file. If it is a real program, please report it as a fault of compat.",
};
