//! Alpine's repositories and packages.

use std::path::PathBuf;

use super::{PlanError, architecture_of};
use crate::{
    apk::{dependency::Dependency, key::KeyRing, revision::is_branch},
    image::Platform,
    location::Location,
    request::{DEFAULT_MIRROR, Request},
    rootfs::ApkSettings,
    values::Release,
};

/// The sources of packages, and the requested packages.
#[derive(Debug, Clone)]
pub struct AlpineWanted {
    /// The folder of a mirror with the release: `v3.23`.
    pub branch: String,
    /// Where packages come from, in the order of preference.
    pub repositories: Vec<RepositorySource>,
    /// The requested packages.
    pub world: Vec<Dependency>,
    /// Files and folders of keys that are trusted in addition to Alpine's own.
    keys: Vec<PathBuf>,
}

/// A repository: a folder with a subfolder for each architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositorySource {
    /// The address that it is fetched from.
    pub location: Location,
    /// Its line in the image's `/etc/apk/repositories`: Alpine's own address, whatever mirror it was fetched from, so that
    /// the image does not depend on the mirror. `None` for a folder of this machine.
    pub line: Option<String>,
    /// Its tag, when only packages pinned to it come from here.
    pub tag: Option<String>,
    /// The branch of Alpine that it belongs to, as far as its address tells: `v3.23`, `edge`.
    pub branch: Option<String>,
    /// Whether it belongs to the requested release.
    pub is_own: bool,
}

/// Go's platforms and apk's names for their architectures.
const PLATFORMS: [(&str, &str); 9] = [
    ("linux/386", "x86"),
    ("linux/amd64", "x86_64"),
    ("linux/arm/v6", "armhf"),
    ("linux/arm/v7", "armv7"),
    ("linux/arm64", "aarch64"),
    ("linux/loong64", "loongarch64"),
    ("linux/ppc64le", "ppc64le"),
    ("linux/riscv64", "riscv64"),
    ("linux/s390x", "s390x"),
];

/// Returns apk's name for the architecture of `platform`.
///
/// # Errors
/// When Alpine has none.
pub fn architecture(platform: &Platform) -> Result<&'static str, PlanError> {
    architecture_of(platform, "Alpine", &PLATFORMS)
}

impl AlpineWanted {
    /// Reads the packages `asked` for, from the release's repositories and those that the request names.
    ///
    /// # Errors
    /// When a package or a repository cannot be read.
    pub fn new(request: &Request, release: &Release, asked: &[String]) -> Result<Self, PlanError> {
        let branch = release.branch();
        let repositories = repositories(request, &branch)?;
        let world = asked.iter().map(|package| package.parse()).collect::<Result<_, _>>()?;
        Ok(Self { branch, repositories, world, keys: request.keys.clone() })
    }

    /// The index for `arch` that is fetched first to learn whether the mirror can be reached.
    pub fn first_index(&self, arch: &str) -> Option<Location> {
        self.repositories.first().map(|repository| repository.index(arch))
    }

    /// The trusted keys for packages of `arch`: Alpine's own and those that the request names.
    ///
    /// # Errors
    /// When one that the request names cannot be read.
    pub fn keys(&self, arch: &str) -> Result<KeyRing, PlanError> {
        let mut keys = KeyRing::alpine(arch);
        self.keys.iter().try_for_each(|path| keys.add_path(path))?;
        Ok(keys)
    }

    /// The configuration of apk in the image. With `configuration`, apk can install packages there.
    ///
    /// # Errors
    /// When a key cannot be read.
    pub fn settings(&self, arch: &str, configuration: bool) -> Result<ApkSettings, PlanError> {
        let tagged = |tag: &Option<String>| tag.as_ref().map_or_else(String::new, |tag| format!("@{tag} "));
        let lines = self.repositories.iter().filter_map(|r| Some(format!("{}{}", tagged(&r.tag), r.line.as_ref()?)));
        Ok(ApkSettings {
            world: self.world.iter().map(ToString::to_string).collect(),
            repositories: lines.collect(),
            keys: self.keys(arch)?.files().map(|(name, pem)| (name.to_owned(), pem.to_owned())).collect(),
            configuration,
        })
    }
}

impl RepositorySource {
    /// Its index for `arch`.
    pub fn index(&self, arch: &str) -> Location {
        self.location.join(arch).join("APKINDEX.tar.gz")
    }
}

fn repositories(request: &Request, branch: &str) -> Result<Vec<RepositorySource>, PlanError> {
    let mirror = Location::new(request.mirror.as_deref().unwrap_or(DEFAULT_MIRROR));
    let own = ["main", "community"].map(|name| RepositorySource {
        location: mirror.join(&format!("{branch}/{name}")),
        line: Some(format!("{DEFAULT_MIRROR}/{branch}/{name}")),
        tag: None,
        branch: Some(branch.to_owned()),
        is_own: true,
    });
    let further = request.repositories.iter().map(|line| {
        let bad = || PlanError::Repository(line.clone());
        let (tag, address) = match line.trim().strip_prefix('@') {
            Some(rest) => {
                let (tag, address) = rest.split_once(char::is_whitespace).ok_or_else(bad)?;
                (Some(tag.to_owned()), address.trim())
            }
            None => (None, line.trim()),
        };
        if address.is_empty() || address.contains(char::is_whitespace) || tag.as_deref() == Some("") {
            return Err(bad());
        }
        let location = Location::new(address);
        // Display leaves out a password, which must not get into an image.
        let line = matches!(location, Location::Url(_)).then(|| location.to_string());
        let branch = address.trim_end_matches('/').rsplit('/').nth(1).filter(|name| is_branch(name)).map(str::to_owned);
        Ok(RepositorySource { location, line, tag, branch, is_own: false })
    });
    own.into_iter().map(Ok).chain(further).collect()
}
