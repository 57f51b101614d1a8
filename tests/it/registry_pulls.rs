//! Pulls, from a registry that fails as it is told.

use microbuild::internals::{
    error::{Explain as _, Kind},
    registry::{CredentialStore, Registry},
};

use super::registry::{client, http, pushed, store};
use crate::support::{
    fake_registry::{Failure, FakeRegistry},
    random_image::random_image,
};

#[test]
fn manifests_are_pulled_by_tag_and_digest_and_verified() {
    let registry = FakeRegistry::start();
    let artifact = random_image(1, &[300]);
    pushed(&registry, &["app:1"], &artifact);
    let root = artifact.root();
    let client = client(&registry);
    for reference in ["1".to_owned(), root.digest.to_string()] {
        assert_eq!(&client.manifest("app", &reference).expect("pulled"), root);
        registry.fail("GET", "manifests", 1, Failure::Corrupt);
        let error = client.manifest("app", &reference).expect_err("altered");
        assert_eq!(error.kind(), Kind::Unverified, "{error}");
    }
    assert!(client.manifest("app", "2").expect_err("none").to_string().contains("MANIFEST_UNKNOWN"));
}

#[test]
fn blobs_are_pulled_whole_or_not_at_all() {
    let registry = FakeRegistry::start();
    let bytes = vec![7; 300_000];
    let digest = registry.put_blob("app", &bytes);
    let (_dir, store) = store();
    let client = client(&registry);
    let fetch = |size| client.fetch_blob("app", &digest, size, store.blobs());

    registry.fail("GET", "blobs", 1, Failure::Corrupt);
    assert_eq!(fetch(300_000).expect_err("altered").kind(), Kind::Unverified);
    assert!(fetch(299_999).expect_err("longer").to_string().contains("at most 299999 bytes"));
    registry.fail("GET", "blobs", 100, Failure::CloseAfterSending(100_000));
    assert_eq!(fetch(300_000).expect_err("never whole").kind(), Kind::Network);
    assert!(store.blobs().list().expect("a list").is_empty(), "nothing half is kept");
    assert_eq!(registry.take_requests().len(), 7, "five attempts at what breaks");

    let registry = FakeRegistry::start();
    registry.put_blob("app", &bytes);
    registry.fail("GET", "blobs", 2, Failure::CloseAfterSending(100_000));
    let client = Registry::new(&http(), &CredentialStore::empty(), &registry.name());
    assert_eq!(client.fetch_blob("app", &digest, 300_000, store.blobs()).expect("whole"), 300_000);
    assert!(store.blobs().contains(&digest, 300_000));
    registry.take_requests();
    client.fetch_blob("app", &digest, 300_000, store.blobs()).expect("there");
    assert!(registry.take_requests().is_empty(), "what is there is not fetched");
}
