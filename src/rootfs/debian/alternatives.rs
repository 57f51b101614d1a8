//! update-alternatives(1), read out of maintainer scripts instead of run: `LINK → /etc/alternatives/NAME → PATH`.

use std::collections::BTreeMap;

use super::super::{Tree, shell::commands};

/// Where the links that can be changed are.
const FOLDER: &str = "etc/alternatives";

/// A choice that a package offers for a name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Choice {
    priority: i64,
    link: Link,
    slaves: Vec<Link>,
}

/// `/usr/bin/js`, `js`, `/usr/bin/nodejs`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Link {
    path: String,
    name: String,
    target: String,
}

/// Links what the scripts would install. Of several choices for a name that with the highest priority counts; one whose
/// file is not in the tree does not.
pub(super) fn link<'a>(tree: &mut Tree, scripts: impl Iterator<Item = &'a [u8]>) {
    let mut chosen: BTreeMap<String, Choice> = BTreeMap::new();
    for choice in scripts.flat_map(|script| choices(&String::from_utf8_lossy(script))) {
        let better = chosen.get(&choice.link.name).is_none_or(|other| choice.priority > other.priority);
        if better && tree.resolve(&choice.link.target).is_some() {
            chosen.insert(choice.link.name.clone(), choice);
        }
    }
    for link in chosen.into_values().flat_map(|choice| std::iter::once(choice.link).chain(choice.slaves)) {
        let (path, name) = (link.path.trim_matches('/'), format!("{FOLDER}/{}", link.name));
        let is_free = |path: &str| tree.get(&real(tree, path)).is_none();
        if tree.resolve(&link.target).is_some() && is_free(path) && is_free(&name) {
            let path = real(tree, path);
            tree.link(&name, &link.target);
            tree.link(&path, &format!("/{name}"));
        }
    }
}

/// The path below the root, links to the folder that it is in followed.
fn real(tree: &Tree, path: &str) -> String {
    let Some((folder, name)) = path.rsplit_once('/') else { return path.to_owned() };
    format!("{}/{name}", tree.resolve(folder).unwrap_or_else(|| folder.to_owned()))
}

/// The choices that a script offers.
fn choices(script: &str) -> Vec<Choice> {
    let is_call = |words: &&Vec<String>| words[0].rsplit('/').next() == Some("update-alternatives");
    commands(script).iter().filter(is_call).filter_map(|words| choice(&words[1..])).collect()
}

/// `[OPTION…] --install LINK NAME PATH PRIORITY [--slave LINK NAME PATH]…`
fn choice(words: &[String]) -> Option<Choice> {
    let install = words.iter().position(|word| word == "--install")?;
    let rest = &words[install + 1..];
    let priority = rest.get(3)?.parse().ok()?;
    let mut choice = Choice { priority, link: as_link(rest)?, slaves: Vec::new() };
    for (at, _) in rest.iter().enumerate().filter(|(_, word)| *word == "--slave") {
        choice.slaves.extend(as_link(&rest[at + 1..]));
    }
    Some(choice)
}

/// The first three words, if they are a link, a name and a path.
fn as_link(words: &[String]) -> Option<Link> {
    let [path, name, target, ..] = words else { return None };
    let plain = |path: &str| {
        path.starts_with('/')
            && !path[1..].split('/').any(|part| matches!(part, "" | "." | ".."))
            && !path.contains('$')
    };
    let good = plain(path) && plain(target) && !name.is_empty() && !name.contains(['/', '$']);
    good.then(|| Link { path: path.clone(), name: name.clone(), target: target.clone() })
}
