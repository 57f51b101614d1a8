//! The user's own `$XDG_CONFIG_HOME/microbuild/config.toml`: what a build may do on this machine.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{
    AppConfig, ConfigError, FILE,
    document::{Elsewhere, keys, parse_one_of_two},
    list, switch_or_list,
};
use crate::{
    http::Insecure,
    secret::{Origin, SecretSource},
    ui,
};

/// A `config.toml` of the user. Its keys are the long names of the flags that speak for this machine, and `trust`; what it
/// leaves out is `None` or empty.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct UserConfig {
    /// `trust`: the folders of apps whose own recipes are taken.
    #[serde(deserialize_with = "list")]
    pub trust: Vec<PathBuf>,
    /// `tag`: the references that an image gets.
    #[serde(deserialize_with = "list")]
    pub tag: Vec<String>,
    /// `push`: whether it is pushed to their registries.
    pub push: Option<bool>,
    /// `output`: other sinks, `KIND:PATH` or `docker`; their paths are taken from the work folder, as a flag's are.
    #[serde(deserialize_with = "list")]
    pub output: Vec<String>,
    /// `metadata-file`: the file that gets the JSON object of `--json`.
    pub metadata_file: Option<PathBuf>,
    /// `json`: whether stdout gets a JSON object.
    pub json: Option<bool>,
    /// `progress`: `auto`, `plain` or `none`.
    #[serde(deserialize_with = "progress")]
    pub progress: Option<ui::Mode>,
    /// `mirror`: the URL or folder of a mirror of Alpine, or of Debian.
    pub mirror: Option<String>,
    /// `keys`: files of keys, or folders of them, that are trusted like the built-in ones.
    #[serde(deserialize_with = "list")]
    pub keys: Vec<PathBuf>,
    /// `repository`: URLs or folders of further repositories.
    #[serde(deserialize_with = "list")]
    pub repository: Vec<String>,
    /// `secret`: what steps may know, and no layer.
    #[serde(deserialize_with = "list")]
    pub secret: Vec<SecretSource>,
    /// `runtime`: the OCI runtime, by name or path.
    pub runtime: Option<String>,
    /// `offline`: whether the network is left alone.
    pub offline: Option<bool>,
    /// `cache-dir`: the store's folder.
    pub cache_dir: Option<PathBuf>,
    /// `shared-cache`: whether all projects use the same caches of package managers and compilers.
    pub shared_cache: Option<bool>,
    /// `allow-rollback`: whether a mirror may have an older state than it had.
    pub allow_rollback: Option<bool>,
    /// `insecure`: the hosts that may be spoken to over plain HTTP or without a known certificate; `true` for all.
    #[serde(deserialize_with = "switch_or_list")]
    pub insecure: Vec<Insecure>,
    /// `ca`: files of certificates that are trusted like the system's.
    #[serde(deserialize_with = "list")]
    pub ca: Vec<PathBuf>,
}

impl UserConfig {
    /// Reads the text of a `config.toml`; `file` is its name in messages. Paths are left as they are written.
    ///
    /// # Errors
    /// When it is not TOML, has an unknown key, one that describes an image, or a value that its key cannot have; with line
    /// and column.
    pub fn parse(text: &str, file: &str) -> Result<Self, ConfigError> {
        Ok(parse_one_of_two(text, file, &apps_key)?)
    }

    /// Reads `microbuild/config.toml` in `home` ([`config_home`]), its relative paths taken from its folder. Without such a
    /// file: the configuration that says nothing.
    ///
    /// # Errors
    /// As [`UserConfig::parse`], and when the file is there and cannot be read.
    pub fn read(home: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(folder) = home.map(|home| home.join("microbuild")) else { return Ok(Self::default()) };
        let path = folder.join("config.toml");
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Self::parse(&text, &path.display().to_string())?.below(&folder)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(Self::default())
            }
            Err(source) => Err(ConfigError::Io { path, source }),
        }
    }

    /// The same, with `folder` before every relative path but those of outputs.
    fn below(mut self, folder: &Path) -> Self {
        let text = |path: &str| folder.join(path).display().to_string();
        let place = |place: &str| if place.contains([':', ' ']) { place.to_owned() } else { text(place) };
        self.mirror = self.mirror.map(|mirror| place(&mirror));
        for repository in &mut self.repository {
            *repository = place(repository);
        }
        for secret in &mut self.secret {
            if let Origin::File(path) = &mut secret.from {
                *path = folder.join(&*path);
            }
        }
        self.runtime = self.runtime.map(|runtime| if runtime.contains('/') { text(&runtime) } else { runtime });
        let paths = self.trust.iter_mut().chain(&mut self.keys).chain(&mut self.cache_dir).chain(&mut self.ca);
        for path in paths {
            *path = folder.join(&*path);
        }
        self
    }

    /// The keys that it may have.
    pub(crate) fn keys() -> Vec<String> {
        keys::<Self>()
    }
}

/// Whether `app`, or a folder that it lies in, is one of the `folders` that [`UserConfig::trust`] names, links followed.
pub fn is_trusted(app: &Path, folders: &[PathBuf]) -> bool {
    let Ok(app) = fs::canonicalize(app) else { return false };
    folders.iter().filter_map(|folder| fs::canonicalize(folder).ok()).any(|folder| app.starts_with(folder))
}

/// The folder of the user's configuration: `$XDG_CONFIG_HOME`, else `~/.config`.
pub fn config_home() -> Option<PathBuf> {
    // XDG Base Directory Specification 0.8: a relative path in the variable is invalid and to be ignored.
    let absolute = |variable| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))
}

/// The user's file, as messages name it; `XDG_CONFIG_HOME` may say otherwise.
pub(super) const USER_FILE: &str = "~/.config/microbuild/config.toml";

/// A key that describes an image, found in the user's file.
fn apps_key(key: &str) -> Option<Elsewhere> {
    AppConfig::keys().iter().any(|known| known == key).then(|| Elsewhere {
        message: format!("`{key}` describes an image, and may not stand in your own configuration"),
        hint: format!("--{key} or MICROBUILD_{}, or a line in the app's {FILE}", key.to_uppercase().replace('-', "_")),
    })
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
    use crate::error::Explain as _;

    #[test]
    fn reads_every_key() {
        let config = UserConfig::parse(
            r#"
            trust = ["apps/shop", "/srv/apps"]
            tag = ["registry.example/a:1"]
            push = true
            output = "oci:out"
            metadata-file = "out.json"
            json = true
            progress = "plain"
            mirror = "mirror"
            keys = ["keys"]
            repository = ["https://example.org/r", "extra", "deb https://example.org/d x main"]
            secret = ["id=npmrc,src=secret/npmrc", "id=TOKEN,env=CI_TOKEN"]
            runtime = "tools/crun"
            offline = true
            cache-dir = "/var/cache/x"
            shared-cache = true
            allow-rollback = false
            insecure = [true, "registry.example:5000"]
            ca = "ca.pem"
            "#,
            "config.toml",
        );
        insta::assert_debug_snapshot!(config.unwrap().below(Path::new("/w")));
    }

    #[test]
    fn insecure_is_a_switch_or_a_list_of_hosts() {
        let read = |text: &str| UserConfig::parse(text, "config.toml").map(|config| config.insecure);
        for (text, expected) in [
            ("true", vec![Insecure::All]),
            ("false", vec![Insecure::None]),
            ("'registry.example'", vec!["registry.example".parse().unwrap()]),
            ("['a', 'b:5000']", vec!["a".parse().unwrap(), "b:5000".parse().unwrap()]),
        ] {
            assert_eq!(read(&format!("insecure = {text}")).unwrap(), expected, "{text}");
        }
        assert!(read("insecure = 'https://a'").is_err());
    }

    #[test]
    fn mistakes_are_shown_at_their_place() {
        let mistakes = ["bse = 'alpine'", "base = 'alpine'", "push = 'yes'", "progress = 'palin'"].map(|text| {
            let error = UserConfig::parse(text, "config.toml").unwrap_err();
            format!("{error}\nhint: {}\n", error.hint().unwrap_or_default())
        });
        insta::assert_snapshot!(mistakes.join("\n"));
    }

    #[test]
    fn it_is_read_from_the_users_folder_and_trusts_what_it_names() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(UserConfig::read(Some(home.path())).unwrap(), UserConfig::default());
        assert_eq!(UserConfig::read(None).unwrap(), UserConfig::default());
        let folder = home.path().join("microbuild");
        for path in ["mine/api", "other"] {
            fs::create_dir_all(folder.join(path)).unwrap();
        }
        fs::write(folder.join("config.toml"), "trust = 'mine'\nmirror = 'https://m/x'\n").unwrap();
        let config = UserConfig::read(Some(home.path())).unwrap();
        assert_eq!(config.mirror.as_deref(), Some("https://m/x"));
        let trusts = |app: &Path| is_trusted(app, &config.trust);
        assert!(trusts(&folder.join("mine")) && trusts(&folder.join("other/../mine/api")));
        assert!(!trusts(&folder.join("other")) && !trusts(&folder.join("mine/none")));
        std::os::unix::fs::symlink(folder.join("other"), folder.join("mine/link")).unwrap();
        assert!(!trusts(&folder.join("mine/link")), "a link in a trusted folder leads elsewhere");
    }
}
