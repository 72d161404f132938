//! What can go wrong between this program and a registry, a layout or the cache.

use std::path::PathBuf;
use std::time::Duration;

use crate::format::FormatError;
use crate::format::digest::Digest;

/// The result of a registry operation.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a registry operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A text or content is not what the formats of OCI say.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A container engine of this machine did not give an image.
    #[error("{message}")]
    Engine {
        /// What went wrong, with which engine and image.
        message: String,
        /// The way out.
        hint: String,
    },
    /// An option cannot be used as it was given.
    #[error("{option}: {reason}")]
    InvalidOption {
        /// The option.
        option: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing lies under this name.
    #[error("{what} was not found")]
    NotFound {
        /// The reference or digest with its place.
        what: String,
    },
    /// The image is there, but no compatibility artifact is attached to it.
    #[error("no compatibility artifact is attached to {image}")]
    NoArtifact {
        /// The image.
        image: String,
        /// Why nothing can be attached to it, if that is so: [`Error::CannotKeep`] in words.
        refusal: Option<String>,
    },
    /// An index has no manifest for a platform.
    #[error("{image} has no manifest for {platform} (it has {offered})")]
    NoPlatform {
        /// The index.
        image: String,
        /// What was asked for.
        platform: String,
        /// What it has.
        offered: String,
    },
    /// An artifact of another kind.
    #[error("{reference} is not a compatibility artifact: {reason}")]
    OtherArtifact {
        /// The artifact.
        reference: String,
        /// What it is.
        reason: String,
    },
    /// The registry wants credentials, or others.
    #[error("could not {action}: {host} refused it: {detail} (401)")]
    Unauthorized {
        /// The registry, or its token service.
        host: String,
        /// What was tried.
        action: String,
        /// What the registry said, and which credentials were tried.
        detail: String,
        /// Whether it names a way to log in.
        offers_login: bool,
    },
    /// The credentials are good, but not for this.
    #[error("could not {action}: {host} denied it: {detail} (403)")]
    Denied {
        /// The registry, or its token service.
        host: String,
        /// What was tried.
        action: String,
        /// What the registry said.
        detail: String,
        /// The registry to log in to, if no credentials were given.
        login_at: Option<String>,
    },
    /// An answer that is neither success nor one of the above.
    #[error("could not {action}: {host} answered {status}{detail}")]
    Status {
        /// The registry.
        host: String,
        /// What was tried.
        action: String,
        /// The status.
        status: u16,
        /// What the registry said, with its separator.
        detail: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// No answer: no connection, a reset, TLS.
    #[error("could not {action}: no answer from {host}")]
    Transport {
        /// The registry.
        host: String,
        /// What was tried.
        action: String,
        /// Whether another try may go better.
        transient: bool,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Nothing moved for too long.
    #[error("could not {action}: {host} made no progress for {} s", after.as_secs())]
    TimedOut {
        /// The registry.
        host: String,
        /// What was tried.
        action: String,
        /// How long was waited.
        after: Duration,
    },
    /// Content came too slowly.
    #[error("could not {action}: {host} sent less than {minimum} bytes a second")]
    TooSlow {
        /// The registry.
        host: String,
        /// What was tried.
        action: String,
        /// The bound, in bytes a second.
        minimum: u64,
    },
    /// A redirect, realm or upload address that is not followed.
    #[error("{host} sent this client to {target}, which was not followed: {reason}")]
    Redirect {
        /// The registry.
        host: String,
        /// Where it pointed to, without secrets.
        target: String,
        /// Why it was not followed.
        reason: String,
    },
    /// A redirect led to another origin, which failed; there is another way.
    #[error(transparent)]
    Elsewhere(Box<Error>),
    /// More than is accepted.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// What is too large.
        what: String,
        /// The bound.
        limit: u64,
    },
    /// A manifest refers to something that the store does not have.
    #[error("{manifest} refers to {missing}, which is not there")]
    BlobUnknown {
        /// The manifest.
        manifest: String,
        /// What it refers to.
        missing: Digest,
    },
    /// Content in a place is not what its digest or size says.
    #[error("{place}: {fault}")]
    Content {
        /// The repository or layout.
        place: String,
        /// What is wrong with it.
        fault: Box<Error>,
    },
    /// A file with certificates, keys or credentials cannot be used.
    #[error("{path}: {reason}", path = path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A credential helper failed.
    #[error("credential helper {helper}: {reason}")]
    Helper {
        /// The program.
        helper: String,
        /// What went wrong.
        reason: String,
    },
    /// An image layout that is none.
    #[error("{path} is not an OCI image layout: {reason}", path = path.display())]
    Layout {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file could not be read or written.
    #[error("could not {action} {path}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// An artifact was pushed but no listing shows it.
    #[error("{artifact} was pushed, but the referrers of {subject} do not show it: {reason}")]
    NotListed {
        /// The artifact.
        artifact: Digest,
        /// The manifest it was attached to.
        subject: String,
        /// How it was looked for.
        reason: String,
    },
    /// A place that knows a manifest by another digest than the one that is attached to.
    #[error("{target} has {} after the copy, not the digest {}: what is attached to it would be lost", actual.as_ref().map_or_else(|| "no manifest".to_owned(), Digest::short), Digest::short(wanted))]
    OtherDigest {
        /// The reference in the target.
        target: String,
        /// The digest in the source, which the referrers name.
        wanted: Digest,
        /// The digest in the target, if it is there.
        actual: Option<Digest>,
    },
    /// A push to a tag that names something else than a compatibility artifact.
    #[error("{reference} is {kind}, and the push would take its tag away")]
    TagTaken {
        /// The tag.
        reference: String,
        /// What it names.
        kind: String,
    },
    /// A registry that has no way to keep what refers to a manifest.
    #[error("{subject}: this registry cannot keep what is attached: it has no referrers API, and {reason}")]
    CannotKeep {
        /// The manifest.
        subject: String,
        /// What lies under its fallback tag.
        reason: String,
    },
    /// Something that would need the network in offline mode.
    #[error("{what} is not in the cache, and --offline forbids to ask a registry")]
    Offline {
        /// What is missing.
        what: String,
    },
}

impl Error {
    /// A [`FormatError::Malformed`].
    pub fn malformed(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Format(FormatError::malformed(what, reason))
    }

    /// An [`Error::Io`] for a path.
    pub fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// The same, with the place that has the content, where content is what is wrong.
    pub(super) fn of_content_in(self, place: &str) -> Self {
        match self {
            Self::Format(FormatError::DigestMismatch { .. } | FormatError::SizeMismatch { .. }) => {
                Self::Content { place: place.to_owned(), fault: Box::new(self) }
            }
            other => other,
        }
    }

    /// Whether the user typed something that can never work.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Format(fault) => fault.is_usage(),
            other => matches!(other, Self::InvalidOption { .. } | Self::TagTaken { .. }),
        }
    }

    /// Whether nothing was there, as opposed to something having gone wrong.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::NoArtifact { .. } | Self::NoPlatform { .. })
    }

    /// Whether the same thing may work when it is tried again at once.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Transport { transient: true, .. }
                | Self::Status { status: 408 | 429 | 500 | 502..=504, .. }
        )
    }

    /// How long the registry asks to wait before another try.
    pub fn retry_after(&self) -> Option<Duration> {
        if let Self::Status { retry_after, .. } = self { *retry_after } else { None }
    }

    /// Whether a registry did not see a blob that a manifest refers to. docker-registry says so too
    /// while someone else is pushing the same blob: it writes its links in place.
    pub(crate) fn is_blob_unknown(&self) -> bool {
        match self {
            Self::BlobUnknown { .. } => true,
            Self::Status { status: 400 | 404, detail, .. } => detail.contains("BLOB_UNKNOWN"),
            _ => false,
        }
    }

    /// Whether the other side speaks TLS, but one of the two does not trust the other.
    pub(crate) fn is_about_certificates(&self) -> bool {
        matches!(self, Self::Transport { source, .. } if is_about_certificates(&source.to_string()))
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoArtifact { image, refusal: Some(refusal) } => {
                return Some(format!(
                    "`compat check --generate {image}` derives it from the image; nothing can be attached here ({refusal}): \
                     push it under a tag of its own with `compat push`, and check that one"
                ));
            }
            Self::NoArtifact { image, refusal: None } => {
                return Some(format!(
                    "attach one with `compat attach --generate {image}`; for an image of others, \
                     `compat check --generate {image}` derives it without attaching"
                ));
            }
            Self::NoPlatform { .. } => "choose one of them with --platform OS/ARCHITECTURE",
            Self::Unauthorized { host, offers_login: true, .. }
            | Self::Denied { login_at: Some(host), .. } => {
                return Some(login_hint(host));
            }
            Self::Unauthorized { .. } => {
                "see that the address is that of a registry, and not of a proxy or a web site before it"
            }
            Self::Denied { .. } => "the account may lack the right, or the repository may not exist",
            Self::Status { status, action, detail, .. } => return status_hint(*status, action, detail),
            Self::Transport { source, .. } => return transport_hint(source.as_ref()),
            Self::Elsewhere(fault) => return fault.hint(),
            Self::TimedOut { .. } | Self::TooSlow { .. } => "give it longer with --timeout SECONDS",
            Self::NotListed { .. } | Self::BlobUnknown { .. } => {
                "run the same command again: what was sent is not sent twice"
            }
            Self::OtherDigest { .. } => {
                "a registry may take it if both sides are named by the digest (@sha512:…); a layout (oci:DIR:TAG) does"
            }
            Self::TagTaken { .. } => {
                "push it under another tag, attach it to the image with `compat attach`, or push with --replace"
            }
            Self::CannotKeep { .. } => {
                "push the artifact under a tag of its own with `compat push`, and check that one"
            }
            Self::Offline { .. } => "run it once without --offline to fill the cache",
            Self::Layout { .. } => {
                "`compat push` and `compat copy` make one if the directory is missing or empty"
            }
            Self::OtherArtifact { .. } => "see what it is with `compat inspect`",
            Self::Format(fault) => return fault.hint(),
            Self::Engine { hint, .. } => return Some(hint.clone()),
            _ => return None,
        };
        Some(hint.into())
    }
}

/// An error with its causes in one line.
pub(super) fn chain(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn login_hint(host: &str) -> String {
    format!(
        "log in with `podman login {host}` or `docker login {host}`, or give --username and --password-stdin"
    )
}

/// What helps against a status.
fn status_hint(status: u16, action: &str, detail: &str) -> Option<String> {
    let words = detail.to_ascii_lowercase();
    let hint = match status {
        400 if detail.contains("HTTPS") => "the registry speaks TLS: leave out --plain-http",
        404 if detail.contains("NAME_UNKNOWN") => "this registry may want the repository to be made first",
        405 if action.starts_with("delete") => "this registry does not allow it (deletion is often disabled)",
        405 if action.starts_with("write") => {
            "this registry takes no writes here; it may be a mirror or a cache"
        }
        400 | 409 | 412 if words.contains("immutable") => {
            "a rule of the registry keeps tags as they are: take a new tag, or let the rule except tags that begin with \
             `sha256-`, under which is kept what is attached"
        }
        413 => "the registry, or a proxy before it, limits the size of what is sent",
        429 => "the registry limits the rate of requests: try again later",
        507 => "the registry has no space left",
        _ => return None,
    };
    Some(hint.into())
}

/// The faults of a connection that a user can mend.
fn transport_hint(source: &(dyn std::error::Error + 'static)) -> Option<String> {
    let text = source.to_string();
    let is = |words: &str| text.contains(words);
    let hint = match () {
        () if is("certificate expired")
            || is("certificate has expired")
            || is("not valid before")
            || is("not valid yet") =>
        {
            "the registry's operator has to renew it, unless this machine's clock is wrong; --insecure accepts it"
        }
        () if is("certificate is for") => {
            "use a name that the certificate is for; --insecure accepts any name"
        }
        () if is("(CA:TRUE)") => {
            "give the server a certificate of its own, and name the authority that signed it with --ca-file"
        }
        () if is("revoked") => "the registry's operator has to renew it",
        () if is("CertificateRequired") => {
            "the registry wants a client certificate: --cert-file FILE --key-file FILE"
        }
        () if is_about_certificates(&text) => {
            "name the authority that signed the registry's certificate with --ca-file"
        }
        () if is("InvalidContentType") || is("corrupt message") => {
            "the registry may speak plain HTTP: allow it with --plain-http"
        }
        () if is("cannot be resolved") => {
            "a reference is HOST/NAME:TAG: see that HOST is spelled right, and that this machine has a name server"
        }
        () => return None,
    };
    Some(hint.into())
}

fn is_about_certificates(text: &str) -> bool {
    text.contains("UnknownIssuer") || text.contains("certificate")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_user_can_do_is_said() {
        let hint = |error: Error| format!("{error}\n{}", error.hint().unwrap_or_default());
        insta::assert_snapshot!(hint(Error::NoArtifact { image: "ghcr.io/a/b:1".into(), refusal: None }), @r"
        no compatibility artifact is attached to ghcr.io/a/b:1
        attach one with `compat attach --generate ghcr.io/a/b:1`; for an image of others, `compat check --generate ghcr.io/a/b:1` derives it without attaching
        ");
        insta::assert_snapshot!(hint(Error::Unauthorized {
            host: "ghcr.io".into(), action: "read a/b:1".into(), detail: "no credentials were found".into(),
            offers_login: true
        }), @r"
        could not read a/b:1: ghcr.io refused it: no credentials were found (401)
        log in with `podman login ghcr.io` or `docker login ghcr.io`, or give --username and --password-stdin
        ");
        insta::assert_snapshot!(hint(Error::TimedOut {
            host: "h".into(), action: "read a/b:1".into(), after: Duration::from_secs(30)
        }), @r"
        could not read a/b:1: h made no progress for 30 s
        give it longer with --timeout SECONDS
        ");
        insta::assert_snapshot!(hint(Error::Status {
            host: "h".into(), action: "delete a/b@sha256:1".into(), status: 405, detail: ": UNSUPPORTED".into(),
            retry_after: None
        }), @r"
        could not delete a/b@sha256:1: h answered 405: UNSUPPORTED
        this registry does not allow it (deletion is often disabled)
        ");
        insta::assert_snapshot!(hint(Error::Status {
            host: "h".into(), action: "write a/b:1".into(), status: 400,
            detail: ": the tag exists, and the repository is immutable".into(), retry_after: None
        }), @r"
        could not write a/b:1: h answered 400: the tag exists, and the repository is immutable
        a rule of the registry keeps tags as they are: take a new tag, or let the rule except tags that begin with `sha256-`, under which is kept what is attached
        ");
        insta::assert_snapshot!(hint(Error::Offline { what: "a/b:1".into() }), @r"
        a/b:1 is not in the cache, and --offline forbids to ask a registry
        run it once without --offline to fill the cache
        ");
    }
}
