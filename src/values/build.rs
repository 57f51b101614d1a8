//! Options of a build: compression, sizes, dependencies.

use std::{collections::BTreeMap, fmt, str::FromStr};

use super::ValueError;

/// The compression of layers made here: `gzip` or `zstd`, with a level when `:LEVEL` follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// gzip (RFC 1952), libdeflate's levels 1 to 12. Every registry and engine reads it.
    Gzip(u8),
    /// zstd (RFC 8878), levels 1 to 22. Smaller and faster; Docker reads it since 23.0.
    Zstd(u8),
}

impl Default for Compression {
    fn default() -> Self {
        Self::Gzip(6)
    }
}

impl FromStr for Compression {
    type Err = ValueError;

    fn from_str(s: &str) -> Result<Self, ValueError> {
        let error = || ValueError::new("gzip or zstd, or with a level gzip:1 to gzip:12, zstd:1 to zstd:22", s);
        let (name, level) = s.split_once(':').map_or((s, None), |(name, level)| (name, Some(level)));
        let level = |default: u8, highest: u8| match level {
            None => Ok(default),
            Some(level) => match level.parse() {
                Ok(level) if (1..=highest).contains(&level) => Ok(level),
                _ => Err(error()),
            },
        };
        match name {
            "gzip" => level(6, 12).map(Self::Gzip),
            "zstd" => level(3, 22).map(Self::Zstd),
            _ => Err(error()),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gzip(level) => write!(f, "gzip:{level}"),
            Self::Zstd(level) => write!(f, "zstd:{level}"),
        }
    }
}

/// A number of bytes: `30MB`, `28.5MiB`, `31457280`. Decimal units are powers of 1000, `Ki`, `Mi`, … of 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = ValueError;

    fn from_str(s: &str) -> Result<Self, ValueError> {
        let error = || ValueError::new("a size such as 30MB (millions of bytes), 28.5MiB or 31457280", s);
        let unit_at = s.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(s.len());
        let (number, unit) = (&s[..unit_at], s[unit_at..].trim_start());
        let factor: u64 = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "kb" => 1000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            "kib" => 1 << 10,
            "mib" => 1 << 20,
            "gib" => 1 << 30,
            "tib" => 1 << 40,
            _ => return Err(error()),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if fraction.is_empty() || fraction.len() > 9 || fraction.contains('.') {
            return Err(error());
        }
        let whole: u64 = whole.parse().map_err(|_| error())?;
        let parts: u64 = fraction.parse().map_err(|_| error())?;
        // At most nine digits, so that the product fits into 128 bits. Fractions of a byte are dropped.
        let parts = u128::from(parts) * u128::from(factor) / 10_u128.pow(u32::try_from(fraction.len()).unwrap_or(9));
        let bytes = u128::from(whole) * u128::from(factor) + parts;
        u64::try_from(bytes).map(Self).map_err(|_| error())
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Where the project's dependencies come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Deps {
    /// Installed when the project has any.
    #[default]
    Auto,
    /// Taken from the app's folder, unchanged.
    Copy,
    /// Left out.
    None,
}

impl FromStr for Deps {
    type Err = ValueError;

    fn from_str(s: &str) -> Result<Self, ValueError> {
        match s {
            "auto" => Ok(Self::Auto),
            "copy" => Ok(Self::Copy),
            "none" => Ok(Self::None),
            _ => Err(ValueError::new(
                "auto (install dependencies), copy (take those that lie there) or none (leave them out)",
                s,
            )),
        }
    }
}

impl fmt::Display for Deps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Copy => "copy",
            Self::None => "none",
        })
    }
}

/// How the app is built, where the user says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildCommand {
    /// Not at all: the app's folder is taken as it is.
    None,
    /// With this command line, which a shell runs.
    Run(String),
}

impl FromStr for BuildCommand {
    type Err = ValueError;

    fn from_str(s: &str) -> Result<Self, ValueError> {
        match s.trim() {
            "" => Err(ValueError::new("a command line such as \"npm run build\", or none (build nothing)", s)),
            "none" => Ok(Self::None),
            line => Ok(Self::Run(line.to_owned())),
        }
    }
}

impl fmt::Display for BuildCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Run(line) => line,
        })
    }
}

/// A file or folder that a build makes, relative to the app's folder. `*` and `?` stand for parts of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputPath(String);

impl OutputPath {
    /// The path, without `./` before and `/` after it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for OutputPath {
    type Err = ValueError;

    fn from_str(s: &str) -> Result<Self, ValueError> {
        let path = s.trim().trim_start_matches("./").trim_end_matches('/');
        let is_below = !path.starts_with('/') && path.split('/').all(|part| !part.is_empty() && part != "..");
        if path.is_empty() || !is_below || path.contains("**") || path.chars().any(char::is_control) {
            return Err(ValueError::new("a file or folder below the app's, such as dist or packages/*/dist", s));
        }
        Ok(Self(path.to_owned()))
    }
}

impl fmt::Display for OutputPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How the app is built, where the user or the app's own file says it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildWish {
    /// The command.
    pub run: Option<BuildCommand>,
    /// The files and folders to take of what it makes; empty when the language knows.
    pub output: Vec<OutputPath>,
    /// Variables for the steps that build, which the image does not get.
    pub env: BTreeMap<String, String>,
    /// Whether one page of a site answers for every address; `None` when the framework decides.
    pub single_page: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("31457280", Some(31_457_280)),
            ("30MB", Some(30_000_000)),
            ("30 mb", Some(30_000_000)),
            ("30MiB", Some(30 << 20)),
            ("28.5MiB", Some(29_884_416)),
            ("1.000000001GB", Some(1_000_000_001)),
            ("0.0001kB", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("16777216TiB", None),
            ("30M", None),
            ("MB", None),
            (".5MB", None),
            ("1.MB", None),
            ("1.2.3MB", None),
            ("-1", None),
            ("+1", None),
            ("1e6", None),
            ("1.0000000001GB", None),
            ("", None),
        ] {
            assert_eq!(text.parse().ok(), bytes.map(Size), "{text}");
        }
    }
}
