//! OCI runtimes on this machine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use super::{
    Ids, SandboxError,
    limits::{has_mounts_below, is_since},
    subordinate::Subordinate,
};
use crate::{host::Host, programs};

/// Which program a runtime is, as far as they differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    /// crun.
    Crun,
    /// runc, youki, and any other: they speak runc's command line.
    Runc,
}

/// An OCI runtime.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// The program.
    pub path: PathBuf,
    /// Which one it is.
    pub flavor: Flavor,
    /// This program, which is started again to watch over containers; it calls [`serve`](super::serve) before anything
    /// else. `/proc/self/exe` leads to it even when its file was renamed or replaced since it started.
    pub helper: PathBuf,
    /// The machine that it runs on, and the user's environment.
    pub host: Host,
}

/// Where system programs lie that a user's `PATH` leaves out.
const SYSTEM: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/local/sbin"];

impl Runtime {
    /// The runtime of `host` that `name` gives (a program on `PATH`, or a path); without one, the first there is of runc, crun
    /// and youki. Who is not real root is better served by crun where it works, which shows every user by its number.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(name: Option<&str>, host: &Host) -> Result<Self, SandboxError> {
        if !cfg!(target_os = "linux") {
            return Err(SandboxError::NotLinux);
        }
        match name {
            Some(name) => Self::named(name, host).ok_or_else(|| SandboxError::BadRuntime(name.to_owned())),
            None => Self::first(host, is_privileged() || has_hybrid_cgroups()).ok_or(SandboxError::NoRuntime),
        }
    }

    fn first(host: &Host, runc_first: bool) -> Option<Self> {
        let names = if runc_first { ["runc", "crun", "youki"] } else { ["crun", "runc", "youki"] };
        names.iter().find_map(|name| Self::named(name, host))
    }

    fn named(name: &str, host: &Host) -> Option<Self> {
        let path = if name.contains('/') {
            std::path::absolute(name).ok().filter(|file| programs::is_program(file))?
        } else {
            programs::find_in(name, programs::folders(&host.path()).chain(SYSTEM.map(PathBuf::from)))?
        };
        // Some distributions have a link called runc that leads to crun.
        let real = fs::canonicalize(&path).ok()?;
        let is_crun = real.file_name().is_some_and(|name| name.to_string_lossy().contains("crun"));
        let flavor = if is_crun { Flavor::Crun } else { Flavor::Runc };
        Some(Self { path, flavor, helper: "/proc/self/exe".into(), host: host.clone() })
    }

    /// What it is called.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy().into_owned()
    }

    /// The numbers by which a sandbox for `user` knows that user. They are others for a caller who is not real root,
    /// and has no numbers but its own, under a runtime that needs root in its namespace, which then is the only user
    /// that there is.
    pub fn shows(&self, user: &Ids) -> Ids {
        self.shows_to(is_privileged(), user)
    }

    fn shows_to(&self, privileged: bool, user: &Ids) -> Ids {
        if privileged || self.flavor == Flavor::Crun {
            return user.clone();
        }
        Ids { uid: 0, gid: 0, groups: Vec::new(), home: user.home.clone() }
    }

    /// The caller's numbers that let a sandbox have `user` although this runtime wants root in every namespace; `None`
    /// where there is no need, or there are none.
    pub(super) fn subordinate(&self, user: &Ids) -> Option<Subordinate> {
        let needed = self.flavor == Flavor::Runc && user.uid != 0 && !is_privileged();
        let ranges = needed.then(|| Subordinate::of(rustix::process::geteuid().as_raw(), &self.host)).flatten();
        ranges.filter(|ranges| ranges.covers(user))
    }

    /// Whether a folder that is mounted read-only from `source` can be written where something else is mounted below
    /// it: this runtime, or the kernel, knows no better.
    pub fn leaves_writable(&self, source: &Path) -> bool {
        self.read_only(source).is_none()
    }

    /// The option that mounts `source`, and all that is mounted below it, read-only; `None` where there is none.
    pub(super) fn read_only(&self, source: &Path) -> Option<&'static str> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        if !has_mounts_below(&read("/proc/self/mountinfo"), source) {
            return Some("ro");
        }
        // mount_setattr(2)
        let known = is_since(&read("/proc/sys/kernel/osrelease"), (5, 12)) && self.has_mount_option("rro");
        known.then_some("rro")
    }

    /// Whether the runtime says that it knows a mount's option (OCI runtime specification, "Features").
    fn has_mount_option(&self, option: &str) -> bool {
        let told = Command::new(&self.path).arg("features").stdin(Stdio::null()).stderr(Stdio::null()).output();
        let features =
            told.ok().and_then(|told| serde_json::from_slice::<Value>(&told.stdout).ok()).unwrap_or_default();
        features["mountOptions"].as_array().into_iter().flatten().any(|known| known == option)
    }

    /// The options that come before its command.
    pub(super) fn options(&self, privileged: bool) -> &'static [&'static str] {
        match self.flavor {
            // No limits are set; without root there may be no cgroup that it could make another in.
            Flavor::Crun if !privileged => &["--cgroup-manager=disabled"],
            Flavor::Crun => &["--cgroup-manager=cgroupfs"],
            Flavor::Runc => &[],
        }
    }
}

/// Whether this process is real root: the root of a user namespace may neither own files for others nor mount what it
/// likes.
pub(super) fn is_privileged() -> bool {
    rustix::process::geteuid().is_root() && fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| maps_all(&map))
}

/// user_namespaces(7): the first namespace maps every number to itself.
fn maps_all(map: &str) -> bool {
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Both versions of cgroups at once, which crun refuses.
fn has_hybrid_cgroups() -> bool {
    Path::new("/sys/fs/cgroup/unified").exists()
}

#[cfg(test)]
mod tests {
    use std::{
        ffi::{OsStr, OsString},
        os::unix::fs::PermissionsExt as _,
    };

    use super::*;

    fn bin(dir: &Path, programs: &[&str]) -> OsString {
        for program in programs {
            fs::write(dir.join(program), "#!/bin/sh\n").expect("write");
            fs::set_permissions(dir.join(program), fs::Permissions::from_mode(0o755)).expect("its own file");
        }
        dir.as_os_str().to_owned()
    }

    fn with_path(path: &OsStr) -> Host {
        Host::new([("PATH".into(), path.into())], Path::new("/"))
    }

    #[test]
    fn runtimes_are_found_on_path() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = bin(dir.path(), &["runc", "crun", "my-crun", "other"]);
        fs::write(dir.path().join("text"), "").expect("write");
        let first = |runc_first| Runtime::first(&with_path(&path), runc_first).expect("a runtime").name();
        assert_eq!((first(true), first(false)), ("runc".into(), "crun".into()));
        let named =
            |name: &str| Runtime::named(name, &with_path(&path)).map(|runtime| (runtime.name(), runtime.flavor));
        assert_eq!(named("other"), Some(("other".into(), Flavor::Runc)));
        assert_eq!(named("my-crun"), Some(("my-crun".into(), Flavor::Crun)));
        assert_eq!(named(&dir.path().join("crun").to_string_lossy()), Some(("crun".into(), Flavor::Crun)));
        for missing in ["text", "no-such-runtime", "", "./nothing", "/"] {
            assert_eq!(named(missing), None, "{missing}");
        }
        let mut with_empty = OsString::from(":");
        with_empty.push(&path);
        assert_eq!(
            Runtime::first(&with_path(&with_empty), true).map(|runtime| runtime.path),
            Some(dir.path().join("runc"))
        );
    }

    #[test]
    fn users_are_shown_by_their_numbers_where_that_is_possible() {
        let user = Ids { uid: 65532, gid: 65532, groups: vec![50], home: Some("/home/nonroot".into()) };
        let root = Ids { uid: 0, gid: 0, groups: vec![], home: user.home.clone() };
        let host = with_path(OsStr::new("/bin"));
        let runtime = |flavor| {
            let (path, helper) = ("/bin/runtime".into(), "/bin/microbuild".into());
            Runtime { path, flavor, helper, host: host.clone() }
        };
        for (flavor, privileged, expected) in [
            (Flavor::Crun, true, &user),
            (Flavor::Crun, false, &user),
            (Flavor::Runc, true, &user),
            (Flavor::Runc, false, &root),
        ] {
            assert_eq!(&runtime(flavor).shows_to(privileged, &user), expected, "{flavor:?}");
        }
    }

    #[test]
    fn real_root_maps_every_number() {
        assert!(maps_all("         0          0 4294967295\n"));
        assert!(!maps_all("         0       1000          1\n"));
        assert!(!maps_all("0 0 1\n1 100000 65536\n") && !maps_all(""));
    }
}
