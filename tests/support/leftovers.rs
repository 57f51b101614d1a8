//! What a build that was refused may leave behind.

use std::fs;

use microbuild::internals::digest::Digest;
use serde_json::Value;

use super::Home;

/// Fails unless all blobs of the home's store are what their names say, nothing else lies there, and nothing is remembered
/// that a bad package could have made: no image, and nothing of the package `bad`, when that does not verify.
#[track_caller]
pub fn assert_nothing_left(home: &Home, title: &str, bad: Option<&str>) {
    assert!(!home.path().join("out").exists(), "{title}: an image");
    let mut folders = vec![home.path().join(".cache")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_str().expect("UTF-8").to_owned();
            // Buckets end in a version.
            let of = |part: &str| {
                let names = path.components().filter_map(|component| component.as_os_str().to_str());
                names.map(|name| name.split_once("-v").map_or(name, |(name, _)| name)).any(|name| name == part)
            };
            if path.is_dir() {
                folders.push(path);
            } else if of("blobs") {
                assert_eq!(Digest::of(fs::read(&path).expect("a blob")).hex(), name, "{title}: a blob");
            } else if of("memo") {
                let text = fs::read_to_string(&path).expect("a memo");
                let about_bad = bad.is_some_and(|bad| text.contains(&format!("\"name\":\"{bad}\"")));
                assert!(!(of("packages") && about_bad), "{title}: remembered {text}");
                assert!(!of("systems") && !of("apps"), "{title}: remembered {text}");
            } else if of("seen") && name != "lock" {
                // What mirrors said: only indexes that verify are there.
                let page: Value = serde_json::from_slice(&fs::read(&path).expect("a page")).expect("JSON");
                assert_eq!(Digest::of(page["index"].as_str().expect("an index")).hex(), name, "{title}: {page}");
            } else {
                assert_eq!(name, "lock", "{title}: left {}", path.display());
            }
        }
    }
}
