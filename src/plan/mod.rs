//! The plan: what an image must contain and how it starts, before any package is chosen.

pub mod alpine;
mod container;
pub mod debian;
mod times;

use std::collections::BTreeMap;

use crate::{
    apk, deb,
    error::{Explain, Kind},
    glob::{Pattern, PatternSet},
    image::{Configuration, PATH, Platform, timestamp},
    lang::Language,
    listing::Placed,
    project::{Checkout, Project},
    recipe::{BasePackages, Recipe, RecipeError, RolePackages},
    request::Request,
    rootfs::{ApkSettings, Settings},
    values::{Base, Distribution, Timestamps, User},
};

pub use times::ImageTimes;

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
    /// The user that the app runs as.
    pub user: User,
    /// The times of files.
    pub times: ImageTimes,
    /// What the user should know of it, each a line.
    pub warnings: Vec<String>,
    /// Files of the recipe in the image, by their paths below the root.
    pub placed: Vec<(String, Placed)>,
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
    /// Files are to have the time of a commit, and none is known; why.
    #[error("the time of the commit is unknown: {0}")]
    NoCommit(String),
    /// Times of a health check without its command.
    #[error("a health check has times, but no command")]
    NoHealthCommand,
    /// A health check over HTTP, and no program that could ask.
    #[error("recipe {recipe} has no program on this base that could ask {url}")]
    NoProbe {
        /// The recipe.
        recipe: String,
        /// What would be asked.
        url: String,
    },
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
            | Self::NoCommand(_)
            | Self::NoCommit(_)
            | Self::NoHealthCommand
            | Self::NoProbe { .. } => Kind::Usage,
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
            Self::NoCommit(_) => {
                Some("--timestamps content derives times from the files, --timestamps SECONDS sets one".into())
            }
            Self::NoHealthCommand => Some("add --health-cmd COMMAND, or --health-cmd :8080/".into()),
            Self::NoProbe { .. } => {
                Some("--base alpine has one; or name a command, such as --health-cmd './app --check'".into())
            }
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
        let (mut own, more) = of_project(packages, project);
        let mut strip = recipe.strip(&request.base);
        if container::has_init(request, recipe) {
            own.push(container::TINI.to_owned());
            strip = PatternSet::new(strip.iter().cloned().chain(container::TINI_STATIC.parse().ok()).collect());
        }
        let shell = project.shell.as_ref().and_then(|_| shell(&request.base, &own, &request.packages));
        own.extend(shell.map(str::to_owned));
        let asked: Vec<String> = own.iter().chain(&more).chain(&request.packages).cloned().collect();
        let (base, wanted) = wanted(request, &request.base, &asked, own.len())?;
        let unneeded = shell.map_or([].as_slice(), |_| DROP_OF_SHELL).iter().map(|name| (*name).to_owned());
        request.platforms.iter().try_for_each(|platform| wanted.check(platform))?;
        let (times, times_warning) = ImageTimes::of(request, recipe, project)?;
        let (configuration, source_warning) = configuration(request, recipe, project, &times)?;
        Ok(Self {
            platforms: request.platforms.clone(),
            wanted,
            drop: Drop { own: packages.drop.iter().cloned().chain(unneeded).collect(), all: Vec::new() },
            strip: with_shell(&strip, shell),
            version_from: version_from(recipe, packages),
            configuration,
            user: user(request, recipe).clone(),
            times,
            warnings: times_warning.into_iter().chain(source_warning).collect(),
            base,
            placed: recipe.placed(&project.roles),
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
        // Steps run no server: they lack only what the app asks of its runtime.
        let (_, more) = of_project(packages, project);
        let asked = packages.packages.iter().chain(&packages.dev).chain(compile).chain(&more).chain(&request.packages);
        let asked = asked.chain(&request.dev_packages);
        let (base, wanted) = wanted(request, &base, &asked.cloned().collect::<Vec<_>>(), packages.packages.len())?;
        let platform = host_platform();
        wanted.check(&platform)?;
        let request = &Self::request_for_dev(request, &base);
        let (times, _) = ImageTimes::of(request, recipe, project)?;
        let (configuration, _) = configuration(request, recipe, project, &times)?;
        Ok(Self {
            platforms: vec![platform],
            wanted,
            drop: Drop { own: packages.drop.clone(), all: packages.dev_drop.clone() },
            strip: PatternSet::default(),
            version_from: version_from(recipe, packages),
            configuration,
            user: user(request, recipe).clone(),
            times,
            warnings: Vec::new(),
            base,
            placed: Vec::new(),
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
            epoch: self.times.packages,
            placed: self.placed.clone(),
            libraries: (!self.is_dev).then(|| self.library_path()),
        })
    }
}

impl Plan {
    /// `request` for the dev variant on `base`: none of the app's files are in it, and what starts there is a tool.
    fn request_for_dev(request: &Request, base: &Base) -> Request {
        let mut request = Request { base: base.clone(), ..request.clone() };
        request.timestamps = match request.timestamps {
            Some(Timestamps::At(seconds)) => Some(Timestamps::At(seconds)),
            _ => Some(Timestamps::Fixed),
        };
        request.container.init = Some(false);
        request
    }

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
fn with_shell(strip: &PatternSet, shell: Option<&str>) -> PatternSet {
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

/// The packages of a recipe for `project`: those of its runtime and its roles, and those that it asks of the runtime.
fn of_project(packages: &BasePackages, project: &Project) -> (Vec<String>, Vec<String>) {
    let named = |table: &BTreeMap<String, RolePackages>, names: &[String]| {
        names.iter().filter_map(|name| table.get(name)).flat_map(|packages| packages.0.clone()).collect::<Vec<_>>()
    };
    let mut own = packages.packages.clone();
    own.extend(named(&packages.roles, &project.roles));
    (own, named(&packages.extensions, &project.extensions))
}

/// The package whose version is the runtime's. The base's own name for it counts first.
fn version_from(recipe: &Recipe, packages: &BasePackages) -> Option<Pattern> {
    packages.version_from.clone().or_else(|| recipe.version_from.clone())
}

/// The user that the app runs as.
fn user<'a>(request: &'a Request, recipe: &'a Recipe) -> &'a User {
    request.user.as_ref().unwrap_or(&recipe.user)
}

/// The configuration; and a warning where it cannot be as it was asked for.
fn configuration(
    request: &Request,
    recipe: &Recipe,
    project: &Project,
    times: &ImageTimes,
) -> Result<(Configuration, Option<String>), PlanError> {
    let mut env = BTreeMap::from([("PATH".to_owned(), PATH.to_owned())]);
    for variables in [&recipe.env, &project.env, &request.env] {
        env.extend(variables.clone());
    }
    let mut ports: Vec<_> = recipe.port.iter().chain(&project.ports).chain(&request.ports).collect();
    ports.sort();
    ports.dedup();
    let workdir = request.workdir.as_ref().unwrap_or(&recipe.app.workdir).as_str();
    let (writable, volumes) = container::folders(request, workdir);
    let mut entrypoint = project.entrypoint.clone();
    if container::has_init(request, recipe) && !(entrypoint.is_empty() && project.cmd.is_empty()) {
        entrypoint.splice(..0, container::init(&request.base));
    }
    let (annotations, warning) = annotations(request, project, times);
    let configuration = Configuration {
        entrypoint,
        cmd: project.cmd.clone(),
        env,
        workdir: workdir.to_owned(),
        user: user(request, recipe).to_string(),
        ports: ports.iter().map(ToString::to_string).collect(),
        writable,
        volumes,
        stop_signal: request
            .container
            .stop_signal
            .as_ref()
            .or(recipe.app.stop_signal.as_ref())
            .map(ToString::to_string),
        health: container::health(request, recipe)?,
        labels: request.labels.clone(),
        annotations,
        created: times.created,
    };
    Ok((configuration, warning))
}

/// The app's annotations, with the names of the OCI image specification ("Annotations"). There is no `base.name`: it is
/// the reference of an image, and a base of packages is not an image. The commit is there only when it is asked for: a commit
/// that changes another app of the repository makes no other image of this one.
fn annotations(request: &Request, project: &Project, times: &ImageTimes) -> (BTreeMap<String, String>, Option<String>) {
    let (revision, warning) = match &project.checkout {
        _ if !request.source => (None, None),
        Checkout::Commit { changed, .. } => {
            let mark = if changed.is_empty() { "" } else { "-dirty" };
            (project.revision.as_ref().map(|revision| format!("{revision}{mark}")), None)
        }
        Checkout::Unreadable(why) => (
            None,
            Some(format!("the image does not name the commit, because it cannot be compared with the files: {why}")),
        ),
        Checkout::None => (None, None),
    };
    let source = project.source.clone().filter(|_| request.source);
    let known = [
        ("created", Some(timestamp(times.created))),
        ("title", project.title.clone()),
        ("version", project.version.clone()),
        ("revision", revision),
        ("source", source),
    ];
    let mut annotations: BTreeMap<_, _> = known
        .into_iter()
        .filter_map(|(name, value)| Some((format!("org.opencontainers.image.{name}"), value?)))
        .collect();
    annotations.extend(request.annotations.clone());
    (annotations, warning)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{
        host::Host,
        request::{ContainerOptions, StepOptions},
        values,
    };

    /// A request that leaves all to the recipe.
    pub(super) fn request() -> Request {
        Request {
            host: Host::new([], Path::new("/")),
            app: ".".into(),
            base: Base::default(),
            fallback: false,
            platforms: vec![host_platform()],
            mirror: None,
            keys: Vec::new(),
            repositories: Vec::new(),
            packages: Vec::new(),
            dev_packages: Vec::new(),
            compression: values::Compression::default(),
            deps: values::Deps::default(),
            build: values::BuildWish::default(),
            keep: Vec::new(),
            process: None,
            step: StepOptions::default(),
            env: BTreeMap::new(),
            entrypoint: None,
            cmd: None,
            workdir: None,
            user: None,
            ports: Vec::new(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            include: Vec::new(),
            exclude: Vec::new(),
            max_size: None,
            container: ContainerOptions::default(),
            timestamps: None,
            source: false,
        }
    }
}
