//! Running a bundle: streams, signals, and exit statuses.

use std::{
    fs,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Condvar, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicI32, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::{
    fd::OwnedFd,
    fs::{StatVfsMountFlags, statvfs},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
    termios::{OptionalActions, Termios, tcgetattr, tcsetattr},
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2},
    iterator::{SignalsInfo, exfiltrator::WithOrigin},
};

use super::{
    Mount, Output, Runtime, Sandbox, SandboxError, Status,
    bundle::{self, Bundle},
    guard::{self, Guard},
    limits,
    lines::each_line,
    paths::{self, Mounted, Nowhere},
    runtime::is_privileged,
    spec::{self, Limit, Surroundings},
};

/// The signals that are passed on.
const SIGNALS: [i32; 6] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2];
/// The ones that ask the command to end.
const ENDING: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];
/// The time that a step has to end after a signal. A container's first process ignores signals without a handler.
const GRACE: Duration = Duration::from_secs(2);
/// The time that an app has to end, as with `docker stop`.
const APP_GRACE: Duration = Duration::from_secs(10);

/// See [`Sandbox::run`].
pub(super) fn run(sandbox: &Sandbox, runtime: &Runtime, mut output: Output) -> Result<Status, SandboxError> {
    let sandbox = &sandbox.settled()?;
    let limit = limits::of_machine(is_privileged());
    match run_within(limit, sandbox, runtime, &mut output) {
        // Only setting the limit of a cgroup shows whether it works. Nothing has run at that point.
        Err(SandboxError::Runtime { message, .. })
            if matches!(limit, Limit::Cgroup(_)) && ["cgroup", "pids"].iter().any(|word| message.contains(word)) =>
        {
            run_within(Limit::None, sandbox, runtime, &mut output)
        }
        ran => ran,
    }
}

/// A bundle, and the process that removes it when this process is killed.
struct Guarded {
    bundle: Bundle,
    _guard: Guard,
}

impl Guarded {
    fn new(confidential: bool, runtime: &Runtime) -> Result<Self, SandboxError> {
        let bundle = Bundle::create(&bundle::base(confidential, &runtime.host)?, runtime)?;
        let guard = Guard::start(runtime, bundle.path()).map_err(SandboxError::io("start", &runtime.helper))?;
        Ok(Self { bundle, _guard: guard })
    }
}

fn run_within(limit: Limit, sandbox: &Sandbox, runtime: &Runtime, output: &mut Output) -> Result<Status, SandboxError> {
    let Guarded { bundle, .. } = &Guarded::new(sandbox.confidential, runtime)?;
    let terminal = Terminal::ours().filter(|_| matches!(output, Output::Inherit));
    for (place, mount) in sandbox.mounts.iter().enumerate() {
        if let Mount::File { content, .. } = mount {
            bundle.write(&spec::file_name(place), &content.0)?;
        }
    }
    bundle.write("config.json", &config(limit, sandbox, runtime, bundle, terminal.is_some())?)?;

    let start = SandboxError::io("start", &runtime.path);
    let mut signals = Signals::listen().map_err(SandboxError::io("start", &runtime.path))?;
    let mut command = guard::bound(runtime, &bundle.command("run", &[]));
    let patience = match output {
        Output::Inherit => Patience::Third,
        Output::Streams => Patience::Grace(APP_GRACE),
        Output::Lines(_) => Patience::Grace(GRACE),
    };
    let ran = match output {
        Output::Inherit | Output::Streams => {
            signals.watch(&mut command, bundle, (patience, sandbox.stop_signal), |child| child.wait())
        }
        Output::Lines(line) => {
            let (from, to) = io::pipe().map_err(SandboxError::io("start", &runtime.path))?;
            let also = to.try_clone().map_err(SandboxError::io("start", &runtime.path))?;
            command.stdin(Stdio::null()).stdout(to).stderr(also);
            signals.watch(&mut command, bundle, (patience, sandbox.stop_signal), |child| {
                each_line(from, line)?;
                child.wait()
            })
        }
    };
    drop(terminal);
    let (ended, signal) = ran.map_err(start)?;
    let status = Status { code: exit_code(ended), signal };
    if status.success() || signal.is_some() {
        return Ok(status);
    }
    match bundle.errors() {
        Some(errors) if errors.is_empty() => Ok(status),
        Some(errors) => Err(explain(&errors.join("; "), sandbox, runtime)),
        None => Err(SandboxError::Runtime {
            runtime: runtime.name(),
            message: "it does not take runc's options, or was not let run".into(),
        }),
    }
}

impl Sandbox {
    /// The same sandbox with its mount points resolved. A runtime makes missing mount points and work folders. It must
    /// not do so in a root that others use.
    fn settled(&self) -> Result<Self, SandboxError> {
        let mut mounted = paths::own_mounts(&self.root);
        let mut mounts = Vec::new();
        for mount in &self.mounts {
            let path = self.place(&mounted, mount.target())?;
            let source = if let Mount::Bind { source, .. } = mount { Some(source.clone()) } else { None };
            mounts.push(mount.at(path.to_str().unwrap_or(mount.target()).to_owned()));
            mounted.push(Mounted { place: path, source });
        }
        match self.place(&mounted, &self.cwd) {
            // The kernel follows links of a mounted folder.
            Ok(_) | Err(SandboxError::LinkedTarget { .. }) => {}
            // Nothing is mounted there, so that the root itself, or a path that leads up, is allowed.
            Err(SandboxError::BadTarget { .. }) if paths::resolve(&self.root, Path::new(&self.cwd)).is_some() => {}
            Err(SandboxError::BadTarget { path }) => return Err(SandboxError::NoTarget { path }),
            Err(error) => return Err(error),
        }
        Ok(Self { mounts, ..self.clone() })
    }

    fn place(&self, mounted: &[Mounted], target: &str) -> Result<PathBuf, SandboxError> {
        let path = target.to_owned();
        match paths::place(&self.root, mounted, target) {
            Ok((place, is_there)) if is_there || self.writable => Ok(place),
            Ok(_) | Err(Nowhere::Missing) => Err(SandboxError::NoTarget { path }),
            Err(Nowhere::Invalid) => Err(SandboxError::BadTarget { path }),
            Err(Nowhere::Link) => Err(SandboxError::LinkedTarget { path }),
        }
    }
}

fn config(
    limit: Limit,
    sandbox: &Sandbox,
    runtime: &Runtime,
    bundle: &Bundle,
    terminal: bool,
) -> Result<Vec<u8>, SandboxError> {
    use rustix::process::{getegid, geteuid};
    let subordinate = runtime.subordinate(&sandbox.user);
    let user = if subordinate.is_some() { sandbox.user.clone() } else { runtime.shows(&sandbox.user) };
    let network_files: Vec<PathBuf> = ["/etc/resolv.conf", "/etc/hosts"].map(PathBuf::from).into();
    let network_files: Vec<_> = network_files.into_iter().filter(|file| file.is_file()).collect();
    let around = Surroundings {
        caller: (!is_privileged()).then(|| (geteuid().as_raw(), getegid().as_raw())),
        subordinate,
        bundle: bundle.path(),
        limit,
        cgroups: Path::new("/proc/self/ns/cgroup").exists(),
        read_only: &|source| runtime.read_only(source).unwrap_or("ro"),
        terminal: terminal.then(|| runtime.host.variable("TERM").unwrap_or_else(|| "xterm".into())),
        network_files: &network_files,
        locked: &locked,
    };
    Ok(serde_json::to_vec(&spec::config(sandbox, &user, &around)?).map_err(oci_spec::OciSpecError::from)?)
}

/// mount_namespaces(7): flags of a mount that a less privileged namespace must keep.
fn locked(path: &Path) -> Vec<&'static str> {
    let Ok(flags) = statvfs(path).map(|stat| stat.f_flag) else { return Vec::new() };
    let known = [
        (StatVfsMountFlags::RDONLY, "ro"),
        (StatVfsMountFlags::NOEXEC, "noexec"),
        (StatVfsMountFlags::NOATIME, "noatime"),
        (StatVfsMountFlags::NODIRATIME, "nodiratime"),
    ];
    known.into_iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, name)| name).collect()
}

fn exit_code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt as _;
    let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// The error for a runtime's message.
fn explain(message: &str, sandbox: &Sandbox, runtime: &Runtime) -> SandboxError {
    let lower = message.to_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| lower.contains(phrase));
    let command = sandbox.args.first().cloned().unwrap_or_default();
    if says(&["exec: \"", "executable file", "open executable", "exec container process"]) {
        return if says(&["not found", "no such file"]) {
            SandboxError::NotFound { command }
        } else {
            SandboxError::NotExecutable { command, message: message.to_owned() }
        };
    }
    let runtime = runtime.name();
    let forbidden = says(&["user namespace", "unshare", "uid_map", "gid_map", "uidmap", "gidmap", "clone"])
        && says(&["not permitted", "permission denied", "no space left"]);
    let setting = |name: &str| fs::read_to_string(Path::new("/proc/sys").join(name)).map(|text| text.trim().to_owned());
    match remedy(setting, forbidden) {
        Some(remedy) if !is_privileged() => {
            SandboxError::UserNamespace { runtime, message: message.to_owned(), remedy }
        }
        _ => SandboxError::Runtime { runtime, message: message.to_owned() },
    }
}

/// The hint that gives this user a user namespace, when a setting of the kernel, or else the runtime, denies it.
fn remedy(setting: impl Fn(&str) -> io::Result<String>, forbidden: bool) -> Option<String> {
    let known = [
        ("user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=10000"),
        ("kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "sysctl kernel.apparmor_restrict_unprivileged_userns=0"),
    ];
    let found = known.into_iter().find(|(name, bad, _)| setting(name).is_ok_and(|value| value == *bad));
    match found {
        Some((_, _, command)) => Some(format!("let root run `{command}`, or run microbuild as root")),
        None => {
            forbidden.then(|| "inside another container, allow it user namespaces; or run microbuild as root".into())
        }
    }
}

/// Our terminal. Its mode is restored when this value is dropped: a runtime that is killed leaves it raw.
struct Terminal(Termios);

impl Terminal {
    /// The terminal of both our input and our output.
    fn ours() -> Option<Self> {
        (io::stdin().is_terminal() && io::stdout().is_terminal()).then_some(())?;
        tcgetattr(io::stdin()).ok().map(Self)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// The time at which a command that does not end is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// After this time, or at the second time.
    Grace(Duration),
    /// At the third time.
    Third,
}

/// The signals that this process gets while a command runs.
struct Signals {
    info: SignalsInfo<WithOrigin>,
    _running: Running,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        let running = Running::begin()?;
        // Signals that nohup(1) or a shell without job control has set to be ignored stay ignored.
        let ignored = ignored_signals(&fs::read_to_string("/proc/self/status")?);
        let heard = SIGNALS.into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0);
        Ok(Self { info: SignalsInfo::new(heard)?, _running: running })
    }

    /// Starts `command` and passes signals on to it while `wait` waits for its end. Returns the end, and the last
    /// signal that asked us to end.
    fn watch(
        &mut self,
        command: &mut Command,
        bundle: &Bundle,
        (patience, stop): (Patience, Option<i32>),
        wait: impl FnOnce(&mut Child) -> io::Result<ExitStatus>,
    ) -> io::Result<(ExitStatus, Option<i32>)> {
        let mut child = command.spawn()?;
        // The command holds our end of a pipe, which must close when the child ends.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        let watch = Watch { process, bundle, patience, stop, last: AtomicI32::new(0), ended: Ended::default() };
        let handle = self.info.handle();
        let status = thread::scope(|scope| {
            scope.spawn(|| watch.listen(scope, &mut self.info));
            let status = wait(&mut child);
            if status.is_err() {
                watch.kill();
                let _ = child.wait();
            }
            watch.ended.set();
            handle.close();
            status
        })?;
        let last = watch.last.into_inner();
        Ok((status, (last != 0).then_some(last)))
    }
}

/// A runtime that is watched.
struct Watch<'a> {
    /// The process, by a descriptor that never refers to another one.
    process: OwnedFd,
    bundle: &'a Bundle,
    patience: Patience,
    /// What the command gets instead of SIGTERM.
    stop: Option<i32>,
    last: AtomicI32,
    ended: Ended,
}

impl Watch<'_> {
    fn listen<'s>(&'s self, scope: &'s thread::Scope<'s, '_>, info: &mut SignalsInfo<WithOrigin>) {
        let mut asked = 0;
        for origin in info.forever() {
            // The terminal's driver has sent the signal to the runtime, too.
            if let (Some(_), Some(signal)) = (&origin.process, signal(origin.signal)) {
                match self.stop.filter(|_| origin.signal == SIGTERM) {
                    Some(stop) => self.send(&stop.to_string(), signal),
                    None => drop(pidfd_send_signal(&self.process, signal)),
                }
            }
            if !ENDING.contains(&origin.signal) {
                continue;
            }
            self.last.store(origin.signal, Ordering::SeqCst);
            asked += 1;
            match (self.patience, asked) {
                (Patience::Grace(time), 1) => {
                    scope.spawn(move || {
                        if !self.ended.comes_within(time) {
                            self.kill();
                        }
                    });
                }
                (Patience::Grace(_), _) | (Patience::Third, 3..) => self.kill(),
                (Patience::Third, _) => {}
            }
        }
    }

    /// Ends the container; the runtime ends with it.
    fn kill(&self) {
        self.send("KILL", Signal::KILL);
    }

    /// Sends the signal called `name` to the command. While there is no container yet, the runtime gets `early`; its remains are
    /// removed with the bundle.
    fn send(&self, name: &str, early: Signal) {
        let mut kill = self.bundle.command("kill", &[]);
        let killed = kill.arg(name).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !killed.is_ok_and(|status| status.success()) {
            let _ = pidfd_send_signal(&self.process, early);
        }
    }
}

/// An event that happens once.
#[derive(Default)]
struct Ended {
    has: Mutex<bool>,
    changed: Condvar,
}

impl Ended {
    fn set(&self) {
        *self.has.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    fn comes_within(&self, time: Duration) -> bool {
        let has = self.has.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(has, time, |has| !*has);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

fn signal(number: i32) -> Option<Signal> {
    Some(match number {
        SIGHUP => Signal::HUP,
        SIGINT => Signal::INT,
        SIGQUIT => Signal::QUIT,
        SIGTERM => Signal::TERM,
        SIGUSR1 => Signal::USR1,
        SIGUSR2 => Signal::USR2,
        _ => return None,
    })
}

/// The set `SigIgn` of proc_pid_status(5).
fn ignored_signals(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or_default()
}

/// Whether any command runs in this process. Once this process has listened to a signal, the system's default no longer
/// applies: while no command runs, we do what the default would do.
struct Running;

static COUNT: Mutex<u32> = Mutex::new(0);
static NONE_RUNS: OnceLock<Arc<AtomicBool>> = OnceLock::new();

impl Running {
    fn begin() -> io::Result<Self> {
        let mut count = COUNT.lock().unwrap_or_else(PoisonError::into_inner);
        let none_runs = match NONE_RUNS.get() {
            Some(none_runs) => none_runs,
            None => {
                let flag = Arc::new(AtomicBool::new(false));
                let ignored = ignored_signals(&fs::read_to_string("/proc/self/status")?);
                for signal in SIGNALS.into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0) {
                    signal_hook::flag::register_conditional_default(signal, Arc::clone(&flag))?;
                }
                NONE_RUNS.get_or_init(|| flag)
            }
        };
        none_runs.store(false, Ordering::SeqCst);
        *count += 1;
        Ok(Self)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut count = COUNT.lock().unwrap_or_else(PoisonError::into_inner);
        *count -= 1;
        if let (0, Some(none_runs)) = (*count, NONE_RUNS.get()) {
            none_runs.store(true, Ordering::SeqCst);
        }
    }
}
