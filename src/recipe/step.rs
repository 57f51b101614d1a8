//! `[[step]]` of a recipe: a command that runs in the dev variant, and the parts of its result that go into the image.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{
    Deserialize, Deserializer,
    de::{
        Error as _, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};

use super::paths;
use crate::{
    glob::Pattern,
    image::Platform,
    values::{self, Command},
};

/// The folder for a command's result, empty at first: `{out}` in a recipe, the variable `OUT` of the command.
pub const OUT: &str = "/run/out";

/// The place of [`OUT`] in a recipe's words and paths.
const OUT_PLACE: &str = "{out}";

/// A command that runs in the dev variant for an app.
///
/// A recipe's steps run in their order. Of several steps with one name, a project has one: the first whose
/// [`Step::when`] or [`Step::lock`] names one of its files, or else the one without `when`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Its name, for messages, timings and `--secret step=NAME`: lower-case letters, digits, `-`.
    #[serde(deserialize_with = "name")]
    pub name: String,
    /// Files at the top of a project. A project with any of them has this step; an empty list means every project.
    #[serde(default, deserialize_with = "values::list")]
    pub when: Vec<Pattern>,
    /// Whether it installs the project's dependencies. Then `--deps` decides whether it runs, and its result replaces
    /// the folders of the same names in the app's own folder.
    #[serde(default)]
    pub installs: bool,
    /// Whether it builds the app, or installs what the build needs. Such a step runs only where the project has a build,
    /// as its language says. Its command gets the variables `BUILD`, a command line, and `OUTPUT`, what the image needs of
    /// the result: on each line a path, a tab, and the path in the image; a further tab and `?` where it may be missing;
    /// or `+` for every new file.
    #[serde(default)]
    pub builds: bool,
    /// Patterns for files at the top of the project that the command sees. An empty list means all files that go into
    /// the image. The step runs again only when one of them has changed.
    #[serde(default, deserialize_with = "values::list")]
    pub files: Vec<Pattern>,
    /// Names of earlier steps. The command sees their kept results at their paths.
    #[serde(default, deserialize_with = "values::list")]
    pub after: Vec<String>,
    /// The command. `{out}` is [`OUT`].
    #[serde(deserialize_with = "values::command")]
    pub run: Command,
    /// Lock files. The first that exists counts.
    #[serde(default, deserialize_with = "paths::files")]
    pub lock: Vec<String>,
    /// The command that runs instead when there is a lock file.
    #[serde(default, deserialize_with = "values::optional_command")]
    pub locked: Option<Command>,
    /// Variables of the command's environment.
    #[serde(default, deserialize_with = "values::texts")]
    pub env: BTreeMap<String, String>,
    /// Variables that the command gets from microbuild's own environment, where they are set.
    #[serde(default, deserialize_with = "values::list")]
    pub pass: Vec<String>,
    /// Variables for the path of a secret's file, by the secret's id. A variable is set when the command gets the
    /// secret.
    #[serde(default, deserialize_with = "values::texts")]
    pub secret: BTreeMap<String, String>,
    /// Folders that are kept between builds of a project, and are part of no image.
    #[serde(default, deserialize_with = "paths::caches")]
    pub cache: Vec<String>,
    /// Words or variables that are added with `--offline`.
    #[serde(default)]
    pub offline: Extra,
    /// Words or variables that are added with `--ignore-scripts`.
    #[serde(default, rename = "ignore-scripts")]
    pub ignore_scripts: Extra,
    /// Words or variables that are added when the image is for another processor than this machine's. `{os}`, `{cpu}`
    /// and `{libc}` are filled in. `true` adds none: the result is the same for every processor. Without this key, such
    /// a build is an error.
    pub foreign: Option<Foreign>,
    /// The other processors that the command works for; none listed means all. For any other, the build is an error, as
    /// without [`Step::foreign`].
    #[serde(default, rename = "foreign-cpus", deserialize_with = "values::list")]
    pub foreign_cpus: Vec<String>,
    /// The command's names for processors, where they differ from Go's.
    #[serde(default, deserialize_with = "values::texts")]
    pub cpu: BTreeMap<String, String>,
    /// The command's names for the C libraries `glibc` and `musl`.
    #[serde(default, deserialize_with = "values::texts")]
    pub libc: BTreeMap<String, String>,
    /// The parts of the result that are kept. A file belongs to the first entry that matches it.
    pub keep: Vec<Keep>,
    /// Patterns for files of the kept result that are left out.
    #[serde(default, deserialize_with = "values::list")]
    pub strip: Vec<Pattern>,
    /// Files of the result that may lack a library, because the program that loads them works without them.
    #[serde(default, deserialize_with = "values::list")]
    pub plugins: Vec<Pattern>,
    /// Packages of the dev variant that the result holds parts of, such as a runtime, each with a pattern. When the
    /// pattern matches a path of the result, the package is listed in the image, with its licences. `*` in a name
    /// stands for a part that changes.
    #[serde(default, deserialize_with = "pairs")]
    pub ships: Vec<(Pattern, Pattern)>,
}

/// Words that are added to a command, or variables to its environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extra {
    /// The words. A word that the command already has is not added again.
    pub words: Vec<String>,
    /// The variables.
    pub env: BTreeMap<String, String>,
}

/// What a command needs for another processor; see [`Step::foreign`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Foreign(pub Extra);

/// Files of a step's result that are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    /// The files.
    pub place: Place,
    /// The title of their layer; `None` for files that only later steps see.
    pub layer: Option<String>,
}

/// The place of files in a step's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Folders and files of the work folder that match this pattern. They have the same path in the image.
    Work(Pattern),
    /// Files in [`OUT`] that match this pattern; without a pattern, all of them. Their path in the image is the one
    /// below `OUT`.
    Out(Option<Pattern>),
}

impl Place {
    /// Whether it is a place in [`OUT`].
    pub fn is_out(&self) -> bool {
        matches!(self, Self::Out(_))
    }

    /// Whether the file at `path`, relative to the place's folder, belongs to it.
    pub fn takes(&self, path: &str) -> bool {
        match self {
            Self::Work(pattern) | Self::Out(Some(pattern)) => pattern.matches_tree(path),
            Self::Out(None) => true,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Work(pattern) => pattern.fmt(f),
            Self::Out(None) => f.write_str(OUT_PLACE),
            Self::Out(Some(pattern)) => write!(f, "{OUT_PLACE}/{pattern}"),
        }
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pattern = |text: &str| -> Result<Pattern, String> { text.parse().map_err(|error| format!("{error}")) };
        match text.strip_prefix(OUT_PLACE) {
            Some("") => Ok(Self::Out(None)),
            Some(rest) => match rest.strip_prefix('/').filter(|rest| !rest.is_empty()) {
                Some(rest) => Ok(Self::Out(Some(pattern(rest)?))),
                None => Err(format!("expected {OUT_PLACE} or {OUT_PLACE}/PATH, found `{text}`")),
            },
            None if text.is_empty() || text.starts_with('/') || text.split('/').any(|part| part == "..") => {
                Err(format!("expected a path in the work folder or in {OUT_PLACE}, found `{text}`"))
            }
            None => Ok(Self::Work(pattern(text)?)),
        }
    }
}

/// The conditions under which a build runs a step's command.
#[derive(Debug, Clone, Copy)]
pub struct Conditions<'a> {
    /// Whether there is a lock file.
    pub locked: bool,
    /// Whether the step runs without the network (`--offline`).
    pub offline: bool,
    /// Whether scripts of packages are skipped (`--ignore-scripts`).
    pub ignore_scripts: bool,
    /// The result's platform and C library, when its processor is not this machine's.
    pub foreign: Option<(&'a Platform, &'static str)>,
    /// Words that replace the command's first word, by that word, when the result is for another processor.
    pub foreign_command: &'a BTreeMap<String, Vec<String>>,
}

/// A command with its variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The command's words.
    pub words: Vec<String>,
    /// Its variables, without those that every command in the dev variant has.
    pub env: BTreeMap<String, String>,
}

impl Step {
    /// The title of the layer of everything that is left in [`OUT`].
    const APP: &'static str = "app";

    /// The variables that the step's command has under all conditions. `passed` are those of [`Step::pass`] that are
    /// set.
    pub fn variables(&self, environment: &dyn Fn(&str) -> Option<String>) -> BTreeMap<String, String> {
        let passed = self.pass.iter().filter_map(|name| Some((name.clone(), environment(name)?)));
        self.env.clone().into_iter().chain(passed).collect()
    }

    /// The command under these conditions; `None` when it cannot work for another processor.
    pub fn invocation(
        &self,
        conditions: Conditions<'_>,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Option<Invocation> {
        let command = self.locked.as_ref().filter(|_| conditions.locked).unwrap_or(&self.run);
        let mut words: Vec<String> = command.0.iter().map(|word| word.replace(OUT_PLACE, OUT)).collect();
        let mut env = self.variables(environment);
        if self.leaves_out() {
            env.insert("OUT".to_owned(), OUT.to_owned());
        }
        let foreign = match conditions.foreign {
            Some((platform, libc)) => {
                let Foreign(extra) = self.foreign.as_ref()?;
                if !self.foreign_cpus.is_empty() && !self.foreign_cpus.contains(&platform.architecture) {
                    return None;
                }
                if let Some(other) = words.first().and_then(|first| conditions.foreign_command.get(first)) {
                    words.splice(..1, other.iter().cloned());
                }
                let cpu = self.cpu.get(&platform.architecture).unwrap_or(&platform.architecture);
                let libc = self.libc.get(libc).map_or(libc, String::as_str);
                let fill =
                    |word: &str| word.replace("{os}", &platform.os).replace("{cpu}", cpu).replace("{libc}", libc);
                extra.map(fill)
            }
            None => Extra::default(),
        };
        words.extend(foreign.words);
        env.extend(foreign.env);
        for (asked, extra) in [(conditions.offline, &self.offline), (conditions.ignore_scripts, &self.ignore_scripts)] {
            if asked {
                let more: Vec<String> = extra.words.iter().filter(|word| !words.contains(word)).cloned().collect();
                words.extend(more);
                env.extend(extra.env.clone());
            }
        }
        Some(Invocation { words, env })
    }

    /// Whether at least a part of the result is in [`OUT`].
    pub fn leaves_out(&self) -> bool {
        self.keep.iter().any(|keep| keep.place.is_out()) || self.run.0.iter().any(|word| word.contains(OUT_PLACE))
    }

    /// The folders of the app's own folder that its result replaces.
    pub fn results(&self) -> impl Iterator<Item = &Pattern> {
        self.keep.iter().filter_map(|keep| match &keep.place {
            Place::Work(pattern) => Some(pattern),
            Place::Out(_) => None,
        })
    }

    /// The first mistake in the step. It needs the names of the steps before it.
    pub(super) fn mistake(&self, earlier: &[&str]) -> Option<String> {
        if self.run.0.is_empty() {
            return Some(format!("step {} has no command: `run` is empty", self.name));
        }
        if self.keep.is_empty() {
            return Some(format!("step {} keeps nothing of its result: `keep` is empty", self.name));
        }
        let unknown = self.after.iter().find(|name| !earlier.contains(&name.as_str()))?;
        let known = if earlier.is_empty() { "none".to_owned() } else { earlier.join(", ") };
        Some(format!("step {} comes after `{unknown}`, which is no earlier step (earlier: {known})", self.name))
    }
}

impl Extra {
    fn map(&self, change: impl Fn(&str) -> String) -> Self {
        Self {
            words: self.words.iter().map(|word| change(word)).collect(),
            env: self.env.iter().map(|(name, value)| (name.clone(), change(value))).collect(),
        }
    }
}

/// The reader of words, variables, or, where it is allowed, `true`.
struct WordsOrVariables {
    may_be_true: bool,
}

impl<'de> Visitor<'de> for WordsOrVariables {
    type Value = Extra;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of words or a table of variables")?;
        if self.may_be_true { f.write_str(", or true") } else { Ok(()) }
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Extra, E> {
        if self.may_be_true && value {
            return Ok(Extra::default());
        }
        Err(E::invalid_type(serde::de::Unexpected::Bool(value), &self))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Extra, A::Error> {
        let env = values::texts(MapAccessDeserializer::new(map))?;
        Ok(Extra { words: Vec::new(), env })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Extra, A::Error> {
        let words = values::list(SeqAccessDeserializer::new(seq))?;
        Ok(Extra { words, env: BTreeMap::new() })
    }
}

impl<'de> Deserialize<'de> for Extra {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordsOrVariables { may_be_true: false })
    }
}

impl<'de> Deserialize<'de> for Foreign {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordsOrVariables { may_be_true: true }).map(Self)
    }
}

/// `"PATH"`, whose layer has the path as its title, or `{ path = "PATH", layer = "TITLE" }`. `layer = false` makes no
/// layer.
impl<'de> Deserialize<'de> for Keep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Layer {
            Title(String),
            Made(bool),
        }

        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            path: String,
            layer: Option<Layer>,
        }

        struct PathOrTable;

        impl<'de> Visitor<'de> for PathOrTable {
            type Value = Table;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path, or a table of path and layer")
            }

            fn visit_str<E: serde::de::Error>(self, path: &str) -> Result<Table, E> {
                Ok(Table { path: path.to_owned(), layer: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Table, A::Error> {
                Table::deserialize(MapAccessDeserializer::new(map))
            }
        }

        let Table { path, layer } = deserializer.deserialize_any(PathOrTable)?;
        let place: Place = path.parse().map_err(D::Error::custom)?;
        let layer = match layer {
            Some(Layer::Made(false)) => None,
            Some(Layer::Title(title)) => Some(title),
            Some(Layer::Made(true)) | None => Some(match path.strip_prefix(OUT_PLACE) {
                Some("") => Step::APP.to_owned(),
                Some(rest) => rest.trim_start_matches('/').to_owned(),
                None => path,
            }),
        };
        Ok(Self { place, layer })
    }
}

/// Reads a table of patterns by patterns.
fn pairs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(Pattern, Pattern)>, D::Error> {
    let pattern = |text: &str| text.parse().map_err(D::Error::custom);
    values::texts(deserializer)?.iter().map(|(name, path)| Ok((pattern(name)?, pattern(path)?))).collect()
}

/// Reads a step's name. `dev` is reserved: it is the command of `microbuild dev`.
fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match super::name(deserializer)?.as_str() {
        "dev" => Err(D::Error::custom("a step cannot be called `dev`: that is the command of `microbuild dev`")),
        name => Ok(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{Recipe, RecipeSearch};

    #[test]
    fn npms_commands() {
        let node = RecipeSearch::default().find("node").expect("built in");
        let npm = node.steps.into_iter().find(|step| step.when.is_empty()).expect("npm's");
        let arm: Platform = "linux/arm64".parse().expect("a platform");
        let amd: Platform = "linux/amd64".parse().expect("a platform");
        let none = BTreeMap::new();
        let plain =
            Conditions { locked: true, offline: false, ignore_scripts: false, foreign: None, foreign_command: &none };
        let words = |step: &Step, conditions| {
            step.invocation(conditions, &|_| None).map(|invocation| invocation.words.join(" "))
        };
        for (conditions, expected) in [
            (plain, "sh /run/recipe/npm.sh ci"),
            (Conditions { locked: false, ..plain }, "sh /run/recipe/npm.sh install --no-package-lock"),
            (
                Conditions { offline: true, ignore_scripts: true, ..plain },
                "sh /run/recipe/npm.sh ci --offline --ignore-scripts",
            ),
            (
                Conditions { foreign: Some((&arm, "musl")), ignore_scripts: true, ..plain },
                "sh /run/recipe/npm.sh ci --os=linux --cpu=arm64 --libc=musl --ignore-scripts",
            ),
            (
                Conditions { foreign: Some((&amd, "glibc")), ..plain },
                "sh /run/recipe/npm.sh ci --os=linux --cpu=x64 --libc=glibc --ignore-scripts",
            ),
        ] {
            assert_eq!(words(&npm, conditions).as_deref(), Some(expected));
        }
        let newer = [("npm".to_owned(), ["npm", "exec", "--", "npm@10"].map(str::to_owned).to_vec())].into();
        let conditions = Conditions { foreign: Some((&arm, "musl")), foreign_command: &newer, ..plain };
        let by_npm =
            Step { locked: Some(Command(vec!["npm".into(), "ci".into(), "--omit=dev".into()])), ..npm.clone() };
        let foreign = words(&by_npm, conditions).expect("a command");
        assert!(foreign.starts_with("npm exec -- npm@10 ci --omit=dev --os="), "{foreign}");
        let other = Step { locked: Some(Command(vec!["sh".into(), "-c".into()])), ..npm.clone() };
        assert!(words(&other, conditions).expect("a command").starts_with("sh -c"), "another program is not npm");
        let known = Step { foreign_cpus: vec!["amd64".into()], ..npm.clone() };
        assert!(words(&known, Conditions { foreign: Some((&amd, "musl")), ..plain }).is_some());
        assert_eq!(words(&known, Conditions { foreign: Some((&arm, "musl")), ..plain }), None);
        let without = Step { foreign: None, ..npm };
        assert_eq!(words(&without, Conditions { foreign: Some((&arm, "musl")), ..plain }), None);
    }

    const SMALL: &str = "name = 'x'\ndescription = 'x'\n[base.alpine]\npackages = ['x']\n";

    fn steps(text: &str) -> Vec<Step> {
        Recipe::parse(&format!("{SMALL}{text}"), "x").expect("a recipe").steps
    }

    #[test]
    fn one_type_says_what_is_installed_and_what_is_built() {
        let text = "[[step]]
            name = 'install'
            installs = true
            run = ['get', 'all']
            locked = ['get', 'exactly']
            offline = ['--offline']
            foreign = ['--cpu={cpu}']
            cpu = { amd64 = 'x64' }
            keep = [{ path = '**/modules', layer = 'dependencies' }]
            [[step]]
            name = 'build'
            after = ['install']
            run = ['make', '{out}/app']
            env = { A = '1' }
            offline = { A = '2' }
            foreign = true
            keep = ['{out}/lib', '{out}', { path = 'generated/', layer = false }]";
        let [install, build] = <[Step; 2]>::try_from(steps(text)).expect("two");
        let amd: Platform = "linux/amd64".parse().expect("a platform");
        let none = BTreeMap::new();
        let conditions = Conditions {
            locked: true,
            offline: true,
            ignore_scripts: true,
            foreign: Some((&amd, "musl")),
            foreign_command: &none,
        };
        let of = |step: &Step| step.invocation(conditions, &|_| None).expect("a command");
        assert_eq!(
            of(&install),
            Invocation {
                words: ["get", "exactly", "--cpu=x64", "--offline"].map(str::to_owned).into(),
                env: BTreeMap::new()
            }
        );
        let env = [("A", "2"), ("OUT", OUT)].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(of(&build), Invocation { words: vec!["make".into(), "/run/out/app".into()], env: env.into() });
        let titles: Vec<_> = build.keep.iter().map(|keep| keep.layer.as_deref()).collect();
        assert_eq!(titles, [Some("lib"), Some("app"), None]);
        for (keep, path, taken) in [
            (&install.keep[0], "modules/a", true),
            (&install.keep[0], "packages/b/modules/a/c", true),
            (&install.keep[0], "modules2", false),
            (&build.keep[0], "lib/a", true),
            (&build.keep[0], "app", false),
            (&build.keep[1], "app", true),
        ] {
            assert_eq!(keep.place.takes(path), taken, "{keep:?} {path}");
        }
    }

    #[test]
    fn mistakes_in_steps_are_shown() {
        let step = |text: &str| {
            let text = format!("{SMALL}[[step]]\nname = 'a'\n{text}");
            let error = Recipe::parse(&text, "x.toml").expect_err("a mistake");
            error.to_string()
        };
        let texts = [
            step("run = 'x'"),
            step("run = 'x'\nkeep = []"),
            step("run = []\nkeep = ['x']"),
            step("run = 'x'\nkeep = ['../x']"),
            step("run = 'x'\nkeep = ['{out}x']"),
            step("run = 'x'\nkeep = ['x']\nafter = ['b']"),
            step("run = 'x'\nkeep = ['x']\noffline = true"),
            step("run = 'x'\nkeep = ['x']\nforeign = false"),
            step("run = 'x'\nkeep = ['x']\n[[step]]\nname = 'dev'"),
        ];
        insta::assert_snapshot!(texts.join("\n"));
    }
}
