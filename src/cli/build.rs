//! The commands that build, or print what would be built: `build`, `base`, `plan`, `why`.

use std::{path::Path, time::Instant};

use super::{
    CliError,
    args::BuildOptions,
    job::{Job, Tools, parse_all},
    local_images, pretty, print, push_to,
    report::{self, Delivered},
};
use crate::{
    config::AppConfig,
    host::Host,
    image::Artifact,
    images::{self, LocalImages},
    pipeline::{self, BuildError, Built, Resolution},
    sink,
    store::{self, replace_file},
};

/// `microbuild RECIPE [APP]`, `microbuild build [APP]`.
pub(super) fn build(host: &Host, recipe: Option<&str>, app: &Path, options: BuildOptions) -> Result<(), CliError> {
    let job = Job::new(host, recipe, app, options)?;
    // Before the build, so that a wrong name does not cost one.
    job.check_names()?;
    let tools = job.tools()?;
    let built = pipeline::build(&job.request, &job.recipe, &tools.fetcher, &job.ui)?;
    let names = names(&job, &built);
    deliver(&job, built, &names, &tools)
}

/// `microbuild base RECIPE`.
pub(super) fn base(host: &Host, recipe: &str, dev: bool, options: BuildOptions) -> Result<(), CliError> {
    // The options of the app in the current folder do not apply to an image without it.
    let app = Path::new(".");
    let job = Job::with(host, Some(recipe), app, options, AppConfig::read(app)?.without_app())?;
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

/// Keeps the image locally under `names`, pushes it, and writes it to the job's outputs.
fn deliver(job: &Job, mut built: Built, names: &[String], tools: &Tools) -> Result<(), CliError> {
    let store = tools.fetcher.store();
    let references = if job.push { parse_all(names)? } else { Vec::new() };
    let local = local_images(&job.request.host)?;
    announce(&local, names, &built, job, store)?;
    let mut delivered = Delivered { reference: names[0].clone(), pushed: Vec::new() };
    let started = Instant::now();
    // Kept locally while it is pushed: the one waits for the disk, the other for the network. When the push fails,
    // nothing has to be built again.
    let (pushed, kept) = std::thread::scope(|scope| {
        let kept = scope.spawn(|| local.put(names, &built.artifact, &job.ui));
        let pushed = if job.push {
            push_to(&references, &built.artifact, job.pushing, &job.request.host, &tools.http, store, &job.ui)
        } else {
            Ok(Vec::new())
        };
        (pushed, kept.join().unwrap_or_else(|e| std::panic::resume_unwind(e)))
    });
    if pushed.is_err() && kept.is_ok() {
        job.ui.say(&format!(
            "the image was built and kept; to push it again: microbuild push {0} {0}",
            delivered.reference
        ));
    }
    delivered.pushed = pushed?;
    kept?;
    for output in &job.outputs {
        sink::write(output, &built.artifact, names, &job.request.host, &job.ui)?;
    }
    built.timings.push(("deliver".to_owned(), started.elapsed()));
    report(job, &built, names, &delivered)
}

/// Announces which of `names` named another project's image before: the app's folder, perhaps a stranger's, chooses its names.
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
            job.ui.say(&format!("{name} now names another image; before, it named {digest}{whose}"));
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
    let local = local_images(&job.request.host)?;
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

/// The names of the image: its tags, else its project's name.
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
pub(super) fn plan(host: &Host, recipe: &str, app: &Path, options: BuildOptions) -> Result<(), CliError> {
    let (job, resolution) = resolve(host, recipe, app, options)?;
    if job.json {
        return print(&(pretty(&report::plan_json(&resolution)) + "\n"));
    }
    print(&report::plan_text(&resolution))
}

/// `microbuild why`.
pub(super) fn why(host: &Host, package: &str, recipe: &str, app: &Path, options: BuildOptions) -> Result<(), CliError> {
    let (job, resolution) = resolve(host, recipe, app, options)?;
    let mut told = false;
    for image in &resolution.images {
        if let Some(text) = report::why(&image.lock, package, &job.recipe.name) {
            print(&text)?;
            told = true;
        }
    }
    if told {
        return Ok(());
    }
    if let Some(text) = resolution.dev.as_ref().and_then(|dev| report::why(dev, package, &job.recipe.name)) {
        return print(&format!("only in the dev variant, not in the image:\n{text}"));
    }
    let rows = resolution.images.iter().flat_map(|image| image.lock.packages.rows());
    let names: Vec<&str> = rows.map(|row| row.name).collect();
    let near = crate::near::nearest(package, names).map(|near| format!("; did you mean {near}?"));
    let unknown: Vec<&str> = resolution.images.iter().flat_map(|image| &image.unknown).map(String::as_str).collect();
    let unknown = if unknown.is_empty() {
        String::new()
    } else {
        format!("; what the result of step {} is linked with is known after the first build", unknown.join(", "))
    };
    Err(CliError::Usage {
        message: format!("{package} is not in the image{}{unknown}", near.unwrap_or_default()),
        hint: format!(
            "`microbuild plan {} {} --base {}` lists what is",
            job.recipe.name,
            job.request.app.display(),
            resolution.base
        ),
    })
}

fn resolve(host: &Host, recipe: &str, app: &Path, options: BuildOptions) -> Result<(Job, Resolution), CliError> {
    let job = Job::new(host, Some(recipe), app, options)?;
    let tools = job.tools()?;
    let resolution = pipeline::resolve(&job.request, &job.recipe, &tools.fetcher, &job.ui)?;
    Ok((job, resolution))
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
}
