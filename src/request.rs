//! A build as the user asked for it: flags, environment and files, merged into one value.

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

/// What is built, and how. `None` and empty lists leave the choice to the recipe.
#[derive(Debug, Clone)]
pub struct Request {
    /// The machine and the user that the image is built for.
    pub host: Host,
    /// The app's folder.
    pub app: PathBuf,
    /// Where the root filesystem starts.
    pub base: Base,
    /// Whether another base may be used when the mirror of this one cannot be reached: the user chose no base.
    pub fallback: bool,
    /// The platforms that the image is built for; at least one.
    pub platforms: Vec<Platform>,
    /// Where the base's packages are: a URL or a folder, instead of Alpine's own mirror or this machine's apt sources.
    pub mirror: Option<String>,
    /// Files and folders of keys that are trusted besides the distribution's.
    pub keys: Vec<PathBuf>,
    /// Further repositories, as a line of `/etc/apk/repositories` names them (`URL` or `@TAG URL`), or one of
    /// `/etc/apt/sources.list` (`deb URL SUITE COMPONENT`).
    pub repositories: Vec<String>,
    /// Further packages.
    pub packages: Vec<String>,
    /// Further packages of the dev variant only.
    pub dev_packages: Vec<String>,
    /// How layers that are made here are compressed.
    pub compression: Compression,
    /// Where the project's dependencies come from.
    pub deps: Deps,
    /// How dependencies are installed.
    pub step: StepOptions,
    /// Variables, over the recipe's.
    pub env: BTreeMap<String, String>,
    /// `Entrypoint`, instead of the recipe's.
    pub entrypoint: Option<Command>,
    /// `Cmd`, instead of the recipe's.
    pub cmd: Option<Command>,
    /// The folder of the app in the image, instead of the recipe's.
    pub workdir: Option<Workdir>,
    /// The user, instead of the recipe's.
    pub user: Option<User>,
    /// Ports, besides the recipe's.
    pub ports: Vec<Port>,
    /// Labels of the configuration.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the manifest, over those that are filled in.
    pub annotations: BTreeMap<String, String>,
    /// Files that are included although an ignore file excludes them.
    pub include: Vec<Pattern>,
    /// Files that are excluded.
    pub exclude: Vec<Pattern>,
    /// The largest size that the image may have.
    pub max_size: Option<Size>,
    /// The time of everything in the image that holds one, in seconds since 1970 (SOURCE_DATE_EPOCH).
    pub epoch: u64,
}

/// How steps run on this machine.
#[derive(Debug, Clone, Default)]
pub struct StepOptions {
    /// The secrets that steps get.
    pub secrets: Vec<SecretSource>,
    /// Whether the install scripts of dependencies are not run.
    pub ignore_scripts: bool,
    /// Whether all projects share the caches.
    pub shared_cache: bool,
    /// Whether no network is used.
    pub offline: bool,
    /// The OCI runtime, by name or path; `None` for the first that is found.
    pub runtime: Option<String>,
    /// Files of further certificates to trust.
    pub ca: Vec<PathBuf>,
}
