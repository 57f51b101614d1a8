//! Signals that whoever started the tests has them ignore: nohup(1) does it with SIGHUP, a shell that starts a command in the
//! background with SIGINT and SIGQUIT. What is ignored stays so in every child (signal(7)), and a program rightly leaves it ignored,
//! so that no test of what a signal does could pass.

use std::{
    fs,
    sync::{Arc, Once, atomic::AtomicBool},
};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

/// Lets the children of this process have every signal as a child of a terminal's shell has it. To this process itself, a signal that
/// was ignored still does nothing.
pub fn reset_for_children() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let ignored = line.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or_default();
        for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2] {
            if ignored & (1 << (signal - 1)) != 0 {
                // execve(2): what has a handler is handled by the system again, what is ignored stays ignored.
                signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false))).expect("a handler");
            }
        }
    });
}
