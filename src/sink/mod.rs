//! Where images go: a layout on disk, an archive, a Docker engine. (Registries have names of their own, and a sink of
//! their own.)
//!
//! Each sink is one function `write(where, artifact, names, ui)`. It asks a layer for its bytes only when the target
//! lacks them, checks them on the way, and leaves the target as it was when anything fails.

use std::{
    collections::BTreeSet,
    fmt, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use crate::{
    digest::Digest,
    error::{Explain, Kind},
    host::Host,
    image::Artifact,
    layout::{LayoutError, documents},
    near::nearest,
    registry::Reference,
    ui::Ui,
};

mod archive;
pub mod docker;
pub mod docker_archive;
pub mod oci;
pub mod oci_archive;
pub mod registry;

pub use docker::EngineError;

/// An output that is neither the local images nor a registry: the value of `-o KIND:PATH`, in skopeo's words.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Output {
    /// `oci:DIR[:NAME]`: an OCI image layout.
    Oci {
        /// The layout's folder.
        dir: PathBuf,
        /// The name in the layout, in the place of the image's own names.
        name: Option<String>,
    },
    /// `oci-archive:FILE[:NAME]`: an OCI image layout in a tar.
    OciArchive {
        /// The tar.
        file: PathBuf,
        /// The name in the layout, in the place of the image's own names.
        name: Option<String>,
    },
    /// `docker-archive:FILE[:NAME]`: what `docker save` writes and `docker load` reads.
    DockerArchive {
        /// The tar.
        file: PathBuf,
        /// The name that the engine gives it, in the place of the image's own names.
        name: Option<String>,
    },
    /// `docker`: the Docker engine.
    Docker,
}

impl Output {
    /// The file or folder that it writes.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Oci { dir: path, .. }
            | Self::OciArchive { file: path, .. }
            | Self::DockerArchive { file: path, .. } => Some(path),
            Self::Docker => None,
        }
    }
}

/// The kinds, as `-o` takes them.
const KINDS: [&str; 4] = ["oci", "oci-archive", "docker-archive", "docker"];

/// Not an output.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseOutputError {
    /// The kind does not exist.
    #[error("expected one of oci:DIR, oci-archive:FILE, docker-archive:FILE, docker, found `{found}`")]
    Kind {
        /// What was found.
        found: String,
        /// The kind that may have been meant.
        near: Option<&'static str>,
    },
    /// The path is missing.
    #[error("expected a path after `{kind}:`, found nothing")]
    NoPath {
        /// The kind.
        kind: &'static str,
    },
    /// A path where there can't be one.
    #[error("expected `docker` alone, found `docker:{path}`")]
    Path {
        /// What follows `docker:`.
        path: String,
    },
    /// The name after the path cannot stand in a layout.
    #[error("expected a name of letters, digits and single -._:@+/ between them after `{path}:`, found `{name}`")]
    Name {
        /// The path.
        path: String,
        /// The name.
        name: String,
    },
}

impl Explain for ParseOutputError {
    fn kind(&self) -> Kind {
        match self {
            Self::Kind { .. } | Self::NoPath { .. } | Self::Path { .. } | Self::Name { .. } => Kind::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Kind { near: Some(near @ "docker"), .. } => Some(format!("did you mean `{near}`?")),
            Self::Kind { near: Some(near), .. } => Some(format!("did you mean `{near}:PATH`?")),
            Self::Kind { .. } => None,
            Self::NoPath { kind } => Some(format!("for example `-o {kind}:./{}`", example(kind))),
            Self::Path { .. } => Some("DOCKER_HOST chooses the engine; `docker-archive:FILE` writes a file".into()),
            Self::Name { .. } => Some("for example `app:1.0`; a path with a colon in it cannot be named".into()),
        }
    }
}

fn example(kind: &str) -> &'static str {
    if kind == "oci" { "image" } else { "image.tar" }
}

impl FromStr for Output {
    type Err = ParseOutputError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let (word, rest) = s.split_once(':').map_or((s, None), |(word, rest)| (word, Some(rest)));
        let Some(kind) = KINDS.into_iter().find(|kind| *kind == word) else {
            return Err(ParseOutputError::Kind { found: s.to_owned(), near: nearest(word, KINDS) });
        };
        if kind == "docker" {
            return match rest {
                None => Ok(Self::Docker),
                Some(path) => Err(ParseOutputError::Path { path: path.to_owned() }),
            };
        }
        let (path, name) = rest
            .map_or(("", None), |rest| rest.split_once(':').map_or((rest, None), |(path, name)| (path, Some(name))));
        if path.is_empty() {
            return Err(ParseOutputError::NoPath { kind });
        }
        if let Some(name) = name.filter(|name| !is_ref_name(name)) {
            return Err(ParseOutputError::Name { path: path.to_owned(), name: name.to_owned() });
        }
        let (path, name) = (PathBuf::from(path), name.map(str::to_owned));
        Ok(match kind {
            "oci" => Self::Oci { dir: path, name },
            "oci-archive" => Self::OciArchive { file: path, name },
            _ => Self::DockerArchive { file: path, name },
        })
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, path, name) = match self {
            Self::Oci { dir, name } => ("oci", dir, name),
            Self::OciArchive { file, name } => ("oci-archive", file, name),
            Self::DockerArchive { file, name } => ("docker-archive", file, name),
            Self::Docker => return f.write_str("docker"),
        };
        write!(f, "{kind}:{}", path.display())?;
        name.as_ref().map_or(Ok(()), |name| write!(f, ":{name}"))
    }
}

/// Whether `name` follows the grammar of `org.opencontainers.image.ref.name` (OCI image specification, "Pre-Defined
/// Annotation Keys"), which skopeo checks.
fn is_ref_name(name: &str) -> bool {
    let component = |component: &str| {
        let separator = |c: char| "-._:@+".contains(c);
        let word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric());
        component.replace("--", "-").split(separator).all(word)
    };
    name.split('/').all(component)
}

/// What a sink did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// The blobs that the target lacked and got.
    pub sent: BTreeSet<Digest>,
    /// The images' names at the target, for people: `oci:out:app:latest`, `app:latest`.
    pub names: Vec<String>,
}

/// What can go wrong in a sink.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// In a layout, or with a layer.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// With the Docker engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The bytes of a layer are not what its digest says.
    #[error("layer `{title}`: expected {expected}, found {found}")]
    Digest {
        /// The layer's title.
        title: String,
        /// The digest that was promised.
        expected: Digest,
        /// The digest that the bytes have.
        found: Digest,
    },
    /// The archive cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The archive.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An image for several platforms where there can be one only.
    #[error("{format} holds an image for one platform, and this one is for {}", platforms.join(", "))]
    ManyPlatforms {
        /// The format.
        format: &'static str,
        /// The platforms.
        platforms: Vec<String>,
    },
    /// A layer is compressed in a way that the format does not have.
    #[error("expected layer `{title}` to be a tar, plain or compressed by gzip or zstd, found {media_type}")]
    MediaType {
        /// The layer's title.
        title: String,
        /// Its media type.
        media_type: String,
    },
}

impl SinkError {
    fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Write { path, source }
    }
}

impl Explain for SinkError {
    fn kind(&self) -> Kind {
        match self {
            Self::Layout(e) => e.kind(),
            Self::Engine(e) => e.kind(),
            Self::Digest { .. } => Kind::Unverified,
            Self::Write { .. } | Self::MediaType { .. } => Kind::Build,
            Self::ManyPlatforms { .. } => Kind::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Layout(e) => e.hint(),
            Self::Engine(e) => e.hint(),
            Self::Digest { .. } => {
                Some("what was remembered of the layer is wrong: `microbuild gc --all`, then build again".into())
            }
            Self::Write { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => Some("make the folder first".into()),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    Some("name a file in a folder that you may write to".into())
                }
                io::ErrorKind::IsADirectory => Some("name a file, or use `oci:DIR`".into()),
                io::ErrorKind::StorageFull => {
                    Some("the disk is full: `microbuild gc` frees what no local image needs".into())
                }
                // The message has what the system said.
                _ => None,
            },
            Self::ManyPlatforms { platforms, .. } => {
                let first = platforms.first().map_or("linux/amd64", String::as_str);
                Some(format!("choose one with `--platform {first}`, or write `oci-archive:FILE`, which holds all"))
            }
            Self::MediaType { .. } => Some("use `oci:DIR` or `oci-archive:FILE`, which hold any layer".into()),
        }
    }
}

/// Writes `artifact` to `output` under `names`; Docker is that of `host`.
///
/// # Errors
/// As the sink's own function.
pub fn write(
    output: &Output,
    artifact: &Artifact,
    names: &[String],
    host: &Host,
    ui: &Ui,
) -> Result<Report, SinkError> {
    let named = |name: &Option<String>| name.as_ref().map_or_else(|| names.to_vec(), |name| vec![name.clone()]);
    match output {
        Output::Oci { dir, name } => oci::write(dir, artifact, &named(name), ui),
        Output::OciArchive { file, name } => oci_archive::write(file, artifact, &named(name), ui),
        Output::DockerArchive { file, name } => docker_archive::write(file, artifact, &named(name), ui),
        Output::Docker => docker::write(&docker::Endpoint::of_host(host)?, artifact, names, ui),
    }
}

/// The digests of all blobs of `artifact`.
fn blobs(artifact: &Artifact) -> BTreeSet<Digest> {
    let layers = artifact.images.iter().flat_map(|image| &image.layers).map(|layer| layer.digest);
    layers.chain(documents(artifact).map(|document| document.digest)).collect()
}

/// The name as Docker's engine and its archives want it: without a digest, and with a tag.
fn tagged(name: &str) -> String {
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    if has_tag(name) { name.to_owned() } else { format!("{name}:latest") }
}

/// Whether a tag stands after the last path component; the colon of `localhost:5000/app` is another.
fn has_tag(name: &str) -> bool {
    name.rsplit('/').next().is_some_and(|last| last.contains(':'))
}

/// The name in full, as containerd has it: `docker.io/library/app:latest` for `app`; `None` for what is not a
/// reference.
fn full_name(name: &str) -> Option<String> {
    tagged(name).parse::<Reference>().ok().map(|reference| reference.canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_read_as_skopeo_writes_them() {
        let path = || PathBuf::from("a/b");
        let name = |name: &str| Some(name.to_owned());
        for (text, expected) in [
            ("oci:a/b", Output::Oci { dir: path(), name: None }),
            ("oci:a/b:app:1.0", Output::Oci { dir: path(), name: name("app:1.0") }),
            ("oci-archive:a/b:localhost:5000/x", Output::OciArchive { file: path(), name: name("localhost:5000/x") }),
            ("docker-archive:a/b", Output::DockerArchive { file: path(), name: None }),
            ("docker", Output::Docker),
        ] {
            assert_eq!(text.parse(), Ok(expected.clone()), "{text}");
            assert_eq!(expected.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_output_is_explained() {
        let mut told = String::new();
        for text in [
            "oci-archiv:x",
            "dokcer",
            "tar:x",
            "",
            "oci",
            "oci:",
            "docker-archive::x",
            "docker:x",
            "oci:x:",
            "oci:x:a b",
            "oci:x:a..b",
        ] {
            let error = text.parse::<Output>().expect_err(text);
            told += &format!("{text:?}: {error}\n  hint: {}\n", error.hint().unwrap_or_default());
        }
        insta::assert_snapshot!(told);
    }

    #[test]
    fn names_are_completed_as_docker_does() {
        for (name, tag, full) in [
            ("app", "app:latest", "docker.io/library/app:latest"),
            ("me/app:1", "me/app:1", "docker.io/me/app:1"),
            ("localhost:5000/app", "localhost:5000/app:latest", "localhost:5000/app:latest"),
            ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
            ("ghcr.io/a/b@sha256:00", "ghcr.io/a/b:latest", "ghcr.io/a/b:latest"),
            ("docker.io/library/app:1", "docker.io/library/app:1", "docker.io/library/app:1"),
        ] {
            assert_eq!((tagged(name).as_str(), full_name(name).as_deref()), (tag, Some(full)), "{name}");
        }
        assert_eq!(full_name("UPPER:1"), None);
    }

    #[test]
    fn an_output_that_is_none_is_a_matter_of_usage() {
        let error = ParseOutputError::NoPath { kind: "oci" };
        assert_eq!(error.kind(), Kind::Usage, "{error}");
    }
}
