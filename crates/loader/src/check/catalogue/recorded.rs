//! Kinds about what recorded runs loaded and executed.

use super::{Entry, Shown, Topic};
use crate::check::Impact::{Note, Undecided, Warning};

const DEPENDS: &str = "It is what the inner problem has, but undecided at the worst: a run tried the file, and may not \
                       need it.";

pub(super) const RECORDED_LIBRARY: Entry = Entry {
    name: "recorded-library",
    topic: Topic::Recorded,
    shown: Shown::Check,
    impacts: &[Undecided, Warning, Note],
    depends: DEPENDS,
    summary: "A library that recorded runs loaded would not load here",
    meaning: "The recording shows a library that the program opened while it ran. `problem` says what the loader \
              objects to, and `seen` of `runs` in how many runs it was loaded.",
    example: "A recorded run of Python loaded `_ssl.so`, which needs `libssl.so.3`, and the host lacks that.",
    advice: "Follow the advice for the kind of `problem`. If the application can do without the library, accept the verdict \
             with `--accept-undecided`.",
};

pub(super) const RECORDED_PROGRAM: Entry = Entry {
    name: "recorded-program",
    topic: Topic::Recorded,
    shown: Shown::Check,
    impacts: &[Undecided, Warning, Note],
    depends: DEPENDS,
    summary: "A program that recorded runs executed would not start here",
    meaning: "The recording shows a program that the application executed. `problem` says what keeps it from starting, and \
              `seen` of `runs` in how many runs it was executed.",
    example: "A recorded run executed `/usr/bin/git`, which the host does not have.",
    advice: "Follow the advice for the kind of `problem`. If the application can do without the program, accept the verdict \
             with `--accept-undecided`.",
};

pub(super) const RECORDED_PROGRAM_UNKNOWN: Entry = Entry {
    name: "recorded-program-unknown",
    topic: Topic::Recorded,
    shown: Shown::Check,
    impacts: &[Undecided],
    depends: "",
    summary: "It is not known what a program that recorded runs executed would do here",
    meaning: "The program was gone when the specification was made (`gone`). Or it loaded libraries by itself, without a \
              loader whose rules are known (`own-loader`).",
    example: "A build ran a compiled test program and removed it afterwards.",
    advice: "Make the specification while the program is there, or leave it out of the recording.",
};
