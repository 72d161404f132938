//! A credential, which never shows its secret.

use std::fmt;

/// A credential of a user.
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
    /// An access token, sent unchanged (`registrytoken`).
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

/// A credential with its origin, for messages.
#[derive(Clone, Debug)]
pub(crate) struct FoundCredential {
    /// The credential.
    pub credential: Credential,
    /// The origin.
    pub origin: String,
}
