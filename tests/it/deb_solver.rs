//! The solver: apt is the judge of what a wish needs on a machine on which nothing is installed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use microbuild::internals::{
    deb::{
        index,
        record::Record,
        solve::{PackageRequest, Repository, Solution, solve},
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
        self.ask(wishes).ok()
    }

    /// The same, or what apt says when it cannot.
    fn ask(&self, wishes: &[&str]) -> Result<BTreeSet<String>, String> {
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
        if finished.code == Some(0) { Ok(installed.collect()) } else { Err(finished.stdout + &finished.stderr) }
    }
}

fn repositories(suites: &[Suite]) -> Vec<Repository> {
    let repository = |suite: &Suite| Repository { index: suite.index.clone(), priority: suite.release.priority() };
    suites.iter().map(repository).collect()
}

fn wishes(names: &[&str]) -> Vec<PackageRequest> {
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

/// What apt says of a name that stands for no single package.
const NO_CANDIDATE: [&str; 3] =
    ["is a virtual package provided by", "has no installation candidate", "Unable to locate"];

/// Compares with apt's answers to wishes for names that packages only provide, of which `texts` are the indexes: a name that
/// stands for no single package for apt must not stand for one here.
fn provided_names(program: &Path, texts: &[String], names: &[&str]) -> (usize, usize, String) {
    let apt = Apt::with_lists(program.to_owned(), texts, "amd64");
    let repositories = texts.iter().map(|text| index::parse(text).expect("an index"));
    let repositories: Vec<_> = repositories.map(|index| Repository { index, priority: 500 }).collect();
    let compare = |name: &str| {
        let wishes = wishes(&[name]);
        let ours = solve(&repositories, "amd64", &wishes, &[]).map(|solution| set(&solution)).ok();
        match (apt.ask(&[name]), ours) {
            (Ok(theirs), Some(ours)) if theirs == ours => (1, 0, String::new()),
            (Err(said), None) if NO_CANDIDATE.iter().any(|why| said.contains(why)) => (0, 1, String::new()),
            // Where apt gives up for other reasons, whatever is found will do.
            (Err(said), _) if !NO_CANDIDATE.iter().any(|why| said.contains(why)) => (0, 0, String::new()),
            (theirs, ours) => (0, 0, format!("{name}: apt {theirs:?}, we {ours:?}\n")),
        }
    };
    // apt's process takes most of the time.
    let half = names.len() / 2;
    let answers = thread::scope(|scope| {
        let threads = [&names[..half], &names[half..]]
            .map(|part| scope.spawn(|| part.iter().map(|name| compare(name)).collect::<Vec<_>>()));
        threads.map(|thread| thread.join().expect("no panic")).concat()
    });
    answers.into_iter().fold((0, 0, String::new()), |sum, one| (sum.0 + one.0, sum.1 + one.1, sum.2 + &one.2))
}

#[test]
fn provided_names_of_the_mirror_stand_for_what_apt_takes() {
    let (Some(own), Some([program])) = (deb_mirror::own_release(), tools(["apt-get"])) else { return };
    let Some(suites) = deb_mirror::suites(&own, "amd64") else { return };
    let records = || suites.iter().flat_map(|suite| &suite.index.records);
    let real: BTreeSet<&str> = records().map(Record::name).collect();
    // Who provides each name, in how many versions.
    let mut providers: BTreeMap<&str, BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
    for record in records() {
        for provide in record.provides() {
            if !real.contains(provide.name) {
                let versions = providers.entry(provide.name).or_default().entry(record.name()).or_default();
                versions.insert(record.version().as_str());
            }
        }
    }
    // One package in several versions, several packages, and the plain case.
    let several_versions =
        |of: &BTreeMap<&str, BTreeSet<&str>>| of.len() == 1 && of.values().any(|versions| versions.len() > 1);
    let (versions, others): (Vec<_>, Vec<_>) = providers.iter().partition(|(_, of)| several_versions(of));
    let (packages, plain): (Vec<_>, Vec<_>) = others.into_iter().partition(|(_, of)| of.len() > 1);
    println!(
        "{} names of one package's versions, {} of several packages, {} others",
        versions.len(),
        packages.len(),
        plain.len()
    );
    assert!(versions.len() > 150 && packages.len() > 100 && plain.len() > 100);
    let mut numbers = Random::new(11);
    let mut sample = |mut names: BTreeSet<&'static str>, counts: [usize; 3]| -> Vec<&'static str> {
        for (from, count) in [&versions, &packages, &plain].into_iter().zip(counts) {
            let until = names.len() + count;
            while names.len() < until {
                names.insert(from[numbers.below(from.len())].0);
            }
        }
        names.into_iter().collect()
    };
    // What a name stands for does not depend on what is needed: without all that, apt answers at once.
    let involved: BTreeSet<&str> = providers.values().flat_map(BTreeMap::keys).copied().collect();
    let bare: Vec<String> = (suites.iter())
        .map(|suite| suite.index.records.iter().filter(|r| involved.contains(r.name())).map(bare).collect())
        .collect();
    let names = sample(BTreeSet::new(), [150, 100, 50]);
    let (same, refused, different) = provided_names(&program, &bare, &names);
    println!("of {} names {same} stand for the same, and {refused} for none", names.len());
    assert_eq!(different, "", "apt answers otherwise");
    assert!(same + refused == 300 && same >= 200 && refused > 50, "{same} {refused}");
    // With it, the packages are the same too.
    let known = ["libexpat-dev", "host"].into_iter().filter(|name| providers.contains_key(name)).collect();
    let texts: Vec<String> = (suites.iter())
        .map(|suite| suite.index.records.iter().map(|record| format!("{}\n\n", record.paragraph())).collect())
        .collect();
    let (same, _, different) = provided_names(&program, &texts, &sample(known, [effort().0 / 6, 1, 1]));
    assert_eq!(different, "", "apt answers otherwise");
    assert!(same > 2, "{same}");
}

/// The record without what it needs and excludes.
fn bare(record: &Record) -> String {
    const KEPT: [&str; 9] = [
        "Package:",
        "Version:",
        "Architecture:",
        "Provides:",
        "Priority:",
        "Multi-Arch:",
        "Filename:",
        "Size:",
        "SHA256:",
    ];
    let mut keeps = false;
    let lines = record.paragraph().lines().filter(|line| {
        keeps = if line.starts_with([' ', '\t']) { keeps } else { KEPT.iter().any(|field| line.starts_with(field)) };
        keeps
    });
    lines.fold(String::new(), |text, line| text + line + "\n") + "\n"
}

#[test]
fn provided_names_in_small_stand_for_what_apt_takes() {
    let Some([program]) = tools(["apt-get"]) else { return };
    let index = |packages: &[&str]| {
        let package = |text: &&str| {
            let (head, provides) = text.split_once(" provides ").unwrap_or((text, ""));
            let (name, version) = head.split_once(' ').expect("a name and a version");
            let provides = if provides.is_empty() { String::new() } else { format!("Provides: {provides}\n") };
            let hash = Digest::of(text).hex();
            format!(
                "Package: {name}\nVersion: {version}\nArchitecture: amd64\n{provides}Filename: p/{name}_{version}.deb\nSize: 1\n\
                 SHA256: {hash}\n\n"
            )
        };
        packages.iter().map(package).collect::<String>()
    };
    for (suites, found) in [
        (vec![index(&["prov 1 provides virt", "prov 2 provides virt"])], true),
        (vec![index(&["prov 2 provides virt", "prov 1 provides virt"])], true),
        (vec![index(&["prov 1 provides virt"]), index(&["prov 2 provides virt"])], true),
        (vec![index(&["prov 1 provides virt (= 1)", "prov 2 provides virt (= 2)"])], true),
        (vec![index(&["prov 1 provides virt"]), index(&["prov 2"])], false),
        (vec![index(&["prov 1 provides virt", "other 1 provides virt"]), index(&["prov 2"])], true),
        (vec![index(&["prov 1 provides virt", "other 1 provides virt"]), index(&["prov 2 provides virt"])], false),
        (vec![index(&["prov 1 provides virt", "prov 2 provides virt", "virt 0"])], true),
        (vec![index(&["prov 1"])], false),
    ] {
        let (same, refused, different) = provided_names(&program, &suites, &["virt"]);
        assert_eq!(different, "", "{suites:#?}");
        assert_eq!((same, refused), (usize::from(found), usize::from(!found)), "{suites:#?}");
    }
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
        let names = ["a", "b", "c", "d", "x", "y"];
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
