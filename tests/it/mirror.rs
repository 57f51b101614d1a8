//! The testbed itself: what the other tests stand on is what it claims to be.

use std::process::Command;

use crate::support::{
    alpine::{self, NODE_VERSION},
    is_root, run, skip_forbidden, tool,
};

#[test]
fn the_real_apk_installs_node_from_the_mirror_and_node_runs() {
    let (Some(mirror), Some(apk)) = (alpine::mirror(), alpine::apk()) else { return };
    if !is_root() {
        return skip_forbidden("apk runs install scripts with chroot, which takes root");
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    apk.add(dir.path(), &mirror, &["alpine-base", "nodejs", "npm"]).exits(1);
    apk.add(dir.path(), &mirror, &["alpine-baselayout", "busybox", "nodejs", "npm"]).succeeds();
    let mut chroot = Command::new(tool("chroot").expect("coreutils"));
    chroot.arg(dir.path()).args(["/bin/sh", "-c", "node -v && npm -v && node -p '1 + 1'"]);
    let finished = run(chroot.env("PATH", "/usr/bin:/bin"));
    let lines: Vec<&str> = finished.succeeds().lines().collect();
    assert_eq!((lines[0], lines[2]), (format!("v{NODE_VERSION}").as_str(), "2"));
}
