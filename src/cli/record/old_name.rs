//! The command line of compat-lib's `fs-record`, parsed by Go's `flag` package: long options have one dash or two,
//! switches can have a value (`-read-only=false`), and the options end at the first word that is not an option.

use std::ffi::OsString;

/// Options with a value: those of the old program (`mount-path`, `out`, `out-dir`) and ours.
const VALUES: &[&str] =
    &["mount-path", "out", "out-dir", "format", "workdir", "include", "exclude", "mpi-wait", "mpi-dir"];

/// Switches: those of the old program (`mount`, `mpi`, `read-only`) and ours.
const SWITCHES: &[&str] =
    &["mount", "mpi", "read-only", "count-bytes", "summary", "help", "quiet", "verbose", "version"];

/// Rewrites the options before the command in our form: `-out FILE`, `-out=FILE`, `-mpi`, `-read-only=true`. The first
/// argument is the name of the program.
pub(crate) fn with_long_options(arguments: &mut Vec<OsString>) {
    let mut position = 1;
    while let Some(text) = arguments.get(position).and_then(|argument| argument.to_str()) {
        let Some(option) = text.strip_prefix('-').filter(|option| !matches!(*option, "" | "-")) else {
            return;
        };
        let option = option.strip_prefix('-').unwrap_or(option);
        let (name, value) =
            option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
        let rewritten = match (SWITCHES.contains(&name), value.map(is_true)) {
            (true, Some(Some(false))) => None,
            (true, Some(Some(true))) => Some(format!("--{name}")),
            _ if SWITCHES.contains(&name) || VALUES.contains(&name) => Some(format!("--{option}")),
            _ => Some(text.to_owned()),
        };
        let takes_next = value.is_none() && (VALUES.contains(&name) || text == "-o");
        match rewritten {
            Some(rewritten) => {
                arguments[position] = rewritten.into();
                position += 1 + usize::from(takes_next);
            }
            None => {
                arguments.remove(position);
            }
        }
    }
}

/// Parses a value like Go's `strconv.ParseBool`.
fn is_true(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(arguments: &[&str]) -> Vec<String> {
        let mut arguments: Vec<OsString> = arguments.iter().map(Into::into).collect();
        with_long_options(&mut arguments);
        arguments.into_iter().map(|argument| argument.into_string().expect("text")).collect()
    }

    #[test]
    fn the_old_options_have_one_dash_or_two() {
        let old =
            ["fs-record", "-mount-path", "/m", "-out", "x", "--out-dir=d", "-mpi", "-mount", "ls", "-out"];
        let new = [
            "fs-record",
            "--mount-path",
            "/m",
            "--out",
            "x",
            "--out-dir=d",
            "--mpi",
            "--mount",
            "ls",
            "-out",
        ];
        assert_eq!(rewritten(&old), new);
    }

    #[test]
    fn switches_may_have_a_value() {
        let old = ["fs-record", "-read-only=false", "-mpi=T", "--read-only=true", "-mount=x", "ls"];
        assert_eq!(rewritten(&old), ["fs-record", "--mpi", "--read-only", "--mount=x", "ls"]);
    }

    #[test]
    fn what_belongs_to_the_command_stays() {
        for kept in [
            &["fs-record", "ls", "-out", "-read-only=false"][..],
            &["fs-record", "-o", "-out", "ls", "-format"],
            &["fs-record", "--", "-out"],
            &["fs-record", "-x", "-la", "ls"],
        ] {
            assert_eq!(rewritten(kept), kept);
        }
    }
}
