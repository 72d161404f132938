//! `compat explain`: the meaning of a kind of finding, from the catalogue of the loader's crate.
//!
//! The table of kinds in `docs/report.md` comes from the same catalogue. A test compares them.

use std::ffi::OsStr;
use std::fmt::Write as _;

use anstyle::Style;
use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::error::ErrorKind;

use super::{Context, Exit, OutputFormat};
use crate::app::Failure;
use crate::app::explain::explain;
use compat_loader::check::Impact;
use compat_loader::check::catalogue::{self, Entry, Shown, Topic};

/// The width of the text, in characters.
const WIDTH: usize = 80;
/// The maximum number of similar names that are printed.
const MOST_SIMILAR: usize = 3;

/// Explain a kind of finding: its meaning, an example and the remedy
///
/// The kinds are those in the output of `compat check --format json` and `compat tree --format json`. Without
/// KIND, the command lists all kinds.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  # list all kinds, one per line
  compat explain
  compat explain symbol-missing
  # list the kinds in a report
  compat check --format json ./app | jq -r '.findings[].kind' | sort -u
  compat explain --format json library-missing")]
pub struct Arguments {
    /// The kind to explain, such as library-missing
    #[arg(value_name = "KIND", value_parser = KindParser, hide_possible_values = true)]
    kind: Option<&'static Entry>,

    /// Set the output format
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: OutputFormat,
}

/// Runs `compat explain`.
///
/// # Errors
///
/// If standard output cannot be written.
pub(super) fn run(arguments: &Arguments, context: &Context) -> Result<Exit, Failure> {
    match (arguments.format, arguments.kind) {
        (OutputFormat::Json, kind) => context.print_json(&explain(kind))?,
        (OutputFormat::Text, Some(entry)) => context.print(&explained(entry))?,
        (OutputFormat::Text, None) => context.print(&listed())?,
    }
    Ok(Exit::Success)
}

/// Returns every kind with its summary, by topic.
fn listed() -> String {
    let bold = Style::new().bold();
    let width = catalogue::all().iter().map(|entry| entry.name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for topic in Topic::ALL {
        let _ = writeln!(text, "{bold}{}:{bold:#}", topic.title());
        for entry in catalogue::all().iter().filter(|entry| entry.topic == topic) {
            let _ = writeln!(text, "  {:width$}  {}", entry.name, entry.summary);
        }
        text.push('\n');
    }
    text.push_str("`compat explain KIND` explains one kind.\n");
    text
}

/// Returns the full explanation of one kind.
fn explained(entry: &Entry) -> String {
    let bold = Style::new().bold();
    let mut text = format!("{bold}{}{bold:#}: {}\n\n", entry.name, entry.summary);
    let impact = format!("{}. {}", impacts(entry), entry.depends);
    let paragraphs = [
        ("", entry.meaning),
        ("Example: ", entry.example),
        ("What to do: ", entry.advice),
        ("Impact: ", impact.trim_end()),
        ("Shown by: ", commands(entry.shown)),
    ];
    for (title, paragraph) in paragraphs {
        fill(&format!("{title}{paragraph}"), &mut text);
        text.push('\n');
    }
    text.pop();
    text
}

/// Returns the commands that show a kind.
fn commands(shown: Shown) -> &'static str {
    match shown {
        Shown::CheckAndTree => "`compat check`, and `compat tree` next to the affected file.",
        Shown::Check => "`compat check`.",
    }
}

/// Returns the possible impacts of a kind, the worst first.
fn impacts(entry: &Entry) -> String {
    let names: Vec<&str> = entry.impacts.iter().copied().map(impact_name).collect();
    match names.as_slice() {
        [rest @ .., before, last] if !rest.is_empty() => {
            format!("{}, {before} or {last}", rest.join(", "))
        }
        other => other.join(" or "),
    }
}

/// Returns the name of an impact, as in a report.
fn impact_name(impact: Impact) -> &'static str {
    match impact {
        Impact::Note => "note",
        Impact::Warning => "warning",
        Impact::Undecided => "undecided",
        Impact::Misbehaves => "misbehaves",
        Impact::DoesNotStart => "does-not-start",
    }
}

/// Adds a paragraph in lines of at most [`WIDTH`] characters.
fn fill(paragraph: &str, text: &mut String) {
    let mut used = 0;
    for word in paragraph.split_whitespace() {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > WIDTH {
            text.push('\n');
            used = 0;
        } else if used > 0 {
            text.push(' ');
            used += 1;
        }
        text.push_str(word);
        used += length;
    }
    text.push('\n');
}

/// Parses the name of a kind. Shells complete it, and the error for an unknown kind lists similar kinds.
#[derive(Clone, Debug)]
struct KindParser;

impl TypedValueParser for KindParser {
    type Value = &'static Entry;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Self::Value, clap::Error> {
        let name = StringValueParser::new().parse_ref(command, argument, value)?;
        catalogue::find(&name).ok_or_else(|| {
            let tip = match similar(&name).as_slice() {
                [] => "`compat explain` lists all kinds".to_owned(),
                [one] => format!("a similar kind is {one} (`compat explain` lists all kinds)"),
                several => {
                    format!("similar kinds are {} (`compat explain` lists all kinds)", several.join(", "))
                }
            };
            let message = format!("unknown kind of finding '{name}'\n\n  tip: {tip}\n");
            clap::Error::raw(ErrorKind::InvalidValue, message).with_cmd(command)
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let values = catalogue::all().iter().map(|entry| PossibleValue::new(entry.name).help(entry.summary));
        Some(Box::new(values))
    }
}

/// Returns the kinds with names near a word, the nearest first. If no name is near, returns the kinds that have a part
/// of the word in their name or summary.
fn similar(word: &str) -> Vec<&'static str> {
    let word: String = word.to_lowercase().replace(['_', ' '], "-").chars().take(64).collect();
    let most = (word.chars().count() / 3).max(2);
    let mut near: Vec<_> = catalogue::all().iter().map(|entry| entry.name).collect();
    near.retain(|name| (word.len() > 1 && name.contains(&word)) || distance(name, &word) <= most);
    // A name that contains the word is nearer than any name that only looks like it.
    near.sort_by_key(|name| (!name.contains(&word), distance(name, &word)));
    if near.is_empty() {
        near = catalogue::all()
            .iter()
            .filter(|entry| shares_word(entry, &word))
            .map(|entry| entry.name)
            .collect();
        near.sort_by_key(|name| distance(name, &word));
    }
    near.truncate(MOST_SIMILAR);
    near
}

/// Returns whether the name or the summary of a kind contains a part of the text.
fn shares_word(entry: &Entry, text: &str) -> bool {
    let words = |text: &str| {
        let parts = text.split(|letter: char| !letter.is_alphanumeric());
        parts.filter(|part| part.len() > 2).map(str::to_lowercase).collect::<Vec<_>>()
    };
    let own = [words(entry.name), words(entry.summary)].concat();
    words(text).iter().any(|word| own.contains(word))
}

/// Returns the number of characters to add, remove or replace to turn one word into the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, same) in other.iter().map(|its| *its == letter).enumerate() {
            let replaced = diagonal + usize::from(!same);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Arguments as Whole;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn a_kind_is_explained_with_example_advice_and_impact() {
        let text = plain(&explained(catalogue::find("symbol-missing").unwrap()));
        insta::assert_snapshot!(text, @"
        symbol-missing: No loaded object defines a symbol

        The loader searches all loaded objects for the symbol, in load order. None of
        them defines it in the required version. In the JSON report, `library` is the
        library that defined it when the object was linked.

        Example: A newer `psql` finds an older `libpq.so.5`: `undefined symbol:
        PQsetTraceFlags`.

        What to do: Update the library, or build against the older one. `compat tree
        --bindings` shows which library defines each symbol.

        Impact: does-not-start or misbehaves. It misbehaves if the symbol is only called
        and bound at the first call (`lazy` in the JSON report). The program starts and
        exits at that call.

        Shown by: `compat check`, and `compat tree` next to the affected file.
        ");
    }

    #[test]
    fn every_text_fits_the_width_and_names_an_impact() {
        for entry in catalogue::all() {
            let text = plain(&explained(entry));
            let body = text.lines().skip(1);
            for line in body {
                assert!(line.chars().count() <= WIDTH || !line.contains(' '), "{line}");
            }
            assert!(text.contains("\nImpact: ") && text.ends_with(".\n"), "{text}");
        }
    }

    #[test]
    fn the_list_has_every_kind_once() {
        let text = plain(&listed());
        for entry in catalogue::all() {
            let line = |line: &&str| line.split_whitespace().next() == Some(entry.name);
            assert_eq!(text.lines().filter(line).count(), 1, "{}", entry.name);
        }
    }

    #[test]
    fn a_wrong_kind_is_wrong_usage_and_answered_with_the_nearest() {
        let refused = |kind: &str| Whole::try_parse_from(["compat", "explain", kind]).unwrap_err();
        let error = refused("symbol-mising");
        assert_eq!((error.kind(), error.exit_code()), (ErrorKind::InvalidValue, 2));
        insta::assert_snapshot!(error.to_string(), @"
        error: unknown kind of finding 'symbol-mising'

          tip: a similar kind is symbol-missing (`compat explain` lists all kinds)
        ");
        for (typed, nearest) in [
            ("isa", "isa-too-low"),
            ("Library_Missing", "library-missing"),
            ("tls", "static-tls-full"),
            ("relr-unkown", "relr-unknown"),
        ] {
            assert!(similar(typed).contains(&nearest), "{typed}: {:?}", similar(typed));
        }
        for unknown in ["", "foo", &"ä".repeat(10_000)] {
            assert!(similar(unknown).is_empty(), "{unknown}");
        }
        assert!(similar("missing").len() == MOST_SIMILAR && similar("libc.so.6").contains(&"mixed-libc"));
        assert!(similar("cpu-level").contains(&"cpu-unknown"));
    }

    #[test]
    fn an_impact_has_the_name_that_it_has_in_a_report() {
        for entry in catalogue::all() {
            for impact in entry.impacts {
                assert_eq!(serde_json::to_value(impact).unwrap(), impact_name(*impact));
            }
        }
    }

    #[test]
    fn distances_count_letters() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("same", "same"), 0);
    }

    /// Returns the table of `docs/report.md`.
    fn table() -> String {
        let mut text = "| kind | impact | meaning | remedy |\n| --- | --- | --- | --- |\n".to_owned();
        for entry in catalogue::all() {
            let impacts: Vec<String> =
                entry.impacts.iter().map(|impact| format!("`{}`", impact_name(*impact))).collect();
            let impacts = impacts.join(", ");
            let _ = writeln!(text, "| `{}` | {impacts} | {} | {} |", entry.name, entry.summary, entry.advice);
        }
        text
    }

    #[test]
    fn the_table_of_the_documentation_is_that_of_the_catalogue() {
        const BEGIN: &str = "<!-- begin: kinds of findings -->\n";
        const END: &str = "<!-- end: kinds of findings -->\n";
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/report.md");
        let text = std::fs::read_to_string(&path).unwrap();
        let (before, rest) = text.split_once(BEGIN).expect("the table begins");
        let (found, after) = rest.split_once(END).expect("the table ends");
        if std::env::var_os("COMPAT_WRITE_DOCS").is_some() {
            std::fs::write(&path, format!("{before}{BEGIN}{}{END}{after}", table())).unwrap();
        } else {
            let how = "write it anew: COMPAT_WRITE_DOCS=1 cargo test --lib the_table_of_the_documentation";
            assert!(found == table(), "docs/report.md differs from the catalogue; {how}");
        }
    }
}
