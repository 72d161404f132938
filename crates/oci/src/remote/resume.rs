//! A blob as one stream even if the connection breaks: the missing part is requested again (RFC 9110, section
//! 14: range requests).

use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use reqwest::header::RANGE;

use super::ask::Ask;
use super::message::BlobPart;
use super::repository::Repository;
use super::retry;
use crate::blob::BlobReader;
use crate::error::{Error, Result};
use crate::format::digest::Digest;
use crate::format::manifest::Descriptor;

/// After this many bytes, a connection counts as a new one.
const PROGRESS: u64 = 1 << 20;

struct Download {
    repository: Repository,
    digest: Digest,
    size: u64,
    part: Option<BlobPart>,
    received: u64,
    /// The number of breaks since the last progress, and the received bytes at the last break.
    breaks: u32,
    received_at_break: u64,
}

/// Returns the content of a blob whose first part is open. The content is not verified.
pub(super) fn resumed(repository: Repository, descriptor: &Descriptor, part: BlobPart) -> BlobReader {
    let download = Download {
        repository,
        digest: descriptor.digest.clone(),
        size: descriptor.size,
        part: Some(part),
        received: 0,
        breaks: 0,
        received_at_break: 0,
    };
    Box::pin(futures_util::stream::try_unfold(download, |mut download| async move {
        Ok(download.next().await?.map(|piece| (piece, download)))
    }))
}

impl Download {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let Some(part) = &mut self.part else {
                match Box::pin(self.repository.open_part(&self.digest, self.size, self.received)).await {
                    Ok(part) => self.part = Some(part),
                    Err(error) => self.broke(error).await?,
                }
                continue;
            };
            match part.stream.next().await {
                Some(Ok(piece)) => {
                    if let Some(piece) = self.new_of(piece)? {
                        self.received += piece.len() as u64;
                        return Ok(Some(piece));
                    }
                }
                Some(Err(error)) => self.broke(error).await?,
                // To HTTP, a response without a length that ends early looks complete.
                None if self.received < self.size && self.may_resume() => {
                    if !self.pause().await {
                        return Ok(None);
                    }
                }
                None => return Ok(None),
            }
        }
    }

    /// Returns the new bytes of a piece. A server may start again at the beginning without being asked to.
    fn new_of(&mut self, mut piece: Bytes) -> Result<Option<Bytes>> {
        let Some(part) = &mut self.part else { return Ok(None) };
        let known = self.received.checked_sub(part.start).ok_or_else(|| {
            Error::malformed(format!("the response for {}", self.digest), "it is not the requested part")
        })?;
        let known = usize::try_from(known).unwrap_or(usize::MAX).min(piece.len());
        part.start += known as u64;
        piece.advance(known);
        part.start += piece.len() as u64;
        Ok((!piece.is_empty()).then_some(piece))
    }

    fn may_resume(&self) -> bool {
        let breaks = if self.has_moved() { 0 } else { self.breaks };
        breaks < self.repository.client().options().retries
    }

    fn has_moved(&self) -> bool {
        self.received - self.received_at_break >= PROGRESS
    }

    /// Handles a broken connection: waits before the next one, or gives up.
    async fn broke(&mut self, error: Error) -> Result<()> {
        let worth_it = error.is_transient() || matches!(error, Error::TimedOut { .. });
        if !worth_it || self.received >= self.size || !self.may_resume() || !self.pause().await {
            return Err(error);
        }
        Ok(())
    }

    /// Waits before the next connection. Returns false if this run has waited for too long.
    async fn pause(&mut self) -> bool {
        if self.has_moved() {
            self.breaks = 0;
        }
        let wait = retry::pause_of(self.breaks, None).unwrap_or(Duration::from_secs(1));
        self.breaks += 1;
        self.received_at_break = self.received;
        self.part = None;
        let reason = format!("the connection to {} broke", self.repository.host());
        self.repository.client().wait(wait, &reason).await
    }
}

impl Repository {
    /// Requests the bytes of a blob from `start`.
    pub(super) async fn open_part(&self, digest: &Digest, size: u64, start: u64) -> Result<BlobPart> {
        let what = self.display(digest.as_str());
        let mut ask = Ask::read(format!("blobs/{digest}"), &what, size);
        if start > 0 {
            ask.headers.push((RANGE, format!("bytes={start}-")));
        }
        let request = self.request(ask)?;
        let mut fresh = false;
        loop {
            let login = self.client.login(&self.key);
            let header = login.as_ref().and_then(|login| login.header.as_ref());
            match self.client.exchange_stream(&request, header).await? {
                Ok(part) => return Ok(part),
                Err(answer) if answer.status == 401 && !fresh && !self.is_foreign(&answer)? => {
                    self.client.log_in(&self.key, &request, &answer, login.as_ref()).await?;
                    fresh = true;
                }
                Err(answer) if answer.status == 404 => return Err(self.not_found(&answer, &what)),
                Err(answer) => return Err(self.failure(&answer, &request.action)),
            }
        }
    }
}
