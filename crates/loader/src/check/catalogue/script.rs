//! Kinds about scripts and what interpreters run.

use super::{Entry, Shown, Topic};
use crate::check::Impact::{DoesNotStart, Undecided, Warning};

pub(super) const SCRIPT_TOO_DEEP: Entry = Entry {
    name: "script-too-deep",
    topic: Topic::Script,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart],
    depends: "",
    summary: "A script leads through too many other scripts",
    meaning: "The interpreter of a script may be a script itself. The kernel follows five levels and then refuses with \
              ELOOP.",
    example: "Two scripts name each other in their `#!` lines.",
    advice: "Name a real program in the first line of the script.",
};

pub(super) const PROGRAM_MISSING: Entry = Entry {
    name: "program-missing",
    topic: Topic::Script,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart],
    depends: "",
    summary: "A script starts a program that is missing",
    meaning: "The script asks `env` for a program that is not in PATH, or its text ends with a command that is missing \
              (`byScript`). `searched` lists the directories.",
    example: "The first line is `#!/usr/bin/env python`, and the host has only `python3`.",
    advice: "Install the program, correct its name, or set PATH. A script with Windows line endings has to be \
             converted (`dos2unix FILE`).",
};

pub(super) const SCRIPT_FAILS: Entry = Entry {
    name: "script-fails",
    topic: Topic::Script,
    shown: Shown::CheckAndTree,
    impacts: &[DoesNotStart],
    depends: "",
    summary: "The first line of a script starts nothing",
    meaning: "`env` or the shell refuses the argument in the first line, or `env` would start the script itself again. \
              `reason` is what it would print.",
    example: "`#!/usr/bin/env python3 -u` without `-S`: `env` looks for a program named `python3 -u`.",
    advice: "Correct the first line, for example `#!/usr/bin/env -S python3 -u`.",
};

pub(super) const SCRIPT_NOT_FOLLOWED: Entry = Entry {
    name: "script-not-followed",
    topic: Topic::Script,
    shown: Shown::CheckAndTree,
    impacts: &[Undecided, Warning],
    depends: "It is undecided if an image runs nothing but this script, and a warning otherwise.",
    summary: "What a script does was not looked at, or not all of it",
    meaning: "The interpreter starts, and that was checked. The text of a script is followed only as far as its last \
              command is certain (`started`). Branches, loops and other interpreters' scripts are not followed.",
    example: "A Python script, or a shell script with `if [ -f X ]; then exec app; fi`.",
    advice: "Name the programs that it starts, too, or record a run (`compat record`).",
};

pub(super) const INTERPRETED: Entry = Entry {
    name: "interpreted",
    topic: Topic::Script,
    shown: Shown::Check,
    impacts: &[Warning],
    depends: "",
    summary: "The command of an image starts an interpreter, and what that runs was not looked at",
    meaning: "The interpreter itself (`object`) was checked. The file, module or text that it runs (`what`) was not. \
              With `missing`, the image does not have the file.",
    example: "The command of an image is `python3 /app/main.py`.",
    advice: "Record a run (`compat record`) to include the modules that it loads. A missing file may be mounted when \
             the image is run.",
};
