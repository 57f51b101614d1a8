//! The solver: apt is the judge of what a wish needs on a machine on which nothing is installed.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use microbuild::{
    deb::{
        index,
        solve::{Repository, Solution, Wish, solve},
    },
    digest::Digest,
};
use tempfile::TempDir;

use crate::{
    it::deb_mirror::{self, Suite},
    support::{apk_world::Random, run, tools},
};

/// apt with lists of its own, and an empty status.
struct Apt {
    program: PathBuf,
    folder: TempDir,
    architecture: String,
}

impl Apt {
    fn new(program: PathBuf, suites: &[Suite], architecture: &str) -> Self {
        let text = |suite: &Suite| suite.index.records.iter().map(|r| format!("{}\n\n", r.paragraph())).collect();
        Self::with_lists(program, &suites.iter().map(text).collect::<Vec<String>>(), architecture)
    }

    /// apt with the texts of these indexes.
    fn with_lists(program: PathBuf, indexes: &[String], architecture: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let lists = folder.path().join("lists");
        fs::create_dir_all(lists.join("partial")).expect("a folder");
        let mut sources = String::new();
        for (number, text) in indexes.iter().enumerate() {
            let name = format!("s{number}");
            let _ = writeln!(sources, "deb [trusted=yes] file:/m {name} main");
            let file = format!("_m_dists_{name}_main_binary-{architecture}_Packages");
            fs::write(lists.join(file), text).expect("written");
            let release = format!("Suite: {name}\nCodename: {name}\nArchitectures: {architecture}\nComponents: main\n");
            fs::write(lists.join(format!("_m_dists_{name}_Release")), release).expect("written");
        }
        for (file, text) in [
            ("sources.list", sources.as_str()),
            ("status", ""),
            ("conf", "Dir::Etc::main \"none\";\nDir::Etc::parts \"none\";\n"),
        ] {
            fs::write(folder.path().join(file), text).expect("written");
        }
        Self { program, folder, architecture: architecture.to_owned() }
    }

    /// Name and version of each package that apt would install for the wishes; `None` when it cannot.
    fn install(&self, wishes: &[&str]) -> Option<BTreeSet<String>> {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        let mut command = Command::new(&self.program);
        command.env("APT_CONFIG", at("conf")).env("LC_ALL", "C");
        for option in [
            format!("Dir::State={}", at("")),
            format!("Dir::State::lists={}", at("lists")),
            format!("Dir::State::status={}", at("status")),
            format!("Dir::Cache={}", at("")),
            format!("Dir::Etc::sourcelist={}", at("sources.list")),
            "Dir::Etc::sourceparts=-".to_owned(),
            "Dir::Etc::preferences=-".to_owned(),
            "Dir::Etc::preferencesparts=-".to_owned(),
            format!("APT::Architecture={}", self.architecture),
            format!("APT::Architectures={}", self.architecture),
            "Debug::NoLocking=1".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        let finished = run(command.args(["-s", "--no-install-recommends", "install"]).args(wishes));
        let installed = finished.stdout.lines().filter_map(|line| {
            let mut words = line.strip_prefix("Inst ")?.split(' ');
            let name = words.next()?.split(':').next()?;
            Some(format!("{name}={}", words.next()?.trim_start_matches('(')))
        });
        (finished.code == Some(0)).then(|| installed.collect())
    }
}

fn repositories(suites: &[Suite]) -> Vec<Repository> {
    let repository = |suite: &Suite| Repository { index: suite.index.clone(), priority: suite.release.priority() };
    suites.iter().map(repository).collect()
}

fn wishes(names: &[&str]) -> Vec<Wish> {
    names.iter().map(|name| name.parse().expect("a wish")).collect()
}

fn set(solution: &Solution<'_>) -> BTreeSet<String> {
    let packages = solution.packages.iter();
    packages.map(|p| format!("{}={}", p.record.name(), p.record.version())).collect()
}

/// The runtimes of the languages, their package managers and compilers, and what images have besides.
const RUNTIMES: [&[&str]; 36] = [
    &["nodejs"],
    &["nodejs", "npm"],
    &["python3"],
    &["python3", "python3-pip", "python3-venv"],
    &["ruby"],
    &["ruby", "bundler"],
    &["perl"],
    &["perl", "cpanminus"],
    &["php-cli"],
    &["php-cli", "composer"],
    &["default-jre-headless"],
    &["openjdk-17-jdk-headless"],
    &["openjdk-17-jre-headless", "maven"],
    &["leiningen"],
    &["erlang-base"],
    &["elixir"],
    &["ghc"],
    &["ghc", "cabal-install"],
    &["mono-runtime"],
    &["golang"],
    &["rustc", "cargo"],
    &["gcc", "g++", "make", "cmake"],
    &["build-essential"],
    &["kotlin"],
    &["scala"],
    &["postgresql-client"],
    &["curl"],
    &["git"],
    &["ca-certificates"],
    &["tzdata"],
    &["libstdc++6"],
    &["busybox"],
    &["base-files", "netbase", "ca-certificates", "tzdata"],
    &["lua5.4", "luarocks"],
    &["r-base-core"],
    &["sbcl"],
];

/// Compares with apt's answers. Where apt gives up, whatever is found will do.
#[track_caller]
fn compare(apt: &Apt, repositories: &[Repository], cases: &[Vec<&str>]) -> (usize, Duration) {
    let (mut compared, mut spent, mut different) = (0, Duration::ZERO, String::new());
    for case in cases {
        let Some(theirs) = apt.install(case) else { continue };
        let (wishes, begin) = (wishes(case), Instant::now());
        let solution = solve(repositories, &apt.architecture, &wishes, &[]);
        spent += begin.elapsed();
        let ours = match solution {
            Ok(solution) => set(&solution),
            Err(e) => {
                let _ = writeln!(different, "{case:?}: {e}");
                continue;
            }
        };
        compared += 1;
        if ours != theirs {
            let _ = writeln!(
                different,
                "{case:?} ({} packages): only apt has {:?}; only we have {:?}",
                theirs.len(),
                theirs.difference(&ours).collect::<Vec<_>>(),
                ours.difference(&theirs).collect::<Vec<_>>()
            );
        }
    }
    assert_eq!(different, "", "apt answers otherwise");
    (compared, spent)
}

#[track_caller]
fn judge(release: &str, architecture: &str, runtimes: usize, random: usize) {
    let (Some([program]), Some(suites)) = (tools(["apt-get"]), deb_mirror::suites(release, architecture)) else {
        return;
    };
    let apt = Apt::new(program, suites, architecture);
    let repositories = repositories(suites);
    let mut cases: Vec<Vec<&str>> = RUNTIMES.iter().step_by(runtimes).map(|case| case.to_vec()).collect();
    let mut numbers = Random::new(architecture.len() as u64 + random as u64);
    let records = &suites[0].index.records;
    for number in 0..random {
        // Two packages together meet each other's alternatives.
        let one = || records[numbers.below(records.len())].name();
        cases.push(std::iter::repeat_with(one).take(1 + number % 3 / 2).collect());
    }
    let begin = Instant::now();
    let (compared, spent) = compare(&apt, &repositories, &cases);
    let (count, all) = (cases.len(), begin.elapsed());
    println!("{release} {architecture}: {compared} of {count} cases in {all:?}, of which {spent:?} are ours");
    assert!(compared * 10 > cases.len() * 8, "apt knows most of them: {compared}");
}

/// How many random packages are compared, and which part of the runtimes in foreign surroundings: an answer of apt takes a
/// second. `MICROBUILD_TEST_PACKAGES=100` compares more.
fn effort() -> (usize, usize) {
    let asked = std::env::var("MICROBUILD_TEST_PACKAGES").ok().and_then(|count| count.parse().ok());
    asked.map_or((24, 4), |count| (count, 1))
}

#[test]
fn sets_are_those_of_apt_on_amd64() {
    let Some(own) = deb_mirror::own_release() else { return };
    judge(&own, "amd64", 1, effort().0);
}

#[test]
fn sets_are_those_of_apt_on_arm64() {
    let (Some(own), (random, step)) = (deb_mirror::own_release(), effort()) else { return };
    judge(&own, "arm64", step, random / 3);
}

#[test]
fn sets_are_those_of_apt_in_another_release() {
    let (Some(own), (random, step)) = (deb_mirror::own_release(), effort()) else { return };
    judge(if own == "trixie" { "bookworm" } else { "trixie" }, "amd64", step, random / 3);
}

#[test]
fn what_is_dropped_takes_with_it_what_only_it_needs() {
    let (Some(own), Some([program])) = (deb_mirror::own_release(), tools(["apt-get"])) else { return };
    let Some(suites) = deb_mirror::suites(&own, "amd64") else { return };
    let (apt, repositories) = (Apt::new(program, suites, "amd64"), repositories(suites));
    let dropped = ["dpkg", "debconf", "perl-base", "media-types"].map(str::to_owned);
    let mut less = 0;
    for case in [&["nodejs"][..], &["python3"], &["ca-certificates", "tzdata"], &["default-jre-headless"]] {
        let all = apt.install(case).expect("apt knows it");
        let wishes = wishes(case);
        let solution = solve(&repositories, "amd64", &wishes, &dropped).expect("a solution");
        let ours = set(&solution);
        assert!(ours.is_subset(&all), "{case:?}: {ours:?}");
        less += all.len() - ours.len();
        assert!(!ours.iter().any(|package| dropped.iter().any(|d| package.starts_with(&format!("{d}=")))), "{ours:?}");
        for package in &solution.packages {
            let chain = solution.why(package.record.name()).expect("a reason");
            assert!(case.contains(&chain[0].record.name()), "{}", package.record.name());
        }
    }
    assert!(less >= 5, "{less}");
}

/// The text of an index of a few packages with random versions, dependencies and, where that is asked for, conflicts.
fn random_index(random: &mut Random, conflicts: bool) -> String {
    const NAMES: [&str; 9] = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
    const VIRTUAL: [&str; 3] = ["x", "y", "z"];
    let constraint = |random: &mut Random| match random.below(8) {
        0 => format!(" ({} {})", random.of(&["<<", "<=", "=", ">=", ">>"]), 1 + random.below(3)),
        _ => String::new(),
    };
    let any = |random: &mut Random| {
        let name = if random.chance(25) { random.of(&VIRTUAL) } else { random.of(&NAMES) };
        let qualifier = if random.chance(5) { ":any" } else { "" };
        format!("{name}{qualifier}{}", constraint(random))
    };
    let mut text = String::new();
    for name in NAMES {
        for version in 1..=1 + random.below(2) {
            let hash = Digest::of(format!("{name}{version}{}", random.below(1 << 30))).hex();
            let _ = writeln!(text, "Package: {name}\nVersion: {version}\nArchitecture: amd64");
            for (field, chance, most, alternatives) in
                [("Pre-Depends", 10, 1, 1), ("Depends", 60, 3, 3), ("Conflicts", 20, 1, 1), ("Breaks", 20, 1, 1)]
            {
                if (field == "Conflicts" || field == "Breaks") && !conflicts || !random.chance(chance) {
                    continue;
                }
                let entry = |random: &mut Random| {
                    let count = 1 + random.below(alternatives);
                    (0..count).map(|_| any(random)).collect::<Vec<_>>().join(" | ")
                };
                let count = 1 + random.below(most);
                let entries: Vec<_> = (0..count).map(|_| entry(random)).collect();
                let _ = writeln!(text, "{field}: {}", entries.join(", "));
            }
            if random.chance(30) {
                let provided = if random.chance(30) { format!(" (= {})", 1 + random.below(3)) } else { String::new() };
                let _ = writeln!(text, "Provides: {}{provided}", random.of(&VIRTUAL));
            }
            for (field, chance, values) in [
                ("Priority", 50, &["required", "important", "optional", "extra"][..]),
                ("Essential", 5, &["yes"]),
                ("Protected", 5, &["yes"]),
                ("Multi-Arch", 30, &["allowed", "foreign", "same"]),
            ] {
                if random.chance(chance) {
                    let _ = writeln!(text, "{field}: {}", random.of(values));
                }
            }
            let _ = writeln!(text, "Filename: p/{name}_{version}.deb\nSize: 1\nSHA256: {hash}\n");
        }
    }
    text
}

/// In how many of the random cases apt and this program have an answer, and in how many of these another one.
fn random_cases(program: &Path, seed: u64, count: usize, conflicts: bool) -> (usize, String) {
    let mut random = Random::new(seed);
    let (mut compared, mut different) = (0, String::new());
    for number in 0..count {
        let texts: Vec<_> = (0..1 + random.below(2)).map(|_| random_index(&mut random, conflicts)).collect();
        let repositories = texts.iter().map(|text| index::parse(text).expect("an index"));
        let repositories: Vec<_> = repositories.map(|index| Repository { index, priority: 500 }).collect();
        let names = ["a", "b", "c", "d"];
        let case: Vec<_> = (0..1 + random.below(3)).map(|_| *random.of(&names.each_ref())).collect();
        let ours = solve(&repositories, "amd64", &wishes(&case), &[]).map(|solution| set(&solution)).ok();
        let theirs = Apt::with_lists(program.to_owned(), &texts, "amd64").install(&case);
        match (ours, theirs) {
            (_, None) => {}
            (Some(ours), Some(theirs)) if ours == theirs => compared += 1,
            (ours, theirs) => {
                compared += 1;
                let _ =
                    writeln!(different, "{number}: {case:?}: apt {theirs:?}, we {ours:?}\n{}", texts.join("----\n"));
            }
        }
    }
    (compared, different)
}

fn worlds() -> usize {
    (5 * effort().0).max(120)
}

#[test]
fn random_worlds_without_conflicts_are_solved_as_by_apt() {
    let Some([program]) = tools(["apt-get"]) else { return };
    let (compared, different) = random_cases(&program, 1, worlds(), false);
    assert!(compared > 40, "{compared}");
    assert!(different.is_empty(), "of {compared}, these differ:\n{different}");
}

#[test]
fn random_worlds_with_conflicts_are_mostly_solved_as_by_apt() {
    let Some([program]) = tools(["apt-get"]) else { return };
    let (compared, different) = random_cases(&program, 2, worlds(), true);
    assert!(compared > 20, "{compared}");
    let count = different.matches(": apt ").count();
    println!("{count} of {compared} differ");
    assert!(count * 20 <= compared, "{count} of {compared} differ:\n{different}");
}
