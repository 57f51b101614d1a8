//! The proxies and certificates of this machine, for a sandbox: its network works as this machine's does.

use std::{collections::BTreeMap, fs, io, path::PathBuf};

use crate::sandbox::{FileContent, Mount};

/// Variables that name proxies (curl(1), "ENVIRONMENT"). Some programs read the upper case, some the lower.
const PROXIES: [&str; 8] =
    ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy"];

/// The files in which systems keep all certificates that they trust: Debian and Alpine, Fedora, openSUSE, macOS.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The file of certificates in a sandbox. The variables of [`TRUST`] name it.
const CERTIFICATES: &str = "/run/microbuild/ca.pem";

/// The variables in which programs look for the file of certificates. Node adds its certificates to the built-in ones.
const TRUST: [&str; 7] = [
    "SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "CARGO_HTTP_CAINFO",
    "GIT_SSL_CAINFO",
];

/// Proxies and certificates for a sandbox.
#[derive(Debug)]
pub struct Surroundings {
    /// Variables for its environment.
    pub env: BTreeMap<String, String>,
    /// The file of certificates, as a mount.
    pub mounts: Vec<Mount>,
}

impl Surroundings {
    /// Those of this machine, whose environment `variable` reads, and the certificates in the files `ca`.
    ///
    /// # Errors
    /// When a file of certificates cannot be read; the file is named.
    pub fn of_machine(variable: impl Fn(&str) -> Option<String>, ca: &[PathBuf]) -> io::Result<Self> {
        let given = |name: &str| variable(name).filter(|value| !value.is_empty());
        let mut env: BTreeMap<_, _> =
            PROXIES.into_iter().filter_map(|name| Some((name.to_owned(), given(name)?))).collect();
        let own = given("SSL_CERT_FILE").map(PathBuf::from);
        let own = own.or_else(|| BUNDLES.into_iter().map(PathBuf::from).find(|path| path.is_file()));
        let mut files: Vec<PathBuf> = own.into_iter().collect();
        for more in given("NODE_EXTRA_CA_CERTS").map(PathBuf::from).iter().chain(ca) {
            if !files.contains(more) {
                files.push(more.clone());
            }
        }
        if files.is_empty() {
            return Ok(Self { env, mounts: Vec::new() });
        }
        env.extend(TRUST.map(|name| (name.to_owned(), CERTIFICATES.to_owned())));
        let content = FileContent(join(&files)?);
        Ok(Self { env, mounts: vec![Mount::File { content, target: CERTIFICATES.to_owned() }] })
    }
}

/// The contents of all files, concatenated.
fn join(files: &[PathBuf]) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    for path in files {
        let text = fs::read(path).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
        all.extend(text);
        all.push(b'\n');
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_and_certificates_are_those_of_the_machine() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let file = |name: &str| {
            let path = dir.path().join(name);
            fs::write(&path, name).expect("a file");
            path
        };
        let (own, node, ca) = (file("own"), file("node"), file("ca"));
        let variable = |name: &str| match name {
            "SSL_CERT_FILE" => Some(own.display().to_string()),
            "NODE_EXTRA_CA_CERTS" => Some(node.display().to_string()),
            "https_proxy" => Some("http://proxy.example:3128".to_owned()),
            "HTTP_PROXY" => Some(String::new()),
            "HOME" => Some("/home/me".to_owned()),
            _ => None,
        };
        let surroundings = Surroundings::of_machine(variable, &[ca, own.clone()]).expect("readable");
        assert_eq!(surroundings.env["https_proxy"], "http://proxy.example:3128");
        assert_eq!(surroundings.env.len(), 1 + TRUST.len(), "{:?}", surroundings.env);
        let [Mount::File { content, target }] = &surroundings.mounts[..] else { panic!("one file") };
        assert_eq!(
            (&content.0[..], target.as_str()),
            (
                &b"own
node
ca
"[..],
                CERTIFICATES
            )
        );

        let missing = dir.path().join("missing");
        let error = Surroundings::of_machine(|_| None, &[missing]).expect_err("no such file");
        assert!(error.to_string().contains("missing"), "{error}");
    }
}
