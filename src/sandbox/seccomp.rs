//! The system calls that no container makes.
//!
//! Without capabilities over the machine most of what Docker's profile refuses is refused anyway. What is listed here either works
//! without any (keys, which no namespace separates; BPF; user faults; namespaces of its own, in which it would have all capabilities
//! and reach far more of the kernel; asynchronous calls that a filter does not see; sockets to the hypervisor), or needs one that a
//! flaw might hand out.

use oci_spec::{
    OciSpecError,
    runtime::{
        Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompBuilder,
        LinuxSeccompOperator, LinuxSyscall, LinuxSyscallBuilder,
    },
};

/// Refused with EPERM.
const REFUSED: &[&str] = &[
    "acct",
    "add_key",
    "bpf",
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
    "init_module",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "ioperm",
    "iopl",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lookup_dcookie",
    "mount",
    "mount_setattr",
    "move_mount",
    "move_pages",
    "nfsservctl",
    "open_by_handle_at",
    "open_tree",
    "perf_event_open",
    "pivot_root",
    "quotactl",
    "quotactl_fd",
    "reboot",
    "request_key",
    "setns",
    "settimeofday",
    "stime",
    "swapoff",
    "swapon",
    "syslog",
    "umount",
    "umount2",
    "unshare",
    "userfaultfd",
    "vm86",
    "vm86old",
];

/// The flags of clone(2) that make namespaces: mount, cgroup, uts, ipc, user, pid, network.
const NAMESPACES: [u64; 7] =
    [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000];
const EPERM: u32 = 1;
/// What a kernel without the call says: C libraries then use the older one.
const ENOSYS: u32 = 38;
const AF_VSOCK: u64 = 40;

/// The profile of every sandbox: all is allowed but what is listed.
pub(super) fn profile() -> Result<LinuxSeccomp, OciSpecError> {
    let mut calls = vec![refuse(REFUSED, EPERM, None)?];
    for flag in NAMESPACES {
        calls.push(refuse(&["clone"], EPERM, Some(argument(flag, LinuxSeccompOperator::ScmpCmpMaskedEq)?))?);
    }
    // Its flags lie in memory, where no filter looks.
    calls.push(refuse(&["clone3"], ENOSYS, None)?);
    calls.push(refuse(&["socket"], EPERM, Some(argument(AF_VSOCK, LinuxSeccompOperator::ScmpCmpEq)?))?);
    LinuxSeccompBuilder::default()
        .default_action(LinuxSeccompAction::ScmpActAllow)
        .architectures(architectures())
        .syscalls(calls)
        .build()
}

/// Processes of another architecture than these are killed.
fn architectures() -> Vec<Arch> {
    match std::env::consts::ARCH {
        "x86_64" => vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32],
        "aarch64" => vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm],
        // The runtime's own one, which is what an empty list means.
        _ => vec![],
    }
}

fn refuse(names: &[&str], errno: u32, argument: Option<LinuxSeccompArg>) -> Result<LinuxSyscall, OciSpecError> {
    let call = LinuxSyscallBuilder::default()
        .names(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())
        .action(LinuxSeccompAction::ScmpActErrno)
        .errno_ret(errno);
    match argument {
        Some(argument) => call.args(vec![argument]).build(),
        None => call.build(),
    }
}

/// The first argument is `value`; of a mask, all of its bits are set.
fn argument(value: u64, operator: LinuxSeccompOperator) -> Result<LinuxSeccompArg, OciSpecError> {
    let argument = LinuxSeccompArgBuilder::default().index(0_usize).value(value).op(operator);
    match operator {
        LinuxSeccompOperator::ScmpCmpMaskedEq => argument.value_two(value).build(),
        _ => argument.build(),
    }
}
