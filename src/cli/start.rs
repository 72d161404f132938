//! The text that `compat` prints without arguments: the five things that people do most.

/// One command a line, indented; `compat --help` has the complete list.
pub(super) const TEXT: &str = "\
compat reports whether an application or a container image will run on a machine, and why not.

Check an image before you pull it:
  compat check ghcr.io/org/app:1.0

Check a program, a library or a directory on this machine:
  compat check ./app

Find out why a program does not start:
  compat tree ./app/bin/app
  compat explain library-missing

Attach the requirements of an image to it, in CI:
  compat attach --generate ghcr.io/org/app:1.0

Record which files a program uses:
  compat record -o run.jsonl -- ./app/bin/app

`compat --help` lists all commands, and `compat check --help` explains one of them.
";

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Arguments;

    #[test]
    fn every_command_is_one_that_the_program_understands() {
        let commands: Vec<_> = TEXT.lines().filter_map(|line| line.strip_prefix("  ")).collect();
        assert_eq!(commands.len(), 6);
        for command in commands {
            let parsed = Arguments::command().try_get_matches_from(command.split(' '));
            assert!(parsed.is_ok(), "{command}: {parsed:?}");
        }
    }
}
