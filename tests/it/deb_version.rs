//! Versions: dpkg is the judge of what is one, and of the order.

use std::process::Command;

use microbuild::internals::deb::version::Version;

use crate::{
    it::deb_mirror,
    support::{apk_world::Random, run, tools},
};

/// Text that is a version, or nearly one; many share their first parts.
fn random_version(random: &mut Random) -> String {
    let mut text = String::new();
    if random.chance(15) {
        text += random.of(&["0:", "1:", "00:", "2:"]);
    }
    text += random.of(&["0", "1", "2", "10", "01", "20240131"]);
    while random.chance(60) {
        text += random.of(&[".", "+", "~", "a", "b", "rc", "-", "dfsg", "git", "Z", "~~", ".."]);
        if random.chance(80) {
            text += random.of(&["0", "1", "2", "9", "10", "010", "99999999999999999999"]);
        }
    }
    if random.chance(50) {
        text += random.of(&["-0", "-1", "-1~bpo1", "-1+b1", "-0ubuntu1", "-10", "-2.1"]);
    }
    if random.chance(5) {
        let at = random.below(text.len() + 1);
        text.insert_str(at, random.of(&[":", "_", " ", "/", "é", "-"]));
    }
    text
}

#[track_caller]
fn agree(dpkg: &std::path::Path, a: &str, b: &str) {
    let is = |op: &str| run(Command::new(dpkg).args(["--compare-versions", a, op, b])).code == Some(0);
    let ours = Version::new(a).cmp(&Version::new(b));
    assert_eq!((is("lt"), is("gt")), (ours.is_lt(), ours.is_gt()), "{a} and {b}: {ours:?}");
}

#[test]
fn random_versions_compare_as_in_dpkg() {
    let Some([dpkg]) = tools(["dpkg"]) else { return };
    let mut random = Random::new(1);
    let mut before = String::from("1.0-1");
    let mut compared = 0;
    while compared < 500 {
        let version = random_version(&mut random);
        // With text that is no version, dpkg only warns, and may compare anything.
        if !Version::new(&version).is_valid() {
            continue;
        }
        agree(&dpkg, &before, &version);
        before = version;
        compared += 1;
    }
}

#[test]
fn dpkg_agrees_on_what_is_a_version() {
    let Some([dpkg]) = tools(["dpkg"]) else { return };
    let mut random = Random::new(2);
    for _ in 0..500 {
        // dpkg cuts spaces off before it looks.
        let version = random_version(&mut random).trim().to_owned();
        let valid = run(Command::new(&dpkg).args(["--validate-version", &version])).code == Some(0);
        assert_eq!(Version::new(&version).is_valid(), valid, "{version}");
    }
}

#[test]
fn versions_of_the_mirror_compare_as_in_dpkg() {
    let Some([dpkg]) = tools(["dpkg"]) else { return };
    let Some(own) = deb_mirror::own_release() else { return };
    let Some(suites) = deb_mirror::suites(&own, "amd64") else { return };
    let mut random = Random::new(3);
    let records = &suites[0].index.records;
    for _ in 0..300 {
        let mut version = || records[random.below(records.len())].version();
        let (a, b) = (version(), version());
        agree(&dpkg, a.as_str(), b.as_str());
    }
}
