//! Images for tests of sinks and registries: small ones said in a sentence, random ones from a seed, and one that runs.

use std::{
    io::{self, Read, Write as _},
    sync::Arc,
};

use microbuild::internals::{
    digest::Digest,
    image::{Artifact, CONFIG, Document, INDEX, Image, MANIFEST, Platform},
    layer::{Content, Layer},
    media::{GZIP, ZSTD},
};
use rand::{Rng, RngCore as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

/// An uncompressed layer.
pub const PLAIN: &str = "application/vnd.oci.image.layer.v1.tar";

/// An image in the making.
pub struct TestImage {
    platform: Platform,
    layers: Vec<Layer>,
    entrypoint: Vec<String>,
}

impl TestImage {
    /// An image without layers for `platform` (`linux/amd64`).
    pub fn new(platform: &str) -> Self {
        Self { platform: platform.parse().expect("a platform"), layers: Vec::new(), entrypoint: Vec::new() }
    }

    /// An image for this machine.
    pub fn here() -> Self {
        Self::new(&format!("linux/{}", architecture()))
    }

    /// Adds a gzip layer with these files, executable all of them.
    pub fn layer(self, title: &str, files: &[(&str, &[u8])]) -> Self {
        self.layer_of(title, GZIP, &tar_of(files))
    }

    /// Adds a layer with the bytes `tar`, compressed as `media_type` says.
    pub fn layer_of(self, title: &str, media_type: &str, tar: &[u8]) -> Self {
        let bytes = compress(media_type, tar);
        let content = Arc::new(bytes.clone());
        self.layer_from(title, media_type, Digest::of(tar), &bytes, content)
    }

    /// Adds a layer that is said to have the compressed bytes `bytes`, and gives those of `content`.
    pub fn layer_from(
        mut self,
        title: &str,
        media_type: &str,
        diff_id: Digest,
        bytes: &[u8],
        content: Arc<dyn Content>,
    ) -> Self {
        let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
        self.layers.push(Layer { digest, diff_id, size, media_type: media_type.into(), title: title.into(), content });
        self
    }

    /// Adds a layer that is there already.
    pub fn with(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    /// Sets what the image runs.
    pub fn entrypoint(mut self, command: &[&str]) -> Self {
        self.entrypoint = command.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// The image.
    pub fn image(self) -> Image {
        let mut config = json!({
            "architecture": self.platform.architecture,
            "os": self.platform.os,
            "created": "1970-01-01T00:00:00Z",
            "config": { "Entrypoint": self.entrypoint, "Env": ["PATH=/bin"] },
            "rootfs": { "type": "layers", "diff_ids": self.layers.iter().map(|l| l.diff_id).collect::<Vec<_>>() },
        });
        if let Some(variant) = &self.platform.variant {
            config["variant"] = json!(variant);
        }
        let config = document(CONFIG, &config);
        let layers = self.layers.iter().map(|layer| {
            let mut found = descriptor(&layer.media_type, layer.digest, layer.size);
            found["annotations"] = json!({ "dev.microbuild.title": layer.title });
            found
        });
        let manifest = document(
            MANIFEST,
            &json!({
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": descriptor(CONFIG, config.digest, config.bytes.len() as u64),
                "layers": layers.collect::<Vec<_>>(),
            }),
        );
        Image { platform: self.platform, manifest, config, layers: self.layers }
    }

    /// The image as what a build makes.
    pub fn artifact(self) -> Artifact {
        Artifact { index: None, images: vec![self.image()] }
    }
}

/// Several images under an index.
pub fn index_of(images: Vec<Image>) -> Artifact {
    let manifests = images.iter().map(|image| {
        let mut found = descriptor(MANIFEST, image.manifest.digest, image.manifest.bytes.len() as u64);
        found["platform"] = json!({ "os": image.platform.os, "architecture": image.platform.architecture });
        if let Some(variant) = &image.platform.variant {
            found["platform"]["variant"] = json!(variant);
        }
        found
    });
    let manifests: Vec<Value> = manifests.collect();
    let index = document(INDEX, &json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests }));
    Artifact { index: Some(index), images }
}

/// A gzip layer with one file of `size` random bytes; the same title and seed give the same one.
pub fn random_layer(title: &str, seed: u64, size: usize) -> Layer {
    let mut bytes = vec![0; size];
    StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    let mut image = TestImage::here().layer(title, &[(&format!("{title}-{seed}"), &bytes)]);
    image.layers.remove(0)
}

/// The image for `platform` that consists of `layers`.
pub fn image_of(platform: &str, layers: Vec<Layer>) -> Image {
    layers.into_iter().fold(TestImage::new(platform), TestImage::with).image()
}

/// One image with a random layer for each of `sizes`, named `layer0`, `layer1`, ….
pub fn random_image(seed: u64, sizes: &[usize]) -> Artifact {
    let layer = |(index, size): (usize, &usize)| random_layer(&format!("layer{index}"), seed + index as u64, *size);
    let layers = sizes.iter().enumerate().map(layer).collect();
    Artifact { index: None, images: vec![image_of("linux/amd64", layers)] }
}

/// An image that prints [`HELLO`] and ends, on this machine.
pub fn hello() -> Artifact {
    TestImage::here().layer("app", &[("hello", &hello_elf())]).entrypoint(&["/hello"]).artifact()
}

/// What the program of [`hello`] prints.
pub const HELLO: &str = "hello from an image\n";

/// A random artifact: one to three platforms, up to four layers each of up to 100 kB, of all compressions; some layers are shared. The
/// same seed gives the same one.
pub fn random(seed: u64) -> Artifact {
    let mut rng = StdRng::seed_from_u64(seed);
    let platforms = ["linux/amd64", "linux/arm64", "linux/arm/v7"];
    let shared = random_tar(&mut rng);
    let mut images: Vec<Image> = Vec::new();
    for platform in platforms.iter().take(rng.gen_range(1..=platforms.len())) {
        let mut image = TestImage::new(platform);
        for i in 0..rng.gen_range(0..=4) {
            let media_type = [PLAIN, GZIP, ZSTD][rng.gen_range(0..3)];
            let tar = if rng.gen_bool(0.3) { shared.clone() } else { random_tar(&mut rng) };
            image = image.layer_of(&format!("layer-{i}"), media_type, &tar);
        }
        images.push(image.image());
    }
    if images.len() == 1 && rng.gen_bool(0.5) { Artifact { index: None, images } } else { index_of(images) }
}

fn random_tar(rng: &mut StdRng) -> Vec<u8> {
    let mut bytes = vec![0; rng.gen_range(0..100_000)];
    rng.fill_bytes(&mut bytes);
    tar_of(&[("data", &bytes)])
}

/// A tar of these files, mode 0755, owner root, time 0.
pub fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o755);
        header.set_mtime(0);
        tar.append_data(&mut header, path, *bytes).expect("a tar in memory");
    }
    tar.into_inner().expect("a tar in memory")
}

fn compress(media_type: &str, tar: &[u8]) -> Vec<u8> {
    match media_type {
        GZIP => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(tar).expect("gzip in memory");
            gzip.finish().expect("gzip in memory")
        }
        ZSTD => zstd::encode_all(tar, 3).expect("zstd in memory"),
        _ => tar.to_vec(),
    }
}

fn document(media_type: &str, value: &Value) -> Document {
    Document::new(media_type, value.to_string().into_bytes())
}

fn descriptor(media_type: &str, digest: Digest, size: u64) -> Value {
    json!({ "mediaType": media_type, "digest": digest, "size": size })
}

/// All bytes of a layer.
pub fn bytes_of(layer: &Layer) -> Vec<u8> {
    let mut bytes = Vec::new();
    layer.content.open().and_then(|mut from| from.read_to_end(&mut bytes)).expect("the layer's bytes");
    bytes
}

/// A layer's content that gives its first bytes and then fails.
pub struct Failing(pub Vec<u8>);

impl Content for Failing {
    fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        struct Fails;
        impl Read for Fails {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("the mirror went away"))
            }
        }
        Ok(Box::new(io::Cursor::new(self.0.clone()).chain(Fails)))
    }
}

/// This machine's architecture in Go's words.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// A static Linux program of a few instructions that writes [`HELLO`] and exits with 0.
fn hello_elf() -> Vec<u8> {
    let length = u8::try_from(HELLO.len()).expect("a short text");
    let (machine, mut code): (u16, Vec<u8>) = if architecture() == "arm64" {
        let instructions: [u32; 8] = [
            0xd280_0020,                          // mov x0, 1
            0x1000_00e1,                          // adr x1, the text
            0xd280_0002 | u32::from(length) << 5, // mov x2, its length
            0xd280_0808,                          // mov x8, 64 (write)
            0xd400_0001,                          // svc 0
            0xd280_0000,                          // mov x0, 0
            0xd280_0ba8,                          // mov x8, 93 (exit)
            0xd400_0001,                          // svc 0
        ];
        (183, instructions.iter().flat_map(|word| word.to_le_bytes()).collect())
    } else {
        let mut code = vec![0xb8, 1, 0, 0, 0]; // mov eax, 1 (write)
        code.extend([0xbf, 1, 0, 0, 0]); // mov edi, 1
        code.extend([0x48, 0x8d, 0x35, 16, 0, 0, 0]); // lea rsi, the text
        code.extend([0xba, length, 0, 0, 0]); // mov edx, its length
        code.extend([0x0f, 0x05]); // syscall
        code.extend([0xb8, 60, 0, 0, 0]); // mov eax, 60 (exit)
        code.extend([0x31, 0xff, 0x0f, 0x05]); // xor edi, edi; syscall
        (62, code)
    };
    code.extend(HELLO.as_bytes());
    let (base, headers) = (0x40_0000_u64, 64 + 56);
    let size = headers + code.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    elf.extend(2_u16.to_le_bytes()); // executable
    elf.extend(machine.to_le_bytes());
    elf.extend(1_u32.to_le_bytes());
    elf.extend((base + headers).to_le_bytes()); // entry
    elf.extend(64_u64.to_le_bytes()); // program headers
    elf.extend(0_u64.to_le_bytes()); // no sections
    elf.extend(0_u32.to_le_bytes());
    elf.extend([64, 56, 1, 64, 0, 0].iter().flat_map(|n: &u16| n.to_le_bytes()));
    elf.extend([1_u32, 5].iter().flat_map(|n| n.to_le_bytes())); // load, read and execute
    elf.extend([0, base, base, size, size, 0x1000].iter().flat_map(|n: &u64| n.to_le_bytes()));
    elf.extend(code);
    elf
}
