//! What goes wrong in the middle: killed builds, builds side by side, full disks, apps larger than memory.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use microbuild::internals::digest::Hashing;

use crate::support::{
    Finished, Process,
    docker_registry::{DockerRegistry, Wishes},
    is_root, run, skip_forbidden,
    workbench::{Workbench, app, digest, noise, one_line, text},
};

const HERE: [&str; 2] = ["--platform", "linux/amd64"];

/// An app with `size` bytes that do not compress.
fn app_of(dir: &Path, size: usize) -> PathBuf {
    let app = app(dir, &[("index.js", "")]);
    fs::write(app.join("data"), noise(5, size)).expect("a file");
    app
}

/// The digest that an undisturbed build of `app` has.
#[track_caller]
fn undisturbed(bench: &Workbench, app: &Path) -> String {
    digest(&Workbench::with(bench.source.clone()).build(app, HERE)).to_owned()
}

/// Every blob below the home has the digest that its name says; how many there are.
#[track_caller]
fn assert_blobs_are_whole(home: &Path) -> usize {
    let folders = [".cache/microbuild/v1", ".local/share/microbuild/images"];
    let entries = folders.iter().filter_map(|folder| fs::read_dir(home.join(folder).join("blobs/sha256")).ok());
    let mut count = 0;
    for entry in entries.flatten() {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue; // A temporary file: nothing that anyone trusts.
        }
        let mut hashing = Hashing::new(io::sink());
        io::copy(&mut File::open(&path).expect("a blob"), &mut hashing).expect("readable");
        assert_eq!(hashing.finish().0.hex(), name, "{} is half-written", path.display());
        count += 1;
    }
    count
}

#[test]
fn a_killed_build_leaves_nothing_that_the_next_one_trusts() {
    let bench = Workbench::fake();
    let app = app_of(&bench.path("app"), 8 << 20);
    let output = format!("oci:{}:app", bench.path("layout").display());
    let expected = undisturbed(&bench, &app);
    let begin = Instant::now();
    undisturbed(&bench, &app);
    let whole = begin.elapsed();

    let (mut killed, mut moments) = (0, noise(u64::from(std::process::id()), 60).into_iter());
    for round in 0..30 {
        if round % 3 == 0 {
            // Now and then from nothing; otherwise with what the killed ones left.
            let _ = fs::remove_dir_all(bench.home.path().join(".cache"));
            let _ = fs::remove_dir_all(bench.home.path().join(".local"));
        }
        let mut build = bench.node(&app, HERE.into_iter().chain(["-o", &output]));
        let mut build = Process::spawn(build.stdout(Stdio::null()).stderr(Stdio::null())).expect("a build");
        // Any moment of a build, the last ones too.
        let moment = u32::from(moments.next().expect("noise"));
        thread::sleep(whole * moment / 230);
        if build.ended().is_none() {
            build.child().kill().expect("a signal");
            killed += 1;
        }
        build.child().wait().expect("an end");
        assert_blobs_are_whole(bench.home.path());
    }
    assert!(killed > 5, "{killed} of 30 were killed");
    let line = bench.build(&app, HERE.into_iter().chain(["-o", &output]));
    assert_eq!(digest(&line), expected);
    assert!(assert_blobs_are_whole(bench.home.path()) > 0);
    // Every blob that the image names is there, and whole.
    let exported = bench.path("exported");
    let again = bench.microbuild(["export", "app", &format!("oci:{}:app", exported.display())]);
    assert_eq!(digest(&one_line(&again)), expected);
}

#[test]
fn builds_side_by_side_share_a_store() {
    let bench = Workbench::fake();
    let app = app_of(&bench.path("app"), 4 << 20);
    let expected = undisturbed(&bench, &app);
    thread::scope(|scope| {
        let tags = ["a:1", "b:1", "c:1", "a:1"];
        let builds: Vec<_> = (tags.iter())
            .map(|tag| bench.node(&app, HERE.into_iter().chain(["-t", tag])))
            .map(|mut command| scope.spawn(move || run(&mut command)))
            .collect();
        for build in builds {
            let finished = build.join().expect("a build");
            assert_eq!(digest(&one_line(&finished)), expected);
        }
    });
    assert_blobs_are_whole(bench.home.path());
    let images = bench.microbuild(["images"]);
    assert_eq!(images.succeeds().lines().count(), 4, "{}", images.stdout);
}

/// A file system of its own on a folder; it is unmounted with this value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `size` as mount(8) takes it; `None`, after saying why, where nothing can be mounted.
    #[track_caller]
    fn mount(on: &Path, size: &str) -> Option<Self> {
        if !is_root() {
            skip_forbidden("needs root: to mount a small disk");
            return None;
        }
        fs::create_dir_all(on).expect("a folder");
        let options = format!("size={size}");
        let mounted = run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(on));
        if mounted.code != Some(0) {
            skip_forbidden(&format!("nothing can be mounted: {}", mounted.stderr.trim()));
            return None;
        }
        Some(Self(on.to_owned()))
    }

    #[track_caller]
    fn resize(&self, size: &str) {
        run(Command::new("mount").args(["-o", &format!("remount,size={size}")]).arg(&self.0)).succeeds();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run(Command::new("umount").arg("-l").arg(&self.0));
    }
}

/// It failed, and said that the disk is full and what to do.
#[track_caller]
fn assert_full(finished: &Finished, place: &str) {
    assert_eq!(finished.exits(1), "", "{place}");
    let said = &finished.stderr;
    assert!(said.contains("No space left on device"), "{place}: {said}");
    assert!(said.contains("hint: ") && said.contains("disk is full"), "{place}: {said}");
}

#[test]
fn a_full_disk_is_explained_and_leaves_nothing_half() {
    let bench = Workbench::fake();
    let app = app_of(&bench.path("app"), 6 << 20);
    let expected = undisturbed(&bench, &app);
    // Full while a package is fetched, while the system layer or the app's is written.
    for (size, folder) in [("1m", ".cache"), ("3m", ".cache"), ("5m", ".cache"), ("5m", ".local/share")] {
        let bench = Workbench::with(bench.source.clone());
        let Some(disk) = SmallDisk::mount(&bench.home.path().join(folder), size) else { return };
        let place = format!("{size} for {folder}");
        assert_full(&run(&mut bench.node(&app, HERE)), &place);
        assert_blobs_are_whole(bench.home.path());
        disk.resize("100m");
        assert_eq!(digest(&bench.build(&app, HERE)), expected, "{place}");
        assert_blobs_are_whole(bench.home.path());
    }
}

#[test]
fn outputs_on_a_full_disk_leave_nothing() {
    let bench = Workbench::fake();
    let app = app_of(&bench.path("app"), 6 << 20);
    let Some(disk) = SmallDisk::mount(&bench.path("small"), "5m") else { return };
    bench.build(&app, HERE);
    for kind in ["oci-archive", "docker-archive", "oci"] {
        let output = format!("{kind}:{}", disk.0.join(kind).display());
        assert_full(&bench.microbuild(["export", "app", &output]), kind);
        let left: Vec<_> = fs::read_dir(&disk.0).expect("the disk").flatten().map(|e| e.file_name()).collect();
        assert!(left.iter().all(|name| name == "oci"), "{kind} leaves {left:?}");
    }
}

/// The most memory that was resident, in bytes, while `command` ran to its end.
#[track_caller]
fn peak_memory(command: &mut Command, log: &Path) -> u64 {
    let mut process = Process::spawn(command.stdout(Stdio::null()).stderr(File::create(log).expect("a file")))
        .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
    let status = format!("/proc/{}/status", process.id());
    let mut peak = 0;
    loop {
        // VmHWM is the kernel's own high-water mark (proc_pid_status(5)); it is gone once the process has ended.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        if let Some(kilobytes) = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()) {
            peak = peak.max(kilobytes * 1024);
        }
        if let Some(status) = process.ended() {
            assert!(status.success(), "{command:?}: {}", fs::read_to_string(log).unwrap_or_default());
            return peak;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// An app of `megabytes`: a quarter noise, in files of several sizes, the rest one file of nothing, which costs no disk.
fn large_app(dir: &Path, megabytes: u64) -> PathBuf {
    let app = app(dir, &[("index.js", "")]);
    let block = noise(11, 1 << 20);
    for (at, share) in [4, 3, 2, 1].into_iter().enumerate() {
        let mut file = File::create(app.join(format!("data-{at}"))).expect("a file");
        for _ in 0..megabytes / 40 * share {
            file.write_all(&block).expect("a disk with room");
        }
    }
    let file = File::create(app.join("sparse")).expect("a file");
    file.set_len((megabytes - megabytes / 40 * 10) << 20).expect("a sparse file");
    app
}

#[test]
fn memory_does_not_grow_with_the_image() {
    if !Path::new("/proc/self/status").exists() {
        return skip_forbidden("needs Linux's /proc");
    }
    let megabytes = std::env::var("MICROBUILD_TEST_APP_MB").ok().and_then(|text| text.parse().ok()).unwrap_or(1000);
    let bench = Workbench::fake();
    let app = large_app(&bench.path("app"), megabytes);
    let mut options = vec!["--platform".to_owned(), HERE[1].to_owned()];
    let registry = DockerRegistry::start(Wishes::default());
    if let Some(registry) = &registry {
        options.extend(["-t".to_owned(), format!("{}/app:1", registry.name()), "--push".to_owned()]);
    }
    let log = bench.path("log");
    // On a large machine: every thread has blocks of its own.
    for (compression, threads) in [("gzip:1", "2"), ("zstd:1", "32")] {
        let mut build = bench.node(&app, options.iter().map(String::as_str).chain(["--compression", compression]));
        let peak = peak_memory(build.env("RAYON_NUM_THREADS", threads), &log);
        println!("{compression}, {threads} threads, {megabytes} MB: {peak} bytes resident at most");
        assert!(peak > 1 << 20, "it was measured");
        assert!(peak < 100_000_000, "{compression} with {threads} threads: {peak} bytes were resident");
    }
    let archive = format!("docker-archive:{}", text(&bench.path("image.tar")));
    let name = registry.map_or_else(|| "app:latest".to_owned(), |registry| format!("{}/app:1", registry.name()));
    let peak = peak_memory(&mut bench.home.microbuild(["export", &name, &archive]), &log);
    assert!(peak < 100_000_000, "export: {peak} bytes were resident");
}

#[test]
fn a_damaged_store_is_noticed_and_can_be_emptied() {
    let bench = Workbench::fake();
    let app = app_of(&bench.path("app"), 1 << 20);
    let expected = digest(&bench.build(&app, HERE)).to_owned();
    // Shorter than they were, as a disk that lost power may leave files.
    let blobs = bench.home.path().join(".cache/microbuild/v1/blobs/sha256");
    for entry in fs::read_dir(&blobs).expect("the store").flatten() {
        fs::remove_file(entry.path()).expect("removed");
        fs::write(entry.path(), b"short").expect("written");
    }
    fs::remove_dir_all(bench.home.path().join(".local")).expect("removed");
    let refused = run(&mut bench.node(&app, HERE));
    assert_eq!(refused.exits(4), "");
    assert!(refused.stderr.contains("microbuild gc --all"), "{}", refused.stderr);
    assert!(bench.microbuild(["images"]).succeeds().lines().count() == 1, "nothing is kept of it");

    bench.microbuild(["gc", "--all"]).succeeds();
    assert_eq!(digest(&bench.build(&app, HERE)), expected);
    assert!(assert_blobs_are_whole(bench.home.path()) > 0);
}
