//! `oci-client`, a witness: the Rust client of the oras project. Both clients use reqwest, but share nothing
//! above it.

use bytes::Bytes;
use oci_client::client::{ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::manifest::{OciDescriptor, OciImageManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use tokio::runtime::Runtime;

/// The client, over plain HTTP and without credentials.
pub struct OciClient {
    runtime: Runtime,
    client: Client,
}

/// A pulled manifest with all its parts.
pub struct Pulled {
    pub digest: String,
    pub manifest: OciImageManifest,
    pub config: Vec<u8>,
    pub layers: Vec<Vec<u8>>,
}

impl OciClient {
    pub fn new() -> Self {
        // reqwest initializes its TLS settings for plain HTTP as well. Another case may have installed the
        // provider before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { runtime, client: Client::new(config) }
    }

    /// Pulls a manifest and its blobs. The client verifies their digests.
    pub fn pull(&self, reference: &str) -> Pulled {
        let image = parse(reference);
        self.runtime.block_on(async {
            let pulled = self.client.pull_image_manifest(&image, &RegistryAuth::Anonymous).await;
            let (manifest, digest) = pulled.unwrap_or_else(|error| panic!("{reference}: {error}"));
            let config = self.blob(&image, &manifest.config).await;
            let mut layers = Vec::new();
            for layer in &manifest.layers {
                layers.push(self.blob(&image, layer).await);
            }
            Pulled { digest, manifest, config, layers }
        })
    }

    async fn blob(&self, image: &Reference, descriptor: &OciDescriptor) -> Vec<u8> {
        let mut bytes = Vec::new();
        let pulled = self.client.pull_blob(image, descriptor, &mut bytes).await;
        pulled.unwrap_or_else(|error| panic!("{}: {error}", descriptor.digest));
        bytes
    }

    /// Returns the digests of the artifacts that are attached to a manifest, which is given by its digest.
    pub fn referrers(&self, reference: &str, artifact_type: &str) -> Vec<String> {
        let image = parse(reference);
        let asked = self.client.pull_referrers(&image, Some(artifact_type));
        let index = self.runtime.block_on(asked).unwrap_or_else(|error| panic!("{reference}: {error}"));
        let mut digests: Vec<String> = index.manifests.into_iter().map(|entry| entry.digest).collect();
        digests.sort();
        digests
    }

    /// Pushes an artifact of one layer and returns its digest. If `subject` is given, the artifact is
    /// attached to it.
    pub fn push(&self, reference: &str, artifact: Artifact<'_>, subject: Option<&str>) -> String {
        let image = parse(reference);
        let layers = [ImageLayer::new(artifact.content.to_vec(), artifact.layer_type.to_owned(), None)];
        let config =
            Config::new(Bytes::from_static(b"{}"), "application/vnd.oci.empty.v1+json".to_owned(), None);
        let mut manifest = OciImageManifest::build(&layers, &config, None);
        manifest.media_type = Some("application/vnd.oci.image.manifest.v1+json".to_owned());
        manifest.artifact_type = Some(artifact.artifact_type.to_owned());
        self.runtime.block_on(async {
            if let Some(subject) = subject {
                manifest.subject = Some(self.descriptor(subject).await);
            }
            let anonymous = RegistryAuth::Anonymous;
            let pushed = self.client.push(&image, &layers, config, &anonymous, Some(manifest)).await;
            pushed.unwrap_or_else(|error| panic!("{reference}: {error}"));
            self.client.fetch_manifest_digest(&image, &anonymous).await.expect("the artifact was just pushed")
        })
    }

    /// Returns the descriptor of a manifest, in the form of a `subject`.
    async fn descriptor(&self, reference: &str) -> OciDescriptor {
        let types = ["application/vnd.oci.image.manifest.v1+json"];
        let pulled = self.client.pull_manifest_raw(&parse(reference), &RegistryAuth::Anonymous, &types).await;
        let (bytes, digest) = pulled.unwrap_or_else(|error| panic!("{reference}: {error}"));
        let size = i64::try_from(bytes.len()).expect("a manifest is small");
        OciDescriptor { media_type: types[0].to_owned(), digest, size, ..OciDescriptor::default() }
    }
}

/// An artifact of one layer.
#[derive(Clone, Copy)]
pub struct Artifact<'a> {
    pub artifact_type: &'a str,
    pub layer_type: &'a str,
    pub content: &'a [u8],
}

fn parse(reference: &str) -> Reference {
    reference.parse().unwrap_or_else(|error| panic!("{reference}: {error}"))
}
