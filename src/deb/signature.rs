//! The programs that check signatures: `sqv` (Sequoia) or `gpgv` (GnuPG), of which every machine with apt has one. This
//! program has no OpenPGP of its own.

use std::{
    ffi::OsStr,
    fs, io,
    path::PathBuf,
    process::{Command, Stdio},
};

use super::key::KeyRing;
use crate::{
    error::{Explain, Kind},
    programs,
};

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
    /// There is not a program to check it.
    #[error("cannot check the signature: neither sqv nor gpgv is on PATH")]
    NoVerifier,
    /// There are no keys to check it with.
    #[error("cannot check the signature: no keys are trusted")]
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
    /// A signature that was not made by the key that it names, or whose key has expired or was revoked.
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
            Self::NoVerifier | Self::NoKeys | Self::UnknownKey { .. } | Self::Bad { .. } => Kind::Unverified,
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
    /// The one that lies in one of the folders of `path`, which is written as the environment's PATH: `sqv`, else
    /// `gpgv`.
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

/// The first line that is not empty.
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

/// gpgv writes lines of status (GnuPG's doc/DETAILS). One good signature is enough, one bad one spoils all. VALIDSIG
/// says only that a signature matches: it follows EXPKEYSIG and REVKEYSIG as it follows GOODSIG.
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
        fn no_status_panics(text in "[ -~\n=]{0,100}") {
            let _ = gpgv(&format!("[GNUPG:] VALIDSIG {text}"), &KeyRing::new());
        }
    }
}
