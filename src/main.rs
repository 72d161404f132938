//! The `compat` program: everything it does is in the library's [`compat::cli`].

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    compat::cli::main(std::env::args_os())
}
