//! A build as flags, environment and files describe it, with the tools that it needs.

use std::path::{Path, PathBuf};

use super::{
    CliError,
    args::{BuildOptions, SetupOptions},
    http, recipe_search, store,
};
use crate::{
    config::{
        self, AppConfig, BuildStepOptions, CommonOptions, ContentsOptions, DeliveryOptions, ImageOptions,
        MachineOptions, Merge as _, NetworkOptions,
    },
    fetch::Fetcher,
    glob::Pattern,
    host::Host,
    http::Http,
    plan::host_platform,
    recipe::{Recipe, Trust},
    registry::Reference,
    request::{ContainerOptions, HealthOptions, Request, StepOptions},
    sink::{self, Output},
    store,
    ui::Ui,
    values::{BuildWish, Pair, Timestamps},
};

/// What is built, and what is done with the image.
pub(crate) struct Job {
    pub(crate) request: Request,
    pub(crate) recipe: Recipe,
    pub(crate) tags: Vec<String>,
    pub(crate) push: bool,
    pub(crate) pushing: sink::registry::Options,
    pub(crate) outputs: Vec<Output>,
    pub(crate) json: bool,
    pub(crate) metadata_file: Option<PathBuf>,
    pub(crate) cache_dir: Option<PathBuf>,
    pub(crate) offline: bool,
    allow_rollback: bool,
    pub(crate) network: NetworkOptions,
    pub(crate) ui: Ui,
}

/// The HTTP client and the store of a job. While it lives, `gc` waits.
pub(crate) struct Tools {
    pub(crate) http: Http,
    pub(crate) fetcher: Fetcher,
    _in_use: store::FileLock,
}

impl Job {
    pub(crate) fn new(host: &Host, recipe: Option<&str>, app: &Path, options: BuildOptions) -> Result<Self, CliError> {
        Self::with(host, recipe, app, options, AppConfig::read(app)?)
    }

    /// The build of `app` that `options` ask for and, where they say nothing, the app's `file`. Nothing is taken out of an option
    /// group with `..`, so that an option without a use does not compile.
    pub(crate) fn with(
        host: &Host,
        recipe: Option<&str>,
        app: &Path,
        options: BuildOptions,
        file: AppConfig,
    ) -> Result<Self, CliError> {
        let BuildOptions { delivery, build, mut image, pushing, setup } = options;
        if image.timestamps.is_none() {
            image.timestamps = source_date_epoch(host)?.map(Timestamps::At);
        }
        let SetupOptions { contents, machine, network, common } = setup;
        let ui = super::ui(&common);
        let recipe = find_recipe(host, recipe.or(file.recipe.as_deref()), app, recipe.is_none(), &machine, &ui)?;
        let DeliveryOptions { tag, push, output, metadata_file } = delivery;
        let CommonOptions { cache_dir, json, progress: _, quiet: _, verbose: _ } = common;
        let (allow_rollback, offline) = (is_on(machine.allow_rollback), is_on(machine.offline));
        let options = (contents.over(file.contents), build.over(file.build), image.over(file.image));
        let mut request = request(host, app, &recipe, options, machine, &network)?;
        let written =
            output.iter().filter_map(Output::path).chain(metadata_file.as_deref()).chain(cache_dir.as_deref());
        request.exclude.extend(written.filter_map(|path| pattern_of(path, app)));
        let (push, of_app) = (is_on(push), file.tag.iter().map(ToString::to_string).collect::<Vec<_>>());
        if push && tag.is_empty() && !of_app.is_empty() {
            return Err(CliError::Usage {
                message: format!(
                    "no name to push the image to: the app's own {} has only local names (tag = {})",
                    config::FILE,
                    of_app.join(", ")
                ),
                hint: "-t registry.example/me/app:1 --push".into(),
            });
        }
        Ok(Self {
            request,
            recipe,
            tags: tag.over(of_app),
            push,
            pushing: pushing.options(),
            outputs: output,
            json: is_on(json),
            metadata_file,
            cache_dir,
            offline,
            allow_rollback,
            network,
            ui,
        })
    }

    /// The tools of the job.
    pub(crate) fn tools(&self) -> Result<Tools, CliError> {
        let store = store(&self.request.host, self.cache_dir.as_deref())?;
        let in_use = store.lock_shared()?;
        let http = http(&self.network, self.offline, &self.ui)?;
        let fetcher = Fetcher::new(http.clone(), store, self.ui.clone(), self.offline);
        let fetcher = fetcher.allowing_rollback(self.allow_rollback);
        Ok(Tools { http, fetcher, _in_use: in_use })
    }

    /// Refuses names that the image cannot be kept or pushed under.
    pub(crate) fn check_names(&self) -> Result<(), CliError> {
        if self.push && self.tags.is_empty() {
            return Err(CliError::Usage {
                message: "--push needs a name to push the image to".into(),
                hint: "-t registry.example/me/app:1 --push".into(),
            });
        }
        if self.push && self.offline {
            return Err(CliError::Usage {
                message: "--push needs the network, --offline forbids it".into(),
                hint: "build with --offline, then `microbuild push IMAGE REF`".into(),
            });
        }
        if !self.push && (self.pushing.force || self.pushing.verify) {
            return Err(CliError::Usage {
                message: "--force and --verify need --push: they say how an image is pushed".into(),
                hint: "leave them out, or add --push; `microbuild gc --all` makes a build start anew".into(),
            });
        }
        parse_all(&self.tags).map(drop)
    }
}

/// A pattern that excludes `path`, which a build writes, from the `app`, so that the next build makes the same image; `None` outside of
/// the app.
fn pattern_of(path: &Path, app: &Path) -> Option<Pattern> {
    let app = std::fs::canonicalize(app).ok()?;
    let path = std::path::absolute(path).ok()?;
    let folder = std::fs::canonicalize(path.parent()?).ok()?;
    let inside = folder.join(path.file_name()?).strip_prefix(&app).ok()?.to_str()?.to_owned();
    let special = |c: char| matches!(c, '*' | '?' | '[' | '\\' | '!');
    let escaped = inside.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c]));
    format!("/{}", escaped.collect::<String>()).parse().ok()
}

/// The recipe: the one that the user names, else the one that the app names (`is_of_app`), else the one that recognizes the app's files.
fn find_recipe(
    host: &Host,
    name: Option<&str>,
    app: &Path,
    is_of_app: bool,
    machine: &MachineOptions,
    ui: &Ui,
) -> Result<Recipe, CliError> {
    let search = recipe_search(host, app, trust(app, machine));
    let recipe = match name {
        Some(name) if is_of_app => search.find_for_app(name)?,
        Some(name) => search.find(name)?,
        None => {
            let found = search.detect(app)?;
            ui.detail(&format!("recipe {} recognizes {}", found.recipe.name, found.files.join(", ")));
            if let Some(parts) = found.parts_line() {
                ui.say(&parts);
            }
            found.recipe
        }
    };
    if let Some(path) = recipe.origin.file() {
        ui.say(&format!("recipe {} from {}", recipe.name, path.display()));
    }
    let not_passed = recipe.not_passed.iter().filter(|name| host.variable_os(name).is_some());
    let not_passed: Vec<&str> = not_passed.map(String::as_str).collect();
    if !not_passed.is_empty() {
        ui.warn(&format!(
            "`pass` is ignored in an app's own recipe: its steps do not get {} (--secret id=NAME passes a variable)",
            not_passed.join(", ")
        ));
    }
    Ok(recipe)
}

/// Whether recipes from `app`'s folder are used.
fn trust(app: &Path, options: &MachineOptions) -> Trust {
    match options.trust {
        Some(true) => Trust::Yes,
        Some(false) => Trust::No,
        None if config::is_trusted(app, &options.trusted) => Trust::Yes,
        None => Trust::Ask,
    }
}

/// The names as references, of which each names a registry or means Docker Hub.
pub(crate) fn parse_all(names: &[String]) -> Result<Vec<Reference>, CliError> {
    names.iter().map(|name| Ok(name.parse()?)).collect()
}

/// A switch that nothing turned on is off.
pub(crate) fn is_on(switch: Option<bool>) -> bool {
    switch.unwrap_or(false)
}

/// What is to be built.
fn request(
    host: &Host,
    app: &Path,
    recipe: &Recipe,
    (contents, build, image): (ContentsOptions, BuildStepOptions, ImageOptions),
    machine: MachineOptions,
    network: &NetworkOptions,
) -> Result<Request, CliError> {
    let ContentsOptions { base, package, dev_package, deps, ignore_scripts } = contents;
    let ImageOptions {
        mut platform,
        include,
        exclude,
        keep,
        compression,
        max_size,
        spa,
        env,
        entrypoint,
        cmd,
        process,
        workdir,
        user,
        port,
        writable,
        volume,
        stop_signal,
        init,
        health_cmd,
        health_interval,
        health_timeout,
        health_start_period,
        health_retries,
        timestamps,
        source,
        label,
        annotation,
    } = image;
    let MachineOptions {
        trust: _,
        trusted: _,
        secret,
        shared_cache,
        runtime,
        mirror,
        keys,
        repository,
        allow_rollback: _,
        offline,
    } = machine;
    let NetworkOptions { ca, insecure: _ } = network;
    // The last of several pairs with one key counts.
    let table = |pairs: Vec<Pair>| pairs.into_iter().map(|pair| (pair.key, pair.value)).collect();
    let mut seen = std::collections::BTreeSet::new();
    platform.retain(|platform| seen.insert(platform.clone()));
    if platform.is_empty() {
        platform.push(host_platform());
    }
    let offline = is_on(offline);
    Ok(Request {
        host: host.clone(),
        app: app.to_owned(),
        fallback: base.is_none()
            && mirror.is_none()
            && !offline
            && !is_ci(host)
            && keys.is_empty()
            && repository.is_empty(),
        base: base.or_else(|| recipe.base.default.clone()).unwrap_or_default(),
        platforms: platform,
        mirror,
        keys,
        repositories: repository,
        packages: package,
        dev_packages: dev_package,
        compression: compression.unwrap_or_default(),
        step: StepOptions {
            secrets: secret,
            ignore_scripts: is_on(ignore_scripts),
            shared_cache: is_on(shared_cache),
            offline,
            runtime,
            ca: ca.clone(),
        },
        deps: deps.unwrap_or_default(),
        build: BuildWish { run: build.run, output: build.output, env: table(build.env), single_page: spa },
        env: table(env),
        entrypoint,
        cmd,
        process,
        workdir,
        user,
        ports: port,
        labels: table(label),
        annotations: table(annotation),
        include,
        exclude,
        keep,
        max_size,
        container: ContainerOptions {
            writable,
            volumes: volume,
            stop_signal,
            init,
            health: HealthOptions {
                command: health_cmd,
                interval: health_interval,
                timeout: health_timeout,
                start_period: health_start_period,
                retries: health_retries,
            },
        },
        timestamps,
        source: is_on(source),
    })
}

/// Whether this is a CI system, nearly all of which set CI: its builds must not depend on which mirror is reachable.
fn is_ci(host: &Host) -> bool {
    host.variable("CI").is_some_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}

/// SOURCE_DATE_EPOCH (reproducible-builds.org).
fn source_date_epoch(host: &Host) -> Result<Option<u64>, CliError> {
    let Some(text) = host.variable("SOURCE_DATE_EPOCH") else { return Ok(None) };
    match text.trim().parse() {
        Ok(Timestamps::At(seconds)) => Ok(Some(seconds)),
        _ => Err(CliError::Usage {
            message: format!("expected seconds since 1970 in SOURCE_DATE_EPOCH, found `{text}`"),
            hint: "SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)".into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_build_writes_into_the_app_is_left_out_of_it() {
        let app = tempfile::tempdir().expect("a temporary folder");
        let pattern = pattern_of(&app.path().join("out*[1]"), app.path()).expect("inside");
        assert!(pattern.matches("out*[1]"), "{pattern}");
        assert!(!pattern.matches("out1"), "{pattern}");
        assert!(!pattern.matches("folder/out*[1]"), "{pattern}");
        assert_eq!(pattern_of(&app.path().join("../out"), app.path()), None);
        assert_eq!(pattern_of(Path::new("/dev/null"), app.path()), None);
    }

    #[test]
    fn scratch_of_a_release_takes_the_packages_of_that_release() {
        use crate::{plan::alpine, recipe::RecipeSearch, values::Distribution};
        let recipe = RecipeSearch::default().find("node").expect("built in");
        let host = Host::new([], Path::new("/"));
        for (base, expected) in [("scratch", "v3.23"), ("scratch:3.22", "v3.22"), ("alpine:3.22", "v3.22")] {
            let contents = ContentsOptions { base: base.parse().ok(), ..ContentsOptions::default() };
            let options = (contents, BuildStepOptions::default(), ImageOptions::default());
            let (machine, network) = (MachineOptions::default(), NetworkOptions::default());
            let request = request(&host, Path::new("."), &recipe, options, machine, &network).expect("a request");
            let Distribution::Alpine(release) = &request.base.distribution else { panic!("{base}") };
            let wanted = alpine::AlpineWanted::new(&request, release, &[]).expect("repositories");
            let lines: Vec<_> = wanted.repositories.into_iter().filter_map(|repository| repository.line).collect();
            let expected =
                ["main", "community"].map(|name| format!("{}/{expected}/{name}", crate::request::DEFAULT_MIRROR));
            assert_eq!(lines, expected, "{base}");
        }
    }
}
