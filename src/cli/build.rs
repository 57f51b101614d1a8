//! The commands that build, or say what would be built.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Instant,
};

use super::{
    CliError,
    args::{BuildOptions, DeliveryOptions, SourceOptions},
    http, pretty, print, push_to,
    report::{self, Delivered},
    shelves, store,
};
use crate::{
    config::{self, AppConfig, Base, Pair},
    fetch::Fetcher,
    glob::Pattern,
    http::Http,
    image::Artifact,
    images::{self, LocalImages},
    lock::{Lock, Row},
    package::locked::Because,
    pipeline::{self, BuildError, Built},
    plan::host_platform,
    recipe::{Recipe, Trust},
    registry::Reference,
    request::{Request, Step},
    sink::{self, Output},
    store::{self, replace_file},
    ui::{self, Ui},
};

/// A build as the words, the environment and the file ask for it: what is to be made, and what is to be done with it.
pub(super) struct Job {
    pub(super) request: Request,
    pub(super) recipe: Recipe,
    tags: Vec<String>,
    push: bool,
    pushing: sink::registry::Options,
    outputs: Vec<Output>,
    json: bool,
    metadata_file: Option<PathBuf>,
    pub(super) cache_dir: Option<PathBuf>,
    pub(super) offline: bool,
    allow_rollback: bool,
    pub(super) network: super::NetworkOptions,
    pub(super) ui: Ui,
}

/// What a job works with, for as long as nobody may empty the store.
pub(super) struct Tools {
    http: Http,
    pub(super) fetcher: Fetcher,
    _in_use: store::FileLock,
}

/// `microbuild RECIPE [APP]`, `microbuild build [APP]`.
pub(super) fn build(recipe: Option<&str>, app: &Path, options: &BuildOptions) -> Result<(), CliError> {
    let job = Job::new(recipe, app, options)?;
    // Before anything is made: a name that cannot be pushed should not cost a build.
    job.check_names()?;
    let tools = job.tools()?;
    let built = pipeline::build(&job.request, &job.recipe, &tools.fetcher, &job.ui)?;
    let names = names(&job, &built);
    deliver(&job, built, &names, &tools)
}

/// `microbuild base RECIPE`.
pub(super) fn base(recipe: &str, dev: bool, options: &BuildOptions) -> Result<(), CliError> {
    // The app that lies here has nothing to say of an image without it.
    let app = Path::new(".");
    let job = Job::with(Some(recipe), app, options, &AppConfig::read(app)?.without_app())?;
    job.check_names()?;
    let tools = job.tools()?;
    let made = pipeline::base_image(&job.request, &job.recipe, dev, &tools.fetcher, &job.ui)?;
    let tags = version_tags(made.version.as_deref(), dev);
    let own = [job.recipe.name.clone()];
    let given = if job.tags.is_empty() { &own[..] } else { &job.tags };
    let names: Vec<String> = given.iter().flat_map(|name| images::with_tags(name, &tags)).collect();
    deliver(&job, made.built, &names, &tools)
}

/// The tags of a base image with that version of the language: `3.11.2`, `3.11` and `3`; `latest` when nothing is known of it.
fn version_tags(version: Option<&str>, dev: bool) -> Vec<String> {
    let Some(version) = version else { return vec![if dev { "dev" } else { "latest" }.to_owned()] };
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_') { c } else { '-' };
    let version: String = version.chars().map(plain).collect();
    let ends = version.match_indices('.').map(|(at, _)| at).take(2).chain([version.len()]);
    let mut tags: Vec<String> = ends.map(|end| version[..end].to_owned()).collect();
    tags.reverse();
    if dev { tags.iter().map(|tag| format!("{tag}-dev")).collect() } else { tags }
}

/// Keeps the image locally under `names`, pushes it and writes it where the job says.
fn deliver(job: &Job, mut built: Built, names: &[String], tools: &Tools) -> Result<(), CliError> {
    let store = tools.fetcher.store();
    let references = if job.push { parse_all(names)? } else { Vec::new() };
    let local = LocalImages::open(&images::default_dir()?)?;
    announce(&local, names, &built, job, store)?;
    let mut delivered = Delivered { reference: names[0].clone(), pushed: Vec::new() };
    let started = Instant::now();
    // Kept locally while it is pushed: the one waits for the disk, the other for the network. When the push fails,
    // nothing has to be built again.
    let (pushed, kept) = std::thread::scope(|scope| {
        let kept = scope.spawn(|| local.put(names, &built.artifact, &job.ui));
        let pushed = if job.push {
            push_to(&references, &built.artifact, job.pushing, &tools.http, store, &job.ui)
        } else {
            Ok(Vec::new())
        };
        (pushed, kept.join().unwrap_or_else(|e| std::panic::resume_unwind(e)))
    });
    if pushed.is_err() && kept.is_ok() {
        job.ui.say(&format!("the image is kept: `microbuild push {0} {0}` tries again", delivered.reference));
    }
    delivered.pushed = pushed?;
    kept?;
    for output in &job.outputs {
        sink::write(output, &built.artifact, names, &job.ui)?;
    }
    built.timings.push(("deliver", started.elapsed()));
    report(job, &built, names, &delivered)
}

/// Says which of `names` have meant another project's image until now: a folder that somebody else wrote chooses its own.
fn announce(
    local: &LocalImages,
    names: &[String],
    built: &Built,
    job: &Job,
    store: &store::Store,
) -> Result<(), CliError> {
    let folder = match &built.project.root {
        none if none.as_os_str().is_empty() => format!("the base image of recipe {}", job.recipe.name),
        app => std::fs::canonicalize(app).as_deref().unwrap_or(app).display().to_string(),
    };
    for name in names {
        let key = store::Key::new().text("name", name);
        let before: Option<String> = store.recall(store::Bucket::ImageNames, &key);
        let digest = local.digest(name).filter(|digest| *digest != built.artifact.root().digest);
        if let Some(digest) = digest
            && before.as_ref() != Some(&folder)
        {
            let whose = before.as_ref().map_or_else(String::new, |before| format!(" of {before}"));
            job.ui.say(&format!("{name} means another image now: until now it meant {digest}{whose}"));
        }
        if before.as_ref() != Some(&folder) {
            store.remember(store::Bucket::ImageNames, &key, &folder)?;
        }
    }
    Ok(())
}

/// Builds for `microbuild run`: the image is kept locally under its project's name.
pub(super) fn builds(job: &Job) -> Result<Artifact, CliError> {
    let tools = job.tools()?;
    let built = pipeline::build(&job.request, &job.recipe, &tools.fetcher, &job.ui)?;
    let local = LocalImages::open(&images::default_dir()?)?;
    let names = names(job, &built);
    announce(&local, &names, &built, job, tools.fetcher.store())?;
    local.put(&names, &built.artifact, &job.ui)?;
    Ok(built.artifact)
}

fn report(job: &Job, built: &Built, names: &[String], delivered: &Delivered) -> Result<(), CliError> {
    let json = || pretty(&report::json(built, names, &job.recipe, delivered)) + "\n";
    if let Some(path) = &job.metadata_file {
        replace_file(path, json().as_bytes())?;
    }
    job.ui.say_all(report::table(built, delivered).trim_end());
    if !job.push {
        job.ui.say(&format!("next: microbuild export {0} docker && docker run --rm {0}", delivered.reference));
    }
    if job.json {
        return print(&json());
    }
    print(&format!("{}@{}\n", delivered.reference, report::pushed_digest(&built.artifact, &delivered.pushed)))
}

fn parse_all(names: &[String]) -> Result<Vec<Reference>, CliError> {
    names.iter().map(|name| Ok(name.parse()?)).collect()
}

/// What the image is called: its tags, else its project's name.
fn names(job: &Job, built: &Built) -> Vec<String> {
    let names = if job.tags.is_empty() { vec![local_name(built, &job.request.app)] } else { job.tags.clone() };
    names.iter().map(|name| images::with_tag(name)).collect()
}

/// The name of an image that was given none: its project's, or its folder's.
fn local_name(built: &Built, app: &Path) -> String {
    let folder = || Some(std::fs::canonicalize(app).ok()?.file_name()?.to_string_lossy().into_owned());
    let title = built.project.title.clone().or_else(folder).unwrap_or_default();
    // A scope's name (`@team/app`) and other characters that a reference cannot have become dashes.
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '_' { c.to_ascii_lowercase() } else { '-' };
    let name: String = title.chars().map(plain).collect();
    let name = name.trim_matches(['-', '.', '_']);
    if name.is_empty() { "app".to_owned() } else { name.to_owned() }
}

/// `microbuild plan`.
pub(super) fn plan(recipe: &str, app: &Path, options: &BuildOptions) -> Result<(), CliError> {
    let (job, base, locks) = solve(recipe, app, options)?;
    if job.json {
        let packages = |lock: &Lock| -> serde_json::Value {
            let row = |p: Row<'_>| serde_json::json!({"name": p.name, "version": p.version, "size": p.size});
            let packages: Vec<_> = lock.packages.rows().into_iter().map(row).collect();
            serde_json::json!({"arch": lock.arch, "release": lock.release, "packages": packages})
        };
        return print(&(pretty(&locks.iter().map(packages).collect()) + "\n"));
    }
    for lock in &locks {
        let rows = lock.packages.rows();
        let width = rows.iter().map(|row| row.title().len()).max().unwrap_or(0);
        let mut text = format!("{base} of {} {}, {}\n", base.distribution(), lock.release, lock.arch);
        for row in &rows {
            text += &format!("  {:width$}  {:>9}\n", row.title(), ui::size(row.size));
        }
        let total = rows.iter().map(|row| row.size).sum();
        text += &format!("  {:width$}  {:>9}\n", "total", ui::size(total));
        print(&text)?;
    }
    Ok(())
}

/// `microbuild why`.
pub(super) fn why(package: &str, recipe: &str, app: &Path, options: &BuildOptions) -> Result<(), CliError> {
    let (job, base, locks) = solve(recipe, app, options)?;
    for lock in &locks {
        let rows = lock.packages.rows();
        let Some(mut at) = rows.iter().position(|row| row.name == package) else {
            let names = rows.iter().map(|row| row.name);
            let near = crate::near::nearest(package, names).map(|near| format!("; did you mean {near}?"));
            return Err(CliError::Usage {
                message: format!("{package} is no part of the image{}", near.unwrap_or_default()),
                hint: format!(
                    "`microbuild plan {} {} --base {base}` lists what is",
                    job.recipe.name,
                    job.request.app.display()
                ),
            });
        };
        let title = |at: usize| rows[at].title();
        let mut text = title(at);
        loop {
            let (next, why) = match rows[at].because {
                Because::Request(request) => {
                    text += &format!("\n  is asked for, as {request}, by recipe {} or --package\n", job.recipe.name);
                    break;
                }
                Because::Linked => {
                    text += "\n  has a library that a program is linked with\n";
                    break;
                }
                Because::Shipped => {
                    text += "\n  is what a step has put parts of into the image\n";
                    break;
                }
                Because::Needed { by, through } => (*by, format!("is needed, as {through}, by {}", title(*by))),
                Because::Along { with } => (*with, format!("comes along with {}", title(*with))),
            };
            text += &format!("\n  {why}");
            at = next;
        }
        print(&text)?;
    }
    Ok(())
}

fn solve(recipe: &str, app: &Path, options: &BuildOptions) -> Result<(Job, Base, Vec<Lock>), CliError> {
    let job = Job::new(Some(recipe), app, options)?;
    let tools = job.tools()?;
    let (base, locks) = pipeline::locks(&job.request, &job.recipe, &tools.fetcher, &job.ui)?;
    Ok((job, base, locks))
}

impl Job {
    pub(super) fn new(recipe: Option<&str>, app: &Path, options: &BuildOptions) -> Result<Self, CliError> {
        Self::with(recipe, app, options, &AppConfig::read(app)?)
    }

    fn with(recipe: Option<&str>, app: &Path, options: &BuildOptions, file: &AppConfig) -> Result<Self, CliError> {
        let ui = options.ui();
        let recipe = find_recipe(recipe, app, options, file, &ui)?;
        let DeliveryOptions { tag, push, output, metadata_file } = options.delivery.clone();
        let cache_dir = options.common.cache_dir.clone();
        let mut request = request(app, &recipe, options, file)?;
        let written =
            output.iter().filter_map(Output::path).chain(metadata_file.as_deref()).chain(cache_dir.as_deref());
        request.exclude.extend(written.filter_map(|path| pattern_of(path, app)));
        let of_app: Vec<String> = file.tag.iter().map(ToString::to_string).collect();
        if push && tag.is_empty() && !of_app.is_empty() {
            return Err(CliError::Usage {
                message: format!(
                    "expected you to say where the image is pushed, found only what the app's own {} says (tag = {})",
                    config::FILE,
                    of_app.join(", ")
                ),
                hint: "-t registry.example/me/app:1 --push".into(),
            });
        }
        Ok(Self {
            request,
            recipe,
            tags: or(&tag, &of_app),
            push,
            pushing: options.pushing.options(),
            outputs: output,
            json: options.common.json,
            metadata_file,
            cache_dir,
            offline: options.source.offline,
            allow_rollback: options.source.allow_rollback,
            network: options.network.clone(),
            ui,
        })
    }

    /// What the job works with.
    pub(super) fn tools(&self) -> Result<Tools, CliError> {
        let store = store(self.cache_dir.as_deref())?;
        let in_use = store.lock_shared()?;
        let http = http(&self.network, self.offline, &self.ui)?;
        let fetcher = Fetcher::new(http.clone(), store, self.ui.clone(), self.offline);
        let fetcher = fetcher.allowing_rollback(self.allow_rollback);
        Ok(Tools { http, fetcher, _in_use: in_use })
    }

    /// Refuses names that the image cannot be kept or pushed under.
    fn check_names(&self) -> Result<(), CliError> {
        if self.push && self.tags.is_empty() {
            return Err(CliError::Usage {
                message: "expected a name to push the image to, found none".into(),
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
                message: "--force and --verify say how an image is pushed, and this one is not".into(),
                hint: "leave them out, or add --push; `microbuild gc --all` makes a build start anew".into(),
            });
        }
        parse_all(&self.tags).map(drop)
    }
}

/// What leaves out of the app what a build writes into its folder, so that the next build makes the same image.
fn pattern_of(path: &Path, app: &Path) -> Option<Pattern> {
    let app = std::fs::canonicalize(app).ok()?;
    let path = std::path::absolute(path).ok()?;
    let folder = std::fs::canonicalize(path.parent()?).ok()?;
    let inside = folder.join(path.file_name()?).strip_prefix(&app).ok()?.to_str()?.to_owned();
    let special = |c: char| matches!(c, '*' | '?' | '[' | '\\' | '!');
    let escaped = inside.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c]));
    format!("/{}", escaped.collect::<String>()).parse().ok()
}

/// The list of the flags, or that of the file.
fn or<T: Clone>(flags: &[T], file: &[T]) -> Vec<T> {
    if flags.is_empty() { file.to_vec() } else { flags.to_vec() }
}

/// The recipe that is meant: the user's word, else the app's, else the one that the app's files are for.
fn find_recipe(
    given: Option<&str>,
    app: &Path,
    options: &BuildOptions,
    file: &AppConfig,
    ui: &Ui,
) -> Result<Recipe, CliError> {
    let shelves = shelves(app, trust(app, &options.source));
    let recipe = match (given, &file.recipe) {
        (Some(recipe), _) => shelves.find(recipe)?,
        (None, Some(recipe)) => shelves.find_for_app(recipe)?,
        (None, None) => {
            let (recipe, files) = shelves.detect(app)?;
            ui.detail(&format!("recipe {}, for which {} speaks", recipe.name, files.join(", ")));
            recipe
        }
    };
    if let Some(path) = recipe.origin.file() {
        ui.say(&format!("recipe {} from {}", recipe.name, path.display()));
    }
    if !recipe.not_passed.is_empty() {
        ui.warn(&format!(
            "not given to its steps: {}; `pass` counts in recipes of your own, not in an app's (--secret id=NAME gives a variable)",
            recipe.not_passed.join(", ")
        ));
    }
    Ok(recipe)
}

/// Whether recipes of `app` are taken.
fn trust(app: &Path, options: &SourceOptions) -> Trust {
    match options.trust {
        Some(true) => Trust::Yes,
        Some(false) => Trust::No,
        None if config::is_trusted(app, &options.trusted) => Trust::Yes,
        None => Trust::Ask,
    }
}

fn request(app: &Path, recipe: &Recipe, options: &BuildOptions, file: &AppConfig) -> Result<Request, CliError> {
    let pairs = |file: &BTreeMap<String, String>, flags: &[Pair]| {
        let mut pairs = file.clone();
        pairs.extend(flags.iter().map(|pair| (pair.key.clone(), pair.value.clone())));
        pairs
    };
    let platforms = match or(&options.platform, &file.platform) {
        platforms if platforms.is_empty() => vec![host_platform()],
        mut platforms => {
            let mut seen = std::collections::BTreeSet::new();
            platforms.retain(|platform| seen.insert(platform.clone()));
            platforms
        }
    };
    let base = options.source.base.clone().or_else(|| file.base.clone());
    let SourceOptions { mirror, keys, repository, offline, .. } = options.source.clone();
    Ok(Request {
        app: app.to_owned(),
        recipe: recipe.name.clone(),
        fallback: base.is_none()
            && mirror.is_none()
            && !offline
            && !is_ci()
            && keys.is_empty()
            && repository.is_empty(),
        base: base.or_else(|| recipe.base.default.clone()).unwrap_or_default(),
        platforms,
        mirror,
        keys,
        repositories: repository,
        packages: or(&options.source.package, &file.package),
        dev_packages: or(&options.source.dev_package, &file.dev_package),
        compression: options.compression.or(file.compression).unwrap_or_default(),
        step: Step {
            secrets: options.source.secret.clone(),
            ignore_scripts: options.source.ignore_scripts || file.ignore_scripts.unwrap_or(false),
            shared_cache: options.source.shared_cache,
            offline,
            runtime: options.source.runtime.clone(),
            ca: options.network.ca.clone(),
        },
        deps: options.source.deps.or(file.deps).unwrap_or_default(),
        env: pairs(&file.env, &options.env),
        entrypoint: options.entrypoint.clone().or_else(|| file.entrypoint.clone()),
        cmd: options.cmd.clone().or_else(|| file.cmd.clone()),
        workdir: options.workdir.clone().or_else(|| file.workdir.clone()),
        user: options.user.clone().or_else(|| file.user.clone()),
        ports: or(&options.port, &file.port),
        labels: pairs(&file.label, &options.label),
        annotations: pairs(&file.annotation, &options.annotation),
        include: or(&options.include, &file.include),
        exclude: or(&options.exclude, &file.exclude),
        max_size: options.max_size.or(file.max_size),
        epoch: epoch()?,
    })
}

/// Whether this is a CI system, as nearly all of them say: what it builds must not depend on what happens to be reachable.
fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}

/// SOURCE_DATE_EPOCH (reproducible-builds.org), or 0.
fn epoch() -> Result<u64, CliError> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Err(_) => Ok(0),
        Ok(text) => text.trim().parse().map_err(|_| CliError::Usage {
            message: format!("expected seconds since 1970 in SOURCE_DATE_EPOCH, found `{text}`"),
            hint: "SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)".into(),
        }),
    }
}

impl From<crate::lock::LockError> for CliError {
    fn from(error: crate::lock::LockError) -> Self {
        BuildError::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_images_tags_are_its_versions() {
        for (version, dev, expected) in [
            (Some("20.11.1"), false, "20.11.1 20.11 20"),
            (Some("3.11"), true, "3.11-dev 3-dev"),
            (Some("9.0.2.1"), false, "9.0.2.1 9.0 9"),
            (Some("12"), false, "12"),
            (None, false, "latest"),
            (None, true, "dev"),
        ] {
            assert_eq!(version_tags(version, dev).join(" "), expected, "{version:?}");
        }
    }

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
}
