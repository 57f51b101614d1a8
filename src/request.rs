//! The request for a build: flags, environment and files, merged into one value.

use std::{collections::BTreeMap, path::PathBuf};

use crate::{
    glob::Pattern,
    host::Host,
    image::Platform,
    secret::SecretSource,
    values::{
        Base, BuildWish, Command, Compression, Deps, ImageFolder, Port, Size, Span, StopSignal, Timestamps, User,
        Workdir,
    },
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
    /// How the app is built.
    pub build: BuildWish,
    /// How steps run on this machine.
    pub step: StepOptions,
    /// Variables, which win over the recipe's.
    pub env: BTreeMap<String, String>,
    /// `Entrypoint`, instead of the recipe's.
    pub entrypoint: Option<Command>,
    /// `Cmd`, instead of the recipe's.
    pub cmd: Option<Command>,
    /// The process of the app's `Procfile` that is started.
    pub process: Option<String>,
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
    /// How the image asks to be run, besides its command.
    pub container: ContainerOptions,
    /// The times of files, instead of the recipe's. SOURCE_DATE_EPOCH is [`Timestamps::At`].
    pub timestamps: Option<Timestamps>,
    /// Whether the commit and the address of the source are annotations.
    pub source: bool,
}

/// How an image asks to be run, besides its command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerOptions {
    /// Folders that belong to the app's user.
    pub writable: Vec<ImageFolder>,
    /// `Volumes`, which belong to the app's user, too.
    pub volumes: Vec<ImageFolder>,
    /// `StopSignal`, instead of the recipe's.
    pub stop_signal: Option<StopSignal>,
    /// Whether tini starts the app, instead of what the recipe says.
    pub init: Option<bool>,
    /// `Healthcheck`.
    pub health: HealthOptions,
}

/// A health check, in Docker's words. Without a command there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HealthOptions {
    /// The command; a single word may be a URL, or `:PORT/PATH`.
    pub command: Option<Command>,
    /// The time between two checks.
    pub interval: Option<Span>,
    /// The longest time that one may take.
    pub timeout: Option<Span>,
    /// The time after the start in which no failure counts.
    pub start_period: Option<Span>,
    /// How many failures in a row make the app unhealthy.
    pub retries: Option<u32>,
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
