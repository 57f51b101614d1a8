//! `[dependencies]` of a recipe: how what a project depends on is installed, in the dev variant.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{
        MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};

use super::paths;
use crate::{
    glob::Pattern,
    image::Platform,
    values::{self, Command},
};

/// How what a project depends on is installed: which of its files are read, what is run, and what of the result is kept.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dependencies {
    /// Files at the top of a project, any of which says that it has dependencies of this kind. Without such files, the
    /// recipe's hook knows.
    #[serde(default, deserialize_with = "values::list")]
    pub when: Vec<Pattern>,
    /// The project's files that the command reads. Nothing else is there when it runs, and when none of them has changed it
    /// need not run again.
    #[serde(deserialize_with = "values::list")]
    pub files: Vec<Pattern>,
    /// Files that say exactly what is installed; the first that is there counts.
    #[serde(deserialize_with = "paths::files")]
    pub lock: Vec<String>,
    /// What is run when there is one.
    #[serde(deserialize_with = "values::command")]
    pub locked: Command,
    /// What is run when there is none.
    #[serde(deserialize_with = "values::command")]
    pub unlocked: Command,
    /// The name of the folder that is the result: `node_modules`.
    #[serde(deserialize_with = "paths::name")]
    pub result: String,
    /// What of the project, once installed, stays out of the image.
    #[serde(default, deserialize_with = "values::list")]
    pub strip: Vec<Pattern>,
    /// Folders that are kept between builds, and are part of no image: where the package manager keeps what it fetched.
    #[serde(default, deserialize_with = "paths::caches")]
    pub cache: Vec<String>,
    /// Words that are added with `--offline`.
    #[serde(default, deserialize_with = "values::list")]
    pub offline: Vec<String>,
    /// Words that are added with `--ignore-scripts`.
    #[serde(default, deserialize_with = "values::list", rename = "ignore-scripts")]
    pub ignore_scripts: Vec<String>,
    /// Words that are added when the image is for another processor than this machine's: `{os}`, `{cpu}` and `{libc}` are
    /// filled in. Without them, such a build is an error.
    #[serde(default, deserialize_with = "values::list")]
    pub foreign: Vec<String>,
    /// The package manager's words for processors, where they are not Go's.
    #[serde(default, deserialize_with = "values::texts")]
    pub cpu: BTreeMap<String, String>,
    /// The package manager's words for the C libraries `glibc` and `musl`.
    #[serde(default, deserialize_with = "values::texts")]
    pub libc: BTreeMap<String, String>,
    /// Variables of the command's environment.
    #[serde(default, deserialize_with = "values::texts")]
    pub env: BTreeMap<String, String>,
    /// Variables that the command gets as whoever builds has them, if they have them.
    #[serde(default, deserialize_with = "values::list")]
    pub pass: Vec<String>,
    /// Variables that hold the path of a secret's file, by the secret's id, when it is given.
    #[serde(default, deserialize_with = "values::texts")]
    pub secret: BTreeMap<String, String>,
}

/// One way of installing dependencies, or several, of which a project's files choose.
pub(super) fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Dependencies>, D::Error> {
    struct Ways;

    impl<'de> Visitor<'de> for Ways {
        type Value = Vec<Dependencies>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table [dependencies], or several [[dependencies]]")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            Ok(vec![Dependencies::deserialize(MapAccessDeserializer::new(map))?])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(seq))
        }
    }

    deserializer.deserialize_any(Ways)
}

/// What a build wants of the command.
#[derive(Debug, Clone, Copy)]
pub struct Wishes<'a> {
    /// Whether a lock file says what is installed.
    pub locked: bool,
    /// Whether the network is left alone.
    pub offline: bool,
    /// Whether no package's script is run.
    pub ignore_scripts: bool,
    /// What it is installed for, when that is not this machine, and the C library there.
    pub foreign: Option<(&'a Platform, &'static str)>,
    /// What is run for that instead of its own first word, where that is the command's; empty for nothing else.
    pub foreign_command: &'a [String],
}

impl Dependencies {
    /// The variables of the command's environment, with those that are passed on from this process's.
    pub fn variables(&self) -> BTreeMap<String, String> {
        let passed = self.pass.iter().filter_map(|name| Some((name.clone(), std::env::var(name).ok()?)));
        self.env.clone().into_iter().chain(passed).collect()
    }

    /// The command as `wishes` have it; `None` when it cannot install for another processor.
    pub fn command(&self, wishes: Wishes<'_>) -> Option<Vec<String>> {
        let mut words = if wishes.locked { &self.locked } else { &self.unlocked }.0.clone();
        if let Some((platform, libc)) = wishes.foreign {
            if self.foreign.is_empty() {
                return None;
            }
            let architecture = &platform.architecture;
            let cpu = self.cpu.get(architecture).unwrap_or(architecture);
            if !wishes.foreign_command.is_empty() && words.first() == wishes.foreign_command.first() {
                words.splice(..1, wishes.foreign_command.iter().cloned());
            }
            let libc = self.libc.get(libc).map_or(libc, String::as_str);
            let fill = |word: &String| word.replace("{os}", &platform.os).replace("{cpu}", cpu).replace("{libc}", libc);
            words.extend(self.foreign.iter().map(fill));
        }
        for (wanted, more) in [(wishes.offline, &self.offline), (wishes.ignore_scripts, &self.ignore_scripts)] {
            if wanted {
                words.extend(more.iter().filter(|word| !words.contains(word)).cloned().collect::<Vec<_>>());
            }
        }
        Some(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Shelves;

    #[test]
    fn nodes_commands() {
        let node = Shelves::default().find("node").expect("built in").dependencies.remove(0);
        let arm: Platform = "linux/arm64".parse().expect("a platform");
        let amd: Platform = "linux/amd64".parse().expect("a platform");
        let plain = Wishes { locked: true, offline: false, ignore_scripts: false, foreign: None, foreign_command: &[] };
        for (wishes, expected) in [
            (plain, "npm ci --omit=dev"),
            (Wishes { locked: false, ..plain }, "npm install --omit=dev --no-package-lock"),
            (Wishes { offline: true, ignore_scripts: true, ..plain }, "npm ci --omit=dev --offline --ignore-scripts"),
            (
                Wishes { foreign: Some((&arm, "musl")), ignore_scripts: true, ..plain },
                "npm ci --omit=dev --os=linux --cpu=arm64 --libc=musl --ignore-scripts",
            ),
            (
                Wishes { foreign: Some((&amd, "glibc")), ..plain },
                "npm ci --omit=dev --os=linux --cpu=x64 --libc=glibc --ignore-scripts",
            ),
        ] {
            assert_eq!(node.command(wishes).expect("a command").join(" "), expected);
        }
        let newer = ["npm", "exec", "--", "npm@10"].map(str::to_owned);
        let wishes = Wishes { foreign: Some((&arm, "musl")), foreign_command: &newer, ..plain };
        assert!(
            node.command(wishes).expect("a command").join(" ").starts_with("npm exec -- npm@10 ci --omit=dev --os=")
        );
        let other = Dependencies { locked: Command(vec!["sh".into(), "-c".into()]), ..node.clone() };
        assert_eq!(other.command(wishes).expect("a command")[..2], ["sh", "-c"], "another program is no npm");
        let without = Dependencies { foreign: Vec::new(), ..node };
        assert_eq!(without.command(Wishes { foreign: Some((&arm, "musl")), ..plain }), None);
    }
}
