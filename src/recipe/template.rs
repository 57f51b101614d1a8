//! Commands of a recipe, with places that the project fills in.

use crate::{
    lang::Start,
    values::{self, Command},
};

/// A command with places to fill in. A word `{options}` or `{args}` becomes any number of words. `{entry}` may be a
/// part of a word, and so may `{workdir}`, the app's folder in the image, and `{program}`, the name of a compiled program
/// there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Template(Vec<String>);

impl Template {
    /// The places that a language, or an entry, fills in.
    const OF_THE_APP: [&'static str; 3] = ["options", "entry", "args"];

    /// The places that are known without reading the app.
    const OF_THE_IMAGE: [&'static str; 2] = ["workdir", "program"];

    /// Reads the command `words`. Every `{place}` in it must be a known one.
    fn new(words: Vec<String>) -> Result<Self, String> {
        for word in &words {
            for place in places(word) {
                if !Self::OF_THE_APP.contains(&place) && !Self::OF_THE_IMAGE.contains(&place) {
                    return Err(format!(
                        "expected {{options}}, {{entry}}, {{args}}, {{workdir}} or {{program}} in a command, found {{{place}}}"
                    ));
                }
                if ["options", "args"].contains(&place) && word.len() != place.len() + 2 {
                    return Err(format!("expected {{{place}}} to be a word of its own, found `{word}`"));
                }
            }
        }
        Ok(Self(words))
    }

    /// Whether the command has places, which a language or an entry has to fill in.
    pub fn has_places(&self) -> bool {
        self.0.iter().any(|word| places(word).any(|place| Self::OF_THE_APP.contains(&place)))
    }

    /// The first word, with its places.
    pub fn first(&self) -> Option<&str> {
        self.0.first().map(String::as_str)
    }

    /// The words before the first word with a place.
    pub fn fixed(&self) -> Vec<String> {
        self.0.iter().take_while(|word| places(word).next().is_none()).cloned().collect()
    }

    /// The command with `start` filled in, for an app in the folder `workdir` whose compiled program is called `program`.
    pub fn fill(&self, start: &Start, workdir: &str, program: &str) -> Vec<String> {
        let below = if workdir == "/" { "" } else { workdir };
        let mut words = Vec::new();
        for word in &self.0 {
            match word.as_str() {
                "{options}" => words.extend_from_slice(&start.options),
                "{args}" => words.extend_from_slice(&start.args),
                word => {
                    let of_image = word.replace("{workdir}", below).replace("{program}", program);
                    words.push(of_image.replace("{entry}", &start.entry));
                }
            }
        }
        words
    }
}

/// The `{place}`s of a word. Braces around anything but lower-case letters are plain text.
fn places(word: &str) -> impl Iterator<Item = &str> {
    word.split('{').skip(1).filter_map(|rest| {
        let (place, _) = rest.split_once('}')?;
        (!place.is_empty() && place.bytes().all(|b| b.is_ascii_lowercase())).then_some(place)
    })
}

/// Reads a command of a recipe.
pub(super) fn template<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Template, D::Error> {
    let Command(words) = values::command(deserializer)?;
    Template::new(words).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_in_commands() {
        let start = Start { options: vec!["-r".into(), "x".into()], entry: "a.js".into(), args: vec!["b".into()] };
        for (words, filled) in [
            (&["node", "{options}", "{entry}", "{args}"][..], &["node", "-r", "x", "a.js", "b"][..]),
            (&["run", "/app/{entry}", "--x={entry}"], &["run", "/app/a.js", "--x=a.js"]),
            (&["{workdir}/{program}", "{workdir}/{entry}"], &["/srv/app", "/srv/a.js"]),
            (&["java", "-Dx={A}", "{}", "{", "}"], &["java", "-Dx={A}", "{}", "{", "}"]),
            (&[], &[]),
        ] {
            let template = Template::new(words.iter().map(|word| (*word).to_owned()).collect()).unwrap();
            assert_eq!(template.fill(&start, "/srv", "app"), filled);
        }
        let template = |word: &str| Template::new(vec!["node".into(), word.into()]).unwrap();
        assert_eq!(template("{options}").fill(&Start::default(), "/app", "app"), ["node"]);
        assert_eq!(template("{workdir}/x").fill(&start, "/", "app"), ["node", "/x"]);
        assert!(template("{entry}").has_places() && !template("{workdir}/{program}").has_places());
    }
}
