//! What the user wants built: flags, environment and `microbuild.toml` already merged into one value.

use std::{collections::BTreeMap, path::PathBuf};

use crate::{
    glob::Pattern,
    host::Host,
    image::Platform,
    secret::SecretSource,
    values::{Base, Command, Compression, Deps, Port, Size, User, Workdir},
};

/// Alpine's own mirror, for whoever names none.
pub const DEFAULT_MIRROR: &str = "https://dl-cdn.alpinelinux.org/alpine";

/// A build as it was asked for. `None` and empty lists leave the choice to the recipe.
#[derive(Debug, Clone)]
pub struct Request {
    /// The machine and the user that the image is built for.
    pub host: Host,
    /// The app's folder.
    pub app: PathBuf,
    /// Where the root filesystem starts.
    pub base: Base,
    /// Whether another base may be taken where the mirror of this one cannot be reached: nobody chose it.
    pub fallback: bool,
    /// What the image is to run on; at least one.
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
    /// Further packages of the dev variant, which the image has not.
    pub dev_packages: Vec<String>,
    /// How layers that are made here are compressed.
    pub compression: Compression,
    /// What becomes of the project's dependencies.
    pub deps: Deps,
    /// How dependencies are installed.
    pub step: Step,
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
    /// Files that are taken although an ignore file leaves them out.
    pub include: Vec<Pattern>,
    /// Files that are left out.
    pub exclude: Vec<Pattern>,
    /// The most that the image may weigh.
    pub max_size: Option<Size>,
    /// Seconds since 1970 for whatever holds a time (SOURCE_DATE_EPOCH).
    pub epoch: u64,
}

/// How what a project depends on is installed.
#[derive(Debug, Clone, Default)]
pub struct Step {
    /// Secrets that it gets.
    pub secrets: Vec<SecretSource>,
    /// Whether the scripts of packages are left alone.
    pub ignore_scripts: bool,
    /// Whether all projects have the same caches.
    pub shared_cache: bool,
    /// Whether the network is left alone.
    pub offline: bool,
    /// The OCI runtime, by name or path, instead of the first that is found.
    pub runtime: Option<String>,
    /// Files of certificates that are trusted besides the machine's own.
    pub ca: Vec<PathBuf>,
}
