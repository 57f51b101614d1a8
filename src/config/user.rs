//! The user's own `$XDG_CONFIG_HOME/microbuild/config.toml`, which sets what a build may use and trust on this machine.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{AppConfig, CommonOptions, ConfigError, DeliveryOptions, FILE, MachineOptions, NetworkOptions};
use crate::{
    secret::SecretFrom,
    values::{Elsewhere, keys, parse_groups},
};

/// A `config.toml` of the user. Its keys are the long names of the flags that concern this machine; `trust` lists
/// folders of apps. A missing key is `None` or empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UserConfig {
    /// Where images go.
    pub delivery: DeliveryOptions,
    /// The options for what a build may use and trust.
    pub machine: MachineOptions,
    /// The options for connections to mirrors and registries.
    pub network: NetworkOptions,
    /// The options of every command.
    pub common: CommonOptions,
}

impl UserConfig {
    /// Reads the text of a `config.toml`; `file` is its name in messages. Paths are left as they are written.
    ///
    /// # Errors
    /// When it is not TOML, when it has an unknown key or one that describes an image, or when a value does not fit its
    /// key; with line and column.
    pub fn parse(text: &str, file: &str) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        let Self { delivery, machine, network, common } = &mut config;
        parse_groups(text, file, &mut [machine, delivery, network, common], &apps_key)?;
        Ok(config)
    }

    /// Reads `microbuild/config.toml` in `home` ([`Host::config_home`](crate::host::Host::config_home)), its relative
    /// paths start in its folder. Without the file the configuration is empty.
    ///
    /// # Errors
    /// As [`UserConfig::parse`], and when the file exists and cannot be read.
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

    /// Resolves relative paths from `folder`. Paths that a build writes to stay relative to the current folder.
    fn below(mut self, folder: &Path) -> Self {
        let Self { delivery, machine, network, common } = &mut self;
        // Without `..`, so that the compiler asks for new options here.
        let MachineOptions {
            trust: _,
            trusted,
            secret,
            shared_cache: _,
            runtime,
            mirror,
            keys,
            repository,
            allow_rollback: _,
            offline: _,
        } = machine;
        let DeliveryOptions { tag: _, push: _, output: _, metadata_file: _ } = delivery;
        let NetworkOptions { ca, insecure: _ } = network;
        let CommonOptions { cache_dir, json: _, progress: _, quiet: _, verbose: _ } = common;
        let text = |path: &str| folder.join(path).display().to_string();
        for place in mirror.iter_mut().chain(repository) {
            // Neither a URL nor a line of apt's sources.
            if !place.contains([':', ' ']) {
                *place = text(place);
            }
        }
        for source in secret {
            if let SecretFrom::File(path) = &mut source.from {
                *path = folder.join(&*path);
            }
        }
        if let Some(runtime) = runtime
            && runtime.contains('/')
        {
            *runtime = text(runtime);
        }
        for path in trusted.iter_mut().chain(keys).chain(ca).chain(cache_dir) {
            *path = folder.join(&*path);
        }
        self
    }

    /// The keys that it may have.
    pub(crate) fn keys() -> Vec<String> {
        let (machine, delivery) = (keys::<MachineOptions>(), keys::<DeliveryOptions>());
        [machine, delivery, keys::<NetworkOptions>(), keys::<CommonOptions>()].concat()
    }
}

/// Whether `app`, or a folder above it, is one of the `folders` of [`MachineOptions::trusted`], links followed.
pub fn is_trusted(app: &Path, folders: &[PathBuf]) -> bool {
    let Ok(app) = fs::canonicalize(app) else { return false };
    folders.iter().filter_map(|folder| fs::canonicalize(folder).ok()).any(|folder| app.starts_with(folder))
}

/// The name of the user's file in messages. `XDG_CONFIG_HOME` may move it.
pub(super) const USER_FILE: &str = "~/.config/microbuild/config.toml";

/// The error of a key in the user's file that describes an image.
fn apps_key(key: &str) -> Option<Elsewhere> {
    AppConfig::keys().iter().any(|known| known == key).then(|| Elsewhere {
        message: format!("`{key}` is not allowed in your own configuration: it describes an image"),
        hint: format!(
            "use --{key}, MICROBUILD_{}, or a line in the app's {FILE}",
            key.to_uppercase().replace('-', "_")
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{error::Explain as _, http::Insecure};

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
        let read = |text: &str| UserConfig::parse(text, "config.toml").map(|config| config.network.insecure);
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
        assert_eq!(config.machine.mirror.as_deref(), Some("https://m/x"));
        let trusts = |app: &Path| is_trusted(app, &config.machine.trusted);
        assert!(trusts(&folder.join("mine")) && trusts(&folder.join("other/../mine/api")));
        assert!(!trusts(&folder.join("other")) && !trusts(&folder.join("mine/none")));
        std::os::unix::fs::symlink(folder.join("other"), folder.join("mine/link")).unwrap();
        assert!(!trusts(&folder.join("mine/link")), "a link in a trusted folder leads elsewhere");
    }
}
