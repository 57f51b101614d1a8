//! The solver against the real apk, and against the real indexes of Alpine.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use microbuild::internals::apk::{
    checksum::Checksum,
    dependency::Dependency,
    index::{self, Index},
    key::KeyRing,
    solve::{Because, Repository, Solution, solve},
    version::Version,
};

use crate::support::{
    alpine,
    apk_world::{Case, Features, Random, Stage, index_file, objections},
    skip_forbidden,
};

/// The file of a real index, such as `v3.16/main/x86_64`, which lies outside of the project.
fn real_index_file(path: &str) -> Option<PathBuf> {
    let shared = std::env::var_os("MICROBUILD_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let file = shared.join("alpine").join(path).join("APKINDEX.tar.gz");
    if !file.exists() {
        skip_forbidden("no real index of Alpine in ../shared/alpine");
        return None;
    }
    Some(file)
}

/// A real index, its signature checked with the built-in keys; or a skip and `None`.
pub(crate) fn real_index(path: &str) -> Option<Index> {
    let bytes = fs::read(real_index_file(path)?).expect("a readable index");
    let arch = path.rsplit('/').next().expect("an architecture");
    Some(index::open(&bytes, &KeyRing::alpine(arch), path).expect("an index that Alpine signed"))
}

fn names(solution: &Solution<'_>) -> Vec<String> {
    solution.packages.iter().map(|package| format!("{}-{}", package.record.name, package.record.version)).collect()
}

/// How many of some cases ended how.
#[derive(Debug, Default)]
struct Tally {
    same: usize,
    neither: usize,
    /// apk's greed ends in a contradiction, the search does not.
    ours_only: usize,
    theirs_only: Vec<u64>,
    /// Both are right, with other packages.
    differ: Vec<u64>,
    /// The same packages in another order.
    reordered: Vec<u64>,
}

impl Tally {
    fn solved(&self) -> usize {
        self.same + self.differ.len()
    }
}

fn compare(seeds: std::ops::Range<u64>, features: Features) -> Option<Tally> {
    compare_changed(seeds, features, |_| {})
}

/// The same of cases that are changed first.
fn compare_changed(seeds: std::ops::Range<u64>, features: Features, change: fn(&mut Case)) -> Option<Tally> {
    let stage = Stage::new(alpine::apk()?, "x86_64");
    let mut tally = Tally::default();
    for seed in seeds {
        let mut case = Case::random(&mut Random::new(seed), features);
        change(&mut case);
        let (repositories, world) = case.parse();
        let files: Vec<_> = case.repositories.iter().map(|(tag, text)| (*tag, index_file(text))).collect();
        let theirs = stage.add(&files, &case.world);
        let ours = solve(&repositories, &world, &[]);
        if let Ok(solution) = &ours {
            let chosen: Vec<_> = solution.packages.iter().map(|package| package.record).collect();
            let objections = objections(&repositories, &world, &chosen);
            assert!(
                objections.is_empty(),
                "seed {seed}: {objections:?}\nours {:?}\ntheirs {theirs:?}",
                names(solution)
            );
        }
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => {
                // The order of what comes along is that of a hash table in apk.
                let along = ours.packages.iter().any(|package| !package.record.install_if.is_empty());
                let ours = names(&ours);
                let set = |list: &[String]| list.iter().cloned().collect::<BTreeSet<_>>();
                if set(&ours) != set(&theirs) {
                    tally.differ.push(seed);
                    continue;
                }
                tally.same += 1;
                if !along && ours != theirs {
                    tally.reordered.push(seed);
                }
            }
            (Err(_), Err(_)) => tally.neither += 1,
            (Ok(_), Err(_)) => tally.ours_only += 1,
            (Err(_), Ok(_)) => tally.theirs_only.push(seed),
        }
    }
    println!("{features:?}: {tally:?}");
    Some(tally)
}

const PLAIN: Features = Features { conflicts: false, provides: false, install_if: false, tags: false };

#[test]
fn random_repositories_are_solved_as_by_apk() {
    let cases = [
        PLAIN,
        Features { conflicts: true, ..PLAIN },
        Features { conflicts: true, provides: true, ..PLAIN },
        Features { conflicts: true, provides: true, tags: true, ..PLAIN },
    ];
    for features in cases {
        let Some(tally) = compare(1..301, features) else { return };
        assert!(tally.solved() > 100, "the cases are too hard to say anything: {tally:?}");
        assert!(tally.theirs_only.is_empty(), "{tally:?}");
        // Known to differ: names that depend on each other in a circle of several, of which apk decides another one
        // first. (1 of 3,300 such cases.)
        assert!(tally.differ.is_empty(), "{tally:?}");
        // Known to differ: the order within such a circle.
        assert!(tally.reordered.len() * 100 <= tally.solved(), "{tally:?}");
    }
}

#[test]
fn random_repositories_with_install_if_are_solved_as_by_apk() {
    let features = Features { conflicts: true, provides: true, install_if: true, tags: false };
    let Some(tally) = compare(1..501, features) else { return };
    assert!(tally.theirs_only.is_empty(), "{tally:?}");
    // Known to differ: which of several versions comes along when each waits for something else, and when (about 1 in 200; no
    // package of Alpine does that).
    assert!(tally.differ.len() * 50 <= tally.solved(), "{tally:?}");
    assert!(tally.reordered.len() * 100 <= tally.solved(), "{tally:?}");
}

/// Lets the packages and names of version 2 and 3 have versions that apk's grammar does not know, below, above and beside 2.
fn with_odd_versions(case: &mut Case) {
    for (_, text) in &mut case.repositories {
        let lines = text.lines().map(|line| {
            let own = line.starts_with("V:") || line.starts_with("p:");
            let line = if own { line.replace(":2", ":2-beta").replace("=2", "=2b1") } else { line.to_owned() };
            if own { line.replace(":3", ":2_post1").replace("=3", "=3.x") } else { line }
        });
        *text = lines.map(|line| line + "\n").collect();
    }
}

#[test]
fn random_repositories_with_odd_versions_are_solved_as_by_apk() {
    let features = Features { conflicts: true, provides: true, ..PLAIN };
    let Some(tally) = compare_changed(1..301, features, with_odd_versions) else { return };
    assert!(tally.solved() > 100, "the cases are too hard to say anything: {tally:?}");
    assert!(tally.theirs_only.is_empty() && tally.differ.is_empty(), "{tally:?}");
}

/// The versions of a real index that its grammar does not know: of packages, and of names that they provide.
fn odd_versions(index: &Index) -> BTreeSet<String> {
    let provided = index.records.iter().flat_map(|record| &record.provides).filter_map(|p| p.version.as_ref());
    let versions = index.records.iter().map(|record| &record.version).chain(provided);
    versions.filter(|version| !version.is_valid()).map(ToString::to_string).collect()
}

/// Versions near to `version`: what can be read of it, and a little more or less.
fn near(version: &str) -> Vec<String> {
    let mut near = Vec::new();
    for (end, _) in version.char_indices().skip(1).chain([(version.len(), ' ')]) {
        for tail in ["", "0", "1", "a", "z", ".0", "_alpha", "_rc1", "_p1", "_foo", "~a", "-r0", "-r9", "-beta"] {
            near.push(format!("{}{tail}", &version[..end]));
        }
    }
    near.sort();
    near.dedup();
    near
}

/// Each pair of an odd version and another is a package of two versions, of which one is chosen, and two packages that come along
/// if a bound accepts it: all in one world, which apk answers at once.
#[test]
fn odd_versions_compare_as_in_apks_solver() {
    let Some(apk) = alpine::apk() else { return };
    let mut odd: BTreeSet<String> = ["6.8.0p2-r4", "2.4-beta", "3.6.9_post1"].map(str::to_owned).into();
    for path in ["v3.16/main/x86_64", "v3.17/main/aarch64"] {
        odd.extend(real_index(path).iter().flat_map(odd_versions));
    }
    let stage = Stage::new(apk, "x86_64");
    let (mut pairs, mut asked) = (0, 0);
    for version in &odd {
        let (mut text, mut world) = (String::new(), Vec::new());
        let mut number = 0_u32;
        let mut package = |name: &str, version: &str, more: &str| {
            number += 1;
            let mut sha1 = [0; 20];
            sha1[..4].copy_from_slice(&number.to_be_bytes());
            let checksum = Checksum::Sha1(sha1);
            text += &format!("C:{checksum}\nP:{name}\nV:{version}\nA:x86_64\nS:1\nI:1\nT:t\nU:u\nL:l\n{more}\n");
        };
        for (at, other) in near(version).iter().enumerate() {
            for (name, first, second) in [(format!("c{at}"), version, other), (format!("d{at}"), other, version)] {
                package(&name, first, "");
                package(&name, second, "");
                world.push(name);
                pairs += 1;
            }
            package(&format!("o{at}"), version, "");
            world.push(format!("o{at}"));
            if !Version::new(other).is_valid() {
                continue;
            }
            for (place, op) in ["=", "<", "<=", ">", ">=", "~", "<~", ">~"].iter().enumerate() {
                package(&format!("along-{at}-{place}"), "1", &format!("i:o{at}{op}{other}\n"));
                asked += 1;
            }
        }
        world.sort();
        let theirs = stage.add(&[(None, index_file(&text))], &world).expect("a solution");
        let repositories =
            [Repository { index: index::parse(&text).expect("an index"), tag: None, arch: "x86_64".to_owned() }];
        let wishes: Vec<Dependency> = world.iter().map(|wish| wish.parse().expect("a wish")).collect();
        let ours = names(&solve(&repositories, &wishes, &[]).expect("a solution"));
        let set = |list: Vec<String>| list.into_iter().collect::<BTreeSet<_>>();
        let (ours, theirs) = (set(ours), set(theirs));
        let differ: Vec<_> = ours.symmetric_difference(&theirs).collect();
        assert!(differ.is_empty(), "{version}: {differ:?}");
    }
    println!("{} versions, {pairs} choices, {asked} bounds", odd.len());
    assert!(pairs > 500 && asked > 800, "{pairs} choices, {asked} bounds");
}

#[test]
fn a_tag_of_no_repository_is_a_mistake_as_for_apk() {
    let Some(apk) = alpine::apk() else { return };
    let stage = Stage::new(apk, "x86_64");
    let record = |version: &str| {
        let checksum = Checksum::Sha1([version.as_bytes()[0]; 20]);
        format!("C:{checksum}\nP:a\nV:{version}\nA:x86_64\nS:1\nI:1\nT:t\nU:u\nL:l\n\n")
    };
    let case = [(None, record("1")), (Some("edge"), record("2"))];
    let repositories = case.clone().map(|(tag, text)| Repository {
        index: index::parse(&text).expect("an index"),
        tag: tag.map(str::to_owned),
        arch: "x86_64".to_owned(),
    });
    let files = case.map(|(tag, text)| (tag, index_file(&text)));
    for (wish, expected) in [
        ("a", Ok(vec!["a-1".to_owned()])),
        ("a@edge", Ok(vec!["a-2".to_owned()])),
        ("a@edgy", Err("a@edgy is wanted, but no repository has the tag @edgy")),
        ("!a@nosuch", Err("!a@nosuch is wanted, but no repository has the tag @nosuch")),
        ("nosuch@nosuch", Err("nosuch@nosuch is wanted, but no repository has the tag @nosuch")),
    ] {
        let world = [wish.parse::<Dependency>().expect("a wish")];
        let ours = solve(&repositories, &world, &[]).map(|solution| names(&solution));
        let theirs = stage.add(&files, &[wish.to_owned()]);
        assert_eq!(ours.is_ok(), theirs.is_ok(), "{wish}: {theirs:?}");
        match expected {
            Ok(packages) => assert_eq!(ours, Ok(packages), "{wish}"),
            Err(message) => assert!(ours.expect_err(wish).to_string().contains(message), "{wish}"),
        }
    }
}

/// What people install.
const WORLDS: &[&str] = &[
    "nodejs",
    "python3",
    "ruby",
    "perl",
    "postgresql14",
    "nginx",
    "git",
    "curl",
    "openssh",
    "busybox",
    "musl",
    "gcc",
    "g++",
    "make",
    "cmake",
    "clang",
    "llvm13",
    "go",
    "rust",
    "openjdk8-jre",
    "php7",
    "lua5.3",
    "lua5.4",
    "mariadb",
    "redis",
    "sqlite",
    "bind",
    "samba",
    "postfix",
    "dovecot",
    "squid",
    "haproxy",
    "varnish",
    "apache2",
    "lighttpd",
    "bash",
    "zsh",
    "fish",
    "vim",
    "nano",
    "tmux",
    "screen",
    "htop",
    "strace",
    "gdb",
    "rsync",
    "wget",
    "tar",
    "xz",
    "zstd",
    "openssl",
    "ca-certificates",
    "ca-certificates-bundle",
    "alpine-base",
    "alpine-baselayout",
    "apk-tools",
    "build-base",
    "alpine-sdk",
    "linux-lts",
    "util-linux",
    "coreutils",
    "findutils",
    "grep",
    "sed",
    "gawk",
    "iptables",
    "nftables",
    "iproute2",
    "bridge-utils",
    "wpa_supplicant",
    "dbus",
    "eudev",
    "openrc",
    "cups",
    "ghostscript",
    "imagemagick",
    "mesa",
    "gtk+3.0",
    "qt5-qtbase",
    "xorg-server",
    "docs",
    "python3-dev",
    "py3-pip",
    "py3-setuptools",
    "py3-requests",
    "ruby-dev",
    "perl-dev",
    "nodejs-current",
    "npm",
    "yarn",
    "icu",
    "icu-dev",
    "libxml2",
    "libxslt",
    "libcurl",
    "libpq",
    "libstdc++",
    "so:libz.so.1",
    "cmd:git",
    "pc:openssl",
    "/bin/sh",
    "postgresql-client",
    "mysql-client",
    "kamailio",
    "asterisk",
    "freeradius",
    "nagios-plugins-all",
    "zabbix",
    "snort",
    "nodejs busybox",
    "python3 busybox",
    "ruby busybox",
    "perl busybox",
    "postgresql14 busybox",
    "nodejs python3 busybox",
    "docs git",
    "docs man-db",
    "bash bash-completion",
    "git bash-completion",
    "bash-completion curl busybox",
    "openrc nginx",
    "openrc postgresql14 busybox",
    "alpine-base openssh",
    "alpine-base docs",
    "build-base python3-dev",
    "build-base cmake git",
    "coreutils busybox",
    "mariadb mariadb-client busybox",
    "nginx nginx-mod-http-lua busybox",
    "uwsgi uwsgi-python3 busybox",
    "zsh git",
    "zsh git curl docs",
    "fish git docs busybox",
    "nodejs<16",
    "nodejs>99",
    "nodejs~16 busybox",
    "python3>=3.9 busybox",
    "!nodejs npm",
    "python3 !busybox",
    "openssl1.1-compat openssl",
    "openssl-dev libressl-dev",
    "mailx busybox",
    "lang",
    "lang bash",
    "musl-locales busybox",
    "linux-firmware busybox",
    "nosuchpackage",
    "nosuch nodejs busybox",
    "dev86",
    "abuild docs busybox",
    "eudev mdev-conf busybox",
    "mdev-conf openrc busybox",
    "util-linux docs openrc bash-completion",
];

#[test]
fn real_indexes_are_solved_as_by_apk() {
    let Some(apk) = alpine::apk() else { return };
    for (path, arch) in [("v3.16/main/x86_64", "x86_64"), ("v3.17/main/aarch64", "aarch64")] {
        let (Some(file), Some(index)) = (real_index_file(path), real_index(path)) else { return };
        let repositories = [Repository { index, tag: None, arch: arch.to_owned() }];
        let files = [(None, fs::read(file).expect("a readable index"))];
        let stage = Stage::new(apk.clone(), arch);
        let (mut solved, mut refused, mut ours_only) = (0, 0, Vec::new());
        for world in WORLDS {
            let mut wishes: Vec<String> = world.split_whitespace().map(str::to_owned).collect();
            wishes.sort_by_key(|wish| wish.trim_start_matches('!').to_owned());
            let parsed: Vec<Dependency> = wishes.iter().map(|wish| wish.parse().expect("a wish")).collect();
            let ours = solve(&repositories, &parsed, &[]);
            match (ours, stage.add(&files, &wishes)) {
                (Ok(ours), Ok(theirs)) => {
                    let along = ours.packages.iter().any(|package| !package.record.install_if.is_empty());
                    let ours = names(&ours);
                    let set = |list: &[String]| list.iter().cloned().collect::<BTreeSet<_>>();
                    assert_eq!(set(&ours), set(&theirs), "{path}: {world}");
                    // The order of what comes along is that of a hash table in apk.
                    assert!(along || ours == theirs, "{path}: the order of {world}\nours {ours:?}\ntheirs {theirs:?}");
                    solved += 1;
                }
                (Err(_), Err(_)) => refused += 1,
                (Ok(ours), Err(_)) => {
                    let chosen: Vec<_> = ours.packages.iter().map(|package| package.record).collect();
                    assert_eq!(objections(&repositories, &parsed, &chosen), Vec::<String>::new(), "{path}: {world}");
                    ours_only.push(*world);
                }
                (Err(ours), Ok(theirs)) => panic!("{path}: {world}\n{ours}\n{theirs:?}"),
            }
        }
        println!("{path}: {solved} solved, {refused} refused, by us alone {ours_only:?}");
        assert!(ours_only.len() <= 3, "{path}: {ours_only:?}");
        assert!(solved > 70 && refused > 5, "{path}: {solved} solved, {refused} refused");
    }
}

#[test]
fn runtimes_have_their_closures() {
    let Some(index) = real_index("v3.17/main/aarch64") else { return };
    let repositories = [Repository { index, tag: None, arch: "aarch64".to_owned() }];
    // The sizes of the packages' files, in megabytes.
    for (name, megabytes) in [("nodejs", 20.2), ("python3", 19.2), ("ruby", 8.4), ("perl", 9.5)] {
        let world = [Dependency::on(name)];
        let solution = solve(&repositories, &world, &[]).expect("a closure");
        let bytes: u64 = solution.packages.iter().map(|package| package.record.size).sum();
        #[allow(clippy::cast_precision_loss, reason = "compared with one decimal place")]
        let found = bytes as f64 / 1e6;
        assert!((found - megabytes).abs() < 0.11, "{name}: {found} MB: {:?}", names(&solution));
        let chosen: Vec<_> = solution.packages.iter().map(|package| package.record).collect();
        assert_eq!(objections(&repositories, &world, &chosen), Vec::<String>::new());
        let last = solution.packages.last().expect("packages");
        assert_eq!((last.record.name.as_str(), &last.because), (name, &Because::Request(Dependency::on(name))));
        let chain = solution.why("musl").expect("everything needs musl");
        assert_eq!(chain[0].record.name, name);
        assert!(matches!(&chain[chain.len() - 1].because, Because::Needed { dependency, .. }
            if dependency.name == "so:libc.musl-aarch64.so.1"));
        // Without a shell.
        let bare = solve(&repositories, &world, &["/bin/sh".to_owned()]).expect("a closure");
        assert!(bare.why("busybox").is_none());
        let all = names(&solution);
        assert!(names(&bare).iter().all(|package| all.contains(package)), "{name}");
        assert_eq!(all.len() > bare.packages.len(), solution.why("/bin/sh").is_some(), "{name}");
    }
}

#[test]
fn every_package_of_a_real_index_has_an_answer() {
    let Some(index) = real_index("v3.16/main/x86_64") else { return };
    let every_twentieth: Vec<String> = index.records.iter().step_by(20).map(|record| record.name.clone()).collect();
    let repositories = [Repository { index, tag: None, arch: "x86_64".to_owned() }];
    let mut solved = 0;
    for name in &every_twentieth {
        let world = [Dependency::on(name), Dependency::on("busybox")];
        let Ok(solution) = solve(&repositories, &world, &[]) else { continue };
        let chosen: Vec<_> = solution.packages.iter().map(|package| package.record).collect();
        assert_eq!(objections(&repositories, &world, &chosen), Vec::<String>::new(), "{name}");
        assert_eq!(solve(&repositories, &world, &[]).as_ref(), Ok(&solution), "{name}");
        solved += 1;
    }
    assert!(solved * 100 > every_twentieth.len() * 95, "{solved} of {}", every_twentieth.len());
}
