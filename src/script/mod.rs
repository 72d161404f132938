//! The bytes of a script -> what it starts, without running it: its first line as the kernel reads it, what
//! `env` makes of that, and how far a shell's text can be followed.
//!
//! No I/O. Sources: execve(2), "Interpreter scripts"; coreutils' `env`; POSIX.1-2024, Shell Command Language.

mod env;
mod lexer;
mod line;
mod shell;

pub use env::{Env, Kind as EnvKind};
pub use line::{ParsedScript, parse_script, why_none};
pub use shell::{ARGUMENTS, Body, LONGEST, OWN_DIRECTORY, UNKNOWN};

/// Shells whose text is read as POSIX says.
const SHELLS: [&str; 9] = ["sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "rbash", "busybox"];

/// Programs that only start the one that their arguments name.
const WRAPPERS: [&str; 19] = [
    "tini",
    "tini-static",
    "dumb-init",
    "catatonit",
    "docker-init",
    "env",
    "exec",
    "gosu",
    "su-exec",
    "nice",
    "ionice",
    "nohup",
    "setsid",
    "setpriv",
    "stdbuf",
    "time",
    "timeout",
    "taskset",
    "numactl",
];

/// Whether a program of this name is a shell.
pub fn is_shell(name: &str) -> bool {
    SHELLS.contains(&name)
}

/// Whether a program of this name only starts the one that its arguments name.
pub fn is_wrapper(name: &str) -> bool {
    WRAPPERS.contains(&name)
}
