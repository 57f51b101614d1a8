//! The `config.json` of a bundle (OCI runtime specification): a [`Sandbox`] in the runtime's form.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use oci_spec::{
    OciSpecError,
    runtime::{
        Capability, Linux, LinuxCapabilities, LinuxCapabilitiesBuilder, LinuxIdMapping, LinuxIdMappingBuilder,
        LinuxNamespaceBuilder, LinuxNamespaceType, LinuxPidsBuilder, LinuxResources, LinuxResourcesBuilder,
        Mount as SpecMount, MountBuilder, PosixRlimitBuilder, PosixRlimitType, Process, ProcessBuilder, RootBuilder,
        Spec, SpecBuilder, UserBuilder,
    },
};

use super::{Ids, Mount, Network, Sandbox, seccomp, subordinate::Subordinate};
use crate::image::PATH;

/// The capabilities of root, which may install and start programs within the container.
const CAPABILITIES: [Capability; 8] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Setgid,
    Capability::Setuid,
    Capability::NetBindService,
];

/// Paths that reveal facts about the machine or reach its firmware.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// File systems below the machine's own `/sys`, which are mounted with it. The caller may write into some of them, such
/// as cgroups of its session.
const MASKED_SYS: [&str; 5] =
    ["/sys/fs", "/sys/kernel/config", "/sys/kernel/debug", "/sys/kernel/security", "/sys/kernel/tracing"];

const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The mounts of every sandbox at places that an image may lack: the path, and whether it is a file.
pub const MOUNT_POINTS: [(&str, bool); 8] = [
    ("dev", false),
    ("proc", false),
    ("sys", false),
    ("tmp", false),
    ("var/tmp", false),
    ("run", false),
    ("etc/resolv.conf", true),
    ("etc/hosts", true),
];

/// The inputs of a configuration, in addition to the sandbox.
pub struct Surroundings<'a> {
    /// User and group of a caller who is not real root, and needs a user namespace.
    pub caller: Option<(u32, u32)>,
    /// The caller's subordinate ids, when the command's user is one of them. Then the namespace's root is the caller.
    pub subordinate: Option<Subordinate>,
    /// The bundle's folder. It has the files of [`Mount::File`] under their [`file_name`]s.
    pub bundle: &'a Path,
    /// The limit of processes.
    pub limit: Limit,
    /// Whether the kernel has cgroup namespaces.
    pub cgroups: bool,
    /// The option that mounts a path of this machine read-only.
    pub read_only: &'a dyn Fn(&Path) -> &'static str,
    /// The value of `TERM`, when the command gets a terminal.
    pub terminal: Option<String>,
    /// Files of this machine that sandboxes on its network see: `/etc/resolv.conf`, `/etc/hosts`, where they exist.
    pub network_files: &'a [PathBuf],
    /// The options of a path's mount that only real root may remove: `noexec`, `ro`.
    pub locked: &'a dyn Fn(&Path) -> Vec<&'static str>,
}

/// The limit of processes and threads of a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// No limit: this machine cannot count them.
    None,
    /// A limit of its cgroup.
    Cgroup(u64),
    /// A limit for each user in its user namespace.
    User(u64),
}

/// The name of a [`Mount::File`] in the bundle, from the mount's index among a sandbox's mounts.
pub fn file_name(place: usize) -> String {
    format!("file-{place}")
}

/// Makes the configuration of `sandbox`, whose user is `user` in it (see [`Runtime::shows`](super::Runtime::shows)).
///
/// # Errors
/// When the specification's types refuse a value.
pub fn config(sandbox: &Sandbox, user: &Ids, around: &Surroundings) -> Result<Spec, OciSpecError> {
    let mut spec = SpecBuilder::default()
        .version("1.0.2")
        .root(RootBuilder::default().path(sandbox.root.clone()).readonly(!sandbox.writable).build()?)
        .mounts(mounts(sandbox, around)?)
        .process(process(sandbox, user, around)?)
        .hostname(sandbox.hostname.clone())
        .linux(linux(sandbox, user, around)?)
        .build()?;
    spec.set_annotations(None);
    Ok(spec)
}

fn process(sandbox: &Sandbox, user: &Ids, around: &Surroundings) -> Result<Process, OciSpecError> {
    let mut env = sandbox.env.clone();
    env.entry("PATH".into()).or_insert_with(|| PATH.into());
    if let Some(home) = &sandbox.user.home {
        env.entry("HOME".into()).or_insert_with(|| home.clone());
    }
    if let Some(term) = &around.terminal {
        env.entry("TERM".into()).or_insert_with(|| term.clone());
    }
    let mut ids = UserBuilder::default().uid(user.uid).gid(user.gid);
    if around.caller.is_none() && !user.groups.is_empty() {
        ids = ids.additional_gids(user.groups.clone());
    }
    let mut process = ProcessBuilder::default()
        .terminal(around.terminal.is_some())
        .user(ids.build()?)
        .args(sandbox.args.clone())
        .env(env.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>())
        .cwd(&sandbox.cwd)
        .capabilities(capabilities(&sandbox.user)?)
        .no_new_privileges(true)
        .build()?;
    // The type's default is 1024 files. The caller's limits apply instead.
    process.set_rlimits(match around.limit {
        Limit::User(most) => {
            let limit = PosixRlimitBuilder::default().typ(PosixRlimitType::RlimitNproc).hard(most).soft(most);
            Some(vec![limit.build()?])
        }
        Limit::None | Limit::Cgroup(_) => None,
    });
    Ok(process)
}

/// The capabilities of the requested user. A runtime that shows another user as root gives it none.
fn capabilities(user: &Ids) -> Result<LinuxCapabilities, OciSpecError> {
    let some: oci_spec::runtime::Capabilities = if user.uid == 0 { CAPABILITIES.into() } else { [].into() };
    LinuxCapabilitiesBuilder::default()
        .bounding(some.clone())
        .effective(some.clone())
        .permitted(some)
        .inheritable([])
        .ambient([])
        .build()
}

fn mounts(sandbox: &Sandbox, around: &Surroundings) -> Result<Vec<SpecMount>, OciSpecError> {
    let rootless = around.caller.is_some();
    let pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    // The group `tty`, which a user namespace does not have.
    let group = (!rootless).then_some("gid=5");
    let shm = ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"];
    let tmp = ["nosuid", "nodev", "mode=1777"];
    let sys = ["nosuid", "noexec", "nodev", "ro"];
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"])?,
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"])?,
        mount("/dev/pts", "devpts", "devpts", &pts.into_iter().chain(group).collect::<Vec<_>>())?,
        mount("/dev/shm", "tmpfs", "shm", &shm)?,
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"])?,
        if shares_sys(sandbox, around) {
            // Only the owner of the network namespace may mount a new one.
            mount("/sys", "none", "/sys", &["rbind"].into_iter().chain(sys).collect::<Vec<_>>())?
        } else {
            mount("/sys", "sysfs", "sysfs", &sys)?
        },
        mount("/tmp", "tmpfs", "tmpfs", &tmp)?,
        mount("/var/tmp", "tmpfs", "tmpfs", &tmp)?,
        mount("/run", "tmpfs", "tmpfs", &["nosuid", "nodev", "mode=755"])?,
    ];
    for file in around.network_files.iter().filter(|_| sandbox.network == Network::Host) {
        let target = file.to_str().unwrap_or_default().to_owned();
        mounts.push(bind(file, &target, "ro", around)?);
    }
    for (place, mount) in sandbox.mounts.iter().enumerate() {
        mounts.push(extra(place, mount, around)?);
    }
    Ok(mounts)
}

fn shares_sys(sandbox: &Sandbox, around: &Surroundings) -> bool {
    around.caller.is_some() && sandbox.network == Network::Host
}

/// The mount with that index among the sandbox's.
fn extra(place: usize, mount: &Mount, around: &Surroundings) -> Result<SpecMount, OciSpecError> {
    match mount {
        Mount::Bind { source, target, writable } => {
            bind(source, target, if *writable { "rw" } else { (around.read_only)(source) }, around)
        }
        Mount::File { target, .. } => bind(&around.bundle.join(file_name(place)), target, "ro", around),
        Mount::Tmpfs { target, mode } => {
            self::mount(target, "tmpfs", "tmpfs", &["nosuid", "nodev", &format!("mode={mode:o}")])
        }
    }
}

fn bind(source: &Path, target: &str, access: &str, around: &Surroundings) -> Result<SpecMount, OciSpecError> {
    let mut options = vec!["rbind", "nosuid", "nodev", access];
    if around.caller.is_some() {
        let locked = (around.locked)(source);
        options.retain(|option| !locked.contains(option) && (*option != "rw" || !locked.contains(&"ro")));
        options.extend(locked);
    }
    mount(target, "none", source, &options)
}

fn mount(target: &str, kind: &str, source: impl Into<PathBuf>, options: &[&str]) -> Result<SpecMount, OciSpecError> {
    MountBuilder::default()
        .destination(target)
        .typ(kind)
        .source(source)
        .options(options.iter().map(|&option| option.to_owned()).collect::<Vec<_>>())
        .build()
}

fn linux(sandbox: &Sandbox, user: &Ids, around: &Surroundings) -> Result<Linux, OciSpecError> {
    use LinuxNamespaceType as N;
    let mut kinds = vec![N::Pid, N::Ipc, N::Uts, N::Mount];
    kinds.extend((sandbox.network == Network::None).then_some(N::Network));
    kinds.extend(around.caller.map(|_| N::User));
    kinds.extend(around.cgroups.then_some(N::Cgroup));
    let namespaces = kinds.into_iter().map(|kind| LinuxNamespaceBuilder::default().typ(kind).build());
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let mut masked = words(&MASKED);
    if shares_sys(sandbox, around) {
        masked.extend(words(&MASKED_SYS));
    }
    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(namespaces.collect::<Result<_, _>>()?))
        .set_masked_paths(Some(masked))
        .set_readonly_paths(Some(words(&READ_ONLY)))
        .set_seccomp(Some(seccomp::profile()?))
        .set_resources(resources(around.limit)?)
        .set_sysctl(sysctl(sandbox));
    if let Some((uid, gid)) = around.caller {
        let (uids, gids) = match &around.subordinate {
            None => (vec![mapping(user.uid, uid, 1)?], vec![mapping(user.gid, gid, 1)?]),
            Some(Subordinate { users, groups }) => (
                vec![mapping(0, uid, 1)?, mapping(1, users.0, users.1)?],
                vec![mapping(0, gid, 1)?, mapping(1, groups.0, groups.1)?],
            ),
        };
        linux.set_uid_mappings(Some(uids)).set_gid_mappings(Some(gids));
    }
    Ok(linux)
}

/// As in Docker, an app that is not root may listen on every port of a network of its own. The machine's own network keeps the
/// machine's rule.
fn sysctl(sandbox: &Sandbox) -> Option<HashMap<String, String>> {
    let applies = sandbox.network == Network::None && sandbox.user.uid != 0;
    applies.then(|| HashMap::from([("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned())]))
}

fn resources(limit: Limit) -> Result<Option<LinuxResources>, OciSpecError> {
    let Limit::Cgroup(most) = limit else { return Ok(None) };
    let pids = LinuxPidsBuilder::default().limit(i64::try_from(most).unwrap_or(i64::MAX)).build()?;
    let mut resources = LinuxResourcesBuilder::default().pids(pids).build()?;
    // The type's default denies all devices, which a runtime does by itself.
    resources.set_devices(None);
    Ok(Some(resources))
}

fn mapping(inside: u32, outside: u32, count: u32) -> Result<LinuxIdMapping, OciSpecError> {
    LinuxIdMappingBuilder::default().container_id(inside).host_id(outside).size(count).build()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::{super::FileContent, *};

    fn sandbox(user: Ids, network: Network) -> Sandbox {
        Sandbox {
            root: "/store/root".into(),
            writable: false,
            args: vec!["node".into(), "server.js".into()],
            env: BTreeMap::from([("NODE_ENV".into(), "production".into())]),
            cwd: "/app".into(),
            user,
            mounts: vec![
                Mount::Bind { source: "/home/me/app".into(), target: "/app".into(), writable: true },
                Mount::Bind { source: "/mnt/data".into(), target: "/data".into(), writable: false },
                Mount::Tmpfs { target: "/cache".into(), mode: 0o700 },
                Mount::File { content: FileContent(b"x".to_vec()), target: "/run/secrets/a".into() },
            ],
            network,
            hostname: "microbuild".into(),
            confidential: true,
            stop_signal: None,
        }
    }

    fn nonroot() -> Ids {
        Ids { uid: 65532, gid: 65532, groups: vec![50], home: Some("/home/nonroot".into()) }
    }

    fn locked(path: &Path) -> Vec<&'static str> {
        if path.starts_with("/home") { vec!["noexec"] } else { vec!["ro"] }
    }

    fn json(sandbox: &Sandbox, user: &Ids, caller: Option<(u32, u32)>, terminal: Option<&str>) -> String {
        let network_files = &["/etc/hosts".into()];
        let terminal = terminal.map(str::to_owned);
        let bundle = Path::new("/run/bundle");
        let limit = if caller.is_some() { Limit::User(4096) } else { Limit::Cgroup(4096) };
        let read_only: &dyn Fn(&Path) -> &'static str = &|source| if source.ends_with("data") { "rro" } else { "ro" };
        let subordinate = None;
        let (cgroups, locked) = (true, &locked);
        let around =
            Surroundings { caller, subordinate, bundle, limit, cgroups, read_only, terminal, network_files, locked };
        let mut value = serde_json::to_value(config(sandbox, user, &around).expect("a configuration")).expect("JSON");
        // A set without an order.
        for (_, list) in value["process"]["capabilities"].as_object_mut().expect("capabilities") {
            list.as_array_mut().expect("a list").sort_by_key(Value::to_string);
        }
        // Compared with these once.
        value["linux"]["seccomp"].take();
        serde_json::to_string_pretty(&value).expect("JSON")
    }

    #[test]
    fn root_runs_as_the_images_user() {
        insta::assert_snapshot!(json(&sandbox(nonroot(), Network::None), &nonroot(), None, None));
    }

    #[test]
    fn root_runs_as_root() {
        let ids = Ids { home: Some("/root".into()), ..Ids::default() };
        insta::assert_snapshot!(json(&sandbox(ids.clone(), Network::Host), &ids, None, Some("xterm")));
    }

    #[test]
    fn anyone_runs_as_the_images_user() {
        let sandbox = sandbox(nonroot(), Network::Host);
        insta::assert_snapshot!(json(&sandbox, &nonroot(), Some((1000, 100)), None));
        // Under a runtime that needs the namespace's root.
        let shown: Value =
            serde_json::from_str(&json(&sandbox, &Ids::default(), Some((1000, 100)), None)).expect("JSON");
        assert_eq!(shown["process"]["user"], serde_json::json!({"uid": 0, "gid": 0}));
        assert_eq!(shown["process"]["capabilities"]["effective"], serde_json::json!([]));
        let mapping = serde_json::json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
        assert_eq!(shown["linux"]["uidMappings"], mapping);
    }

    #[test]
    fn anyone_without_a_network_gets_a_sys_of_its_own() {
        let sandbox = sandbox(nonroot(), Network::None);
        let found: Value = serde_json::from_str(&json(&sandbox, &nonroot(), Some((1000, 100)), None)).expect("JSON");
        let sys = found["mounts"].as_array().expect("mounts").iter().find(|m| m["destination"] == "/sys").expect("sys");
        assert_eq!(sys["type"], "sysfs");
        assert!(!found.to_string().contains("/etc/hosts") && found.to_string().contains(r#""type":"network""#));
    }
}
