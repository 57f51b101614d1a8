use super::*;
use crate::{deb::index, digest::Digest};

/// A repository of packages like `name version Depends:b|c,d Provides:e(=2)`.
pub(super) fn repository(packages: &[&str]) -> Repository {
    let mut text = String::new();
    for package in packages {
        let mut words = package.split_whitespace();
        let (name, version) = (words.next().expect("a name"), words.next().expect("a version"));
        text += &format!(
            "Package: {name}\nVersion: {version}\nArchitecture: amd64\nFilename: {name}.deb\nSize: 1\nSHA256: {}\n",
            Digest::of(package).hex()
        );
        for word in words {
            let (field, value) = word.split_once(':').expect("a field");
            let value = value.replace('(', " (").replace(',', ", ").replace('|', " | ");
            text += &format!("{field}: {value}\n");
        }
        text += "\n";
    }
    Repository { index: index::parse(&text).expect("an index"), priority: 500 }
}

pub(super) fn world(text: &str) -> Vec<PackageRequest> {
    text.split_whitespace().map(|request| request.parse().expect("a request")).collect()
}

fn names(solution: &Solution<'_>) -> String {
    let packages = solution.packages.iter();
    packages.map(|p| format!("{}-{}", p.record.name(), p.record.version())).collect::<Vec<_>>().join(" ")
}

/// What is installed for the requests; `-` when they cannot be met.
fn install(repositories: &[Repository], requests: &str, dropped: &[&str]) -> String {
    let (world, dropped) = (world(requests), dropped.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
    solve(repositories, "amd64", &world, &dropped).as_ref().map_or_else(|_| "-".to_owned(), names)
}

#[test]
fn answers_as_apt_does() {
    let cases: &[(&[&str], &str, &str)] = &[
        // Versions and dependencies.
        (&["a 1 Depends:b", "b 2", "b 3"], "a", "b-3 a-1"),
        (&["a 1 Pre-Depends:c Depends:b", "b 2", "c 1"], "a", "c-1 b-2 a-1"),
        (&["b 1", "b 2"], "b=1", "b-1"),
        (&["b 1", "b 2"], "b=3", "-"),
        (&["a 1 Depends:b(>=2)", "b 2"], "a", "b-2 a-1"),
        (&["a 1 Depends:b(>>2)", "b 2"], "a", "-"),
        (&["a 1 Depends:b", "b 1 Depends:a"], "a", "b-1 a-1"),
        (&["a 1 Recommends:b Suggests:b", "b 1"], "a", "a-1"),
        (&["a 1", "e 1 Essential:yes"], "a", "a-1"),
        // Alternatives.
        (&["a 1 Depends:b|c", "b 1", "c 1"], "a", "b-1 a-1"),
        (&["a 1 Depends:b|c", "b 1", "c 1"], "a c", "c-1 a-1"),
        (&["a 1 Depends:b|c", "c 1"], "a", "c-1 a-1"),
        (&["a 1 Depends:b|c", "b 1 Depends:x", "c 1"], "a", "c-1 a-1"),
        (&["a 1 Depends:b|c", "b 1 Depends:d", "d 1 Depends:x", "c 1"], "a", "c-1 a-1"),
        (&["a 1 Depends:d,b|c", "b 1", "c 1", "d 1 Depends:c"], "a", "c-1 d-1 a-1"),
        (&["a 1 Depends:b|c,d", "b 1", "c 1", "d 1 Depends:c"], "a", "b-1 c-1 d-1 a-1"),
        // Provided names.
        (&["a 1 Depends:x", "p 1 Provides:x"], "a", "p-1 a-1"),
        (&["a 1 Depends:x(>=1)", "p 1 Provides:x"], "a", "-"),
        (&["a 1 Depends:x(>=1)", "p 1 Provides:x(=2)"], "a", "p-1 a-1"),
        (&["a 1 Depends:x(>=3)", "p 1 Provides:x(=2)"], "a", "-"),
        (&["a 1 Depends:x", "p 1 Provides:x", "x 1"], "a", "x-1 a-1"),
        (&["a 1 Depends:x", "p 1 Provides:x Priority:optional", "q 1 Provides:x Priority:standard"], "a", "q-1 a-1"),
        (&["a 1 Depends:x", "p 1 Provides:x Essential:yes", "q 1 Provides:x Priority:standard"], "a", "p-1 a-1"),
        (&["a 1 Depends:x", "p 1 Provides:x", "q 1 Provides:x"], "a", "q-1 a-1"),
        (&["q 1 Provides:x", "a 1 Depends:x", "p 1 Provides:x"], "a", "p-1 a-1"),
        (&["p 1 Provides:x", "q 1 Provides:x"], "x", "-"),
        (&["p 1 Provides:x"], "x", "p-1"),
        // Provided names, of which packages think otherwise in another version.
        (&["prov 1 Provides:x", "prov 2 Provides:x"], "x", "prov-2"),
        (&["prov 2 Provides:x", "prov 1 Provides:x"], "x", "prov-2"),
        (&["prov 1 Provides:x(=1)", "prov 2 Provides:x(=2)"], "x", "prov-2"),
        (&["prov 1 Provides:x(=1)", "prov 2 Provides:x(=2)"], "x=2", "-"),
        (&["prov 1 Provides:x", "prov 2"], "x", "-"),
        (&["prov 1", "prov 2 Provides:x"], "x", "prov-2"),
        (&["prov 1 Provides:x", "prov 2", "q 1 Provides:x"], "x", "q-1"),
        (&["prov 1 Provides:x", "prov 2 Provides:x", "q 1 Provides:x"], "x", "-"),
        (&["prov 1 Provides:x", "prov 2"], "x prov=1", "-"),
        (&["prov 1 Provides:x,y(=1),x"], "x", "prov-1"),
        (&["a 1 Depends:x", "prov 1 Provides:x", "prov 2 Provides:x"], "a", "prov-2 a-1"),
        (&["a 1 Depends:x", "prov 1 Provides:x", "prov 2"], "a", "-"),
        (&["a 1 Depends:x", "prov 1 Provides:x", "prov 2 Provides:x Depends:nothing"], "a", "-"),
        (&["a 1 Depends:x", "prov 1 Provides:x", "prov 2"], "a prov=1", "prov-1 a-1"),
        (&["a 1 Depends:x(=1)", "prov 1 Provides:x(=1)", "prov 2 Provides:x(=2)"], "a", "-"),
        (&["a 1 Depends:x(>=1)", "prov 1 Provides:x(=1)", "prov 2 Provides:x(=2)"], "a", "prov-2 a-1"),
        (&["a 1 Depends:x(=1)|c", "prov 1 Provides:x(=1)", "prov 2 Provides:x(=2)", "c 1"], "a", "c-1 a-1"),
        (&["a 1 Depends:x|c", "prov 1 Provides:x", "prov 2", "c 1"], "a", "c-1 a-1"),
        (&["a 1 Depends:c|x", "prov 1 Provides:x", "prov 2 Provides:x"], "a", "prov-2 a-1"),
        // Architectures.
        (&["a 1 Depends:b:any", "b 1 Multi-Arch:allowed"], "a", "b-1 a-1"),
        (&["a 1 Depends:b:any", "b 1 Multi-Arch:foreign"], "a", "-"),
        (&["a 1 Depends:b:amd64", "b 1"], "a", "b-1 a-1"),
        (&["a 1 Depends:b:i386", "b 1"], "a", "-"),
        // Conflicts.
        (&["a 1 Conflicts:b", "b 1"], "a b", "-"),
        (&["a 1 Breaks:b(<<2)", "b 1"], "a b", "-"),
        (&["a 1 Breaks:b(<<2)", "b 2"], "a b", "a-1 b-2"),
        (&["a 1 Provides:x Conflicts:x", "b 1 Provides:x Conflicts:x"], "a b", "-"),
        (&["a 1 Provides:x Conflicts:x"], "a", "a-1"),
        (&["a 1 Depends:b|c Conflicts:b", "b 1", "c 1"], "a", "c-1 a-1"),
        (&["w 1 Conflicts:b", "a 1 Depends:b|c", "b 1", "c 1"], "a w", "c-1 a-1 w-1"),
    ];
    for (packages, requests, expected) in cases {
        assert_eq!(install(&[repository(packages)], requests, &[]), *expected, "{packages:?} {requests}");
    }
}

#[test]
fn goes_back_where_apt_gives_up() {
    let cases: &[(&[&str], &str, &str)] = &[
        // b is taken first, and only later turns out to stand in the way.
        (&["a 1 Depends:b|c,d", "b 1", "c 1", "d 1 Conflicts:b"], "a", "c-1 d-1 a-1"),
        (&["a 1 Depends:b(=1)", "b 1", "b 2"], "a", "b-1 a-1"),
    ];
    for (packages, requests, expected) in cases {
        assert_eq!(install(&[repository(packages)], requests, &[]), *expected, "{packages:?} {requests}");
    }
}

#[test]
fn leaves_out_what_is_dropped() {
    let packages = ["a 1 Depends:b|c,x,d", "b 1 Depends:e", "c 1", "d 1", "e 1", "f 1 Provides:x"];
    let install = |dropped: &[&str]| install(&[repository(&packages)], "a", dropped);
    assert_eq!(install(&[]), "e-1 b-1 f-1 d-1 a-1");
    assert_eq!(install(&["b"]), "f-1 d-1 a-1");
    assert_eq!(install(&["c"]), "f-1 d-1 a-1");
    assert_eq!(install(&["f"]), "e-1 b-1 d-1 a-1");
    assert_eq!(install(&["x", "e", "d"]), "b-1 a-1");
}

#[test]
fn chooses_among_suites() {
    let (old, new) = (repository(&["a 1", "b 1"]), repository(&["a 2", "b 1"]));
    let backports = Repository { priority: 100, ..repository(&["a 3", "z 0", "b 0"]) };
    let all = [old, new, backports];
    assert_eq!(install(&all, "a b z", &[]), "a-2 b-1 z-0");
    assert_eq!(install(&all, "a=3", &[]), "a-3");
    let providers = [
        repository(&["p 1 Provides:x", "q 1 Provides:y"]),
        repository(&["p 2 Provides:x", "q 2"]),
        Repository { priority: 100, ..repository(&["p 3", "q 3 Provides:y"]) },
    ];
    assert_eq!(install(&providers, "x", &[]), "p-2");
    assert_eq!(install(&providers, "y", &[]), "-");
    let world = world("a b");
    let solution = solve(&all, "amd64", &world, &[]).expect("a solution");
    assert_eq!(solution.packages.iter().map(|p| p.repository).collect::<Vec<_>>(), [1, 0]);
}

#[test]
fn tells_why_a_package_is_there() {
    let repositories = [repository(&["a 1 Depends:b|x", "b 1 Depends:virtual", "c 1 Provides:virtual"])];
    let world = world("a");
    let solution = solve(&repositories, "amd64", &world, &[]).expect("a solution");
    let chain = solution.why("virtual").expect("a chain");
    let told: Vec<_> = (chain.iter())
        .map(|selected| match &selected.because {
            Because::Request(request) => format!("{} requested {request}", selected.record.name()),
            Because::Needed { by, dependency } => {
                format!("{} {} needs {dependency}", selected.record.name(), solution.packages[*by].record.name())
            }
        })
        .collect();
    assert_eq!(told, ["a requested a", "b a needs b | x", "c b needs virtual"]);
    assert!(solution.why("nosuch").is_none());
}

#[test]
fn reads_requests() {
    for text in ["nodejs", "libstdc++6=12.2.0-14+deb12u1"] {
        assert_eq!(text.parse::<PackageRequest>().expect("a request").to_string(), text);
    }
    for text in ["", "a b", "a=", "a=b", "=1", "a:any", "a (>= 1)", "a|b"] {
        assert!(text.parse::<PackageRequest>().is_err(), "{text}");
    }
}

#[test]
fn a_deep_chain_does_not_overflow() {
    let packages: Vec<_> = (0..3000).map(|n| format!("p{n} 1 Depends:p{}", n + 1)).chain(["p3000 1".into()]).collect();
    let packages: Vec<_> = packages.iter().map(String::as_str).collect();
    let repositories = [repository(&packages)];
    let world = world("p0");
    assert_eq!(solve(&repositories, "amd64", &world, &[]).expect("a solution").packages.len(), 3001);
}
