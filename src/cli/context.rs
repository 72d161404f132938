//! The global options and the output streams, which all subcommands share.

use std::io::{IsTerminal, Write};

use crate::app::Failure;

/// The options of every subcommand.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct GlobalOptions {
    /// Print more to standard error: -v prints each registry request, -vv also its headers (never secrets)
    #[arg(short, long, action = clap::ArgAction::Count, global = true, help_heading = "Global options")]
    pub verbose: u8,

    /// Print only errors to standard error
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Global options")]
    pub quiet: bool,
}

/// The format of a result.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputFormat {
    /// Text for people
    #[default]
    Text,
    /// One JSON document for programs, with a schema in schemas/
    Json,
}

/// The context that every subcommand receives.
#[derive(Debug, Clone)]
pub struct Context {
    /// How much to print to standard error: 0 errors and results, 1 also requests, 2 also headers.
    pub verbosity: u8,
    /// Whether only errors may be printed to standard error.
    pub quiet: bool,
    /// Whether progress may be shown: standard error is a terminal and `--quiet` was not given.
    pub progress: bool,
    /// Whether the program was called by the name of an older one.
    pub old_name: bool,
}

impl Context {
    /// Returns the context for the given options and this process's streams.
    pub fn new(options: &GlobalOptions) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let quiet = options.quiet;
        Self {
            verbosity: options.verbose,
            progress: terminal && !quiet && options.verbose == 0,
            quiet,
            old_name: false,
        }
    }

    /// Prints a note to standard error: the user should know it, but nothing failed.
    pub fn warn(&self, message: &str) {
        if !self.quiet {
            anstream::eprintln!("{}", note(message));
        }
    }

    /// Writes a result to standard output, with terminal styles if it is a terminal.
    ///
    /// # Errors
    ///
    /// If standard output cannot be written (a full disk). A closed pipe is not an error: the reader has seen
    /// enough.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = anstream::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Failure::undecided(&WriteError { source: error }))
            }
            _ => Ok(()),
        }
    }

    /// Writes a document as indented JSON with a final newline.
    ///
    /// # Errors
    ///
    /// As [`Context::print`].
    pub fn print_json(&self, document: &impl serde::Serialize) -> Result<(), Failure> {
        let mut text = serde_json::to_string_pretty(document).map_err(|error| Failure::undecided(&error))?;
        text.push('\n');
        self.print(&text)
    }
}

/// Returns a note as text, with terminal styles. Names in it may come from strangers.
fn note(message: &str) -> String {
    let style = anstyle::AnsiColor::Yellow.on_default().bold();
    format!("{style}note{style:#}: {}", super::report::printable(message))
}

#[derive(Debug, thiserror::Error)]
#[error("could not write to standard output")]
struct WriteError {
    source: std::io::Error,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::report::STEERING;

    #[test]
    fn a_note_does_not_steer_the_terminal() {
        let text = note(STEERING);
        assert!(text.ends_with(r": lib\u{1b}[31mX\u{9b}m\u{202e}\xff.so"), "{text:?}");
    }
}
