//! The values of build options: one type each, `FromStr` for flags, environment and TOML alike, `Display` back again.

use std::{fmt, str::FromStr};

/// A text that is not such a value: what was expected, what was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found `{found}`")]
pub struct ValueError {
    expected: String,
    found: String,
}

impl ValueError {
    pub(crate) fn new(expected: impl Into<String>, found: &str) -> Self {
        Self { expected: expected.into(), found: found.to_owned() }
    }
}

/// How layers made here are compressed: `gzip` or `zstd`, with a level when `:LEVEL` follows.
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
        // At most nine digits, so that the product fits 128 bits with room to spare; what is left of a byte is dropped.
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

/// Where the root filesystem starts (SPEC §2): a distribution, and whether the image gets its shell.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Base {
    /// Whose packages the root filesystem is made of.
    pub distribution: Distribution,
    /// Whether it starts from the distribution's base system with a shell, or from nothing: the runtime's package closure only.
    pub shell: bool,
}

/// A distribution of Linux, and which of its versions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Distribution {
    /// A release of Alpine.
    Alpine(Release),
    /// A suite of Debian or Ubuntu; `None` for that of this machine.
    Debian(Option<Suite>),
}

impl Distribution {
    /// Its name, as people write it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Alpine(_) => "Alpine",
            Self::Debian(_) => "Debian",
        }
    }

    /// The C library that its programs are linked with, as npm and others call it.
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

    /// The name that a recipe knows it by, in `[base.NAME]`.
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

    /// The base of the dev variant for images on it: package managers want a shell, so that the dev variant of `scratch` is
    /// Alpine's, of the same release and hence with the same runtime.
    #[must_use]
    pub fn dev(&self) -> Self {
        match &self.distribution {
            Distribution::Alpine(release) => Self::alpine(release.clone()),
            Distribution::Debian(_) => self.clone(),
        }
    }

    /// The C library that programs on it are linked with, as npm and others call it.
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
            // `scratch` of the default release never had it in its name, which images and lock files bear.
            Distribution::Alpine(release) if !self.shell && *release == Release::default() => Ok(()),
            Distribution::Alpine(release) => write!(f, ":{release}"),
            Distribution::Debian(suite) => suite.as_ref().map_or(Ok(()), |suite| write!(f, ":{suite}")),
        }
    }
}

/// A suite of Debian or Ubuntu, by its code name (`bookworm`, `noble`) or by what it is now (`stable`).
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
    /// `latest-stable`: whatever release is the newest.
    LatestStable,
    /// `edge`: the next release in the making.
    Edge,
}

impl Default for Release {
    fn default() -> Self {
        Self::Stable { major: 3, minor: 23 }
    }
}

impl Release {
    /// The folder of a mirror that holds it: `v3.23`, `latest-stable`, `edge`.
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

/// What becomes of the project's dependencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Deps {
    /// Installed when the project has any.
    #[default]
    Auto,
    /// Taken as they lie in the app's folder.
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

/// Whom the app runs as, as `Config.User` of the OCI image specification has it: `uid`, `uid:gid`, `name`, `name:group`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user.
    pub user: Id,
    /// The group; `None` stands for the user's own in the image's `/etc/passwd`.
    pub group: Option<Id>,
}

/// A user or group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Id {
    /// By number.
    Number(u32),
    /// By its name in the image's `/etc/passwd` or `/etc/group`.
    Name(String),
}

impl User {
    /// `0:0`.
    pub const ROOT: Self = Self { user: Id::Number(0), group: Some(Id::Number(0)) };
}

impl Default for User {
    /// `65532:65532`, `nonroot`.
    fn default() -> Self {
        Self { user: Id::Number(65532), group: Some(Id::Number(65532)) }
    }
}

impl FromStr for User {
    type Err = ValueError;

    fn from_str(s: &str) -> Result<Self, ValueError> {
        let error = || ValueError::new("a user such as 65532, 1000:1000 or nonroot", s);
        let id = |text: &str| {
            if text.starts_with(|c: char| c.is_ascii_digit()) {
                return text.parse().map(Id::Number).map_err(|_| error());
            }
            let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
            let name = !text.is_empty() && !text.starts_with('-') && text.len() <= 32 && text.chars().all(good);
            name.then(|| Id::Name(text.to_owned())).ok_or_else(error)
        };
        match s.split_once(':') {
            Some((user, group)) => Ok(Self { user: id(user)?, group: Some(id(group)?) }),
            None => Ok(Self { user: id(s)?, group: None }),
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.user)?;
        self.group.as_ref().map_or(Ok(()), |group| write!(f, ":{group}"))
    }
}

/// A port that the app listens on, as `Config.ExposedPorts` has it: `8080/tcp`. `/tcp` need not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// Its number, not 0.
    pub number: u16,
    /// What is spoken on it.
    pub protocol: Protocol,
}

/// The transport protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl FromStr for Port {
    type Err = ValueError;

    fn from_str(s: &str) -> Result<Self, ValueError> {
        let error = || ValueError::new("a port such as 8080, 8080/tcp or 53/udp", s);
        let (number, protocol) = s.split_once('/').unwrap_or((s, "tcp"));
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            _ => return Err(error()),
        };
        match number.parse() {
            // `+80` parses too.
            Ok(number) if number != 0 && !s.starts_with('+') => Ok(Self { number, protocol }),
            _ => Err(error()),
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        };
        write!(f, "{}/{protocol}", self.number)
    }
}

/// `KEY=VALUE`: a variable, a label, an annotation. The value may be empty, and hold further `=`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// What stands before the first `=`; never empty.
    pub key: String,
    /// What stands behind it.
    pub value: String,
}

impl FromStr for Pair {
    type Err = ValueError;

    fn from_str(s: &str) -> Result<Self, ValueError> {
        match s.split_once('=') {
            // A NUL ends a variable early, and no key of a table of JSON strings has a reason to hold white space.
            Some((key, value)) if !key.is_empty() && !key.contains(char::is_whitespace) && !s.contains('\0') => {
                Ok(Self { key: key.to_owned(), value: value.to_owned() })
            }
            _ => Err(ValueError::new("KEY=VALUE", s)),
        }
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

/// The folder of the image that the app lies in and starts in: absolute, without `.`, `..` and a `/` at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workdir(String);

impl Workdir {
    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Workdir {
    /// `/app`
    fn default() -> Self {
        Self("/app".to_owned())
    }
}

impl FromStr for Workdir {
    type Err = ValueError;

    fn from_str(s: &str) -> Result<Self, ValueError> {
        let parts: Vec<&str> = s.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if !s.starts_with('/') || parts.contains(&"..") || s.contains(char::is_control) {
            return Err(ValueError::new("an absolute path such as /app", s));
        }
        Ok(Self(format!("/{}", parts.join("/"))))
    }
}

impl fmt::Display for Workdir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What `texts` parse to, printed; `-` for what is refused.
    fn printed<T: FromStr<Err: fmt::Display> + fmt::Display>(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| text.parse::<T>().map_or("-".into(), |value| value.to_string())).collect()
    }

    #[test]
    fn reads_compression() {
        let texts =
            ["gzip", "gzip:1", "gzip:12", "zstd", "zstd:19", "gzip:0", "gzip:13", "zstd:23", "gzip:", "xz", "", "Gzip"];
        let read = ["gzip:6", "gzip:1", "gzip:12", "zstd:3", "zstd:19", "-", "-", "-", "-", "-", "-", "-"];
        assert_eq!(printed::<Compression>(&texts), read);
    }

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

    #[test]
    fn reads_users() {
        let good = ["0", "1000:1000", "nonroot", "www-data:www-data", "65532:nogroup", "4294967295"];
        assert_eq!(printed::<User>(&good), good);
        for text in ["", ":", "1:", ":1", "4294967296", "1x", "-a", "a b", "a:b:c", "a/b", "1:-1"] {
            assert!(text.parse::<User>().is_err(), "{text}");
        }
        assert_eq!(User::default().to_string(), "65532:65532");
    }

    #[test]
    fn reads_ports() {
        let texts =
            ["8080", "8080/tcp", "53/udp", "1/sctp", "65535", "0", "65536", "+80", "", "80/", "80/http", "80:80"];
        let read = ["8080/tcp", "8080/tcp", "53/udp", "1/sctp", "65535/tcp", "-", "-", "-", "-", "-", "-", "-"];
        assert_eq!(printed::<Port>(&texts), read);
    }

    #[test]
    fn reads_pairs_deps_and_work_directories() {
        assert_eq!(
            printed::<Pair>(&["A=1", "A=", "A=b=c", "a.b/c=x y", "A", "=1", "A B=1", "A=\0", ""]),
            ["A=1", "A=", "A=b=c", "a.b/c=x y", "-", "-", "-", "-", "-"]
        );
        assert_eq!(printed::<Deps>(&["auto", "copy", "none", "", "Copy"]), ["auto", "copy", "none", "-", "-"]);
        assert_eq!(
            printed::<Workdir>(&["/app", "/", "//srv/./app/", "app", "", "/a/../b", "/a\nb"]),
            ["/app", "/", "/srv/app", "-", "-", "-", "-"]
        );
    }

    #[test]
    fn messages_say_what_is_there() {
        let messages = [
            "brotli".parse::<Compression>().unwrap_err(),
            "30 M".parse::<Size>().unwrap_err(),
            "fedora".parse::<Base>().unwrap_err(),
            "scratch:x".parse::<Base>().unwrap_err(),
            "3".parse::<Release>().unwrap_err(),
            "yes".parse::<Deps>().unwrap_err(),
            "a b".parse::<User>().unwrap_err(),
            "http".parse::<Port>().unwrap_err(),
            "PORT".parse::<Pair>().unwrap_err(),
            "app".parse::<Workdir>().unwrap_err(),
        ];
        insta::assert_snapshot!(messages.map(|message| message.to_string()).join("\n"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn never_panics(text in any::<String>()) {
            let _ = (text.parse::<Compression>(), text.parse::<Size>(), text.parse::<Base>(), text.parse::<Deps>());
            let _ = (text.parse::<User>(), text.parse::<Port>(), text.parse::<Pair>(), text.parse::<Workdir>());
        }

        #[test]
        fn prints_what_it_reads(text in "[a-z0-9:/.=-]{1,12}") {
            fn same<T: FromStr<Err: fmt::Debug> + fmt::Display + PartialEq + fmt::Debug>(text: &str) {
                if let Ok(value) = text.parse::<T>() {
                    assert_eq!(value.to_string().parse::<T>().unwrap(), value);
                }
            }
            same::<Compression>(&text);
            same::<Size>(&text);
            same::<Base>(&text);
            same::<User>(&text);
            same::<Port>(&text);
            same::<Pair>(&text);
            same::<Workdir>(&text);
        }
    }
}
