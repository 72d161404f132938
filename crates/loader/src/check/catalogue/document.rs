//! Kinds about documents, sources and what the report itself leaves out.

use super::{Entry, Shown, Topic};
use crate::check::Impact::{DoesNotStart, Misbehaves, Note, Undecided, Warning};

pub(super) const NAMES_ONLY: Entry = Entry {
    name: "names-only",
    topic: Topic::Document,
    shown: Shown::Check,
    impacts: &[Note],
    depends: "",
    summary: "The document has only the names of libraries",
    meaning: "Versions and symbols were not compared, because the document lists none. A verdict by names is often \
              wrong on older hosts.",
    example: "The document was made with `compat gen --names-only`, or by compat-lib 0.0.1.",
    advice: "Make the specification anew with `compat gen`.",
};

pub(super) const NOTHING_TO_CHECK: Entry = Entry {
    name: "nothing-to-check",
    topic: Topic::Document,
    shown: Shown::Check,
    impacts: &[Undecided],
    depends: "",
    summary: "The document names nothing that can be checked",
    meaning: "It has no program, library or name. Of a directory, every file may be for other hosts.",
    example: "A specification that holds nothing but its `version`.",
    advice: "Name the programs themselves, or make the specification anew.",
};

pub(super) const SOURCE_FAILED: Entry = Entry {
    name: "source-failed",
    topic: Topic::Document,
    shown: Shown::Check,
    impacts: &[Undecided],
    depends: "",
    summary: "A source could not be read",
    meaning: "Other sources were checked. `reason` says what failed, and `hint` what may help. Nothing is known of this \
              source.",
    example: "`compat check ./app ghcr.io/org/tool:1.0`, and the registry does not answer.",
    advice: "Mend the cause and check again.",
};

pub(super) const FINDINGS_LEFT_OUT: Entry = Entry {
    name: "findings-left-out",
    topic: Topic::Document,
    shown: Shown::Check,
    impacts: &[DoesNotStart, Misbehaves, Undecided, Warning, Note],
    depends: "It is that of the worst finding that was left out.",
    summary: "There are more findings than a report keeps",
    meaning: "A report keeps 5000 findings. `count` says how many more there are, and they count for the verdict.",
    example: "A directory of thousands of libraries is checked on a host with another C library.",
    advice: "Mend what the first findings show, and check again.",
};

pub(super) const REQUIREMENT_UNKNOWN: Entry = Entry {
    name: "requirement-unknown",
    topic: Topic::Document,
    shown: Shown::Check,
    impacts: &[Undecided],
    depends: "",
    summary: "The document asks something of the host that this compat does not know",
    meaning: "A newer compat wrote a requirement that this one cannot judge.",
    example: "A later version of the format adds requirements on another kind of driver.",
    advice: "Check with a newer compat.",
};

pub(super) const NEWER_DOCUMENT: Entry = Entry {
    name: "newer-document",
    topic: Topic::Document,
    shown: Shown::Check,
    impacts: &[Undecided],
    depends: "",
    summary: "The specification has a newer minor version than this compat knows",
    meaning: "It was read, but it may say things that this compat does not know. So nothing is certain.",
    example: "The document was made with the newest compat, and an older one checks it.",
    advice: "Check with a newer compat.",
};
