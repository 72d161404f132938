//! Kinds of findings about scripts and the files that interpreters run.

use super::{Entry, Shown, Topic};
use crate::check::Impact::{DoesNotStart, Undecided, Warning};

pub(super) const SCRIPT_TOO_DEEP: Entry = Entry {
    name: "script-too-deep",
    topic: Topic::Script,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart],
    depends: "",
    summary: "The interpreters of a script are scripts themselves, too many levels deep",
    meaning: "The interpreter of a script can be a script itself. The kernel follows five levels and then fails with \
              ELOOP.",
    example: "Two scripts name each other in their `#!` lines.",
    advice: "Name a binary program in the first line of the script.",
};

pub(super) const PROGRAM_MISSING: Entry = Entry {
    name: "program-missing",
    topic: Topic::Script,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart],
    depends: "",
    summary: "A script starts a program that is missing",
    meaning: "The script runs a program through `env` that is not in PATH, or its last command is missing \
              (`byScript` in the JSON report, in which `searched` lists the directories that were searched).",
    example: "The first line is `#!/usr/bin/env python`, and the host has only `python3`.",
    advice: "Install the program, correct its name, or set PATH. Convert a script that has Windows line endings \
             (`dos2unix FILE`).",
};

pub(super) const SCRIPT_FAILS: Entry = Entry {
    name: "script-fails",
    topic: Topic::Script,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart],
    depends: "",
    summary: "The #! line of a script cannot start its program",
    meaning: "`env` or the shell rejects the argument in the first line, or `env` would start the same script again. \
              The finding contains the message that it would print.",
    example: "`#!/usr/bin/env python3 -u` lacks `-S`, so `env` looks for a program named `python3 -u`.",
    advice: "Correct the first line, for example `#!/usr/bin/env -S python3 -u`.",
};

pub(super) const SCRIPT_NOT_FOLLOWED: Entry = Entry {
    name: "script-not-followed",
    topic: Topic::Script,
    shown: Shown::CheckAndTree,
    impacts: &[Undecided, Warning],
    depends: "It is undecided if the image runs only this script, and a warning otherwise.",
    summary: "The commands of a script were not checked, or not all of them",
    meaning: "The interpreter of the script was checked, and it starts. In shell scripts, compat also checks the \
              program that the script runs last, if that is certain (`started` in the JSON report). It does not follow branches, loops \
              or scripts of other interpreters.",
    example: "A Python script, or a shell script with `if [ -f X ]; then exec app; fi`.",
    advice: "Pass the programs that the script starts to `compat check` as well, or record a run (`compat record`).",
};

pub(super) const INTERPRETED: Entry = Entry {
    name: "interpreted",
    topic: Topic::Script,
    shown: Shown::Check,
    impacts: &[Warning],
    depends: "",
    summary: "The command of an image starts an interpreter, and the program that it interprets was not checked",
    meaning: "The interpreter itself was checked. The file, module or text that it runs was not. In the JSON report, \
              `missing` is set if the image does not contain the file.",
    example: "The command of an image is `python3 /app/main.py`.",
    advice: "Record a run (`compat record`) to include the modules that it loads. If the file is missing, add it to \
             the image or mount it when the container starts.",
};
