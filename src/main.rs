//! The `compat` program. All its code is in [`compat::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    compat::cli::main(std::env::args_os())
}
