//! Bases of root filesystems: distributions, their releases and suites.

use std::{fmt, str::FromStr};

use super::ValueError;

/// The base of a root filesystem (SPEC §2): a distribution, and whether the image gets its shell.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Base {
    /// The distribution of the packages.
    pub distribution: Distribution,
    /// Whether it starts from the distribution's base system with a shell, or from nothing: the runtime's package closure only.
    pub shell: bool,
}

/// A distribution of Linux, with its version.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Distribution {
    /// A release of Alpine.
    Alpine(Release),
    /// A suite of Debian or Ubuntu; `None` for that of this machine.
    Debian(Option<Suite>),
}

impl Distribution {
    /// Its name for users.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Alpine(_) => "Alpine",
            Self::Debian(_) => "Debian",
        }
    }

    /// The C library that its programs are linked with, in the spelling of npm and others.
    pub fn libc(&self) -> &'static str {
        match self {
            Self::Alpine(_) => "musl",
            Self::Debian(_) => "glibc",
        }
    }
}

impl Default for Base {
    /// `alpine`
    fn default() -> Self {
        Self::alpine(Release::default())
    }
}

impl Base {
    /// The names that a recipe's `[base.NAME]` can have.
    pub const NAMES: [&'static str; 3] = ["scratch", "alpine", "debian"];

    /// `scratch:RELEASE`: packages of Alpine without its base system, and without a shell.
    pub fn scratch(release: Release) -> Self {
        Self { distribution: Distribution::Alpine(release), shell: false }
    }

    /// `alpine:RELEASE`: Alpine's baselayout and shell, and its packages.
    pub fn alpine(release: Release) -> Self {
        Self { distribution: Distribution::Alpine(release), shell: true }
    }

    /// `debian:SUITE`: packages of Debian or Ubuntu without a shell; `None` for this machine's own suite.
    pub fn debian(suite: Option<Suite>) -> Self {
        Self { distribution: Distribution::Debian(suite), shell: false }
    }

    /// Its name in `[base.NAME]` of a recipe.
    pub fn name(&self) -> &'static str {
        match (&self.distribution, self.shell) {
            (Distribution::Alpine(_), false) => "scratch",
            (Distribution::Alpine(_), true) => "alpine",
            (Distribution::Debian(_), _) => "debian",
        }
    }

    /// Whether it is `scratch` of some release.
    pub fn is_scratch(&self) -> bool {
        matches!((&self.distribution, self.shell), (Distribution::Alpine(_), false))
    }

    /// The base of the dev variant for images on it. Package managers need a shell, so that the dev variant of
    /// `scratch` is Alpine's, of the same release and therefore with the same runtime.
    #[must_use]
    pub fn dev(&self) -> Self {
        match &self.distribution {
            Distribution::Alpine(release) => Self::alpine(release.clone()),
            Distribution::Debian(_) => self.clone(),
        }
    }

    /// The C library that programs on it are linked with, in the spelling of npm and others.
    pub fn libc(&self) -> &'static str {
        self.distribution.libc()
    }
}

impl FromStr for Base {
    type Err = ValueError;

    fn from_str(s: &str) -> Result<Self, ValueError> {
        let error = || {
            let release = Release::default();
            let known =
                "scratch, alpine, or of another release scratch:3.22, alpine:3.22, alpine:latest-stable, alpine:edge";
            let debian = "debian, or of a given suite debian:bookworm, debian:trixie, debian:noble";
            ValueError::new(format!("a base: {known} (alpine and scratch alone are {release}); {debian}"), s)
        };
        let (name, version) = s.split_once(':').map_or((s, None), |(name, version)| (name, Some(version)));
        let release = || version.map_or(Ok(Release::default()), str::parse);
        let base = match name {
            "scratch" => release().map(Self::scratch),
            "alpine" => release().map(Self::alpine),
            "debian" => version.map(str::parse).transpose().map(Self::debian),
            _ => return Err(error()),
        };
        base.map_err(|_| error())
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match &self.distribution {
            // `scratch` of the default release never has the release in its name, which is in images and lock files.
            Distribution::Alpine(release) if !self.shell && *release == Release::default() => Ok(()),
            Distribution::Alpine(release) => write!(f, ":{release}"),
            Distribution::Debian(suite) => suite.as_ref().map_or(Ok(()), |suite| write!(f, ":{suite}")),
        }
    }
}

/// A suite of Debian or Ubuntu, by its code name (`bookworm`, `noble`) or its current status (`stable`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Suite(pub(crate) String);

impl FromStr for Suite {
    type Err = ValueError;

    fn from_str(s: &str) -> Result<Self, ValueError> {
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
        if s.bytes().all(good) && s.starts_with(|c: char| c.is_ascii_lowercase()) {
            return Ok(Self(s.to_owned()));
        }
        Err(ValueError::new("a suite of Debian or Ubuntu: bookworm, trixie, noble", s))
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A release of Alpine.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Release {
    /// `3.23`: its packages get fixes only.
    Stable {
        /// The number before the dot.
        major: u16,
        /// The number after it.
        minor: u16,
    },
    /// `latest-stable`: the newest release.
    LatestStable,
    /// `edge`: the next release, in development.
    Edge,
}

impl Default for Release {
    fn default() -> Self {
        Self::Stable { major: 3, minor: 23 }
    }
}

impl Release {
    /// Its folder in a mirror: `v3.23`, `latest-stable`, `edge`.
    pub fn branch(&self) -> String {
        match self {
            Self::Stable { .. } => format!("v{self}"),
            Self::LatestStable | Self::Edge => self.to_string(),
        }
    }
}

impl FromStr for Release {
    type Err = ValueError;

    fn from_str(s: &str) -> Result<Self, ValueError> {
        let error = || ValueError::new("a release of Alpine: 3.23, latest-stable or edge", s);
        match s {
            "edge" => Ok(Self::Edge),
            "latest-stable" => Ok(Self::LatestStable),
            _ => {
                let (major, minor) = s.strip_prefix('v').unwrap_or(s).split_once('.').ok_or_else(error)?;
                let number = |digits: &str| match digits.parse::<u16>() {
                    // `+3` and `03` parse too.
                    Ok(number) if number.to_string() == digits => Ok(number),
                    _ => Err(error()),
                };
                Ok(Self::Stable { major: number(major)?, minor: number(minor)? })
            }
        }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stable { major, minor } => write!(f, "{major}.{minor}"),
            Self::LatestStable => f.write_str("latest-stable"),
            Self::Edge => f.write_str("edge"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_bases() {
        for (text, base, branch) in [
            ("scratch", "scratch", "v3.23"),
            ("scratch:3.23", "scratch", "v3.23"),
            ("scratch:3.22", "scratch:3.22", "v3.22"),
            ("scratch:edge", "scratch:edge", "edge"),
            ("alpine", "alpine:3.23", "v3.23"),
            ("alpine:3.22", "alpine:3.22", "v3.22"),
            ("alpine:v3.9", "alpine:3.9", "v3.9"),
            ("alpine:edge", "alpine:edge", "edge"),
            ("alpine:latest-stable", "alpine:latest-stable", "latest-stable"),
            ("debian", "debian", ""),
            ("debian:bookworm", "debian:bookworm", ""),
            ("debian:noble", "debian:noble", ""),
        ] {
            let read: Base = text.parse().unwrap();
            let of_alpine = match &read.distribution {
                Distribution::Alpine(release) => release.branch(),
                Distribution::Debian(_) => String::new(),
            };
            assert_eq!((read.to_string().as_str(), of_alpine.as_str()), (base, branch));
            assert!(Base::NAMES.contains(&read.name()));
            let is_scratch = base.starts_with("scratch");
            assert_eq!((read.is_scratch(), read.shell), (is_scratch, base.starts_with("alpine")), "{base}");
            assert_eq!(read.dev().distribution, read.distribution);
            assert_eq!(read.dev().name(), if is_scratch { "alpine" } else { read.name() });
        }
        for text in [
            "",
            "fedora",
            "debian:",
            "debian:Bookworm",
            "debian:../x",
            "debian:bookworm/updates",
            "ubuntu:noble",
            "alpine:",
            "alpine:3",
            "alpine:3.23.1",
            "alpine:+3.23",
            "alpine:3.023",
            "alpine:latest",
            "scratch:",
            "scratch:x",
            "scratch:3",
            "scratch:bookworm",
            "Alpine",
        ] {
            assert!(text.parse::<Base>().is_err(), "{text}");
        }
    }
}
