//! Errors between this program and a registry, a layout or the cache.

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
    /// A text or content violates the formats of OCI.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A container engine of this machine did not provide an image.
    #[error("{message}")]
    Engine {
        /// The error, with the engine and the image.
        message: String,
        /// The hint.
        hint: String,
    },
    /// An option has an invalid value.
    #[error("{option}: {reason}")]
    InvalidOption {
        /// The option.
        option: &'static str,
        /// The fault.
        reason: String,
    },
    /// A reference does not exist.
    #[error("{what} was not found")]
    NotFound {
        /// The reference, or a digest with its place.
        what: String,
    },
    /// The image exists, but no compatibility artifact is attached to it.
    #[error("no compatibility artifact is attached to {image}")]
    NoArtifact {
        /// The image.
        image: String,
        /// The reason why nothing can be attached to it, if that is so: the text of [`Error::CannotKeep`].
        refusal: Option<String>,
    },
    /// An index has no manifest for a platform.
    #[error("{image} has no manifest for {platform} (it has {offered})")]
    NoPlatform {
        /// The index.
        image: String,
        /// The platform that was requested.
        platform: String,
        /// The platforms of the index.
        offered: String,
    },
    /// The artifact has another type.
    #[error("{reference} is not a compatibility artifact: {reason}")]
    OtherArtifact {
        /// The artifact.
        reference: String,
        /// The type of the artifact.
        reason: String,
    },
    /// The registry requires credentials, or other credentials.
    #[error("could not {action}: {host} refused it: {detail} (401)")]
    Unauthorized {
        /// The registry, or its token service.
        host: String,
        /// The operation.
        action: String,
        /// The message of the registry, and the credentials that were tried.
        detail: String,
        /// Whether the registry offers a way to log in.
        offers_login: bool,
    },
    /// The credentials are valid, but lack permission.
    #[error("could not {action}: {host} denied it: {detail} (403)")]
    Denied {
        /// The registry, or its token service.
        host: String,
        /// The operation.
        action: String,
        /// The message of the registry.
        detail: String,
        /// The registry to log in to, if no credentials were given.
        login_at: Option<String>,
    },
    /// The registry returned another status than success, 401, 403 or 404.
    #[error("could not {action}: {host} answered {status}{detail}")]
    Status {
        /// The registry.
        host: String,
        /// The operation.
        action: String,
        /// The status.
        status: u16,
        /// The message of the registry, with its separator.
        detail: String,
        /// The delay that the registry requests.
        retry_after: Option<Duration>,
    },
    /// No response: no connection, a reset, or a TLS failure.
    #[error("could not {action}: no response from {host}")]
    Transport {
        /// The registry.
        host: String,
        /// The operation.
        action: String,
        /// Whether another attempt may succeed.
        transient: bool,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No data was transferred for too long.
    #[error("could not {action}: {host} made no progress for {} s", after.as_secs())]
    TimedOut {
        /// The registry.
        host: String,
        /// The operation.
        action: String,
        /// The timeout.
        after: Duration,
    },
    /// The content arrived too slowly.
    #[error("could not {action}: {host} sent less than {minimum} bytes per second")]
    TooSlow {
        /// The registry.
        host: String,
        /// The operation.
        action: String,
        /// The limit, in bytes per second.
        minimum: u64,
    },
    /// A redirect, realm or upload address was not followed.
    #[error("{host} redirects to {target}, which was not followed: {reason}")]
    Redirect {
        /// The registry.
        host: String,
        /// The address, without secrets.
        target: String,
        /// The reason.
        reason: String,
    },
    /// A redirect led to another origin, which failed. Another way exists.
    #[error(transparent)]
    Elsewhere(Box<Error>),
    /// The content exceeds a limit.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// The name of the content.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// A manifest refers to content that the store does not have.
    #[error("{manifest} refers to {missing}, which does not exist")]
    BlobUnknown {
        /// The manifest.
        manifest: String,
        /// The content.
        missing: Digest,
    },
    /// The content in a place does not match its digest or size.
    #[error("{place}: {fault}")]
    Content {
        /// The repository or layout.
        place: String,
        /// The fault.
        fault: Box<Error>,
    },
    /// A file with certificates, keys or credentials is invalid.
    #[error("{path}: {reason}", path = path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// The fault.
        reason: String,
    },
    /// A credential helper failed.
    #[error("credential helper {helper}: {reason}")]
    Helper {
        /// The program.
        helper: String,
        /// The reason.
        reason: String,
    },
    /// The directory is not an image layout.
    #[error("{path} is not an OCI image layout: {reason}", path = path.display())]
    Layout {
        /// The directory.
        path: PathBuf,
        /// The fault.
        reason: String,
    },
    /// A file could not be read or written.
    #[error("could not {action} {path}", path = path.display())]
    Io {
        /// The operation.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// An artifact was pushed but is not listed.
    #[error("{artifact} was pushed, but is not among the referrers of {subject}: {reason}")]
    NotListed {
        /// The artifact.
        artifact: Digest,
        /// The manifest that it was attached to.
        subject: String,
        /// The reason.
        reason: String,
    },
    /// The target knows a manifest by a digest other than the one that its referrers name.
    #[error("after the copy, {target} has {}, not {}: the artifacts attached to it would be lost", actual.as_ref().map_or_else(|| "no manifest".to_owned(), Digest::short), Digest::short(wanted))]
    OtherDigest {
        /// The reference in the target.
        target: String,
        /// The digest in the source, which the referrers name.
        wanted: Digest,
        /// The digest in the target, if the manifest exists.
        actual: Option<Digest>,
    },
    /// The tag of a push names something other than a compatibility artifact.
    #[error("{reference} is {kind}: the push would move its tag")]
    TagTaken {
        /// The tag.
        reference: String,
        /// The kind of manifest that the tag names.
        kind: String,
    },
    /// The registry has no way to keep referrers.
    #[error("nothing can be attached to {subject}: the registry has no referrers API, and {reason}")]
    CannotKeep {
        /// The manifest.
        subject: String,
        /// The content under its fallback tag.
        reason: String,
    },
    /// The operation needs the network in offline mode.
    #[error("{what} is not in the cache, and --offline prevents registry requests")]
    Offline {
        /// The missing content.
        what: String,
    },
}

impl Error {
    /// Creates a [`FormatError::Malformed`].
    pub fn malformed(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Format(FormatError::malformed(what, reason))
    }

    /// Creates an [`Error::Io`] for a path.
    pub fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// Adds the place of the content, if the content is at fault.
    pub(super) fn of_content_in(self, place: &str) -> Self {
        match self {
            Self::Format(FormatError::DigestMismatch { .. } | FormatError::SizeMismatch { .. }) => {
                Self::Content { place: place.to_owned(), fault: Box::new(self) }
            }
            other => other,
        }
    }

    /// Returns whether the error is wrong usage: the typed text can never work.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Format(fault) => fault.is_usage(),
            other => matches!(other, Self::InvalidOption { .. } | Self::TagTaken { .. }),
        }
    }

    /// Returns whether something does not exist, as opposed to a failure.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::NoArtifact { .. } | Self::NoPlatform { .. })
    }

    /// Returns whether the operation may succeed if it is repeated at once.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Transport { transient: true, .. }
                | Self::Status { status: 408 | 429 | 500 | 502..=504, .. }
        )
    }

    /// Returns the delay that the registry requests before another attempt.
    pub fn retry_after(&self) -> Option<Duration> {
        if let Self::Status { retry_after, .. } = self { *retry_after } else { None }
    }

    /// Returns whether the registry did not see a blob that a manifest refers to. docker-registry also
    /// reports this while another client pushes the same blob, because it writes its links in place.
    pub(crate) fn is_blob_unknown(&self) -> bool {
        match self {
            Self::BlobUnknown { .. } => true,
            Self::Status { status: 400 | 404, detail, .. } => detail.contains("BLOB_UNKNOWN"),
            _ => false,
        }
    }

    /// Returns whether the other side speaks TLS, but one side does not trust the other.
    pub(crate) fn is_about_certificates(&self) -> bool {
        matches!(self, Self::Transport { source, .. } if is_about_certificates(&source.to_string()))
    }

    /// Returns how the user can resolve the error.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoArtifact { image, refusal: Some(refusal) } => {
                return Some(format!(
                    "derive the specification with `compat check --generate {image}`, or push it under its own tag with \
                     `compat push` and check that tag (nothing can be attached: {refusal})"
                ));
            }
            Self::NoArtifact { image, refusal: None } => {
                return Some(format!(
                    "attach one with `compat attach --generate {image}`, or derive it without attaching with \
                     `compat check --generate {image}`"
                ));
            }
            Self::NoPlatform { .. } => "choose one of them with --platform OS/ARCH",
            Self::Unauthorized { host, offers_login: true, .. }
            | Self::Denied { login_at: Some(host), .. } => {
                return Some(login_hint(host));
            }
            Self::Unauthorized { .. } => {
                "check that the address is that of a registry, not of a proxy or web site in front of it"
            }
            Self::Denied { .. } => "the account may lack permission, or the repository may not exist",
            Self::Status { status, action, detail, .. } => return status_hint(*status, action, detail),
            Self::Transport { source, .. } => return transport_hint(source.as_ref()),
            Self::Elsewhere(fault) => return fault.hint(),
            Self::TimedOut { .. } | Self::TooSlow { .. } => "allow more time with --timeout SECONDS",
            Self::NotListed { .. } | Self::BlobUnknown { .. } => {
                "run the same command again (it sends nothing twice)"
            }
            Self::OtherDigest { .. } => {
                "name both sides by digest (@sha512:…) if the registry supports it, or copy to a layout (oci:DIR:TAG)"
            }
            Self::TagTaken { .. } => {
                "push it under another tag, attach it to the image with `compat attach`, or push with --replace"
            }
            Self::CannotKeep { .. } => {
                "push the artifact under its own tag with `compat push`, and check that tag"
            }
            Self::NotFound { what } if what.starts_with("oci:") => "check the directory and the tag",
            Self::NotFound { .. } => {
                "check the spelling of the repository and the tag, and log in if the repository is private"
            }
            Self::Offline { .. } => "run the command once without --offline to fill the cache",
            Self::Layout { .. } => {
                "`compat push` and `compat copy` create a layout if the directory is missing or empty"
            }
            Self::Content { place, .. } if place.starts_with("oci:") => {
                "the layout is damaged or incomplete: copy the image or artifact into it again"
            }
            Self::Content { .. } => {
                "run the command again; if it fails again, the content in the registry is damaged"
            }
            Self::OtherArtifact { .. } => "look at it with `compat inspect`",
            Self::Format(fault) => return fault.hint(),
            Self::Engine { hint, .. } => return Some(hint.clone()),
            _ => return None,
        };
        Some(hint.into())
    }
}

/// Returns an error with its causes in one line.
pub(super) fn chain(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn login_hint(host: &str) -> String {
    format!(
        "log in with `podman login {host}` or `docker login {host}`, or use --username and --password-stdin"
    )
}

/// Returns a hint for a status.
fn status_hint(status: u16, action: &str, detail: &str) -> Option<String> {
    let words = detail.to_ascii_lowercase();
    let hint = match status {
        400 if detail.contains("HTTPS") => "the registry speaks TLS: omit --plain-http",
        404 if detail.contains("NAME_UNKNOWN") => {
            "the registry may require that you create the repository first"
        }
        405 if action.starts_with("delete") => "the registry does not allow deletion (it is often disabled)",
        405 if action.starts_with("write") => "the registry is read-only: it may be a mirror or a cache",
        400 | 409 | 412 if words.contains("immutable") => {
            "the registry forbids changes to tags: use a new tag, or exempt tags that begin with `sha256-` (the lists of \
             attached artifacts) from the rule"
        }
        413 => "the registry, or a proxy in front of it, limits the size of requests",
        429 => "the registry limits the rate of requests: try again later",
        507 => "the registry has no space left",
        _ => return None,
    };
    Some(hint.into())
}

/// Returns a hint for a connection failure that the user can resolve.
fn transport_hint(source: &(dyn std::error::Error + 'static)) -> Option<String> {
    let text = source.to_string();
    let is = |words: &str| text.contains(words);
    let hint = match () {
        () if is("certificate expired")
            || is("certificate has expired")
            || is("not valid before")
            || is("not valid yet") =>
        {
            "check the clock of this machine, ask the registry's operator to renew the certificate, or accept it with --insecure"
        }
        () if is("certificate is for") => {
            "use a name that the certificate is for, or accept any name with --insecure"
        }
        () if is("(CA:TRUE)") => {
            "give the server its own certificate, and name the authority that signed it with --ca-file"
        }
        () if is("revoked") => "ask the registry's operator to renew the certificate",
        () if is("CertificateRequired") => {
            "present a client certificate with --cert-file FILE and --key-file FILE"
        }
        () if is_about_certificates(&text) => {
            "name the authority that signed the registry's certificate with --ca-file"
        }
        () if is("does not answer with TLS") => {
            "the registry may speak plain HTTP: allow it with --plain-http"
        }
        () if is("Connection refused") => "check the host and the port, and that the registry is running",
        () if is("cannot be resolved") => {
            "a reference is HOST/NAME:TAG: check the spelling of HOST, and that this machine has a name server"
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
        attach one with `compat attach --generate ghcr.io/a/b:1`, or derive it without attaching with `compat check --generate ghcr.io/a/b:1`
        ");
        insta::assert_snapshot!(hint(Error::Unauthorized {
            host: "ghcr.io".into(), action: "read a/b:1".into(), detail: "no credentials were found".into(),
            offers_login: true
        }), @r"
        could not read a/b:1: ghcr.io refused it: no credentials were found (401)
        log in with `podman login ghcr.io` or `docker login ghcr.io`, or use --username and --password-stdin
        ");
        insta::assert_snapshot!(hint(Error::TimedOut {
            host: "h".into(), action: "read a/b:1".into(), after: Duration::from_secs(30)
        }), @r"
        could not read a/b:1: h made no progress for 30 s
        allow more time with --timeout SECONDS
        ");
        insta::assert_snapshot!(hint(Error::Status {
            host: "h".into(), action: "delete a/b@sha256:1".into(), status: 405, detail: ": UNSUPPORTED".into(),
            retry_after: None
        }), @r"
        could not delete a/b@sha256:1: h answered 405: UNSUPPORTED
        the registry does not allow deletion (it is often disabled)
        ");
        insta::assert_snapshot!(hint(Error::Status {
            host: "h".into(), action: "write a/b:1".into(), status: 400,
            detail: ": the tag exists, and the repository is immutable".into(), retry_after: None
        }), @r"
        could not write a/b:1: h answered 400: the tag exists, and the repository is immutable
        the registry forbids changes to tags: use a new tag, or exempt tags that begin with `sha256-` (the lists of attached artifacts) from the rule
        ");
        insta::assert_snapshot!(hint(Error::Offline { what: "a/b:1".into() }), @r"
        a/b:1 is not in the cache, and --offline prevents registry requests
        run the command once without --offline to fill the cache
        ");
    }
}
