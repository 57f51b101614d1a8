//! Values of an image's configuration: users, ports, variables, folders.

use std::{fmt, str::FromStr};

use super::ValueError;

/// The user that the app runs as, in the form of `Config.User` of the OCI image specification: `uid`, `uid:gid`,
/// `name`, `name:group`.
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

/// A port that the app listens on, in the form of `Config.ExposedPorts`: `8080/tcp`. `/tcp` may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// Its number, not 0.
    pub number: u16,
    /// The transport protocol.
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
    /// The part before the first `=`; never empty.
    pub key: String,
    /// The part after it.
    pub value: String,
}

impl FromStr for Pair {
    type Err = ValueError;

    fn from_str(s: &str) -> Result<Self, ValueError> {
        match s.split_once('=') {
            // A NUL would end a variable early. Keys have no reason to contain white space.
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

/// The app's folder in the image, in which it starts: absolute, without `.`, `..` and a `/` at its end.
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
    use super::*;

    #[test]
    fn reads_users() {
        let good = ["0", "1000:1000", "nonroot", "www-data:www-data", "65532:nogroup", "4294967295"];
        assert_eq!(good.map(|text| text.parse::<User>().unwrap().to_string()), good);
        for text in ["", ":", "1:", ":1", "4294967296", "1x", "-a", "a b", "a:b:c", "a/b", "1:-1"] {
            assert!(text.parse::<User>().is_err(), "{text}");
        }
        assert_eq!(User::default().to_string(), "65532:65532");
    }
}
