//! Reads an image by streaming each of its layers once, the top one first.
//!
//! Three threads work on a layer. The caller's thread receives and verifies the bytes, which may arrive slowly
//! from a registry. The second thread decompresses them. The third reads the archive and packs objects. Bounded
//! channels connect the threads, so the memory in use does not depend on the layer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;

use futures_util::StreamExt;
use tokio::sync::mpsc;

use crate::blobs::{Blobs, LayerBlob};
use crate::config::Config;
use crate::error::{Error, Fault, Result};
use crate::layer::{LayerState, ROUNDS};
use crate::limit::Limits;
use crate::listing::{ImageLocation, ImageParts, ListedImage, Listing};
use crate::source::Source;
use crate::tree::Tree;
use crate::{decode, directory};
use compat_oci::blob::BlobReader;
use compat_oci::{Descriptor, Digest, Manifest, Platform};

/// The most pieces of a layer that wait for decompression.
const PIECES: usize = 16;
/// The most decompressed blocks that wait to be read.
const BLOCKS: usize = 8;

/// An image that was read.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its manifest. `None` for images of `docker save` and for directories.
    pub descriptor: Option<Descriptor>,
    /// Its platform with the variant. `None` for a directory.
    pub platform: Option<Platform>,
    /// Its configuration, which names the command. Empty for a directory.
    pub config: Config,
    /// Its files.
    pub tree: Tree,
    /// Notes for the user.
    pub notes: Vec<String>,
    /// The amount of data that was read.
    pub size: Size,
}

/// The amount of data that was read of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// The number of layers.
    pub layers: usize,
    /// The stored bytes of the layers. A layer that was read twice counts twice.
    pub stored: u64,
    /// The decompressed bytes of the layers.
    pub unpacked: u64,
    /// The number of files, directories, links and whiteouts of all layers.
    pub entries: u64,
}

/// Reads one image of a listing.
///
/// # Errors
///
/// If a part of it cannot be fetched, does not match its digest, violates its format or exceeds `limits`.
pub async fn read(listing: &Listing, entry: &ListedImage, limits: &Limits) -> Result<Image> {
    let (Source::Directory(path), ImageLocation::Directory) = (&listing.source, &entry.content) else {
        return read_layers(listing, entry, limits).await;
    };
    let read = directory::read(path, limits)?;
    let size = Size { entries: read.entries, ..Size::default() };
    let config = Config::default();
    Ok(Image { descriptor: None, platform: None, config, tree: read.tree, notes: read.notes, size })
}

async fn read_layers(listing: &Listing, entry: &ListedImage, limits: &Limits) -> Result<Image> {
    let (Some(blobs), parts) = (&listing.blobs, parts(listing, entry).await?) else {
        let reason = "it has no layers".to_owned();
        return Err(Error::NotAnImage { what: listing.source.to_string(), reason });
    };
    let state = LayerState::new(*limits).map_err(|error| Error::TooLarge {
        what: listing.source.to_string(),
        fault: Fault::Machine(error),
    })?;
    let mut reading = Reading { blobs, size: Size { layers: parts.layers.len(), ..Size::default() }, state };
    for (number, layer) in parts.layers.iter().enumerate().rev() {
        let diff_id = match layer {
            // The digest of the stored bytes has been verified, so the content is the same.
            LayerBlob::Blob(_) => None,
            LayerBlob::Member { .. } => parts.config.diff_ids.get(number).cloned(),
        };
        reading = reading.layer(number as u32, layer, diff_id).await?;
    }
    if let Some((number, fault)) = reading.state.broken_link() {
        let layer = parts.layers.get(number as usize).map(LayerBlob::name).unwrap_or_default();
        return Err(Error::Layer { layer, fault });
    }
    let mut size = reading.size;
    size.entries = reading.state.entries;
    Ok(Image {
        descriptor: entry.descriptor.clone(),
        platform: entry.platform.clone().or_else(|| parts.config.platform()),
        config: parts.config,
        tree: reading.state.merge.finish(),
        notes: Vec::new(),
        size,
    })
}

/// The configuration and layers of an image.
async fn parts(listing: &Listing, entry: &ListedImage) -> Result<ImageParts> {
    match (&entry.content, &listing.blobs, &entry.descriptor) {
        (ImageLocation::Read(parts), ..) => Ok(ImageParts::clone(parts)),
        (ImageLocation::Manifest, Some(blobs), Some(descriptor)) => {
            match blobs.manifest(descriptor).await?.parse()? {
                Manifest::Image(manifest) => ImageParts::of(&listing.source, blobs, &manifest).await,
                Manifest::Index(_) => {
                    let what = format!("manifest {}", descriptor.digest);
                    Err(compat_oci::Error::malformed(what, "it is an index instead of an image manifest")
                        .into())
                }
            }
        }
        _ => Err(Error::NotAnImage {
            what: listing.source.to_string(),
            reason: "it is a directory".to_owned(),
        }),
    }
}

struct Reading<'a> {
    blobs: &'a Blobs,
    size: Size,
    state: LayerState,
}

/// The work on a layer's archive.
#[derive(Clone)]
enum Pass {
    /// Merge it below the layers before it.
    Apply(Option<Digest>),
    /// Search it for the targets of hard links.
    Search,
}

impl Reading<'_> {
    async fn layer(self, number: u32, layer: &LayerBlob, diff_id: Option<Digest>) -> Result<Self> {
        if let LayerBlob::Blob(descriptor) = layer
            && descriptor.media_type.ends_with("+encrypted")
        {
            let fault = Fault::Unsupported("it is encrypted".to_owned());
            return Err(Error::Layer { layer: layer.name(), fault });
        }
        let mut reading = self.pass(number, layer, Pass::Apply(diff_id)).await?;
        for _ in 0..ROUNDS {
            if !reading.state.wanted.again {
                break;
            }
            reading = reading.pass(number, layer, Pass::Search).await?;
        }
        Ok(reading)
    }

    /// Streams a layer.
    async fn pass(mut self, number: u32, layer: &LayerBlob, pass: Pass) -> Result<Self> {
        let mut stream: BlobReader = Box::pin(self.open(layer).await?.fuse());
        let failed = |fault| Error::Layer { layer: layer.name(), fault };
        let (pieces, source) = mpsc::channel(PIECES);
        let work = start(self.state, number, pass, source, self.size.unpacked).map_err(failed)?;
        let mut failure = None;
        while let Some(piece) = stream.next().await {
            match piece {
                Ok(piece) => {
                    if pieces.send(piece).await.is_err() {
                        break;
                    }
                }
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        drop(pieces);
        let done = work.finish();
        if let Some(error) = failure {
            return Err(error.into());
        }
        let done = match done {
            // A malformed layer may have the wrong digest, which is the more helpful error.
            Err(fault @ Fault::Malformed(_)) => {
                rest(stream).await?;
                return Err(failed(fault));
            }
            done => done.map_err(failed)?,
        };
        rest(stream).await?;
        self.state = done.state;
        self.size.unpacked += done.unpacked;
        self.size.stored += done.stored;
        Ok(self)
    }

    async fn open(&self, layer: &LayerBlob) -> Result<BlobReader> {
        match self.blobs.open(layer).await {
            Err(Error::Registry(error)) if error.is_not_found() && layer.is_foreign() => {
                let reason = "it is a foreign layer, which is not distributed with the image";
                Err(Error::Layer { layer: layer.name(), fault: Fault::Unsupported(reason.to_owned()) })
            }
            opened => opened,
        }
    }
}

/// Reads a stream to its end, which verifies its digest.
async fn rest(mut stream: BlobReader) -> Result<()> {
    while let Some(piece) = stream.next().await {
        piece?;
    }
    Ok(())
}

/// The threads that work on a layer.
struct Work {
    decode: thread::JoinHandle<std::result::Result<u64, Fault>>,
    apply: thread::JoinHandle<(LayerState, std::result::Result<(), Fault>)>,
    read: Arc<AtomicU64>,
}

/// The result of a pass.
struct Done {
    state: LayerState,
    unpacked: u64,
    stored: u64,
}

fn start(
    mut state: LayerState,
    number: u32,
    pass: Pass,
    source: mpsc::Receiver<bytes::Bytes>,
    before: u64,
) -> std::result::Result<Work, Fault> {
    let read = Arc::new(AtomicU64::new(0));
    let pieces = decode::Pieces::new(source, Arc::clone(&read));
    let (send_block, blocks) = sync_channel(BLOCKS);
    let (send_spent, spent) = sync_channel(BLOCKS);
    let limits = state.limits;
    let decode = thread::Builder::new()
        .name("decompress".to_owned())
        .spawn(move || decode::run(pieces, &send_block, &spent, &limits, before))
        .map_err(Fault::Machine)?;
    let apply = thread::Builder::new()
        .name("layer".to_owned())
        .spawn(move || {
            let outcome = run(&mut state, number, pass, decode::Blocks::new(blocks, send_spent));
            (state, outcome)
        })
        .map_err(Fault::Machine)?;
    Ok(Work { decode, apply, read })
}

fn run(
    state: &mut LayerState,
    number: u32,
    pass: Pass,
    mut blocks: decode::Blocks,
) -> std::result::Result<(), Fault> {
    let Pass::Apply(diff_id) = pass else {
        state.search(&mut blocks)?;
        blocks.drain();
        return Ok(());
    };
    blocks.hasher = diff_id.as_ref().map(Digest::hasher);
    state.apply(number, &mut blocks)?;
    blocks.drain();
    let (Some(expected), Some(hasher)) = (diff_id, blocks.hasher.take()) else { return Ok(()) };
    let actual = hasher.finish();
    if actual == expected { Ok(()) } else { Err(Fault::DiffId { expected, actual }) }
}

impl Work {
    /// Waits for the threads. If one fails, the other stops for lack of input, so the first error counts.
    fn finish(self) -> std::result::Result<Done, Fault> {
        let panicked = |_| Fault::Machine(std::io::Error::other("a thread that reads the layer panicked"));
        let decoded = self.decode.join().map_err(panicked)?;
        let (state, applied) = self.apply.join().map_err(panicked)?;
        let unpacked = match (decoded, &applied) {
            // Adds the position in the archive at which decompression failed.
            (Err(Fault::Malformed(how)), Err(Fault::Malformed(place))) => {
                return Err(Fault::Malformed(format!("{how} ({place})")));
            }
            (decoded, _) => decoded?,
        };
        applied?;
        Ok(Done { state, unpacked, stored: self.read.load(Ordering::Relaxed) })
    }
}
