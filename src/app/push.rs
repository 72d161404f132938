//! Stores a specification as an artifact under its own name: the work of `compat push`.

use std::path::PathBuf;

use serde::Serialize;

use super::{Failure, Session, carried, document};
use compat_oci::{Access, Digest, Location, PackOptions, Selector, Store, pack, push as registry};

/// The options of a push.
#[derive(Clone, Debug, Default)]
pub struct PushOptions {
    /// The specification (`-` for standard input).
    pub file: PathBuf,
    /// Annotations of the artifact: keys with their values.
    pub annotations: Vec<(String, String)>,
    /// Recordings to include (`-` for standard input).
    pub recordings: Vec<PathBuf>,
    /// Whether the tag is taken over even if it does not name a compatibility artifact.
    pub replace: bool,
}

/// The result of a push.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct PushReport {
    /// The reference, as it was understood.
    pub reference: String,
    /// The digest of the artifact's manifest.
    #[schemars(with = "String")]
    pub digest: Digest,
    /// The size of the artifact's manifest in bytes.
    pub size: u64,
    /// Whether anything was sent: false if the same artifact already existed.
    pub sent: bool,
}

/// Pushes a specification. Pushing the same document again sends nothing.
///
/// # Errors
///
/// If the document is not a specification, or the registry or layout does not accept it.
pub fn push(location: &Location, options: &PushOptions, session: &Session) -> Result<PushReport, Failure> {
    let hint = "derive a specification with `compat gen PATH -o compat.json`, or name another file";
    let specification = document::read_specification(&options.file, session.stdin(), hint)?;
    let annotations = document::annotations(&options.annotations)?;
    let recordings = carried::read(&options.recordings, &options.file)?;
    let packing = PackOptions { subject: None, annotations, recordings };
    let packed = pack(&specification, packing).map_err(|error| Failure::from(&error))?;
    let digest = &packed.descriptor.digest;
    if let Selector::Digest(wanted) = &location.selector
        && wanted != digest
    {
        return Err(Failure::usage(format!(
            "the artifact's digest is {digest}, not {wanted}: push to a tag instead"
        )));
    }
    let connection = session.connect(location.host())?;
    let store = Store::new(&connection.client, &location.place, Access::Push);
    let pushed = connection.run(registry(&store, location.tag(), &packed, options.replace))?;
    Ok(PushReport {
        reference: location.to_string(),
        digest: pushed.descriptor.digest,
        size: pushed.descriptor.size,
        sent: pushed.sent,
    })
}
