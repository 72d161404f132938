//! Determines the programs that a script starts, without running it: from its first line as the kernel reads
//! it, from the rules of `env`, and from the shell commands that can be followed.
//!
//! No I/O. Sources: execve(2), "Interpreter scripts". Coreutils' `env`. POSIX.1-2024, Shell Command Language.

mod env;
mod interpreter;
mod lexer;
mod line;
mod refusal;
mod shell;

pub use env::{Env, EnvKind};
pub use interpreter::{Interpreted, interpreted};
pub use line::{ParsedScript, parse_script, why_none};
pub use refusal::Refusal;
pub use shell::{ARGUMENTS, Body, LONGEST, OWN_DIRECTORY, UNKNOWN};

/// Shells that follow POSIX.
const SHELLS: [&str; 9] = ["sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "rbash", "busybox"];

/// Programs that only start the program in their arguments.
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

/// Programs that run their arguments in a way that is not followed: programs that change the root or the
/// machine, and interpreters of other languages, with an optional version after the name.
const RUNNERS: [&str; 15] = [
    "chroot", "linux32", "linux64", "setarch", "unshare", "nsenter", "python", "pypy", "perl", "ruby",
    "node", "nodejs", "java", "php", "lua",
];

/// Whether a program of this name is a dynamic loader, which starts the program in its arguments.
pub fn is_dynamic_loader(name: &str) -> bool {
    ["ld-linux", "ld-musl", "ld.so", "ld64.so"].iter().any(|beginning| name.starts_with(beginning))
}

/// Whether a program of this name runs its arguments in a way that is not followed.
pub fn runs_arguments(name: &str) -> bool {
    let is_version = |rest: &str| !rest.starts_with(|letter: char| letter.is_ascii_alphabetic());
    is_dynamic_loader(name) || RUNNERS.iter().any(|runner| name.strip_prefix(runner).is_some_and(is_version))
}

/// Whether a program of this name is a shell.
pub fn is_shell(name: &str) -> bool {
    SHELLS.contains(&name)
}

/// Whether a program of this name only starts the program in its arguments.
pub fn is_wrapper(name: &str) -> bool {
    WRAPPERS.contains(&name)
}
