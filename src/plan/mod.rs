//! The plan: what an image must contain and how it starts, before any package is chosen.

pub mod alpine;
pub mod debian;

use std::collections::BTreeMap;

use crate::{
    apk, deb,
    error::{Explain, Kind},
    glob::{Pattern, PatternSet},
    image::{Configuration, PATH, Platform, timestamp},
    lang::Language,
    project::Project,
    recipe::{BasePackages, Recipe, RecipeError},
    request::Request,
    rootfs::{ApkSettings, Settings},
    values::{Base, Distribution, User},
};

/// The plan of a build. See the module's documentation.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The base of the root filesystem; for Debian, with its suite.
    pub base: Base,
    /// The images to make.
    pub platforms: Vec<Platform>,
    /// The sources of packages, and the requested packages.
    pub wanted: Wanted,
    /// Dependencies that are left out on purpose.
    pub drop: Drop,
    /// Paths of packages that are left out.
    pub strip: PatternSet,
    /// The package whose version is the runtime's.
    pub version_from: Option<Pattern>,
    /// The command, environment and metadata of the image.
    pub configuration: Configuration,
    /// The package that is added because the app's command needs a shell.
    pub shell: Option<&'static str>,
    /// Whether it is the dev variant, which is not published.
    pub is_dev: bool,
}

/// Dependencies that are left out on purpose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drop {
    /// Left out among the dependencies of the recipe's own packages.
    pub own: Vec<String>,
    /// Left out among the dependencies of all requested packages.
    pub all: Vec<String>,
}

/// The sources of packages, and the requested packages.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// Alpine's.
    Alpine(alpine::AlpineWanted),
    /// Debian's.
    Debian(debian::DebianWanted),
}

/// The error of a plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The recipe has no packages for the base.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// A package's name cannot be read.
    #[error("package to install: {0}")]
    Package(#[from] apk::dependency::ParseDependencyError),
    /// A Debian package's name cannot be read.
    #[error("package to install: {0}")]
    DebianPackage(#[from] deb::solve::ParsePackageRequestError),
    /// A repository cannot be read.
    #[error("expected a repository (`URL`, a folder, or `@TAG URL`), found `{0}`")]
    Repository(String),
    /// A key cannot be read.
    #[error(transparent)]
    Key(#[from] apk::key::KeyError),
    /// No source for Debian's packages is known.
    #[error(transparent)]
    Sources(#[from] deb::sources::SourcesError),
    /// The distribution has no such architecture.
    #[error("expected a platform that {distribution} is built for, found {platform}")]
    Platform {
        /// Alpine or Debian.
        distribution: &'static str,
        /// The requested platform.
        platform: Platform,
        /// The platforms that it is built for.
        known: Vec<&'static str>,
    },
    /// No command is known.
    #[error("the image has no command: recipe {0} has neither entrypoint nor cmd")]
    NoCommand(String),
}

impl Explain for PlanError {
    fn kind(&self) -> Kind {
        match self {
            Self::Recipe(e) => e.kind(),
            Self::Key(e) => e.kind(),
            Self::Sources(e) => e.kind(),
            Self::Package(_)
            | Self::DebianPackage(_)
            | Self::Repository(_)
            | Self::Platform { .. }
            | Self::NoCommand(_) => Kind::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Recipe(e) => e.hint(),
            Self::Key(e) => e.hint(),
            Self::Sources(e) => e.hint(),
            Self::Package(_) => Some("-p takes what `apk add` takes: curl, nodejs~22, 'openssl>3.5', tool@edge".into()),
            Self::DebianPackage(_) => Some("-p takes what `apt-get install` takes: curl, nodejs=18.20.4+dfsg-1".into()),
            Self::Repository(_) => Some("--repository takes what a line of /etc/apk/repositories has".into()),
            Self::Platform { known, .. } => Some(format!("known: {}", known.join(", "))),
            Self::NoCommand(_) => Some("set it with --cmd or --entrypoint".into()),
        }
    }
}

/// The name in `known` (Go's platforms, with a distribution's names for their architectures) for `platform`.
fn architecture_of(
    platform: &Platform,
    distribution: &'static str,
    known: &[(&'static str, &'static str)],
) -> Result<&'static str, PlanError> {
    // As in containerd: arm64's only variant may be left out, and arm without a variant is v7.
    let name = match platform.to_string().as_str() {
        "linux/arm64/v8" => "linux/arm64".to_owned(),
        "linux/arm" => "linux/arm/v7".to_owned(),
        name => name.to_owned(),
    };
    let found = known.iter().find(|(platform, _)| *platform == name);
    found.map(|(_, arch)| *arch).ok_or_else(|| PlanError::Platform {
        distribution,
        platform: platform.clone(),
        known: known.iter().map(|(platform, _)| *platform).collect(),
    })
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
    /// Makes the plan of `request` with this recipe and this project.
    ///
    /// # Errors
    /// When the recipe has no packages for the base, or a package, repository or platform cannot be read; when no
    /// source for Debian's packages is known.
    pub fn new(request: &Request, recipe: &Recipe, project: &Project) -> Result<Self, PlanError> {
        let packages = recipe.packages(&request.base)?;
        let shell = project.shell.as_ref().and_then(|_| shell(&request.base, &packages.packages, &request.packages));
        let own = packages.packages.iter().cloned().chain(shell.map(str::to_owned));
        let asked: Vec<String> = own.chain(request.packages.iter().cloned()).collect();
        let (base, wanted) =
            wanted(request, &request.base, &asked, packages.packages.len() + usize::from(shell.is_some()))?;
        let unneeded = shell.map_or([].as_slice(), |_| DROP_OF_SHELL).iter().map(|name| (*name).to_owned());
        request.platforms.iter().try_for_each(|platform| wanted.check(platform))?;
        let configuration = configuration(request, recipe, project);
        Ok(Self {
            platforms: request.platforms.clone(),
            wanted,
            drop: Drop { own: packages.drop.iter().cloned().chain(unneeded).collect(), all: Vec::new() },
            strip: with_shell(recipe.strip(&base), shell),
            version_from: version_from(recipe, packages),
            configuration,
            base,
            shell,
            is_dev: false,
        })
    }

    /// The distribution's name for the processor of `platform`, or Go's where the distribution is not built for it.
    pub fn arch<'p>(&self, platform: &'p Platform) -> &'p str {
        let arch = match &self.wanted {
            Wanted::Alpine(_) => alpine::architecture(platform),
            Wanted::Debian(_) => debian::architecture(platform),
        };
        arch.unwrap_or(&platform.architecture)
    }

    /// Checks that the plan has a command, unless the image needs none.
    ///
    /// # Errors
    /// When it has none.
    pub fn check_command(&self, recipe: &Recipe) -> Result<(), PlanError> {
        let is_there = recipe.language.is_some_and(Language::is_finished)
            || !self.configuration.entrypoint.is_empty()
            || !self.configuration.cmd.is_empty();
        if is_there { Ok(()) } else { Err(PlanError::NoCommand(recipe.name.clone())) }
    }

    /// Makes the plan of the dev variant for `project`: the image's packages and the recipe's tools, with its compilers
    /// when `compiles` is set. It is always for this machine's processor.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub fn dev(request: &Request, recipe: &Recipe, project: &Project, compiles: bool) -> Result<Self, PlanError> {
        let base = request.base.dev();
        let packages = recipe.packages(&base)?;
        let compile = packages.compile.iter().filter(|_| compiles);
        let asked = packages.packages.iter().chain(&packages.dev).chain(compile).chain(&request.packages);
        let asked = asked.chain(&request.dev_packages);
        let (base, wanted) = wanted(request, &base, &asked.cloned().collect::<Vec<_>>(), packages.packages.len())?;
        let platform = host_platform();
        wanted.check(&platform)?;
        Ok(Self {
            platforms: vec![platform],
            wanted,
            drop: Drop { own: packages.drop.clone(), all: packages.dev_drop.clone() },
            strip: PatternSet::default(),
            version_from: version_from(recipe, packages),
            configuration: configuration(request, recipe, project),
            base,
            shell: None,
            is_dev: true,
        })
    }

    /// The options for a root filesystem of packages for the architecture `arch` of the distribution's release
    /// `release`.
    ///
    /// # Errors
    /// When a key for the image cannot be read.
    pub fn rootfs(&self, arch: &str, release: &str) -> Result<Settings, PlanError> {
        let apk = match &self.wanted {
            Wanted::Alpine(wanted) => wanted.settings(arch, self.base.shell)?,
            Wanted::Debian(_) => ApkSettings::default(),
        };
        Ok(Settings {
            apk,
            arch: arch.to_owned(),
            release: release.to_owned(),
            workdir: self.configuration.workdir.trim_matches('/').to_owned(),
            strip: self.strip.clone(),
            epoch: self.configuration.created,
            libraries: (!self.is_dev).then(|| self.library_path()),
        })
    }
}

impl Plan {
    /// Turns the plan of the dev variant into one of an image for tools: they run as root, without the runtime's
    /// variables.
    pub fn for_tools(&mut self, request: &Request) {
        let configuration = &mut self.configuration;
        configuration.env =
            BTreeMap::from([("LANG", "C.UTF-8"), ("PATH", PATH)].map(|(k, v)| (k.to_owned(), v.to_owned())));
        configuration.env.extend(request.env.clone());
        configuration.user = request.user.clone().unwrap_or(User::ROOT).to_string();
        if configuration.cmd.is_empty() && configuration.entrypoint.is_empty() {
            configuration.cmd = vec!["/bin/sh".to_owned()];
        }
    }

    /// The folders in the image's LD_LIBRARY_PATH.
    pub fn library_path(&self) -> Vec<String> {
        let value = self.configuration.env.get("LD_LIBRARY_PATH").map_or("", String::as_str);
        value.split(':').filter(|folder| !folder.is_empty()).map(str::to_owned).collect()
    }
}

impl Wanted {
    fn check(&self, platform: &Platform) -> Result<(), PlanError> {
        match self {
            Self::Alpine(_) => alpine::architecture(platform).map(drop),
            Self::Debian(_) => debian::architecture(platform).map(drop),
        }
    }
}

/// What Debian's dash depends on for its maintainer scripts, which are not run here.
const DROP_OF_SHELL: &[&str] = &["debianutils", "dpkg", "libdebconfclient0"];

/// What is left out, less the shell that was added.
fn with_shell(strip: PatternSet, shell: Option<&str>) -> PatternSet {
    let taken = ["!/usr/bin/dash", "!/usr/bin/sh"].into_iter().filter(|_| shell.is_some());
    let taken = taken.filter_map(|pattern| pattern.parse().ok());
    PatternSet::new(strip.iter().cloned().chain(taken).collect())
}

/// The package with the smallest `/bin/sh` of `base` (dash has 0.2 MB, busybox 0.9), unless one of the packages in `own`
/// and `further` brings one. Alpine's own shell is busybox, which its base has.
fn shell(base: &Base, own: &[String], further: &[String]) -> Option<&'static str> {
    let is_shell = |name: &String| match &base.distribution {
        Distribution::Alpine(_) => name.ends_with("-binsh"),
        Distribution::Debian(_) => matches!(name.as_str(), "dash" | "busybox" | "busybox-static"),
    };
    let package = match base.name() {
        "alpine" => "busybox-binsh",
        "scratch" => "dash-binsh",
        _ => "dash",
    };
    (!own.iter().chain(further).any(is_shell)).then_some(package)
}

/// Reads the packages `asked` for on `base`, and completes the base with the suite or release. The first `own` packages
/// are the recipe's runtime.
fn wanted(request: &Request, base: &Base, asked: &[String], own: usize) -> Result<(Base, Wanted), PlanError> {
    match &base.distribution {
        Distribution::Alpine(release) => {
            Ok((base.clone(), Wanted::Alpine(alpine::AlpineWanted::new(request, release, asked)?)))
        }
        Distribution::Debian(suite) => {
            let wanted = debian::DebianWanted::new(request, suite.as_ref(), asked, own)?;
            let distribution = Distribution::Debian(Some(wanted.suite.clone()));
            Ok((Base { distribution, ..base.clone() }, Wanted::Debian(wanted)))
        }
    }
}

/// The package whose version is the runtime's. The base's own name for it counts first.
fn version_from(recipe: &Recipe, packages: &BasePackages) -> Option<Pattern> {
    packages.version_from.clone().or_else(|| recipe.version_from.clone())
}

fn configuration(request: &Request, recipe: &Recipe, project: &Project) -> Configuration {
    let mut env = BTreeMap::from([("PATH".to_owned(), PATH.to_owned())]);
    for variables in [&recipe.env, &project.env, &request.env] {
        env.extend(variables.clone());
    }
    let mut ports: Vec<_> = recipe.port.iter().chain(&project.ports).chain(&request.ports).collect();
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

/// The app's annotations, with the names of the OCI image specification ("Annotations"). There is no `base.name`: it is
/// the reference of an image, and a base of packages is not an image.
fn annotations(request: &Request, project: &Project) -> BTreeMap<String, String> {
    let known = [
        ("created", Some(timestamp(request.epoch))),
        ("title", project.title.clone()),
        ("version", project.version.clone()),
        ("revision", project.revision.clone()),
        ("source", project.source.clone()),
    ];
    let mut annotations: BTreeMap<_, _> = known
        .into_iter()
        .filter_map(|(name, value)| Some((format!("org.opencontainers.image.{name}"), value?)))
        .collect();
    annotations.extend(request.annotations.clone());
    annotations
}
