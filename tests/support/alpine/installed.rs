//! Reads the package database of the image and packs each of its packages again.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read as _,
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::read::MultiGzDecoder;
use microbuild::internals::digest::hex;

use super::super::{
    apk_file::{Entry, Info, Node, q1, sha1},
    fake_repo::Package,
};

/// Every package that is installed below `root`.
pub(super) fn packages(root: &Path) -> Vec<Package> {
    let database = root.join("lib/apk/db");
    let read = |name: &str| fs::read_to_string(database.join(name)).expect("the image has a package database");
    let scripts = scripts(&database.join("scripts.tar.gz"));
    let text = read("triggers");
    let triggers: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    read("installed")
        .split("\n\n")
        .filter(|record| !record.trim().is_empty())
        .map(|record| {
            let (checksum, mut info, entries) = parse(record, root);
            info.triggers.extend(triggers.get(checksum.as_str()).into_iter().flat_map(|folders| words(folders)));
            let id = format!("{}-{}.X1{}", info.name, info.version, hex(&from_q1(&checksum)));
            let package = entries.into_iter().fold(Package::of(info), Package::entry);
            scripts.get(&id).into_iter().flatten().fold(package, |package, (kind, body)| package.script(kind, body))
        })
        .collect()
}

/// The install scripts: `NAME-VERSION.X1CHECKSUM` → kind and text.
fn scripts(path: &Path) -> BTreeMap<String, Vec<(String, String)>> {
    let mut found: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    let mut archive = tar::Archive::new(MultiGzDecoder::new(File::open(path).expect("the image has scripts")));
    for entry in archive.entries().expect("a tar archive") {
        let mut entry = entry.expect("a tar entry");
        let path = entry.path().expect("a path").to_string_lossy().into_owned();
        let (id, kind) = path.rsplit_once('.').expect("NAME-VERSION.CHECKSUM.KIND");
        let mut body = String::new();
        entry.read_to_string(&mut body).expect("a script is text");
        found.entry(id.to_owned()).or_default().push((kind.to_owned(), body));
    }
    found
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split_whitespace().map(str::to_owned)
}

fn from_q1(checksum: &str) -> Vec<u8> {
    STANDARD.decode(checksum.strip_prefix("Q1").expect("a SHA-1")).expect("base64")
}

/// One record of the database: the package's checksum, what it says of itself, and its files.
fn parse(record: &str, root: &Path) -> (String, Info, Vec<Entry>) {
    let (mut checksum, mut info, mut entries) = (String::new(), Info::default(), Vec::<Entry>::new());
    let mut folder = String::new();
    for line in record.lines() {
        let (key, value) = line.split_once(':').expect("KEY:VALUE");
        let text = || value.to_owned();
        let count = || value.parse::<u64>().expect("a number");
        match key {
            "C" => checksum = text(),
            "P" => info.name = text(),
            "V" => info.version = text(),
            "A" => info.arch = text(),
            "I" => info.installed_size = Some(count()),
            "T" => info.description = text(),
            "U" => info.url = text(),
            "L" => info.license = text(),
            "o" => info.origin = text(),
            "m" => info.maintainer = text(),
            "t" => info.build_date = count(),
            "c" => info.commit = text(),
            "k" => info.provider_priority = Some(count()),
            "q" => info.replaces_priority = Some(count()),
            "D" => info.depends.extend(words(value)),
            "p" => info.provides.extend(words(value)),
            "r" => info.replaces.extend(words(value)),
            "i" => info.install_if.extend(words(value)),
            "F" => {
                folder = text();
                entries.push(Entry::new(value, 0o755, Node::Dir));
            }
            "R" => entries.push(Entry::file([folder.as_str(), value].join("/"), 0o644, "")),
            "M" | "a" => own(entries.last_mut().expect("an entry came before"), value),
            "Z" => fill(entries.last_mut().expect("a file came before"), root, value),
            // The size of the file that the package came in, which is another here.
            "S" => {}
            _ => panic!("the line {line} of {} is unknown", info.name),
        }
    }
    (checksum, info, entries)
}

/// Takes owner and mode from `UID:GID:MODE`.
fn own(entry: &mut Entry, acl: &str) {
    let [uid, gid, mode] = acl.split(':').collect::<Vec<_>>()[..] else { panic!("{acl} is not UID:GID:MODE") };
    entry.owner = (uid.parse().expect("a number"), gid.parse().expect("a number"));
    assert_eq!(entry.owner, (0, 0), "{}: names of other owners than root are not known", entry.path);
    entry.mode = u32::from_str_radix(mode, 8).expect("an octal number");
}

/// Takes the content, or the target of a link, from the image, and proves by `checksum` that it is the package's own.
fn fill(entry: &mut Entry, root: &Path, checksum: &str) {
    let path = root.join(&entry.path);
    let (content, is_link) = match fs::read_link(&path) {
        Ok(target) => (target.into_os_string().into_encoded_bytes(), true),
        Err(_) => (fs::read(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display())), false),
    };
    let content = [content.clone()].into_iter().chain(originals(&entry.path, &content));
    let content = content.into_iter().find(|content| q1(&sha1(content)) == checksum);
    let content = content.unwrap_or_else(|| panic!("the image has changed {} in an unknown way", entry.path));
    entry.node = if is_link {
        Node::Symlink(String::from_utf8(content).expect("links here are text"))
    } else {
        Node::File(content)
    };
    *entry = entry.clone().with_checksum();
}

/// What may have stood in a configuration file before those who made the image changed it. The checksum decides.
fn originals(path: &str, found: &[u8]) -> Vec<Vec<u8>> {
    let lines: Vec<&[u8]> = found.split_inclusive(|byte| *byte == b'\n').collect();
    let beginnings = || (0..lines.len()).map(|count| lines[..count].concat()).collect();
    let text = || String::from_utf8_lossy(found).into_owned();
    match path {
        // Users and modules were added at the end.
        "etc/group" | "etc/passwd" | "etc/modules" => beginnings(),
        // So were users, and root's empty password was locked.
        "etc/shadow" => {
            let unlocked = text().replace("root:*:", "root::");
            let lines: Vec<&str> = unlocked.split_inclusive('\n').collect();
            (0..lines.len()).map(|count| lines[..count].concat().into_bytes()).collect()
        }
        // A container engine had mounted its own over these.
        "etc/hostname" => vec![b"localhost\n".to_vec()],
        "etc/hosts" => {
            let names = "localhost localhost.localdomain";
            vec![format!("127.0.0.1\t{names}\n::1\t\t{names}\n").into_bytes()]
        }
        "etc/mtab" => vec![b"../proc/mounts".to_vec()],
        "etc/rc.conf" => {
            let changes = [
                ("rc_parallel=\"YES\"", "#rc_parallel=\"NO\""),
                ("rc_sys=\"lxc\"", "#rc_sys=\"\""),
                ("rc_controller_cgroups=\"NO\"", "#rc_controller_cgroups=\"YES\""),
            ];
            vec![changes.iter().fold(text(), |text, (new, old)| text.replace(new, old)).into_bytes()]
        }
        _ => Vec::new(),
    }
}
