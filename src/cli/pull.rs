//! `compat pull`: the specification of an artifact or an image, as a file.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::source::SourceOptions;
use super::{Context, Exit, OutputFormat};
use crate::app::Failure;
use crate::app::Session;
use crate::app::carried;
use crate::app::source::{Origin, fetch_specification, level_name};
use compat_oci::{Access, Descriptor, Error, Location, Platform, Store};

/// Fetch the specification of an artifact, or the one attached to an image
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  # into compat.json
  compat pull ghcr.io/org/app-compat:1.0
  # what is attached to an image, to standard output
  compat pull ghcr.io/org/app:1.0 -o -
  compat pull oci:artifacts:app -o app.json
  # with the recordings that travel with it
  compat pull --recordings runs ghcr.io/org/app:1.0

An existing file is replaced at once: nobody ever sees a part of it. A recording has the name that its publisher gave \
it (NAME.jsonl.zst), and replaces no other file.")]
pub struct PullArguments {
    /// An artifact, or an image with one attached: HOST/NAME:TAG, HOST/NAME@DIGEST or oci:DIR:TAG
    #[arg(value_name = "REFERENCE")]
    reference: String,

    /// Where the specification goes; - is standard output
    #[arg(long, short, value_name = "FILE", default_value = "compat.json")]
    output: PathBuf,

    /// Fetch the recordings that travel with the artifact, too, into DIR
    #[arg(long, value_name = "DIR", conflicts_with = "offline")]
    recordings: Option<PathBuf>,

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
    /// How many recordings travel with the artifact.
    #[serde(skip_serializing_if = "is_zero")]
    pub carried: usize,
    /// The files of the recordings that were fetched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recordings: Vec<String>,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Runs `compat pull`.
///
/// # Errors
///
/// Where nothing is there, it cannot be fetched, or the file cannot be written.
pub fn run(arguments: &PullArguments, context: &Context) -> Result<Exit, Failure> {
    let location = arguments.source.target.location(&arguments.reference)?;
    let session = arguments.source.session(context);
    let fetched = fetch_specification(&location, &arguments.source.find_options(Platform::host), &session)?;
    let recordings = match &arguments.recordings {
        Some(folder) => fetch_recordings(&location, &fetched.recordings, folder, arguments, &session)?,
        None => Vec::new(),
    };
    if arguments.output == Path::new("-") {
        let mut stdout = std::io::stdout().lock();
        return match stdout.write_all(&fetched.bytes).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Failure::from(&Error::io("write", "standard output")(error)))
            }
            _ => Ok(Exit::Success),
        };
    }
    replace(&arguments.output, &fetched.bytes)?;
    let Origin::Artifact { reference, digest, level, candidates, .. } = &fetched.origin else {
        return Ok(Exit::Success);
    };
    let file = arguments.output.display().to_string();
    match arguments.format {
        OutputFormat::Text => {
            let mut text = format!("pulled {} into {file}\n", fetched.origin);
            for path in &recordings {
                text.push_str(&format!("pulled a recording into {path}\n"));
            }
            let count = fetched.recordings.len();
            if arguments.recordings.is_none() && count > 0 {
                let noun = if count == 1 { "recording travels" } else { "recordings travel" };
                text.push_str(&format!("{count} {noun} with it: --recordings DIR fetches\n"));
            }
            context.print(&text)?;
        }
        OutputFormat::Json => context.print_json(&PullReport {
            reference: reference.clone(),
            digest: digest.to_string(),
            level: level_name(level).to_owned(),
            candidates: *candidates,
            file,
            size: fetched.bytes.len(),
            carried: fetched.recordings.len(),
            recordings,
        })?,
    }
    Ok(Exit::Success)
}

/// Fetches the recordings of an artifact; the paths of their files.
fn fetch_recordings(
    location: &Location,
    layers: &[Descriptor],
    folder: &Path,
    arguments: &PullArguments,
    session: &Session,
) -> Result<Vec<String>, Failure> {
    if layers.is_empty() {
        session.observer().warn("no recording travels with the artifact");
        return Ok(Vec::new());
    }
    let connection = session.connect(location.host())?;
    let store = Store::new(&connection.client, &location.place, Access::Pull);
    let targets = carried::targets(layers, folder, &arguments.output)?;
    connection.run(carried::fetch(&store, layers, &targets))?;
    Ok(targets.iter().map(|target| target.path.display().to_string()).collect())
}

/// Writes a file by rename; what is no regular file (a device, a pipe) is written to as it is.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let outcome = compat_mirror::record::out::open_special(path).and_then(|special| match special {
        Some(mut file) => file.write_all(bytes),
        None => write_and_rename(path, bytes),
    });
    outcome.map_err(|error| Failure::from(&Error::io("write", path)(error)))
}

fn write_and_rename(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary = compat_sys::Temporary::new(folder)?;
    temporary.write_all(bytes)?;
    temporary.persist(path)
}
