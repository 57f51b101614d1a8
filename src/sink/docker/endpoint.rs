//! Which Docker engine is meant, as Docker's own command line decides it.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
};
use serde::Deserialize;

use super::EngineError;
use crate::{digest::Digest, host::Host};

/// Where an engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// On a socket.
    Unix(PathBuf),
    /// On a port.
    Tcp {
        /// `HOST:PORT`.
        address: String,
        /// TLS, where it is spoken.
        tls: Option<Tls>,
    },
}

/// How TLS is spoken with an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The folder of `ca.pem`, `cert.pem` and `key.pem`; each may be missing.
    pub folder: PathBuf,
    /// Whether the engine's certificate is checked.
    pub verify: bool,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { address, .. } => write!(f, "tcp://{address}"),
        }
    }
}

/// What decides which engine is meant: a few variables of the environment. Empty ones are as good as none.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// `DOCKER_HOST`.
    pub host: Option<String>,
    /// `DOCKER_CONTEXT`.
    pub context: Option<String>,
    /// Whether `DOCKER_TLS_VERIFY` is set.
    pub tls_verify: bool,
    /// Whether `DOCKER_TLS` is set.
    pub tls: bool,
    /// `DOCKER_CERT_PATH`.
    pub cert_path: Option<PathBuf>,
    /// `DOCKER_CONFIG`, or `~/.docker`.
    pub config: Option<PathBuf>,
    /// The sockets that are looked for when nothing names one.
    pub sockets: Vec<PathBuf>,
}

impl Surroundings {
    /// Those of `host`.
    pub fn of_host(host: &Host) -> Self {
        let var = |name| host.variable_os(name).filter(|value| !value.is_empty());
        let text = |name| var(name).map(|value| value.to_string_lossy().into_owned());
        let home = var("HOME").map(PathBuf::from);
        let rootless = var("XDG_RUNTIME_DIR").map(|dir| Path::new(&dir).join("docker.sock"));
        let desktop = home.as_ref().map(|home| home.join(".docker/run/docker.sock"));
        let system = Some(PathBuf::from("/var/run/docker.sock"));
        Self {
            host: text("DOCKER_HOST"),
            context: text("DOCKER_CONTEXT"),
            tls_verify: var("DOCKER_TLS_VERIFY").is_some(),
            tls: var("DOCKER_TLS").is_some(),
            cert_path: var("DOCKER_CERT_PATH").map(PathBuf::from),
            config: var("DOCKER_CONFIG").map(PathBuf::from).or_else(|| home.map(|home| home.join(".docker"))),
            sockets: [system, rootless, desktop].into_iter().flatten().collect(),
        }
    }
}

/// What is needed of `config.json`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    current_context: Option<String>,
}

/// What is needed of a context's `meta.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Context {
    endpoints: Endpoints,
}

#[derive(Deserialize)]
struct Endpoints {
    docker: Option<ContextEndpoint>,
}

#[derive(Deserialize)]
struct ContextEndpoint {
    #[serde(rename = "Host", default)]
    host: String,
    #[serde(rename = "SkipTLSVerify", default)]
    skip_tls_verify: bool,
}

impl Endpoint {
    /// The engine that the environment of `host` and Docker's configuration name, or the first default socket that
    /// exists.
    ///
    /// # Errors
    /// When none is found, or what names it is of no use.
    pub fn of_host(host: &Host) -> Result<Self, EngineError> {
        Self::find(&Surroundings::of_host(host))
    }

    /// The engine that `surroundings` name.
    ///
    /// # Errors
    /// As [`of_host`](Self::of_host).
    pub fn find(surroundings: &Surroundings) -> Result<Self, EngineError> {
        if let Some(host) = &surroundings.host {
            let folder = || surroundings.cert_path.clone().or_else(|| surroundings.config.clone()).unwrap_or_default();
            let tls = (surroundings.tls_verify || surroundings.tls)
                .then(|| Tls { folder: folder(), verify: surroundings.tls_verify });
            return Self::parse(host, "DOCKER_HOST", tls);
        }
        if let Some(found) = from_context(surroundings)? {
            return Ok(found);
        }
        let exists = |socket: &&PathBuf| socket.exists();
        surroundings.sockets.iter().find(exists).map(|socket| Self::Unix(socket.clone())).ok_or_else(|| {
            let tried = surroundings.sockets.iter().map(|socket| socket.display().to_string()).collect();
            EngineError::None { tried }
        })
    }

    fn parse(host: &str, from: &str, tls: Option<Tls>) -> Result<Self, EngineError> {
        let bad = || EngineError::Host { from: from.to_owned(), found: host.to_owned() };
        let (scheme, rest) = host.split_once("://").ok_or_else(bad)?;
        if rest.is_empty() {
            return Err(bad());
        }
        match scheme {
            "unix" => Ok(Self::Unix(PathBuf::from(rest))),
            "tcp" | "http" | "https" => {
                let tls = if scheme == "https" {
                    tls.or_else(|| Some(Tls { folder: PathBuf::new(), verify: true }))
                } else {
                    tls
                };
                let address = rest.trim_end_matches('/');
                // IANA's ports for Docker, as its command line fills them in.
                let port = if tls.is_some() { 2376 } else { 2375 };
                let has_port = address.rsplit(']').next().is_some_and(|last| last.contains(':'));
                let address = if has_port { address.to_owned() } else { format!("{address}:{port}") };
                let parts = reqwest::Url::parse(&format!("http://{address}")).map_err(|_| bad())?;
                if parts.path() == "/" && parts.query().is_none() && parts.username().is_empty() {
                    Ok(Self::Tcp { address, tls })
                } else {
                    Err(bad())
                }
            }
            _ => Err(bad()),
        }
    }

    /// The TLS configuration for this engine. (For one without TLS too: the HTTP client wants one.)
    pub(super) fn tls(&self) -> Result<ClientConfig, EngineError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|e| EngineError::Config { file: "TLS".into(), why: e.to_string() })?;
        let mut roots = RootCertStore::empty();
        let Self::Tcp { tls: Some(Tls { folder, verify }), .. } = self else {
            return Ok(builder.with_root_certificates(roots).with_no_client_auth());
        };
        let ca = folder.join("ca.pem");
        let bad = |file: &Path, why: &dyn fmt::Display| EngineError::Config {
            file: file.display().to_string(),
            why: why.to_string(),
        };
        let builder = if *verify {
            for certificate in CertificateDer::pem_file_iter(&ca).map_err(|e| bad(&ca, &e))? {
                let certificate = certificate.map_err(|e| bad(&ca, &e))?;
                roots.add(certificate).map_err(|e| bad(&ca, &e))?;
            }
            builder.with_root_certificates(roots)
        } else {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        };
        let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        if !cert.exists() && !key.exists() {
            return Ok(builder.with_no_client_auth());
        }
        let chain = CertificateDer::pem_file_iter(&cert).and_then(Iterator::collect).map_err(|e| bad(&cert, &e))?;
        let private = PrivateKeyDer::from_pem_file(&key).map_err(|e| bad(&key, &e))?;
        builder.with_client_auth_cert(chain, private).map_err(|e| bad(&key, &e))
    }
}

/// The engine of Docker's current context (`docker context use`); `None` for the default one.
fn from_context(surroundings: &Surroundings) -> Result<Option<Endpoint>, EngineError> {
    let Some(folder) = &surroundings.config else { return Ok(None) };
    let name = match &surroundings.context {
        Some(name) => Some(name.clone()),
        None => {
            let file = folder.join("config.json");
            // Most users have none.
            let config = if file.exists() { read::<Config>(&file)? } else { Config { current_context: None } };
            config.current_context.filter(|name| !name.is_empty())
        }
    };
    let Some(name) = name.filter(|name| name != "default") else { return Ok(None) };
    let id = Digest::of(&name).hex();
    let meta = folder.join("contexts/meta").join(&id).join("meta.json");
    let from = format!("the Docker context `{name}`");
    let context: Context = read(&meta)?;
    let Some(docker) = context.endpoints.docker else {
        return Err(EngineError::Host { from, found: String::new() });
    };
    let certificates = folder.join("contexts/tls").join(id).join("docker");
    let tls = (certificates.is_dir() || docker.skip_tls_verify)
        .then_some(Tls { folder: certificates, verify: !docker.skip_tls_verify });
    Endpoint::parse(&docker.host, &from, tls).map(Some)
}

fn read<T: for<'a> Deserialize<'a>>(file: &Path) -> Result<T, EngineError> {
    let bad = |why: String| EngineError::Config { file: file.display().to_string(), why };
    let bytes = fs::read(file).map_err(|e| bad(e.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))
}

/// Takes any certificate: what the user of `DOCKER_TLS` without `DOCKER_TLS_VERIFY` asks for.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(address: &str, tls: Option<Tls>) -> Endpoint {
        Endpoint::Tcp { address: address.into(), tls }
    }

    #[test]
    fn hosts_are_read_as_docker_reads_them() {
        for (host, expected) in [
            ("unix:///run/x.sock", Some(Endpoint::Unix("/run/x.sock".into()))),
            ("tcp://10.0.0.1:4000", Some(tcp("10.0.0.1:4000", None))),
            ("tcp://engine", Some(tcp("engine:2375", None))),
            ("tcp://[::1]:1/", Some(tcp("[::1]:1", None))),
            ("tcp://[::1]", Some(tcp("[::1]:2375", None))),
            ("https://engine", Some(tcp("engine:2376", Some(Tls { folder: "".into(), verify: true })))),
            ("tcp://engine/path", None),
            ("tcp://me@engine", None),
            ("unix://", None),
            ("ssh://me@engine", None),
            ("engine:2375", None),
        ] {
            assert_eq!(Endpoint::parse(host, "DOCKER_HOST", None).ok(), expected, "{host}");
        }
    }

    #[test]
    fn host_then_context_then_sockets() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let socket = dir.path().join("docker.sock");
        fs::write(&socket, "").expect("write");
        let mut surroundings = Surroundings {
            config: Some(dir.path().to_owned()),
            sockets: vec![dir.path().join("none"), socket.clone()],
            ..Surroundings::default()
        };
        let find = |surroundings: &Surroundings| Endpoint::find(surroundings).map_err(|e| e.to_string());
        assert_eq!(find(&surroundings), Ok(Endpoint::Unix(socket)));

        let meta = dir.path().join("contexts/meta").join(Digest::of("mine").hex());
        fs::create_dir_all(&meta).expect("folder");
        fs::write(meta.join("meta.json"), r#"{"Name":"mine","Endpoints":{"docker":{"Host":"tcp://mine:1"}}}"#)
            .expect("write");
        fs::write(dir.path().join("config.json"), r#"{"currentContext":"mine"}"#).expect("write");
        assert_eq!(find(&surroundings), Ok(tcp("mine:1", None)));

        surroundings.context = Some("other".into());
        assert!(find(&surroundings).is_err_and(|e| e.contains("meta.json")));

        surroundings.host = Some("tcp://named:2".into());
        surroundings.tls_verify = true;
        let tls = Tls { folder: dir.path().to_owned(), verify: true };
        assert_eq!(find(&surroundings), Ok(tcp("named:2", Some(tls))));
    }
}
