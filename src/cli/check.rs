//! `compat check`: specification x host -> report and exit code.

use std::mem::ManuallyDrop;

use crate::app::check::{Asked, CheckOptions};
use crate::app::{self, Cause, Failure, Session, Target, TargetOptions, host, target};
use crate::cli::context::OutputFormat;
use crate::cli::host_options::{HostOptions, StartOptions};
use crate::cli::image::{self as derive, DeriveOptions};
use crate::cli::source::SourceOptions;
use crate::cli::{Context, Exit, failure, report};
use compat_loader::check::{Host, Impact, Report, Verdict};

const EXAMPLES: &str = "\
Examples:
  # check an image before it is pulled, by its attached artifact
  compat check ghcr.io/org/app:tag
  # check an artifact
  compat check ghcr.io/org/app-compat:tag
  # check an artifact in an OCI image layout
  compat check oci:./layout:tag
  # check a specification against another root file system
  compat check compat.json --root /srv/node
  # check programs and directories directly, like an exact ldd
  compat check ./app /usr/bin/git
  # check an image without an artifact, by streaming its layers
  compat check --generate ghcr.io/org/app:tag
  # check an image in the local docker (for podman: containers-storage:app:1)
  compat check docker-daemon:app:1

Exit code: 0 compatible, 1 incompatible, 2 wrong usage, 3 undecided (no artifact found, or a registry or I/O error).

`compat explain KIND` explains a kind of finding. Without KIND, it lists all kinds.";

/// Check whether an application will run on this machine, and explain why not
///
/// Compares the machine, interpreter, needed libraries, symbol versions, symbols, CPU level and kernel. Libraries
/// are resolved as by the dynamic loader. Nothing is executed, and no layer is pulled. `compat check -h` prints a shorter
/// help text.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Artifacts, images, image layouts, specifications, programs, libraries or directories
    ///
    /// Artifacts and images in a registry are given as references, image layouts as oci:DIR:TAG. A directory must begin
    /// with /, ./, ../ or ~, or end with /, because a name such as two/a is also a reference. "-" reads a specification
    /// from standard input.
    #[arg(value_name = "SOURCE", required = true)]
    sources: Vec<String>,

    /// Also exit 0 if the application would start but fail later
    #[arg(long)]
    accept_risk: bool,

    /// Also exit 0 if the verdict is undecided
    ///
    /// Examples are a missing artifact, or a registry that does not answer. The reason is still printed.
    #[arg(long)]
    accept_undecided: bool,

    /// Derive the requirements of an image from its layers if no artifact is attached
    ///
    /// Local images are always read this way: docker-archive:FILE, oci-archive:FILE, docker-daemon:NAME,
    /// containers-storage:NAME and unpacked roots (dir:PATH).
    #[arg(long, conflicts_with = "offline")]
    generate: bool,

    /// Set the output format
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
/// If the specification cannot be fetched or read, or the root cannot be read.
pub(super) fn run(arguments: Arguments, context: &Context) -> Result<Exit, Failure> {
    let accept_undecided = arguments.accept_undecided;
    match decide(&arguments, context) {
        Err(failure) if accept_undecided && failure.cause == Cause::Undecided => {
            failure::print(&failure);
            if arguments.format == OutputFormat::Json {
                context.print_json(&failure::document(&failure, Exit::Success))?;
            }
            Ok(Exit::Success)
        }
        Ok(Exit::Undecided) if accept_undecided => Ok(Exit::Success),
        decided => decided,
    }
}

/// Returns the verdict on all sources.
fn decide(arguments: &Arguments, context: &Context) -> Result<Exit, Failure> {
    if !arguments.generate && !arguments.sources.iter().any(|source| target::names_image(source)) {
        arguments.derive.expect_none("--generate")?;
    }
    let asked = arguments.asked()?;
    // The process exits after this. To unmap every file that was read would take longer than the rest.
    let host = ManuallyDrop::new(arguments.host.open(&arguments.start)?);
    let session = arguments.fetch.session(context);
    let options = arguments.options(&host);
    if arguments.format == OutputFormat::Text && asked.len() > 1 && asked.iter().any(Asked::has_own_paths) {
        return decide_each(&asked, &host, &options, arguments.accept_risk, &session, context);
    }
    let report = app::check::check(&asked, &host, &options, &session)?;
    let Some(report) = report else { return Ok(Exit::Undecided) };
    match arguments.format {
        OutputFormat::Text => context.print(&report::render(&report))?,
        OutputFormat::Json => context.print_json(&report)?,
    }
    Ok(exit(&report, arguments.accept_risk))
}

/// Prints a report on each source, with its name, and returns the verdict on all.
fn decide_each(
    asked: &[Asked],
    host: &Host,
    options: &CheckOptions,
    accept_risk: bool,
    session: &Session,
    context: &Context,
) -> Result<Exit, Failure> {
    let mut reports = Vec::new();
    app::check::check_each(asked, host, options, session, |source, report| {
        reports.push((source.to_owned(), report));
    })?;
    context.print(&report::render_each(&reports))?;
    let whole = reports.into_iter().map(|(_, report)| report).reduce(Report::merge);
    Ok(whole.map_or(Exit::Undecided, |report| exit(&report, accept_risk)))
}

impl Arguments {
    /// Parses the typed sources. Invalid sources are rejected before any file is read.
    fn asked(&self) -> Result<Vec<Asked>, Failure> {
        let options = TargetOptions {
            references_only: self.fetch.target.references_only,
            generate: self.generate,
            root: self.host.root.clone(),
        };
        let understand = |text: &String| match Target::parse(text, &options) {
            Err(failure) if options.references_only => Err(failure),
            target => Ok(Asked { text: text.clone(), target }),
        };
        self.sources.iter().map(understand).collect()
    }

    fn options(&self, host: &Host) -> CheckOptions {
        CheckOptions {
            find: self.fetch.find_options(|| host::platform(host)),
            generate: self.generate,
            image: derive::options(&self.derive, [], false),
            root: self.host.root.clone(),
            report_failure: self.format == OutputFormat::Json,
        }
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
