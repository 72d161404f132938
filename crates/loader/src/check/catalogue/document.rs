//! Kinds of findings about specifications, sources and the limits of the report.

use super::{Entry, Shown, Topic};
use crate::check::Impact::{DoesNotStart, Misbehaves, Note, Undecided, Warning};

pub(super) const NAMES_ONLY: Entry = Entry {
    name: "names-only",
    topic: Topic::Document,
    shown: Shown::Check,
    impacts: &[Note],
    depends: "",
    summary: "The specification lists only the names of libraries",
    meaning: "Versions and symbols were not compared, because the specification lists none. A verdict from names is \
              often wrong on older hosts.",
    example: "The specification was made with `compat gen --names-only`, or by compat-lib 0.0.1.",
    advice: "Generate the specification again with `compat gen`.",
};

pub(super) const NOTHING_TO_CHECK: Entry = Entry {
    name: "nothing-to-check",
    topic: Topic::Document,
    shown: Shown::Check,
    impacts: &[Undecided],
    depends: "",
    summary: "There is nothing to check in the specification or directory",
    meaning: "The specification names no program and no library. If a directory was checked, all its files may be \
              for other hosts.",
    example: "A specification contains only its `version`.",
    advice: "Name the programs on the command line, or generate the specification again.",
};

pub(super) const SOURCE_FAILED: Entry = Entry {
    name: "source-failed",
    topic: Topic::Document,
    shown: Shown::Check,
    impacts: &[Undecided],
    depends: "",
    summary: "A source could not be read",
    meaning: "The other sources were checked, but this one was not. In the JSON report, `reason` gives the error, and `hint` a possible \
              remedy.",
    example: "The registry does not answer during `compat check ./app ghcr.io/org/tool:1.0`.",
    advice: "Fix the cause and run the check again.",
};

pub(super) const FINDINGS_LEFT_OUT: Entry = Entry {
    name: "findings-left-out",
    topic: Topic::Document,
    shown: Shown::Check,
    impacts: &[DoesNotStart, Misbehaves, Undecided, Warning, Note],
    depends: "It is the impact of the worst finding that was left out.",
    summary: "More was found than the report can list",
    meaning: "A report lists at most 5000 findings. In the JSON report, `count` is the number of further findings. They count for the \
              verdict.",
    example: "A directory of thousands of libraries is checked on a host with another C library.",
    advice: "Fix the listed findings first, and run the check again.",
};

pub(super) const REQUIREMENT_UNKNOWN: Entry = Entry {
    name: "requirement-unknown",
    topic: Topic::Document,
    shown: Shown::Check,
    impacts: &[Undecided],
    depends: "",
    summary: "The specification has a requirement that this version of compat does not understand",
    meaning: "A newer version of compat wrote the requirement. This version cannot decide whether the host meets it.",
    example: "A later version of the format adds requirements for another kind of driver.",
    advice: "Check with a newer version of compat.",
};

pub(super) const NEWER_DOCUMENT: Entry = Entry {
    name: "newer-document",
    topic: Topic::Document,
    shown: Shown::Check,
    impacts: &[Undecided],
    depends: "",
    summary: "The specification has a newer minor version than this version of compat knows",
    meaning: "The specification was read, but it may contain statements that this version of compat does not understand. So the \
              verdict is never better than undecided.",
    example: "The specification was made with the newest compat, and an older one checks it.",
    advice: "Check with a newer version of compat.",
};
