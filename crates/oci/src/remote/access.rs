//! What is wanted of a repository, and the login that a registry grants for it.

use std::time::Instant;

use reqwest::header::HeaderValue;

/// What is going to be done with a repository: one token covers all of it.
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
    /// The actions, as a scope names them.
    pub(crate) fn actions(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
            Self::Delete => "pull,push,delete",
        }
    }
}

/// What a login is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct LoginKey {
    /// The registry.
    pub host: String,
    /// The repository.
    pub name: String,
    /// What is wanted of it.
    pub access: Access,
    /// A repository of the same registry that blobs are mounted from.
    pub from: Option<String>,
}

/// What is sent to prove who one is.
#[derive(Clone, Debug)]
pub(super) struct Login {
    /// The `Authorization` header; none for anonymous access without a token.
    pub header: Option<HeaderValue>,
    /// The scope of the token.
    pub scope: String,
    /// Where the credentials came from, for messages.
    pub origin: Option<String>,
    /// When the token is said to expire.
    pub expires: Option<Instant>,
    /// The token is one that was kept by the user, not one that was fetched.
    pub kept: bool,
}

impl Login {
    /// Whether the token is said to be good still.
    pub(super) fn is_current(&self) -> bool {
        self.expires.is_none_or(|expires| Instant::now() < expires)
    }

    /// Whether no credentials were given.
    pub(super) fn is_anonymous(&self) -> bool {
        self.origin.is_none()
    }
}
