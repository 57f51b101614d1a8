//! `[compile]` of a recipe: how an app is made of its source, in the dev variant. Only what comes of it is in the image.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de::Error as _};

use super::paths;
use crate::{
    glob::Pattern,
    image::Platform,
    values::{self, Command},
};

/// Where the command leaves what becomes the app: a folder that is empty at first. `{out}` in the recipe, and the variable
/// `OUT` of the command.
pub const OUT: &str = "/run/out";

/// How an app is made of its source.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compile {
    /// What is run, in a copy of the app's folder.
    #[serde(deserialize_with = "values::command")]
    pub run: Command,
    /// What of the result stays out of the image.
    #[serde(default, deserialize_with = "values::list")]
    pub strip: Vec<Pattern>,
    /// Whether programs of the result are linked with libraries of the dev variant's packages: exactly what their loader needs of
    /// them is then in the image.
    #[serde(default)]
    pub libraries: bool,
    /// Packages of the dev variant that what was compiled holds parts of, such as a runtime: they become packages of the image, with
    /// their licences, when the pattern behind them matches a path of it. `*` in a name stands for a part that changes.
    #[serde(default, deserialize_with = "pairs")]
    pub ships: Vec<(Pattern, Pattern)>,
    /// What of the result becomes layers of its own, in this order, below that of all the rest.
    #[serde(default, deserialize_with = "values::list")]
    pub layers: Vec<Pattern>,
    /// Folders that are kept between builds, and are part of no image.
    #[serde(default, deserialize_with = "paths::caches")]
    pub cache: Vec<String>,
    /// Variables of the command's environment.
    #[serde(default, deserialize_with = "values::texts")]
    pub env: BTreeMap<String, String>,
    /// Variables that are added with `--offline`.
    #[serde(default, deserialize_with = "values::texts")]
    pub offline: BTreeMap<String, String>,
    /// Variables that are added when the image is for another processor than this machine's: `{os}`, `{cpu}` and `{libc}` are
    /// filled in. Without them, such a build is an error.
    #[serde(default, deserialize_with = "values::texts")]
    pub foreign: BTreeMap<String, String>,
    /// The compiler's words for processors, where they are not Go's.
    #[serde(default, deserialize_with = "values::texts")]
    pub cpu: BTreeMap<String, String>,
    /// Variables that the command gets as whoever builds has them, if they have them.
    #[serde(default, deserialize_with = "values::list")]
    pub pass: Vec<String>,
    /// Variables that hold the path of a secret's file, by the secret's id, when it is given.
    #[serde(default, deserialize_with = "values::texts")]
    pub secret: BTreeMap<String, String>,
}

/// A table of patterns by patterns.
fn pairs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(Pattern, Pattern)>, D::Error> {
    let pattern = |text: &str| text.parse().map_err(D::Error::custom);
    values::texts(deserializer)?.iter().map(|(name, path)| Ok((pattern(name)?, pattern(path)?))).collect()
}

impl Compile {
    /// The command.
    pub fn words(&self) -> Vec<String> {
        self.run.0.iter().map(|word| word.replace("{out}", OUT)).collect()
    }

    /// The variables of every command in the dev variant, with those that are passed on from this process's.
    pub fn variables(&self) -> BTreeMap<String, String> {
        let passed = self.pass.iter().filter_map(|name| Some((name.clone(), std::env::var(name).ok()?)));
        self.env.clone().into_iter().chain(passed).collect()
    }

    /// All variables of the compilation, for `foreign` when that is not this machine, with the C library there; `None` when it
    /// cannot compile for it.
    pub fn environment(
        &self,
        offline: bool,
        foreign: Option<(&Platform, &'static str)>,
    ) -> Option<BTreeMap<String, String>> {
        let mut variables = self.variables();
        variables.insert("OUT".into(), OUT.into());
        if offline {
            variables.extend(self.offline.clone());
        }
        if let Some((platform, libc)) = foreign {
            if self.foreign.is_empty() {
                return None;
            }
            let cpu = self.cpu.get(&platform.architecture).unwrap_or(&platform.architecture);
            let fill = |word: &String| word.replace("{os}", &platform.os).replace("{cpu}", cpu).replace("{libc}", libc);
            variables.extend(self.foreign.iter().map(|(name, value)| (name.clone(), fill(value))));
        }
        Some(variables)
    }
}
