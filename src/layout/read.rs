//! Reading layouts: the index, and images as values whose layers are the layout's own files.

use std::{collections::BTreeSet, fs::File, io::Read as _, sync::Arc};

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Layout, LayoutError, REF_NAME, descriptor};
use crate::{
    digest::Digest,
    image::{Artifact, DOCKER_INDEX, DOCKER_MANIFEST, Document, INDEX, Image, ImageConfig, MANIFEST, Platform},
    layer::Layer,
    near::nearest,
    store::StoreError,
};

/// The longest document that is read, as registries limit it (OCI distribution specification, "Pushing Manifests").
const MAX_DOCUMENT: u64 = 4 * 1024 * 1024;

/// The annotation of a layer's descriptor that gives its title; see [`crate::image`].
const TITLE: &str = "dev.microbuild.title";
/// What others use for it (OCI image specification, "Pre-Defined Annotation Keys").
const OCI_TITLE: &str = "org.opencontainers.image.title";

/// An image that `index.json` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name in this layout.
    pub name: Option<String>,
    /// Digest of its manifest or index.
    pub digest: Digest,
    /// Length of its manifest or index.
    pub size: u64,
    /// Media type of its manifest or index.
    pub media_type: String,
    /// The platform, when the index gives one.
    pub platform: Option<Platform>,
    /// The whole entry, kept as it is.
    value: Value,
}

impl Entry {
    /// The name, or else the digest.
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.digest.to_string())
    }
}

/// Which image of a layout is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selector<'a> {
    /// The only one.
    Only,
    /// The one of this name, or of this digest (`sha256:…`).
    Name(&'a str),
}

/// `index.json`; what this program does not know in it is kept.
#[derive(Debug)]
pub(super) struct Index {
    top: Map<String, Value>,
    entries: Vec<Entry>,
}

impl Index {
    /// Reads `index.json` (OCI image specification, "Image Index").
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let top: Value = serde_json::from_slice(bytes).map_err(|e| format!("expected JSON: {e}"))?;
        let Value::Object(mut top) = top else { return Err("expected a JSON object".into()) };
        let entries = match top.remove("manifests") {
            Some(Value::Array(entries)) => entries,
            found => return Err(format!("expected an array `manifests`, found {}", found.unwrap_or(Value::Null))),
        };
        let parsed =
            entries.into_iter().enumerate().map(|(i, value)| entry(value).map_err(|e| format!("manifests[{i}]: {e}")));
        Ok(Self { entries: parsed.collect::<Result<_, _>>()?, top })
    }

    /// The names that are taken by `artifact`, each in the place where it stood; without names, the place of the one
    /// without.
    pub(super) fn name(&mut self, artifact: &Artifact, names: &[String]) {
        let unnamed = [None];
        let named: Vec<Option<&String>> = names.iter().map(Some).collect();
        for name in if named.is_empty() { &unnamed[..] } else { &named } {
            let annotation = name.map(|name| (REF_NAME, name.as_str()));
            let root = artifact.root();
            let new = Entry {
                name: name.cloned(),
                digest: root.digest,
                size: root.bytes.len() as u64,
                media_type: root.media_type.clone(),
                platform: None,
                value: descriptor(artifact, annotation.as_slice()),
            };
            let mut same =
                self.entries.iter().enumerate().filter(|(_, old)| old.name.as_ref() == *name).map(|(i, _)| i);
            match same.next() {
                Some(place) => {
                    let (mut i, first) = (0, place);
                    // A name that stood there twice stands there once now.
                    self.entries.retain(|old| {
                        i += 1;
                        i - 1 == first || old.name.as_ref() != *name
                    });
                    self.entries[place] = new;
                }
                None => self.entries.push(new),
            }
        }
    }

    /// Leaves out the entries named `name`; whether there was one.
    pub(super) fn forget(&mut self, name: &str) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.label() != name);
        self.entries.len() < before
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The bytes of `index.json`: canonical, sorted keys.
    pub(super) fn into_json(self) -> Vec<u8> {
        let mut top = self.top;
        top.insert("schemaVersion".into(), json!(2));
        top.insert("manifests".into(), self.entries.into_iter().map(|entry| entry.value).collect());
        Value::Object(top).to_string().into_bytes()
    }
}

fn entry(value: Value) -> Result<Entry, String> {
    let found = Descriptor::deserialize(&value).map_err(|e| e.to_string())?;
    let annotations = found.annotations().as_ref();
    Ok(Entry {
        name: annotations.and_then(|all| all.get(REF_NAME)).filter(|name| !name.is_empty()).cloned(),
        digest: digest(&found)?,
        size: found.size(),
        media_type: found.media_type().to_string(),
        platform: found.platform().as_ref().map(platform),
        value,
    })
}

fn digest(descriptor: &Descriptor) -> Result<Digest, String> {
    descriptor.digest().to_string().parse().map_err(|e: crate::digest::ParseDigestError| e.to_string())
}

fn platform(found: &oci_spec::image::Platform) -> Platform {
    Platform {
        os: found.os().to_string(),
        architecture: found.architecture().to_string(),
        variant: found.variant().clone().filter(|variant| !variant.is_empty()),
    }
}

impl Layout {
    pub(super) fn index(&self) -> Result<Index, LayoutError> {
        let path = self.index_path();
        let bytes = std::fs::read(&path).map_err(LayoutError::io("read", &path))?;
        Index::parse(&bytes).map_err(|why| LayoutError::Unreadable { path, why })
    }

    /// The images that are here, in the index's order.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn entries(&self) -> Result<Vec<Entry>, LayoutError> {
        Ok(self.index()?.entries)
    }

    /// The entry that is meant.
    ///
    /// # Errors
    /// When there is none, or for [`Selector::Only`] more than one.
    pub fn find(&self, selector: Selector<'_>) -> Result<Entry, LayoutError> {
        let entries = self.entries()?;
        let known = || entries.iter().map(Entry::label).collect::<Vec<_>>();
        match selector {
            Selector::Only => match &entries[..] {
                // One image may have several names.
                [first, rest @ ..] if rest.iter().all(|entry| entry.digest == first.digest) => Ok(first.clone()),
                _ => Err(LayoutError::NotOne { path: self.dir().to_owned(), known: known() }),
            },
            Selector::Name(name) => {
                let by_name = entries.iter().find(|entry| entry.name.as_deref() == Some(name));
                let by_digest = || entries.iter().find(|entry| entry.digest.to_string() == name);
                by_name.or_else(by_digest).cloned().ok_or_else(|| {
                    let known = known();
                    let near = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
                    LayoutError::NoSuchName { name: name.to_owned(), path: self.dir().to_owned(), near, known }
                })
            }
        }
    }

    /// The image of an entry, as a value. Its layers are files of this layout, which [`lock_shared`](Self::lock_shared)
    /// keeps here.
    ///
    /// # Errors
    /// When one of its documents cannot be read or has another digest, or a layer is missing.
    pub fn read(&self, entry: &Entry) -> Result<Artifact, LayoutError> {
        let root = self.document(&entry.digest, entry.size, &entry.media_type, "the manifest")?;
        match entry.media_type.as_str() {
            INDEX | DOCKER_INDEX => {
                let index: ImageIndex = self.parse(&root)?;
                let images = index.manifests().iter().map(|descriptor| {
                    let manifest = self.described(descriptor, "a manifest")?;
                    self.image(manifest, descriptor.platform().as_ref().map(platform))
                });
                let images: Vec<Image> = images.collect::<Result<_, _>>()?;
                if images.is_empty() {
                    return Err(self.unreadable(&root, "expected an image for at least one platform, found none"));
                }
                Ok(Artifact { index: Some(root), images })
            }
            _ => Ok(Artifact { index: None, images: vec![self.image(root, entry.platform.clone())?] }),
        }
    }

    fn image(&self, manifest: Document, on: Option<Platform>) -> Result<Image, LayoutError> {
        if ![MANIFEST, DOCKER_MANIFEST].contains(&manifest.media_type.as_str()) {
            let why = format!("expected the manifest of an image, found the media type {}", manifest.media_type);
            return Err(self.unreadable(&manifest, why));
        }
        let parsed: ImageManifest = self.parse(&manifest)?;
        let config = self.described(parsed.config(), "the configuration")?;
        let known: ImageConfig = self.parse(&config)?;
        if known.diff_ids().len() != parsed.layers().len() {
            let why = format!(
                "expected {} diff_ids, one for each layer, found {}",
                parsed.layers().len(),
                known.diff_ids().len()
            );
            return Err(self.unreadable(&config, why));
        }
        let described = parsed.layers().iter().zip(known.diff_ids()).enumerate();
        let layers = described.map(|(i, (descriptor, diff_id))| self.layer(descriptor, *diff_id, i, &manifest));
        Ok(Image {
            platform: on.unwrap_or_else(|| known.platform()),
            layers: layers.collect::<Result<_, _>>()?,
            manifest,
            config,
        })
    }

    fn layer(&self, found: &Descriptor, diff_id: Digest, i: usize, manifest: &Document) -> Result<Layer, LayoutError> {
        let digest = digest(found).map_err(|why| self.unreadable(manifest, why))?;
        let annotation = |key| found.annotations().as_ref().and_then(|all| all.get(key)).cloned();
        let title = annotation(TITLE).or_else(|| annotation(OCI_TITLE)).unwrap_or_else(|| format!("layer {}", i + 1));
        let size = found.size();
        if !self.blobs.contains(&digest, size) {
            let what = format!("layer `{title}`");
            return Err(LayoutError::NoBlob { what, digest, size, path: self.dir().to_owned() });
        }
        let content = Arc::new(self.blobs.path(&digest));
        Ok(Layer { digest, diff_id, size, media_type: found.media_type().to_string(), title, content })
    }

    fn described(&self, descriptor: &Descriptor, what: &str) -> Result<Document, LayoutError> {
        let digest = digest(descriptor).map_err(|why| LayoutError::Unreadable { path: self.index_path(), why })?;
        self.document(&digest, descriptor.size(), descriptor.media_type().as_ref(), what)
    }

    /// Reads a document, and checks that it is what its digest says.
    fn document(&self, digest: &Digest, size: u64, media_type: &str, what: &str) -> Result<Document, LayoutError> {
        let path = self.blobs.path(digest);
        let file = match File::open(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let (what, path) = (what.to_owned(), self.dir().to_owned());
                return Err(LayoutError::NoBlob { what, digest: *digest, size, path });
            }
            file => file.map_err(LayoutError::io("read", &path))?,
        };
        let mut bytes = Vec::new();
        file.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes).map_err(LayoutError::io("read", &path))?;
        if bytes.len() as u64 > MAX_DOCUMENT {
            let why = format!("expected a document of at most {MAX_DOCUMENT} bytes, found more");
            return Err(LayoutError::Unreadable { path, why });
        }
        let document = Document::new(media_type, bytes);
        if document.digest != *digest {
            let name = format!("{what} {}", path.display());
            return Err(StoreError::Digest { name, expected: *digest, found: document.digest }.into());
        }
        Ok(document)
    }

    fn parse<T: for<'a> Deserialize<'a>>(&self, document: &Document) -> Result<T, LayoutError> {
        serde_json::from_slice(&document.bytes).map_err(|e| self.unreadable(document, e.to_string()))
    }

    fn unreadable(&self, document: &Document, why: impl Into<String>) -> LayoutError {
        LayoutError::Unreadable { path: self.blobs.path(&document.digest), why: why.into() }
    }

    /// The blobs that the entries of `index` need.
    ///
    /// # Errors
    /// When a document cannot be read: what it needs is unknown. One that is missing needs nothing.
    pub(super) fn needed(&self, index: &Index) -> Result<BTreeSet<Digest>, LayoutError> {
        let mut needed = BTreeSet::new();
        let mut open: Vec<(Digest, u64, String)> =
            index.entries.iter().map(|entry| (entry.digest, entry.size, entry.media_type.clone())).collect();
        while let Some((digest, size, media_type)) = open.pop() {
            let is_document = [INDEX, DOCKER_INDEX, MANIFEST, DOCKER_MANIFEST].contains(&media_type.as_str());
            if !needed.insert(digest) || !is_document {
                continue;
            }
            let document = match self.document(&digest, size, &media_type, "the manifest") {
                Err(LayoutError::NoBlob { .. }) => continue,
                document => document?,
            };
            let named: Named = self.parse(&document)?;
            for found in named.manifests.iter().chain(&named.layers).chain(&named.config) {
                let digest = self::digest(found).map_err(|why| self.unreadable(&document, why))?;
                open.push((digest, found.size(), found.media_type().to_string()));
            }
        }
        Ok(needed)
    }
}

/// Whatever a manifest or an index refers to.
#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    manifests: Vec<Descriptor>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_other_tools_write_and_keeps_it() {
        let digest = Digest::of("manifest");
        let json = format!(
            r#"{{"annotations":{{"a":"b"}},"manifests":[{{"annotations":{{"{REF_NAME}":"app:1"}},"digest":"{digest}","mediaType":"{MANIFEST}","size":8,"unknown":[1]}},{{"digest":"{digest}","mediaType":"{MANIFEST}","platform":{{"architecture":"arm","os":"linux","variant":"v7"}},"size":8}}],"schemaVersion":2}}"#
        );
        let index = Index::parse(json.as_bytes()).expect("an index");
        let names: Vec<_> = index.entries.iter().map(|entry| entry.name.as_deref()).collect();
        assert_eq!(names, [Some("app:1"), None]);
        assert_eq!(index.entries[1].platform.as_ref().map(ToString::to_string).as_deref(), Some("linux/arm/v7"));
        assert_eq!(String::from_utf8(index.into_json()).expect("text"), json);
    }

    #[test]
    fn says_what_is_wrong_with_an_index() {
        for (json, expected) in [
            ("", "expected JSON: EOF"),
            ("[]", "expected a JSON object"),
            ("{}", "expected an array `manifests`, found null"),
            (r#"{"manifests":7}"#, "expected an array `manifests`, found 7"),
            (r#"{"manifests":[{}]}"#, "manifests[0]: missing field `mediaType`"),
            (r#"{"manifests":[{"mediaType":"a/b","size":1,"digest":"sha256:zz"}]}"#, "manifests[0]: "),
        ] {
            let error = Index::parse(json.as_bytes()).expect_err(json);
            assert!(error.starts_with(expected), "{json}: {error}");
        }
    }
}
