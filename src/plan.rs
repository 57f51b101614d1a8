//! What an image must contain and how it is started, before any package is chosen.

use std::collections::BTreeMap;

use crate::{
    apk::{
        dependency::{Dependency, ParseDependencyError},
        key::{KeyError, KeyRing},
    },
    config::Base,
    error::{Explain, Kind},
    fetch::Location,
    glob::PatternSet,
    image::{Configuration, Platform, timestamp},
    lock::{Lock, wishes},
    project::Project,
    recipe::{Recipe, RecipeError},
    request::{DEFAULT_MIRROR, Request},
    rootfs::Settings,
};

/// The search path of every image that sets none.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is to be built. See the module's documentation.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where the root filesystem starts.
    pub base: Base,
    /// The folder of a mirror with the release: `v3.23`.
    pub branch: String,
    /// The images to make.
    pub platforms: Vec<Platform>,
    /// Where packages come from, in the order of preference.
    pub repositories: Vec<RepositorySource>,
    /// The packages that are asked for.
    pub world: Vec<Dependency>,
    /// Dependencies that are knowingly left out.
    pub drop: Vec<String>,
    /// Paths of packages that are left out.
    pub strip: PatternSet,
    /// The package whose version counts as the runtime's.
    pub version_from: Option<String>,
    /// What the image is started with.
    pub configuration: Configuration,
}

/// A repository: a folder with a folder for each architecture below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositorySource {
    /// Where it is fetched from.
    pub location: Location,
    /// Its line in the image's `/etc/apk/repositories`: Alpine's own address, whatever mirror it was fetched from, so that
    /// the image does not depend on the mirror. `None` for a folder of this machine.
    pub line: Option<String>,
    /// Its tag, when it serves only what is pinned to it.
    pub tag: Option<String>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The recipe does not know the base.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// A package's name cannot be read.
    #[error("package to install: {0}")]
    Package(#[from] ParseDependencyError),
    /// A repository cannot be read.
    #[error("expected a repository (`URL`, a folder, or `@TAG URL`), found `{0}`")]
    Repository(String),
    /// A key cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Alpine has no such architecture.
    #[error("expected a platform that Alpine is built for, found {0}")]
    Platform(Platform),
    /// Nothing says what is to be started.
    #[error("the image would not know what to start: recipe {0} names neither entrypoint nor cmd")]
    NoCommand(String),
}

impl Explain for PlanError {
    fn kind(&self) -> Kind {
        match self {
            Self::Recipe(e) => e.kind(),
            Self::Key(e) => e.kind(),
            _ => Kind::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Recipe(e) => e.hint(),
            Self::Key(e) => e.hint(),
            Self::Package(_) => Some("-p takes what `apk add` takes: curl, nodejs~22, 'openssl>3.5', tool@edge".into()),
            Self::Repository(_) => Some("--repository takes what a line of /etc/apk/repositories has".into()),
            Self::Platform(_) => Some(format!("known: {}", PLATFORMS.map(|(platform, _)| platform).join(", "))),
            Self::NoCommand(_) => Some("--cmd or --entrypoint names it".into()),
        }
    }
}

/// Go's platforms and apk's words for their architectures.
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

/// apk's word for the architecture of `platform`.
///
/// # Errors
/// When Alpine has none.
pub fn architecture(platform: &Platform) -> Result<&'static str, PlanError> {
    // arm64's only variant goes without saying, arm without one is v7: as containerd has it.
    let name = match platform.to_string().as_str() {
        "linux/arm64/v8" => "linux/arm64".to_owned(),
        "linux/arm" => "linux/arm/v7".to_owned(),
        name => name.to_owned(),
    };
    let known = PLATFORMS.iter().find(|(platform, _)| *platform == name);
    known.map(|(_, arch)| *arch).ok_or_else(|| PlanError::Platform(platform.clone()))
}

/// The platform of this machine, with Linux as its system.
pub fn host_platform() -> Platform {
    let (architecture, variant) = match std::env::consts::ARCH {
        "x86_64" => ("amd64", None),
        "aarch64" => ("arm64", None),
        "x86" => ("386", None),
        "arm" => ("arm", Some("v7".to_owned())),
        "powerpc64" => ("ppc64le", None),
        "loongarch64" => ("loong64", None),
        other => (other, None),
    };
    Platform { os: "linux".into(), architecture: architecture.into(), variant }
}

impl Plan {
    /// What `request` comes to with this recipe and this project.
    ///
    /// # Errors
    /// When the recipe does not know the base, or a package, repository or platform cannot be understood.
    pub fn new(request: &Request, recipe: &Recipe, project: &Project) -> Result<Self, PlanError> {
        let packages = recipe.packages(&request.base)?;
        let asked: Vec<String> = packages.packages.iter().chain(&request.packages).cloned().collect();
        for platform in &request.platforms {
            architecture(platform)?;
        }
        let configuration = configuration(request, recipe, project);
        if configuration.entrypoint.is_empty() && configuration.cmd.is_empty() {
            return Err(PlanError::NoCommand(recipe.name.clone()));
        }
        Ok(Self {
            base: request.base.clone(),
            branch: request.base.release().branch(),
            platforms: request.platforms.clone(),
            repositories: repositories(request)?,
            world: wishes(&asked)?,
            drop: packages.drop.clone(),
            strip: recipe.strip(&request.base),
            version_from: recipe.version_from.clone(),
            configuration,
        })
    }

    /// The dev variant in which `project`'s dependencies are installed and its tests are run: what the image has, and the
    /// recipe's tools besides; always for this machine's processor.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub fn dev(request: &Request, recipe: &Recipe, project: &Project) -> Result<Self, PlanError> {
        let base = Recipe::dev_base(&request.base);
        let packages = recipe.packages(&base)?;
        let compiles = project.install.as_ref().is_some_and(|install| !install.scripts.is_empty());
        let compile = packages.compile.iter().filter(|_| compiles && !request.step.ignore_scripts);
        let asked = packages.packages.iter().chain(&packages.dev).chain(compile).chain(&request.packages);
        let platform = host_platform();
        architecture(&platform)?;
        Ok(Self {
            branch: base.release().branch(),
            base,
            platforms: vec![platform],
            repositories: repositories(request)?,
            world: wishes(&asked.cloned().collect::<Vec<_>>())?,
            drop: packages.drop.clone(),
            strip: PatternSet::default(),
            version_from: recipe.version_from.clone(),
            configuration: configuration(request, recipe, project),
        })
    }

    /// The keys that vouch for packages of `arch`: Alpine's own and those that the request names.
    ///
    /// # Errors
    /// When one of these cannot be read.
    pub fn keys(request: &Request, arch: &str) -> Result<KeyRing, PlanError> {
        let mut keys = KeyRing::alpine(arch);
        request.keys.iter().try_for_each(|path| keys.add_path(path))?;
        Ok(keys)
    }

    /// How the root filesystem is made out of `lock`'s packages.
    pub fn rootfs(&self, lock: &Lock, keys: &KeyRing) -> Settings {
        let tagged = |tag: &Option<String>| tag.as_ref().map_or_else(String::new, |tag| format!("@{tag} "));
        let lines = self.repositories.iter().filter_map(|r| Some(format!("{}{}", tagged(&r.tag), r.line.as_ref()?)));
        Settings {
            world: self.world.iter().map(ToString::to_string).collect(),
            repositories: lines.collect(),
            keys: keys.files().map(|(name, pem)| (name.to_owned(), pem.to_owned())).collect(),
            arch: lock.arch.clone(),
            apk_configuration: self.base != Base::Scratch,
            release: lock.release.clone(),
            workdir: self.configuration.workdir.trim_matches('/').to_owned(),
            strip: self.strip.clone(),
            epoch: self.configuration.created,
        }
    }
}

fn repositories(request: &Request) -> Result<Vec<RepositorySource>, PlanError> {
    let mirror = Location::new(&request.mirror);
    let branch = request.base.release().branch();
    let own = ["main", "community"].map(|name| RepositorySource {
        location: mirror.join(&format!("{branch}/{name}")),
        line: Some(format!("{DEFAULT_MIRROR}/{branch}/{name}")),
        tag: None,
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
        // Display leaves out a password, which has no business in an image.
        let line = matches!(location, Location::Url(_)).then(|| location.to_string());
        Ok(RepositorySource { location, line, tag })
    });
    own.into_iter().map(Ok).chain(further).collect()
}

fn configuration(request: &Request, recipe: &Recipe, project: &Project) -> Configuration {
    let mut env = BTreeMap::from([("PATH".to_owned(), PATH.to_owned())]);
    for variables in [&recipe.env, &project.env, &request.env] {
        env.extend(variables.clone());
    }
    let mut ports: Vec<_> = recipe.port.iter().chain(&request.ports).collect();
    ports.sort();
    ports.dedup();
    Configuration {
        entrypoint: project.entrypoint.clone(),
        cmd: project.cmd.clone(),
        env,
        workdir: request.workdir.as_ref().unwrap_or(&recipe.app.workdir).as_str().to_owned(),
        user: request.user.as_ref().unwrap_or(&recipe.user).to_string(),
        ports: ports.iter().map(ToString::to_string).collect(),
        labels: request.labels.clone(),
        annotations: annotations(request, project),
        created: request.epoch,
    }
}

/// What is known of the app, under the names that the OCI image specification has for it ("Annotations").
fn annotations(request: &Request, project: &Project) -> BTreeMap<String, String> {
    let known = [
        ("created", Some(timestamp(request.epoch))),
        ("title", project.title.clone()),
        ("version", project.version.clone()),
        ("revision", project.revision.clone()),
        ("source", project.source.clone()),
        ("base.name", Some(request.base.to_string())),
    ];
    let mut annotations: BTreeMap<_, _> = known
        .into_iter()
        .filter_map(|(name, value)| Some((format!("org.opencontainers.image.{name}"), value?)))
        .collect();
    annotations.extend(request.annotations.clone());
    annotations
}
