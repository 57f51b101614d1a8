//! Skipped tests that do not go unnoticed.
//!
//! Rust's test harness has no "skipped": a test that cannot run here returns early and would count as passed. So it says
//! so through [`skip`], which prints, and appends to the file that `MICROBUILD_TEST_SKIPS` names; `tests/run` reads that
//! file and names the skipped tests at its end. With `MICROBUILD_TEST_REQUIRE=1`, as CI sets it, a skip is a failure, unless
//! its reason contains one of the phrases of `MICROBUILD_TEST_ALLOW` (separated by commas). What no installation would
//! change ([`skip_forbidden`]) is never a failure.

use std::{env, fs::File, io::Write as _, panic::Location, path::Path};

/// Says that the calling test does not run because something is missing, as `why` says (`skopeo not installed`); the test
/// returns after it.
///
/// # Panics
/// When skips are failures and this one is not allowed.
#[track_caller]
pub fn skip(why: &str) {
    let test = report(why, Location::caller());
    let required = env::var("MICROBUILD_TEST_REQUIRE").is_ok_and(|value| value == "1");
    let allowed = env::var("MICROBUILD_TEST_ALLOW").unwrap_or_default();
    assert!(!required || is_allowed(why, &allowed), "{test} must not be skipped here, but: {why}");
}

/// Says that the calling test does not run because this machine forbids what it does, as `why` says (`needs root`, `no
/// network namespaces`); the test returns after it.
#[track_caller]
pub fn skip_forbidden(why: &str) {
    report(why, Location::caller());
}

/// Prints and lists the skip; the test's name.
fn report(why: &str, caller: &Location) -> String {
    let test = test_name(std::thread::current().name(), caller);
    eprintln!("skipped: {test}: {why}");
    if let Some(list) = env::var_os("MICROBUILD_TEST_SKIPS") {
        append(Path::new(&list), &format!("{test}: {why}\n"));
    }
    test
}

/// The harness names a test's thread after the test, unless there is one thread only.
fn test_name(thread: Option<&str>, caller: &Location) -> String {
    match thread {
        Some(name) if name != "main" => name.to_owned(),
        _ => format!("{}:{}", caller.file(), caller.line()),
    }
}

/// One write in append mode, so that lines of several test processes do not mix.
fn append(list: &Path, line: &str) {
    let file = File::options().create(true).append(true).open(list);
    file.and_then(|mut file| file.write_all(line.as_bytes()))
        .unwrap_or_else(|e| panic!("cannot write {}: {e}", list.display()));
}

fn is_allowed(why: &str, allowed: &str) -> bool {
    allowed.split(',').map(str::trim).any(|phrase| !phrase.is_empty() && why.contains(phrase))
}

#[test]
fn a_skip_is_allowed_by_a_phrase_of_its_reason() {
    let cases = [
        ("trivy not installed", "trivy,grype", true),
        ("trivy not installed", "grype, trivy", true),
        ("skopeo not installed", "trivy,grype", false),
        ("skopeo not installed", "", false),
        ("skopeo not installed", ",", false),
    ];
    for (why, allowed, expected) in cases {
        assert_eq!(is_allowed(why, allowed), expected, "{why} / {allowed}");
    }
}

#[test]
fn skips_are_listed_by_name() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let list = dir.path().join("skips");
    append(&list, "a: why\n");
    append(&list, "b: why\n");
    assert_eq!(std::fs::read_to_string(&list).expect("the list"), "a: why\nb: why\n");
    assert_eq!(test_name(Some("it::mirror::x"), Location::caller()), "it::mirror::x");
    assert!(test_name(Some("main"), Location::caller()).contains("skip.rs:"));
}
