//! Whose signature counts: OpenPGP keyrings.
//!
//! Keyrings are taken as apt takes them, binary or in ASCII armor (RFC 9580, 6.2), and handed on to a
//! [`Verifier`](super::signature::Verifier) as binary ones.

use std::{
    ffi::OsStr,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    digest::Digest,
    error::{Explain, Kind},
};

/// What a keyring's file may end with.
const ENDS: [&str; 3] = ["asc", "gpg", "pgp"];

/// The trusted keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyRing {
    pub(super) files: Vec<KeyFile>,
    fingerprints: Vec<String>,
}

/// A file of keys.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct KeyFile {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl KeyRing {
    /// A ring without keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// The keys that apt on the machine below `root` trusts forevery source that names none: `/etc/apt/trusted.gpg` and
    /// the files of `/etc/apt/trusted.gpg.d`.
    ///
    /// # Errors
    /// When a file is there and cannot be read, or holds no keys.
    pub fn of_machine(root: &Path) -> Result<Self, KeyError> {
        let mut ring = Self::new();
        let single = root.join("etc/apt/trusted.gpg");
        // apt leaves an empty one behind.
        if fs::metadata(&single).is_ok_and(|meta| meta.len() > 0) {
            ring.add_file(&single)?;
        }
        let folder = root.join("etc/apt/trusted.gpg.d");
        for file in key_files(&folder).unwrap_or_default() {
            ring.add_file(&file)?;
        }
        Ok(ring)
    }

    /// The keys of the distribution (`debian`, `ubuntu`) that the machine below `root` has as a package:
    /// `/usr/share/keyrings/debian-archive-keyring.gpg`. A ring without keys when it has none.
    ///
    /// # Errors
    /// When a file is there and cannot be read, or holds no keys.
    pub fn of_distribution(root: &Path, distribution: &str) -> Result<Self, KeyError> {
        let mut ring = Self::new();
        let files = ENDS.map(|end| root.join(format!("usr/share/keyrings/{distribution}-archive-keyring.{end}")));
        if let Some(file) = files.iter().find(|file| file.exists()) {
            ring.add_file(file)?;
        }
        Ok(ring)
    }

    /// Whether it has no keys.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Names the keys that are trusted.
    pub fn digest(&self) -> Digest {
        let files: Vec<_> = self.files.iter().map(|file| Digest::of(&file.bytes).to_string()).collect();
        Digest::of(format!("{} {}", files.join(" "), self.fingerprints.join(" ")))
    }

    /// The files that the keys come from, for messages.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.name.as_str())
    }

    /// Trusts the keys of `other`, too; restrictions of either count for all.
    pub fn extend(&mut self, other: Self) {
        self.files.extend(other.files);
        self.fingerprints.extend(other.fingerprints);
    }

    /// Trusts the keys in the file `path`, or in every `*.gpg`, `*.pgp` and `*.asc` of the folder `path`.
    ///
    /// # Errors
    /// When `path` cannot be read, holds something else, or is a folder without keys.
    pub fn add_path(&mut self, path: &Path) -> Result<(), KeyError> {
        let unreadable = |source| KeyError::Read { path: path.to_owned(), source };
        if !fs::metadata(path).map_err(unreadable)?.is_dir() {
            return self.add_file(path);
        }
        let files = key_files(path).map_err(unreadable)?;
        if files.is_empty() {
            return Err(KeyError::Empty { path: path.to_owned() });
        }
        files.iter().try_for_each(|file| self.add_file(file))
    }

    fn add_file(&mut self, path: &Path) -> Result<(), KeyError> {
        let bytes = fs::read(path).map_err(|source| KeyError::Read { path: path.to_owned(), source })?;
        self.add(&path.display().to_string(), &bytes)
    }

    /// Trusts the keys in `bytes`, binary or in ASCII armor; `name` says where they come from.
    ///
    /// # Errors
    /// When it holds something else.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), KeyError> {
        let invalid = |reason| KeyError::Invalid { name: name.to_owned(), reason };
        let bytes = if is_keys(bytes) {
            bytes.to_vec()
        } else {
            let text = std::str::from_utf8(bytes).map_err(|_| invalid("neither binary keys nor text"))?;
            dearmor(text).map_err(invalid)?
        };
        if !is_keys(&bytes) {
            return Err(invalid("no public key in it"));
        }
        self.files.push(KeyFile { name: name.to_owned(), bytes });
        Ok(())
    }

    /// Of the keys in this ring, trusts only that with the fingerprint, 40 or 64 hexadecimal digits, and those that are
    /// restricted to likewise. A `!` at its end (apt: no subkey) is ignored.
    pub fn restrict(&mut self, fingerprint: &str) {
        self.fingerprints.push(fingerprint.trim_end_matches('!').to_ascii_uppercase());
    }

    /// Whether a signature by a key with one of these fingerprints (its own, its primary key's) counts.
    pub(super) fn allows(&self, fingerprints: &[&str]) -> bool {
        let allowed =
            |found: &&str| self.fingerprints.iter().any(|fingerprint| fingerprint.eq_ignore_ascii_case(found));
        self.fingerprints.is_empty() || fingerprints.iter().any(allowed)
    }
}

/// The keyrings in a folder, in the order of their names.
fn key_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    let mut files: Vec<_> = entries.iter().map(fs::DirEntry::path).collect();
    files.retain(|file| file.extension().and_then(OsStr::to_str).is_some_and(|end| ENDS.contains(&end)));
    files.sort();
    Ok(files)
}

/// Whether the bytes begin as a public key does (RFC 9580, 4.2: tag 6), or as a keybox of GnuPG.
fn is_keys(bytes: &[u8]) -> bool {
    let packet = bytes.first().is_some_and(|&tag| (tag & 0xc0 == 0x80 && tag >> 2 & 15 == 6) || tag == 0xc6);
    packet || bytes.get(8..12) == Some(b"KBXf")
}

const ARMOR_BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const ARMOR_END: &str = "-----END PGP PUBLIC KEY BLOCK-----";

/// What stands in the public key blocks of `text`, one after the other.
///
/// # Errors
/// What is wrong with it.
fn dearmor(text: &str) -> Result<Vec<u8>, &'static str> {
    let mut bytes = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while lines.by_ref().any(|line| line == ARMOR_BEGIN) {
        let (mut base64, mut sum, mut headers) = (String::new(), None, true);
        loop {
            match lines.next().ok_or("a public key block without an end")? {
                ARMOR_END => break,
                "" => headers = false,
                line if headers && line.contains(": ") => {}
                line if line.starts_with('=') && line.len() == 5 => sum = Some(&line[1..]),
                line => {
                    headers = false;
                    base64 += line;
                }
            }
        }
        let block = STANDARD.decode(&base64).map_err(|_| "a public key block that is no base64")?;
        if let Some(sum) = sum
            && STANDARD.decode(sum).ok().as_deref() != Some(&crc24(&block)[..])
        {
            return Err("a public key block whose checksum is wrong");
        }
        bytes.extend(block);
    }
    if bytes.is_empty() { Err("no public key block in it") } else { Ok(bytes) }
}

/// The checksum of ASCII armor (RFC 9580, 6.1.1).
fn crc24(bytes: &[u8]) -> [u8; 3] {
    let mut crc = 0x00b7_04ce_u32;
    for byte in bytes {
        crc ^= u32::from(*byte) << 16;
        for _ in 0..8 {
            crc <<= 1;
            if crc & 0x0100_0000 != 0 {
                crc ^= 0x0186_4cfb;
            }
        }
    }
    let [_, a, b, c] = crc.to_be_bytes();
    [a, b, c]
}

/// A keyring that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file system refused.
    #[error("cannot read the keys {}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("expected OpenPGP keys in {name}, found something else: {reason}")]
    Invalid {
        /// The file.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A folder without keys.
    #[error("expected keys (*.gpg, *.pgp, *.asc) in the folder {}, found none", path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
}

impl Explain for KeyError {
    fn kind(&self) -> Kind {
        match self {
            Self::Read { .. } | Self::Invalid { .. } | Self::Empty { .. } => Kind::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Read { .. } => "--keys takes a keyring's file, or a folder of them".to_owned(),
            Self::Invalid { .. } => {
                "a keyring for Debian is what `gpg --export` or `gpg --export --armor` writes".to_owned()
            }
            Self::Empty { .. } => "name the file itself if it is called otherwise".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A key without a signature on it, in armor.
    fn armored(bytes: &[u8]) -> String {
        let sum = STANDARD.encode(crc24(bytes));
        format!("Who: knows\n{ARMOR_BEGIN}\nComment: a: b\n\n{}\n={sum}\n{ARMOR_END}\n", STANDARD.encode(bytes))
    }

    #[test]
    fn takes_binary_and_armored_keys() {
        let binary = [0x99, 1, 2, 3, 4];
        let mut ring = KeyRing::new();
        ring.add("binary", &binary).expect("a key");
        ring.add("armored", armored(&binary).as_bytes()).expect("a key");
        ring.add("two", format!("{}\n{}", armored(&binary), armored(&[0xc6, 9])).as_bytes()).expect("keys");
        let bytes: Vec<_> = ring.files.iter().map(|file| file.bytes.as_slice()).collect();
        assert_eq!(bytes, [&binary[..], &binary, &[0x99, 1, 2, 3, 4, 0xc6, 9]]);
        assert_eq!(ring.names().collect::<Vec<_>>(), ["binary", "armored", "two"]);
    }

    #[test]
    fn refuses_what_holds_no_keys() {
        let good = armored(&[0x99, 1]);
        let cases = [
            ("".to_owned(), "no public key block in it"),
            ("hello".to_owned(), "no public key block in it"),
            (armored(b"hello"), "no public key in it"),
            (good.replace(ARMOR_END, ""), "a public key block without an end"),
            (good.replace("mQE=", "!!"), "a public key block that is no base64"),
            (good.replace("mQE=", "mQI="), "a public key block whose checksum is wrong"),
        ];
        for (text, why) in cases {
            let error = KeyRing::new().add("x.asc", text.as_bytes()).expect_err(why);
            assert_eq!(error.to_string(), format!("expected OpenPGP keys in x.asc, found something else: {why}"));
            assert!(error.hint().is_some() && error.kind() == Kind::Usage);
        }
        assert!(KeyRing::new().add("x.gpg", &[0xff, 0xff]).is_err());
    }

    #[test]
    fn adds_files_and_folders() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let mut ring = KeyRing::new();
        assert!(matches!(ring.add_path(folder.path()), Err(KeyError::Empty { .. })));
        assert!(matches!(ring.add_path(&path("none")), Err(KeyError::Read { .. })));
        fs::write(path("b.gpg"), [0x99, 1]).expect("written");
        fs::write(path("a.asc"), armored(&[0x99, 2])).expect("written");
        fs::write(path("README"), "no key").expect("written");
        ring.add_path(folder.path()).expect("two keyrings");
        assert_eq!(
            ring.names().map(|name| name.rsplit('/').next()).collect::<Vec<_>>(),
            [Some("a.asc"), Some("b.gpg")]
        );
        assert!(matches!(ring.add_path(&path("README")), Err(KeyError::Invalid { .. })));
    }

    #[test]
    fn knows_where_a_machine_keeps_its_keys() {
        let root = tempfile::tempdir().expect("a folder");
        assert!(KeyRing::of_machine(root.path()).expect("no keys").is_empty());
        for (folder, file) in [
            ("etc/apt", "trusted.gpg"),
            ("etc/apt/trusted.gpg.d", "x.gpg"),
            ("usr/share/keyrings", "debian-archive-keyring.pgp"),
        ] {
            fs::create_dir_all(root.path().join(folder)).expect("a folder");
            fs::write(root.path().join(folder).join(file), [0x99, 1]).expect("written");
        }
        assert_eq!(KeyRing::of_machine(root.path()).expect("keys").files.len(), 2);
        assert_eq!(KeyRing::of_distribution(root.path(), "debian").expect("keys").files.len(), 1);
        assert!(KeyRing::of_distribution(root.path(), "ubuntu").expect("none").is_empty());
        fs::write(root.path().join("etc/apt/trusted.gpg"), "").expect("written");
        assert_eq!(KeyRing::of_machine(root.path()).expect("keys").files.len(), 1);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), text in "[ -~\n=]{0,100}") {
            let _ = KeyRing::new().add("x", &bytes);
            let _ = KeyRing::new().add("x", format!("{ARMOR_BEGIN}\n\n{text}\n{ARMOR_END}").as_bytes());
        }
    }
}
