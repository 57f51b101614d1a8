//! The app's own `microbuild.toml`, which describes its image.

use std::{fmt, path::Path, str::FromStr};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::{
    BuildStepOptions, ConfigError, ContentsOptions, FILE, ImageOptions,
    user::{USER_FILE, UserConfig},
};
use crate::{
    app_folder::AppFolder,
    recipe::is_path,
    values::{Elsewhere, ValueError, keys, list, parse_groups},
};

/// The largest size of the file, in bytes.
const LARGEST: u64 = 1 << 20;

/// A `microbuild.toml`. Its keys are the long names of the flags that describe an image; a missing key is `None` or
/// empty. The app may be untrusted: no key reaches the user's files, credentials or trust.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AppConfig {
    /// `recipe`: a recipe's name, or the path of a recipe file, which is read only in an app that the user trusts.
    pub recipe: Option<String>,
    /// `tag`: the image's names among the local images.
    pub tag: Vec<LocalTag>,
    /// The options for the content of the root filesystem.
    pub contents: ContentsOptions,
    /// `[build]`: the options for the build of the app itself.
    pub build: BuildStepOptions,
    /// The options for the image's configuration, and for the app's files in it.
    pub image: ImageOptions,
}

/// The keys that are not options, or that allow less than the option of the same name.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct OwnKeys {
    recipe: Option<String>,
    #[serde(deserialize_with = "list")]
    tag: Vec<LocalTag>,
    #[serde(deserialize_with = "line_or_table")]
    build: BuildStepOptions,
}

/// A name for a local image, such as `shop:1.4`. It has no registry, because the app must not decide where an image is
/// pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalTag(String);

impl FromStr for LocalTag {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        // distribution/reference: the part before the first `/` is a registry if it has a dot or a colon, or is
        // localhost.
        let first = text.split_once('/').map_or("", |(first, _)| first);
        if first.contains(['.', ':']) || first == "localhost" {
            let expected = "a name without a registry, such as shop:1.4 (use -t, MICROBUILD_TAG or your own config.toml to name a registry)";
            return Err(ValueError::new(expected, text));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for LocalTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AppConfig {
    /// Reads the text of a `microbuild.toml`; `file` is its name in messages. Paths are left as they are written.
    ///
    /// # Errors
    /// When it is not TOML, when it has an unknown key or one that only the user may set, or when a value does not fit
    /// its key; with line and column.
    pub fn parse(text: &str, file: &str) -> Result<Self, ConfigError> {
        let (mut own, mut contents, mut image) =
            (OwnKeys::default(), ContentsOptions::default(), ImageOptions::default());
        parse_groups(text, file, &mut [&mut own, &mut contents, &mut image], &users_key)?;
        let OwnKeys { recipe, tag, build } = own;
        Ok(Self { recipe, tag, contents, build, image })
    }

    /// Reads `microbuild.toml` in the folder `app`; relative paths start there. Without the file, or when `app` is a
    /// single file, the configuration is empty.
    ///
    /// # Errors
    /// As [`AppConfig::parse`], and when the file exists and cannot be read.
    pub fn read(app: &Path) -> Result<Self, ConfigError> {
        if !app.is_dir() {
            return Ok(Self::default());
        }
        let folder = AppFolder::open(app)?;
        let Some(text) = folder.read(FILE, LARGEST)? else { return Ok(Self::default()) };
        let mut config = Self::parse(&text, &app.join(FILE).display().to_string())?;
        let below = |recipe: String| if is_path(&recipe) { app.join(recipe).display().to_string() } else { recipe };
        config.recipe = config.recipe.map(below);
        Ok(config)
    }

    /// The keys that it may have.
    pub(crate) fn keys() -> Vec<String> {
        [keys::<OwnKeys>(), keys::<ContentsOptions>(), keys::<ImageOptions>()].concat()
    }

    /// Its options for the root filesystem, without those that belong to the app.
    #[must_use]
    pub fn without_app(self) -> Self {
        let (ContentsOptions { base, .. }, ImageOptions { platform, compression, .. }) = (self.contents, self.image);
        Self {
            contents: ContentsOptions { base, ..ContentsOptions::default() },
            image: ImageOptions { platform, compression, ..ImageOptions::default() },
            ..Self::default()
        }
    }
}

/// `build`: a table, or only the command line.
fn line_or_table<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BuildStepOptions, D::Error> {
    struct LineOrTable;

    impl<'de> Visitor<'de> for LineOrTable {
        type Value = BuildStepOptions;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a command line, or a table with run, output, env")
        }

        fn visit_str<E: serde::de::Error>(self, line: &str) -> Result<BuildStepOptions, E> {
            Ok(BuildStepOptions { run: Some(line.parse().map_err(E::custom)?), ..BuildStepOptions::default() })
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<BuildStepOptions, A::Error> {
            BuildStepOptions::deserialize(MapAccessDeserializer::new(map))
        }
    }

    deserializer.deserialize_any(LineOrTable)
}

/// The error of a key in the app's file that only the user may set.
fn users_key(key: &str) -> Option<Elsewhere> {
    UserConfig::keys().iter().any(|known| known == key).then(|| Elsewhere {
        message: format!(
            "`{key}` is not allowed in an app's {FILE}: it decides about your machine or your trust, and the app may not be \
             yours"
        ),
        hint: match key {
            "trust" => format!("use --trust, or a line in {USER_FILE}"),
            key => format!("use --{key}, MICROBUILD_{}, or a line in {USER_FILE}", key.to_uppercase().replace('-', "_")),
        },
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::error::{Explain as _, Kind};
    use crate::values::Command;

    fn file(text: &str) -> Result<AppConfig, ConfigError> {
        AppConfig::parse(text, FILE)
    }

    #[test]
    fn reads_every_key() {
        let config = file(
            r#"
            recipe = "node"
            tag = ["a:1", "b:2"]
            base = "scratch"
            platform = "linux/amd64, linux/arm64"
            package = "tini"
            dev-package = ["libpq-dev"]
            compression = "zstd:9"
            deps = "copy"
            ignore-scripts = true
            env = { PORT = 8080, DEBUG = false, NAME = "x", RATIO = 1.5 }
            entrypoint = ["tini", "--"]
            cmd = "node 'a b.js'"
            process = "worker"
            workdir = "/srv"
            user = 1000
            port = [8080, "53/udp"]
            writable = ["uploads", "/var/lib/shop"]
            volume = "data"
            stop-signal = "QUIT"
            init = true
            health-cmd = ":8080/health"
            health-interval = "10s"
            health-timeout = "2s"
            health-start-period = "1m"
            health-retries = 5
            timestamps = "commit"
            source = true
            label = { "org.example.team" = "shop" }
            annotation = { "org.opencontainers.image.vendor" = "Example" }
            include = "dist"
            keep = "texts"
            exclude = ["coverage"]
            max-size = "30MB"

            [build]
            run = "npm run build:all"
            output = ["dist", "public"]
            env = { VITE_API = "/api" }
            "#,
        );
        insta::assert_debug_snapshot!(config.unwrap());
    }

    #[test]
    fn an_empty_file_says_nothing() {
        assert_eq!(file("").unwrap(), AppConfig::default());
        assert_eq!(file("tag = []\nentrypoint = []").unwrap().image.entrypoint, Some(Command::default()));
    }

    #[test]
    fn it_is_read_from_the_apps_folder() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(AppConfig::read(dir.path()).unwrap(), AppConfig::default());
        fs::write(dir.path().join(FILE), "recipe = './mine.toml'\n").unwrap();
        let recipe = dir.path().join("./mine.toml").display().to_string();
        assert_eq!(AppConfig::read(dir.path()).unwrap().recipe, Some(recipe));
        assert_eq!(AppConfig::read(&dir.path().join(FILE)).unwrap(), AppConfig::default(), "an app that is a file");

        fs::remove_file(dir.path().join(FILE)).unwrap();
        fs::create_dir(dir.path().join(FILE)).unwrap();
        assert!(matches!(AppConfig::read(dir.path()), Err(ConfigError::App(_))));
    }

    /// Each key belongs to one of the files, and each option of a build is a key of one of them.
    #[test]
    fn every_key_is_on_one_side() {
        let (app, user) = (AppConfig::keys(), UserConfig::keys());
        assert!(app.contains(&"max-size".to_owned()) && user.contains(&"runtime".to_owned()));
        // A tag without a registry names a local image, and may stand in both.
        for key in user.iter().filter(|key| *key != "tag") {
            let told = file(&format!("{key} = 'x'")).unwrap_err().to_string();
            assert!(told.contains("is not allowed in an app's microbuild.toml"), "{key}: {told}");
        }
        for key in app.iter().filter(|key| *key != "tag") {
            assert!(!user.contains(key), "{key} is on both sides");
            let told = UserConfig::parse(&format!("{key} = 'x'"), "config.toml").unwrap_err().to_string();
            assert!(told.contains("describes an image"), "{key}: {told}");
        }
    }

    #[test]
    fn a_tag_of_the_app_names_no_registry() {
        for (tag, fine) in [
            ("shop", true),
            ("shop:1.4", true),
            ("team/shop:1", true),
            ("ghcr.io/me/shop", false),
            ("localhost/shop", false),
            ("localhost:5000/shop:1", false),
            ("docker.io/me/shop", false),
        ] {
            assert_eq!(file(&format!("tag = '{tag}'")).is_ok(), fine, "{tag}");
        }
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
            "ignore-scripts = 'yes'",
            "exclude = ['a', '[']",
            "platform = 'amd64'",
            "tag = 'a'\ntag = 'b'",
            "tag = 'a",
            "é = 1",
            "base = 'alpine'\nruntime = './r'",
            "secret = ['id=k,src=id_ed25519']",
            "trust = ['.']",
            "tag = ['ghcr.io/me/app:1']",
            "build = ''",
            "build = ['npm']",
            "[build]\ncommand = 'npm'",
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
            let _ = UserConfig::parse(&text, "config.toml");
        }
    }
}
