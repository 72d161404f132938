//! The `compat` program: everything it does is in the library's [`compat::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    compat::cli::main(std::env::args_os())
}
