//! Manifests and indexes. The first byte chooses the media type that the registry declares.
//!
//! Invariant: an index keeps its whole content when it is written again, and embedded data is verified.

#![no_main]

use compat_oci::manifest::{DOCKER_LIST, IMAGE_INDEX, IMAGE_MANIFEST, Index, media_type_of};
use compat_oci::{Manifest, Platform};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choice, body)) = data.split_first() else { return };
    let stated = [None, Some(IMAGE_MANIFEST), Some(IMAGE_INDEX), Some(DOCKER_LIST)][usize::from(choice & 3)];
    assert!(!media_type_of(body, stated).is_empty());
    let Ok(manifest) = Manifest::parse("fuzz", stated, body) else { return };
    let _ = (manifest.subject(), manifest.kind(), manifest.annotations());
    match manifest {
        Manifest::Index(index) => {
            let written = serde_json::to_vec(&*index).expect("an index is plain data");
            let again: Index = serde_json::from_slice(&written).expect("what was written can be read");
            assert_eq!(again.manifests.len(), index.manifests.len());
            assert!(again.other.keys().eq(index.other.keys()));
            index.best_for(&Platform::host());
            index.platforms();
        }
        Manifest::Image(image) => {
            for descriptor in image.layers.iter().chain(&image.config) {
                if let Ok(Some(bytes)) = descriptor.embedded() {
                    assert_eq!(bytes.len() as u64, descriptor.size);
                }
            }
        }
    }
});
