//! Blob transfer: streams that verify digest and size, and the sources of blobs.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};

use crate::error::{Error, Result};
use crate::format::FormatError;
use crate::format::digest::Hasher;
use crate::format::manifest::Descriptor;

/// A stream of a blob's bytes.
pub type BlobReader = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// How a blob arrived at the target of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It already existed.
    Present,
    /// It was sent.
    Sent,
    /// The registry mounted it from another of its repositories.
    Mounted,
}

/// A blob that is being opened.
pub(crate) type Opening<'a> = Pin<Box<dyn Future<Output = Result<BlobReader>> + Send + 'a>>;

/// A store from which blobs can be read: a repository or a layout.
pub(crate) trait OpenBlob: fmt::Debug + Send + Sync {
    /// Opens a blob as a stream that verifies the content.
    fn open<'a>(&'a self, descriptor: &'a Descriptor) -> Opening<'a>;
}

/// The source of a blob to push. It may be opened several times, because an interrupted push starts again.
#[derive(Clone, Debug)]
pub(crate) enum BlobSource {
    /// From memory.
    Bytes(Bytes),
    /// From another store, without holding the bytes in memory.
    Stored(Arc<dyn OpenBlob>),
}

impl BlobSource {
    /// Returns the source of a blob in another store.
    pub(crate) fn stored(store: impl OpenBlob + 'static) -> Self {
        Self::Stored(Arc::new(store))
    }

    /// Opens the blob for reading. The content is verified.
    ///
    /// # Errors
    ///
    /// If the source cannot be read.
    pub(crate) async fn open(&self, descriptor: &Descriptor) -> Result<BlobReader> {
        match self {
            Self::Bytes(bytes) => {
                descriptor.verify(bytes)?;
                let bytes = bytes.clone();
                Ok(Box::pin(stream::once(async move { Ok(bytes) })))
            }
            Self::Stored(store) => store.open(descriptor).await,
        }
    }
}

struct Verifier {
    inner: BlobReader,
    descriptor: Descriptor,
    hasher: Option<Hasher>,
    received: u64,
    held: Option<Bytes>,
}

/// Wraps a stream so that it ends with an error unless its content matches the descriptor. The last piece is
/// passed on only after all content has been verified.
pub fn verified(inner: BlobReader, descriptor: &Descriptor) -> BlobReader {
    let hasher = Some(descriptor.digest.hasher());
    let state = Verifier { inner, descriptor: descriptor.clone(), hasher, received: 0, held: None };
    Box::pin(stream::unfold(state, |mut state| async move {
        let item = state.next().await?;
        if item.is_err() {
            state.hasher = None;
        }
        Some((item, state))
    }))
}

impl Verifier {
    async fn next(&mut self) -> Option<Result<Bytes>> {
        loop {
            let hasher = self.hasher.as_mut()?;
            match self.inner.next().await {
                Some(Ok(chunk)) => {
                    self.received += chunk.len() as u64;
                    if self.received > self.descriptor.size {
                        return Some(Err(self.size_mismatch()));
                    }
                    hasher.update(&chunk);
                    if let Some(held) = self.held.replace(chunk) {
                        return Some(Ok(held));
                    }
                }
                Some(Err(error)) => return Some(Err(error)),
                None => return self.end(),
            }
        }
    }

    fn end(&mut self) -> Option<Result<Bytes>> {
        let hasher = self.hasher.take()?;
        if self.received != self.descriptor.size {
            return Some(Err(self.size_mismatch()));
        }
        let actual = hasher.finish();
        if actual != self.descriptor.digest {
            return Some(Err(FormatError::DigestMismatch {
                expected: self.descriptor.digest.clone(),
                actual,
            }
            .into()));
        }
        self.held.take().map(Ok)
    }

    fn size_mismatch(&self) -> Error {
        let (digest, expected) = (self.descriptor.digest.clone(), self.descriptor.size);
        FormatError::SizeMismatch { digest, expected, actual: self.received }.into()
    }
}

/// Reads a stream to its end.
///
/// # Errors
///
/// The error of the stream, or [`Error::TooLarge`] if the content exceeds `limit`.
pub async fn collect(mut reader: BlobReader, what: &str, limit: u64) -> Result<Bytes> {
    let mut bytes = Vec::new();
    while let Some(chunk) = reader.next().await {
        let chunk = chunk?;
        if bytes.len() as u64 + chunk.len() as u64 > limit {
            return Err(Error::TooLarge { what: what.to_owned(), limit });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&'static [u8]], descriptor: &Descriptor) -> Vec<std::result::Result<Bytes, String>> {
        let pieces: Vec<Result<Bytes>> = pieces.iter().map(|piece| Ok(Bytes::from_static(piece))).collect();
        let inner: BlobReader = Box::pin(stream::iter(pieces));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            verified(inner, descriptor).map(|item| item.map_err(|error| error.to_string())).collect().await
        })
    }

    #[test]
    fn what_is_not_the_blob_never_comes_through_whole() {
        let descriptor = Descriptor::of("x", b"abcdef");
        let good = read(&[b"abc", b"def"], &descriptor);
        assert!(good.iter().all(|item| item.is_ok()) && good.len() == 2);
        for pieces in [&[&b"abc"[..], b"deX"][..], &[b"abc"], &[b"abcdef", b"g"], &[]] {
            let read = read(pieces, &descriptor);
            assert!(read.last().unwrap().is_err());
            let passed: usize = read.iter().flatten().map(Bytes::len).sum();
            assert!(passed < 6, "{passed}");
        }
    }
}
