//! Build options as they stand in the app's `microbuild.toml`, and the types of their values.
//!
//! Every build option is a flag, a variable of the environment (`MICROBUILD_…`) and a key here, all three under the same
//! name and read by the same `FromStr`. The first of flag, environment, file and recipe that says something counts; lists
//! replace one another as wholes, tables (`env`, `label`, `annotation`) are merged key by key.
//!
//! ```toml
//! recipe = "node"
//! tag = ["registry.example.org/shop:1.4"]
//! base = "scratch"
//! platform = "linux/amd64,linux/arm64"
//! env = { PORT = 8080 }
//! max-size = "30MB"
//! ```

mod container;
mod document;
mod value;
mod words;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{
    error::{Explain, Kind},
    glob::Pattern,
    http::Insecure,
    image::Platform,
    secret::{Origin, SecretSource},
    ui,
};

pub use container::{Publish, Volume};
pub use document::DocumentError;
pub(crate) use document::{comma_list, command, list, optional, parse, parse_like, switch_or_list, texts, value};
pub use value::{Base, Compression, Deps, Id, Pair, Port, Protocol, Release, Size, Suite, User, ValueError, Workdir};
pub(crate) use words::split;
pub use words::{Command, CommandError};

/// The name of the file, in the app's folder.
pub const FILE: &str = "microbuild.toml";

/// What is wrong with a `microbuild.toml`.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is not what it should be.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Explain for ConfigError {
    fn kind(&self) -> Kind {
        Kind::Usage
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Document(error) => error.hint.clone(),
            Self::Io { .. } => None,
        }
    }
}

/// A `microbuild.toml`. Its keys are the long names of the flags; what it leaves out is `None` or empty.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct FileConfig {
    /// `recipe`: a recipe's name, or the path of a recipe file.
    pub recipe: Option<String>,
    /// `tag`: the references that the image gets.
    #[serde(deserialize_with = "list")]
    pub tag: Vec<String>,
    /// `push`: whether it is pushed to their registries.
    pub push: Option<bool>,
    /// `output`: other sinks, `KIND:PATH` or `docker`.
    #[serde(deserialize_with = "list")]
    pub output: Vec<String>,
    /// `base`: where the root filesystem starts.
    #[serde(deserialize_with = "optional")]
    pub base: Option<Base>,
    /// `platform`: what the image is built for.
    #[serde(deserialize_with = "comma_list")]
    pub platform: Vec<Platform>,
    /// `mirror`: the URL or folder of a mirror of Alpine, or of Debian.
    pub mirror: Option<String>,
    /// `keys`: files of keys, or folders of them, to trust besides the built-in ones.
    #[serde(deserialize_with = "list")]
    pub keys: Vec<PathBuf>,
    /// `repository`: URLs or folders of further repositories.
    #[serde(deserialize_with = "list")]
    pub repository: Vec<String>,
    /// `package`: packages besides the recipe's.
    #[serde(deserialize_with = "list")]
    pub package: Vec<String>,
    /// `dev-package`: packages besides the recipe's, of the dev variant only.
    #[serde(deserialize_with = "list")]
    pub dev_package: Vec<String>,
    /// `compression`: how layers made here are compressed.
    #[serde(deserialize_with = "optional")]
    pub compression: Option<Compression>,
    /// `deps`: what becomes of the project's dependencies.
    #[serde(deserialize_with = "optional")]
    pub deps: Option<Deps>,
    /// `secret`: what the step that installs dependencies is to know, and nobody else.
    #[serde(deserialize_with = "list")]
    pub secret: Vec<SecretSource>,
    /// `ignore-scripts`: whether packages' own scripts are left alone when they are installed.
    pub ignore_scripts: Option<bool>,
    /// `runtime`: the OCI runtime, by name or path.
    pub runtime: Option<String>,
    /// `env`: variables of the image's environment.
    #[serde(deserialize_with = "texts")]
    pub env: BTreeMap<String, String>,
    /// `entrypoint`: `Config.Entrypoint`, a line or a list of words.
    #[serde(deserialize_with = "optional_command")]
    pub entrypoint: Option<Command>,
    /// `cmd`: `Config.Cmd`, a line or a list of words.
    #[serde(deserialize_with = "optional_command")]
    pub cmd: Option<Command>,
    /// `workdir`: where in the image the app lies.
    #[serde(deserialize_with = "optional")]
    pub workdir: Option<Workdir>,
    /// `user`: whom the app runs as.
    #[serde(deserialize_with = "optional")]
    pub user: Option<User>,
    /// `port`: ports that the app listens on.
    #[serde(deserialize_with = "list")]
    pub port: Vec<Port>,
    /// `label`: `Config.Labels`.
    #[serde(deserialize_with = "texts")]
    pub label: BTreeMap<String, String>,
    /// `annotation`: annotations of the manifest.
    #[serde(deserialize_with = "texts")]
    pub annotation: BTreeMap<String, String>,
    /// `include`: files to take that the ignore file, or microbuild itself, leaves out.
    #[serde(deserialize_with = "list")]
    pub include: Vec<Pattern>,
    /// `exclude`: files to leave out besides.
    #[serde(deserialize_with = "list")]
    pub exclude: Vec<Pattern>,
    /// `max-size`: the size of the compressed layers beyond which the build fails.
    #[serde(deserialize_with = "optional")]
    pub max_size: Option<Size>,
    /// `offline`: whether the network is left alone.
    pub offline: Option<bool>,
    /// `cache-dir`: the store's folder.
    pub cache_dir: Option<PathBuf>,
    /// `json`: whether stdout gets a JSON object.
    pub json: Option<bool>,
    /// `metadata-file`: the file that gets the same JSON object.
    pub metadata_file: Option<PathBuf>,
    /// `progress`: `auto`, `plain` or `none`.
    #[serde(deserialize_with = "progress")]
    pub progress: Option<ui::Mode>,
    /// `insecure`: the hosts that may be spoken to over plain HTTP or without a known certificate; `true` for all.
    #[serde(deserialize_with = "switch_or_list")]
    pub insecure: Vec<Insecure>,
    /// `ca`: a file of certificates to trust besides the system's.
    pub ca: Option<PathBuf>,
}

impl FileConfig {
    /// Reads the text of a `microbuild.toml`; `file` is its name in messages. Paths are left as they are written.
    ///
    /// # Errors
    /// When it is not TOML, has an unknown key, or a value that its key cannot have; with line and column.
    pub fn parse(text: &str, file: &str) -> Result<Self, ConfigError> {
        Ok(parse(text, file)?)
    }

    /// Reads `microbuild.toml` in the folder `app`, its relative paths taken from there. Without such a file: the
    /// configuration that says nothing.
    ///
    /// # Errors
    /// As [`FileConfig::parse`], and when the file is there and cannot be read.
    pub fn read(app: &Path) -> Result<Self, ConfigError> {
        let path = app.join(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Self::parse(&text, &path.display().to_string())?.below(app)),
            // An app that is a file has none.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(Self::default())
            }
            Err(source) => Err(ConfigError::Io { path, source }),
        }
    }

    /// What it says of where packages come from, and nothing that is the app's.
    pub fn of_packages(self) -> Self {
        let Self {
            base,
            platform,
            mirror,
            keys,
            repository,
            compression,
            cache_dir,
            offline,
            insecure,
            ca,
            progress,
            ..
        } = self;
        let own = Self { base, platform, mirror, keys, repository, compression, ..Self::default() };
        Self { cache_dir, offline, insecure, ca, progress, ..own }
    }

    /// The same, with `folder` before every relative path.
    fn below(mut self, folder: &Path) -> Self {
        let text = |path: &str| folder.join(path).display().to_string();
        let place = |place: &str| if place.contains("://") { place.to_owned() } else { text(place) };
        self.recipe = self.recipe.map(|recipe| if crate::recipe::is_path(&recipe) { text(&recipe) } else { recipe });
        self.mirror = self.mirror.map(|mirror| place(&mirror));
        for repository in &mut self.repository {
            *repository = place(repository);
        }
        for output in &mut self.output {
            if let Some((kind, path)) = output.split_once(':') {
                *output = format!("{kind}:{}", text(path));
            }
        }
        for secret in &mut self.secret {
            if let Origin::File(path) = &mut secret.from {
                *path = folder.join(&*path);
            }
        }
        self.runtime = self.runtime.map(|runtime| if runtime.contains('/') { text(&runtime) } else { runtime });
        for path in self.keys.iter_mut().chain(&mut self.cache_dir).chain(&mut self.metadata_file).chain(&mut self.ca) {
            *path = folder.join(&*path);
        }
        self
    }
}

fn optional_command<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Command>, D::Error> {
    command(deserializer).map(Some)
}

fn progress<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<ui::Mode>, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Name {
        Auto,
        Plain,
        None,
    }
    Name::deserialize(deserializer).map(|name| {
        Some(match name {
            Name::Auto => ui::Mode::Auto,
            Name::Plain => ui::Mode::Plain,
            Name::None => ui::Mode::None,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<FileConfig, ConfigError> {
        FileConfig::parse(text, FILE)
    }

    #[test]
    fn reads_every_key() {
        let config = file(
            r#"
            recipe = "node"
            tag = ["a:1", "b:2"]
            push = true
            output = "oci:out"
            base = "scratch"
            platform = "linux/amd64, linux/arm64"
            mirror = "mirror"
            keys = ["keys"]
            repository = ["https://example.org/r", "extra"]
            package = "tini"
            dev-package = ["libpq-dev"]
            compression = "zstd:9"
            deps = "copy"
            secret = ["id=npmrc,src=secret/npmrc", "id=TOKEN,env=CI_TOKEN"]
            ignore-scripts = true
            runtime = "tools/crun"
            env = { PORT = 8080, DEBUG = false, NAME = "x", RATIO = 1.5 }
            entrypoint = ["tini", "--"]
            cmd = "node 'a b.js'"
            workdir = "/srv"
            user = 1000
            port = [8080, "53/udp"]
            label = { "org.example.team" = "shop" }
            annotation = { "org.opencontainers.image.vendor" = "Example" }
            include = "dist"
            exclude = ["coverage"]
            max-size = "30MB"
            offline = true
            cache-dir = "/var/cache/x"
            json = true
            metadata-file = "out.json"
            progress = "plain"
            insecure = [true, "registry.example:5000"]
            ca = "ca.pem"
            "#,
        );
        insta::assert_debug_snapshot!(config.unwrap().below(Path::new("/w")));
    }

    #[test]
    fn an_empty_file_says_nothing() {
        assert_eq!(file("").unwrap(), FileConfig::default());
        assert_eq!(file("tag = []\nentrypoint = []").unwrap().entrypoint, Some(Command::default()));
    }

    #[test]
    fn insecure_is_a_switch_or_a_list_of_hosts() {
        for (text, expected) in [
            ("true", vec![Insecure::All]),
            ("false", vec![Insecure::None]),
            ("'registry.example'", vec!["registry.example".parse().unwrap()]),
            ("['a', 'b:5000']", vec!["a".parse().unwrap(), "b:5000".parse().unwrap()]),
        ] {
            assert_eq!(file(&format!("insecure = {text}")).unwrap().insecure, expected, "{text}");
        }
        assert!(file("insecure = 'https://a'").is_err() && file("tag = true").is_err());
    }

    #[test]
    fn paths_are_taken_from_the_files_folder() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(FileConfig::read(dir.path()).unwrap(), FileConfig::default());
        fs::write(
            dir.path().join(FILE),
            "recipe = './mine.toml'\nca = 'ca.pem'\nmirror = 'https://m/x'\noutput = ['docker', 'oci:a:b']\n",
        )
        .unwrap();
        let config = FileConfig::read(dir.path()).unwrap();
        let below = |path: &str| dir.path().join(path).display().to_string();
        assert_eq!(config.recipe, Some(below("./mine.toml")));
        assert_eq!(config.ca, Some(dir.path().join("ca.pem")));
        assert_eq!(config.mirror.as_deref(), Some("https://m/x"));
        assert_eq!(config.output, ["docker".to_owned(), format!("oci:{}", below("a:b"))]);

        fs::remove_file(dir.path().join(FILE)).unwrap();
        fs::create_dir(dir.path().join(FILE)).unwrap();
        assert!(matches!(FileConfig::read(dir.path()), Err(ConfigError::Io { .. })));
    }

    #[test]
    fn mistakes_are_shown_at_their_place() {
        let texts = [
            "recipe = 'node'\ntags = ['a']",
            "max_size = '1MB'",
            "colour = 'red'",
            "base = 'fedora'",
            "port = [80, 'http']",
            "env = ['A=1']",
            "env = { \"A=B\" = 'x' }",
            "env = { A = [1] }",
            "cmd = 'node a.js && node b.js'",
            "push = 'yes'",
            "progress = 'palin'",
            "exclude = ['a', '[']",
            "platform = 'amd64'",
            "tag = 'a'\ntag = 'b'",
            "tag = 'a",
            "é = 1",
        ];
        let mistakes = texts.map(|text| {
            let error = file(text).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage);
            format!("{error}\nhint: {}\n", error.hint().unwrap_or_default())
        });
        insta::assert_snapshot!(mistakes.join("\n"));
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

        #[test]
        fn never_panics(text in "\\PC{0,60}|([a-z-]{1,10} ?= ?['\"\\[]?[a-zé0-9:\\n]{0,10}['\"\\]]?\\n){0,4}") {
            let _ = file(&text);
        }
    }
}
