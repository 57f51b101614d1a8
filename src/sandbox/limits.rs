//! How many processes and threads a sandbox may have: a fork bomb in it is its own trouble, not the machine's.
//!
//! Real root's are counted by a cgroup. Anyone else may have none to make another in; a user namespace counts by itself
//! what its users have (`RLIMIT_NPROC`), since Linux 5.14.

use std::path::Path;

#[cfg(target_os = "linux")]
use super::spec::Limit;

/// What engines allow a container that was told nothing.
#[cfg(target_os = "linux")]
const LEAST: u64 = 2048;
/// Compilers start threads forevery processor, and a process forevery processor.
#[cfg(target_os = "linux")]
const FOR_EACH_PROCESSOR: u64 = 128;

/// The limit that this machine can keep, for a caller who is real root or not.
#[cfg(target_os = "linux")]
pub(super) fn of_machine(privileged: bool) -> Limit {
    use rustix::process::{Resource, getrlimit};
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let most = LEAST + FOR_EACH_PROCESSOR * processors;
    if privileged {
        let cgroups = read("/proc/self/cgroup");
        let controllers = |path: &str| read(&format!("/sys/fs/cgroup/{path}/cgroup.controllers"));
        return if counts(&cgroups, &read("/proc/self/mounts"), controllers) {
            Limit::Cgroup(most)
        } else {
            Limit::None
        };
    }
    if !is_since(&read("/proc/sys/kernel/osrelease"), (5, 14)) {
        return Limit::None;
    }
    // More than the caller's own limit is not the caller's to give.
    Limit::User(getrlimit(Resource::Nproc).maximum.map_or(most, |maximum| most.min(maximum)))
}

/// Whether a cgroup below this process's own can have a limit: the text of `/proc/self/cgroup`, that of
/// `/proc/self/mounts`, and the controllers of a cgroup of version 2.
#[cfg(any(target_os = "linux", test))]
fn counts(cgroups: &str, mounts: &str, controllers: impl Fn(&str) -> String) -> bool {
    let has = |list: &str, by: char| list.split(by).any(|word| word.trim() == "pids");
    let is_mounted = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        matches!(fields[..], [_, _, "cgroup", options, ..] if has(options, ','))
    };
    cgroups.lines().any(|line| match line.splitn(3, ':').collect::<Vec<_>>()[..] {
        ["0", "", path] => has(&controllers(path.trim_start_matches('/')), ' '),
        [_, list, _] => has(list, ',') && mounts.lines().any(is_mounted),
        _ => false,
    })
}

/// Whether the kernel's release is this version or a later one.
pub(super) fn is_since(release: &str, version: (u32, u32)) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|digits| digits.parse::<u32>().ok());
    let found = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    found >= version
}

/// Whether something is mounted below `folder`, an absolute path without links, as the text of `/proc/self/mountinfo`
/// says.
pub(super) fn has_mounts_below(mountinfo: &str, folder: &Path) -> bool {
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    let points = points.map(|point| point.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\"));
    points.into_iter().any(|point| Path::new(&point) != folder && Path::new(&point).starts_with(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroups_that_count_processes_are_found() {
        let v1 = "cgroup /sys/fs/cgroup/pids cgroup rw,relatime,pids 0 0\n";
        for (cgroups, mounts, controllers, expected) in [
            ("8:pids:/a\n0::/\n", v1, "", true),
            ("8:pids:/a\n", "", "", false),
            ("3:cpu,pids:/a\n", "cgroup /x cgroup rw,cpu,pids 0 0\n", "", true),
            ("0::/user.slice/x\n", "", "cpu memory pids\n", true),
            ("0::/\n", "", "cpu memory\n", false),
            ("4:cpu:/\n", v1, "", false),
            ("", v1, "pids", false),
        ] {
            let read = |path: &str| {
                if path.is_empty() || path == "user.slice/x" { controllers.to_owned() } else { String::new() }
            };
            assert_eq!(counts(cgroups, mounts, read), expected, "{cgroups}");
        }
    }

    #[test]
    fn kernels_by_their_age() {
        for (release, expected) in [
            ("5.14.0-70.el9", true),
            ("6.1.0", true),
            ("5.13.9", false),
            ("4.18.0-553", false),
            ("10.0", true),
            ("", false),
        ] {
            assert_eq!(is_since(release, (5, 14)), expected, "{release}");
        }
    }

    #[test]
    fn mounts_below_a_folder() {
        let mountinfo = "22 1 0:20 / / rw - ext4 x rw\n23 22 0:21 / /srv/a\\040b/c rw shared:1 - tmpfs x rw\n24 22 0:22 / /data rw - tmpfs x rw\n";
        for (folder, expected) in
            [("/srv", true), ("/srv/a b", true), ("/srv/a b/c", false), ("/data", false), ("/dat", false)]
        {
            assert_eq!(has_mounts_below(mountinfo, Path::new(folder)), expected, "{folder}");
        }
    }
}
