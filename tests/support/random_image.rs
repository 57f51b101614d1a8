//! Small real images of random bytes: each layer is a tar.gz with one file, and the same seed gives the same image.

use std::{io::Write as _, sync::Arc};

use flate2::{Compression, write::GzEncoder};
use microbuild::{
    digest::Digest,
    image::{Artifact, CONFIG, Document, INDEX, Image, MANIFEST, Platform},
    layer::{GZIP, Layer},
};
use rand::{RngCore as _, SeedableRng as _, rngs::StdRng};
use serde_json::json;

/// A layer with one file of `size` random bytes.
pub fn random_layer(title: &str, seed: u64, size: usize) -> Layer {
    let mut bytes = vec![0; size];
    StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    let mut header = tar::Header::new_ustar();
    header.set_size(size as u64);
    header.set_mode(0o644);
    header.set_cksum();
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_data(&mut header, format!("{title}-{seed}"), bytes.as_slice()).expect("memory");
    let tar = tar.into_inner().expect("memory");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&tar).expect("memory");
    let blob = gzip.finish().expect("memory");
    Layer {
        digest: Digest::of(&blob),
        diff_id: Digest::of(&tar),
        size: blob.len() as u64,
        media_type: GZIP.into(),
        title: title.into(),
        content: Arc::new(blob),
    }
}

/// The image for `platform` that consists of `layers`.
pub fn image_of(platform: &str, layers: Vec<Layer>) -> Image {
    let platform: Platform = platform.parse().expect("a platform");
    let diff_ids: Vec<String> = layers.iter().map(|layer| layer.diff_id.to_string()).collect();
    let config = json!({
        "architecture": platform.architecture,
        "config": {},
        "os": platform.os,
        "rootfs": { "diff_ids": diff_ids, "type": "layers" },
    });
    let config = Document::new(CONFIG, config.to_string().into_bytes());
    let named = |kind: &str, digest: &Digest, size: u64| json!({ "digest": digest, "mediaType": kind, "size": size });
    let layer_list: Vec<_> = layers.iter().map(|layer| named(&layer.media_type, &layer.digest, layer.size)).collect();
    let manifest = json!({
        "config": named(CONFIG, &config.digest, config.bytes.len() as u64),
        "layers": layer_list,
        "mediaType": MANIFEST,
        "schemaVersion": 2,
    });
    let manifest = Document::new(MANIFEST, manifest.to_string().into_bytes());
    Image { platform, manifest, config, layers }
}

/// An artifact of one image with a layer for each of `sizes`, named `layer0`, `layer1`, ….
pub fn random_image(seed: u64, sizes: &[usize]) -> Artifact {
    let layer = |(index, size): (usize, &usize)| random_layer(&format!("layer{index}"), seed + index as u64, *size);
    let layers = sizes.iter().enumerate().map(layer).collect();
    Artifact { index: None, images: vec![image_of("linux/amd64", layers)] }
}

/// An index over `images`.
pub fn index_of(images: Vec<Image>) -> Artifact {
    let manifests: Vec<_> = images
        .iter()
        .map(|image| {
            json!({
                "digest": image.manifest.digest,
                "mediaType": MANIFEST,
                "platform": { "architecture": image.platform.architecture, "os": image.platform.os },
                "size": image.manifest.bytes.len(),
            })
        })
        .collect();
    let index = json!({ "manifests": manifests, "mediaType": INDEX, "schemaVersion": 2 });
    Artifact { index: Some(Document::new(INDEX, index.to_string().into_bytes())), images }
}
