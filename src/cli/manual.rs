//! `compat completions` and `compat man`: what shells and `man` read, generated from the arguments.

use std::path::PathBuf;

use clap::CommandFactory;

use crate::cli::{Context, Exit, Failure, r#gen};

/// Print the completion script of a shell
///
/// Examples: `compat completions bash > /etc/bash_completion.d/compat`,
/// `compat completions fish > ~/.config/fish/completions/compat.fish`
#[derive(clap::Args, Debug)]
pub struct CompletionArguments {
    /// The shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

/// Write the manual pages
#[derive(clap::Args, Debug)]
pub struct ManArguments {
    /// Write one page for each subcommand into DIR, which is made; without it, print the page of compat itself
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
}

/// Prints a completion script.
///
/// # Errors
///
/// Where standard output cannot be written.
pub fn completions(arguments: &CompletionArguments, context: &Context) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut super::Arguments::command(), "compat", &mut script);
    context.print(&String::from_utf8_lossy(&script)).map(|()| Exit::Success)
}

/// Prints or writes the manual pages.
///
/// # Errors
///
/// Where they cannot be written.
pub fn man(arguments: &ManArguments, context: &Context) -> Result<Exit, Failure> {
    let mut command = super::Arguments::command();
    command.build();
    let Some(folder) = &arguments.write else {
        let page = page(&command)?;
        return context.print(&page).map(|()| Exit::Success);
    };
    r#gen::make_folder(folder)?;
    let subcommands = command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set());
    for subcommand in std::iter::once(&command).chain(subcommands) {
        let name = subcommand.get_display_name().unwrap_or("compat").to_owned();
        let page = page(&subcommand.clone().name(name.clone()))?;
        r#gen::write_file(&folder.join(format!("{name}.1")), page.as_bytes())?;
    }
    Ok(Exit::Success)
}

fn page(command: &clap::Command) -> Result<String, Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page).map_err(|error| Failure::undecided(&error))?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}
