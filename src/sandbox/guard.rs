//! What ends a container whose process is killed: SIGKILL gives that process no time to do it.
//!
//! Two processes, both this program again, started under a name of their own: the one *becomes* the runtime, which the
//! kernel then kills with its parent; the other stays, and removes the container and its bundle as soon as the parent
//! has ended. A runtime that is killed leaves its container running, therefore the second; and one that is not killed
//! could still start it, therefore the first.

use std::{
    ffi::OsString,
    io,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, atomic::AtomicBool},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, PidfdFlags, Signal, getpid, getppid, pidfd_open, set_parent_process_death_signal},
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use super::{Runtime, bundle};
use crate::host::Host;

/// The name of the process that becomes a runtime.
const BOUND: &str = "microbuild-container";
/// The name of the process that stays.
const GUARD: &str = "microbuild-guard";
/// How long the parent's locks may take to be free once it has ended.
const PATIENCE: Duration = Duration::from_secs(5);

/// A process that removes a bundle when this one is killed.
#[derive(Debug)]
pub(super) struct Guard(Child);

impl Guard {
    /// Watches over the bundle `path` from now on.
    pub(super) fn start(runtime: &Runtime, path: &Path) -> io::Result<Self> {
        let mut command = Command::new(&runtime.helper);
        command.arg0(GUARD).arg(own_id()).arg(path).current_dir("/");
        // What ends the parent's group, Ctrl-C too, is not meant for it; and it keeps no pipe of the parent's open.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map(Self)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // A failure means that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `command`, which names a program by its path, as one that the kernel kills when the thread that starts it ends.
pub(super) fn bound(runtime: &Runtime, command: &Command) -> Command {
    let mut bound = Command::new(&runtime.helper);
    bound.arg0(BOUND).arg(own_id()).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(name, value),
            None => bound.env_remove(name),
        };
    }
    bound
}

fn own_id() -> String {
    getpid().as_raw_nonzero().to_string()
}

/// What this process has to do when one of ours started it for that, by its `words`; its exit status. `host` is where the
/// container's runtime is looked for.
pub fn serve(words: &[OsString], host: &Host) -> Option<u8> {
    let name = words.first()?;
    if name == BOUND {
        return Some(become_runtime(words.get(1..)?));
    }
    (name == GUARD).then(|| watch(words.get(1..).unwrap_or_default(), host))
}

/// The parent that the word names, when it is still the parent.
fn parent(word: Option<&OsString>) -> Option<Pid> {
    let named = word.and_then(|word| word.to_str()?.parse().ok()).and_then(Pid::from_raw);
    named.filter(|named| getppid() == Some(*named))
}

fn become_runtime(words: &[OsString]) -> u8 {
    let [id, program, arguments @ ..] = words else { return 2 };
    if let Err(e) = set_parent_process_death_signal(Some(Signal::KILL)) {
        eprintln!("cannot tie {} to its parent: {e}", program.display());
        return 126;
    }
    // Asked after that: a parent that ended before has sent no signal.
    if parent(Some(id)).is_none() {
        return 137;
    }
    let error = Command::new(program).args(arguments).exec();
    eprintln!("cannot start {}: {error}", program.display());
    126
}

fn watch(words: &[OsString], host: &Host) -> u8 {
    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
        // It ends when its work is done. Where it cannot be told that, it ends earlier, and the next bundle sweeps.
        let _ = signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)));
    }
    if let Some(parent) = parent(words.first()) {
        wait_for_end(parent);
    }
    let Some(path) = words.get(1).map(Path::new).filter(|path| path.is_absolute()) else { return 2 };
    let begin = Instant::now();
    while path.is_dir() && begin.elapsed() < PATIENCE {
        drop(bundle::abandoned_bundle(path, host));
        thread::sleep(Duration::from_millis(50));
    }
    u8::from(path.is_dir())
}

/// Waits until `parent` has ended. The kernel says so after it has sent the signals that its children asked for.
fn wait_for_end(parent: Pid) {
    let Ok(process) = pidfd_open(parent, PidfdFlags::empty()) else { return wait_for_another(parent) };
    // Opened after it had ended, it would be another process's.
    while getppid() == Some(parent) {
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], None) {
            Ok(_) => return,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return wait_for_another(parent),
        }
    }
}

/// The same where the kernel has no descriptors of processes.
fn wait_for_another(parent: Pid) {
    while getppid() == Some(parent) {
        thread::sleep(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    fn host() -> Host {
        Host::new([], Path::new("/"))
    }

    #[test]
    fn only_our_own_names_are_served() {
        assert_eq!(serve(&words(&["microbuild", "microbuild-guard"]), &host()), None);
        assert_eq!(serve(&[], &host()), None);
    }

    #[test]
    fn a_bound_command_is_the_same_command() {
        let flavor = super::super::Flavor::Runc;
        let runtime = Runtime { path: "/bin/runc".into(), flavor, helper: "/bin/own".into(), host: host() };
        let mut command = Command::new("/bin/runc");
        command.args(["run", "x"]).env("PATH", "/bin").env_remove("HOME");
        let bound = bound(&runtime, &command);
        let arguments: Vec<_> = bound.get_args().skip(1).collect();
        assert_eq!(
            (bound.get_program(), arguments),
            ("/bin/own".as_ref(), vec!["/bin/runc".as_ref(), "run".as_ref(), "x".as_ref()])
        );
        assert!(bound.get_envs().eq(command.get_envs()));
    }

    #[test]
    fn nothing_starts_without_its_parent() {
        let own = own_id();
        let program = words(&["microbuild-container", &own, "/bin/echo"]);
        assert_eq!(serve(&program, &host()), Some(137), "no process is its own parent");
        assert_eq!(serve(&words(&["microbuild-container", "x", "/bin/echo"]), &host()), Some(137));
        assert_eq!(serve(&words(&["microbuild-container"]), &host()), Some(2));
        assert_eq!(serve(&words(&["microbuild-guard", &own, "relative"]), &host()), Some(2));
    }
}
