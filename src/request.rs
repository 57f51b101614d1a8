//! The request for a build: flags, environment and files, merged into one value.

use std::{collections::BTreeMap, path::PathBuf};

use crate::{
    glob::Pattern,
    host::Host,
    image::Platform,
    secret::SecretSource,
    values::{Base, Command, Compression, Deps, Port, Size, User, Workdir},
};

/// Alpine's own mirror, the default.
pub const DEFAULT_MIRROR: &str = "https://dl-cdn.alpinelinux.org/alpine";

/// A request for a build. `None` and empty lists leave the choice to the recipe.
#[derive(Debug, Clone)]
pub struct Request {
    /// The machine and the user that run the build.
    pub host: Host,
    /// The app's folder.
    pub app: PathBuf,
    /// The base of the root filesystem.
    pub base: Base,
    /// Whether another base may be used when this one's mirror cannot be reached, because the user named no base.
    pub fallback: bool,
    /// The platforms that the image is built for; at least one.
    pub platforms: Vec<Platform>,
    /// The mirror of the base's packages: a URL or a folder, instead of Alpine's own mirror or this machine's apt
    /// sources.
    pub mirror: Option<String>,
    /// Files and folders of keys that are trusted in addition to the distribution's.
    pub keys: Vec<PathBuf>,
    /// Additional repositories, each a line of `/etc/apk/repositories` (`URL` or `@TAG URL`) or of
    /// `/etc/apt/sources.list` (`deb URL SUITE COMPONENT`).
    pub repositories: Vec<String>,
    /// Additional packages.
    pub packages: Vec<String>,
    /// Additional packages of the dev variant only.
    pub dev_packages: Vec<String>,
    /// The compression of layers that are made here.
    pub compression: Compression,
    /// Where the project's dependencies come from.
    pub deps: Deps,
    /// How dependencies are installed.
    pub step: StepOptions,
    /// Variables, which win over the recipe's.
    pub env: BTreeMap<String, String>,
    /// `Entrypoint`, instead of the recipe's.
    pub entrypoint: Option<Command>,
    /// `Cmd`, instead of the recipe's.
    pub cmd: Option<Command>,
    /// The folder of the app in the image, instead of the recipe's.
    pub workdir: Option<Workdir>,
    /// The user, instead of the recipe's.
    pub user: Option<User>,
    /// Ports, in addition to the recipe's.
    pub ports: Vec<Port>,
    /// Labels of the configuration.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the manifest, which win over the ones that are filled in.
    pub annotations: BTreeMap<String, String>,
    /// Files that are included although an ignore file excludes them.
    pub include: Vec<Pattern>,
    /// Files that are excluded.
    pub exclude: Vec<Pattern>,
    /// Files that a compiled app keeps beside its program.
    pub keep: Vec<Pattern>,
    /// The largest size that the image may have.
    pub max_size: Option<Size>,
    /// The time for every timestamp in the image, in seconds since 1970 (SOURCE_DATE_EPOCH).
    pub epoch: u64,
}

/// How steps run on this machine.
#[derive(Debug, Clone, Default)]
pub struct StepOptions {
    /// The secrets that steps get.
    pub secrets: Vec<SecretSource>,
    /// Whether install scripts of dependencies are skipped.
    pub ignore_scripts: bool,
    /// Whether all projects share caches.
    pub shared_cache: bool,
    /// Whether no network is used.
    pub offline: bool,
    /// The OCI runtime, by name or path; `None` for the first one found.
    pub runtime: Option<String>,
    /// Files with additional certificates to trust.
    pub ca: Vec<PathBuf>,
}
