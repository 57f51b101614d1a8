//! Whose signatures count. A signature names its key by the name of the key's file, as in `/etc/apk/keys`
//! (apk-keys(5)); the name only selects the key, trust comes from the key's being in the ring.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};

use crate::error::{Explain, Kind};

/// The algorithms of apk-v2(5) that are in use: RSA with PKCS#1 v1.5 padding over a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// `.SIGN.RSA.`: SHA-1. Alpine still signs its indexes with it.
    RsaSha1,
    /// `.SIGN.RSA256.`: SHA-256.
    RsaSha256,
    /// `.SIGN.RSA512.`: SHA-512.
    RsaSha512,
}

impl Algorithm {
    /// The algorithm and the key's name that the file name of a signature states: `.SIGN.ALGORITHM.KEYNAME`. `None` for
    /// one of another algorithm (DSA), which no ring can check.
    pub fn of_signature(file: &str) -> Option<(Self, &str)> {
        let (algorithm, key) = file.strip_prefix(".SIGN.")?.split_once('.')?;
        let algorithm = match algorithm {
            "RSA" => Self::RsaSha1,
            "RSA256" => Self::RsaSha256,
            "RSA512" => Self::RsaSha512,
            _ => return None,
        };
        Some((algorithm, key))
    }

    fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::RsaSha1 => &signature::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
            Self::RsaSha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Self::RsaSha512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        }
    }
}

/// A trusted public key.
#[derive(Clone)]
pub struct Key {
    name: String,
    pem: String,
    /// The `RSAPublicKey` of PKCS#1, in DER.
    pkcs1: Vec<u8>,
}

impl Key {
    /// The key with the file name `name` whose file holds `pem`: a SubjectPublicKeyInfo between
    /// `-----BEGIN PUBLIC KEY-----` and the matching end (RFC 7468).
    ///
    /// # Errors
    /// A sentence that says what is wrong, when `pem` is not an RSA key of 2048 to 8192 bits.
    pub fn parse(name: &str, pem: &str) -> Result<Self, &'static str> {
        const NO_PEM: &str = "no PUBLIC KEY block in PEM";
        let body = pem.split_once("-----BEGIN PUBLIC KEY-----").ok_or(NO_PEM)?.1;
        let body = body.split_once("-----END PUBLIC KEY-----").ok_or(NO_PEM)?.0;
        let base64: String = body.split_ascii_whitespace().collect();
        let der = STANDARD.decode(base64).map_err(|_| "the PEM block is not base64")?;
        let pkcs1 = der::rsa_public_key(&der).ok_or("not an RSA public key")?;
        let bits = der::modulus_bits(pkcs1).ok_or("not an RSA public key")?;
        if !(2048..=8192).contains(&bits) {
            return Err("the RSA key has not between 2048 and 8192 bits");
        }
        Ok(Self { name: name.to_owned(), pem: pem.to_owned(), pkcs1: pkcs1.to_owned() })
    }

    /// The name of the key's file, by which signatures call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether `signature` is this key's for `message`.
    pub fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(algorithm.verification(), &self.pkcs1).verify(message, signature).is_ok()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.name).finish()
    }
}

/// The trusted keys, by name.
#[derive(Debug, Clone, Default)]
pub struct KeyRing {
    keys: Vec<Key>,
}

impl KeyRing {
    /// A ring without keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// The keys with which Alpine signs the repositories of `arch` (`x86_64`, `aarch64` …), present and past; an empty
    /// ring for an architecture that Alpine never had. They are those of Alpine 3.23's package `alpine-keys`.
    pub fn alpine(arch: &str) -> Self {
        let keys = ALPINE.iter().filter(|(_, _, archs)| archs.contains(&arch));
        let keys = keys.map(|(name, pem, _)| Key::parse(name, pem).expect("every built-in key is parsed by a test"));
        Self { keys: keys.collect() }
    }

    /// Trusts the key in the file `path`, or every `*.rsa.pub` in the folder `path`. A key replaces one of the same
    /// name.
    ///
    /// # Errors
    /// When `path` cannot be read, when a file is not an RSA public key, or when a folder holds no `*.rsa.pub`.
    pub fn add_path(&mut self, path: &Path) -> Result<(), KeyError> {
        let unreadable = |source| KeyError::Read { path: path.to_owned(), source };
        if !fs::metadata(path).map_err(unreadable)?.is_dir() {
            return self.add_file(path);
        }
        let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(unreadable)?;
        let mut files: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
        files.retain(|file| file.file_name().is_some_and(|name| name.as_encoded_bytes().ends_with(b".rsa.pub")));
        files.sort();
        if files.is_empty() {
            return Err(KeyError::Empty { path: path.to_owned() });
        }
        files.iter().try_for_each(|file| self.add_file(file))
    }

    fn add_file(&mut self, path: &Path) -> Result<(), KeyError> {
        let pem = fs::read_to_string(path).map_err(|source| KeyError::Read { path: path.to_owned(), source })?;
        let invalid = |reason| KeyError::Invalid { path: path.to_owned(), reason };
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| invalid("its name is not UTF-8"))?;
        self.add(Key::parse(name, &pem).map_err(invalid)?);
        Ok(())
    }

    /// Trusts `key`, in place of one of the same name.
    pub fn add(&mut self, key: Key) {
        match self.keys.iter_mut().find(|known| known.name == key.name) {
            Some(known) => *known = key,
            None => self.keys.push(key),
        }
    }

    /// The key of that name.
    pub fn get(&self, name: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// File name and content of every key, in the order in which they were added: what belongs into `/etc/apk/keys`.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.keys.iter().map(|key| (key.name.as_str(), key.pem.as_str()))
    }
}

/// Whether the key of that name is one that Alpine signs with.
pub fn is_alpines(name: &str) -> bool {
    ALPINE.iter().any(|(known, ..)| *known == name)
}

/// A key that cannot be trusted because it cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file system refused.
    #[error("cannot read the key {}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("expected an RSA public key in {}, found something else: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
    /// A folder without keys.
    #[error("expected keys (*.rsa.pub) in the folder {}, found none", path.display())]
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
            Self::Read { .. } => "--keys takes a public key's file, or a folder of them".to_owned(),
            Self::Invalid { .. } => {
                "apk's public keys are PEM files such as `abuild-keygen` or `openssl rsa -pubout` write".to_owned()
            }
            Self::Empty { .. } => "name the file itself if it is called otherwise".to_owned(),
        })
    }
}

/// As much of DER (ITU-T X.690) as a public key needs.
mod der {
    const INTEGER: u8 = 0x02;
    const BIT_STRING: u8 = 0x03;
    const SEQUENCE: u8 = 0x30;
    /// The AlgorithmIdentifier of rsaEncryption (RFC 3279 §2.3.1): 1.2.840.113549.1.1.1 with NULL parameters.
    const RSA_ENCRYPTION: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];

    /// The content of the value with `tag` at the start of `der`, and what follows it.
    fn value(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
        let (&[found, length], rest) = der.split_first_chunk()?;
        let (length, rest) = match length {
            0..=0x7f => (usize::from(length), rest),
            0x81..=0x83 => {
                let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
                (digits.iter().fold(0, |length, &digit| length << 8 | usize::from(digit)), rest)
            }
            _ => return None,
        };
        if found == tag { rest.split_at_checked(length) } else { None }
    }

    /// The RSAPublicKey inside a SubjectPublicKeyInfo (RFC 5280 §4.1).
    pub(super) fn rsa_public_key(spki: &[u8]) -> Option<&[u8]> {
        let (spki, after) = value(SEQUENCE, spki)?;
        let (algorithm, rest) = value(SEQUENCE, spki)?;
        let (bits, end) = value(BIT_STRING, rest)?;
        if algorithm != RSA_ENCRYPTION || !end.is_empty() || !after.is_empty() {
            return None;
        }
        bits.strip_prefix(&[0])
    }

    /// The length of the modulus of an RSAPublicKey (RFC 8017 A.1.1).
    pub(super) fn modulus_bits(key: &[u8]) -> Option<usize> {
        let (modulus, _) = value(INTEGER, value(SEQUENCE, key)?.0)?;
        let significant = modulus.iter().skip_while(|byte| **byte == 0).count();
        let first = modulus.get(modulus.len() - significant)?;
        Some(significant * 8 - first.leading_zeros() as usize)
    }
}

/// File name, PEM, and the architectures whose repositories the key signs.
type BuiltIn = (&'static str, &'static str, &'static [&'static str]);

macro_rules! alpine_keys {
    ($($id:literal => $archs:expr),* $(,)?) => {
        [$((
            concat!("alpine-devel@lists.alpinelinux.org-", $id, ".rsa.pub"),
            include_str!(concat!("keys/alpine-devel@lists.alpinelinux.org-", $id, ".rsa.pub")),
            &$archs,
        )),*]
    };
}

const ALPINE: [BuiltIn; 18] = alpine_keys! {
    "4a6a0840" => ["x86", "x86_64"],
    "5243ef4b" => ["x86"],
    "524d27bb" => ["armhf", "armv7"],
    "5261cecb" => ["x86_64"],
    "58199dcc" => ["aarch64"],
    "58cbb476" => ["ppc64le"],
    "58e4f17d" => ["s390x"],
    "5e69ca50" => ["mips64"],
    "60ac2099" => ["riscv64"],
    "6165ee59" => ["x86_64"],
    "61666e3f" => ["x86"],
    "616a9724" => ["armhf"],
    "616abc23" => ["ppc64le"],
    "616ac3bc" => ["s390x"],
    "616adfeb" => ["armv7"],
    "616ae350" => ["aarch64"],
    "616db30d" => ["riscv64"],
    "66ba20fe" => ["loongarch64"],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alpine_keys_are_built_in() {
        for arch in
            ["x86_64", "x86", "aarch64", "armhf", "armv7", "ppc64le", "riscv64", "s390x", "loongarch64", "mips64"]
        {
            assert!(KeyRing::alpine(arch).files().count() > 0, "{arch}");
        }
        assert_eq!(KeyRing::alpine("x86_64").files().count(), 3);
        assert_eq!(KeyRing::alpine("z80").files().count(), 0);
        for (name, pem, _) in ALPINE {
            assert!(Key::parse(name, pem).is_ok(), "{name}");
        }
    }

    #[test]
    fn reads_the_names_of_signatures() {
        let cases = [
            (".SIGN.RSA.me@example.org-1.rsa.pub", Some((Algorithm::RsaSha1, "me@example.org-1.rsa.pub"))),
            (".SIGN.RSA256.a", Some((Algorithm::RsaSha256, "a"))),
            (".SIGN.RSA512.a", Some((Algorithm::RsaSha512, "a"))),
            (".SIGN.DSA.a", None),
            (".SIGN.RSA", None),
            (".PKGINFO", None),
        ];
        for (file, expected) in cases {
            assert_eq!(Algorithm::of_signature(file), expected, "{file}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_key() {
        let (name, pem, _) = ALPINE[0];
        let block = |base64: &str| format!("-----BEGIN PUBLIC KEY-----\n{base64}\n-----END PUBLIC KEY-----\n");
        let shortened = {
            let lines: Vec<_> = pem.lines().collect();
            block(&lines[1..lines.len() - 2].concat())
        };
        // A P-256 key, then an RSA key of 1024 bits.
        let elliptic = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEfWVNMvwo5FBvE+FYXxHGgnb4WUZ9qi+Y6BEbqxfnvdKOs26CiX/U2w1squPI1+3kofvf/4KMYjzSfkYmQGowKg==";
        let short = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCplpd5sjLvVLyiU7rKwX3xSddsZRf98VUiQmU/a3JU1HS7uJvr/YTSWxvgy0u9sH9+1nC4FBzcsQIt0OuwU84vYfSCpp2L19IBJwf0eNozXeP1JDW+7mpI3qOW9tPEXiSeOII4a9/Eok0AKs+JcovwIUniwOi4Vh5p8GUGYi6TAwIDAQAB";
        let cases =
            ["", "ssh-rsa AAAA", &block("!"), &block(""), &block("MIIB"), &shortened, &block(elliptic), &block(short)];
        for bad in cases {
            assert!(Key::parse(name, bad).is_err(), "{bad}");
        }
        assert_eq!(Key::parse(name, &block(short)).err(), Some("the RSA key has not between 2048 and 8192 bits"));
    }

    #[test]
    fn adds_files_and_folders() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        let mut ring = KeyRing::new();
        assert!(matches!(ring.add_path(folder.path()), Err(KeyError::Empty { .. })));
        assert!(matches!(ring.add_path(&path("none")), Err(KeyError::Read { .. })));
        fs::write(path("b.rsa.pub"), ALPINE[0].1).expect("written");
        fs::write(path("a.rsa.pub"), ALPINE[1].1).expect("written");
        fs::write(path("README"), "no key").expect("written");
        ring.add_path(folder.path()).expect("two keys");
        ring.add_path(&path("b.rsa.pub")).expect("the same key again");
        assert_eq!(ring.files().collect::<Vec<_>>(), [("a.rsa.pub", ALPINE[1].1), ("b.rsa.pub", ALPINE[0].1)]);
        assert!(matches!(ring.add_path(&path("README")), Err(KeyError::Invalid { .. })));
    }

    #[test]
    fn a_key_is_a_matter_of_usage() {
        let error = KeyError::Empty { path: "keys".into() };
        assert_eq!(error.kind(), Kind::Usage, "{error}");
    }
}
