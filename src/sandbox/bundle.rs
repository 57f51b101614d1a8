//! Bundles of containers that run (OCI runtime specification, "Filesystem Bundle"), and what is left of those whose
//! process was killed.
//!
//! ```text
//! $XDG_RUNTIME_DIR/microbuild/  lock  ID/  lock  runtime  config.json  log  state/
//! ```
//!
//! They do not lie in the store but in memory: a configuration and the files beside it may hold secrets, which are
//! written to no disk. A process holds the lock of its bundle; one whose lock is free is abandoned, and its container
//! is removed with it: by the process that watches over it ([`guard`](super::guard)), else by the next one that makes a
//! bundle.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read as _},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::Deserialize;

use super::{Runtime, SandboxError, runtime::is_privileged};
use crate::{host::Host, programs, store::folders::remove_tree};

/// As much of a runtime's log as is read.
const MAX_LOG: u64 = 1 << 20;

/// The folder of one container. The container is removed with this value, and so is the folder.
#[derive(Debug)]
pub struct Bundle {
    path: PathBuf,
    id: String,
    runtime: Runtime,
    _lock: File,
}

/// A folder in which this user's bundles may lie.
struct Base {
    path: PathBuf,
    /// Whether nothing in it reaches a disk.
    in_memory: bool,
}

/// Such folders, those in memory first: below `$XDG_RUNTIME_DIR` when that is this user's, in the memory that processes
/// share, in the folder for temporary files.
fn bases(host: &Host) -> Vec<Base> {
    let uid = rustix::process::geteuid().as_raw();
    let is_ours = |path: &PathBuf| {
        path.is_absolute()
            && path.metadata().is_ok_and(|meta| meta.is_dir() && meta.uid() == uid && meta.mode() & 0o022 == 0)
    };
    let own = host.variable_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(is_ours);
    let outer = outer_id(&fs::read_to_string("/proc/self/uid_map").unwrap_or_default(), uid);
    let shared = [PathBuf::from("/dev/shm"), host.temporary()].map(|folder| (folder, format!("microbuild-{outer}")));
    let all = own.map(|own| (own, "microbuild".to_owned())).into_iter().chain(shared);
    let base = |(folder, name): (PathBuf, String)| Base { in_memory: is_in_memory(&folder), path: folder.join(name) };
    let mut bases: Vec<Base> = all.map(base).collect();
    bases.sort_by_key(|base| !base.in_memory);
    bases
}

/// What the user `uid` of a user namespace is called outside of it, after its map (user_namespaces(7)): several
/// namespaces may have a root, and share folders in which each user has one by its number.
fn outer_id(map: &str, uid: u32) -> u32 {
    let ranges = map.lines().filter_map(|line| {
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u32>().ok());
        Some((numbers.next()??, numbers.next()??, numbers.next()??))
    });
    let outer = |(inner, outer, count): (u32, u32, u32)| {
        uid.checked_sub(inner).filter(|offset| *offset < count).and_then(|offset| outer.checked_add(offset))
    };
    ranges.into_iter().find_map(outer).unwrap_or(uid)
}

/// Whether files in `folder` lie in memory: tmpfs, ramfs (linux/magic.h).
#[cfg(target_os = "linux")]
fn is_in_memory(folder: &Path) -> bool {
    let magic = rustix::fs::statfs(folder).map(|about| about.f_type as u64 & 0xffff_ffff);
    matches!(magic, Ok(0x0102_1994 | 0x8584_58f6))
}

#[cfg(not(target_os = "linux"))]
fn is_in_memory(_: &Path) -> bool {
    false
}

/// The folder in which this user's bundles lie, made where it is missing; one in memory when they are `confidential`.
///
/// # Errors
/// When no such folder can be made that is this user's alone.
pub fn base(confidential: bool, host: &Host) -> Result<PathBuf, SandboxError> {
    let uid = rustix::process::geteuid().as_raw();
    let mut refused = None;
    for Base { path, .. } in bases(host).into_iter().filter(|base| base.in_memory || !confidential) {
        match private_folder(&path, uid) {
            Ok(()) => return Ok(path),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    Err(refused.unwrap_or(SandboxError::NoMemory))
}

/// Makes `path` a folder of `uid` alone. In a folder that all may write, another user may have been faster.
fn private_folder(path: &Path, uid: u32) -> Result<(), SandboxError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(SandboxError::io("create", path)(e)),
        _ => {}
    }
    let meta = path.symlink_metadata().map_err(SandboxError::io("read", path))?;
    let found = match &meta {
        meta if !meta.is_dir() => "no folder",
        meta if meta.uid() != uid => "one of another user",
        meta if meta.mode() & 0o077 != 0 => "one that others may use",
        _ => return Ok(()),
    };
    Err(SandboxError::RunFolder { path: path.to_owned(), found: found.to_owned() })
}

impl Bundle {
    /// A new bundle in `base`, empty yet, after what killed processes left there is removed.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(base: &Path, runtime: &Runtime) -> Result<Self, SandboxError> {
        let turn = lock_file(&base.join("lock"))?;
        turn.lock().map_err(SandboxError::io("lock", base))?;
        let abandoned = abandoned(base, &runtime.host);
        let private = fs::Permissions::from_mode(0o700);
        let made = tempfile::Builder::new().prefix("microbuild-").permissions(private).tempdir_in(base);
        let path = made.map_err(SandboxError::io("create a folder in", base))?.keep();
        let lock = lock_file(&path.join("lock"))?;
        lock.lock().map_err(SandboxError::io("lock", &path))?;
        drop(turn);
        // Each is locked by this process now; others need not wait until they are gone.
        drop(abandoned);
        let id = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bundle = Self { path, id, runtime: runtime.clone(), _lock: lock };
        bundle.write("runtime", runtime.path.as_os_str().as_bytes())?;
        Ok(bundle)
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file that only this user reads.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), SandboxError> {
        let path = self.path.join(name);
        let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&path);
        file.and_then(|mut file| io::Write::write_all(&mut file, bytes)).map_err(SandboxError::io("write", path))
    }

    /// The runtime's command `name` for this container, `options` before its id.
    pub fn command(&self, name: &str, options: &[&str]) -> Command {
        let mut command = Command::new(&self.runtime.path);
        // A runtime searches for programs of its own, such as newuidmap.
        command.env("PATH", programs::safe_path(&self.runtime.host.path()));
        command.args(self.runtime.options(is_privileged()));
        command.arg("--root").arg(self.path.join("state")).arg("--log").arg(self.log()).args(["--log-format", "json"]);
        command.arg(name).args(options);
        if name == "run" {
            command.arg("--bundle").arg(&self.path);
        }
        command.arg(&self.id);
        command
    }

    fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// What the runtime says went wrong, one error after the other; `None` when it has never begun to write its log.
    pub fn errors(&self) -> Option<Vec<String>> {
        let mut log = String::new();
        File::open(self.log()).ok()?.take(MAX_LOG).read_to_string(&mut log).ok()?;
        Some(errors_in(&log))
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        // runc and crun have a folder for each container that is not deleted yet.
        if fs::read_dir(self.path.join("state")).is_ok_and(|mut entries| entries.next().is_some()) {
            let mut delete = self.command("delete", &["--force"]);
            let _ = delete.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
        // What cannot be removed now is tried again by the next bundle.
        let _ = remove_tree(&self.path);
    }
}

fn lock_file(path: &Path) -> Result<File, SandboxError> {
    let file = File::options().create(true).append(true).mode(0o600).open(path);
    file.map_err(SandboxError::io("open", path))
}

/// Ends what runs for processes that were killed, and removes what they left: the containers' folders.
pub fn sweep(host: &Host) {
    let uid = rustix::process::geteuid().as_raw();
    for Base { path, .. } in bases(host) {
        // One of another user has nothing of ours.
        if path.symlink_metadata().is_ok() && private_folder(&path, uid).is_ok() {
            abandoned(&path, host).into_iter().for_each(drop);
        }
    }
}

/// The bundles in `base` whose processes have ended; to be dropped.
fn abandoned(base: &Path, host: &Host) -> Vec<Bundle> {
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    entries.filter_map(|entry| abandoned_bundle(&entry.path(), host)).collect()
}

/// The bundle `path`, when its process has ended; to be dropped.
pub(super) fn abandoned_bundle(path: &Path, host: &Host) -> Option<Bundle> {
    let id = path.file_name()?.to_str()?.to_owned();
    if !id.starts_with("microbuild-") || !path.symlink_metadata().ok()?.is_dir() {
        return None;
    }
    let lock = lock_file(&path.join("lock")).ok()?;
    lock.try_lock().ok()?;
    let runtime = fs::read_to_string(path.join("runtime")).unwrap_or_default();
    let runtime = Runtime::find(Some(&runtime), host).or_else(|_| Runtime::find(None, host)).ok()?;
    Some(Bundle { path: path.to_owned(), id, runtime, _lock: lock })
}

/// A line of a runtime's log.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    level: String,
    #[serde(default)]
    msg: String,
}

fn errors_in(log: &str) -> Vec<String> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    lines.filter(|line| matches!(line.level.as_str(), "error" | "fatal" | "panic")).map(|line| line.msg).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A runtime that notes its commands.
    fn runtime(dir: &Path) -> Runtime {
        let path = dir.join("runtime");
        fs::write(&path, format!("#!/bin/sh\necho \"$@\" >> {}/told\n", dir.display())).expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its own file");
        Runtime::find(Some(path.to_str().expect("UTF-8")), &Host::new([], Path::new("/"))).expect("a runtime")
    }

    fn told(dir: &Path) -> String {
        fs::read_to_string(dir.join("told")).unwrap_or_default()
    }

    fn bundles(base: &Path) -> usize {
        fs::read_dir(base).expect("the folder").flatten().filter(|entry| entry.path().is_dir()).count()
    }

    #[test]
    fn a_bundle_leaves_nothing_and_its_container_goes_with_it() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let base = dir.path().join("base");
        fs::create_dir(&base).expect("a folder");
        let runtime = runtime(dir.path());
        let bundle = Bundle::create(&base, &runtime).expect("a bundle");
        bundle.write("config.json", b"{}").expect("write");
        let mode = bundle.path.join("config.json").metadata().expect("there").mode();
        assert_eq!((mode & 0o777, bundle.path.metadata().expect("there").mode() & 0o777), (0o600, 0o700));
        drop(bundle);
        assert_eq!((bundles(&base), told(dir.path())), (0, String::new()), "it has never run");

        let bundle = Bundle::create(&base, &runtime).expect("a bundle");
        fs::create_dir_all(bundle.path.join("state").join(&bundle.id)).expect("a container");
        let line = format!(
            "--root {0}/state --log {0}/log --log-format json delete --force {1}\n",
            bundle.path.display(),
            bundle.id
        );
        drop(bundle);
        assert_eq!((bundles(&base), told(dir.path())), (0, line));
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_runs_stays() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let runtime = runtime(dir.path());
        let base = dir.path().join("base");
        fs::create_dir_all(base.join("microbuild-dead/state/microbuild-dead")).expect("a folder");
        fs::write(base.join("microbuild-dead/runtime"), runtime.path.as_os_str().as_bytes()).expect("write");
        fs::create_dir(base.join("microbuild-young")).expect("a folder that was not even locked");
        fs::create_dir(base.join("someone's")).expect("a folder");
        let alive = Bundle::create(&base, &runtime).expect("a bundle");
        assert!(told(dir.path()).ends_with("delete --force microbuild-dead\n"), "{}", told(dir.path()));
        let other = Bundle::create(&base, &runtime).expect("a bundle");
        assert!(alive.path.is_dir() && other.path.is_dir());
        assert_eq!(bundles(&base), 3);
    }

    #[test]
    fn only_a_folder_of_our_own_is_used() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| dir.path().join(name);
        let uid = rustix::process::geteuid().as_raw();
        private_folder(&at("new"), uid).expect("made");
        private_folder(&at("new"), uid).expect("used again");
        symlink(at("new"), at("link")).expect("a link");
        fs::create_dir(at("open")).expect("a folder");
        fs::set_permissions(at("open"), fs::Permissions::from_mode(0o750)).expect("its own folder");
        for (name, uid, why) in [
            ("link", uid, "no folder"),
            ("open", uid, "one that others may use"),
            ("new", uid + 1, "one of another user"),
        ] {
            let error = private_folder(&at(name), uid).expect_err(name);
            assert!(error.to_string().ends_with(why), "{error}");
        }
    }

    #[test]
    fn users_of_namespaces_are_told_apart() {
        for (map, uid, expected) in [
            ("         0          0 4294967295\n", 1000, 1000),
            ("0 23456 1\n", 0, 23456),
            ("0 1000 1\n1 100000 65536\n", 5, 100_004),
            ("0 1000 1\n", 7, 7),
            ("", 7, 7),
        ] {
            assert_eq!(outer_id(map, uid), expected, "{map:?}");
        }
    }

    #[test]
    fn errors_are_read_from_a_log() {
        let log = "{\"level\":\"warning\",\"msg\":\"a\"}\nno JSON\n{\"level\":\"error\",\"msg\":\"b\",\"time\":\"x\"}\n{\"level\":\"fatal\",\"msg\":\"c\"}\n{\"x\":1}\n";
        assert_eq!(errors_in(log), ["b", "c"]);
    }
}
