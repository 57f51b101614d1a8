//! The local images: what has been built here, by name, in an OCI image layout that skopeo and podman read as it is
//! (`oci:DIR:NAME`). Its blobs are hard links into the store wherever the file system allows them.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    digest::Digest,
    error::{Explain, Kind},
    host::Host,
    image::{Artifact, Image, Platform},
    layout::{Entry, Layout, LayoutError, Transfer, is_last_link},
    near::nearest,
    store::{Store, StoreError},
    ui::Ui,
};

/// What can go wrong with the local images.
#[derive(Debug, thiserror::Error)]
pub enum ImagesError {
    /// In their layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// In the store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no image of that name.
    #[error("no local image `{name}`")]
    NotFound {
        /// The requested name.
        name: String,
        /// The name that may have been meant.
        near: Option<String>,
        /// Whether there are images at all.
        any: bool,
    },
    /// Neither `XDG_DATA_HOME` nor `HOME` is set.
    #[error("cannot tell where images are kept: neither XDG_DATA_HOME nor HOME is set")]
    NoHome,
}

impl Explain for ImagesError {
    fn kind(&self) -> Kind {
        match self {
            Self::Layout(e) => e.kind(),
            Self::Store(e) => e.kind(),
            Self::NotFound { .. } | Self::NoHome => Kind::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Layout(e) => e.hint(),
            Self::Store(e) => e.hint(),
            Self::NotFound { near: Some(near), .. } => Some(format!("did you mean `{near}`?")),
            Self::NotFound { any: true, .. } => Some("`microbuild images` lists what there is".into()),
            Self::NotFound { any: false, .. } => Some("there are none yet: build one, `microbuild node ./app`".into()),
            Self::NoHome => Some("set XDG_DATA_HOME to a folder of yours".into()),
        }
    }
}

/// The local images of one user. Any number of processes may work on them at once.
#[derive(Debug, Clone)]
pub struct LocalImages {
    layout: Layout,
}

/// A local image as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The name without its tag: `app`, `registry.example/app`; empty when it has none.
    pub name: String,
    /// The tag.
    pub tag: String,
    /// Digest of its manifest or index.
    pub digest: Digest,
    /// What it runs on: `linux/amd64`.
    pub platforms: Vec<String>,
    /// Bytes of all its blobs, each counted once.
    pub size: u64,
    /// When it was made, RFC 3339, as its configuration says.
    pub created: Option<String>,
    /// Why it cannot be used, when it can't.
    pub broken: Option<String>,
}

/// What [`LocalImages::gc`] may remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GcOptions {
    /// The time that it is.
    pub now: SystemTime,
    /// Whatever no local image needs and has not been used for this long.
    pub unused_for: Duration,
    /// Whatever no local image needs, every remembered result, and the caches of package managers.
    pub all: bool,
}

/// What a [`LocalImages::gc`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct GcReport {
    /// Blobs, remembered results and folders that are gone.
    pub removed: u64,
    /// Bytes that this freed.
    pub freed: u64,
}

/// Where the local images of `host`'s user are: `$XDG_DATA_HOME/microbuild/images`.
///
/// # Errors
/// When neither `XDG_DATA_HOME` nor `HOME` is set.
pub fn default_dir(host: &Host) -> Result<PathBuf, ImagesError> {
    host.data_home().map(|data| data.join("microbuild/images")).ok_or(ImagesError::NoHome)
}

impl LocalImages {
    /// The local images at `dir`, which is made where it is missing.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(dir: &Path) -> Result<Self, ImagesError> {
        Ok(Self { layout: Layout::create(dir)? })
    }

    /// Their folder.
    pub fn dir(&self) -> &Path {
        self.layout.dir()
    }

    /// Keeps `artifact` under each of `names` (`app` is `app:latest`), which other images lose. The digests of the
    /// blobs that were not here before.
    ///
    /// # Errors
    /// When a blob can be neither read nor written: then nothing has changed.
    pub fn put(&self, names: &[String], artifact: &Artifact, ui: &Ui) -> Result<BTreeSet<Digest>, ImagesError> {
        let names: Vec<String> = names.iter().map(|name| with_tag(name)).collect();
        Ok(self.layout.add(artifact, &names, Transfer::Link, ui)?)
    }

    /// All images, by name and tag. One that cannot be read is there too, and says why.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn list(&self) -> Result<Vec<Row>, ImagesError> {
        let mut rows: Vec<Row> = self.layout.entries()?.iter().map(|entry| self.row(entry)).collect();
        rows.sort_by(|a, b| (&a.name, &a.tag, a.digest).cmp(&(&b.name, &b.tag, b.digest)));
        Ok(rows)
    }

    fn row(&self, entry: &Entry) -> Row {
        let (name, tag) = split(entry.name.as_deref().unwrap_or_default());
        let (name, tag, digest) = (name.to_owned(), tag.to_owned(), entry.digest);
        match self.layout.read(entry) {
            Ok(artifact) => {
                let platforms = platforms(&artifact);
                let created = artifact.images.first().and_then(created);
                Row { name, tag, digest, platforms, size: size(&artifact), created, broken: None }
            }
            Err(e) => {
                let platforms = entry.platform.iter().map(Platform::to_string).collect();
                Row { name, tag, digest, platforms, size: 0, created: None, broken: Some(e.to_string()) }
            }
        }
    }

    /// The entry called `name`: `app:1`, `app` for `app:latest`, `app:1@sha256:…`, or `sha256:…` alone.
    fn find(&self, name: &str) -> Result<Entry, ImagesError> {
        let entries = self.layout.entries()?;
        let (wanted, digest) = match name.split_once('@') {
            Some((wanted, digest)) => (wanted, Some(digest)),
            None => (name, None),
        };
        let is_wanted = |entry: &&Entry| {
            let same = |name: &str| name == wanted || name == with_tag(wanted);
            // A digest alone, or after a name without a tag, is enough.
            let by_digest = entry.digest.to_string();
            match digest {
                Some(digest) => {
                    by_digest == digest && entry.name.as_deref().is_some_and(|n| same(n) || split(n).0 == wanted)
                }
                None => entry.name.as_deref().is_some_and(same) || by_digest == wanted,
            }
        };
        entries.iter().find(is_wanted).cloned().ok_or_else(|| {
            let names: Vec<&str> = entries.iter().filter_map(|entry| entry.name.as_deref()).collect();
            let with = with_tag(wanted);
            let near = nearest(split(&with).0, names.iter().map(|name| split(name).0)).and_then(|meant| {
                let tags: Vec<&str> = names.iter().copied().filter(|name| split(name).0 == meant).collect();
                nearest(&format!("{meant}:{}", split(&with).1), tags.iter().copied()).or(tags.first().copied())
            });
            ImagesError::NotFound { name: name.to_owned(), near: near.map(str::to_owned), any: !entries.is_empty() }
        })
    }

    /// The digest of the image called `name`, as [`get`](Self::get) takes it; `None` when there is none.
    pub fn digest(&self, name: &str) -> Option<Digest> {
        self.find(name).ok().map(|entry| entry.digest)
    }

    /// The image called `name`: `app:1`, `app` for `app:latest`, `app:1@sha256:…`, or `sha256:…` alone. Its layers are
    /// files that stay while the layout is locked.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn get(&self, name: &str) -> Result<Artifact, ImagesError> {
        Ok(self.layout.read(&self.find(name)?)?)
    }

    /// What there is to know of the image called `name`, as JSON: `reference`, `digest`, `mediaType`, `size`, and for
    /// each of `images` its `platform`, `digest`, `config`, `annotations` and `layers` (`title`, `digest`, `diff_id`,
    /// `size`, `mediaType`, `annotations`).
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn inspect(&self, name: &str) -> Result<Value, ImagesError> {
        let entry = self.find(name)?;
        let artifact = self.layout.read(&entry)?;
        Ok(json!({
            "reference": format!("{}@{}", entry.name.as_deref().unwrap_or_default(), entry.digest).trim_start_matches('@'),
            "digest": entry.digest,
            "mediaType": entry.media_type,
            "size": size(&artifact),
            "images": artifact.images.iter().map(inspected).collect::<Vec<_>>(),
        }))
    }

    /// Removes the name `name` (as [`get`](Self::get) takes it), and the blobs that no other image needs; the digest,
    /// and the bytes that this freed here (the store may still have them).
    ///
    /// # Errors
    /// When there is none, or it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(Digest, u64), ImagesError> {
        let entry = self.find(name)?;
        let freed = self.layout.remove(&entry.label())?;
        let gone = || ImagesError::NotFound { name: name.to_owned(), near: None, any: true };
        Ok((entry.digest, freed.ok_or_else(gone)?))
    }

    /// Removes from the images' layout what no image needs, and from `store` blobs, remembered results and folders that
    /// nothing runs in, as `options` say. Waits for the builds that use the store.
    ///
    /// # Errors
    /// When an image cannot be read (what it needs is unknown then), or something cannot be removed.
    pub fn gc(&self, store: &Store, options: GcOptions) -> Result<GcReport, ImagesError> {
        let _alone = store.lock_exclusive()?;
        let (removed, freed) = self.layout.collect()?;
        let mut report = GcReport { removed, freed };
        let needed = self.layout.blobs()?;
        let unused = |used: SystemTime| {
            // A time in the future says that it was used just now.
            options.all || options.now.duration_since(used).is_ok_and(|age| age >= options.unused_for)
        };
        for blob in store.blobs().list()? {
            if !needed.contains(&blob.digest) && unused(blob.used) {
                report.freed += if is_last_link(&store.blobs().path(&blob.digest)) { blob.size } else { 0 };
                report.removed += 1;
                store.blobs().remove(&blob.digest)?;
            }
        }
        let (memos, bytes) = store.forget(unused)?;
        report.removed += memos;
        report.freed += bytes + store.blobs().sweep();
        let (folders, bytes) = store.forget_folders(unused)?;
        report.removed += folders;
        report.freed += bytes;
        Ok(report)
    }
}

/// The name with its tag, `latest` unless it says another. A digest in it stays where it is.
pub fn with_tag(name: &str) -> String {
    if split(name).1.is_empty() && !name.contains('@') { format!("{name}:latest") } else { name.to_owned() }
}

/// The name with each of the `tags`, unless it has one of its own.
pub fn with_tags(name: &str, tags: &[String]) -> Vec<String> {
    if with_tag(name) == name {
        return vec![name.to_owned()];
    }
    tags.iter().map(|tag| format!("{name}:{tag}")).collect()
}

/// The name and its tag: `localhost:5000/app` and `1` of `localhost:5000/app:1`.
fn split(name: &str) -> (&str, &str) {
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (name, ""),
    }
}

fn platforms(artifact: &Artifact) -> Vec<String> {
    artifact.images.iter().map(|image| image.platform.to_string()).collect()
}

fn size(artifact: &Artifact) -> u64 {
    let layers = artifact.images.iter().flat_map(|image| &image.layers).map(|layer| (layer.digest, layer.size));
    let documents = crate::layout::documents(artifact).map(|document| (document.digest, document.bytes.len() as u64));
    let blobs: BTreeSet<(Digest, u64)> = layers.chain(documents).collect();
    blobs.iter().map(|(_, size)| size).sum()
}

fn created(image: &Image) -> Option<String> {
    image.configuration().ok()?.created
}

fn inspected(image: &Image) -> Value {
    let document = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap_or_default();
    let manifest = document(&image.manifest.bytes);
    let layers = image.layers.iter().enumerate().map(|(i, layer)| {
        json!({
            "title": layer.title,
            "digest": layer.digest,
            "diff_id": layer.diff_id,
            "size": layer.size,
            "mediaType": layer.media_type,
            "annotations": manifest["layers"][i]["annotations"],
        })
    });
    json!({
        "platform": image.platform.to_string(),
        "digest": image.manifest.digest,
        "config": document(&image.config.bytes),
        "annotations": manifest["annotations"],
        "layers": layers.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_what_follows_the_last_colon_of_the_last_component() {
        for (name, expected, with) in [
            ("app", ("app", ""), "app:latest"),
            ("app:1", ("app", "1"), "app:1"),
            ("localhost:5000/app", ("localhost:5000/app", ""), "localhost:5000/app:latest"),
            ("localhost:5000/app:1", ("localhost:5000/app", "1"), "localhost:5000/app:1"),
        ] {
            assert_eq!((split(name), with_tag(name).as_str()), (expected, with));
        }
    }
}
