//! The system calls that a sandbox may make.
//!
//! The lists of [`super::syscalls`] hold what container engines let their containers do by default (the facts are those
//! of Docker's and containerd's profiles, and what the kernel has got since), for a container without any capability
//! over the machine. All else fails: what a program of today may ask for with EPERM, a clear refusal; what is not known
//! here with ENOSYS, as a kernel without the call answers, so that C libraries use the older call instead.

use oci_spec::{
    OciSpecError,
    runtime::{
        Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompBuilder,
        LinuxSeccompOperator, LinuxSyscall, LinuxSyscallBuilder,
    },
};

use super::syscalls::{ALLOWED, ALLOWED_ON, REFUSED};

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
