//! What a command prints of its results: tables for people on stderr, JSON for programs on stdout.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::{
    digest::Digest,
    image::{Artifact, Image},
    images,
    lock::{Lock, Row},
    package::locked::Because,
    pipeline::{Built, Resolution, Resolved},
    recipe::Recipe,
    registry::Reference,
    sink::registry::{Outcome, PushReport},
    ui,
};

/// What the sinks did with a build.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    /// The name that the build's line on stdout has.
    pub(super) reference: String,
    /// How the image got to each repository that it was pushed to.
    pub(super) pushed: Vec<PushReport>,
}

impl Delivered {
    /// What became of a layer that was pushed; of several repositories, the first that lacked it counts.
    fn outcome(&self, digest: &Digest) -> Option<&Outcome> {
        let mut outcomes = self.pushed.iter().flat_map(|report| &report.layers).filter(|layer| layer.digest == *digest);
        let first = outcomes.next().map(|layer| &layer.outcome);
        outcomes.map(|layer| &layer.outcome).find(|outcome| **outcome == Outcome::Pushed).or(first)
    }
}

/// What `--json` prints of a build.
pub(super) fn json(built: &Built, names: &[String], recipe: &Recipe, delivered: &Delivered) -> Value {
    let pushed = |digest: &Digest| delivered.outcome(digest) == Some(&Outcome::Pushed);
    let layers: Vec<Value> = (built.artifact.images.iter().zip(&built.platforms))
        .flat_map(|(image, report)| {
            image.layers.iter().enumerate().map(move |(at, layer)| {
                json!({
                    "title": layer.title, "digest": layer.digest, "diff_id": layer.diff_id, "size": layer.size,
                    "media_type": layer.media_type, "platform": image.platform.to_string(),
                    "cached": report.cached[at], "pushed": pushed(&layer.digest),
                })
            })
        })
        .collect();
    let packages = built.platforms.iter().flat_map(|report| {
        packages_of(&report.lock).into_iter().map(|mut package| {
            package["platform"] = report.platform.to_string().into();
            package
        })
    });
    let milliseconds = |time: &std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    json!({
        "reference": delivered.reference,
        "names": names,
        "digest": pushed_digest(&built.artifact, &delivered.pushed),
        "size": built.artifact.images.iter().map(Image::size).sum::<u64>(),
        "recipe": recipe.name,
        "base": built.base.to_string(),
        "platforms": built.platforms.iter().map(|report| report.platform.to_string()).collect::<Vec<_>>(),
        "layers": layers,
        "packages": packages.collect::<Vec<_>>(),
        "dev_packages": built.dev.as_ref().map(packages_of).unwrap_or_default(),
        "left_out": built.platforms.iter().map(|report| report.left_out).sum::<u64>(),
        "timings": built.timings.iter().map(|(step, time)| (step.clone(), milliseconds(time))).collect::<std::collections::BTreeMap<_, _>>(),
    })
}

/// The table at the end of a build.
pub(super) fn table(built: &Built, delivered: &Delivered) -> String {
    let mut text = String::new();
    for (image, report) in built.artifact.images.iter().zip(&built.platforms) {
        if built.artifact.images.len() > 1 {
            let _ = writeln!(text, "{}", image.platform);
        }
        let width = image.layers.iter().map(|layer| layer.title.len()).max().unwrap_or(0).max(5);
        for (layer, cached) in image.layers.iter().zip(&report.cached) {
            let is_package = || report.lock.packages.rows().iter().any(|row| layer.title == row.title());
            let made = if *cached {
                "cached"
            } else if is_package() {
                "package"
            } else {
                "made"
            };
            let sent = delivered.outcome(&layer.digest).map_or(String::new(), |outcome| format!(", {}", word(outcome)));
            let _ = writeln!(text, "  {:width$}  {:>9}  {made}{sent}", layer.title, ui::size(layer.size));
        }
        let _ = writeln!(text, "  {:width$}  {:>9}", "total", ui::size(image.size()));
        if report.left_out > 0 {
            let left_out = ui::size(report.left_out);
            let _ = writeln!(text, "  left out: {left_out} of the packages' files, unpacked");
        }
    }
    text
}

/// What `microbuild plan` prints: the packages of each image, and how many the dev variant has.
pub(super) fn plan_text(resolution: &Resolution) -> String {
    let mut text = String::new();
    let base = &resolution.base;
    for Resolved { lock, unknown, .. } in &resolution.images {
        let rows = lock.packages.rows();
        let width = rows.iter().map(|row| row.title().len()).max().unwrap_or(0);
        let _ = writeln!(text, "{base} of {} {}, {}", base.distribution.name(), lock.release, lock.arch);
        for row in &rows {
            let _ = writeln!(text, "  {:width$}  {:>9}", row.title(), ui::size(row.size));
        }
        let total = rows.iter().map(|row| row.size).sum();
        let _ = writeln!(text, "  {:width$}  {:>9}", "total", ui::size(total));
        if !unknown.is_empty() {
            let names = unknown.join(", ");
            let _ =
                writeln!(text, "  known after the first build: libraries that the result of {names} is linked with");
        }
    }
    if let Some(dev) = &resolution.dev {
        let rows = dev.packages.rows();
        let total = ui::size(rows.iter().map(|row| row.size).sum());
        let _ = writeln!(text, "dev variant, not in the image: {} packages, {total} (--json lists them)", rows.len());
    }
    text
}

/// What `microbuild plan --json` prints.
pub(super) fn plan_json(resolution: &Resolution) -> Value {
    let lock = |lock: &Lock| json!({"arch": lock.arch, "release": lock.release, "packages": packages_of(lock)});
    let image = |image: &Resolved| -> Value {
        let mut value = lock(&image.lock);
        value["platform"] = image.platform.to_string().into();
        value["unknown"] = image.unknown.clone().into();
        value
    };
    json!({
        "base": resolution.base.to_string(),
        "images": resolution.images.iter().map(image).collect::<Vec<_>>(),
        "dev": resolution.dev.as_ref().map(lock),
    })
}

fn packages_of(lock: &Lock) -> Vec<Value> {
    let row = |row: Row<'_>| json!({"name": row.name, "version": row.version, "size": row.size});
    lock.packages.rows().into_iter().map(row).collect()
}

/// The chain of dependencies that brings `package` into `lock`; `None` when it is not there.
pub(super) fn why(lock: &Lock, package: &str, recipe: &str) -> Option<String> {
    let rows = lock.packages.rows();
    let mut at = rows.iter().position(|row| row.name == package)?;
    let title = |at: usize| rows[at].title();
    let mut text = title(at);
    loop {
        let (next, why) = match rows[at].because {
            Because::Request(request) => {
                let _ = writeln!(text, "\n  is requested, as {request}, by recipe {recipe} or --package");
                return Some(text);
            }
            Because::Linked => {
                let _ = writeln!(text, "\n  has a library that a program is linked with");
                return Some(text);
            }
            Because::Shipped => {
                let _ = writeln!(text, "\n  has files that a step put into the image");
                return Some(text);
            }
            Because::Needed { by, through } => (*by, format!("is needed, as {through}, by {}", title(*by))),
            Because::Along { with } => (*with, format!("comes along with {}", title(*with))),
        };
        let _ = write!(text, "\n  {why}");
        at = next;
    }
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Pushed => "pushed",
        Outcome::Existed => "already there",
        Outcome::Mounted(_) => "mounted",
    }
}

/// The digest by which the image is pulled: where it was pushed to, in Docker's form perhaps, else here.
pub(super) fn pushed_digest(artifact: &Artifact, pushed: &[PushReport]) -> Digest {
    pushed.first().map_or(artifact.root().digest, |report| report.digest)
}

/// What `microbuild push --json` prints.
pub(super) fn push_json(reference: &Reference, artifact: &Artifact, pushed: &[PushReport]) -> Value {
    let layers = pushed.iter().flat_map(|report| &report.layers).map(|layer| {
        json!({
            "title": layer.title, "digest": layer.digest, "size": layer.size,
            "pushed": layer.outcome == Outcome::Pushed,
        })
    });
    json!({
        "reference": reference.to_string(), "digest": pushed_digest(artifact, pushed), "layers": layers.collect::<Vec<_>>(),
    })
}

/// The table of `microbuild images`.
pub(super) fn image_rows(rows: &[images::Row]) -> String {
    let width =
        |column: fn(&images::Row) -> usize, title: &str| rows.iter().map(column).max().unwrap_or(0).max(title.len());
    let name = width(|row| row.name.chars().count(), "NAME");
    let tag = width(|row| row.tag.chars().count(), "TAG");
    let mut text = format!("{:name$}  {:tag$}  {:19}  {:>9}  PLATFORMS\n", "NAME", "TAG", "DIGEST", "SIZE");
    for row in rows {
        let digest = row.digest.to_string();
        let note = row.broken.as_ref().map_or_else(|| row.platforms.join(","), |why| format!("broken: {why}"));
        let _ =
            writeln!(text, "{:name$}  {:tag$}  {:.19}  {:>9}  {note}", row.name, row.tag, digest, ui::size(row.size));
    }
    text
}

/// The list of `microbuild images --json`.
pub(super) fn image_rows_json(rows: &[images::Row]) -> Value {
    let row = |row: &images::Row| {
        json!({
            "name": row.name, "tag": row.tag, "digest": row.digest, "size": row.size, "platforms": row.platforms,
            "created": row.created, "broken": row.broken,
        })
    };
    rows.iter().map(row).collect()
}
