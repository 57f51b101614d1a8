//! Whose signature counts: OpenPGP keyrings, and the program that checks signatures with them.
//!
//! Signatures are checked by `sqv` (Sequoia) or `gpgv` (GnuPG), of which every machine with apt has one; this program has no
//! OpenPGP of its own. It takes keyrings as apt does, binary or in ASCII armor (RFC 9580, 6.2), and hands on binary ones.

use std::{
    ffi::OsStr,
    fmt, fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    digest::Digest,
    error::{Explain, Kind},
    programs,
};

/// What a keyring's file may end with.
const ENDS: [&str; 3] = ["asc", "gpg", "pgp"];

/// The trusted keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyRing {
    files: Vec<KeyFile>,
    fingerprints: Vec<String>,
}

/// A file of keys.
#[derive(Clone, PartialEq, Eq)]
struct KeyFile {
    name: String,
    bytes: Vec<u8>,
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl KeyRing {
    /// A ring that trusts nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// The keys that apt on the machine below `root` trusts for every source that names none: `/etc/apt/trusted.gpg` and the
    /// files of `/etc/apt/trusted.gpg.d`.
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

    /// Whether nobody is trusted.
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
    /// restricted to likewise. A `!` at its end (apt: no subkey) is passed over.
    pub fn restrict(&mut self, fingerprint: &str) {
        self.fingerprints.push(fingerprint.trim_end_matches('!').to_ascii_uppercase());
    }

    /// Whether a signature by a key with one of these fingerprints (its own, its primary key's) counts.
    fn allows(&self, fingerprints: &[&str]) -> bool {
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
        Kind::Usage
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

/// The program that checks signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verifier {
    /// `sqv` at this path.
    Sqv(PathBuf),
    /// `gpgv` at this path.
    Gpgv(PathBuf),
}

/// Why a signature does not count.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// There is no program to check it.
    #[error("expected sqv or gpgv in PATH to check the signature, found neither")]
    NoVerifier,
    /// There are no keys to check it with.
    #[error("expected keys to check the signature with, found none")]
    NoKeys,
    /// The program or its files cannot be used.
    #[error("cannot run {}: {source}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Only signatures by keys that are not trusted.
    #[error("expected a signature by a trusted key ({trusted}), found {found}")]
    UnknownKey {
        /// The files of trusted keys.
        trusted: String,
        /// Whose signatures there are.
        found: String,
    },
    /// A signature that is none of the key that it names, or whose key has expired or was revoked.
    #[error("expected a valid signature, found one that does not count: {why}")]
    Bad {
        /// In the words of the program.
        why: String,
    },
}

impl Explain for SignatureError {
    fn kind(&self) -> Kind {
        match self {
            Self::Run { .. } => Kind::Build,
            _ => Kind::Unverified,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoVerifier => "install one of them: the package sqv or gpgv (Debian, Ubuntu), gnupg (elsewhere)".into(),
            Self::NoKeys => {
                "install the package debian-archive-keyring (ubuntu-keyring), or name its file with --keys".into()
            }
            Self::Run { .. } => return None,
            Self::UnknownKey { .. } => {
                "if you trust who signed it, name the keyring's file with --keys; new releases need a new \
                 debian-archive-keyring (ubuntu-keyring)"
                    .into()
            }
            Self::Bad { .. } => {
                "the file was changed after it was signed, or its key has expired: try another --mirror, or a newer keyring \
                 with --keys"
                    .into()
            }
        })
    }
}

impl Verifier {
    /// The one that lies in one of the folders of `path`, which is written as the environment's PATH: `sqv`, else `gpgv`.
    ///
    /// # Errors
    /// When there is neither.
    pub fn find(path: &OsStr) -> Result<Self, SignatureError> {
        let program = |name: &str| programs::find(name, path);
        let found = program("sqv").map(Self::Sqv).or_else(|| program("gpgv").map(Self::Gpgv));
        found.ok_or(SignatureError::NoVerifier)
    }

    /// Checks that `signature` (detached, in ASCII armor or binary) is a signature over `text` by one of the keys. The
    /// fingerprints of those that signed.
    ///
    /// # Errors
    /// When it is not, or when the program cannot be run.
    pub fn verify(&self, text: &[u8], signature: &[u8], keys: &KeyRing) -> Result<Vec<String>, SignatureError> {
        if keys.is_empty() {
            return Err(SignatureError::NoKeys);
        }
        let (Self::Sqv(program) | Self::Gpgv(program)) = self;
        let failed = |source| SignatureError::Run { program: program.clone(), source };
        let folder = tempfile::tempdir().map_err(failed)?;
        let put = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).map(|()| path)
        };
        let mut command = Command::new(program);
        command.env_clear().env("LC_ALL", "C").env("GNUPGHOME", folder.path()).env("HOME", folder.path());
        if let Self::Gpgv(_) = self {
            // Whether the release is too old is not asked of the clock that gpgv believes in, but of Valid-Until.
            command.arg("--homedir").arg(folder.path()).args(["--ignore-time-conflict", "--status-fd", "1"]);
        }
        for (number, file) in keys.files.iter().enumerate() {
            command.arg("--keyring").arg(put(&format!("keys-{number}.gpg"), &file.bytes).map_err(failed)?);
        }
        command.arg(put("signature", signature).map_err(failed)?).arg(put("text", text).map_err(failed)?);
        let output = command.stdin(Stdio::null()).current_dir(folder.path()).output().map_err(failed)?;
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let trusted = || {
            let first: Vec<_> = keys.names().take(3).collect();
            let more = keys.files.len() - first.len();
            if more > 0 { format!("{} and {more} more", first.join(", ")) } else { first.join(", ") }
        };
        match self {
            Self::Sqv(_) => read_sqv(output.status.success(), &stdout, &stderr, keys, trusted),
            Self::Gpgv(_) => read_gpgv(&stdout, &stderr, keys, trusted),
        }
    }
}

/// The first line that says something.
fn first_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it does not say why");
    line.chars().take(200).collect()
}

/// sqv prints the fingerprint of each key whose signature is good, and succeeds when there is one.
fn read_sqv(
    success: bool,
    stdout: &str,
    stderr: &str,
    keys: &KeyRing,
    trusted: impl Fn() -> String,
) -> Result<Vec<String>, SignatureError> {
    let good: Vec<_> = stdout.lines().map(str::trim).filter(|line| keys.allows(&[line])).collect();
    if success && !good.is_empty() {
        return Ok(good.into_iter().map(str::to_owned).collect());
    }
    if success {
        return Err(SignatureError::UnknownKey { trusted: trusted(), found: stdout.trim().replace('\n', ", ") });
    }
    let missing: Vec<_> =
        stderr.lines().filter(|line| line.contains("Missing key") || line.contains("No key")).collect();
    if !missing.is_empty() && !stderr.contains("Bad signature") && !stderr.contains("expired") {
        let found = missing.iter().map(|line| line.trim()).collect::<Vec<_>>().join(", ");
        return Err(SignatureError::UnknownKey { trusted: trusted(), found });
    }
    Err(SignatureError::Bad { why: first_line(stderr) })
}

/// The hash algorithms MD5, SHA-1 and RIPEMD-160 (RFC 9580, 9.5), which vouch for nothing any more.
const WEAK: [&str; 3] = ["1", "2", "3"];

/// gpgv writes lines of status (GnuPG's doc/DETAILS). One good signature is enough, one bad one spoils all. VALIDSIG says only
/// that a signature matches: it follows EXPKEYSIG and REVKEYSIG as it follows GOODSIG.
fn read_gpgv(
    stdout: &str,
    stderr: &str,
    keys: &KeyRing,
    trusted: impl Fn() -> String,
) -> Result<Vec<String>, SignatureError> {
    let (mut good, mut missing, mut bad) = (Vec::new(), Vec::new(), None);
    let mut is_good = false;
    for line in stdout.lines().filter_map(|line| line.strip_prefix("[GNUPG:] ")) {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        match words[..] {
            ["GOODSIG", ..] => is_good = true,
            ["VALIDSIG", fingerprint, .., primary] if words.len() >= 11 && std::mem::take(&mut is_good) => {
                if WEAK.contains(&words[8]) {
                    bad = Some("it rests on a hash that is weak".to_owned());
                } else if keys.allows(&[fingerprint, primary]) {
                    good.push(fingerprint.to_owned());
                } else {
                    missing.push(fingerprint.to_owned());
                }
            }
            ["NO_PUBKEY", key] => missing.push(key.to_owned()),
            [what @ ("BADSIG" | "EXPKEYSIG" | "EXPSIG" | "REVKEYSIG"), ref whose @ ..] => {
                let why = match what {
                    "BADSIG" => "it does not match the text",
                    "REVKEYSIG" => "its key was revoked",
                    "EXPSIG" => "it has expired",
                    _ => "its key has expired",
                };
                is_good = false;
                bad = Some(format!("{why} ({})", whose.join(" ")));
                if what == "BADSIG" {
                    good.clear();
                    break;
                }
            }
            _ => {}
        }
    }
    match bad {
        _ if !good.is_empty() => Ok(good),
        Some(why) => Err(SignatureError::Bad { why }),
        None if !missing.is_empty() => {
            Err(SignatureError::UnknownKey { trusted: trusted(), found: missing.join(", ") })
        }
        None => Err(SignatureError::Bad { why: first_line(stderr) }),
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

    const VALID: &str =
        "[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG 1111 A Name\n[GNUPG:] VALIDSIG AAAA 2026-01-01 1 0 4 0 1 8 00 BBBB\n";

    fn gpgv(status: &str, keys: &KeyRing) -> Result<Vec<String>, String> {
        read_gpgv(status, "gpgv: broken\n", keys, || "ring.gpg".into()).map_err(|e| e.to_string())
    }

    #[test]
    fn reads_what_gpgv_says() {
        let ring = KeyRing::new();
        let good = Ok(vec!["AAAA".to_owned()]);
        let bad = |why: &str| Err(format!("expected a valid signature, found one that does not count: {why}"));
        assert_eq!(gpgv(VALID, &ring), good);
        assert_eq!(gpgv(&format!("{VALID}[GNUPG:] NO_PUBKEY 2222\n"), &ring), good);
        assert_eq!(gpgv(&format!("{VALID}[GNUPG:] EXPKEYSIG 2222 X\n"), &ring), good);
        assert_eq!(
            gpgv(&format!("{VALID}[GNUPG:] BADSIG 2222 X\n"), &ring),
            bad("it does not match the text (2222 X)")
        );
        // What gpgv really says of them: the signature itself is valid.
        for (word, why) in
            [("EXPKEYSIG", "its key has expired"), ("REVKEYSIG", "its key was revoked"), ("EXPSIG", "it has expired")]
        {
            assert_eq!(gpgv(&VALID.replace("GOODSIG", word), &ring), bad(&format!("{why} (1111 A Name)")));
            let two = format!("{}{}", VALID.replace("GOODSIG", word), VALID.replace("AAAA", "CCCC"));
            assert_eq!(gpgv(&two, &ring), Ok(vec!["CCCC".to_owned()]));
        }
        assert_eq!(gpgv(&VALID.replace(" 8 00", " 2 00"), &ring), bad("it rests on a hash that is weak"));
        assert_eq!(gpgv("", &ring), bad("gpgv: broken"));
        let unknown = |found: &str| Err(format!("expected a signature by a trusted key (ring.gpg), found {found}"));
        assert_eq!(gpgv("[GNUPG:] NO_PUBKEY 2222\n", &ring), unknown("2222"));
        for (fingerprint, expected) in [("bbbb!", good.clone()), ("AAAA", good), ("CCCC", unknown("AAAA"))] {
            let mut restricted = KeyRing::new();
            restricted.restrict(fingerprint);
            assert_eq!(gpgv(VALID, &restricted), expected, "{fingerprint}");
        }
    }

    #[test]
    fn finds_a_verifier() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().as_os_str();
        let error = Verifier::find(path).expect_err("neither");
        assert_eq!((error.kind(), error.hint().is_some_and(|hint| hint.contains("gpgv"))), (Kind::Unverified, true));
        let put = |name: &str, mode| {
            let file = folder.path().join(name);
            fs::write(&file, "")
                .and_then(|()| fs::set_permissions(&file, fs::Permissions::from_mode(mode)))
                .expect("put");
            file
        };
        put("sqv", 0o644);
        let gpgv = put("gpgv", 0o755);
        assert_eq!(Verifier::find(path).expect("gpgv"), Verifier::Gpgv(gpgv));
        let sqv = put("sqv", 0o755);
        assert_eq!(Verifier::find(path).expect("sqv"), Verifier::Sqv(sqv));
        let here = std::env::current_dir().expect("a current folder");
        let up: PathBuf = here.components().skip(1).map(|_| "..").collect();
        let relative = up.join(folder.path().strip_prefix("/").expect("an absolute path"));
        assert!(Verifier::find(relative.as_os_str()).is_err(), "{} is not searched", relative.display());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), text in "[ -~\n=]{0,100}") {
            let _ = KeyRing::new().add("x", &bytes);
            let _ = KeyRing::new().add("x", format!("{ARMOR_BEGIN}\n\n{text}\n{ARMOR_END}").as_bytes());
            let _ = gpgv(&format!("[GNUPG:] VALIDSIG {text}"), &KeyRing::new());
        }
    }
}
