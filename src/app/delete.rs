//! Deletes a manifest from a registry or layout: the work of `compat delete`.

use serde::Serialize;

use super::{Failure, Session};
use compat_oci::{Access, Digest, Location, Store, delete as registry};

/// The result of a deletion.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct DeleteReport {
    /// The reference, as it was understood.
    pub reference: String,
    /// The digest of the deleted manifest.
    #[schemars(with = "String")]
    pub digest: Digest,
    /// Whether the manifest was removed from the list under the fallback tag of its subject.
    pub unlisted: bool,
}

/// Deletes a manifest and all its tags. A tag is resolved to its manifest first.
///
/// # Errors
///
/// If the manifest does not exist, or the registry does not allow deletion.
pub fn delete(location: &Location, session: &Session) -> Result<DeleteReport, Failure> {
    let connection = session.connect(location.host())?;
    let store = Store::new(&connection.client, &location.place, Access::Delete);
    let deletion = connection.run(registry::delete(&store, &location.selector))?;
    Ok(DeleteReport { reference: location.to_string(), digest: deletion.digest, unlisted: deletion.unlisted })
}
