//! `compat completions` and `compat man`: shell completions and manual pages, generated from the arguments.

use std::path::PathBuf;

use clap::CommandFactory;

use crate::app::{Failure, output};
use crate::cli::{Context, Exit};

/// Print a shell completion script
///
/// Examples: `compat completions bash > /etc/bash_completion.d/compat`,
/// `compat completions fish > ~/.config/fish/completions/compat.fish`
#[derive(clap::Args, Debug)]
pub struct CompletionArguments {
    /// The shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

/// Print or write the manual pages
#[derive(clap::Args, Debug)]
pub struct ManArguments {
    /// Write a page for each subcommand into DIR, which is created if needed (default: print the page of
    /// compat)
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
}

/// Prints a completion script.
///
/// # Errors
///
/// If standard output cannot be written.
pub(super) fn completions(arguments: &CompletionArguments, context: &Context) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut super::Arguments::command(), "compat", &mut script);
    context.print(&String::from_utf8_lossy(&script)).map(|()| Exit::Success)
}

/// Prints or writes the manual pages.
///
/// # Errors
///
/// If standard output or a page cannot be written.
pub(super) fn man(arguments: &ManArguments, context: &Context) -> Result<Exit, Failure> {
    let mut command = super::Arguments::command();
    command.build();
    let Some(directory) = &arguments.write else {
        let page = page(&command)?;
        return context.print(&page).map(|()| Exit::Success);
    };
    output::make_directory(directory)?;
    for (name, page) in pages(&command)? {
        output::write_file(&directory.join(format!("{name}.1")), page.as_bytes())?;
    }
    Ok(Exit::Success)
}

/// Returns the pages of a command and of all commands below it, by name: `compat`, `compat-trace`,
/// `compat-trace-summary`.
fn pages(command: &clap::Command) -> Result<Vec<(String, String)>, Failure> {
    let name = command.get_display_name().unwrap_or("compat").to_owned();
    let own = page(&command.clone().name(name.clone()))?;
    let mut all = vec![(name, own)];
    for subcommand in command.get_subcommands() {
        let is_help = subcommand.get_name() == "help";
        if !subcommand.is_hide_set() && !is_help {
            all.extend(pages(subcommand)?);
        }
    }
    Ok(all)
}

fn page(command: &clap::Command) -> Result<String, Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page).map_err(|error| Failure::undecided(&error))?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_subcommands_have_pages() {
        let mut command = crate::cli::Arguments::command();
        command.build();
        let pages = pages(&command).expect("pages");
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        for name in ["compat", "compat-check", "compat-trace", "compat-trace-summary", "compat-cache-prune"] {
            assert!(names.contains(&name), "{name} is not among {names:?}");
        }
        assert!(names.iter().all(|name| !name.contains("help")), "{names:?}");
        let (_, page) = pages.iter().find(|(name, _)| name == "compat-trace-files").expect("a page");
        assert!(page.contains("compat\\-trace\\-files"), "{page}");
    }
}
