//! Requests for manifests (distribution-spec, "pulling manifests", "pushing manifests", "deleting
//! manifests").

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;

use super::ask::{Ask, AskTarget};
use super::message::{Answer, RequestBody};
use super::repository::Repository;
use super::retry::Repeat;
use crate::error::{Error, Result};
use crate::format::FormatError;
use crate::format::digest::Digest;
use crate::format::location::Selector;
use crate::format::manifest::{Descriptor, Resolved, media_type_of, verify_digest};
use crate::limit;

/// The response of a registry to a pushed manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// Whether the registry announces that it lists the subject's referrers itself (`OCI-Subject`).
    pub keeps_referrers: bool,
}

impl Repository {
    /// Fetches a manifest, which is verified if it is selected by digest.
    ///
    /// # Errors
    ///
    /// If the manifest does not exist ([`Error::NotFound`]), or the registry fails.
    pub(crate) async fn manifest(&self, selector: &Selector) -> Result<Resolved> {
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

    /// Returns the digest that the registry states for a tag, or the selected digest if it exists. Returns
    /// `None` if the manifest does not exist or no digest is stated.
    ///
    /// # Errors
    ///
    /// If the registry does not respond, or refuses.
    pub(crate) async fn manifest_digest(&self, selector: &Selector) -> Result<Option<Digest>> {
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

    /// Writes a manifest under a tag, or under its digest.
    ///
    /// # Errors
    ///
    /// If the registry does not accept it.
    pub(crate) async fn put_manifest(
        &self,
        tag: Option<&str>,
        descriptor: &Descriptor,
        bytes: &Bytes,
    ) -> Result<Accepted> {
        self.put(tag.unwrap_or(descriptor.digest.as_str()), descriptor, bytes, Repeat::Always).await
    }

    /// Writes the index under a fallback tag. It is sent once, because another attempt could undo a change of
    /// another client. Callers read the index again first.
    ///
    /// # Errors
    ///
    /// If the registry does not accept it.
    pub(crate) async fn put_fallback_index(
        &self,
        tag: &str,
        descriptor: &Descriptor,
        bytes: &Bytes,
    ) -> Result<()> {
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
            target: AskTarget::Path(format!("manifests/{reference}")),
            headers: vec![(CONTENT_TYPE, descriptor.media_type.clone())],
            body: RequestBody::Bytes(bytes.clone()),
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
    /// If the manifest does not exist ([`Error::NotFound`]), or the registry does not allow deletion
    /// ([`Error::Status`] with 405).
    pub(crate) async fn delete_manifest(&self, reference: &str) -> Result<()> {
        let what = self.display(reference);
        let action = format!("delete {what}");
        let ask = Ask {
            method: Method::DELETE,
            target: AskTarget::Path(format!("manifests/{reference}")),
            headers: Vec::new(),
            body: RequestBody::Empty,
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
}

fn reference_of(selector: &Selector) -> String {
    match selector {
        Selector::Tag(tag) => tag.clone(),
        Selector::Digest(digest) => digest.to_string(),
        Selector::Only => "latest".to_owned(),
    }
}

/// Returns the digest of a manifest fetched by tag: the stated digest, if it is correct.
fn stated_digest(answer: &Answer) -> Result<Digest> {
    let stated = answer.header("docker-content-digest").and_then(|text| Digest::parse(text).ok());
    let Some(stated) = stated else { return Ok(Digest::of(&answer.body)) };
    verify_digest(&stated, &answer.body)?;
    Ok(stated)
}
