//! The options of a build, in groups. An option is one field of one group: clap reads the flag and the variable into
//! it, serde reads the key of a file, and [`Merge`] merges the two. There is no other list of options.
//!
//! A group belongs to one of the two files as a whole: [`ContentsOptions`], [`BuildStepOptions`] and [`ImageOptions`] are keys
//! of the app's [`AppConfig`](super::AppConfig), the others of the user's [`UserConfig`](super::UserConfig). A field with
//! `#[serde(skip)]` is a flag only, one with `#[arg(skip)]` a key only.

#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "a field's comment is the option's help, in which brackets are no links"
)]

use std::path::PathBuf;

use crate::{
    glob::Pattern,
    http::Insecure,
    image::Platform,
    secret::SecretSource,
    sink::Output,
    ui,
    values::{
        Base, BuildCommand, Command, Compression, Deps, ImageFolder, OutputPath, Pair, Port, Size, Span, StopSignal,
        Timestamps, User, Workdir, comma_list, list, optional, optional_command, pairs, switch_or_list,
    },
};

/// Values from two places, one of which wins.
pub trait Merge: Sized {
    /// Returns `self`, with the values of `under` where `self` has none.
    #[must_use]
    fn over(self, under: Self) -> Self;

    /// Fills in the values of `under` where `self` has none.
    fn fill(&mut self, under: &Self)
    where
        Self: Clone + Default,
    {
        *self = std::mem::take(self).over(under.clone());
    }
}

impl<T> Merge for Option<T> {
    fn over(self, under: Self) -> Self {
        self.or(under)
    }
}

/// A switch that is a flag only.
impl Merge for bool {
    fn over(self, under: Self) -> Self {
        self || under
    }
}

/// How two lists are merged depends on what is in them.
pub trait Listed: Sized {
    /// A list that is not empty replaces the other one as a whole.
    fn list_over(list: Vec<Self>, under: Vec<Self>) -> Vec<Self> {
        if list.is_empty() { under } else { list }
    }
}

impl<T: Listed> Merge for Vec<T> {
    fn over(self, under: Self) -> Self {
        T::list_over(self, under)
    }
}

impl Listed for String {}
impl Listed for PathBuf {}
impl Listed for Platform {}
impl Listed for Pattern {}
impl Listed for OutputPath {}
impl Listed for Port {}
impl Listed for ImageFolder {}
impl Listed for SecretSource {}
impl Listed for Output {}
impl Listed for Insecure {}

/// A table is merged key by key. Of several pairs with one key, the last counts.
impl Listed for Pair {
    fn list_over(list: Vec<Self>, under: Vec<Self>) -> Vec<Self> {
        under.into_iter().chain(list).collect()
    }
}

/// Defines groups of options. clap flattens a group into a command, serde reads it from a file, and it merges field by
/// field.
macro_rules! groups {
    ($($(#[$about:meta])* pub struct $group:ident { $($(#[$attribute:meta])* pub $option:ident: $type:ty,)* })*) => {$(
        #[derive(Debug, Clone, Default, PartialEq, clap::Args, serde::Deserialize)]
        #[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
        $(#[$about])*
        pub struct $group { $($(#[$attribute])* pub $option: $type,)* }

        impl Merge for $group {
            fn over(self, under: Self) -> Self {
                Self { $($option: self.$option.over(under.$option),)* }
            }
        }
    )*};
}

groups! {
    /// The options for the content of the root filesystem.
    pub struct ContentsOptions {
        /// Start from alpine[:RELEASE], scratch[:RELEASE] (Alpine's packages without a shell) or debian[:SUITE] [default: alpine]
        #[arg(long, env = "MICROBUILD_BASE", help_heading = "Contents")]
        #[serde(deserialize_with = "optional")]
        pub base: Option<Base>,
        /// Add a package, as `apk add` or `apt-get install` takes it
        #[arg(
            short,
            long,
            value_name = "PACKAGE",
            env = "MICROBUILD_PACKAGE",
            value_delimiter = ',',
            help_heading = "Contents"
        )]
        #[serde(deserialize_with = "list")]
        pub package: Vec<String>,
        /// Add a package to the dev variant only, such as a library's headers
        #[arg(
            long,
            value_name = "PACKAGE",
            env = "MICROBUILD_DEV_PACKAGE",
            value_delimiter = ',',
            help_heading = "Dependencies"
        )]
        #[serde(deserialize_with = "list")]
        pub dev_package: Vec<String>,
        /// Install the project's dependencies (auto), copy those in its folder (copy) or leave them out (none)
        #[arg(long, env = "MICROBUILD_DEPS", help_heading = "Dependencies")]
        #[serde(deserialize_with = "optional")]
        pub deps: Option<Deps>,
        /// Do not run the install scripts of dependencies
        #[arg(
            long,
            value_name = "yes|no",
            env = "MICROBUILD_IGNORE_SCRIPTS",
            num_args = 0..=1,
            require_equals = true,
            default_missing_value = "yes",
            value_parser = switch,
            help_heading = "Dependencies"
        )]
        pub ignore_scripts: Option<bool>,
    }

    /// The options for the build of the app itself: the table `[build]` of a file.
    pub struct BuildStepOptions {
        /// Build the app with this command, run by a shell; `none` takes the folder as it is [default: what the project says]
        #[arg(id = "build", long = "build", value_name = "COMMAND", env = "MICROBUILD_BUILD", help_heading = "Build")]
        #[serde(deserialize_with = "optional")]
        pub run: Option<BuildCommand>,
        /// Take these files of what the build makes [default: what the language knows]
        #[arg(
            id = "build-output",
            long = "build-output",
            value_name = "PATH",
            env = "MICROBUILD_BUILD_OUTPUT",
            help_heading = "Build"
        )]
        #[serde(deserialize_with = "list")]
        pub output: Vec<OutputPath>,
        /// Set a variable for the steps that build the app; the image does not get it
        #[arg(
            id = "build-env",
            long = "build-env",
            value_name = "KEY=VALUE",
            env = "MICROBUILD_BUILD_ENV",
            help_heading = "Build"
        )]
        #[serde(deserialize_with = "pairs")]
        pub env: Vec<Pair>,
    }

    /// The options for the image's configuration, and for the app's files in it.
    pub struct ImageOptions {
        /// Build for these platforms, such as linux/amd64,linux/arm64 [default: this machine's]
        #[arg(
            long,
            value_name = "OS/ARCH",
            env = "MICROBUILD_PLATFORM",
            value_delimiter = ',',
            help_heading = "Contents"
        )]
        #[serde(deserialize_with = "comma_list")]
        pub platform: Vec<Platform>,
        /// Take files that an ignore file leaves out
        #[arg(long, value_name = "GLOB", env = "MICROBUILD_INCLUDE", help_heading = "Contents")]
        #[serde(deserialize_with = "list")]
        pub include: Vec<Pattern>,
        /// Leave files out
        #[arg(long, value_name = "GLOB", env = "MICROBUILD_EXCLUDE", help_heading = "Contents")]
        #[serde(deserialize_with = "list")]
        pub exclude: Vec<Pattern>,
        /// Keep files beside a compiled program, in addition to those that it is known to open
        #[arg(long, value_name = "GLOB", env = "MICROBUILD_KEEP", help_heading = "Contents")]
        #[serde(deserialize_with = "list")]
        pub keep: Vec<Pattern>,
        /// Compress layers with gzip[:1-12] or zstd[:1-22] [default: gzip]
        #[arg(long, env = "MICROBUILD_COMPRESSION", help_heading = "Contents")]
        #[serde(deserialize_with = "optional")]
        pub compression: Option<Compression>,
        /// Fail with exit code 5 when the image is larger, such as 30MB
        #[arg(long, value_name = "SIZE", env = "MICROBUILD_MAX_SIZE", help_heading = "Contents")]
        #[serde(deserialize_with = "optional")]
        pub max_size: Option<Size>,
        /// Answer every address of a site that is no file with its first page [default: as its framework needs it]
        #[arg(
            long,
            value_name = "yes|no",
            env = "MICROBUILD_SPA",
            num_args = 0..=1,
            require_equals = true,
            default_missing_value = "yes",
            value_parser = switch,
            help_heading = "Contents"
        )]
        pub spa: Option<bool>,
        /// Set a variable
        #[arg(long, value_name = "KEY=VALUE", env = "MICROBUILD_ENV", help_heading = "Image")]
        #[serde(deserialize_with = "pairs")]
        pub env: Vec<Pair>,
        /// Set the entrypoint: a command line, or a JSON list
        #[arg(long, value_name = "COMMAND", env = "MICROBUILD_ENTRYPOINT", help_heading = "Image")]
        #[serde(deserialize_with = "optional_command")]
        pub entrypoint: Option<Command>,
        /// Set the command: a command line, or a JSON list
        #[arg(long, value_name = "COMMAND", env = "MICROBUILD_CMD", help_heading = "Image")]
        #[serde(deserialize_with = "optional_command")]
        pub cmd: Option<Command>,
        /// Start this process of the app's Procfile [default: web, or the only one]
        #[arg(long, value_name = "NAME", env = "MICROBUILD_PROCESS", help_heading = "Image")]
        #[serde(deserialize_with = "optional")]
        pub process: Option<String>,
        /// Put the app into this folder and start there
        #[arg(long, value_name = "DIR", env = "MICROBUILD_WORKDIR", help_heading = "Image")]
        #[serde(deserialize_with = "optional")]
        pub workdir: Option<Workdir>,
        /// Run as this user [default: the recipe's, mostly 65532:65532]
        #[arg(long, value_name = "USER[:GROUP]", env = "MICROBUILD_USER", help_heading = "Image")]
        #[serde(deserialize_with = "optional")]
        pub user: Option<User>,
        /// Declare a port that the app listens on
        #[arg(long, env = "MICROBUILD_PORT", value_delimiter = ',', help_heading = "Image")]
        #[serde(deserialize_with = "list")]
        pub port: Vec<Port>,
        /// Let the app write to this folder, which belongs to its user, as does a new volume that is mounted there; in the app's folder, or absolute
        #[arg(long, value_name = "DIR", env = "MICROBUILD_WRITABLE", value_delimiter = ',', help_heading = "Image")]
        #[serde(deserialize_with = "list")]
        pub writable: Vec<ImageFolder>,
        /// Declare a volume: as --writable, and each container gets a volume there
        #[arg(long, value_name = "DIR", env = "MICROBUILD_VOLUME", value_delimiter = ',', help_heading = "Image")]
        #[serde(deserialize_with = "list")]
        pub volume: Vec<ImageFolder>,
        /// Set the signal that asks the app to end, such as SIGQUIT [default: the recipe's, mostly SIGTERM]
        #[arg(long, value_name = "SIGNAL", env = "MICROBUILD_STOP_SIGNAL", help_heading = "Image")]
        #[serde(deserialize_with = "optional")]
        pub stop_signal: Option<StopSignal>,
        /// Start the app through tini, which passes signals on and reaps processes: an app without a handler for SIGTERM ends at once
        #[arg(
            long,
            value_name = "yes|no",
            env = "MICROBUILD_INIT",
            num_args = 0..=1,
            require_equals = true,
            default_missing_value = "yes",
            value_parser = switch,
            help_heading = "Image"
        )]
        pub init: Option<bool>,
        /// Check the app's health with this command, which no shell runs; or with a request to http://HOST:PORT/PATH or :PORT/PATH, by a program that the image has
        #[arg(long, value_name = "COMMAND|URL", env = "MICROBUILD_HEALTH_CMD", help_heading = "Image")]
        #[serde(deserialize_with = "optional_command")]
        pub health_cmd: Option<Command>,
        /// Check the health at this interval [default: the engine's, 30s]
        #[arg(long, value_name = "TIME", env = "MICROBUILD_HEALTH_INTERVAL", help_heading = "Image")]
        #[serde(deserialize_with = "optional")]
        pub health_interval: Option<Span>,
        /// Count a check that takes longer as failed [default: the engine's, 30s]
        #[arg(long, value_name = "TIME", env = "MICROBUILD_HEALTH_TIMEOUT", help_heading = "Image")]
        #[serde(deserialize_with = "optional")]
        pub health_timeout: Option<Span>,
        /// Count no failed check in this time after the start [default: the engine's, 0s]
        #[arg(long, value_name = "TIME", env = "MICROBUILD_HEALTH_START_PERIOD", help_heading = "Image")]
        #[serde(deserialize_with = "optional")]
        pub health_start_period: Option<Span>,
        /// Call the app unhealthy after this many failed checks [default: the engine's, 3]
        #[arg(long, value_name = "COUNT", env = "MICROBUILD_HEALTH_RETRIES", help_heading = "Image")]
        pub health_retries: Option<u32>,
        /// Give files this time: fixed (1980-01-01), commit (that of the last commit), content (one derived from each file's content) or seconds since 1970 [default: the recipe's, mostly fixed]
        #[arg(long, value_name = "TIMES", env = "MICROBUILD_TIMESTAMPS", help_heading = "Image")]
        #[serde(deserialize_with = "optional")]
        pub timestamps: Option<Timestamps>,
        /// Annotate the image with the git commit and the address of its source
        #[arg(
            long,
            value_name = "yes|no",
            env = "MICROBUILD_SOURCE",
            num_args = 0..=1,
            require_equals = true,
            default_missing_value = "yes",
            value_parser = switch,
            help_heading = "Image"
        )]
        pub source: Option<bool>,
        /// Set a label
        #[arg(long, value_name = "KEY=VALUE", env = "MICROBUILD_LABEL", help_heading = "Image")]
        #[serde(deserialize_with = "pairs")]
        pub label: Vec<Pair>,
        /// Set an annotation
        #[arg(long, value_name = "KEY=VALUE", env = "MICROBUILD_ANNOTATION", help_heading = "Image")]
        #[serde(deserialize_with = "pairs")]
        pub annotation: Vec<Pair>,
    }

    /// The options for what a build may use and trust on this machine.
    pub struct MachineOptions {
        /// Use recipes from the app's own folder; `--trust=no` ignores them
        #[arg(
            long,
            value_name = "yes|no",
            env = "MICROBUILD_TRUST",
            num_args = 0..=1,
            require_equals = true,
            default_missing_value = "yes",
            value_parser = switch,
            help_heading = "Contents"
        )]
        #[serde(skip)]
        pub trust: Option<bool>,
        /// The folders of apps whose own recipes are used.
        #[arg(skip)]
        #[serde(rename = "trust", deserialize_with = "list")]
        pub trusted: Vec<PathBuf>,
        /// Give a secret to the step that fetches dependencies, or to STEP, a step of the recipe or dev: id=NAME,src=FILE[,step=STEP] or id=NAME,env=VARIABLE[,step=STEP]
        // No comma separates secrets: there are commas in one.
        #[arg(long, value_name = "SECRET", env = "MICROBUILD_SECRET", help_heading = "Dependencies")]
        #[serde(deserialize_with = "list")]
        pub secret: Vec<SecretSource>,
        /// Share caches between projects: code that one project's scripts leave in a cache may run in another project
        #[arg(
            long,
            value_name = "yes|no",
            env = "MICROBUILD_SHARED_CACHE",
            num_args = 0..=1,
            require_equals = true,
            default_missing_value = "yes",
            value_parser = switch,
            help_heading = "Dependencies"
        )]
        pub shared_cache: Option<bool>,
        /// Run commands with this OCI runtime [default: the first of runc, crun, youki]
        #[arg(long, value_name = "NAME|PATH", env = "MICROBUILD_RUNTIME", help_heading = "Dependencies")]
        pub runtime: Option<String>,
        /// Take Alpine's packages from here instead of dl-cdn.alpinelinux.org/alpine, or Debian's instead of from this machine's apt sources
        #[arg(long, value_name = "URL|DIR", env = "MICROBUILD_MIRROR", help_heading = "Packages' sources")]
        pub mirror: Option<String>,
        /// Trust these keys (Alpine: *.rsa.pub, Debian: *.gpg, *.asc) in addition to the base's own
        #[arg(
            long,
            value_name = "DIR|FILE",
            env = "MICROBUILD_KEYS",
            value_delimiter = ',',
            help_heading = "Packages' sources"
        )]
        #[serde(deserialize_with = "list")]
        pub keys: Vec<PathBuf>,
        /// Use a further repository: URL, folder, `@TAG URL`; for Debian `deb URL SUITE COMPONENT`
        #[arg(
            long,
            value_name = "URL",
            env = "MICROBUILD_REPOSITORY",
            value_delimiter = ',',
            help_heading = "Packages' sources"
        )]
        #[serde(deserialize_with = "list")]
        pub repository: Vec<String>,
        /// Accept a mirror whose state is older than before or that lacks a suite it had, and remember that state
        #[arg(
            long,
            value_name = "yes|no",
            env = "MICROBUILD_ALLOW_ROLLBACK",
            num_args = 0..=1,
            require_equals = true,
            default_missing_value = "yes",
            value_parser = switch,
            help_heading = "Packages' sources"
        )]
        pub allow_rollback: Option<bool>,
        /// Use only what the cache holds, and no network
        #[arg(
            long,
            value_name = "yes|no",
            env = "MICROBUILD_OFFLINE",
            num_args = 0..=1,
            require_equals = true,
            default_missing_value = "yes",
            value_parser = switch,
            help_heading = "Network"
        )]
        pub offline: Option<bool>,
    }

    /// The options for an image's destinations and names.
    pub struct DeliveryOptions {
        /// Name the image (several times for several names) [default: the project's name]
        #[arg(short, long, value_name = "REF", env = "MICROBUILD_TAG", value_delimiter = ',')]
        #[serde(deserialize_with = "list")]
        pub tag: Vec<String>,
        /// Push the image to the registries in its names
        #[arg(
            long,
            value_name = "yes|no",
            env = "MICROBUILD_PUSH",
            num_args = 0..=1,
            require_equals = true,
            default_missing_value = "yes",
            value_parser = switch
        )]
        pub push: Option<bool>,
        /// Write the image to oci:DIR[:NAME], oci-archive:FILE[:NAME], docker-archive:FILE or docker
        // In a file too, paths are relative to the current folder.
        #[arg(short, long, value_name = "KIND:PATH", env = "MICROBUILD_OUTPUT", value_delimiter = ',')]
        #[serde(deserialize_with = "list")]
        pub output: Vec<Output>,
        /// Write what --json prints to a file
        #[arg(long, value_name = "FILE", env = "MICROBUILD_METADATA_FILE")]
        pub metadata_file: Option<PathBuf>,
    }

    /// The options for connections to mirrors and registries.
    pub struct NetworkOptions {
        /// Trust these CA certificates (PEM) in addition to the machine's own
        #[arg(long, value_name = "FILE", env = "MICROBUILD_CA", help_heading = "Network")]
        #[serde(deserialize_with = "list")]
        pub ca: Vec<PathBuf>,
        /// Accept any certificate from this host, and use plain HTTP where it is a registry; without a host, from all hosts
        // Only what follows an equals sign is a host: `microbuild node --insecure ./app` names an app.
        #[arg(
            long,
            value_name = "HOST[:PORT]",
            env = "MICROBUILD_INSECURE",
            value_delimiter = ',',
            num_args = 0..=1,
            require_equals = true,
            default_missing_value = "true",
            help_heading = "Network"
        )]
        #[serde(deserialize_with = "switch_or_list")]
        pub insecure: Vec<Insecure>,
    }

    /// The options of every command.
    pub struct CommonOptions {
        /// Keep downloads and remembered results in this folder [default: $XDG_CACHE_HOME/microbuild]
        #[arg(long, value_name = "DIR", env = "MICROBUILD_CACHE_DIR", help_heading = "General")]
        pub cache_dir: Option<PathBuf>,
        /// Print one JSON object on stdout
        #[arg(
            long,
            value_name = "yes|no",
            env = "MICROBUILD_JSON",
            num_args = 0..=1,
            require_equals = true,
            default_missing_value = "yes",
            value_parser = switch,
            help_heading = "General"
        )]
        pub json: Option<bool>,
        /// Show progress on stderr in this form
        #[arg(long, value_enum, env = "MICROBUILD_PROGRESS", help_heading = "General")]
        pub progress: Option<ui::Mode>,
        /// Print only warnings and errors on stderr
        #[arg(short, long, env = "MICROBUILD_QUIET", value_parser = switch, help_heading = "General")]
        #[serde(skip)]
        pub quiet: bool,
        /// Print more on stderr
        #[arg(
            short,
            long,
            conflicts_with = "quiet",
            env = "MICROBUILD_VERBOSE",
            value_parser = switch,
            help_heading = "General"
        )]
        #[serde(skip)]
        pub verbose: bool,
    }
}

/// A switch as a word.
pub(crate) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(format!("expected true or false (or 1, 0, yes, no, on, off), found `{text}`")),
    }
}
