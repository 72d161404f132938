//! `compat check`: specification x host -> report and exit code.

use std::io::Read as _;
use std::mem::ManuallyDrop;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::app::Session;
use crate::cli::context::OutputFormat;
use crate::cli::host_options::{HostOptions, StartOptions, oci_platform};
use crate::cli::image::{self as derive, Choice, DeriveOptions};
use crate::cli::source::{self, Origin, SourceOptions, level_name};
use crate::cli::{Context, Exit, Failure, in_root, report};
use compat_loader::check::{self, Host, Impact, Report, Source, Verdict};
use compat_loader::generate;
use compat_loader::spec;
use compat_oci::{Platform, transport};

const EXAMPLES: &str = "\
Examples:
  # an image, before it is pulled: its attached artifact
  compat check ghcr.io/org/app:tag
  # an artifact
  compat check ghcr.io/org/app-compat:tag
  # the same in an OCI image layout
  compat check oci:./layout:tag
  # a file, against another root file system
  compat check compat.json --root /srv/node
  # programs and folders themselves: an exact ldd
  compat check ./app /usr/bin/git
  # an image without an artifact: its layers are streamed
  compat check --generate ghcr.io/org/app:tag
  # an image that docker has here; containers-storage:app:1 for podman
  compat check docker-daemon:app:1

Exit code: 0 compatible, 1 incompatible, 2 wrong usage, 3 could not decide (no artifact found, or a \
registry or I/O error).";

/// Tell whether an application will run here, and why not
///
/// Compares the machine, the interpreter, each needed library resolved as the dynamic loader would,
/// symbol versions, symbols, CPU level and kernel. Nothing is executed, and no layer is pulled.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Artifacts or images in a registry, image layouts (oci:DIR:TAG), specifications ("-" is standard
    /// input), or programs, libraries and directories themselves
    #[arg(value_name = "SOURCE", required = true)]
    sources: Vec<String>,

    /// Let what would start and fail later pass: exit 0 for it too
    #[arg(long)]
    accept_risk: bool,

    /// Exit 0 also where it cannot be told (no artifact, a registry that does not answer): the reason is
    /// printed all the same
    #[arg(long)]
    accept_undecided: bool,

    /// Derive what an image needs from its layers if no artifact is attached; images of this machine are always
    /// read so: docker-archive:FILE, oci-archive:FILE, docker-daemon:NAME, containers-storage:NAME and unpacked roots
    /// (dir:PATH)
    #[arg(long, conflicts_with = "offline")]
    generate: bool,

    /// How to print the report
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,

    #[command(flatten)]
    host: HostOptions,

    #[command(flatten)]
    start: StartOptions,

    #[command(flatten)]
    derive: DeriveOptions,

    #[command(flatten)]
    fetch: SourceOptions,
}

/// Runs the subcommand.
///
/// # Errors
///
/// Where the specification cannot be had or read, or the root not be looked at.
pub fn run(arguments: Arguments, context: &Context) -> Result<Exit, Failure> {
    let accept_undecided = arguments.accept_undecided;
    match decide(&arguments, context) {
        Err(failure) if accept_undecided && failure.exit == Exit::Undecided => {
            failure.print();
            if arguments.format == OutputFormat::Json {
                context.print_json(&failure.document(Exit::Success))?;
            }
            Ok(Exit::Success)
        }
        Ok(Exit::Undecided) if accept_undecided => Ok(Exit::Success),
        decided => decided,
    }
}

/// The verdict on all sources.
fn decide(arguments: &Arguments, context: &Context) -> Result<Exit, Failure> {
    if !arguments.generate && !arguments.sources.iter().any(|source| names_local_image(source)) {
        arguments.derive.expect_none("--generate")?;
    }
    // What is refused is refused before anything is looked at.
    for source in &arguments.sources {
        arguments.fetch.target.reference(source)?;
    }
    // The process ends after this: to unmap every file that was looked at would take longer than the rest.
    let host = ManuallyDrop::new(arguments.host.open(&arguments.start)?);
    let session = arguments.fetch.session(context);
    let mut whole: Option<Report> = None;
    for source in &arguments.sources {
        match judge(source, arguments, &host, &session) {
            Ok(report) => {
                whole = Some(match whole {
                    Some(whole) => whole.merge(report),
                    None => report,
                });
            }
            // One of many that cannot be had does not keep the others from their verdict.
            Err(failure) if arguments.sources.len() > 1 || is_answer(&failure, arguments.format) => {
                failure.print();
                let hint = failure.hint.as_deref();
                let report = Report::of_failed_source(host.summary(), source, &failure.message, hint);
                whole = Some(match whole {
                    Some(whole) => whole.merge(report),
                    None => report,
                });
            }
            Err(failure) => return Err(failure),
        }
    }
    let Some(report) = whole else { return Ok(Exit::Undecided) };
    match arguments.format {
        OutputFormat::Text => context.print(&report::render(&report))?,
        OutputFormat::Json => context.print_json(&report)?,
    }
    Ok(exit(&report, arguments.accept_risk))
}

/// Whether a failure of the only source is a report: programs get one whatever the reason.
fn is_answer(failure: &Failure, format: OutputFormat) -> bool {
    format == OutputFormat::Json && failure.exit == Exit::Undecided
}

/// The report on one source.
fn judge(source: &str, arguments: &Arguments, host: &Host, session: &Session) -> Result<Report, Failure> {
    let platform = arguments.fetch.platform.clone().unwrap_or_else(|| oci_platform(host));
    let reference = arguments.fetch.target.reference(source)?;
    if reference.is_none()
        && let Some(image) = local_image(source, arguments.generate)?
    {
        return judge_image(&image, platform, arguments, host, session);
    }
    if reference.is_none() && is_application(source, arguments.host.root.as_deref()) {
        let read_from = in_root::options(vec![source.into()], arguments.host.root.as_deref());
        let options = generate::Options { started_here: arguments.host.root.is_none(), ..read_from };
        let mut read = generate::read(&options)
            .map_err(|error| Failure::undecided(&error).with_hint(error.hint().map(str::to_owned)))?;
        read.notes.iter().for_each(|note| session.observer().warn(note));
        in_root::settle(&mut read, &options, host);
        return Ok(check::check_application(&read.application, host));
    }
    let Some(fetched) =
        source::find_specification(source, &arguments.fetch, &platform, arguments.generate, session)?
    else {
        let image = reference
            .map_or_else(|| derive::parse_source(source), |it| Ok(compat_image::Source::Location(it)))?;
        return judge_image(&image, platform, arguments, host, session);
    };
    let specification = spec::parse(&fetched.bytes).map_err(|error| {
        let failure = Failure::undecided(&error).with_hint(error.hint().map(str::to_owned));
        Failure { message: format!("{source}: {}", failure.message), ..failure }
    })?;
    let mut report = check::check(&specification, host);
    report.source = Some(source_of(source.to_owned(), &fetched.origin));
    Ok(report)
}

/// The report on an image without an artifact, derived from its layers.
fn judge_image(
    source: &compat_image::Source,
    platform: Platform,
    arguments: &Arguments,
    host: &Host,
    session: &Session,
) -> Result<Report, Failure> {
    let options = derive::options(&arguments.derive, [], false);
    let mut report = None;
    derive::derive(source, &Choice::Best(platform), &options, session, |derived| {
        let digest = derived.descriptor.map(|descriptor| descriptor.digest.to_string());
        let level = Some("generated".to_owned());
        let source = Source { digest, level, ..Source::named(source.to_string()) };
        report.insert(check::check(&derived.specification, host)).source = Some(source);
        Ok(())
    })?;
    report.ok_or_else(|| Failure::usage(format!("{source} holds no image")))
}

/// Whether a word says that a source is an image of this machine.
fn names_local_image(source: &str) -> bool {
    transport::split(source).is_some_and(|(transport, _)| transport.is_local_image())
}

/// The image of this machine that a source is: nothing can be attached to it, so its layers are read. A folder
/// without a word before it is one only for `--generate`; otherwise it holds programs.
fn local_image(source: &str, generate: bool) -> Result<Option<compat_image::Source>, Failure> {
    if names_local_image(source) || compat_image::is_sif(Path::new(source)) {
        return derive::parse_source(source).map(Some);
    }
    Ok(match compat_image::Source::parse(source) {
        Ok(image @ compat_image::Source::Archive { .. }) if compat_image::has_archive_name(source) => {
            Some(image)
        }
        Ok(image) if generate && image.is_local() && !is_startable(Path::new(source)) => Some(image),
        _ => None,
    })
}

/// Whether a source is a program, library, script or folder rather than a document or a reference.
fn is_application(source: &str, root: Option<&Path>) -> bool {
    let path = Path::new(source);
    // A link of a root leads to where it leads inside it.
    let inside = root.and_then(|root| in_root::inside(path, root));
    let file = inside.and_then(|(root, place)| in_root::file_of(path, &place, &root).ok());
    let path = file.as_deref().unwrap_or(path);
    // A folder must look like a path: what a reference means must not depend on the working directory.
    let looks_like_path = source.starts_with(['/', '.', '~']) || source.ends_with('/');
    if path.is_dir() {
        return looks_like_path;
    }
    is_startable(path) || is_meant_to_start(path)
}

/// Whether a file is no document and is meant to be started: a script without `#!`, or with something in front
/// of it.
fn is_meant_to_start(path: &Path) -> bool {
    let mut head = Vec::new();
    let Ok(file) = compat_sys::open_regular(path) else { return false };
    let is_executable = file.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0);
    let is_read = file.take(256).read_to_end(&mut head).is_ok();
    let is_document = head.trim_ascii_start().first().is_some_and(|byte| matches!(byte, b'{' | b'['));
    is_read && !is_document && (is_executable || head.starts_with(b"\xef\xbb\xbf#!"))
}

/// Whether a file is an ELF object or a script.
pub(super) fn is_startable(path: &Path) -> bool {
    let mut head = [0; 4];
    let read = compat_sys::open_regular(path).and_then(|mut file| file.read(&mut head));
    matches!(read, Ok(length) if head[..length].starts_with(b"\x7fELF") || head[..length].starts_with(b"#!"))
}

fn source_of(reference: String, origin: &Origin) -> Source {
    match origin {
        Origin::Stdin | Origin::File(_) => Source::named(reference),
        Origin::Artifact { digest, level, candidates, reason, .. } => Source {
            reference,
            digest: Some(digest.to_string()),
            level: Some(level_name(level).to_owned()),
            candidates: (*candidates > 1).then_some(*candidates),
            chosen: source::of_several(*candidates, *reason),
        },
    }
}

fn exit(report: &Report, accept_risk: bool) -> Exit {
    let refuses = report.findings.iter().any(|finding| finding.impact == Impact::DoesNotStart);
    match report.verdict {
        Verdict::Incompatible if accept_risk && !refuses => Exit::Success,
        Verdict::Compatible => Exit::Success,
        Verdict::Incompatible => Exit::Incompatible,
        Verdict::Undecided => Exit::Undecided,
    }
}
