//! Where the loaders of glibc (ld.so(8)) and musl look for a library: folders and names only, no root filesystem.

use super::{Class, Elf, Endian};

/// Whose rules hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loader {
    Glibc,
    Musl,
}

const EM_386: u16 = 3;
const EM_PPC64: u16 = 21;
const EM_S390: u16 = 22;
const EM_ARM: u16 = 40;
const EM_X86_64: u16 = 62;
const EM_AARCH64: u16 = 183;
const EM_RISCV: u16 = 243;
const EM_LOONGARCH: u16 = 258;

impl Loader {
    /// By the file name of an interpreter.
    pub(super) fn is_musl(name: &str) -> bool {
        name.starts_with("ld-musl-")
    }

    /// The folders that are always searched, below the root.
    pub(super) fn folders(self, elf: &Elf) -> Vec<String> {
        let plain = |folders: &[&str]| folders.iter().map(|folder| (*folder).to_owned()).collect();
        match self {
            Self::Musl => plain(&["lib", "usr/local/lib", "usr/lib"]),
            Self::Glibc => {
                let multiarch = triplets(elf).iter().flat_map(|t| [format!("lib/{t}"), format!("usr/lib/{t}")]);
                match multiarch.collect::<Vec<_>>() {
                    // Others than Debian have no such folders, and the libraries of 64 bits in folders of their own.
                    none if none.is_empty() => plain(&["lib64", "usr/lib64", "lib", "usr/lib"]),
                    mut folders => {
                        folders.extend(plain(&["lib", "usr/lib"]));
                        folders
                    }
                }
            }
        }
    }

    /// Whether the loader itself is what is meant by `name`, whatever files there are. musl's loader is its libc, too,
    /// under the names of all libraries that a libc consists of elsewhere.
    pub(super) fn is_itself(self, name: &str) -> bool {
        let parts = ["c.", "pthread.", "rt.", "m.", "dl.", "util.", "xnet."];
        self == Self::Musl
            && name.strip_prefix("lib").is_some_and(|rest| parts.iter().any(|part| rest.starts_with(part)))
    }
}

/// The folders of a system's own libraries, below the root, whatever the distribution.
const SYSTEM: [&str; 8] = ["lib", "lib32", "lib64", "libx32", "usr/lib", "usr/lib32", "usr/lib64", "usr/libx32"];

/// Whether the folder is one of a system's own libraries, or lies below one.
pub(super) fn is_system(folder: &str) -> bool {
    SYSTEM.iter().any(|own| folder.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// Whether a loader may lie at `path`: in a folder where distributions have theirs, or elsewhere (a C library of its
/// own) under the name of one.
pub(super) fn is_loader(path: &str) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let of_triplet = |(above, triplet): (&str, &str)| SYSTEM.contains(&above) && triplet.contains("-linux-");
    SYSTEM.contains(&folder)
        || folder.rsplit_once('/').is_some_and(of_triplet)
        || (name.starts_with("ld") && name.contains(".so"))
}

/// Debian's words for what a file runs on, as its folders have them.
fn triplets(elf: &Elf) -> &'static [&'static str] {
    match (elf.machine, elf.class, elf.endian) {
        (EM_X86_64, Class::Elf64, _) => &["x86_64-linux-gnu"],
        (EM_X86_64, Class::Elf32, _) => &["x86_64-linux-gnux32"],
        (EM_AARCH64, Class::Elf64, Endian::Little) => &["aarch64-linux-gnu"],
        (EM_386, ..) => &["i386-linux-gnu"],
        (EM_ARM, _, Endian::Little) => &["arm-linux-gnueabihf", "arm-linux-gnueabi"],
        (EM_PPC64, _, Endian::Little) => &["powerpc64le-linux-gnu"],
        (EM_RISCV, Class::Elf64, _) => &["riscv64-linux-gnu"],
        (EM_S390, Class::Elf64, _) => &["s390x-linux-gnu"],
        (EM_LOONGARCH, Class::Elf64, _) => &["loongarch64-linux-gnu"],
        _ => &[],
    }
}

fn platform(elf: &Elf) -> &'static str {
    match (elf.machine, elf.class) {
        (EM_X86_64, _) => "x86_64",
        (EM_AARCH64, _) => "aarch64",
        (EM_386, _) => "i686",
        (EM_ARM, _) => "v7l",
        (EM_PPC64, _) => "ppc64le",
        (EM_RISCV, Class::Elf64) => "riscv64",
        (EM_S390, _) => "s390x",
        (EM_LOONGARCH, _) => "loongarch64",
        _ => "",
    }
}

/// The longest path that a system call takes, in bytes.
const PATH: usize = 4096;

/// A path of `elf` with `$ORIGIN`, `$LIB` and `$PLATFORM` replaced. Distributions built their loaders with different
/// words for `$LIB`, hence several answers. `origin`: the folder of the file, below the root.
pub(super) fn expand(path: &str, origin: &str, elf: &Elf) -> Vec<String> {
    let multiarch = triplets(elf).iter().map(|triplet| format!("lib/{triplet}"));
    let libs: Vec<_> = match path.contains("LIB") {
        true => multiarch.chain(["lib64".into(), "lib".into()]).collect(),
        false => vec![String::new()],
    };
    libs.iter().filter_map(|lib| replace(path, &format!("/{origin}"), lib, platform(elf))).collect()
}

fn replace(path: &str, origin: &str, lib: &str, platform: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let bare = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
        let (word, later) = match after.strip_prefix('{').and_then(|braced| braced.split_once('}')) {
            Some(braced) => braced,
            None => after.split_at(bare),
        };
        rest = later;
        match word {
            "ORIGIN" => out.push_str(origin),
            "LIB" => out.push_str(lib),
            "PLATFORM" => out.push_str(platform),
            _ => {
                out.push('$');
                rest = after;
            }
        }
        if out.len() > PATH {
            return None;
        }
    }
    out.push_str(rest);
    Some(out).filter(|out| out.len() <= PATH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::testing::Draft;

    #[test]
    fn words_in_paths_are_replaced() {
        let elf = Draft::new().elf();
        for (path, expected) in [
            ("$ORIGIN/../lib", vec!["/opt/x/../lib"]),
            ("${ORIGIN}", vec!["/opt/x"]),
            ("$ORIGINAL", vec!["$ORIGINAL"]),
            ("${ORIGIN", vec!["${ORIGIN"]),
            ("a$", vec!["a$"]),
            ("/$PLATFORM/$", vec!["/x86_64/$"]),
            ("/usr/$LIB", vec!["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"]),
            ("", vec![""]),
        ] {
            assert_eq!(expand(path, "opt/x", &elf), expected, "{path}");
        }
        assert_eq!(expand(&"$ORIGIN".repeat(500), &"a".repeat(100), &elf), Vec::<String>::new());
    }

    #[test]
    fn loaders_lie_where_loaders_do_or_are_called_so() {
        for (path, expected) in [
            ("lib64/ld-linux-x86-64.so.2", true),
            ("lib/ld-musl-x86_64.so.1", true),
            ("usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", true),
            ("lib/libgcompat.so.0", true),
            ("usr/glibc-compat/lib/ld-linux-x86-64.so.2", true),
            ("app/own/ld.so.1", true),
            ("usr/lib/python3/libx.so", false),
            ("usr/bin/ls", false),
            ("etc/shadow", false),
            ("opt/lib/x86_64-linux-gnu/libx.so", false),
            ("loader", false),
        ] {
            assert_eq!(is_loader(path), expected, "{path}");
        }
    }

    #[test]
    fn system_folders_are_whole() {
        for (folder, expected) in [
            ("lib", true),
            ("usr/lib/x86_64-linux-gnu/samba", true),
            ("library", false),
            ("usr/libexec", false),
            ("usr/local/lib", false),
            ("home/u/lib", false),
            ("", false),
        ] {
            assert_eq!(is_system(folder), expected, "{folder}");
        }
    }

    #[test]
    fn musls_loader_is_its_libc() {
        for (name, expected) in [
            ("libc.musl-x86_64.so.1", true),
            ("libc.so.6", true),
            ("libm.so.6", true),
            ("libpthread.so.0", true),
            ("libmagic.so.1", false),
            ("libcrypto.so.3", false),
            ("c.so", false),
        ] {
            assert_eq!(Loader::Musl.is_itself(name), expected, "{name}");
            assert!(!Loader::Glibc.is_itself(name));
        }
    }
}
