//! Which way leads to a server.

use std::net::IpAddr;

use reqwest::Url;

/// Whether `host` (a name, an IPv4 address, or an IPv6 address with or without brackets) is this machine itself.
pub fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// The ways to a server for which a client is set up when it is first needed: reading a machine's CA bundle takes
/// longer than a push to a registry on loopback that has everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Route {
    LoopbackPlain,
    LoopbackTls,
    Network,
}

impl Route {
    pub(super) fn to(url: &Url) -> Self {
        match url.host_str() {
            Some(host) if is_loopback(host) && url.scheme() == "http" => Self::LoopbackPlain,
            Some(host) if is_loopback(host) => Self::LoopbackTls,
            _ => Self::Network,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_hosts_are_known() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.9.8.7", "::1", "[::1]", "::ffff:127.0.0.1"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example.org", "128.0.0.1", "0.0.0.0", "[::2]", "example.org", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
