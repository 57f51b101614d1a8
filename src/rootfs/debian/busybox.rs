//! busybox's applets: Debian's package has the program only; the links to it are made here.

use super::super::Tree;

/// Where the program is.
pub(super) const PROGRAM: &str = "usr/bin/busybox";
/// How its table of names begins: with the two names of `test` that sort before all others.
const BEGIN: &[u8] = b"[\0[[\0";
/// Fewer names are no table.
const FEWEST: usize = 20;

/// Links every applet's name that is still free to the program, whose content is `program`.
pub(super) fn link(tree: &mut Tree, program: &[u8]) {
    for name in applets(program) {
        let path = format!("usr/bin/{name}");
        if tree.get(&path).is_none() && tree.get(&format!("usr/sbin/{name}")).is_none() {
            tree.link(&path, "busybox");
        }
    }
}

/// The names in the program's own table: sorted, each ended by a zero byte, an empty one at the end. None when it has
/// no such table.
fn applets(program: &[u8]) -> Vec<&str> {
    let Some(begin) = program.windows(BEGIN.len()).position(|window| window == BEGIN) else { return Vec::new() };
    let is_name = |name: &&[u8]| {
        let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'[' | b'_' | b'-' | b'.' | b'+');
        !name.is_empty() && name.len() < 40 && name.iter().all(plain) && name[0] != b'.'
    };
    let names: Vec<&str> = (program[begin..].split(|byte| *byte == 0).take_while(is_name))
        .filter_map(|name| std::str::from_utf8(name).ok())
        .collect();
    if names.len() < FEWEST || !names.is_sorted() { Vec::new() } else { names }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_found_or_nothing_is() {
        let names: Vec<String> = (10..40).map(|number| format!("a{number}")).collect();
        let table = format!("\0ELF[\0[[\0{}\0\0zz\0", names.join("\0"));
        let mut tree = Tree::default();
        tree.directory("usr/bin", 0o755, 0, 0);
        tree.write("usr/bin/a11", 0o755, "own");
        link(&mut tree, table.as_bytes());
        assert_eq!(applets(table.as_bytes()).len(), 32);
        assert_eq!(tree.resolve("usr/bin/a10").as_deref(), None, "no program is there");
        assert!(tree.get("usr/bin/a39").is_some() && tree.get("usr/bin/zz").is_none());
        assert_eq!(tree.resolve("usr/bin/a11").as_deref(), Some("usr/bin/a11"));
        for other in ["", "[\0[[\0", "[\0[[\0b\0a\0", "[\0[[\0../x\0"] {
            assert_eq!(applets(other.as_bytes()), Vec::<&str>::new(), "{other:?}");
        }
    }
}
