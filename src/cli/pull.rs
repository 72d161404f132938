//! `compat pull`: the specification of an artifact or an image, as a file.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::registry_options::failure;
use super::source::{Origin, SourceOptions, fetch_specification};
use super::{Context, Exit, Failure, OutputFormat};
use crate::registry::Error;

/// Fetch the specification of an artifact, or the one attached to an image
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  compat pull ghcr.io/org/app-compat:1.0            into compat.json
  compat pull ghcr.io/org/app:1.0 -o -              what is attached to an image, to standard output
  compat pull oci:artifacts:app -o app.json

An existing file is replaced at once: nobody ever sees a part of it.")]
pub struct PullArguments {
    /// An artifact, or an image with one attached: HOST/NAME:TAG, HOST/NAME@DIGEST or oci:DIR:TAG
    #[arg(value_name = "REFERENCE")]
    reference: String,

    /// Where the specification goes; - is standard output
    #[arg(long, short, value_name = "FILE", default_value = "compat.json")]
    output: PathBuf,

    /// How the result is printed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: OutputFormat,

    #[command(flatten)]
    source: SourceOptions,
}

/// What a pull did.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct PullReport {
    /// The reference as it was understood.
    pub reference: String,
    /// The digest of the artifact's manifest.
    pub digest: String,
    /// Where it was found: `artifact`, `manifest`, `platform` or `index`.
    pub level: String,
    /// How many artifacts are attached there; the newest was taken.
    pub candidates: usize,
    /// The file that was written.
    pub file: String,
    /// The size of the specification in bytes.
    pub size: usize,
}

/// Runs `compat pull`.
///
/// # Errors
///
/// Where nothing is there, it cannot be fetched, or the file cannot be written.
pub fn run(arguments: &PullArguments, context: &Context) -> Result<Exit, Failure> {
    super::source::parse_location(&arguments.reference)?;
    let fetched = fetch_specification(&arguments.reference, &arguments.source, context)?;
    if arguments.output == Path::new("-") {
        let mut stdout = std::io::stdout().lock();
        return match stdout.write_all(&fetched.bytes).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(failure(&Error::io("write", "standard output")(error)))
            }
            _ => Ok(Exit::Success),
        };
    }
    replace(&arguments.output, &fetched.bytes)?;
    let Origin::Artifact { reference, digest, level, candidates } = &fetched.origin else {
        return Ok(Exit::Success);
    };
    let file = arguments.output.display().to_string();
    match arguments.format {
        OutputFormat::Text => context.print(&format!("pulled {} into {file}\n", fetched.origin))?,
        OutputFormat::Json => context.print_json(&PullReport {
            reference: reference.clone(),
            digest: digest.to_string(),
            level: super::source::level_name(level).to_owned(),
            candidates: *candidates,
            file,
            size: fetched.bytes.len(),
        })?,
    }
    Ok(Exit::Success)
}

/// Writes a file by rename; what is no regular file (a device, a pipe) is written to as it is.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let special = std::fs::metadata(path).is_ok_and(|found| !found.is_file());
    let outcome = if special {
        std::fs::OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(bytes))
    } else {
        write_and_rename(path, bytes)
    };
    outcome.map_err(|error| failure(&Error::io("write", path)(error)))
}

fn write_and_rename(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary = tempfile::Builder::new()
        .prefix(".compat-")
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(folder)?;
    temporary.write_all(bytes)?;
    temporary.persist(path).map_err(|error| error.error)?;
    Ok(())
}
