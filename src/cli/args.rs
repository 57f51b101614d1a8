//! The command line as clap parses it: commands, options, help, variables.

#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "a field's comment is the option's help, in which brackets are no links"
)]

use std::{ffi::OsString, path::PathBuf};

use clap::{Arg, Args, Parser, Subcommand, builder::Resettable};

use crate::{
    config::{
        BuildStepOptions, CommonOptions, ContentsOptions, DeliveryOptions, ImageOptions, MachineOptions, Merge as _,
        NetworkOptions, UserConfig, switch,
    },
    image::Format,
    sink::{Output, registry::Options},
    values::{Publish, User, Volume},
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
    /// Build APP with the recipe that its microbuild.toml names or that recognizes its files
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
    /// Print the packages that an image would have, with sizes; fetches indexes only
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
    /// Run a local image, or build APP and run it, as it will run elsewhere
    Run {
        /// The app's folder, or a local image as `microbuild images` lists it
        target: String,
        /// Options.
        #[command(flatten)]
        options: Box<RunOptions>,
        /// The command to run instead of the image's own
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
        /// The command to run
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
    /// Remove cached files that no local image needs
    Gc {
        /// Remove all of them, however recently they were used
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
        /// The app's folder, for its own recipes
        #[arg(long, default_value = ".", value_name = "APP")]
        app: PathBuf,
    },
    /// Check credentials for a registry and store them where docker and podman do
    Login {
        /// The registry: HOST or HOST:PORT
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
    /// Remove the stored credentials for a registry
    Logout {
        /// The registry: HOST or HOST:PORT
        registry: String,
    },
    /// Print a shell completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// RECIPE [APP]: build APP (default: .) with a recipe; see `microbuild node --help`
    #[command(external_subcommand)]
    Recipe(Vec<OsString>),
}

/// `command`, for which an empty variable of the environment counts as unset, since CI systems set empty ones. Help names the
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

/// How images are pushed.
#[derive(Debug, Clone, Default, Args)]
pub struct PushOptions {
    /// Push every part of the image, even what the registry says it has
    #[arg(long, env = "MICROBUILD_FORCE", value_parser = switch, help_heading = "Pushing")]
    pub force: bool,
    /// Check that the registry has every part of the image, and push what it has lost
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

/// The options of `microbuild run`.
#[derive(Debug, Clone, Args)]
pub struct RunOptions {
    /// The recipe, when APP is a folder [default: the one that its microbuild.toml names or that recognizes its files]
    #[arg(long)]
    pub recipe: Option<String>,
    /// Set a variable; KEY alone takes its value from your environment
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    pub env: Vec<String>,
    /// Mount a file or folder of this machine: SOURCE:/TARGET[:ro]
    #[arg(short, long, value_name = "SOURCE:TARGET")]
    pub volume: Vec<Volume>,
    /// Forward another port or address of this machine to the app's PORT
    #[arg(short, long, value_name = "[[ADDRESS:]HOST-PORT:]PORT")]
    pub publish: Vec<Publish>,
    /// Run without a network instead of with this machine's
    #[arg(long, conflicts_with = "publish")]
    pub no_network: bool,
    /// Let the app write to a copy of its root filesystem, which is removed when it ends
    #[arg(long)]
    pub writable: bool,
    /// Run as this user instead of the image's
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<User>,
    /// Connect the app to the terminal, as a shell needs; without it, Ctrl-C ends the app, by force after ten seconds
    #[arg(short, long)]
    pub tty: bool,
    /// Connect standard input (always on; accepted as docker's option)
    #[arg(short, long)]
    pub interactive: bool,
    /// Remove the container when the app ends (always on; accepted as docker's option)
    #[arg(long)]
    pub rm: bool,
    /// What root filesystems are made of, and with what.
    #[command(flatten)]
    pub setup: SetupOptions,
}

/// The options of `microbuild dev`.
#[derive(Debug, Clone, Args)]
pub struct DevOptions {
    /// Open a shell
    #[arg(long, conflicts_with = "command")]
    pub shell: bool,
    /// Set a variable; KEY alone takes its value from your environment
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    pub env: Vec<String>,
    /// What root filesystems are made of, and with what.
    #[command(flatten)]
    pub setup: SetupOptions,
}

/// The options of every command that makes a root filesystem.
#[derive(Debug, Clone, Default, Args)]
pub struct SetupOptions {
    /// What root filesystems are made of.
    #[command(flatten)]
    pub contents: ContentsOptions,
    /// What may be used and trusted on this machine.
    #[command(flatten)]
    pub machine: MachineOptions,
    /// How mirrors and registries are reached.
    #[command(flatten)]
    pub network: NetworkOptions,
    /// What every command understands.
    #[command(flatten)]
    pub common: CommonOptions,
}

impl SetupOptions {
    /// Fills in what `user` says where neither a flag nor a variable says something.
    pub(super) fn fill(&mut self, user: &UserConfig) {
        let UserConfig { delivery: _, machine, network, common } = user;
        self.machine.fill(machine);
        self.network.fill(network);
        self.common.fill(common);
    }
}

/// The options of a build. Each can stand in the environment too, and in a file: what describes the image in the app's
/// microbuild.toml, what speaks for this machine in the user's own config.toml. A flag wins over the environment, that over
/// the file, that over the recipe.
#[derive(Debug, Clone, Default, Args)]
pub struct BuildOptions {
    /// Where the image goes.
    #[command(flatten)]
    pub delivery: DeliveryOptions,
    /// How the app is built.
    #[command(flatten)]
    pub build: BuildStepOptions,
    /// What the image says of itself, and which files of the app it holds.
    #[command(flatten)]
    pub image: ImageOptions,
    /// How images are pushed.
    #[command(flatten)]
    pub pushing: PushOptions,
    /// What root filesystems are made of, and with what.
    #[command(flatten)]
    pub setup: SetupOptions,
}

impl BuildOptions {
    /// As [`SetupOptions::fill`].
    pub(super) fn fill(&mut self, user: &UserConfig) {
        self.delivery.fill(&user.delivery);
        self.setup.fill(user);
    }
}

impl From<SetupOptions> for BuildOptions {
    fn from(setup: SetupOptions) -> Self {
        Self { setup, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::config::AppConfig;

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

    /// Each option of a build is a key of one of the two files: what describes the image of the app's, what speaks for the machine
    /// of the user's.
    #[test]
    fn every_option_is_a_key_of_one_file() {
        // How much is said and how an image is pushed are matters of one call; whom to trust stands in `trust` as folders; what is
        // built and how are keys of the table `build`.
        const FLAGS_ONLY: [&str; 9] =
            ["help", "quiet", "verbose", "trust", "force", "format", "verify", "build-output", "build-env"];
        let (app, user) = (AppConfig::keys(), UserConfig::keys());
        let command = RecipeCli::command();
        let options: Vec<&str> = command.get_arguments().filter_map(Arg::get_long).collect();
        for option in &options {
            let keys = [&app, &user].into_iter().filter(|keys| keys.iter().any(|key| key == option)).count();
            let expected = if *option == "tag" { 2 } else { usize::from(!FLAGS_ONLY.contains(option)) };
            assert!(keys == expected || *option == "trust", "{option} is a key of {keys} files");
        }
        for key in app.iter().chain(&user).filter(|key| *key != "recipe") {
            assert!(options.contains(&key.as_str()), "{key} is no option");
        }
    }

    #[test]
    fn a_variable_is_named_as_its_option() {
        for arg in RecipeCli::command().get_arguments().filter(|arg| arg.get_env().is_some()) {
            let long = arg.get_long().expect("a long name").to_uppercase().replace('-', "_");
            assert_eq!(arg.get_env().and_then(|name| name.to_str()), Some(&*format!("MICROBUILD_{long}")));
        }
    }

    fn options(words: &[&str]) -> BuildOptions {
        *RecipeCli::try_parse_from([&["node"], words].concat()).expect("words").options
    }

    #[test]
    fn flags_win_over_the_users_file() {
        let user = UserConfig::parse(
            "mirror = 'https://m/x'\nruntime = 'crun'\ntag = ['a:1']\noutput = 'docker'\npush = true\ntrust = '/srv'",
            "config.toml",
        )
        .expect("a configuration");
        let mut given = options(&["--runtime", "runc", "-t", "b:2"]);
        given.fill(&user);
        let BuildOptions { delivery, setup: SetupOptions { machine, .. }, .. } = given;
        assert_eq!((machine.runtime.as_deref(), machine.mirror.as_deref()), (Some("runc"), Some("https://m/x")));
        assert_eq!((&delivery.tag[..], delivery.push), (&["b:2".to_owned()][..], Some(true)));
        assert_eq!((delivery.output, machine.trusted), (vec![Output::Docker], vec!["/srv".into()]));
    }

    #[test]
    fn a_switch_of_the_file_can_be_turned_off() {
        let user = UserConfig::parse("push = true\noffline = true", "config.toml").expect("a configuration");
        for (words, push, offline) in [
            (&[][..], Some(true), Some(true)),
            (&["--push=no"], Some(false), Some(true)),
            (&["--offline=no", "--push", "./app"], Some(true), Some(false)),
        ] {
            let mut given = options(words);
            given.fill(&user);
            assert_eq!((given.delivery.push, given.setup.machine.offline), (push, offline), "{words:?}");
        }
    }

    #[test]
    fn lists_replace_each_other_and_tables_are_merged_by_key() {
        let app = AppConfig::parse("port = [80, 81]\nenv = { A = 1, B = 2 }\npackage = 'tini'", "x").expect("a file");
        let image = options(&["--port", "8080", "--env", "B=3"]).image.over(app.image);
        let texts = |pairs: &[crate::values::Pair]| pairs.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(image.port.iter().map(ToString::to_string).collect::<Vec<_>>(), ["8080/tcp"]);
        assert_eq!(texts(&image.env), ["A=1", "B=2", "B=3"], "the last counts");
        assert_eq!(options(&[]).setup.contents.over(app.contents).package, ["tini"]);
    }
}
