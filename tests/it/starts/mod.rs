//! Tables of apps as people have them: which recipe is chosen for their files, how they are built and how they start. No
//! network is used, and nothing runs.

mod node;
mod site;

use std::fs;

use microbuild::internals::{
    error::Explain as _,
    project::{Options, Project},
    recipe::RecipeSearch,
};

/// An app: its files by path (those that end with `/` are folders), and what is expected of it, as [`told`] writes it.
type Row = (&'static [(&'static str, &'static str)], &'static str);

/// Checks all rows, and shows those that are wrong.
fn check(rows: &[Row]) {
    let wrong: Vec<String> = rows
        .iter()
        .map(|(files, expected)| (files, *expected, told(files)))
        .filter(|(_, expected, found)| expected != found)
        .map(|(files, expected, found)| format!("{files:?}\n  expected: {expected}\n  found:    {found}"))
        .collect();
    assert!(wrong.is_empty(), "{} of {} apps are wrong:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

/// The recipe, a colon and the command; in brackets the variables that the app sets and how it is built. An error is told by
/// its message, up to the first semicolon, with the app's folder as APP.
fn told(files: &[(&str, &str)]) -> String {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let app = dir.path().join("app");
    fs::create_dir(&app).expect("a folder");
    for (path, text) in files {
        let target = app.join(path);
        if path.ends_with('/') {
            fs::create_dir_all(&target).expect("a folder");
            continue;
        }
        fs::create_dir_all(target.parent().expect("a folder")).expect("folders");
        fs::write(&target, text).expect("a file");
    }
    let short = |text: String| {
        let text = text.replace(&app.display().to_string(), "APP");
        text.split("; looked at").next().unwrap_or_default().to_owned()
    };
    let recipe = match RecipeSearch::default().detect(&app) {
        Ok(detected) => detected.recipe,
        Err(error) => return short(error.to_string()),
    };
    let project = match Project::read(&app, &recipe, &Options::default()) {
        Ok(project) => project,
        Err(error) => {
            return format!("{}: {}", recipe.name, short(format!("{error} ({})", error.hint().unwrap_or_default())));
        }
    };
    let command = [project.entrypoint, project.cmd].concat().join(" ");
    let env = project.env.iter().map(|(name, value)| format!("{name}={value}"));
    let build = project.steps.iter().find_map(|step| step.env.get("BUILD"));
    let more: Vec<String> = env.chain(build.map(|line| format!("build: {line}"))).collect();
    let more = if more.is_empty() { String::new() } else { format!(" [{}]", more.join(", ")) };
    format!("{}: {command}{more}", recipe.name)
}
