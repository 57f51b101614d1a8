//! The choice of the recipe for an app's files.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::{Recipe, RecipeError, advice};
use crate::{
    app_folder::{AppFolder, EntryKind},
    glob::{Pattern, PatternSet},
    lang::some,
};

/// The largest source file that is searched for words, in bytes.
const LARGEST: u64 = 1 << 20;

/// The recipe that recognizes an app's files. It is found so:
///
/// 1. The recipes whose `detect` names a file: files at the top that match a pattern, and paths below it. A recipe that
///    is `over` or `like` another wins over it; one whose language finds an app wins over one whose language finds only
///    tools; and the others win over those that yield.
/// 2. Where there is none, those whose `source` matches a file. Those whose `source-words` are found win, then the same
///    order applies.
/// 3. Where there is none either, the recipe whose language knows the files by their content.
#[derive(Debug)]
pub struct Detected {
    /// The recipe.
    pub recipe: Recipe,
    /// The files that it recognizes.
    pub files: Vec<String>,
    /// The recipes that recognize other files of the app, which are taken for tools or parts of it: the name and the
    /// files of each.
    pub parts: Vec<(String, Vec<String>)>,
}

impl Detected {
    /// A line that says which files are not the app itself; `None` where there are none.
    pub fn parts_line(&self) -> Option<String> {
        let (other, _) = self.parts.first()?;
        let files: Vec<String> = self.parts.iter().flat_map(|(_, files)| files.iter().cloned()).collect();
        let verb = if files.len() == 1 { "is" } else { "are" };
        let app = self.files.first().map_or("", String::as_str);
        Some(format!(
            "{} makes it an app of {}; {} {verb} taken for its tools and assets (--recipe {other} builds that app instead)",
            app,
            self.recipe.name,
            some(&files)
        ))
    }
}

/// A recipe, and the files that it recognizes.
type Speaker = (Recipe, Vec<String>);

/// Chooses among `recipes` for the files of `folder`, which is `app`; `None` for an app that is a single file. A recipe
/// that may not be used fails the `check`.
pub(super) fn detect(
    app: &Path,
    folder: Option<&AppFolder>,
    recipes: &[Recipe],
    check: &dyn Fn(&Recipe) -> Result<(), RecipeError>,
) -> Result<Detected, RecipeError> {
    let Some(folder) = folder else { return Err(nothing(app, None, recipes)) };
    let all = |entry: &EntryKind| *entry != EntryKind::Special;
    let by_detect = recipes.iter().map(|recipe| Ok((recipe.clone(), matching(folder, &recipe.detect, &all)?)));
    let mut found = by_detect.collect::<Result<Vec<Speaker>, RecipeError>>()?;
    found.retain(|(_, files)| !files.is_empty());
    let by_manifest = !found.is_empty();
    if !by_manifest {
        found = by_source(folder, recipes)?;
    }
    if found.is_empty() {
        let by_content = |recipe: &Recipe| {
            let files = recipe.language.map(|language| language.recognizes(folder)).unwrap_or_default();
            (!files.is_empty()).then(|| (recipe.clone(), files))
        };
        found = recipes.iter().filter_map(by_content).collect();
    }
    let mut parts = Vec::new();
    strongest(folder, by_manifest, &mut found, &mut parts);
    for (recipe, _) in &found {
        check(recipe)?;
    }
    match (found.pop(), found.is_empty()) {
        (Some((recipe, files)), true) => {
            // What the recipe itself recognizes is no part.
            parts.retain(|(_, others)| others.iter().any(|file| !files.contains(file)));
            Ok(Detected { recipe, files, parts })
        }
        (None, _) => Err(nothing(app, Some(folder), recipes)),
        (last, false) => {
            let named = |(recipe, mut files): Speaker| (recipe.name, files.swap_remove(0));
            Err(RecipeError::Detected {
                app: app.to_owned(),
                found: found.into_iter().chain(last).map(named).collect(),
            })
        }
    }
}

/// Leaves in `found` those that no other wins over. Those that recognize only `parts` of an app go there. A language is asked
/// whether there is an app only where its files are found `by_manifest`.
fn strongest(folder: &AppFolder, by_manifest: bool, found: &mut Vec<Speaker>, parts: &mut Vec<(String, Vec<String>)>) {
    let is_app = |(recipe, _): &Speaker| !by_manifest || recipe.language.is_none_or(|language| language.is_app(folder));
    let stays = |(recipe, _): &Speaker| !recipe.yields;
    // A recipe that wins over another, or is like it, is for a kind of that one's apps. Without an app it wins over none.
    let names: BTreeSet<String> = found.iter().map(|(recipe, _)| recipe.name.clone()).collect();
    let is_kind = |(recipe, _): &Speaker| recipe.over.iter().chain(&recipe.like).any(|name| names.contains(name));
    let mut keep = |found: &mut Vec<Speaker>, way: &dyn Fn(&Speaker) -> bool| {
        if found.len() > 1 && found.iter().any(way) {
            let (stronger, weaker): (Vec<_>, Vec<_>) = found.drain(..).partition(way);
            *found = stronger;
            let weaker = weaker.into_iter().filter(|speaker| !is_kind(speaker));
            parts.extend(weaker.map(|(recipe, files)| (recipe.name, files)));
        }
    };
    if found.iter().any(is_app) {
        keep(found, &is_app);
    } else {
        found.retain(|speaker| !is_kind(speaker));
    }
    let mut beaten = BTreeSet::new();
    for (recipe, _) in &*found {
        beaten.extend(recipe.over.iter().chain(&recipe.like).filter(|name| **name != recipe.name).cloned());
    }
    if found.iter().any(|(recipe, _)| !beaten.contains(&recipe.name)) {
        found.retain(|(recipe, _)| !beaten.contains(&recipe.name));
    }
    keep(found, &stays);
}

/// The recipes whose source files are in `folder`.
fn by_source(folder: &AppFolder, recipes: &[Recipe]) -> Result<Vec<Speaker>, RecipeError> {
    let (mut with_words, mut without) = (Vec::new(), Vec::new());
    for recipe in recipes {
        let files = matching(folder, &recipe.source, &|kind| *kind != EntryKind::Folder)?;
        if recipe.source_words.is_empty() {
            without.extend((!files.is_empty()).then(|| (recipe.clone(), files)));
            continue;
        }
        let has_word = |file: &String| {
            let text = folder.read(file, LARGEST).ok().flatten().unwrap_or_default();
            recipe.source_words.iter().any(|word| text.contains(word.as_str()))
        };
        let files: Vec<String> = files.into_iter().filter(has_word).collect();
        with_words.extend((!files.is_empty()).then(|| (recipe.clone(), files)));
    }
    Ok(if with_words.is_empty() { without } else { with_words })
}

/// The files of `folder` that `patterns` match: names at its top, and paths below it. Sorted.
fn matching(
    folder: &AppFolder,
    patterns: &[Pattern],
    is_meant: &dyn Fn(&EntryKind) -> bool,
) -> Result<Vec<String>, RecipeError> {
    let set = PatternSet::new(patterns.to_vec());
    let mut found = BTreeSet::new();
    for pattern in patterns.iter().filter(|pattern| !pattern.is_negated()) {
        let text = pattern.to_string();
        let parts: Vec<&str> = text.split('/').collect();
        let mut paths = vec![String::new()];
        for (at, part) in parts.iter().enumerate() {
            let is_last = at + 1 == parts.len();
            let mut next = Vec::new();
            for above in &paths {
                next.extend(step(folder, above, part, is_last, is_meant)?);
            }
            paths = next;
        }
        found.extend(paths.into_iter().filter(|path| set.matches(path)));
    }
    Ok(found.into_iter().collect())
}

/// Folders that hold the work of others, in which no app is looked for.
const FOREIGN: [&str; 2] = ["node_modules", "vendor"];

/// The paths in the folder `above` whose name matches `part` of a pattern.
fn step(
    folder: &AppFolder,
    above: &str,
    part: &str,
    is_last: bool,
    is_meant: &dyn Fn(&EntryKind) -> bool,
) -> Result<Vec<String>, RecipeError> {
    let join = |name: &str| if above.is_empty() { name.to_owned() } else { format!("{above}/{name}") };
    if !part.contains(['*', '?', '[', '\\']) {
        let path = join(part);
        // A link at the top counts wherever it leads, as any other name does.
        let kind = folder.kind(&path);
        return Ok(if kind.is_some_and(|kind| !is_last || is_meant(&kind)) { vec![path] } else { Vec::new() });
    }
    let Ok(pattern) = part.parse::<Pattern>() else { return Ok(Vec::new()) };
    let entries = folder.list(above)?.unwrap_or_default();
    let named = entries.into_iter().filter_map(|entry| Some((entry.name.into_string().ok()?, entry.kind)));
    let fits = |(name, kind): &(String, EntryKind)| {
        let is_open = is_last || !(name.starts_with('.') || FOREIGN.contains(&name.as_str()));
        is_open && pattern.matches(name) && (!is_last || is_meant(kind))
    };
    Ok(named.filter(fits).map(|(name, _)| join(&name)).collect())
}

/// The error for an app that no recipe recognizes, with the next thing to do.
fn nothing(app: &Path, folder: Option<&AppFolder>, recipes: &[Recipe]) -> RecipeError {
    let error = |files, advice| RecipeError::NotRecognized { app: app.to_owned(), files, advice };
    let Some(folder) = folder else { return error(Vec::new(), None) };
    let entries = folder.list("").ok().flatten().unwrap_or_default();
    let named = entries.into_iter().filter_map(|entry| Some((entry.name.into_string().ok()?, entry.kind)));
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for (name, kind) in named.filter(|(name, _)| !name.starts_with('.')) {
        if kind == EntryKind::Folder { folders.push(name) } else { files.push(name) }
    }
    let advice = advice::of_other_language(&files).or_else(|| {
        let below = folders.iter().filter(|name| !FOREIGN.contains(&name.as_str()));
        let mut below = below.filter_map(|name| {
            let speaks = |recipe: &&Recipe| {
                let names = recipe.detect.iter().filter(|pattern| !pattern.to_string().contains('/'));
                let names: Vec<Pattern> =
                    names.filter_map(|pattern| format!("{name}/{pattern}").parse().ok()).collect();
                matching(folder, &names, &|kind| *kind != EntryKind::Folder).is_ok_and(|files| !files.is_empty())
            };
            recipes.iter().find(speaks).map(|recipe| (app.join(name), recipe.name.clone()))
        });
        let (path, recipe): (PathBuf, String) = below.next()?;
        Some(format!("{} has an app of {recipe}: `microbuild build {}`", path.display(), path.display()))
    });
    let shown = if files.is_empty() { folders.into_iter().map(|name| name + "/").collect() } else { files };
    error(shown, advice)
}

#[cfg(test)]
mod tests;
