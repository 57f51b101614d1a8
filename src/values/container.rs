//! The options of a container that `microbuild run` starts: volumes and published ports.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use super::ValueError;

/// `-v SOURCE:TARGET[:ro]`: a file or folder of this machine in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// On this machine.
    pub source: PathBuf,
    /// In the container; absolute.
    pub target: String,
    /// Whether the container may write to it.
    pub writable: bool,
}

impl FromStr for Volume {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let error = || ValueError::new("SOURCE:/TARGET or SOURCE:/TARGET:ro", text);
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, writable) = match parts[..] {
            [source, target] | [source, target, "rw"] => (source, target, true),
            [source, target, "ro"] => (source, target, false),
            _ => return Err(error()),
        };
        let steps_out = target.split('/').any(|part| part == "..");
        if source.is_empty() || !target.starts_with('/') || steps_out || target.trim_matches('/').is_empty() {
            return Err(error());
        }
        Ok(Self { source: source.into(), target: format!("/{}", target.trim_matches('/')), writable })
    }
}

impl fmt::Display for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}{}", self.source.display(), self.target, if self.writable { "" } else { ":ro" })
    }
}

/// `-p [[ADDRESS:]HOST-PORT:]PORT`: the address of this machine that is forwarded to a port of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish {
    /// On this machine.
    pub host: SocketAddr,
    /// The port on which the app listens.
    pub container: u16,
}

impl FromStr for Publish {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let error = || ValueError::new("PORT, HOST-PORT:PORT or ADDRESS:HOST-PORT:PORT (TCP)", text);
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port != 0 && !text.starts_with('+'));
        let plain = text.strip_suffix("/tcp").unwrap_or(text);
        let (rest, container) = plain.rsplit_once(':').map_or((None, plain), |(rest, port)| (Some(rest), port));
        let container = port(container).ok_or_else(error)?;
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let host = match rest {
            None => SocketAddr::new(any, container),
            Some(rest) => match rest.rsplit_once(':') {
                None => SocketAddr::new(any, port(rest).ok_or_else(error)?),
                Some((address, number)) => {
                    let address = address.trim_start_matches('[').trim_end_matches(']');
                    SocketAddr::new(address.parse().map_err(|_| error())?, port(number).ok_or_else(error)?)
                }
            },
        };
        Ok(Self { host, container })
    }
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.container)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes() {
        for (text, expected) in [
            ("data:/srv", Some("data:/srv")),
            ("/a/b:/c/d/:ro", Some("/a/b:/c/d:ro")),
            (".:/app:rw", Some(".:/app")),
            ("data", None),
            (":/srv", None),
            ("data:srv", None),
            ("data:/", None),
            ("data:/a/../etc", None),
            ("data:/srv:z", None),
            ("a:/b:/c:ro", None),
        ] {
            assert_eq!(text.parse::<Volume>().ok().map(|volume| volume.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn ports() {
        for (text, expected) in [
            ("3000", Some("0.0.0.0:3000:3000")),
            ("8080:3000/tcp", Some("0.0.0.0:8080:3000")),
            ("127.0.0.1:8080:3000", Some("127.0.0.1:8080:3000")),
            ("[::1]:8080:3000", Some("[::1]:8080:3000")),
            ("0", None),
            ("+80", None),
            ("80:", None),
            ("80/udp", None),
            ("host:80:80", None),
            ("65536", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<Publish>().ok().map(|publish| publish.to_string()).as_deref(), expected, "{text}");
        }
    }
}
