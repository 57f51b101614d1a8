//! The machine and the user that a command works for: environment and root folder, read once at the top and passed down.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The environment of a process and the root of its file system. Cheap to clone. Its `Debug` shows no value of a variable, since some
/// are secret.
#[derive(Clone)]
pub struct Host {
    variables: Arc<BTreeMap<OsString, OsString>>,
    /// The user's home folder; absolute.
    home: Option<PathBuf>,
    /// Below it lie `etc/apt`, the loader's libraries and whatever else is read of the machine.
    root: PathBuf,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.variables.keys().collect();
        f.debug_struct("Host").field("variables", &names).field("home", &self.home).field("root", &self.root).finish()
    }
}

impl Host {
    /// That of this process: its environment, its user's home, `/`.
    pub fn of_process() -> Self {
        Self { home: std::env::home_dir(), ..Self::new(std::env::vars_os(), Path::new("/")) }
    }

    /// One with these variables, of which HOME names the home folder, and with the file system below `root`.
    pub fn new(variables: impl IntoIterator<Item = (OsString, OsString)>, root: &Path) -> Self {
        let variables: BTreeMap<_, _> = variables.into_iter().collect();
        let home = variables.get(OsStr::new("HOME")).map(PathBuf::from);
        Self { variables: Arc::new(variables), home, root: root.to_owned() }
    }

    /// The variable `name`.
    pub fn variable_os(&self, name: &str) -> Option<OsString> {
        self.variables.get(OsStr::new(name)).cloned()
    }

    /// The variable `name`, unless it is no UTF-8.
    pub fn variable(&self, name: &str) -> Option<String> {
        self.variable_os(name)?.into_string().ok()
    }

    /// The search path of programs; see [`crate::programs`].
    pub fn path(&self) -> OsString {
        self.variable_os("PATH").unwrap_or_default()
    }

    /// The folder for temporary files, as POSIX has it: `$TMPDIR`, else `/tmp`.
    pub fn temporary(&self) -> PathBuf {
        self.variable_os("TMPDIR").filter(|folder| !folder.is_empty()).map_or_else(|| "/tmp".into(), PathBuf::from)
    }

    /// Where the machine's files lie.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the user's configuration lies: `$XDG_CONFIG_HOME`, else `~/.config`.
    pub fn config_home(&self) -> Option<PathBuf> {
        self.folder("XDG_CONFIG_HOME", ".config")
    }

    /// Where what can be fetched or made again lies: `$XDG_CACHE_HOME`, else `~/.cache`.
    pub fn cache_home(&self) -> Option<PathBuf> {
        self.folder("XDG_CACHE_HOME", ".cache")
    }

    /// Where the user's data lies: `$XDG_DATA_HOME`, else `~/.local/share`.
    pub fn data_home(&self) -> Option<PathBuf> {
        self.folder("XDG_DATA_HOME", ".local/share")
    }

    /// XDG Base Directory Specification 0.8: a relative path in a variable is invalid and to be ignored.
    fn folder(&self, variable: &str, default: &str) -> Option<PathBuf> {
        let given = self.variable_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        given.or_else(|| Some(self.home.as_ref().filter(|home| home.is_absolute())?.join(default)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(variables: &[(&str, &str)]) -> Host {
        Host::new(variables.iter().map(|(name, value)| (name.into(), value.into())), Path::new("/"))
    }

    #[test]
    fn folders_are_those_of_the_xdg_specification() {
        for (variables, expected) in [
            (&[("HOME", "/home/me")][..], Some("/home/me/.config")),
            (&[("HOME", "/home/me"), ("XDG_CONFIG_HOME", "/c")], Some("/c")),
            (&[("HOME", "/home/me"), ("XDG_CONFIG_HOME", "c")], Some("/home/me/.config")),
            (&[("HOME", "/home/me"), ("XDG_CONFIG_HOME", "")], Some("/home/me/.config")),
            (&[("HOME", "me")], None),
            (&[], None),
        ] {
            assert_eq!(host(variables).config_home().as_deref(), expected.map(Path::new), "{variables:?}");
        }
    }

    #[test]
    fn no_value_is_shown() {
        let shown = format!("{:?}", host(&[("HOME", "/home/me"), ("TOKEN", "sesame")]));
        assert!(shown.contains("TOKEN") && !shown.contains("sesame"), "{shown}");
    }
}
