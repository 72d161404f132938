//! Kinds of findings about the start of a program: the kernel, the machine, the file and its interpreter.

use super::{Entry, Shown, Topic};
use crate::check::Impact::{DoesNotStart, Misbehaves, Undecided, Warning};

pub(super) const WRONG_MACHINE: Entry = Entry {
    name: "wrong-machine",
    topic: Topic::Start,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart],
    depends: "",
    summary: "The program is for another machine",
    meaning: "The kernel refuses to execute the file: its ELF header names a machine or word size that the host does \
              not have. No emulator is registered for it (binfmt_misc).",
    example: "A program for aarch64 is checked on an x86_64 host. The shell would print `Exec format error`.",
    advice: "Use the build for this machine. For a multi-platform image, `compat select` prints the manifest that \
             fits.",
};

pub(super) const NOT_A_PROGRAM: Entry = Entry {
    name: "not-a-program",
    topic: Topic::Start,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart, Undecided],
    depends: "It is undecided if the host is a saved profile that does not record the file.",
    summary: "The file cannot be started as a program",
    meaning: "The file is neither an ELF program nor a script with a `#!` line, or it cannot be read. The finding gives \
              the details.",
    example: "The entrypoint of an image is a text file without `#!`, or a script that begins with a byte order \
              mark.",
    advice: "Check the path. If the file is a script, make `#!/bin/sh` or similar its first line.",
};

pub(super) const INTERPRETER_MISSING: Entry = Entry {
    name: "interpreter-missing",
    topic: Topic::Start,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart, Undecided],
    depends: "It is undecided if the host is a saved profile that does not record the path.",
    summary: "The dynamic loader or the script interpreter is missing or not executable",
    meaning: "The kernel starts the interpreter that the file names: the dynamic loader of a program (PT_INTERP), or \
              the path after `#!` in a script. That file is missing on the host or cannot be executed.",
    example: "A program for glibc names `/lib64/ld-linux-x86-64.so.2`, and the host is Alpine Linux. The shell \
              prints `No such file or directory`, although the program exists.",
    advice: "Install the interpreter, or build the program for the C library of the host. Convert a script that has \
             Windows line endings (`dos2unix FILE`).",
};

pub(super) const INTERPRETER_UNKNOWN: Entry = Entry {
    name: "interpreter-unknown",
    topic: Topic::Start,
    shown: Shown::CheckAndTree,
    impacts: &[Undecided],
    depends: "",
    summary: "The program names a loader that is neither glibc's nor musl's",
    meaning: "The kernel starts any file that a program names as its loader. compat does not know the rules of this \
              loader, so it did not check the libraries.",
    example: "The program was linked with `-Wl,--dynamic-linker=/opt/tool/loader`.",
    advice: "Record a run on a machine that can execute it (`compat record`), or check the libraries by hand.",
};

pub(super) const EMULATED: Entry = Entry {
    name: "emulated",
    topic: Topic::Start,
    shown: Shown::CheckAndTree,
    impacts: &[Undecided, Warning],
    depends: "It is a warning if the emulator is QEMU, and undecided if it is another program.",
    summary: "The program is for another machine, and the kernel runs it in an emulator",
    meaning: "The kernel passes files of this kind to a registered program (binfmt_misc). Under QEMU, programs load \
              as on their own machine, so the libraries were checked. compat does not know how other emulators \
              behave.",
    example: "An aarch64 program runs on an x86_64 host with `qemu-aarch64-static`.",
    advice: "If emulation is intended, do nothing. Otherwise use the build for this machine, which is much faster.",
};

pub(super) const MACHINE_UNCERTAIN: Entry = Entry {
    name: "machine-uncertain",
    topic: Topic::Start,
    shown: Shown::CheckAndTree,
    impacts: &[Undecided],
    depends: "",
    summary: "It could not be decided whether the kernel runs programs of this kind",
    meaning: "Programs with 32-bit addresses on x86-64 (x32) need a kernel that was built with support for them. The \
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
    summary: "The file has no execute permission, or its file system is mounted noexec",
    meaning: "The kernel refuses to execute the file. On this machine, the permission of the current user is checked. In an \
              image, it is checked for the user in the image's configuration.",
    example: "An image contains `/app/run.sh` with mode 0644. The container would stop with `permission denied`.",
    advice: "Set the permission (`chmod +x FILE`), or mount the file system without `noexec`.",
};

pub(super) const PACKED: Entry = Entry {
    name: "packed",
    topic: Topic::Start,
    shown: Shown::CheckAndTree,
    impacts: &[Undecided],
    depends: "",
    summary: "The program unpacks another program and runs it",
    meaning: "Only the outer program was checked. It was made by UPX, PyInstaller (one-file mode), AppImage, staticx \
              or Nuitka (one-file mode), or carries an appended file system. The program inside was not checked.",
    example: "A tool was compressed with `upx`. The names of its libraries are in the compressed part.",
    advice: "Unpack it and check the result: `upx -d -o OUT FILE`, or `FILE --appimage-extract` for an AppImage. For \
             the others, record a run (`compat record`).",
};

pub(super) const ISA_TOO_LOW: Entry = Entry {
    name: "isa-too-low",
    topic: Topic::Host,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart, Misbehaves],
    depends: "It does not start if the loader or the program's start code checks the level (`refused` in the JSON report). Otherwise it \
              crashes at the first instruction that the CPU lacks.",
    summary: "An object needs a newer CPU than the host has",
    meaning: "The object contains a note with the x86-64 level that it was built for, or a setting of the Go \
              toolchain (`setting` in the JSON report). The CPU of the host has a lower level.",
    example: "A library was built with `-march=x86-64-v3 -Wl,-z,x86-64-v3`, and the CPU has x86-64-v2.",
    advice: "Use a build for the lower level, or a newer machine. To check for another CPU, use `--cpu`.",
};

pub(super) const CPU_UNKNOWN: Entry = Entry {
    name: "cpu-unknown",
    topic: Topic::Host,
    shown: Shown::CheckAndTree,
    impacts: &[Undecided],
    depends: "",
    summary: "It could not be decided whether the CPU has the features that an object was built for",
    meaning: "The object was built for CPU features that not every CPU of its architecture has. The features of the \
              host's CPU are not known.",
    example: "A Go program was built with `GOARM64=v8.2`.",
    advice: "Compare the setting in the finding with the CPU of the host, or build for the architecture's baseline.",
};

pub(super) const KERNEL_TOO_OLD: Entry = Entry {
    name: "kernel-too-old",
    topic: Topic::Host,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart, Warning],
    depends: "It does not start if it is a static program whose start code checks the kernel (glibc before 2.36). \
              Otherwise it is a warning (`ignored` in the JSON report).",
    summary: "An object needs a newer kernel than the host has",
    meaning: "The object contains a note (`.note.ABI-tag`) with the oldest kernel that it supports. The kernel of \
              the host is older.",
    example: "A static program for Linux 3.2 prints `FATAL: kernel too old` on Linux 2.6.32.",
    advice: "Use a newer kernel or an older build. To check for another kernel, use `--kernel`.",
};

pub(super) const SEGMENTS_UNUSABLE: Entry = Entry {
    name: "segments-unusable",
    topic: Topic::Start,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart, Misbehaves, Undecided],
    depends: "It does not start if the kernel or the loader refuses the segments (`refused` in the JSON report). It misbehaves if they \
              are mapped and a signal kills the program at its start. It is undecided if the finding has `pageSize` in \
              the JSON report: then only hosts with pages of that size are affected.",
    summary: "The kernel or the loader cannot map the segments of an object",
    meaning: "The program headers describe a mapping that is impossible. The finding gives the cause. Often the \
              segments are aligned for smaller pages than the kernel uses.",
    example: "A library for aarch64 is aligned to 4 KiB, and the kernel of the host uses pages of 64 KiB.",
    advice: "Link again with `-z max-page-size=65536`. If the file is damaged, replace it. If the page size of the \
             host is not known, set it with `--page-size`.",
};

pub(super) const OBJECT_UNKNOWN: Entry = Entry {
    name: "object-unknown",
    topic: Topic::Document,
    shown: Shown::Check,
    impacts: &[Undecided],
    depends: "",
    summary: "The specification describes an object with a property that this version of compat does not understand",
    meaning: "A newer version of compat wrote the specification. The unknown property may keep the object from being loaded.",
    example: "A later version of the format adds a flag for an object.",
    advice: "Check with a newer version of compat.",
};

pub(super) const EFFORT_EXCEEDED: Entry = Entry {
    name: "effort-exceeded",
    topic: Topic::Document,
    shown: Shown::CheckAndTree,
    impacts: &[Undecided],
    depends: "",
    summary: "The check stopped early, because the program takes more work than any known program",
    meaning: "compat limits the work for one application, so that a hostile file cannot keep it busy forever. \
              In the JSON report, `effort` names the limit that was reached: libraries, search, symbols or problems.",
    example: "A crafted file needs 100,000 libraries.",
    advice: "Inspect the file. If it is a real program, please report a bug in compat.",
};
