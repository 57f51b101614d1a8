use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Cursor, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use proptest::prelude::*;

use super::{testing::Draft, *};

const SHAPES: [(Class, Endian); 4] = [
    (Class::Elf32, Endian::Little),
    (Class::Elf32, Endian::Big),
    (Class::Elf64, Endian::Little),
    (Class::Elf64, Endian::Big),
];

fn program() -> Draft {
    let draft = Draft::new().interpreter("/lib/ld.so.1").needed("libb.so").soname("a").needed("liba.so.1");
    draft.rpath("/x:$ORIGIN/y").runpath("").nodeflib()
}

fn scan(bytes: &[u8], chunk: usize) -> Scanned {
    let mut scanner = Scanner::new(bytes.len() as u64);
    for chunk in bytes.chunks(chunk) {
        scanner.write_all(chunk).expect("it never fails");
    }
    scanner.finish()
}

/// What a scanner must say of a file that it has kept all of.
fn expected(bytes: &[u8]) -> Scanned {
    Elf::of_bytes(bytes).map_or(Scanned::Unclear, Scanned::from)
}

#[test]
fn all_that_a_loader_needs_is_read() {
    for (class, endian) in SHAPES {
        for draft in [program(), program().headers_last(), program().strings_last(), program().long_count()] {
            let draft = draft.class(class).endian(endian).machine(0x1234);
            let strings = |strings: &[&str]| strings.iter().map(|string| (*string).to_owned()).collect();
            let expected = Elf {
                class,
                endian,
                machine: 0x1234,
                dynamic: true,
                shared: true,
                interpreter: Some("/lib/ld.so.1".into()),
                needed: strings(&["libb.so", "liba.so.1"]),
                soname: Some("a".into()),
                rpath: strings(&["/x", "$ORIGIN/y"]),
                runpath: strings(&[""]),
                nodeflib: true,
            };
            assert_eq!(draft.elf(), expected, "{draft:?}");
            assert_eq!(Elf::read(Cursor::new(draft.bytes())).expect("sound"), Some(expected), "{draft:?}");
        }
    }
}

#[test]
fn what_is_not_loaded_is_no_elf() {
    for (what, bytes) in [
        ("nothing", vec![]),
        ("text", b"#!/bin/sh".to_vec()),
        ("half a magic", b"\x7fEL".to_vec()),
        ("an object", Draft::new().kind(1).bytes()),
        ("a core dump", Draft::new().kind(4).bytes()),
    ] {
        assert!(matches!(Elf::of_bytes(&bytes), Ok(None)), "{what}");
        assert_eq!(scan(&bytes, 1), Scanned::No, "{what}");
    }
}

#[test]
fn a_static_program_has_no_needs() {
    let elf = Draft::new().kind(2).statically().elf();
    assert!(!elf.dynamic && elf.needed.is_empty() && elf.interpreter.is_none());
}

/// `bytes` with other bytes at `at`.
fn patched(mut bytes: Vec<u8>, at: usize, patch: &[u8]) -> Vec<u8> {
    bytes[at..][..patch.len()].copy_from_slice(patch);
    bytes
}

#[test]
fn what_is_malformed_says_how() {
    let library = || Draft::new().needed("a").bytes();
    let file = library();
    let dynamic = file.len() - 5 * 16;
    for (bytes, message) in [
        (b"\x7fELF".to_vec(), "expected header, found the end of the file, before byte 4"),
        (patched(library(), 4, &[3]), "expected class 1 or 2, found class 3"),
        (patched(library(), 5, &[0]), "expected byte order 1 or 2, found byte order 0"),
        (patched(library(), 6, &[9]), "expected ELF version 1, found version 9"),
        (patched(library(), 54, &[32]), "expected program headers of 56 bytes, found 32 bytes"),
        (
            patched(library(), 32, &[0xff; 8]),
            "expected program headers, found the end of the file, before byte 18446744073709551615",
        ),
        (
            patched(Draft::new().long_count().bytes(), Draft::new().bytes().len() + 44, &[1, 0, 1, 0]),
            "expected at most 65536 program headers, found 65537",
        ),
        (
            patched(library(), dynamic, &[1, 0, 0, 0, 0, 0, 0, 0, 255, 255]),
            "expected DT_NEEDED in a segment, found offset 65535 of a table at address 0x400120, which no PT_LOAD has",
        ),
        (patched(library(), dynamic + 16, &[6]), "expected DT_STRTAB, found DT_NEEDED without it"),
        (
            patched(Draft::new().needed("é").bytes(), 64 + 4 * 56 + 1, &[0xff]),
            r"expected DT_NEEDED in UTF-8, found `\xff\xa9`",
        ),
        (
            Draft::new().needed(&"a".repeat(4097)).bytes(),
            "expected DT_NEEDED of at most 4096 bytes, ended by a NUL, found no NUL",
        ),
        (Draft::new().interpreter("").bytes(), "expected PT_INTERP of 2 to 4096 bytes, found 1 bytes"),
        (
            Draft::new().interpreter(&"a".repeat(4096)).bytes(),
            "expected PT_INTERP of 2 to 4096 bytes, found 4097 bytes",
        ),
        (
            patched(Draft::new().interpreter("/ld.so").bytes(), 64 + 56 + 32, &[6]),
            "expected PT_INTERP that ends with a NUL, found no NUL",
        ),
        (
            library()[..dynamic + 20].to_vec(),
            "expected the dynamic section, found the end of the file, before byte 311",
        ),
    ] {
        let error = Elf::of_bytes(&bytes).expect_err(message);
        assert_eq!(error.to_string(), message);
        assert_eq!(scan(&bytes, 7), Scanned::Unclear, "{message}");
    }
    assert_eq!(Draft::new().needed(&"a".repeat(4096)).elf().needed[0].len(), 4096);
}

#[test]
fn numbers_in_a_file_allocate_nothing() {
    // A dynamic section and a segment of almost 2^64 bytes, and more names than any file has.
    let file = Draft::new().needed("a").bytes();
    for row in 1..4 {
        let _ = Elf::of_bytes(&patched(file.clone(), 64 + row * 56 + 32, &[0xff; 8]));
        let _ = scan(&patched(file.clone(), 64 + row * 56 + 32, &[0xff; 8]), 1000);
    }
    let name = "a".repeat(4000);
    let many = (0..300).fold(Draft::new(), |draft, _| draft.needed(&name));
    let error = Elf::of_bytes(&many.bytes()).expect_err("over a megabyte of names");
    assert_eq!(error.to_string(), "expected at most 1048576 bytes of names, found more");
    let entries = (0..100_010).fold(Draft::new(), |draft, _| draft.needed(""));
    let error = Elf::of_bytes(&entries.bytes()).expect_err("too many entries");
    assert_eq!(error.to_string(), "expected at most 100000 dynamic entries, found 100014");
}

#[test]
fn a_scanner_finds_what_lies_far_into_a_file() {
    let gap = 9 << 20;
    for draft in [program().gap(gap), program().gap(gap).strings_last()] {
        let bytes = draft.bytes();
        for chunk in [bytes.len(), 1 << 16, 4093] {
            assert_eq!(scan(&bytes, chunk), Scanned::Elf(Box::new(draft.elf())), "{chunk}");
        }
    }
    // Program headers at the very end tell of parts that have gone by.
    let draft = program().gap(gap).headers_last();
    assert_eq!(scan(&draft.bytes(), 1 << 16), Scanned::Unclear);
    assert!(Elf::of_bytes(&draft.bytes()).is_ok_and(|elf| elf.is_some()));
}

#[test]
fn a_scanner_holds_little() {
    let held = |scanner: &Scanner| format!("{scanner:?}").len();
    let mut scanner = Scanner::new(u64::MAX);
    scanner.write_all(b"#!/b").expect("it never fails");
    scanner.write_all(&[0; 100_000]).expect("it never fails");
    assert!(held(&scanner) < 200);
    // All of a small file is known before its end.
    let bytes = program().gap(100_000).bytes();
    let mut scanner = Scanner::new(bytes.len() as u64);
    scanner.write_all(&bytes[..bytes.len() - 50_000]).expect("it never fails");
    assert!(held(&scanner) < 1000);
}

#[test]
fn a_scanner_that_is_fed_too_little_or_too_much_does_not_know() {
    let bytes = program().bytes();
    for (announced, fed) in [(bytes.len() + 1, bytes.len()), (bytes.len() - 1, bytes.len()), (bytes.len(), 100)] {
        let mut scanner = Scanner::new(announced as u64);
        scanner.write_all(&bytes[..fed]).expect("it never fails");
        assert_eq!(scanner.finish(), Scanned::Unclear, "{announced} {fed}");
    }
}

#[test]
fn json_holds_only_what_is_there() {
    let library = Draft::new().needed("libc.so.6").elf();
    let json = serde_json::to_string(&library).expect("JSON");
    assert_eq!(
        json,
        r#"{"class":"elf64","endian":"little","machine":62,"dynamic":true,"shared":true,"needed":["libc.so.6"]}"#
    );
    for elf in [library, program().elf(), Draft::new().statically().elf()] {
        let json = serde_json::to_string(&elf).expect("JSON");
        assert_eq!(serde_json::from_str::<Elf>(&json).expect("what was written"), elf);
    }
}

fn drafts() -> impl Strategy<Value = Draft> {
    let name = "[a-z:/$]{0,12}";
    let names = proptest::collection::vec((0..4_u8, name), 0..6);
    let flags = proptest::collection::vec(any::<bool>(), 5);
    (0..4_usize, names, proptest::option::of("[a-z:/$]{1,12}"), flags, 0..300_usize).prop_map(
        |(shape, names, interpreter, flags, gap)| {
            let (class, endian) = SHAPES[shape];
            let mut draft = Draft::new().class(class).endian(endian).gap(gap);
            for (kind, name) in names {
                draft = match kind {
                    0 => draft.needed(&name),
                    1 => draft.soname(&name),
                    2 => draft.rpath(&name),
                    _ => draft.runpath(&name),
                };
            }
            draft = interpreter.iter().fold(draft, |draft, name| draft.interpreter(name));
            let options =
                [Draft::nodeflib, Draft::statically, Draft::strings_last, Draft::headers_last, Draft::long_count];
            options.iter().zip(flags).fold(draft, |draft, (option, on)| if on { option(draft) } else { draft })
        },
    )
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), class in 0..4_u8, order in 0..4_u8) {
        let _ = Elf::of_bytes(&bytes);
        let elf = [b"\x7fELF", &[class, order, 1, 0][..], &bytes].concat();
        prop_assert_eq!(scan(&elf, 13), expected(&elf));
    }

    #[test]
    fn a_scanner_reads_what_the_whole_file_says(draft in drafts(), chunk in 1..400_usize) {
        let bytes = draft.bytes();
        let elf = Elf::of_bytes(&bytes).expect("a sound file").expect("a file that is loaded");
        prop_assert_eq!(scan(&bytes, chunk), Scanned::Elf(Box::new(elf)));
    }

    #[test]
    fn damage_is_seen_alike_and_does_not_panic(
        draft in drafts(),
        chunk in 1..400_usize,
        wounds in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = draft.gap(0).bytes();
        for (at, byte) in wounds {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        prop_assert_eq!(scan(&bytes, chunk), expected(&bytes));
    }
}

/// Regular files of the machine that begin as ELF does, evenly chosen, and the largest of them.
fn files_of_the_machine(most: usize) -> Vec<PathBuf> {
    let mut folders: Vec<_> = ["/usr/bin", "/usr/lib"].map(PathBuf::from).into();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
    }
    files.retain(|file| starts_as_elf(file));
    files.sort();
    let mut largest = files.clone();
    largest.sort_by_key(|file| std::cmp::Reverse(file.metadata().map_or(0, |file| file.len())));
    let step = files.len().div_ceil(most).max(1);
    files.into_iter().step_by(step).chain(largest.into_iter().take(6)).collect()
}

fn starts_as_elf(file: &Path) -> bool {
    let mut magic = [0; 4];
    File::open(file).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && &magic == b"\x7fELF"
}

/// What `readelf -ldW` says, under the names that it has for it.
fn readelf(file: &Path) -> Option<BTreeMap<&'static str, Vec<String>>> {
    let output = Command::new("readelf").env("LC_ALL", "C").args(["-l", "-d", "-W"]).arg(file).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for line in text.lines() {
        for (key, mark) in [
            ("interpreter", "[Requesting program interpreter: "),
            ("needed", "Shared library: ["),
            ("soname", "Library soname: ["),
            ("rpath", "Library rpath: ["),
            ("runpath", "Library runpath: ["),
        ] {
            if let Some((_, rest)) = line.split_once(mark) {
                let value = rest.rsplit_once(']').map_or(rest, |(value, _)| value);
                found.entry(key).or_default().push(value.to_owned());
            }
        }
        if line.contains("(FLAGS_1)") && line.contains("NODEFLIB") {
            found.entry("nodeflib").or_default().push(String::new());
        }
    }
    Some(found)
}

#[test]
fn readelf_says_the_same() {
    if readelf(Path::new("/usr/bin/env")).is_none() {
        return eprintln!("skipped: readelf not installed");
    }
    let (mut loaded, mut malformed) = (0, 0);
    for file in files_of_the_machine(240) {
        let bytes = fs::read(&file).expect("a file");
        let scanned = scan(&bytes, 100_003);
        // A large file may have its parts in an order that a scanner cannot follow.
        let gave_up = bytes.len() > 8 << 20 && scanned == Scanned::Unclear;
        assert!(gave_up || scanned == expected(&bytes), "{}", file.display());
        let Ok(elf) = Elf::read(File::open(&file).expect("a file")) else {
            eprintln!("malformed: {}", file.display());
            malformed += 1;
            continue;
        };
        assert_eq!(Elf::of_bytes(&bytes).expect("as above"), elf, "{}", file.display());
        let Some(elf) = elf else { continue };
        loaded += 1;
        let mut ours: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        ours.insert("interpreter", elf.interpreter.into_iter().collect());
        ours.insert("needed", elf.needed);
        ours.insert("soname", elf.soname.into_iter().collect());
        let joined = |path: Vec<String>| if path.is_empty() { Vec::new() } else { vec![path.join(":")] };
        ours.insert("rpath", joined(elf.rpath));
        ours.insert("runpath", joined(elf.runpath));
        ours.insert("nodeflib", if elf.nodeflib { vec![String::new()] } else { Vec::new() });
        ours.retain(|_, values| !values.is_empty());
        assert_eq!(ours, readelf(&file).expect("readelf"), "{}", file.display());
    }
    // What compilers bring to test their own readers with.
    assert!(malformed * 20 <= loaded, "{malformed} of {loaded}");
    eprintln!("compared {loaded} files");
}
