//! Whether an image can start: its command is looked up in the finished root filesystem, before the image is written
//! anywhere.
//!
//! The root filesystem is what its layers hold, and every layer is remembered as a list of its paths under its `diff_id`.
//! Nothing is fetched for the check: where the bytes of a layer are no longer in the store and its list is not known, the
//! image was checked when they were. The answer is remembered, too, so that an unchanged image costs one lookup.

mod arguments;
mod error;
mod files;
mod hint;
mod resolve;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use error::StartError;
use files::{Listing, Own, Root, TEXTS};
use resolve::Starter;

use super::{App, BuildError, MaybeCached, steps::Steps};
use crate::{
    app_folder::AppFolder,
    image::{Configuration, PATH},
    layer::{Layer, LayerError},
    lock::Lock,
    plan::Plan,
    project::line::Line,
    sandbox::Ids,
    store::{Bucket, Key},
};

/// The layers of a finished image.
pub(super) struct Finished<'a> {
    /// All layers, with the lowest first.
    pub(super) layers: &'a [MaybeCached],
    /// How many of them, from the first, are of packages.
    pub(super) packages: usize,
    /// How many of them, from the last, are the app's own files.
    pub(super) own: usize,
    /// Where the app lies.
    pub(super) app: &'a App,
    /// The packages.
    pub(super) lock: &'a Lock,
}

/// How an image starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Start {
    /// The command, where it is another one than the configuration's.
    instead: Option<Vec<String>>,
    /// Why it is, for the user.
    note: Option<String>,
}

impl Steps<'_> {
    /// The configuration of a finished image, whose command was looked up in it.
    ///
    /// # Errors
    /// [`StartError`] when the image cannot start.
    pub(super) fn checked_start(&self, plan: &Plan, finished: &Finished<'_>) -> Result<Configuration, BuildError> {
        let mut configuration = plan.configuration.clone();
        if configuration.entrypoint.is_empty() && configuration.cmd.is_empty() {
            return Ok(configuration);
        }
        let store = self.fetcher.store();
        let key = self.start_key(&configuration, finished);
        let start = match store.recall(Bucket::Starts, &key) {
            Some(start) => start,
            None => {
                let Some(listings) = self.listings(finished)? else { return Ok(configuration) };
                let start = self.find_start(plan, listings, finished)?;
                store.remember(Bucket::Starts, &key, &start)?;
                start
            }
        };
        start.note.iter().for_each(|note| self.ui.say(note));
        if let Some(words) = start.instead {
            let whole = configuration.entrypoint.len();
            // An entrypoint stays one, so that `docker run IMAGE ARG` gives it arguments.
            let end = words.len() - configuration.cmd.len().min(words.len());
            if whole == 0 {
                configuration.cmd = words;
            } else {
                configuration.entrypoint = words[..end].to_vec();
            }
        }
        Ok(configuration)
    }

    fn start_key(&self, configuration: &Configuration, finished: &Finished<'_>) -> Key {
        Key::new()
            .list("layers", finished.layers.iter().map(|(layer, _)| layer.diff_id))
            .list("entrypoint", &configuration.entrypoint)
            .list("cmd", &configuration.cmd)
            .list("made", &self.project.made)
            .option("path", configuration.env.get("PATH"))
            .text("user", &configuration.user)
            .text("work folder", &configuration.workdir)
            .text("architecture", &finished.lock.arch)
    }

    /// What lies in the layers of packages and of steps, the lowest first. `None` where that is not known.
    fn listings(&self, finished: &Finished<'_>) -> Result<Option<Vec<Listing>>, BuildError> {
        let listed = finished.layers.len() - finished.own;
        let mut listings = Vec::new();
        for (layer, _) in &finished.layers[..listed] {
            match self.listing(layer)? {
                Some(listing) => listings.push(listing),
                None => return Ok(None),
            }
        }
        Ok(Some(listings))
    }

    fn listing(&self, layer: &Layer) -> Result<Option<Listing>, BuildError> {
        let store = self.fetcher.store();
        let key = Key::new().text("diff_id", layer.diff_id);
        if let Some(listing) = store.recall(Bucket::LayerFiles, &key) {
            return Ok(Some(listing));
        }
        if layer.content.path().is_none() {
            return Ok(None);
        }
        let listing =
            Listing::of_layer(layer).map_err(|source| LayerError::Io { title: layer.title.clone(), source })?;
        store.remember(Bucket::LayerFiles, &key, &listing)?;
        Ok(Some(listing))
    }

    fn find_start(
        &self,
        plan: &Plan,
        mut listings: Vec<Listing>,
        finished: &Finished<'_>,
    ) -> Result<Start, BuildError> {
        let folder = self.project.folder()?;
        let made = listings.split_off(finished.packages.min(listings.len()));
        let own = (finished.own > 0).then(|| self.own_files(&folder, finished.app));
        let root = Root { packages: listings, made, own };
        let configuration = &plan.configuration;
        let [passwd, group] = TEXTS.map(|path| root.text(path));
        let user = Ids::find(&configuration.user, &passwd, &group).map_err(StartError::User)?;
        let path = configuration.env.get("PATH").map_or(PATH, String::as_str);
        let (workdir, arch) = (configuration.workdir.as_str(), finished.lock.arch.as_str());
        let starter = Starter { root: &root, user: &user, path, workdir, arch };
        let words = [&configuration.entrypoint[..], &configuration.cmd[..]].concat();
        let problem = match starter.command(&words) {
            Ok(instead) => return Ok(Start::without_env(&words, instead)),
            Err(problem) => problem,
        };
        if let Some(start) = made_start(&starter, &words, &self.project.made) {
            return Ok(start);
        }
        let hint = hint::Context { plan, recipe: self.recipe, folder: &folder, starter: &starter, words: &words };
        let hint = hint.of(&problem);
        Err(StartError::Command { problem, hint }.into())
    }

    /// The app's own files by their paths in the image.
    fn own_files<'f>(&'f self, folder: &'f AppFolder, app: &App) -> Own<'f> {
        let layer = app.layer("", folder, Vec::new());
        let path =
            |path: &str| if app.workdir.is_empty() { path.to_owned() } else { format!("{}/{path}", app.workdir) };
        let files = self.project.dependencies.iter().chain(&self.project.files);
        Own { folder, files: files.map(|file| (layer.place(path(&file.path)), file)).collect() }
    }
}

impl Start {
    /// The start by words that stand for `env`, which the image does not have.
    fn without_env(words: &[String], instead: Option<Vec<String>>) -> Self {
        let note = instead.as_ref().map(|instead| {
            format!(
                "{} is a script for /usr/bin/env, which the image does not need: it starts with {}",
                words.first().map_or("", String::as_str),
                instead.join(" ")
            )
        });
        Self { instead, note }
    }
}

/// The start of a compiled app whose Procfile calls the program as another builder does: with the program that the
/// recipe made, and the arguments of the Procfile.
fn made_start(starter: &Starter<'_>, words: &[String], made: &[String]) -> Option<Start> {
    /// They run sources, or files with names of their own: their arguments are not the program's.
    const INTERPRETERS: [&str; 8] = ["bun", "deno", "dotnet", "elixir", "go", "java", "mono", "npm"];
    let (first, rest) = words.split_first()?;
    made.first()?;
    let is_interpreter = |word: &str| INTERPRETERS.contains(&word.rsplit('/').next().unwrap_or(word));
    let (named, instead) = match rest {
        [option, line] if first == "/bin/sh" && option == "-c" => {
            let programs = Line::read(line).programs();
            let lost =
                programs.into_iter().find(|program| starter.command(std::slice::from_ref(&program.word)).is_err())?;
            let instead = if is_interpreter(&lost.word) {
                made.to_vec()
            } else {
                let line = format!("{}{}{}", &line[..lost.place.start], made.join(" "), &line[lost.place.end..]);
                vec![first.clone(), option.clone(), line]
            };
            (lost.word, instead)
        }
        _ if is_interpreter(first) => (first.clone(), made.to_vec()),
        _ => (first.clone(), [made, rest].concat()),
    };
    starter.command(&instead).ok()?;
    let note = format!("the Procfile names {named}: the image starts with {}, which the build made", made.join(" "));
    Some(Start { instead: Some(instead), note: Some(note) })
}
