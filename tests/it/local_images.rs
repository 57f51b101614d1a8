//! The local images: names, lists, removal, and the collection of garbage while others build.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

use microbuild::internals::{
    digest::Digest,
    error::Explain as _,
    image::Artifact,
    images::{GcOptions, GcReport, ImagesError, LocalImages},
    store::{Bucket, Store},
    ui::Ui,
};

use crate::support::{
    random_image::{self, PLAIN, TestImage, bytes_of, index_of, tar_of},
    run, tools,
};

struct Here {
    dir: tempfile::TempDir,
    images: LocalImages,
    store: Store,
}

impl Here {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let images = LocalImages::open(&dir.path().join("data/images")).expect("images");
        let store = Store::open(&dir.path().join("cache")).expect("a store");
        Self { dir, images, store }
    }

    /// An image of one layer whose blob lies in the store.
    fn stored(&self, text: &str) -> Artifact {
        let tar = tar_of(&[("text", text.as_bytes())]);
        let digest = self.store.blobs().put(&tar).expect("put");
        let file = Arc::new(self.store.blobs().path(&digest));
        TestImage::here().layer_from("app", PLAIN, digest, &tar, file).artifact()
    }

    fn put(&self, name: &str, artifact: &Artifact) {
        self.images.put(&[name.to_owned()], artifact, &Ui::silent()).expect("put");
    }

    fn names(&self) -> Vec<String> {
        self.images.list().expect("list").into_iter().map(|row| format!("{}:{}", row.name, row.tag)).collect()
    }

    fn gc(&self, unused_for: Duration, all: bool) -> GcReport {
        self.images.gc(&self.store, GcOptions { now: SystemTime::now(), unused_for, all }).expect("gc")
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn told(error: &ImagesError) -> String {
    format!("{error}\nhint: {}\nexit: {}\n", error.hint().unwrap_or_default(), error.kind() as u8)
}

#[test]
fn images_are_found_by_every_name_that_they_have() {
    let here = Here::new();
    let (one, two) = (here.stored("one"), here.stored("two"));
    here.put("app", &one);
    here.put("localhost:5000/me/app:2", &two);
    assert_eq!(here.names(), ["app:latest", "localhost:5000/me/app:2"]);
    let (first, second) = (one.root().digest, two.root().digest);
    for (name, expected) in [
        ("app".to_owned(), first),
        ("app:latest".into(), first),
        (format!("app@{first}"), first),
        (format!("app:latest@{first}"), first),
        (first.to_string(), first),
        ("localhost:5000/me/app:2".into(), second),
        (format!("localhost:5000/me/app@{second}"), second),
    ] {
        assert_eq!(here.images.get(&name).expect(&name).root().digest, expected, "{name}");
    }
    let mut text = String::new();
    for name in ["ap", "app:1", "localhost:5000/me/app", "zzz", &format!("app@{}", Digest::of("another"))] {
        text += &told(&here.images.get(name).expect_err(name));
    }
    text += &told(&Here::new().images.get("app").expect_err("none at all"));
    insta::assert_snapshot!(text);
}

#[test]
fn a_list_shows_sizes_platforms_and_what_is_broken() {
    let here = Here::new();
    let one = here.stored("one");
    let other = TestImage::new("linux/arm64").layer("app", &[("a", b"a")]).image();
    here.put("many", &index_of(vec![one.images[0].clone(), other]));
    here.put("one:1", &one);
    let rows = here.images.list().expect("list");
    assert_eq!(rows[0].platforms, [one.images[0].platform.to_string(), "linux/arm64".into()]);
    let image = &one.images[0];
    let size = image.layers[0].size as usize + image.config.bytes.len() + image.manifest.bytes.len();
    assert_eq!((rows[1].size, rows[1].created.as_deref()), (size as u64, Some("1970-01-01T00:00:00Z")));
    assert_eq!(rows[1].broken, None);
    // Both share the layer: it counts once in each.
    assert!(rows[0].size > rows[1].size && rows[0].size < 2 * rows[1].size + 4000, "{rows:?}");

    fs::remove_file(here.images.dir().join("blobs/sha256").join(image.layers[0].digest.hex())).expect("remove");
    let rows = here.images.list().expect("a list all the same");
    assert!(rows.iter().all(|row| row.broken.as_deref().is_some_and(|why| why.contains("is missing in"))), "{rows:?}");
    here.images.remove("one:1").expect("what is broken can be removed");
    assert_eq!(here.names(), ["many:latest"]);
}

#[test]
fn inspection_tells_all() {
    let here = Here::new();
    here.put(
        "app",
        &TestImage::new("linux/amd64").layer_of("app", PLAIN, &tar_of(&[("a", b"a")])).entrypoint(&["/a"]).artifact(),
    );
    let found = here.images.inspect("app").expect("inspect");
    insta::assert_snapshot!(serde_json::to_string_pretty(&found).expect("JSON"));
}

#[test]
fn blobs_are_links_into_the_store_and_skopeo_reads_them() {
    let here = Here::new();
    let artifact = here.stored("shared");
    here.put("app", &artifact);
    let inode = |path: PathBuf| fs::metadata(path).expect("a blob").ino();
    let digest = artifact.images[0].layers[0].digest;
    let ours = here.images.dir().join("blobs/sha256").join(digest.hex());
    assert_eq!(inode(ours), inode(here.store.blobs().path(&digest)));
    let Some([skopeo]) = tools(["skopeo"]) else { return };
    let at = format!("oci:{}:app:latest", here.images.dir().display());
    assert_eq!(run(Command::new(skopeo).args(["inspect", "--raw", &at])).succeeds().as_bytes(), artifact.root().bytes);
}

#[test]
fn removal_takes_what_no_other_image_needs() {
    let here = Here::new();
    let shared = tar_of(&[("shared", b"shared")]);
    let with = |text: &str| {
        TestImage::here().layer_of("shared", PLAIN, &shared).layer("app", &[("a", text.as_bytes())]).artifact()
    };
    let (one, two) = (with("one"), with("two"));
    here.put("one", &one);
    here.put("also-one", &one);
    here.put("two", &two);
    let blobs = || fs::read_dir(here.images.dir().join("blobs/sha256")).expect("list").count();
    assert_eq!(blobs(), 7);
    assert_eq!(here.images.remove("also-one").expect("remove"), (one.root().digest, 0));
    assert_eq!(blobs(), 7, "the other name needs them");
    assert!(here.images.remove("one").expect("remove").1 > 0);
    assert_eq!(blobs(), 4);
    assert_eq!(bytes_of(&here.images.get("two").expect("two").images[0].layers[0]), shared);
    assert!(matches!(here.images.remove("one"), Err(ImagesError::NotFound { .. })));
}

#[test]
fn garbage_is_what_nobody_needs_and_nobody_used_lately() {
    let here = Here::new();
    let (kept, replaced) = (here.stored("kept"), here.stored("replaced"));
    here.put("app", &replaced);
    here.put("app", &kept);
    let lone = here.store.blobs().put(b"an old download").expect("put");
    here.store.remember(Bucket::Apps, &lone, &1).expect("remember");
    let has = |artifact: &Artifact| {
        here.store.blobs().contains(&artifact.images[0].layers[0].digest, artifact.images[0].layers[0].size)
    };

    let report = here.gc(30 * DAY, false);
    assert_eq!(report.removed, 3, "the old image's blobs go from the images; the store's are still young");
    assert!(has(&kept) && has(&replaced));
    assert_eq!(here.store.recall::<u8>(Bucket::Apps, &lone), Some(1));

    let file = fs::File::options().read(true).open(here.store.blobs().path(&lone)).expect("open");
    let old = SystemTime::now() - 31 * DAY;
    file.set_times(fs::FileTimes::new().set_accessed(old).set_modified(old)).expect("set the times");
    assert_eq!(here.gc(30 * DAY, false), GcReport { removed: 1, freed: 15 });

    let report = here.gc(30 * DAY, true);
    assert_eq!(report.removed, 2, "the replaced layer and the memo");
    assert!(has(&kept) && !has(&replaced));
    assert_eq!(here.gc(30 * DAY, true), GcReport::default(), "nothing is left to do");
    assert_eq!(here.images.get("app").expect("app").root(), kept.root());
}

#[test]
fn garbage_waits_for_builds_that_use_the_store() {
    let here = Here::new();
    let building = here.store.lock_shared().expect("a build");
    let released = AtomicBool::new(false);
    thread::scope(|scope| {
        let gc = scope.spawn(|| {
            here.gc(DAY, true);
            assert!(released.load(Ordering::SeqCst), "gc ran while a build was under way");
        });
        let artifact = here.stored("just made");
        thread::sleep(Duration::from_millis(200));
        here.put("app", &artifact);
        released.store(true, Ordering::SeqCst);
        drop(building);
        gc.join().expect("gc");
    });
    assert_eq!(bytes_of(&here.images.get("app").expect("app").images[0].layers[0]), tar_of(&[("text", b"just made")]));
}

#[test]
fn puts_removals_and_collections_at_once_leave_every_image_whole() {
    let here = Here::new();
    // Stores of their own: the images' own lock must do.
    thread::scope(|scope| {
        for worker in 0..4_u64 {
            let here = &here;
            scope.spawn(move || {
                for i in 0..12 {
                    let artifact = random_image::random(i % 3);
                    here.put(&format!("w{worker}:{}", i % 3), &artifact);
                    if i % 4 == 3 {
                        // Another round may have taken it already.
                        let _ = here.images.remove(&format!("w{worker}:{}", (i + 1) % 3));
                    }
                }
            });
        }
        scope.spawn(|| {
            for i in 0..10 {
                let store = Store::open(&here.dir.path().join(format!("store-{i}"))).expect("a store");
                here.images.gc(&store, GcOptions { now: SystemTime::now(), unused_for: DAY, all: true }).expect("gc");
            }
        });
    });
    let rows = here.images.list().expect("list");
    assert!(rows.len() >= 4, "{rows:?}");
    for row in rows {
        assert_eq!(row.broken, None, "{}:{}", row.name, row.tag);
        let seed = row.tag.parse().expect("a number");
        assert_eq!(row.digest, random_image::random(seed).root().digest);
    }
}
