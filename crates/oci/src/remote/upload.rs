//! Blob uploads: check for the blob, begin (`POST`), send (`PUT`). After a broken connection or an expired
//! login, the upload starts again from the beginning, because an upload session is not trusted to have kept
//! anything.

use std::sync::Mutex;

use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, LOCATION};
use url::Url;

use super::ask::{Ask, AskTarget};
use super::message::{Answer, RequestBody};
use super::repository::Repository;
use super::retry::{self, Repeat};
use crate::blob::{Arrival, BlobSource};
use crate::error::{Error, Result};
use crate::format::manifest::Descriptor;
use crate::limit;

/// The result of the first request of an upload.
enum Begun {
    /// The registry has the blob.
    There,
    /// The address to send the blob to.
    At(Url),
}

fn begin_at(path: String, action: &str) -> Ask {
    Ask {
        method: Method::POST,
        target: AskTarget::Path(path),
        headers: Vec::new(),
        body: RequestBody::Empty,
        repeat: Repeat::IfRefused,
        action: action.to_owned(),
        limit: limit::ERROR_BODY,
        tentative: false,
    }
}

impl Repository {
    /// Pushes a blob unless it exists. Returns how it arrived.
    ///
    /// # Errors
    ///
    /// If the registry does not accept it, or the source cannot be read.
    pub(crate) async fn push_blob(&self, descriptor: &Descriptor, source: &BlobSource) -> Result<Arrival> {
        let mut attempt = 0;
        loop {
            if self.has_blob(&descriptor.digest).await? {
                return Ok(Arrival::Present);
            }
            let outcome = self.upload(descriptor, source).await;
            let again = match &outcome {
                Ok(Some(arrival)) => return Ok(*arrival),
                // The login expired while the blob was sent, and has been renewed.
                Ok(None) => true,
                Err(error) => error.is_transient(),
            };
            let wanted = outcome.as_ref().err().and_then(Error::retry_after);
            let pause = retry::pause_of(attempt, wanted).filter(|_| again);
            let pause = pause.filter(|_| attempt < self.client.options().retries);
            let reason =
                outcome.as_ref().err().map_or_else(|| "the login expired".to_owned(), Error::to_string);
            let waited = match pause {
                Some(pause) => self.client.wait(pause, &reason).await,
                None => false,
            };
            if !waited {
                let what = self.display(descriptor.digest.as_str());
                let host = self.host().to_owned();
                return outcome.and(Err(Error::Unauthorized {
                    host,
                    action: format!("write {what}"),
                    detail: "each new login expired during the upload".into(),
                    offers_login: true,
                }));
            }
            attempt += 1;
        }
    }

    /// Makes one attempt. Returns `None` if the login expired during the upload.
    async fn upload(&self, descriptor: &Descriptor, source: &BlobSource) -> Result<Option<Arrival>> {
        let action = format!("write {}", self.display(descriptor.digest.as_str()));
        let url = match self.begin(descriptor, source, &action).await? {
            Begun::There => return Ok(Some(Arrival::Mounted)),
            Begun::At(url) => url,
        };
        let (body, in_memory) = match source {
            BlobSource::Bytes(bytes) => (RequestBody::Bytes(bytes.clone()), true),
            BlobSource::Stored(_) => {
                let stream = source.open(descriptor).await?;
                (RequestBody::Stream(Mutex::new(Some(stream)), descriptor.size), false)
            }
        };
        let send = Ask {
            method: Method::PUT,
            target: AskTarget::Url(url),
            headers: vec![(CONTENT_TYPE, "application/octet-stream".into())],
            body,
            repeat: Repeat::IfRefused,
            action: action.clone(),
            limit: limit::ERROR_BODY,
            tentative: false,
        };
        let answer = self.ask(send).await?;
        match answer.status.as_u16() {
            200..=299 => {
                // A stream has already reported its bytes.
                self.client.observer().transferred(if in_memory { descriptor.size } else { 0 });
                Ok(Some(Arrival::Sent))
            }
            401 => Ok(None),
            _ => Err(self.failure(&answer, &action)),
        }
    }

    /// Begins an upload. If the blob comes from another repository of the registry, mounting it is requested
    /// first. A registry that cannot mount it begins an upload (202), or is asked again without the mount.
    async fn begin(&self, descriptor: &Descriptor, source: &BlobSource, action: &str) -> Result<Begun> {
        let from = self.key.from.as_ref().filter(|_| matches!(source, BlobSource::Stored(_)));
        if let Some(from) = from {
            let query = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("mount", descriptor.digest.as_str())
                .append_pair("from", from)
                .finish();
            let answer = self.ask(begin_at(format!("blobs/uploads/?{query}"), action)).await?;
            match answer.status.as_u16() {
                201 => return Ok(Begun::There),
                200..=299 => return self.upload_address(&answer, descriptor).map(Begun::At),
                _ => {}
            }
        }
        let answer = self.ask(begin_at("blobs/uploads/".into(), action)).await?;
        match answer.status.as_u16() {
            201 => Ok(Begun::There),
            200..=299 => self.upload_address(&answer, descriptor).map(Begun::At),
            _ => Err(self.failure(&answer, action)),
        }
    }

    /// Returns the address to send the blob to. Another host receives the blob but never the login. A
    /// registry with TLS cannot choose an address in plain HTTP.
    fn upload_address(&self, answer: &Answer, descriptor: &Descriptor) -> Result<Url> {
        let what = format!("the upload address from {}", self.host());
        let location = answer.header(LOCATION.as_str());
        let location = location.ok_or_else(|| Error::malformed(&what, "it is missing"))?;
        let mut url =
            answer.url.join(location).map_err(|error| Error::malformed(&what, error.to_string()))?;
        super::exchange::check_target(self.host(), &answer.url, &url)?;
        url.query_pairs_mut().append_pair("digest", descriptor.digest.as_str());
        Ok(url)
    }
}
