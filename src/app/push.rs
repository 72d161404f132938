//! A specification becomes an artifact under a name of its own: what `compat push` does.

use std::path::PathBuf;

use serde::Serialize;

use super::{Failure, Session, carried, document};
use compat_oci::{Access, Digest, Location, PackOptions, Selector, Store, pack, push as registry};

/// What is pushed.
#[derive(Clone, Debug, Default)]
pub struct PushOptions {
    /// The specification; `-` is standard input.
    pub file: PathBuf,
    /// Annotations of the artifact: keys with their values.
    pub annotations: Vec<(String, String)>,
    /// Recordings that travel with it; `-` is standard input.
    pub recordings: Vec<PathBuf>,
    /// The tag is taken over also from what is no compatibility artifact.
    pub replace: bool,
}

/// What a push did.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct PushReport {
    /// The reference as it was understood.
    pub reference: String,
    /// The digest of the artifact's manifest.
    #[schemars(with = "String")]
    pub digest: Digest,
    /// The size of the artifact's manifest in bytes.
    pub size: u64,
    /// Whether anything had to be sent: false where the same artifact was there already.
    pub sent: bool,
}

/// Pushes a specification; the same document pushed twice is sent once.
///
/// # Errors
///
/// If the document is not a specification, or the store does not take it.
pub fn push(location: &Location, options: &PushOptions, session: &Session) -> Result<PushReport, Failure> {
    let specification = document::read_specification(&options.file, session.stdin())?;
    let annotations = document::annotations(&options.annotations)?;
    let recordings = carried::read(&options.recordings, &options.file)?;
    let packing = PackOptions { subject: None, annotations, recordings };
    let packed = pack(&specification, packing).map_err(|error| Failure::from(&error))?;
    let digest = &packed.descriptor.digest;
    if let Selector::Digest(wanted) = &location.selector
        && wanted != digest
    {
        return Err(Failure::usage(format!(
            "the artifact's digest is {digest}, not {wanted}: push to a tag"
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
