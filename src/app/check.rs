//! Targets x host -> report: `compat check`.

use super::derive::{Choice, derive, given_options};
use super::in_order::in_order;
use super::recording::is_recording;
use super::source::{
    FetchedSpecification, Origin, fetch_specification, find_specification, level_name, of_several,
};
use super::target::of_short_name;
use super::{Cause, Failure, Session, Target, in_root};
use compat_image::ImageOptions;
use compat_loader::check::{self, Host, Report, Source};
use compat_loader::{generate, spec};
use compat_oci::FindOptions;
use std::path::{Path, PathBuf};

/// The options of a check.
#[derive(Debug)]
pub struct CheckOptions {
    /// The options to find the artifact of an image.
    pub find: FindOptions,
    /// Whether the needs of an image without an artifact are derived from its layers.
    pub generate: bool,
    /// The options for deriving from an image.
    pub image: ImageOptions,
    /// The root file system that is checked, if it is not this machine's.
    pub root: Option<PathBuf>,
    /// Whether a single target that cannot be read gives a report instead of a failure.
    pub report_failure: bool,
}

/// A target and the text that names it.
#[derive(Debug)]
pub struct Asked {
    /// The text that the user typed.
    pub text: String,
    /// The target, or the reason why the text is not a target.
    pub target: Result<Target, Failure>,
}

impl Asked {
    /// Returns whether the paths in the report do not reveal the target: those of an image or a specification
    /// are paths in the image.
    pub fn has_own_paths(&self) -> bool {
        !matches!(self.target, Ok(Target::Application(_)) | Err(_))
    }
}

/// Returns the report on all targets.
///
/// # Errors
///
/// If there is only one target and it cannot be fetched or read. If one of several targets cannot be read, the
/// others still get a verdict.
pub fn check(
    asked: &[Asked],
    host: &Host,
    options: &CheckOptions,
    session: &Session,
) -> Result<Option<Report>, Failure> {
    let mut whole: Option<Report> = None;
    check_each(asked, host, options, session, |_, report| {
        whole = Some(match whole.take() {
            Some(before) => before.merge(report),
            None => report,
        });
    })?;
    Ok(whole)
}

/// Passes the report on each target to `take`, in their order, with the text that names the target.
///
/// # Errors
///
/// As [`check()`].
pub fn check_each(
    asked: &[Asked],
    host: &Host,
    options: &CheckOptions,
    session: &Session,
    mut take: impl FnMut(&str, Report),
) -> Result<(), Failure> {
    let mut fatal = None;
    let judge_ahead = |asked: &Asked| judge_file(asked, host, options);
    in_order(asked, judge_ahead, |Asked { text, target }, ahead: Option<Judged>| {
        let report = match (ahead, target) {
            (Some(judged), _) => judged.announce(session),
            (None, Ok(target)) => judge(text, target, host, options, session),
            (None, Err(failure)) => Err(failure.clone()),
        };
        let report = report.or_else(|failure| {
            if asked.len() == 1 && (!options.report_failure || failure.cause != Cause::Undecided) {
                return Err(failure);
            }
            session.observer().failed(&failure);
            let (message, hint) = (&failure.message, failure.hint.as_deref());
            Ok(Report::of_failed_source(host.summary(), text, message, hint))
        });
        match report {
            Ok(report) => take(text, report),
            Err(failure) => fatal = Some(failure),
        }
    });
    fatal.map_or(Ok(()), Err)
}

/// The report on one target or its error, and the notes.
struct Judged {
    report: Result<Report, Failure>,
    notes: Vec<String>,
}

impl Judged {
    /// Passes the notes to the observer and returns the report.
    fn announce(self, session: &Session) -> Result<Report, Failure> {
        self.notes.iter().for_each(|note| session.observer().warn(note));
        self.report
    }
}

/// Checks a target that is a local file, on any thread. Returns `None` for other targets.
fn judge_file(asked: &Asked, host: &Host, options: &CheckOptions) -> Option<Judged> {
    match asked.target.as_ref().ok()? {
        Target::Application(path) => Some(judge_application(path, host, options)),
        // A pipe is read in the order of the targets, because two targets can be the same pipe.
        Target::Document(path) if path.is_file() => {
            let judge = || judge_document(&asked.text, &FetchedSpecification::read_file(path)?, host);
            Some(Judged { report: judge(), notes: Vec::new() })
        }
        _ => None,
    }
}

/// The report on one target.
fn judge(
    text: &str,
    target: &Target,
    host: &Host,
    options: &CheckOptions,
    session: &Session,
) -> Result<Report, Failure> {
    let fetched = match target {
        Target::Image(image) => return judge_image(image, host, options, session),
        Target::Application(path) => return judge_application(path, host, options).announce(session),
        Target::StandardInput => FetchedSpecification::read_stdin(session.stdin())?,
        Target::Document(path) => FetchedSpecification::read_file(path)?,
        Target::Location(location) if options.generate => {
            let found = find_specification(location, &options.find, session);
            match found.map_err(|failure| of_short_name(text, location, true, failure))? {
                Some(fetched) => {
                    warn_of_options(text, options, session);
                    fetched
                }
                None => {
                    let image = compat_image::Source::Location(location.clone());
                    return judge_image(&image, host, options, session);
                }
            }
        }
        Target::Location(location) => fetch_specification(location, &options.find, session)
            .map_err(|failure| of_short_name(text, location, true, failure))?,
    };
    judge_document(text, &fetched, host)
}

/// Prints a note if options that apply only to layers have no effect because an artifact is attached.
fn warn_of_options(image: &str, options: &CheckOptions, session: &Session) {
    let given = given_options(&options.image);
    if !given.is_empty() {
        let (names, verb) = (given.join(", "), if given.len() == 1 { "has" } else { "have" });
        session.observer().warn(&format!(
            "{image} has an attached artifact, so its layers were not read and {names} {verb} no effect (to read \
             them, run `compat gen --image {image}` and check its output)"
        ));
    }
}

/// Returns the report on a specification.
fn judge_document(text: &str, fetched: &FetchedSpecification, host: &Host) -> Result<Report, Failure> {
    let specification =
        spec::parse(&fetched.bytes).map_err(|error| not_a_specification(text, &fetched.bytes, &error))?;
    let mut report = check::check(&specification, host);
    report.source = Some(source_of(text.to_owned(), &fetched.origin));
    Ok(report)
}

/// Returns the failure for a document that is not a specification.
fn not_a_specification(text: &str, bytes: &[u8], error: &spec::Error) -> Failure {
    let name = if text == "-" { "standard input" } else { text };
    let failure = |kind: &str, hint: String| Failure {
        cause: Cause::Undecided,
        message: format!("{name} is {kind}"),
        hint: Some(hint),
    };
    if is_recording(bytes) {
        let hint = format!(
            "derive a specification with `compat gen --from-recording {text} -o compat.json`, or read the recording \
             with `compat trace summary {text}`"
        );
        return failure("a recording, not a specification", hint);
    }
    if matches!(error, spec::Error::Syntax(_)) && !bytes.trim_ascii_start().starts_with(b"{") {
        let hint = "name the program, or derive its specification with `compat gen PATH -o compat.json`";
        return failure("not a program, library, script or specification", hint.to_owned());
    }
    let hint = match error {
        spec::Error::Syntax(_) => {
            Some(format!("run `compat validate {text}` to see the position of each error"))
        }
        spec::Error::NotAnObject | spec::Error::Version(_) => {
            Some("derive a specification with `compat gen PATH -o compat.json`".to_owned())
        }
        other => other.hint().map(str::to_owned),
    };
    Failure::undecided(error).with_hint(hint).about(&name)
}

/// Returns the report on programs, libraries and scripts.
fn judge_application(path: &Path, host: &Host, options: &CheckOptions) -> Judged {
    let read_from = in_root::options(vec![path.to_owned()], options.root.as_deref());
    let options = generate::Options { started_here: options.root.is_none(), ..read_from };
    let mut read = match generate::read(&options) {
        Ok(read) => read,
        Err(error) => {
            let failure = Failure::undecided(&error).with_hint(error.hint().map(str::to_owned));
            return Judged { report: Err(failure), notes: Vec::new() };
        }
    };
    in_root::settle(&mut read, &options, host);
    let report = Ok(check::check_application(&read.application, host));
    Judged { report, notes: read.notes }
}

/// Returns the report on an image without an artifact, derived from its layers.
fn judge_image(
    source: &compat_image::Source,
    host: &Host,
    options: &CheckOptions,
    session: &Session,
) -> Result<Report, Failure> {
    let platform = options.find.platform.clone();
    let choice = if options.find.platform_named { Choice::Named(platform) } else { Choice::Best(platform) };
    let mut report = None;
    derive(source, &choice, &options.image, session, |derived| {
        let digest = derived.descriptor.map(|descriptor| descriptor.digest.to_string());
        let level = Some("generated".to_owned());
        let source = Source { digest, level, ..Source::named(source.to_string()) };
        report.insert(check::check(&derived.specification, host)).source = Some(source);
        Ok(())
    })?;
    report.ok_or_else(|| Failure::usage(format!("{source} contains no image")))
}

fn source_of(reference: String, origin: &Origin) -> Source {
    match origin {
        Origin::Stdin | Origin::File(_) => Source::named(reference),
        Origin::Artifact { digest, level, candidates, reason, .. } => Source {
            reference,
            digest: Some(digest.to_string()),
            level: Some(level_name(level).to_owned()),
            candidates: (*candidates > 1).then_some(*candidates),
            chosen: of_several(*candidates, *reason),
        },
    }
}

#[cfg(test)]
mod tests;
