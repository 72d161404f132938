//! `compat check`: specification x host -> report and exit code.

use std::path::PathBuf;

use crate::check::{self, Host, Options, Report, Source, Verdict};
use crate::cli::context::OutputFormat;
use crate::cli::source::{self, Origin, SourceOptions};
use crate::cli::{Context, Exit, Failure, report};
use crate::elf::{IsaLevel, KernelVersion};
use crate::registry::Level;
use crate::spec;

const EXAMPLES: &str = "\
Examples:
  compat check ghcr.io/org/app:tag           an image, before it is pulled: its attached artifact
  compat check ghcr.io/org/app-compat:tag    an artifact
  compat check oci:./layout:tag              the same in an OCI image layout
  compat check compat.json --root /srv/node  a file, against another root file system

Exit code: 0 compatible, 1 incompatible, 2 wrong usage, 3 could not decide (no artifact found, or a
registry or I/O error).";

/// Tell whether an application will run here, and why not
///
/// Compares the machine, the interpreter, each needed library resolved as the dynamic loader would,
/// symbol versions, symbols, CPU level and kernel. Nothing is executed, and no layer is pulled.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// An artifact or image in a registry, an image layout (oci:DIR:TAG), a file, or "-"
    #[arg(value_name = "SOURCE")]
    source: String,

    /// Compare with the root file system in DIR instead of this machine's
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,

    /// Assume this LD_LIBRARY_PATH [default: that of the environment, without --root]
    #[arg(long, value_name = "DIRS")]
    library_path: Option<String>,

    /// Assume a CPU of this level: x86-64-v1 to x86-64-v4
    #[arg(long, value_name = "LEVEL", value_parser = parse_level)]
    cpu: Option<IsaLevel>,

    /// Assume this kernel version, such as 5.14.0
    #[arg(long, value_name = "VERSION", value_parser = parse_kernel)]
    kernel: Option<KernelVersion>,

    /// How to print the report
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,

    #[command(flatten)]
    fetch: SourceOptions,
}

fn parse_level(text: &str) -> Result<IsaLevel, String> {
    IsaLevel::from_name(text)
        .ok_or_else(|| "expected x86-64-v1, x86-64-v2, x86-64-v3 or x86-64-v4".to_owned())
}

fn parse_kernel(text: &str) -> Result<KernelVersion, String> {
    KernelVersion::parse(text).ok_or_else(|| "expected a version such as 5.14.0".to_owned())
}

/// Runs the subcommand.
///
/// # Errors
///
/// Where the specification cannot be had or read, or the root not be looked at.
pub fn run(arguments: Arguments, context: &Context) -> Result<Exit, Failure> {
    let host = host(&arguments)?;
    let fetched = source::fetch_specification(&arguments.source, &arguments.fetch, context)?;
    let specification = spec::parse(&fetched.bytes).map_err(|error| {
        let failure = Failure::undecided(&error).with_hint(error.hint().map(str::to_owned));
        Failure { message: format!("{}: {}", arguments.source, failure.message), ..failure }
    })?;
    let mut report = check::check(&specification, &host);
    report.source = Some(source_of(arguments.source, &fetched.origin));
    match arguments.format {
        OutputFormat::Text => context.print(&report::render(&report))?,
        OutputFormat::Json => context.print_json(&report)?,
    }
    Ok(exit(&report))
}

fn host(arguments: &Arguments) -> Result<Host, Failure> {
    let from_environment = || std::env::var("LD_LIBRARY_PATH").ok().filter(|_| arguments.root.is_none());
    let options = Options {
        library_path: arguments.library_path.clone().or_else(from_environment),
        isa: arguments.cpu,
        kernel: arguments.kernel,
    };
    match &arguments.root {
        None => Ok(Host::this_machine(&options)),
        Some(directory) => Host::at(directory, &options).map_err(|source| {
            let error = RootError { directory: directory.clone(), source };
            Failure::undecided(&error)
        }),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("could not look at the root {}", directory.display())]
struct RootError {
    directory: PathBuf,
    source: std::io::Error,
}

fn source_of(reference: String, origin: &Origin) -> Source {
    match origin {
        Origin::Stdin | Origin::File(_) => Source { reference, digest: None, level: None },
        Origin::Artifact { digest, level, .. } => {
            Source { reference, digest: Some(digest.to_string()), level: Some(level_name(level).to_owned()) }
        }
    }
}

fn level_name(level: &Level) -> &'static str {
    match level {
        Level::Artifact => "artifact",
        Level::Manifest => "manifest",
        Level::Platform(_) => "platform",
        Level::Index => "index",
    }
}

fn exit(report: &Report) -> Exit {
    match report.verdict {
        Verdict::Compatible => Exit::Success,
        Verdict::Incompatible => Exit::Incompatible,
        Verdict::Undecided => Exit::Undecided,
    }
}
