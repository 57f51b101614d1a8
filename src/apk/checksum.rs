//! The checksum that an index has of each package: `C:` of apk-package(5).

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// A checksum as `C:` writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Checksum {
    /// `Q1` and the base64 of a SHA-1.
    Sha1([u8; 20]),
    /// `Q2` and the base64 of a SHA-256.
    Sha256([u8; 32]),
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha1(bytes) => write!(f, "Q1{}", STANDARD.encode(bytes)),
            Self::Sha256(bytes) => write!(f, "Q2{}", STANDARD.encode(bytes)),
        }
    }
}

/// Not a checksum.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a checksum (Q1 and 20 bytes in base64, or Q2 and 32), found `{0}`")]
pub struct ParseChecksumError(String);

impl FromStr for Checksum {
    type Err = ParseChecksumError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        // Decoding into an array needs room for what a longer text would hold.
        let mut bytes = [0; 48];
        let parsed = s.get(..2).zip(s.get(2..)).and_then(|(kind, text)| {
            let length = STANDARD.decode_slice(text, &mut bytes).ok()?;
            match (kind, &bytes[..length]) {
                ("Q1", sha1) => sha1.try_into().ok().map(Self::Sha1),
                ("Q2", sha256) => sha256.try_into().ok().map(Self::Sha256),
                _ => None,
            }
        });
        parsed.ok_or_else(|| ParseChecksumError(s.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_print_as_they_were_read() {
        let sha1 = "Q1ZX+on7zBgcokTctj4tLSmx7q5O4=";
        let sha256 = "Q2AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        for text in [sha1, sha256] {
            assert_eq!(text.parse::<Checksum>().expect("a checksum").to_string(), text);
        }
        let wrong_lengths = [sha1.replace("Q1", "Q2"), sha256.replace("Q2", "Q1"), format!("Q1{}", "A".repeat(4000))];
        for text in wrong_lengths.iter().map(String::as_str).chain(["", "Q", "Q1", "Q1ZX", "Q9ZX==", "é1ZX", "Qé"]) {
            assert!(text.parse::<Checksum>().is_err(), "{text}");
        }
    }
}
