//! The command line as clap reads it: words, help, environment variables.

use std::{ffi::OsString, path::PathBuf};

use clap::{Arg, Args, Parser, Subcommand, ValueEnum, builder::Resettable};

use crate::{
    config::{Base, Command as Words, Compression, Deps, Pair, Port, Publish, Size, User, Volume, Workdir},
    glob::Pattern,
    http::Insecure,
    image::{Format, Platform},
    secret::SecretSource,
    sink::{Output, registry::Options},
    ui,
};

/// Turns an app folder into the smallest container image that runs it: no Dockerfile, no daemon, no root.
///
/// `microbuild node ./app` builds the folder ./app with the recipe `node` and keeps the image locally;
/// `microbuild node ./app -t registry.example/me/app:1 --push` pushes it too. `microbuild recipes` lists the recipes,
/// `microbuild node --help` the options of a build.
#[derive(Debug, Parser)]
#[command(
    name = "microbuild",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// `microbuild RECIPE [APP]`, for clap: the recipe stands where a command would.
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
pub struct RecipeCli {
    /// The app's folder.
    #[arg(default_value = ".", value_name = "APP")]
    pub app: PathBuf,
    /// Options.
    #[command(flatten)]
    pub options: Box<BuildOptions>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build APP with the recipe that its microbuild.toml names, or that its files speak for
    Build {
        /// The app's folder
        #[arg(default_value = ".")]
        app: PathBuf,
        /// The recipe: a name, or a path to its file
        #[arg(long, env = "MICROBUILD_RECIPE")]
        recipe: Option<String>,
        /// Options.
        #[command(flatten)]
        options: Box<BuildOptions>,
    },
    /// Build a recipe's base image, without an app: tagged with the language's version as X.Y.Z, X.Y and X
    Base {
        /// A recipe: a name, or a path to its file
        recipe: String,
        /// The dev variant instead, with the language's tools; its tags end in -dev
        #[arg(long)]
        dev: bool,
        /// Options.
        #[command(flatten)]
        options: Box<BuildOptions>,
    },
    /// Solve and print what would be built (packages, versions, sizes); fetches indexes only
    Plan {
        /// A recipe: a name, or a path to its file
        recipe: String,
        /// The app's folder
        #[arg(default_value = ".")]
        app: PathBuf,
        /// Options.
        #[command(flatten)]
        options: Box<BuildOptions>,
    },
    /// Build APP, unless it is a local image, and run it here as it will run elsewhere
    Run {
        /// The app's folder, or a local image as `microbuild images` lists it
        target: String,
        /// Options.
        #[command(flatten)]
        options: Box<RunOptions>,
        /// What is run instead of the image's command
        #[arg(last = true, value_name = "ARG")]
        args: Vec<String>,
    },
    /// Run a command in the dev variant, APP mounted at the work directory: microbuild dev node ./app -- npm test
    Dev {
        /// A recipe: a name, or a path to its file
        recipe: String,
        /// The app's folder
        #[arg(default_value = ".")]
        app: PathBuf,
        /// Options.
        #[command(flatten)]
        options: Box<DevOptions>,
        /// What is run
        #[arg(last = true, value_name = "CMD", required_unless_present = "shell")]
        command: Vec<String>,
    },
    /// Print the chain of dependencies that brings a package in
    Why {
        /// The package
        // The options have a `package` too, and clap wants every name once.
        #[arg(id = "wanted", value_name = "PACKAGE")]
        package: String,
        /// A recipe: a name, or a path to its file
        recipe: String,
        /// The app's folder
        #[arg(default_value = ".")]
        app: PathBuf,
        /// Options.
        #[command(flatten)]
        options: Box<BuildOptions>,
    },
    /// Push a local image to a registry
    Push {
        /// A local image, as `microbuild images` lists it
        image: String,
        /// Where to: registry/repository:tag
        reference: String,
        /// Options.
        #[command(flatten)]
        push: PushOptions,
        /// Options.
        #[command(flatten)]
        common: CommonOptions,
        /// Options.
        #[command(flatten)]
        network: NetworkOptions,
    },
    /// List the local images
    Images {
        /// Options.
        #[command(flatten)]
        common: CommonOptions,
    },
    /// Print what a local image is made of, as JSON
    Inspect {
        /// A local image
        image: String,
        /// Options.
        #[command(flatten)]
        common: CommonOptions,
    },
    /// Write a local image to an OCI layout, an archive, or a Docker engine
    Export {
        /// A local image
        image: String,
        /// oci:DIR[:NAME], oci-archive:FILE[:NAME], docker-archive:FILE or docker
        output: Output,
        /// Options.
        #[command(flatten)]
        common: CommonOptions,
    },
    /// Remove local images
    Rm {
        /// Local images
        #[arg(required = true)]
        images: Vec<String>,
        /// Options.
        #[command(flatten)]
        common: CommonOptions,
    },
    /// Free the disk from what no local image needs
    Gc {
        /// Remove everything that can be fetched or made again, however recently it was used
        #[arg(long)]
        all: bool,
        /// Options.
        #[command(flatten)]
        common: CommonOptions,
    },
    /// List the recipes, or print one (to change it: microbuild recipes node > mine.toml; microbuild ./mine.toml)
    Recipes {
        /// The recipe to print; `lists` for the lists that recipes have in common
        name: Option<String>,
        /// Print the files that the recipe's commands run from /run/recipe; with =DIR write them into that folder (to change them:
        /// microbuild recipes go > mine.toml; microbuild recipes go --files=mine; microbuild ./mine.toml)
        #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true, requires = "name")]
        files: Option<Option<PathBuf>>,
        /// The app's folder, which may have recipes of its own
        #[arg(long, default_value = ".", value_name = "APP")]
        app: PathBuf,
    },
    /// Check credentials for a registry and keep them where docker and podman keep theirs
    Login {
        /// The registry's host, and its port where it has one
        registry: String,
        /// The user's name
        #[arg(short, long)]
        username: Option<String>,
        /// Read the password from standard input
        #[arg(long)]
        password_stdin: bool,
        /// Options.
        #[command(flatten)]
        network: NetworkOptions,
    },
    /// Forget the credentials for a registry
    Logout {
        /// The registry's host, and its port where it has one
        registry: String,
    },
    /// Print a script that completes microbuild's words in a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// RECIPE [APP]: build APP (default: .) with a recipe; see `microbuild node --help`
    #[command(external_subcommand)]
    Recipe(Vec<OsString>),
}

/// `command` with variables of the environment as CI systems set them: one that is empty is as good as none. Help names the
/// variables without their values, which may be secret.
pub(super) fn with_environment(command: clap::Command) -> clap::Command {
    let change = |arg: Arg| {
        let empty = arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
        let arg = arg.hide_env_values(true);
        if empty { arg.env(Resettable::Reset) } else { arg }
    };
    command.mut_args(change).mut_subcommands(with_environment)
}

/// `command` with docker's short options of `run`, which elsewhere are those of --verbose and --package.
pub(super) fn with_docker_shorts(command: clap::Command) -> clap::Command {
    let long_only = |arg: Arg| arg.short(Resettable::Reset);
    command.mut_subcommand("run", |run| run.mut_arg("verbose", long_only).mut_arg("package", long_only))
}

/// A flag in the environment.
fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(format!("expected true or false (or 1, 0, yes, no, on, off), found `{text}`")),
    }
}

/// What every command understands.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "General")]
pub struct CommonOptions {
    /// Where downloads and remembered results are kept [default: $XDG_CACHE_HOME/microbuild]
    #[arg(long, value_name = "DIR", env = "MICROBUILD_CACHE_DIR")]
    pub cache_dir: Option<PathBuf>,
    /// Print one JSON object on stdout
    #[arg(long, env = "MICROBUILD_JSON", value_parser = switch)]
    pub json: bool,
    /// How progress is shown on stderr
    #[arg(long, value_enum, env = "MICROBUILD_PROGRESS")]
    pub progress: Option<Progress>,
    /// Say nothing on stderr but warnings and errors
    #[arg(short, long, env = "MICROBUILD_QUIET", value_parser = switch)]
    pub quiet: bool,
    /// Say more on stderr
    #[arg(short, long, conflicts_with = "quiet", env = "MICROBUILD_VERBOSE", value_parser = switch)]
    pub verbose: bool,
}

/// How mirrors and registries are reached.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Network")]
pub struct NetworkOptions {
    /// Trust these CA certificates (PEM) besides the machine's own
    #[arg(long, value_name = "FILE", env = "MICROBUILD_CA")]
    pub ca: Vec<PathBuf>,
    /// Take any certificate, and plain HTTP from registries, of this host; without a host, of all
    // Only what follows an equals sign is a host: `microbuild node --insecure ./app` names an app.
    #[arg(
        long,
        value_name = "HOST[:PORT]",
        env = "MICROBUILD_INSECURE",
        value_delimiter = ',',
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub insecure: Vec<Insecure>,
}

/// How images are pushed.
#[derive(Debug, Clone, Default, Args)]
pub struct PushOptions {
    /// Push all of the image, as if the registry had nothing of it: it may have lost what it says it has
    #[arg(long, env = "MICROBUILD_FORCE", value_parser = switch, help_heading = "Pushing")]
    pub force: bool,
    /// Look for each part of the image in the registry, and push what it has lost
    #[arg(long, env = "MICROBUILD_VERIFY", value_parser = switch, help_heading = "Pushing")]
    pub verify: bool,
    /// Push with the media types of OCI or of Docker [default: oci, or docker where the registry takes nothing else]
    #[arg(long, value_name = "oci|docker", env = "MICROBUILD_FORMAT", help_heading = "Pushing")]
    pub format: Option<Format>,
}

impl PushOptions {
    /// The same for the sink.
    pub fn options(&self) -> Options {
        Options { force: self.force, verify: self.verify, format: self.format }
    }
}

/// `--progress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// Bars on a terminal, plain lines elsewhere
    Auto,
    /// Plain lines
    Plain,
    /// Nothing
    None,
}

impl From<Progress> for ui::Mode {
    fn from(progress: Progress) -> Self {
        match progress {
            Progress::Auto => Self::Auto,
            Progress::Plain => Self::Plain,
            Progress::None => Self::None,
        }
    }
}

/// What root filesystems are made of, and how dependencies get into them.
#[derive(Debug, Clone, Default, Args)]
pub struct SourceOptions {
    /// Start from scratch, alpine, alpine:RELEASE, debian or debian:SUITE [default: alpine]
    #[arg(long, env = "MICROBUILD_BASE", help_heading = "Contents")]
    pub base: Option<Base>,
    /// Install a further package, as `apk add` or `apt-get install` would take it
    #[arg(
        short,
        long,
        value_name = "PACKAGE",
        env = "MICROBUILD_PACKAGE",
        value_delimiter = ',',
        help_heading = "Contents"
    )]
    pub package: Vec<String>,
    /// Install a further package in the dev variant only, such as a library's headers
    #[arg(
        long,
        value_name = "PACKAGE",
        env = "MICROBUILD_DEV_PACKAGE",
        value_delimiter = ',',
        help_heading = "Dependencies"
    )]
    pub dev_package: Vec<String>,
    /// What becomes of the project's dependencies: auto, copy or none
    #[arg(long, env = "MICROBUILD_DEPS", help_heading = "Dependencies")]
    pub deps: Option<Deps>,
    /// Give a secret to the step that fetches dependencies, or to the STEP install, compile or dev: id=NAME,src=FILE[,step=STEP] or id=NAME,env=VARIABLE[,step=STEP]
    // No comma separates secrets: there are commas in one.
    #[arg(long, value_name = "SECRET", env = "MICROBUILD_SECRET", help_heading = "Dependencies")]
    pub secret: Vec<SecretSource>,
    /// Run no scripts of packages when they are installed
    #[arg(long, env = "MICROBUILD_IGNORE_SCRIPTS", value_parser = switch, help_heading = "Dependencies")]
    pub ignore_scripts: bool,
    /// Let all projects use the same caches: what one's scripts leave there, another's may run
    #[arg(long, env = "MICROBUILD_SHARED_CACHE", value_parser = switch, help_heading = "Dependencies")]
    pub shared_cache: bool,
    /// Run commands with this OCI runtime [default: the first of runc, crun, youki]
    #[arg(long, value_name = "NAME|PATH", env = "MICROBUILD_RUNTIME", help_heading = "Dependencies")]
    pub runtime: Option<String>,
    /// The base's packages lie here; for Alpine it stands for https://dl-cdn.alpinelinux.org/alpine, for Debian for the machine's apt sources
    #[arg(long, value_name = "URL|DIR", env = "MICROBUILD_MIRROR", help_heading = "Packages' sources")]
    pub mirror: Option<String>,
    /// Trust these keys (Alpine: *.rsa.pub, Debian: *.gpg, *.asc) besides the base's own
    #[arg(
        long,
        value_name = "DIR|FILE",
        env = "MICROBUILD_KEYS",
        value_delimiter = ',',
        help_heading = "Packages' sources"
    )]
    pub keys: Vec<PathBuf>,
    /// Use a further repository: URL, folder, `@TAG URL`; for Debian `deb URL SUITE COMPONENT`
    #[arg(
        long,
        value_name = "URL",
        env = "MICROBUILD_REPOSITORY",
        value_delimiter = ',',
        help_heading = "Packages' sources"
    )]
    pub repository: Vec<String>,
    /// Take recipes that lie in the app's own folder; `--trust=no` leaves them alone
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
    pub trust: Option<bool>,
    /// The folders of apps that the user's own configuration trusts.
    #[arg(skip)]
    pub trusted: Vec<PathBuf>,
    /// Accept a mirror that has an older state than before, or lacks a suite that it had, and remember that
    #[arg(long, env = "MICROBUILD_ALLOW_ROLLBACK", value_parser = switch, help_heading = "Packages' sources")]
    pub allow_rollback: bool,
    /// Use what the cache has, and no network
    #[arg(long, env = "MICROBUILD_OFFLINE", value_parser = switch, help_heading = "Network")]
    pub offline: bool,
}

/// The options of `microbuild run`.
#[derive(Debug, Clone, Args)]
pub struct RunOptions {
    /// The recipe, when a folder is built [default: as its microbuild.toml says, or as its files tell]
    #[arg(long)]
    pub recipe: Option<String>,
    /// Set a variable; without a value, to what it is here
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    pub env: Vec<String>,
    /// Mount a file or folder of this machine: SOURCE:/TARGET[:ro]
    #[arg(short, long, value_name = "SOURCE:TARGET")]
    pub volume: Vec<Volume>,
    /// Reach the app's PORT at another port or address of this machine, whose network it has
    #[arg(short, long, value_name = "[[ADDRESS:]HOST-PORT:]PORT")]
    pub publish: Vec<Publish>,
    /// Give it no network instead of this machine's
    #[arg(long, conflicts_with = "publish")]
    pub no_network: bool,
    /// Let the app write to its root filesystem, as far as its user may, in a copy that is thrown away when it ends
    #[arg(long)]
    pub writable: bool,
    /// Run as this user instead of the image's
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<User>,
    /// Give it the terminal, for a shell; otherwise Ctrl-C ends it, after ten seconds if need be
    #[arg(short, long)]
    pub tty: bool,
    /// Let it read from standard input; this is always so
    #[arg(short, long)]
    pub interactive: bool,
    /// Leave no container behind; this is always so
    #[arg(long)]
    pub rm: bool,
    /// What root filesystems are made of.
    #[command(flatten)]
    pub source: SourceOptions,
    /// How mirrors and registries are reached.
    #[command(flatten)]
    pub network: NetworkOptions,
    /// What every command understands.
    #[command(flatten)]
    pub common: CommonOptions,
}

/// The options of `microbuild dev`.
#[derive(Debug, Clone, Args)]
pub struct DevOptions {
    /// Open a shell
    #[arg(long, conflicts_with = "command")]
    pub shell: bool,
    /// Set a variable; without a value, to what it is here
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    pub env: Vec<String>,
    /// What root filesystems are made of.
    #[command(flatten)]
    pub source: SourceOptions,
    /// How mirrors and registries are reached.
    #[command(flatten)]
    pub network: NetworkOptions,
    /// What every command understands.
    #[command(flatten)]
    pub common: CommonOptions,
}

/// Where an image goes, and what it is called there.
#[derive(Debug, Clone, Default, Args)]
pub struct DeliveryOptions {
    /// Name the image (several times for several names) [default: the project's name]
    #[arg(short, long, value_name = "REF", env = "MICROBUILD_TAG", value_delimiter = ',')]
    pub tag: Vec<String>,
    /// Push the image to the registries that its names name
    #[arg(long, env = "MICROBUILD_PUSH", value_parser = switch)]
    pub push: bool,
    /// Write the image to oci:DIR[:NAME], oci-archive:FILE[:NAME], docker-archive:FILE or docker
    #[arg(short, long, value_name = "KIND:PATH", env = "MICROBUILD_OUTPUT", value_delimiter = ',')]
    pub output: Vec<Output>,
    /// Write what --json prints to a file
    #[arg(long, value_name = "FILE", env = "MICROBUILD_METADATA_FILE")]
    pub metadata_file: Option<PathBuf>,
}

/// The options of a build. Each can stand in the environment too, and in a file: what describes the image in the app's
/// microbuild.toml, what speaks for this machine in the user's own config.toml. A flag wins over the environment, that over
/// the file, that over the recipe.
#[derive(Debug, Clone, Default, Args)]
pub struct BuildOptions {
    /// Where the image goes.
    #[command(flatten)]
    pub delivery: DeliveryOptions,
    /// Build for these platforms, such as linux/amd64,linux/arm64 [default: this machine's]
    #[arg(long, value_name = "OS/ARCH", env = "MICROBUILD_PLATFORM", value_delimiter = ',', help_heading = "Contents")]
    pub platform: Vec<Platform>,
    /// Take files that an ignore file leaves out
    #[arg(long, value_name = "GLOB", env = "MICROBUILD_INCLUDE", help_heading = "Contents")]
    pub include: Vec<Pattern>,
    /// Leave files out
    #[arg(long, value_name = "GLOB", env = "MICROBUILD_EXCLUDE", help_heading = "Contents")]
    pub exclude: Vec<Pattern>,
    /// Compress what is made here with gzip[:1-12] or zstd[:1-22]
    #[arg(long, env = "MICROBUILD_COMPRESSION", help_heading = "Contents")]
    pub compression: Option<Compression>,
    /// Fail with exit code 5 when the image is larger, such as 30MB
    #[arg(long, value_name = "SIZE", env = "MICROBUILD_MAX_SIZE", help_heading = "Contents")]
    pub max_size: Option<Size>,
    /// Set a variable
    #[arg(long, value_name = "KEY=VALUE", env = "MICROBUILD_ENV", help_heading = "Image")]
    pub env: Vec<Pair>,
    /// Set the entrypoint: a command line, or a JSON list
    #[arg(long, value_name = "COMMAND", env = "MICROBUILD_ENTRYPOINT", help_heading = "Image")]
    pub entrypoint: Option<Words>,
    /// Set the command: a command line, or a JSON list
    #[arg(long, value_name = "COMMAND", env = "MICROBUILD_CMD", help_heading = "Image")]
    pub cmd: Option<Words>,
    /// Put the app into this folder and start there
    #[arg(long, value_name = "DIR", env = "MICROBUILD_WORKDIR", help_heading = "Image")]
    pub workdir: Option<Workdir>,
    /// Run as this user [default: the recipe's, mostly 65532:65532]
    #[arg(long, value_name = "USER[:GROUP]", env = "MICROBUILD_USER", help_heading = "Image")]
    pub user: Option<User>,
    /// Say that the app listens on a port
    #[arg(long, env = "MICROBUILD_PORT", value_delimiter = ',', help_heading = "Image")]
    pub port: Vec<Port>,
    /// Set a label
    #[arg(long, value_name = "KEY=VALUE", env = "MICROBUILD_LABEL", help_heading = "Image")]
    pub label: Vec<Pair>,
    /// Set an annotation
    #[arg(long, value_name = "KEY=VALUE", env = "MICROBUILD_ANNOTATION", help_heading = "Image")]
    pub annotation: Vec<Pair>,
    /// How images are pushed.
    #[command(flatten)]
    pub pushing: PushOptions,
    /// What root filesystems are made of.
    #[command(flatten)]
    pub source: SourceOptions,
    /// How mirrors and registries are reached.
    #[command(flatten)]
    pub network: NetworkOptions,
    /// What every command understands.
    #[command(flatten)]
    pub common: CommonOptions,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_words_do_not_contradict_each_other() {
        with_environment(with_docker_shorts(Cli::command())).debug_assert();
        with_environment(RecipeCli::command()).debug_assert();
    }

    #[test]
    fn switches_are_read() {
        for (text, expected) in [("1", Some(true)), ("Yes", Some(true)), ("off", Some(false)), ("maybe", None)] {
            assert_eq!(switch(text).ok(), expected, "{text}");
        }
    }
}
