//! Kinds of findings about the libraries and programs of recorded runs.

use super::{Entry, Shown, Topic};
use crate::check::Impact::{Note, Undecided, Warning};

const DEPENDS: &str = "It is the impact of the problem that the recording led to, but at most undecided, because a run may use a file \
                       that it does not need.";

pub(super) const RECORDED_LIBRARY: Entry = Entry {
    name: "recorded-library",
    topic: Topic::Recorded,
    shown: Shown::Check,
    impacts: &[Undecided, Warning, Note],
    depends: DEPENDS,
    summary: "A library that recorded runs loaded would not load on this host",
    meaning: "The recording shows a library that the program opened while it ran. In the JSON report, `problem` is the \
              finding about the library. It was loaded in `seen` of `runs` recorded runs.",
    example: "A recorded run of Python loaded `_ssl.so`, which needs `libssl.so.3`. The host lacks `libssl.so.3`.",
    advice: "Follow the advice for that problem. If the application works without the library, accept the \
             verdict with `--accept-undecided`.",
};

pub(super) const RECORDED_PROGRAM: Entry = Entry {
    name: "recorded-program",
    topic: Topic::Recorded,
    shown: Shown::Check,
    impacts: &[Undecided, Warning, Note],
    depends: DEPENDS,
    summary: "A program that recorded runs executed would not start on this host",
    meaning: "The recording shows a program that the application executed. In the JSON report, `problem` is the finding \
              that keeps it from starting. It was executed in `seen` of `runs` recorded runs.",
    example: "A recorded run executed `/usr/bin/git`, which the host does not have.",
    advice: "Follow the advice for that problem. If the application works without the program, accept the \
             verdict with `--accept-undecided`.",
};

pub(super) const RECORDED_PROGRAM_UNKNOWN: Entry = Entry {
    name: "recorded-program-unknown",
    topic: Topic::Recorded,
    shown: Shown::Check,
    impacts: &[Undecided],
    depends: "",
    summary: "It could not be decided whether a program that recorded runs executed would work on this host",
    meaning: "Either the program no longer existed when the specification was made (`gone` in the JSON report), or it loaded libraries \
              by itself, because it is linked statically or is a dynamic loader (`own-loader`).",
    example: "A build ran a compiled test program and removed it afterwards.",
    advice: "Run `compat gen --from-recording` while the program still exists, or record a run without it.",
};
