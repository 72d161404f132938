//! Requests for existing blobs (distribution-spec, "pulling blobs", "checking if content exists in the
//! registry").

use bytes::Bytes;
use reqwest::Method;

use super::ask::Ask;
use super::repository::Repository;
use super::resume::resumed;
use crate::blob::{self, BlobReader};
use crate::error::{Error, Result};
use crate::format::digest::Digest;
use crate::format::manifest::Descriptor;
use crate::limit;

impl Repository {
    /// Returns whether the repository has a blob.
    ///
    /// # Errors
    ///
    /// If the registry does not respond, or refuses.
    pub(crate) async fn has_blob(&self, digest: &Digest) -> Result<bool> {
        let what = self.display(digest.as_str());
        let mut ask = Ask::read(format!("blobs/{digest}"), &what, limit::ERROR_BODY);
        ask.method = Method::HEAD;
        let answer = self.ask(ask).await?;
        match answer.status.as_u16() {
            200 => Ok(true),
            404 | 405 => Ok(false),
            // The storage service at the target of a redirect may not support the method. The blob is then
            // sent.
            _ if self.is_foreign(&answer)? => Ok(false),
            _ => Err(self.failure(&answer, &format!("read {what}"))),
        }
    }

    /// Fetches a blob into memory and verifies it.
    ///
    /// # Errors
    ///
    /// If the blob exceeds `limit` ([`Error::TooLarge`]), does not exist ([`Error::NotFound`]), or the
    /// registry fails.
    pub(crate) async fn blob(&self, descriptor: &Descriptor, limit: u64) -> Result<Bytes> {
        let what = self.display(descriptor.digest.as_str());
        if descriptor.size > limit {
            return Err(Error::TooLarge { what, limit });
        }
        let path = format!("blobs/{}", descriptor.digest);
        let bound = descriptor.size.saturating_add(1).min(limit);
        let mut tries = 0;
        loop {
            let answer = self.ask_ok(Ask::read(path.clone(), &what, bound), &what).await?;
            // To HTTP, a response without a length that ends early looks complete.
            let short = (answer.body.len() as u64) < descriptor.size;
            if !short || tries >= self.client.options().retries {
                descriptor.verify(&answer.body)?;
                self.client.observer().transferred(answer.body.len() as u64);
                return Ok(answer.body);
            }
            tries += 1;
        }
    }

    /// Opens a blob as a stream that verifies the content. A broken connection is resumed at the same
    /// position.
    ///
    /// # Errors
    ///
    /// If the blob does not exist ([`Error::NotFound`]), or the registry fails.
    pub(crate) async fn open_blob(&self, descriptor: &Descriptor) -> Result<BlobReader> {
        let part = self.open_part(&descriptor.digest, descriptor.size, 0).await?;
        Ok(blob::verified(resumed(self.clone(), descriptor, part), descriptor))
    }
}
