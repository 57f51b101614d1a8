//! The system calls that a sandbox may make.
//!
//! The list has what container engines let their containers do by default (the facts are those of Docker's and containerd's
//! profiles, and what the kernel has got since), for a container without any capability over the machine. All else fails: what a
//! program of today may ask for with EPERM, so that it is told no; what is not known here with ENOSYS, as of a kernel without the
//! call, so that C libraries take the older one that it stands for.

use oci_spec::{
    OciSpecError,
    runtime::{
        Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompBuilder,
        LinuxSeccompOperator, LinuxSyscall, LinuxSyscallBuilder,
    },
};

/// Allowed on every processor. A name that a processor or a runtime's libseccomp does not have is passed over.
const ALLOWED: &[&[&str]] = &[
    // Files and folders.
    &[
        "access",
        "chdir",
        "chmod",
        "chown",
        "chown32",
        "close",
        "close_range",
        "copy_file_range",
        "creat",
        "dup",
        "dup2",
        "dup3",
        "faccessat",
        "faccessat2",
        "fadvise64",
        "fadvise64_64",
        "fallocate",
        "fchdir",
        "fchmod",
        "fchmodat",
        "fchmodat2",
        "fchown",
        "fchown32",
        "fchownat",
        "fcntl",
        "fcntl64",
        "fdatasync",
        "flock",
        "fstat",
        "fstat64",
        "fstatat64",
        "fstatfs",
        "fstatfs64",
        "fsync",
        "ftruncate",
        "ftruncate64",
        "futimesat",
        "getcwd",
        "getdents",
        "getdents64",
        "ioctl",
        "lchown",
        "lchown32",
        "link",
        "linkat",
        "_llseek",
        "lseek",
        "lstat",
        "lstat64",
        "mkdir",
        "mkdirat",
        "mknod",
        "mknodat",
        "name_to_handle_at",
        "newfstatat",
        "open",
        "openat",
        "openat2",
        "pread64",
        "preadv",
        "preadv2",
        "pwrite64",
        "pwritev",
        "pwritev2",
        "read",
        "readahead",
        "readlink",
        "readlinkat",
        "readv",
        "rename",
        "renameat",
        "renameat2",
        "rmdir",
        "sendfile",
        "sendfile64",
        "splice",
        "stat",
        "stat64",
        "statfs",
        "statfs64",
        "statx",
        "symlink",
        "symlinkat",
        "sync",
        "sync_file_range",
        "syncfs",
        "tee",
        "truncate",
        "truncate64",
        "umask",
        "unlink",
        "unlinkat",
        "utime",
        "utimensat",
        "utimensat_time64",
        "utimes",
        "vmsplice",
        "write",
        "writev",
    ],
    // Attributes of files.
    &[
        "fgetxattr",
        "flistxattr",
        "fremovexattr",
        "fsetxattr",
        "getxattr",
        "getxattrat",
        "lgetxattr",
        "listxattr",
        "listxattrat",
        "llistxattr",
        "lremovexattr",
        "lsetxattr",
        "removexattr",
        "removexattrat",
        "setxattr",
        "setxattrat",
    ],
    // What happens to files and descriptors.
    &[
        "epoll_create",
        "epoll_create1",
        "epoll_ctl",
        "epoll_ctl_old",
        "epoll_pwait",
        "epoll_pwait2",
        "epoll_wait",
        "epoll_wait_old",
        "eventfd",
        "eventfd2",
        "fanotify_mark",
        "inotify_add_watch",
        "inotify_init",
        "inotify_init1",
        "inotify_rm_watch",
        "io_cancel",
        "io_destroy",
        "io_getevents",
        "io_pgetevents",
        "io_pgetevents_time64",
        "io_setup",
        "io_submit",
        "_newselect",
        "pipe",
        "pipe2",
        "poll",
        "ppoll",
        "ppoll_time64",
        "pselect6",
        "pselect6_time64",
        "select",
        "signalfd",
        "signalfd4",
    ],
    // Memory.
    &[
        "brk",
        "cachestat",
        "madvise",
        "map_shadow_stack",
        "membarrier",
        "memfd_create",
        "memfd_secret",
        "mincore",
        "mlock",
        "mlock2",
        "mlockall",
        "mmap",
        "mmap2",
        "mprotect",
        "mremap",
        "mseal",
        "msync",
        "munlock",
        "munlockall",
        "munmap",
        "pkey_alloc",
        "pkey_free",
        "pkey_mprotect",
        "process_mrelease",
        "remap_file_pages",
    ],
    // Processes and threads.
    &[
        "execve",
        "execveat",
        "exit",
        "exit_group",
        "fork",
        "futex",
        "futex_requeue",
        "futex_time64",
        "futex_wait",
        "futex_waitv",
        "futex_wake",
        "get_robust_list",
        "get_thread_area",
        "getcpu",
        "getpgid",
        "getpgrp",
        "getpid",
        "getppid",
        "getpriority",
        "getsid",
        "gettid",
        "ioprio_get",
        "ioprio_set",
        "pause",
        "pidfd_open",
        "prctl",
        "restart_syscall",
        "rseq",
        "sched_get_priority_max",
        "sched_get_priority_min",
        "sched_getaffinity",
        "sched_getattr",
        "sched_getparam",
        "sched_getscheduler",
        "sched_rr_get_interval",
        "sched_rr_get_interval_time64",
        "sched_setaffinity",
        "sched_setattr",
        "sched_setparam",
        "sched_setscheduler",
        "sched_yield",
        "set_robust_list",
        "set_thread_area",
        "set_tid_address",
        "setpgid",
        "setpriority",
        "setsid",
        "vfork",
        "wait4",
        "waitid",
        "waitpid",
    ],
    // Other processes of the same user in the container: for debuggers.
    &["process_vm_readv", "process_vm_writev", "ptrace"],
    // Signals.
    &[
        "kill",
        "pidfd_send_signal",
        "rt_sigaction",
        "rt_sigpending",
        "rt_sigprocmask",
        "rt_sigqueueinfo",
        "rt_sigreturn",
        "rt_sigsuspend",
        "rt_sigtimedwait",
        "rt_sigtimedwait_time64",
        "rt_tgsigqueueinfo",
        "sigaltstack",
        "sigprocmask",
        "sigreturn",
        "tgkill",
        "tkill",
    ],
    // Users, and what they may: less, never more.
    &[
        "capget",
        "capset",
        "getegid",
        "getegid32",
        "geteuid",
        "geteuid32",
        "getgid",
        "getgid32",
        "getgroups",
        "getgroups32",
        "getresgid",
        "getresgid32",
        "getresuid",
        "getresuid32",
        "getuid",
        "getuid32",
        "landlock_add_rule",
        "landlock_create_ruleset",
        "landlock_restrict_self",
        "seccomp",
        "setfsgid",
        "setfsgid32",
        "setfsuid",
        "setfsuid32",
        "setgid",
        "setgid32",
        "setgroups",
        "setgroups32",
        "setregid",
        "setregid32",
        "setresgid",
        "setresgid32",
        "setresuid",
        "setresuid32",
        "setreuid",
        "setreuid32",
        "setuid",
        "setuid32",
    ],
    // Limits and the machine.
    &["getrandom", "getrlimit", "getrusage", "prlimit64", "setrlimit", "sysinfo", "times", "ugetrlimit", "uname"],
    // Clocks; setting one takes a capability that no sandbox has.
    &[
        "adjtimex",
        "alarm",
        "clock_adjtime",
        "clock_adjtime64",
        "clock_getres",
        "clock_getres_time64",
        "clock_gettime",
        "clock_gettime64",
        "clock_nanosleep",
        "clock_nanosleep_time64",
        "getitimer",
        "gettimeofday",
        "nanosleep",
        "setitimer",
        "time",
        "timer_create",
        "timer_delete",
        "timer_getoverrun",
        "timer_gettime",
        "timer_gettime64",
        "timer_settime",
        "timer_settime64",
        "timerfd_create",
        "timerfd_gettime",
        "timerfd_gettime64",
        "timerfd_settime",
        "timerfd_settime64",
    ],
    // Sockets; which kinds, `socket` says apart.
    &[
        "accept",
        "accept4",
        "bind",
        "connect",
        "getpeername",
        "getsockname",
        "getsockopt",
        "listen",
        "recv",
        "recvfrom",
        "recvmmsg",
        "recvmmsg_time64",
        "recvmsg",
        "send",
        "sendmmsg",
        "sendmsg",
        "sendto",
        "setsockopt",
        "shutdown",
        "socketcall",
        "socketpair",
    ],
    // System V and POSIX messages, semaphores and memory, in a namespace of their own.
    &[
        "ipc",
        "mq_getsetattr",
        "mq_notify",
        "mq_open",
        "mq_timedreceive",
        "mq_timedreceive_time64",
        "mq_timedsend",
        "mq_timedsend_time64",
        "mq_unlink",
        "msgctl",
        "msgget",
        "msgrcv",
        "msgsnd",
        "semctl",
        "semget",
        "semop",
        "semtimedop",
        "semtimedop_time64",
        "shmat",
        "shmctl",
        "shmdt",
        "shmget",
    ],
];

/// Allowed on one processor, by Rust's names for them.
const ALLOWED_ON: &[(&str, &[&str])] = &[
    ("x86_64", &["arch_prctl", "modify_ldt", "uretprobe"]),
    ("x86", &["modify_ldt"]),
    ("aarch64", ARM),
    ("arm", ARM),
    ("powerpc64", &["swapcontext", "sync_file_range2"]),
    ("riscv64", &["riscv_flush_icache", "riscv_hwprobe"]),
    ("s390x", &["s390_pci_mmio_read", "s390_pci_mmio_write", "s390_runtime_instr"]),
];

const ARM: &[&str] =
    &["arm_fadvise64_64", "arm_sync_file_range", "breakpoint", "cacheflush", "set_tls", "sync_file_range2"];

/// Refused with EPERM. Some need a capability that no sandbox has, and that a flaw might hand out; others work without any: keys,
/// which no namespace separates; BPF; user faults; namespaces of its own, in which a program would have all capabilities and reach
/// far more of the kernel; asynchronous calls that a filter does not see.
const REFUSED: &[&str] = &[
    "acct",
    "add_key",
    "bpf",
    "chroot",
    "clock_settime",
    "clock_settime64",
    "create_module",
    "delete_module",
    "fanotify_init",
    "finit_module",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "get_mempolicy",
    "init_module",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "ioperm",
    "iopl",
    "kcmp",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lookup_dcookie",
    "mbind",
    "migrate_pages",
    "mount",
    "mount_setattr",
    "move_mount",
    "move_pages",
    "nfsservctl",
    "open_by_handle_at",
    "open_tree",
    "perf_event_open",
    "pidfd_getfd",
    "pivot_root",
    "process_madvise",
    "query_module",
    "quotactl",
    "quotactl_fd",
    "reboot",
    "request_key",
    "set_mempolicy",
    "set_mempolicy_home_node",
    "setdomainname",
    "sethostname",
    "setns",
    "settimeofday",
    "stime",
    "swapoff",
    "swapon",
    "sysfs",
    "syslog",
    "umount",
    "umount2",
    "unshare",
    "uselib",
    "userfaultfd",
    "ustat",
    "vhangup",
    "vm86",
    "vm86old",
];

/// The flags of clone(2) that make namespaces: mount, cgroup, uts, ipc, user, pid, network.
const NAMESPACES: [u64; 7] =
    [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000];
/// personality(2): Linux, Linux of 32 bits, either with UNAME26, and the question which it is.
const PERSONALITIES: [u64; 5] = [0, 0x0008, 0x0002_0000, 0x0002_0008, 0xffff_ffff];
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
/// Sockets to the hypervisor.
const AF_VSOCK: u64 = 40;

/// The profile of every sandbox on this machine.
pub(super) fn profile() -> Result<LinuxSeccomp, OciSpecError> {
    profile_of(std::env::consts::ARCH)
}

fn profile_of(arch: &str) -> Result<LinuxSeccomp, OciSpecError> {
    use LinuxSeccompOperator::{ScmpCmpEq, ScmpCmpMaskedEq, ScmpCmpNe};
    let own = ALLOWED_ON.iter().filter(|(name, _)| *name == arch).flat_map(|(_, names)| *names);
    let names: Vec<&str> = ALLOWED.iter().copied().flatten().chain(own).copied().collect();
    let mut calls = vec![allow(&names, None)?, refuse(REFUSED, EPERM, None)?];
    // s390 has clone's stack before its flags.
    let flags = usize::from(arch == "s390x");
    let all = NAMESPACES.iter().sum();
    calls.push(allow(&["clone"], Some(argument(flags, all, 0, ScmpCmpMaskedEq)?))?);
    for flag in NAMESPACES {
        calls.push(refuse(&["clone"], EPERM, Some(argument(flags, flag, flag, ScmpCmpMaskedEq)?))?);
    }
    // Its flags lie in memory, where no filter looks; C libraries take clone instead.
    calls.push(refuse(&["clone3"], ENOSYS, None)?);
    calls.push(allow(&["socket"], Some(argument(0, AF_VSOCK, 0, ScmpCmpNe)?))?);
    calls.push(refuse(&["socket"], EPERM, Some(argument(0, AF_VSOCK, 0, ScmpCmpEq)?))?);
    for personality in PERSONALITIES {
        calls.push(allow(&["personality"], Some(argument(0, personality, 0, ScmpCmpEq)?))?);
    }
    LinuxSeccompBuilder::default()
        .default_action(LinuxSeccompAction::ScmpActErrno)
        .default_errno_ret(ENOSYS)
        .architectures(architectures(arch))
        .syscalls(calls)
        .build()
}

/// Processes of another architecture than these are killed.
fn architectures(arch: &str) -> Vec<Arch> {
    match arch {
        "x86_64" => vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32],
        "aarch64" => vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm],
        // The runtime's own one, which is what an empty list means.
        _ => vec![],
    }
}

fn allow(names: &[&str], argument: Option<LinuxSeccompArg>) -> Result<LinuxSyscall, OciSpecError> {
    rule(names, argument, LinuxSyscallBuilder::default().action(LinuxSeccompAction::ScmpActAllow))
}

fn refuse(names: &[&str], errno: u32, argument: Option<LinuxSeccompArg>) -> Result<LinuxSyscall, OciSpecError> {
    rule(names, argument, LinuxSyscallBuilder::default().action(LinuxSeccompAction::ScmpActErrno).errno_ret(errno))
}

fn rule(
    names: &[&str],
    argument: Option<LinuxSeccompArg>,
    call: LinuxSyscallBuilder,
) -> Result<LinuxSyscall, OciSpecError> {
    let call = call.names(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
    match argument {
        Some(argument) => call.args(vec![argument]).build(),
        None => call.build(),
    }
}

/// The argument `index` is, or is not, `value`; of a mask, the bits of `value` are those of `masked`.
fn argument(
    index: usize,
    value: u64,
    masked: u64,
    operator: LinuxSeccompOperator,
) -> Result<LinuxSeccompArg, OciSpecError> {
    let argument = LinuxSeccompArgBuilder::default().index(index).value(value).op(operator);
    match operator {
        LinuxSeccompOperator::ScmpCmpMaskedEq => argument.value_two(masked).build(),
        _ => argument.build(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_call_is_on_one_list() {
        let mut seen = BTreeSet::new();
        for name in
            ALLOWED.iter().copied().flatten().chain(REFUSED).chain(&["clone", "clone3", "socket", "personality"])
        {
            assert!(seen.insert(*name), "{name} is there twice");
        }
        for (arch, names) in ALLOWED_ON {
            for name in *names {
                assert!(!seen.contains(name), "{name} is allowed on {arch} and everywhere, or nowhere");
            }
        }
        for name in ["read", "execve", "clock_gettime", "futex", "openat2", "statx"] {
            assert!(ALLOWED.iter().any(|names| names.contains(&name)), "{name}");
        }
    }

    #[test]
    fn calls_by_rule() {
        let profile = profile_of("x86_64").expect("a profile");
        let value = serde_json::to_value(&profile).expect("JSON");
        assert_eq!((&value["defaultAction"], &value["defaultErrnoRet"]), (&"SCMP_ACT_ERRNO".into(), &38.into()));
        let rules = value["syscalls"].as_array().expect("rules").iter().skip(2).map(ToString::to_string);
        insta::assert_snapshot!(rules.collect::<Vec<_>>().join("\n"));
        let of = |arch: &str| serde_json::to_value(profile_of(arch).expect("a profile")).expect("JSON");
        assert!(of("aarch64")["syscalls"][0]["names"].to_string().contains("set_tls"));
        assert!(!of("aarch64")["syscalls"][0]["names"].to_string().contains("arch_prctl"));
        assert_eq!(of("s390x")["syscalls"][2]["args"][0]["index"], 1);
    }
}
