//! Versions: the real apk is the judge of what is one, and of the order.

use std::collections::BTreeSet;

use microbuild::internals::apk::version::Version;

use crate::{
    it::apk_solver::real_index,
    support::{
        alpine::{self, Apk},
        apk_world::Random,
        run,
    },
};

/// Text that is a version, or nearly one; many share their first parts.
fn random_version(random: &mut Random) -> String {
    let number = |random: &mut Random| {
        random.of(&["0", "1", "2", "9", "10", "00", "01", "010", "20240131", "18446744073709551617"])
    };
    let mut text = number(random).to_owned();
    while random.chance(50) {
        text = format!("{text}.{}", number(random));
    }
    if random.chance(15) {
        text += random.of(&["a", "b", "z"]);
    }
    while random.chance(30) {
        text += random.of(&["_alpha", "_beta", "_pre", "_rc", "_cvs", "_svn", "_git", "_hg", "_p"]);
        if random.chance(60) {
            text += number(random);
        }
    }
    if random.chance(12) {
        text += random.of(&["~0", "~a", "~ab", "~0a1b"]);
    }
    if random.chance(40) {
        text = format!("{text}-r{}", number(random));
    }
    if random.chance(8) {
        let at = random.below(text.len() + 1);
        text.insert_str(at, random.of(&["_", ".", "-", "a", "~", "r", "_foo", "A", "_p", "-r"]));
    }
    text
}

/// What `apk version -t` puts between two versions; nothing when one of them is none.
fn apk_compares(apk: &Apk, a: &str, b: &str) -> String {
    run(apk.command().args(["version", "-t", "--", a, b])).stdout.trim().to_owned()
}

#[track_caller]
fn agree(apk: &Apk, a: &str, b: &str) {
    let (left, right) = (Version::new(a), Version::new(b));
    let ours = match left.cmp(&right) {
        _ if !left.is_valid() || !right.is_valid() => "",
        std::cmp::Ordering::Less => "<",
        std::cmp::Ordering::Equal => "=",
        std::cmp::Ordering::Greater => ">",
    };
    assert_eq!(ours, apk_compares(apk, a, b), "{a} and {b}");
}

#[test]
fn random_versions_compare_as_in_apk() {
    let Some(apk) = alpine::apk() else { return };
    let mut random = Random::new(1);
    let mut before = String::from("1.0-r0");
    for _ in 0..1200 {
        let version = random_version(&mut random);
        agree(&apk, &before, &version);
        before = version;
    }
}

#[test]
fn versions_that_differ_in_one_part_compare_as_in_apk() {
    let Some(apk) = alpine::apk() else { return };
    let tails = [
        "", "_alpha", "_alpha1", "_rc", "_p", "_p0", "_p1", "_git2", "~a", "~ab", "-r0", "-r1", "a", ".0", ".00", ".1",
        ".01",
    ];
    for (i, a) in tails.iter().enumerate() {
        for b in &tails[i..] {
            agree(&apk, &format!("1{a}"), &format!("1{b}"));
            agree(&apk, &format!("1.2_p{a}"), &format!("1.2_p{b}"));
        }
    }
}

#[test]
fn apk_agrees_on_what_is_a_version() {
    let Some(apk) = alpine::apk() else { return };
    let mut random = Random::new(2);
    let mut versions: BTreeSet<String> = (0..6000).map(|_| random_version(&mut random)).collect();
    versions.extend(real_index("v3.16/main/x86_64").iter().flat_map(|index| {
        let provided = index.records.iter().flat_map(|record| &record.provides);
        let versions = provided.filter_map(|provide| provide.version.as_ref());
        versions.chain(index.records.iter().map(|record| &record.version)).map(Version::to_string).collect::<Vec<_>>()
    }));
    let refused: BTreeSet<String> =
        run(apk.command().args(["version", "-c", "--"]).args(&versions)).stdout.lines().map(str::to_owned).collect();
    for version in &versions {
        assert_eq!(Version::new(version).is_valid(), !refused.contains(version), "{version}");
    }
}

#[test]
fn the_versions_of_a_real_index_compare_as_in_apk() {
    let (Some(apk), Some(index)) = (alpine::apk(), real_index("v3.17/main/aarch64")) else { return };
    let mut random = Random::new(3);
    for _ in 0..400 {
        let mut version = || &index.records[random.below(index.records.len())].version;
        let (a, b) = (version(), version());
        agree(&apk, a.as_str(), b.as_str());
    }
}
