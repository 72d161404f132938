//! The requested access to a repository, and the login that a registry grants for it.

use std::time::Instant;

use reqwest::header::HeaderValue;

/// The requested access to a repository. One token covers all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reading.
    Pull,
    /// Reading and writing.
    Push,
    /// Reading, writing and deleting.
    Delete,
}

impl Access {
    /// Returns the actions, as named in a scope.
    pub(crate) fn actions(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
            Self::Delete => "pull,push,delete",
        }
    }
}

/// The key of a login.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct LoginKey {
    /// The registry.
    pub host: String,
    /// The repository.
    pub name: String,
    /// The access.
    pub access: Access,
    /// A repository of the same registry from which blobs are mounted.
    pub from: Option<String>,
}

/// The proof of identity that is sent.
#[derive(Clone, Debug)]
pub(super) struct Login {
    /// The `Authorization` header, or `None` for anonymous access without a token.
    pub header: Option<HeaderValue>,
    /// The scope of the token.
    pub scope: String,
    /// The origin of the credentials, for messages.
    pub origin: Option<String>,
    /// The stated expiry of the token.
    pub expires: Option<Instant>,
    /// Whether the user stored this token. Otherwise it was fetched.
    pub kept: bool,
}

impl Login {
    /// Returns whether the token is still valid by its stated expiry.
    pub(super) fn is_current(&self) -> bool {
        self.expires.is_none_or(|expires| Instant::now() < expires)
    }

    /// Returns whether no credentials were given.
    pub(super) fn is_anonymous(&self) -> bool {
        self.origin.is_none()
    }
}
