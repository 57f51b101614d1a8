//! Settings of a container that its image asks for: folders, the stop signal, health checks.

use std::{fmt, str::FromStr, time::Duration};

use super::ValueError;

/// A folder in the image, below the app's own folder or absolute; without `.`, `..` and a `/` at its end. The app's own
/// folder is `.`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageFolder(String);

impl ImageFolder {
    /// Its absolute path, where the app lies in `workdir`.
    pub fn within(&self, workdir: &str) -> String {
        match self.0.as_str() {
            "." => workdir.to_owned(),
            path if path.starts_with('/') => path.to_owned(),
            path => format!("{}/{path}", workdir.trim_end_matches('/')),
        }
    }
}

impl FromStr for ImageFolder {
    type Err = ValueError;

    fn from_str(s: &str) -> Result<Self, ValueError> {
        let parts: Vec<&str> = s.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        let (absolute, path) = (s.starts_with('/'), parts.join("/"));
        // All of the image is what runs as root.
        if s.is_empty() || (absolute && path.is_empty()) || parts.contains(&"..") || s.contains(char::is_control) {
            return Err(ValueError::new("a folder such as uploads (in the app's) or /var/lib/app", s));
        }
        Ok(Self(match (absolute, path.is_empty()) {
            (true, _) => format!("/{path}"),
            (false, true) => ".".to_owned(),
            (false, false) => path,
        }))
    }
}

impl fmt::Display for ImageFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The signal that asks the app to end, in the form of `Config.StopSignal`: `SIGQUIT`, `SIGRTMIN+3` or a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopSignal(String);

/// signal(7): the standard signals by their numbers on x86 and ARM. They differ elsewhere; so that they are kept as names.
const SIGNALS: [(&str, i32); 31] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// The real-time signals that glibc and musl leave to programs, from the lowest to the highest.
const REAL_TIME: (i32, i32) = (34, 64);

impl StopSignal {
    /// The signal's number on x86 and ARM.
    pub fn number(&self) -> i32 {
        Self::read(&self.0).unwrap_or(15)
    }

    fn read(text: &str) -> Option<i32> {
        if let Ok(number) = text.parse::<i32>() {
            return (1..=REAL_TIME.1).contains(&number).then_some(number);
        }
        let name = text.strip_prefix("SIG").unwrap_or(text);
        let real_time = |from: &str, sign: i32, start: i32| {
            let rest = name.strip_prefix(from)?;
            let by = match rest.strip_prefix(if sign > 0 { '+' } else { '-' }) {
                Some(number) => number.parse::<u8>().ok()?,
                None if rest.is_empty() => 0,
                None => return None,
            };
            let number = start + sign * i32::from(by);
            (REAL_TIME.0..=REAL_TIME.1).contains(&number).then_some(number)
        };
        let known = SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
        known.or_else(|| real_time("RTMIN", 1, REAL_TIME.0)).or_else(|| real_time("RTMAX", -1, REAL_TIME.1))
    }
}

impl FromStr for StopSignal {
    type Err = ValueError;

    fn from_str(s: &str) -> Result<Self, ValueError> {
        let upper = s.to_ascii_uppercase();
        if Self::read(&upper).is_none() || s.starts_with('+') {
            return Err(ValueError::new("a signal such as SIGTERM, SIGQUIT or 3", s));
        }
        let is_bare = !upper.starts_with("SIG") && !upper.starts_with(|c: char| c.is_ascii_digit());
        Ok(Self(if is_bare { format!("SIG{upper}") } else { upper }))
    }
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A time span as Docker writes it: `30s`, `1m30s`, `500ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = ValueError;

    fn from_str(s: &str) -> Result<Self, ValueError> {
        let error = || ValueError::new("a time such as 30s, 1m30s or 500ms", s);
        let (mut rest, mut total) = (s, Duration::ZERO);
        while !rest.is_empty() {
            let unit_at = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
            let number: u32 = rest[..unit_at].parse().map_err(|_| error())?;
            rest = &rest[unit_at..];
            let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
            let unit = match &rest[..end] {
                "ms" => Duration::from_millis(1),
                "s" => Duration::from_secs(1),
                "m" => Duration::from_secs(60),
                "h" => Duration::from_secs(3600),
                _ => return Err(error()),
            };
            total = unit.checked_mul(number).and_then(|part| total.checked_add(part)).ok_or_else(error)?;
            rest = &rest[end..];
        }
        // Docker takes none below a millisecond, and counts in 63 bits of nanoseconds.
        let fits = total >= Duration::from_millis(1) && i64::try_from(total.as_nanos()).is_ok();
        if fits { Ok(Self(total)) } else { Err(error()) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.as_millis(), self.0.subsec_millis()) {
            (_, 0) => write!(f, "{}s", self.0.as_secs()),
            (all, _) => write!(f, "{all}ms"),
        }
    }
}

/// The times of files in the image, `--timestamps`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Timestamps {
    /// [`FIXED`] for all.
    #[default]
    Fixed,
    /// For the app's files, that of the commit that is checked out.
    Commit,
    /// For the app's files, one that is derived from each file's content.
    Content,
    /// These seconds since 1970 for all.
    At(u64),
}

/// 1980-01-01T00:00:01Z in seconds since 1970. A ZIP archive has no earlier times than 1980, and 1970 is what programs
/// take for no time at all; buildpacks have the same.
pub const FIXED: u64 = 315_532_801;

impl FromStr for Timestamps {
    type Err = ValueError;

    fn from_str(s: &str) -> Result<Self, ValueError> {
        match s {
            "fixed" => Ok(Self::Fixed),
            "commit" => Ok(Self::Commit),
            "content" => Ok(Self::Content),
            // tar's headers have eleven octal digits for a time.
            _ => match s.parse() {
                Ok(seconds) if !s.starts_with('+') && seconds < 1 << 33 => Ok(Self::At(seconds)),
                _ => Err(ValueError::new("fixed, commit, content or seconds since 1970", s)),
            },
        }
    }
}

impl fmt::Display for Timestamps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed => f.write_str("fixed"),
            Self::Commit => f.write_str("commit"),
            Self::Content => f.write_str("content"),
            Self::At(seconds) => write!(f, "{seconds}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed<T: FromStr + fmt::Display>(text: &str) -> Option<String> {
        text.parse::<T>().ok().map(|value| value.to_string())
    }

    #[test]
    fn reads_folders() {
        for (text, folder, absolute) in [
            ("uploads", Some("uploads"), "/app/uploads"),
            ("./data//db/", Some("data/db"), "/app/data/db"),
            ("/var/lib/app/", Some("/var/lib/app"), "/var/lib/app"),
            (".", Some("."), "/app"),
            ("./", Some("."), "/app"),
            ("", None, ""),
            ("/", None, ""),
            ("/.", None, ""),
            ("../x", None, ""),
            ("/a/../b", None, ""),
            ("a\nb", None, ""),
        ] {
            assert_eq!(printed::<ImageFolder>(text).as_deref(), folder, "{text}");
            if let Ok(folder) = text.parse::<ImageFolder>() {
                assert_eq!(folder.within("/app"), absolute, "{text}");
            }
        }
        assert_eq!("a".parse::<ImageFolder>().expect("a folder").within("/"), "/a");
    }

    #[test]
    fn reads_signals() {
        for (text, signal, number) in [
            ("SIGTERM", Some("SIGTERM"), 15),
            ("quit", Some("SIGQUIT"), 3),
            ("3", Some("3"), 3),
            ("SIGRTMIN+3", Some("SIGRTMIN+3"), 37),
            ("rtmax-1", Some("SIGRTMAX-1"), 63),
            ("SIGRTMIN", Some("SIGRTMIN"), 34),
            ("SIGRTMIN+31", None, 0),
            ("SIGRTMIN-1", None, 0),
            ("0", None, 0),
            ("65", None, 0),
            ("+3", None, 0),
            ("SIGNONE", None, 0),
            ("", None, 0),
        ] {
            assert_eq!(printed::<StopSignal>(text).as_deref(), signal, "{text}");
            if let Ok(signal) = text.parse::<StopSignal>() {
                assert_eq!(signal.number(), number, "{text}");
            }
        }
    }

    #[test]
    fn reads_spans() {
        for (text, span) in [
            ("30s", Some("30s")),
            ("1m30s", Some("90s")),
            ("500ms", Some("500ms")),
            ("1h", Some("3600s")),
            ("1s500ms", Some("1500ms")),
            ("30", None),
            ("0s", None),
            ("s", None),
            ("-1s", None),
            ("1.5s", None),
            ("1d", None),
            ("4294967295h", None),
            ("", None),
        ] {
            assert_eq!(printed::<Span>(text).as_deref(), span, "{text}");
        }
    }

    #[test]
    fn reads_timestamps() {
        for (text, times) in [
            ("fixed", Some("fixed")),
            ("commit", Some("commit")),
            ("content", Some("content")),
            ("0", Some("0")),
            ("1700000000", Some("1700000000")),
            ("8589934592", None),
            ("+1", None),
            ("-1", None),
            ("now", None),
            ("", None),
        ] {
            assert_eq!(printed::<Timestamps>(text).as_deref(), times, "{text}");
        }
    }
}
