//! `Procfile`: the commands of an app's processes, as Heroku and its successors read it
//! (<https://devcenter.heroku.com/articles/procfile>).

use super::{LARGEST, ProjectError};
use crate::{app_folder::AppFolder, recipe::Recipe, values};

/// The file's name.
const FILE: &str = "Procfile";

/// Reads the command of the process `web`, or else of the only process. `None` without a Procfile, or where the command
/// starts a package manager that the recipe's language knows.
pub(super) fn read(app: &AppFolder, recipe: &Recipe) -> Result<Option<Vec<String>>, ProjectError> {
    let Some(text) = app.read(FILE, LARGEST)? else { return Ok(None) };
    let processes = parse(&text);
    let web = processes.iter().find(|(name, _)| *name == "web");
    let only = processes.first().filter(|_| processes.len() == 1);
    let Some((process, command)) = web.or(only) else { return Ok(None) };
    let words = values::split(command).map_err(|error| ProjectError::Procfile {
        file: app.path().join(FILE),
        process: (*process).to_owned(),
        found: format!("`{command}`: {error}"),
    })?;
    let first = words.first().map_or("", String::as_str);
    let managed = recipe.language.is_some_and(|language| language.is_manager(first));
    Ok((!managed && !words.is_empty()).then_some(words))
}

/// Reads the processes: `name: command`, one per line.
fn parse(text: &str) -> Vec<(&str, &str)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let process = |line| <str>::split_once(line, ':').map(|(name, command)| (name.trim(), command.trim()));
    lines.filter_map(process).filter(|(name, command)| is_name(name) && !command.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_lines() {
        let text = "# what runs\nweb: node server.js --port 80\nworker:python3 w.py\n\nno process\n: x\nrelease:\n";
        assert_eq!(parse(text), [("web", "node server.js --port 80"), ("worker", "python3 w.py")]);
    }
}
