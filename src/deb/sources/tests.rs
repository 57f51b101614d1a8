use proptest::prelude::*;

use super::*;

fn shown(list: &[Source]) -> Vec<String> {
    let place = |source: &Source| match &source.location {
        Place::Known(location) => location.to_string(),
        Place::Unsupported(uri) => format!("!{uri}"),
    };
    list.iter().map(|source| format!("{} {} {}", place(source), source.suite, source.components.join(","))).collect()
}

#[test]
fn reads_lines() {
    let text = "# a comment\n\ndeb http://m.example/debian/ bookworm main contrib # why\n\
                deb-src http://m.example/debian bookworm main\n\
                deb [ arch=amd64,arm64 signed-by=/usr/share/keyrings/a.gpg,ABCD trusted=yes check-valid-until=no lang=none ] \
                https://n.example/x sid main\ndeb file:///srv/debian ./\ndeb cdrom:[Debian]/ trixie main\n";
    let list = parse_list(text, "sources.list").expect("sources");
    assert_eq!(
        shown(&list),
        [
            "http://m.example/debian bookworm main,contrib",
            "https://n.example/x sid main",
            "/srv/debian ./ ",
            "!cdrom:[Debian]/ trixie main"
        ]
    );
    assert_eq!(list[0].keys, Keys::Default);
    assert!(!list[0].trusted && list[0].check_valid_until && list[0].serves("s390x"));
    let keys = Keys::Named {
        files: vec!["/usr/share/keyrings/a.gpg".into()],
        fingerprints: vec!["ABCD".into()],
        armored: None,
    };
    assert_eq!((&list[1].keys, list[1].trusted, list[1].check_valid_until), (&keys, true, false));
    assert!(list[1].serves("arm64") && !list[1].serves("s390x"));
}

#[test]
fn reads_paragraphs() {
    let text = "Types: deb deb-src\n# http://old.example\nURIs: http://m.example/debian\nSuites: bookworm\n bookworm-updates\n\
                Components: main\nSigned-By: /usr/share/keyrings/a.gpg\n\nTypes: deb\nEnabled: no\nURIs: http://x.example\n\
                Suites: x\nComponents: y\n\n# only\n# comments\n\nTypes: deb-src\nURIs: http://x.example\nSuites: x\n\
                Components: y\n\nTypes: deb\nURIs: http://s.example/x\nSuites: bookworm-security\nComponents: main\n\
                Architectures: amd64\nTrusted: yes\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQ==\n \
                -----END PGP PUBLIC KEY BLOCK-----\n";
    let list = parse_sources(text, "debian.sources").expect("sources");
    assert_eq!(
        shown(&list),
        [
            "http://m.example/debian bookworm main",
            "http://m.example/debian bookworm-updates main",
            "http://s.example/x bookworm-security main"
        ]
    );
    let Keys::Named { armored: Some(armored), .. } = &list[2].keys else { panic!("{:?}", list[2].keys) };
    assert_eq!(*armored, "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQ==\n-----END PGP PUBLIC KEY BLOCK-----\n");
    assert!(list[2].trusted && !list[2].serves("arm64"));
}

#[test]
fn says_what_apt_would_refuse() {
    for (text, message) in [
        (
            "rpm http://a b c",
            "f.list, line 1: expected `deb [option=value] URI SUITE COMPONENT`, found `rpm http://a b c`",
        ),
        ("\ndeb http://a", "f.list, line 2: expected `deb [option=value] URI SUITE COMPONENT`, found `deb http://a`"),
        ("deb http://a b", "f.list, line 1: expected `deb [option=value] URI SUITE COMPONENT`, found `deb http://a b`"),
        ("deb [x=y http://a b c", "f.list, line 1: expected `]` after the options, found `deb [x=y http://a b c`"),
        (
            "deb [x] http://a b c",
            "f.list, line 1: expected `option=value` between `[` and `]`, found `deb [x] http://a b c`",
        ),
    ] {
        let error = parse_list(text, "f.list").expect_err(text);
        assert_eq!(error.to_string(), message);
        assert_eq!(error.kind(), Kind::Usage);
    }
    for (text, message) in [
        (
            "\nTypes: deb\nURIs: http://a\n",
            "f.sources, line 2: expected Types, URIs, Suites and Components, found `Types: deb",
        ),
        ("Types: deb\nURIs\n", "f.sources, line 2: expected `Field: value`, found `URIs`"),
    ] {
        let error = parse_sources(text, "f.sources").expect_err(text);
        assert!(error.to_string().starts_with(message), "{error}");
    }
}

#[test]
fn knows_where_files_are() {
    let list =
        parse_list("deb http://m/debian bookworm main\ndeb http://m/flat ./\ndeb http://m/flat a/b/", "f").expect("f");
    let file = |source: &Source| source.file("InRelease").expect("known").to_string();
    let found: Vec<_> = list.iter().map(file).collect();
    assert_eq!(
        found,
        ["http://m/debian/dists/bookworm/InRelease", "http://m/flat/InRelease", "http://m/flat/a/b/InRelease"]
    );
    assert_eq!(list[0].package("pool/a.deb").expect("known").to_string(), "http://m/debian/pool/a.deb");
    assert_eq!(list[1].package("./a.deb").expect("known").to_string(), "http://m/flat/a.deb");
}

fn machine(list: &str, codename: &str) -> Sources {
    let list = parse_list(list, "f").expect("sources");
    Sources { list, distribution: "debian".into(), codename: codename.into() }
}

const MACHINE: &str = "deb https://node.example nodistro main\ndeb https://x.example/debian bookworm stable\n\
                       deb http://m/debian bookworm main\ndeb http://m/debian bookworm-updates main\n\
                       deb http://m/debian bookworm-backports main\ndeb http://m/debian-security bookworm-security main\n";

#[test]
fn finds_what_belongs_together() {
    let sources = machine(MACHINE, "bookworm");
    assert_eq!(sources.own_release().expect("a release"), "bookworm");
    let family = sources.family("bookworm", "amd64").expect("a family");
    assert_eq!(
        shown(&family),
        [
            "https://x.example/debian bookworm stable",
            "http://m/debian bookworm main",
            "http://m/debian bookworm-updates main",
            "http://m/debian-security bookworm-security main"
        ]
    );
    assert!(family.iter().all(|source| !source.optional));
    let other = sources.family("trixie", "amd64").expect("a family");
    let suites: Vec<_> = other.iter().map(|source| (source.suite.as_str(), source.optional)).collect();
    let expected = [("trixie", false), ("trixie", false), ("trixie-updates", true), ("trixie-security", true)];
    assert_eq!(suites, expected);
    let stable = machine(&MACHINE.replace("bookworm", "stable"), "bookworm");
    assert_eq!(stable.own_release().expect("a release"), "stable");
    assert_eq!(stable.family("bookworm", "amd64").expect("a family")[1].suite, "bookworm");
    let derived = machine(MACHINE, "");
    assert_eq!(derived.own_release().expect("a release"), "bookworm", "it has companions");
}

#[test]
fn says_what_is_missing() {
    assert!(matches!(machine("", "").family("bookworm", "amd64"), Err(SourcesError::None)));
    assert!(matches!(machine("deb [arch=amd64] http://m a main", "a").family("a", "arm64"), Err(SourcesError::None)));
    let error = machine("deb cdrom:[x] a main\ndeb tor+http://o a main", "a").family("a", "amd64").expect_err("none");
    assert_eq!(
        error.to_string(),
        "expected a source with http, https, file or mirror+file for a, found only cdrom:[x], tor+http://o"
    );
    let some = machine("deb cdrom:[x] a main\ndeb http://m/x a main", "a").family("a", "amd64").expect("one is enough");
    assert_eq!(shown(&some), ["http://m/x a main"]);
}

#[test]
fn reads_a_machine() {
    let root = tempfile::tempdir().expect("a folder");
    let put = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).and_then(|()| fs::write(path, text)).expect("written");
    };
    assert_eq!(Sources::of_machine(root.path()).expect("nothing"), Sources::default());
    put("etc/os-release", "NAME=\"X\"\nID=debian\nVERSION_CODENAME=\"bookworm\"\n");
    put("etc/apt/sources.list", "deb http://a/x bookworm main\n");
    put(
        "etc/apt/sources.list.d/b.sources",
        "Types: deb\nURIs: mirror+file:///etc/apt/mirrors/m.list\nSuites: b\nComponents: c\n",
    );
    put("etc/apt/sources.list.d/a.list", "deb http://b/x bookworm-updates main\n");
    put("etc/apt/sources.list.d/c.list.save", "nonsense\n");
    put("etc/apt/mirrors/m.list", "# mirrors\ntor+http://x\nhttps://mirror.example/debian\tpriority:1\n");
    let sources = Sources::of_machine(root.path()).expect("sources");
    assert_eq!(
        shown(&sources.list),
        ["http://a/x bookworm main", "http://b/x bookworm-updates main", "https://mirror.example/debian b c"]
    );
    assert_eq!((sources.distribution.as_str(), sources.codename.as_str()), ("debian", "bookworm"));
    assert!(sources.list.iter().all(|source| source.check_valid_until));
    put("etc/apt/apt.conf.d/99snapshot", "Acquire::Check-Valid-Until \"false\";\n");
    let sources = Sources::of_machine(root.path()).expect("sources");
    assert!(sources.list.iter().all(|source| !source.check_valid_until));
    put("etc/apt/sources.list.d/a.list", "nonsense\n");
    assert!(matches!(Sources::of_machine(root.path()), Err(SourcesError::Line { .. })));
}

#[test]
fn collects_keys() {
    let root = tempfile::tempdir().expect("a folder");
    let put = |path: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder"))
            .and_then(|()| fs::write(path, [0x99, 1]))
            .expect("written");
    };
    let names = |keys: &Keys| {
        let ring = keys.ring(root.path(), "debian").expect("keys");
        ring.names().map(|name| name.rsplit('/').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let named = |files: &[&str], fingerprints: &[&str]| Keys::Named {
        files: files.iter().map(PathBuf::from).collect(),
        fingerprints: fingerprints.iter().map(|&text| text.to_owned()).collect(),
        armored: None,
    };
    assert!(names(&Keys::Default).is_empty());
    put("usr/share/keyrings/debian-archive-keyring.gpg");
    assert_eq!(names(&Keys::Default), ["debian-archive-keyring.gpg"]);
    put("etc/apt/trusted.gpg.d/a.gpg");
    assert_eq!(names(&Keys::Default), ["a.gpg"]);
    assert_eq!(names(&named(&["/usr/share/keyrings/debian-archive-keyring.gpg"], &[])), ["debian-archive-keyring.gpg"]);
    assert_eq!(names(&named(&[], &["ABCD"])), ["a.gpg"]);
    assert!(named(&["/nosuch"], &[]).ring(root.path(), "debian").is_err());
}

#[test]
fn makes_the_suites_of_a_mirror() {
    let list = Sources::of_mirror(&Location::new("http://m/debian"), "trixie", &["main"], &Keys::Default);
    assert_eq!(
        shown(&list),
        [
            "http://m/debian trixie main",
            "http://m/debian trixie-updates main",
            "http://m/debian trixie-security main",
            "http://m/debian-security trixie-security main"
        ]
    );
    assert_eq!(list.iter().map(|source| source.optional).collect::<Vec<_>>(), [false, true, true, true]);
    for mirror in ["/srv/debian", "/srv/debian/", "/srv/debian/.", "file:///srv/debian/"] {
        let list = Sources::of_mirror(&Location::new(mirror), "trixie", &["main"], &Keys::Default);
        assert_eq!(shown(&list)[3], "/srv/debian-security trixie-security main", "{mirror}");
    }
    for mirror in ["http://m", "http://m/", "https://m:8080", "/"] {
        assert_eq!(
            Sources::of_mirror(&Location::new(mirror), "trixie", &["main"], &Keys::Default).len(),
            3,
            "{mirror}"
        );
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "(deb|Types|URIs|Suites|Components|Signed-By)?[ \\[\\]:=#a-z/é-]{0,20}\n?(deb \\[[a-z=,/ ]{0,9}\\] [ -~]{0,20})?") {
        let _ = parse_list(&text, "f");
        let _ = parse_sources(&text, "f");
    }
}
