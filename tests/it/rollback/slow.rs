//! Peers that send drop by drop.

use std::{fs, time::Duration};

use microbuild::internals::{
    digest::Digest,
    error::{Explain as _, Kind},
    http::{Fault, Http, HttpError, HttpOptions, Retry, Transient as _},
    location::Location,
    registry::{CredentialStore, Registry, RegistryError},
    store::Store,
};

use super::{Mirrors, NEW, alpine, fetcher};
use crate::support::mirror_server::Failure;

/// Options of somebody who does not wait for long.
fn hasty() -> HttpOptions {
    HttpOptions {
        retries: 3,
        backoff: Duration::from_millis(1),
        idle_timeout: Duration::from_millis(900),
        slow_for: Duration::from_millis(300),
        ..HttpOptions::default()
    }
}

#[test]
fn a_mirror_that_sends_drop_by_drop_is_given_up() {
    let mirrors = Mirrors::new();
    alpine(&mirrors, NEW);
    let index = Location::new(&format!("{}/alpine/v3.23/main/x86_64/APKINDEX.tar.gz", mirrors.server.url()));
    let path = "/APKINDEX.tar.gz";
    mirrors.server.fail(path, 1, Failure::TrickleBody);
    let error = fetcher(&mirrors.path("one"), hasty()).index(&index).err().expect("too slow");
    assert_eq!((error.kind(), error.should_retry()), (Kind::Network, Retry::Never));
    assert!(error.to_string().contains(" bytes came in 1 seconds, and less than 1024 a second is given up"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.starts_with("the server, or the network to it, is as good as dead")));
    assert_eq!(mirrors.server.count(path), 1, "it is not tried again");
    // A small file that comes slowly is a file.
    mirrors.server.fail(path, 1, Failure::TrickleBody);
    let patient = HttpOptions { slow_for: Duration::from_secs(600), ..hasty() };
    let small = mirrors.path("alpine/small/APKINDEX.tar.gz");
    fs::create_dir_all(small.parent().expect("a folder")).expect("a folder");
    fs::write(&small, "small").expect("a file");
    let small = Location::new(&format!("{}/alpine/small/APKINDEX.tar.gz", mirrors.server.url()));
    fetcher(&mirrors.path("two"), patient).index(&small).map(drop).expect("all of it");

    // A head that never ends is no answer within the time limit, which is worth another attempt.
    mirrors.server.fail(path, 4, Failure::TrickleHead);
    let error = fetcher(&mirrors.path("three"), hasty()).index(&index).err().expect("no end");
    assert!(error.to_string().contains("no answer within the time limit"), "{error}");
    assert_eq!(error.kind(), Kind::Network);
    assert!(error.hint().is_some());
    mirrors.server.fail(path, 1, Failure::TrickleHead);
    fetcher(&mirrors.path("four"), hasty()).index(&index).map(drop).expect("the second attempt");
}

#[test]
fn a_package_or_list_that_comes_drop_by_drop_is_given_up() {
    let mirrors = Mirrors::new();
    fs::write(mirrors.path("Packages.xz"), [0; 4096]).expect("a file");
    let list = Location::new(&mirrors.server.url()).join("Packages.xz");
    mirrors.server.fail("/Packages.xz", 1, Failure::TrickleBody);
    let fetched = fetcher(&mirrors.path("x"), hasty()).listed(&[list], &Digest::of("list"), 4096, "a suite");
    let error = fetched.expect_err("too slow");
    assert_eq!((error.kind(), error.should_retry()), (Kind::Network, Retry::Never));
    assert!(error.to_string().starts_with("a suite: cannot read it: only "), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.starts_with("the server, or the network to it")));
    assert_eq!(mirrors.server.count("/Packages.xz"), 1);
}

#[test]
fn a_registry_that_sends_drop_by_drop_is_given_up() {
    let mirrors = Mirrors::new();
    let digest = Digest::of([7; 4096]);
    let path = mirrors.path(&format!("v2/app/blobs/{digest}"));
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(&path, [7; 4096]).expect("a blob");
    let name = mirrors.server.url().replace("http://", "");
    let store = Store::open(&mirrors.path("cache")).expect("a store");
    let fetch = || {
        let http = Http::new(hasty()).expect("a client");
        let registry = Registry::new(&http, &CredentialStore::empty(), &name);
        registry.fetch_blob("app", &digest, 4096, store.blobs())
    };
    mirrors.server.fail(&digest.to_string(), 1, Failure::TrickleBody);
    let error = fetch().expect_err("too slow");
    assert!(matches!(error, RegistryError::Http(HttpError::Transport { fault: Fault::Slow, .. })), "{error:?}");
    assert_eq!(error.kind(), Kind::Network);
    assert!(error.hint().is_some());
    assert!(!store.blobs().contains(&digest, 4096));
    mirrors.server.fail(&digest.to_string(), 4, Failure::TrickleHead);
    assert_eq!(fetch().expect_err("no end").kind(), Kind::Network);
    fetch().expect("a blob");
}
