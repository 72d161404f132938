//! One repository of a registry: the distribution specification's requests and what their answers
//! mean.

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;

use super::ask::{Ask, Target};
use super::client::Client;
use super::exchange::{Answer, Body};
use super::login::LoginKey;
use super::resume::resumed;
use super::retry::Repeat;
use crate::blob::{self, BlobReader};
use crate::error::{Error, Result};
use crate::format::FormatError;
use crate::format::digest::Digest;
use crate::format::location::{Selector, repository_text};
use crate::format::manifest::{Descriptor, Resolved, media_type_of, verify_digest};
use crate::limit;

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
    pub fn actions(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
            Self::Delete => "pull,push,delete",
        }
    }
}

/// One repository of a registry.
#[derive(Clone, Debug)]
pub struct Repository {
    pub(super) client: Client,
    pub(super) key: LoginKey,
}

/// How a registry took a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Whether it says that it keeps the subject's referrers itself (`OCI-Subject`).
    pub keeps_referrers: bool,
}

impl Repository {
    /// A repository that will be used in the given way.
    pub fn new(client: Client, host: &str, name: &str, access: Access) -> Self {
        Self { client, key: LoginKey { host: host.into(), name: name.into(), access, from: None } }
    }

    /// The same repository, which may take blobs over from another one of the same registry without a transfer
    /// (distribution-spec, "mounting a blob from another repository").
    #[must_use]
    pub fn mounting_from(mut self, source: &Self) -> Self {
        if source.key.host == self.key.host && source.key.name != self.key.name {
            self.key.from = Some(source.key.name.clone());
        }
        self
    }

    /// The registry's host.
    pub fn host(&self) -> &str {
        &self.key.host
    }

    /// The repository's name.
    pub fn name(&self) -> &str {
        &self.key.name
    }

    /// The client that this repository is reached with.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// How the repository is named to people.
    pub(crate) fn place(&self) -> String {
        repository_text(&self.key.host, &self.key.name)
    }

    /// How a manifest or blob of this repository is named to people.
    pub(crate) fn display(&self, what: &str) -> String {
        let separator = if what.contains(':') { '@' } else { ':' };
        format!("{}{separator}{what}", self.place())
    }

    /// Fetches a manifest; verified where it is named by a digest.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], or what went wrong.
    pub async fn manifest(&self, selector: &Selector) -> Result<Resolved> {
        let reference = reference_of(selector);
        let what = self.display(&reference);
        let ask = Ask::read(format!("manifests/{reference}"), &what, limit::MANIFEST).accepting_manifests();
        let answer = self.ask_ok(ask, &what).await?;
        let digest = match selector {
            Selector::Digest(digest) => {
                verify_digest(digest, &answer.body)?;
                digest.clone()
            }
            _ => stated_digest(&answer)?,
        };
        let media_type = media_type_of(&answer.body, answer.header("content-type"));
        let mut descriptor = Descriptor::of(media_type, &answer.body);
        descriptor.digest = digest;
        Ok(Resolved { descriptor, bytes: answer.body })
    }

    /// The digest that a registry says a tag has, or that it has this digest; none where it has not
    /// or does not say.
    ///
    /// # Errors
    ///
    /// Where the registry does not answer, or refuses.
    pub async fn manifest_digest(&self, selector: &Selector) -> Result<Option<Digest>> {
        let reference = reference_of(selector);
        let what = self.display(&reference);
        let mut ask =
            Ask::read(format!("manifests/{reference}"), &what, limit::MANIFEST).accepting_manifests();
        ask.method = Method::HEAD;
        let answer = self.ask(ask).await?;
        match answer.status.as_u16() {
            200 => {
                let stated = answer.header("docker-content-digest").and_then(|text| Digest::parse(text).ok());
                Ok(match selector {
                    Selector::Digest(digest) => Some(digest.clone()),
                    _ => stated,
                })
            }
            404 | 405 => Ok(None),
            _ => Err(self.failure(&answer, &format!("read {what}"))),
        }
    }

    /// Puts a manifest under a tag, or under its digest.
    ///
    /// # Errors
    ///
    /// Where the registry does not take it.
    pub async fn put_manifest(
        &self,
        tag: Option<&str>,
        descriptor: &Descriptor,
        bytes: &Bytes,
    ) -> Result<Accepted> {
        self.put(tag.unwrap_or(descriptor.digest.as_str()), descriptor, bytes, Repeat::Always).await
    }

    /// Puts the index under a fallback tag. It is sent once: another try could undo what someone
    /// else did in between, so whoever calls this reads again first.
    ///
    /// # Errors
    ///
    /// Where the registry does not take it.
    pub async fn put_fallback_index(&self, tag: &str, descriptor: &Descriptor, bytes: &Bytes) -> Result<()> {
        self.put(tag, descriptor, bytes, Repeat::IfRefused).await.map(|_| ())
    }

    async fn put(
        &self,
        reference: &str,
        descriptor: &Descriptor,
        bytes: &Bytes,
        repeat: Repeat,
    ) -> Result<Accepted> {
        let what = self.display(reference);
        let ask = Ask {
            method: Method::PUT,
            target: Target::Path(format!("manifests/{reference}")),
            headers: vec![(CONTENT_TYPE, descriptor.media_type.clone())],
            body: Body::Bytes(bytes.clone()),
            repeat,
            action: format!("write {what}"),
            limit: limit::ERROR_BODY,
            tentative: false,
        };
        let answer = self.ask(ask).await?;
        if !answer.status.is_success() {
            return Err(self.failure(&answer, &format!("write {what}")));
        }
        if let Some(stated) = answer.header("docker-content-digest")
            && stated.starts_with(descriptor.digest.algorithm())
            && stated != descriptor.digest.as_str()
        {
            let actual = Digest::parse(stated).map_err(|e| Error::malformed(&what, e.to_string()))?;
            return Err(FormatError::DigestMismatch { expected: descriptor.digest.clone(), actual }.into());
        }
        Ok(Accepted { keeps_referrers: answer.header("oci-subject").is_some() })
    }

    /// Deletes a manifest.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`]; [`Error::Status`] with 405 where the registry does not allow it.
    pub async fn delete_manifest(&self, reference: &str) -> Result<()> {
        let what = self.display(reference);
        let action = format!("delete {what}");
        let ask = Ask {
            method: Method::DELETE,
            target: Target::Path(format!("manifests/{reference}")),
            headers: Vec::new(),
            body: Body::Empty,
            repeat: Repeat::IfRefused,
            action: action.clone(),
            limit: limit::ERROR_BODY,
            tentative: false,
        };
        let answer = self.ask(ask).await?;
        match answer.status.as_u16() {
            200..=299 => Ok(()),
            404 => Err(Error::NotFound { what }),
            _ => Err(self.failure(&answer, &action)),
        }
    }

    /// Whether the repository has a blob.
    ///
    /// # Errors
    ///
    /// Where the registry does not answer, or refuses.
    pub async fn has_blob(&self, digest: &Digest) -> Result<bool> {
        let what = self.display(digest.as_str());
        let mut ask = Ask::read(format!("blobs/{digest}"), &what, limit::ERROR_BODY);
        ask.method = Method::HEAD;
        let answer = self.ask(ask).await?;
        match answer.status.as_u16() {
            200 => Ok(true),
            404 | 405 => Ok(false),
            // A storage service that this was handed to may not know the method: then it is sent.
            _ if self.is_foreign(&answer)? => Ok(false),
            _ => Err(self.failure(&answer, &format!("read {what}"))),
        }
    }

    /// Fetches a blob into memory, verified.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] beyond `limit`, [`Error::NotFound`], or what went wrong.
    pub async fn blob(&self, descriptor: &Descriptor, limit: u64) -> Result<Bytes> {
        let what = self.display(descriptor.digest.as_str());
        if descriptor.size > limit {
            return Err(Error::TooLarge { what, limit });
        }
        let path = format!("blobs/{}", descriptor.digest);
        let bound = descriptor.size.saturating_add(1).min(limit);
        let mut tries = 0;
        loop {
            let answer = self.ask_ok(Ask::read(path.clone(), &what, bound), &what).await?;
            // An answer without a length that ends early looks complete to HTTP.
            let short = (answer.body.len() as u64) < descriptor.size;
            if !short || tries >= self.client.options().retries {
                descriptor.verify(&answer.body)?;
                self.client.observer().transferred(answer.body.len() as u64);
                return Ok(answer.body);
            }
            tries += 1;
        }
    }

    /// Opens a blob as a stream that verifies what passes. A connection that breaks is taken up where it
    /// broke.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], or what went wrong.
    pub async fn open_blob(&self, descriptor: &Descriptor) -> Result<BlobReader> {
        let part = self.open_part(&descriptor.digest, descriptor.size, 0).await?;
        Ok(blob::verified(resumed(self.clone(), descriptor, part), descriptor))
    }
}

fn reference_of(selector: &Selector) -> String {
    match selector {
        Selector::Tag(tag) => tag.clone(),
        Selector::Digest(digest) => digest.to_string(),
        Selector::Only => "latest".to_owned(),
    }
}

/// The digest of a manifest that was asked for by its tag: what the registry states, if it is true.
fn stated_digest(answer: &Answer) -> Result<Digest> {
    let stated = answer.header("docker-content-digest").and_then(|text| Digest::parse(text).ok());
    let Some(stated) = stated else { return Ok(Digest::of(&answer.body)) };
    verify_digest(&stated, &answer.body)?;
    Ok(stated)
}
