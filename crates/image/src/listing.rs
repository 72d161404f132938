//! The images of a source: one, or one for each platform.

use serde::Deserialize;

use crate::archive::Archive;
use crate::blobs::{Blobs, LayerBlob};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::exported::Exported;
use crate::limit::Limits;
use crate::source::Source;
use compat_oci::manifest::{IMAGE_CONFIGS, ImageManifest, Index, REF_NAME};
use compat_oci::{Access, Client, Descriptor, Digest, Engine, Location, Manifest, Platform, Resolved, Store};

/// The annotation with an image's full name that containerd and docker write into the index of an archive.
const IMAGE_NAME: &str = "io.containerd.image.name";
/// The prefixes of the media types of layers.
const LAYER_TYPES: &[&str] = &["application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs."];

/// The images of a source.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The source.
    pub source: Source,
    /// The index, if the source is one. Artifacts for all platforms can be attached to it.
    pub index: Option<Descriptor>,
    /// The images in the order of the index, at least one.
    pub images: Vec<ListedImage>,
    pub(super) blobs: Option<Blobs>,
}

/// One image of a source.
#[derive(Clone, Debug)]
pub struct ListedImage {
    /// Its manifest. `None` for images of `docker save` and for directories.
    pub descriptor: Option<Descriptor>,
    /// Its platform with the variant, from the index or else from its configuration. `None` for a directory.
    pub platform: Option<Platform>,
    pub(super) content: ImageLocation,
}

/// The location of an image's parts.
#[derive(Clone, Debug)]
pub(super) enum ImageLocation {
    /// A manifest that has not been read.
    Manifest,
    /// A manifest that has been read.
    Read(Box<ImageParts>),
    /// A directory.
    Directory,
}

/// The parts of an image.
#[derive(Clone, Debug)]
pub(super) struct ImageParts {
    pub config: Config,
    pub layers: Vec<LayerBlob>,
}

impl Listing {
    /// Reads the index or manifest of a source, and the configuration if the source is a single image.
    ///
    /// # Errors
    ///
    /// If the source is missing, contains no image, or is an archive with several images and no name is given.
    pub async fn open(client: &Client, source: &Source, limits: &Limits) -> Result<Self> {
        match source {
            Source::Location(location) => {
                let store = Store::new(client, &location.place, Access::Pull);
                let root = store.manifest(&location.selector).await?;
                Self::of_manifest(source, Blobs::Store(store), root).await
            }
            Source::Archive { path, name } => {
                Self::of_archive(source, Archive::open(path, limits)?, name.as_deref()).await
            }
            Source::Engine { kind, name } => {
                let engine = Engine::open(*kind, name)?;
                let image = engine.image().await?;
                client.observer().expect(image.size);
                let stream = engine.save(&image).await?;
                let shown = source.to_string();
                let archive = Archive::of_stream(shown.as_ref(), stream, limits, client.observer()).await?;
                Self::of_archive(source, archive, None).await
            }
            Source::Exported(path) => {
                let exported = Exported::at(path);
                let root = exported.root()?;
                Self::of_manifest(source, Blobs::Exported(exported), root).await
            }
            Source::Directory(_) => {
                let image =
                    ListedImage { descriptor: None, platform: None, content: ImageLocation::Directory };
                Ok(Self { source: source.clone(), index: None, images: vec![image], blobs: None })
            }
        }
    }

    /// The image that suits a platform best. If the source is not an index, its only image, whatever its
    /// platform.
    ///
    /// # Errors
    ///
    /// [`compat_oci::Error::NoPlatform`].
    pub fn best_for(&self, wanted: &Platform) -> Result<&ListedImage> {
        if self.index.is_none() {
            return Ok(&self.images[0]);
        }
        let rank = |entry: &ListedImage| entry.platform.as_ref()?.suits(wanted);
        // Among equals the first counts, as in container engines.
        let best =
            self.images.iter().rev().filter(|entry| rank(entry).is_some()).max_by_key(|entry| rank(entry));
        best.ok_or_else(|| {
            let offered: Vec<String> = self
                .images
                .iter()
                .filter_map(|entry| entry.platform.as_ref().map(ToString::to_string))
                .collect();
            let (image, platform) = (self.source.to_string(), wanted.to_string());
            compat_oci::Error::NoPlatform { image, platform, offered: offered.join(", ") }.into()
        })
    }

    /// The location of one image by its digest, if the source is a registry or layout. An artifact for the
    /// image is attached there.
    pub fn location_of(&self, entry: &ListedImage) -> Option<Location> {
        Some(self.source.location()?.with_digest(&entry.descriptor.as_ref()?.digest))
    }

    async fn of_manifest(source: &Source, blobs: Blobs, root: Resolved) -> Result<Self> {
        let descriptor = root.descriptor.clone();
        let (index, images) = match root.parse()? {
            Manifest::Image(manifest) => {
                let parts = ImageParts::of(source, &blobs, &manifest).await?;
                let image = ListedImage {
                    platform: parts.config.platform(),
                    descriptor: Some(descriptor),
                    content: ImageLocation::Read(Box::new(parts)),
                };
                (None, vec![image])
            }
            Manifest::Index(index) => (Some(descriptor), images_of(source, &blobs, *index).await?),
        };
        if images.is_empty() {
            let (what, reason) = (source.to_string(), "its index contains no image".to_owned());
            return Err(Error::NotAnImage { what, reason });
        }
        Ok(Self { source: source.clone(), index, images, blobs: Some(blobs) })
    }

    async fn of_archive(source: &Source, archive: Archive, name: Option<&str>) -> Result<Self> {
        match archive_root(source, &archive, name)? {
            Root::Manifest(root) => {
                let blobs = Blobs::Archive(archive);
                let root = blobs.manifest(&root).await?;
                Self::of_manifest(source, blobs, root).await
            }
            Root::Saved(saved) => Self::of_saved(source, archive, &saved),
        }
    }

    fn of_saved(source: &Source, archive: Archive, saved: &Saved) -> Result<Self> {
        let broken = |reason: String| Error::NotAnImage { what: source.to_string(), reason };
        let config = archive.read(&saved.config, crate::limit::CONFIG)?;
        let config =
            config.ok_or_else(|| broken(format!("its configuration {} is missing", saved.config)))?;
        let config = Config::parse(&source.to_string(), &config)?;
        let layer = |name: &String| match archive.find(name) {
            Some(extent) => Ok(LayerBlob::Member { name: name.clone(), extent }),
            None => Err(broken(format!("its layer {name} is missing"))),
        };
        let layers: Vec<LayerBlob> = saved.layers.iter().map(layer).collect::<Result<_>>()?;
        if config.diff_ids.len() != layers.len() {
            return Err(broken("its configuration lists a different number of layers".to_owned()));
        }
        let platform = config.platform();
        let content = ImageLocation::Read(Box::new(ImageParts { config, layers }));
        let images = vec![ListedImage { descriptor: None, platform, content }];
        Ok(Self { source: source.clone(), index: None, images, blobs: Some(Blobs::Archive(archive)) })
    }
}

impl ImageParts {
    /// Reads the configuration and the layers of a manifest.
    pub(crate) async fn of(source: &Source, blobs: &Blobs, manifest: &ImageManifest) -> Result<Self> {
        let not_an_image = |reason: String| Error::NotAnImage { what: source.to_string(), reason };
        let kind = manifest.kind().unwrap_or("unknown").to_owned();
        let config =
            manifest.config.as_ref().filter(|config| IMAGE_CONFIGS.contains(&config.media_type.as_str()));
        let config = config.ok_or_else(|| not_an_image(format!("it is an artifact of type {kind}")))?;
        let is_layer =
            |layer: &&Descriptor| LAYER_TYPES.iter().any(|start| layer.media_type.starts_with(start));
        if let Some(other) = manifest.layers.iter().find(|layer| !is_layer(layer)) {
            return Err(not_an_image(format!("it has a layer of type {}", other.media_type)));
        }
        let config = Config::parse(&source.to_string(), &blobs.config(config).await?)?;
        Ok(Self {
            config,
            layers: manifest.layers.iter().map(|layer| LayerBlob::Blob(Box::new(layer.clone()))).collect(),
        })
    }
}

/// The images of an index and of the indexes in it, without attached artifacts.
async fn images_of(source: &Source, blobs: &Blobs, index: Index) -> Result<Vec<ListedImage>> {
    let mut images = Vec::new();
    let mut ahead: Vec<(Descriptor, usize)> =
        index.manifests.into_iter().rev().map(|entry| (entry, 0)).collect();
    let mut seen = std::collections::HashSet::new();
    while let Some((descriptor, depth)) = ahead.pop() {
        let nested = matches!(
            descriptor.media_type.as_str(),
            compat_oci::manifest::IMAGE_INDEX | compat_oci::manifest::DOCKER_LIST
        );
        if !is_image(&descriptor) || !seen.insert(descriptor.digest.clone()) {
            continue;
        }
        if images.len() + ahead.len() > compat_oci::limit::GRAPH || depth > compat_oci::limit::NESTING {
            let what = format!("index {}", descriptor.digest);
            return Err(compat_oci::Error::malformed(what, "it contains too many manifests").into());
        }
        if !nested {
            images.extend(image_of(source, blobs, descriptor).await?);
        } else if let Manifest::Index(inner) = blobs.manifest(&descriptor).await?.parse()? {
            ahead.extend(inner.manifests.into_iter().rev().map(|entry| (entry, depth + 1)));
        }
    }
    Ok(images)
}

/// The image of an entry of an index. If the entry states no platform, the configuration is read, as container
/// engines do. This also reveals artifacts without an artifact type.
async fn image_of(source: &Source, blobs: &Blobs, descriptor: Descriptor) -> Result<Option<ListedImage>> {
    if let Some(platform) = descriptor.platform.clone() {
        let content = ImageLocation::Manifest;
        return Ok(Some(ListedImage { descriptor: Some(descriptor), platform: Some(platform), content }));
    }
    let Manifest::Image(manifest) = blobs.manifest(&descriptor).await?.parse()? else { return Ok(None) };
    match ImageParts::of(source, blobs, &manifest).await {
        Ok(parts) => {
            let platform = parts.config.platform();
            let content = ImageLocation::Read(Box::new(parts));
            Ok(Some(ListedImage { descriptor: Some(descriptor), platform, content }))
        }
        Err(Error::NotAnImage { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether an entry of an index may be an image.
fn is_image(descriptor: &Descriptor) -> bool {
    descriptor.is_manifest() && descriptor.may_be_image()
}

/// The root of an archive.
enum Root {
    Manifest(Descriptor),
    Saved(Saved),
}

/// One image in the `manifest.json` of `docker save`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Vec<String>,
}

/// Finds the image of an archive. Newer versions of docker write both forms. The layout is preferred because it
/// has digests.
fn archive_root(source: &Source, archive: &Archive, name: Option<&str>) -> Result<Root> {
    let what = archive.path().display().to_string();
    if let Some(index) = archive.read("index.json", compat_oci::limit::MANIFEST)? {
        let index: Index = serde_json::from_slice(&index).map_err(|error| {
            compat_oci::Error::malformed(format!("index.json in {what}"), error.to_string())
        })?;
        let named = |entry: &&Descriptor| name.is_none_or(|name| is_named(entry, name));
        let mut found: Vec<Descriptor> =
            index.manifests.iter().filter(|e| is_image(e)).filter(named).cloned().collect();
        found.dedup_by(|a, b| a.digest == b.digest);
        let names = index.manifests.iter().flat_map(names_of).collect();
        return Ok(Root::Manifest(only(source, found, names, name)?));
    }
    let Some(manifest) = archive.read("manifest.json", compat_oci::limit::MANIFEST)? else {
        let reason =
            "it contains neither index.json (an OCI archive) nor manifest.json (docker save)".to_owned();
        return Err(Error::NotAnImage { what, reason });
    };
    let images: Vec<Saved> = serde_json::from_slice(&manifest).map_err(|error| {
        compat_oci::Error::malformed(format!("manifest.json in {what}"), error.to_string())
    })?;
    let names = images.iter().flat_map(|image| image.repo_tags.clone().unwrap_or_default()).collect();
    let named = |image: &&Saved| {
        let tags = image.repo_tags.as_deref().unwrap_or_default();
        name.is_none_or(|name| tags.iter().any(|tag| same_name(tag, name)))
    };
    let found = images.iter().filter(named).cloned().collect();
    Ok(Root::Saved(only(source, found, names, name)?))
}

fn names_of(entry: &Descriptor) -> Vec<String> {
    let name = entry.annotations.get(IMAGE_NAME).or_else(|| entry.annotations.get(REF_NAME));
    vec![name.cloned().unwrap_or_else(|| entry.digest.to_string())]
}

fn is_named(entry: &Descriptor, name: &str) -> bool {
    let digest = Digest::parse(name.trim_start_matches('@')).is_ok_and(|digest| digest == entry.digest);
    let annotated = |key: &str| entry.annotations.get(key);
    digest
        || annotated(REF_NAME).is_some_and(|tag| tag == name)
        || annotated(IMAGE_NAME).is_some_and(|full| same_name(full, name))
}

/// Whether two names mean the same image. Short names are completed as docker does.
fn same_name(a: &str, b: &str) -> bool {
    a == b || Location::parse(a).is_ok_and(|a| Location::parse(b).is_ok_and(|b| a == b))
}

fn only<T>(source: &Source, mut found: Vec<T>, names: Vec<String>, name: Option<&str>) -> Result<T> {
    match (found.len(), found.pop()) {
        (1, Some(only)) => Ok(only),
        (0, _) if name.is_some() => {
            let what = format!("{source} (the archive contains {})", compat_oci::text::listed(&names));
            Err(compat_oci::Error::NotFound { what }.into())
        }
        (0, _) => {
            Err(Error::NotAnImage { what: source.to_string(), reason: "the archive is empty".to_owned() })
        }
        _ => Err(Error::Several { what: source.to_string(), names: compat_oci::text::listed(&names) }),
    }
}
