//! Takes a manifest out of a registry or layout: what `compat delete` does.

use serde::Serialize;

use super::{Failure, Session};
use compat_oci::{Access, Digest, Location, Store, delete as registry};

/// What a deletion did.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct DeleteReport {
    /// The reference as it was understood.
    pub reference: String,
    /// The digest of the manifest that is gone.
    #[schemars(with = "String")]
    pub digest: Digest,
    /// Whether it was taken out of the list under its subject's fallback tag.
    pub unlisted: bool,
}

/// Deletes a manifest with every tag it has; a tag is resolved first.
///
/// # Errors
///
/// If nothing is there, or the registry does not allow it.
pub fn delete(location: &Location, session: &Session) -> Result<DeleteReport, Failure> {
    let connection = session.connect(location.host())?;
    let store = Store::new(&connection.client, &location.place, Access::Delete);
    let deletion = connection.run(registry::delete(&store, &location.selector))?;
    Ok(DeleteReport { reference: location.to_string(), digest: deletion.digest, unlisted: deletion.unlisted })
}
