//! Small random repositories, the real apk's answer to a world over them, and a judge of any answer.

use std::{collections::BTreeMap, fs, path::Path};

use microbuild::internals::apk::{
    checksum::Checksum,
    dependency::Dependency,
    index::{self, Record},
    solve::Repository,
    version::Version,
};

use super::{alpine::Apk, apk_file::index_stream, run};

/// Numbers that look random and are the same everywhere (xorshift64*).
pub struct Random(u64);

impl Random {
    /// The numbers of a seed.
    pub fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        (0..5).for_each(|_| {
            random.below(2);
        });
        random
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as usize % end
    }

    /// True in so many of a hundred cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of `list`.
    pub fn of<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }
}

/// What a random repository has beside versions and dependencies.
#[derive(Debug, Clone, Copy)]
pub struct Features {
    /// Dependencies with `!`.
    pub conflicts: bool,
    /// Provided names, with and without versions, and priorities.
    pub provides: bool,
    /// `install_if`.
    pub install_if: bool,
    /// Three repositories, of which one is tagged `@t`, and wishes pinned to it.
    pub tags: bool,
}

/// Some repositories, each with its tag, and wishes.
pub struct Case {
    /// The tag, and the text of the index.
    pub repositories: Vec<(Option<&'static str>, String)>,
    /// Sorted, at most one wish for a name.
    pub world: Vec<String>,
}

const VIRTUAL: [&str; 3] = ["x", "y", "z"];

impl Case {
    /// A random one.
    pub fn random(random: &mut Random, features: Features) -> Self {
        let names: Vec<String> = "abcdefghijkl"[..4 + random.below(8)].chars().map(String::from).collect();
        let mut records = Vec::new();
        for name in &names {
            for version in 1..=1 + random.below(3) {
                records.push(record(random, features, &names, name, version, records.len()));
            }
        }
        let mut world: Vec<String> =
            (0..1 + random.below(3)).map(|_| names[random.below(names.len())].clone()).collect();
        world.sort();
        world.dedup();
        let mut repositories = vec![(None, String::new())];
        if features.tags {
            repositories.extend([(Some("t"), String::new()), (None, String::new())]);
            world.iter_mut().filter(|_| random.chance(40)).for_each(|wish| wish.push_str("@t"));
        }
        for record in records {
            let first = random.below(repositories.len());
            repositories[first].1 += &record;
            // The same package may lie in two repositories.
            if repositories.len() > 1 && random.chance(10) {
                repositories[(first + 1) % 3].1 += &record;
            }
        }
        Self { repositories, world }
    }

    /// The case as the solver takes it.
    pub fn parse(&self) -> (Vec<Repository>, Vec<Dependency>) {
        let repository = |(tag, text): &(Option<&str>, String)| Repository {
            index: index::parse(text).expect("an index"),
            tag: tag.map(str::to_owned),
            arch: "x86_64".to_owned(),
        };
        let world = self.world.iter().map(|wish| wish.parse().expect("a wish")).collect();
        (self.repositories.iter().map(repository).collect(), world)
    }
}

fn record(
    random: &mut Random,
    features: Features,
    names: &[String],
    name: &str,
    version: usize,
    number: usize,
) -> String {
    let dependency = |random: &mut Random, conflicts: bool| {
        let not = if conflicts && random.chance(10) { "!" } else { "" };
        let target =
            if random.chance(25) { random.of(&VIRTUAL).to_owned() } else { names[random.below(names.len())].clone() };
        let constraint = match random.chance(25) {
            true => format!("{}{}", random.of(&["=", "<", ">", ">=", "<=", "~"]), 1 + random.below(3)),
            false => String::new(),
        };
        format!("{not}{target}{constraint}")
    };
    let list = |random: &mut Random, count, conflicts| -> String {
        (0..count).map(|_| dependency(random, conflicts)).collect::<Vec<_>>().join(" ")
    };
    let mut sha1 = [0; 20];
    sha1[0] = u8::try_from(number).expect("few packages");
    let checksum = Checksum::Sha1(sha1);
    let mut text = format!("C:{checksum}\nP:{name}\nV:{version}\nA:x86_64\nS:1\nI:1\nT:t\nU:u\nL:l\n");
    let depends = random.below(3);
    if depends > 0 {
        text += &format!("D:{}\n", list(random, depends, features.conflicts));
    }
    if features.provides && random.chance(35) {
        let version = if random.chance(50) { format!("={}", 1 + random.below(3)) } else { String::new() };
        text += &format!("p:{}{version}\n", random.of(&VIRTUAL));
        if random.chance(60) {
            text += &format!("k:{}\n", 1 + random.below(3));
        }
    }
    if features.install_if && random.chance(15) {
        let count = 1 + random.below(2);
        text += &format!("i:{}\n", list(random, count, false));
    }
    text + "\n"
}

/// A root filesystem in which the real apk plays through what it would install.
pub struct Stage {
    dir: tempfile::TempDir,
    apk: Apk,
    arch: &'static str,
}

impl Stage {
    /// An empty root filesystem for packages of `arch`.
    pub fn new(apk: Apk, arch: &'static str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let root = dir.path().join("root");
        fs::create_dir(&root).expect("a folder");
        let mut init = apk.command();
        init.arg("--root").arg(&root).args(["--arch", arch, "--no-network", "add", "--initdb"]);
        run(&mut init).succeeds();
        Self { dir, apk, arch }
    }

    /// The packages that apk would install for the world, in its order, as `NAME-VERSION`; its complaint if it cannot.
    /// The repositories are given as a tag and the bytes of an `APKINDEX.tar.gz`, whose signatures do not matter.
    pub fn add(&self, repositories: &[(Option<&str>, Vec<u8>)], world: &[String]) -> Result<Vec<String>, String> {
        let mut lines = String::new();
        for (number, (tag, bytes)) in repositories.iter().enumerate() {
            let folder = self.dir.path().join(number.to_string());
            fs::create_dir_all(folder.join(self.arch)).expect("a folder");
            fs::write(folder.join(self.arch).join("APKINDEX.tar.gz"), bytes).expect("an index");
            lines += &tag.map_or(String::new(), |tag| format!("@{tag} "));
            lines += &format!("{}\n", folder.display());
        }
        let file = self.dir.path().join("repositories");
        fs::write(&file, lines).expect("a list of repositories");
        self.simulate(&file, world)
    }

    fn simulate(&self, repositories: &Path, world: &[String]) -> Result<Vec<String>, String> {
        let mut command = self.apk.command();
        command.arg("--root").arg(self.dir.path().join("root")).arg("--repositories-file").arg(repositories);
        command.args(["--no-network", "--allow-untrusted", "--simulate", "add"]).args(world);
        let finished = run(&mut command);
        if finished.code != Some(0) {
            return Err(finished.stdout + &finished.stderr);
        }
        // (1/2) Installing NAME@TAG (VERSION)
        let installed = finished.stdout.lines().filter_map(|line| line.split_once(" Installing "));
        let package = installed.map(|(_, package)| {
            let (name, version) = package.split_once(" (").expect("a name and a version");
            let name = name.split_once('@').map_or(name, |(name, _)| name);
            format!("{name}-{}", version.trim_end_matches(')'))
        });
        Ok(package.collect())
    }
}

/// The unsigned `APKINDEX.tar.gz` of an index's text.
pub fn index_file(text: &str) -> Vec<u8> {
    index_stream("a random repository", &[text.to_owned()])
}

/// Why `chosen` is no answer to `world`; written without a look at the solver.
pub fn objections(repositories: &[Repository], world: &[Dependency], chosen: &[&Record]) -> Vec<String> {
    let mut objections = Vec::new();
    let has = |record: &Record, name: &str| -> Option<Option<Version>> {
        let provided = record.provides.iter().find(|provide| provide.name == name);
        if record.name == name { Some(Some(record.version.clone())) } else { provided.map(|p| p.version.clone()) }
    };
    let met = |dependency: &Dependency, by: Option<&Record>| {
        let mut matching = chosen.iter().filter(|record| {
            let own = dependency.conflict && by.is_some_and(|by| by.name == record.name);
            !own && has(record, &dependency.name).is_some_and(|v| dependency.accepts(v.as_ref(), &record.checksum))
        });
        matching.next().is_some() != dependency.conflict
    };
    for wish in world.iter().filter(|wish| !met(wish, None)) {
        objections.push(format!("the wish {wish} is not met"));
    }
    let mut owners: BTreeMap<&str, Vec<(&Record, bool)>> = BTreeMap::new();
    for record in chosen {
        for dependency in record.depends.iter().filter(|dependency| !met(dependency, Some(record))) {
            objections.push(format!("{}-{} lacks {dependency}", record.name, record.version));
        }
        owners.entry(&record.name).or_default().push((record, true));
        for provide in &record.provides {
            owners.entry(&provide.name).or_default().push((record, provide.version.is_some()));
        }
        if !repositories.iter().any(|repository| repository.index.records.contains(record)) {
            objections.push(format!("{} is in no repository", record.name));
        }
    }
    for (name, owners) in owners.iter().filter(|(_, owners)| owners.len() > 1) {
        if owners.iter().any(|(_, versioned)| *versioned) {
            objections.push(format!("{} packages have {name}", owners.len()));
        }
    }
    // Nothing that could be left out without breaking something else, unless it came along.
    for record in chosen.iter().filter(|record| record.install_if.is_empty()) {
        let names: Vec<&str> = record.provides.iter().map(|p| p.name.as_str()).chain([record.name.as_str()]).collect();
        let asked = |dependency: &Dependency| !dependency.conflict && names.contains(&dependency.name.as_str());
        if !world.iter().chain(chosen.iter().flat_map(|other| &other.depends)).any(asked) {
            objections.push(format!("nobody asks for {}", record.name));
        }
    }
    objections
}
