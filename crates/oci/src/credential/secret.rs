//! A credential as a value, which never shows its secret.

use std::fmt;

/// What proves who one is.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A user's name and password.
    Password {
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
    /// A refresh token, exchanged for access tokens (`identitytoken`).
    Identity(String),
    /// An access token, sent as it is (`registrytoken`).
    Bearer(String),
}

impl fmt::Debug for Credential {
    /// Never shows the secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { username, .. } => write!(formatter, "Password({username:?}, …)"),
            Self::Identity(_) => formatter.write_str("Identity(…)"),
            Self::Bearer(_) => formatter.write_str("Bearer(…)"),
        }
    }
}

/// A credential with the place it came from, for messages.
#[derive(Clone, Debug)]
pub(crate) struct FoundCredential {
    /// The credential.
    pub credential: Credential,
    /// Where it came from.
    pub origin: String,
}
