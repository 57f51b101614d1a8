//! Debian's docker-registry on a free loopback port: with a password, and with TLS under a private CA, where a test wants so.

use std::{
    fs, io,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use microbuild::internals::digest::Digest;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Process, free_port, tools, wait_for};

/// The user whom a registry with authentication knows.
pub const USER: &str = "me";
/// That user's password.
pub const PASSWORD: &str = "correct:horse";
/// An htpasswd line for both: bcrypt, which docker-registry insists on and no tool here makes.
const HTPASSWD: &str = "me:$2y$05$abcdefghijklmnopqrstuuto9TfiXPqFaPFSnWZR02c4ScFTB3OSG\n";

/// What a registry is to have.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wishes {
    /// Basic authentication.
    pub auth: bool,
    /// TLS, with a certificate of a CA that nobody knows.
    pub tls: bool,
}

/// A running registry; it stops with this value, and what it holds is gone.
pub struct DockerRegistry {
    // Before the folder, which it writes to.
    _process: Process,
    dir: TempDir,
    port: u16,
}

impl DockerRegistry {
    /// Starts one, or skips the calling test and returns `None` when there is none on this machine.
    #[track_caller]
    pub fn start(wishes: Wishes) -> Option<Self> {
        let [program] = tools(["docker-registry"])?;
        let dir = tempfile::tempdir().expect("a temporary folder");
        if wishes.tls {
            write_certificates(dir.path());
        }
        fs::write(dir.path().join("htpasswd"), HTPASSWD).expect("a file");
        // Another process may take the port before the registry does.
        for _ in 0..5 {
            let port = free_port();
            let config = dir.path().join("config.yml");
            fs::write(&config, config_of(dir.path(), port, wishes).to_string()).expect("a file");
            let mut process = serve(&program, &config, dir.path()).expect("docker-registry starts");
            let up = wait_for(Duration::from_secs(30), || {
                let up = TcpStream::connect(("127.0.0.1", port)).is_ok();
                (up || process.ended().is_some()).then_some(up)
            });
            if up == Some(true) && process.ended().is_none() {
                return Some(Self { _process: process, dir, port });
            }
        }
        let log = fs::read_to_string(dir.path().join("log")).unwrap_or_default();
        panic!("docker-registry does not start:\n{log}");
    }

    /// The registry as references name it: `127.0.0.1:PORT`.
    pub fn name(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The port on which it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The file that holds the blob of this digest.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        let blobs = self.dir.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }

    /// The certificate of its CA, with TLS.
    pub fn ca(&self) -> PathBuf {
        self.dir.path().join("ca/ca.crt")
    }
}

fn serve(program: &Path, config: &Path, dir: &Path) -> io::Result<Process> {
    let log = fs::File::create(dir.join("log"))?;
    let mut command = Command::new(program);
    command.arg("serve").arg(config).env_clear().current_dir(dir).stdout(log.try_clone()?).stderr(log);
    Process::spawn(command.stdin(Stdio::null()))
}

/// The configuration; JSON is YAML.
fn config_of(dir: &Path, port: u16, wishes: Wishes) -> Value {
    let mut config = json!({
        "version": "0.1",
        "log": { "level": "warn" },
        "storage": { "filesystem": { "rootdirectory": dir.join("data") } },
        "http": { "addr": format!("127.0.0.1:{port}"), "secret": "for tests" },
    });
    if wishes.tls {
        config["http"]["tls"] = json!({ "certificate": dir.join("server.crt"), "key": dir.join("server.key") });
    }
    if wishes.auth {
        config["auth"] = json!({ "htpasswd": { "realm": "tests", "path": dir.join("htpasswd") } });
    }
    config
}

/// `ca/ca.crt`, `server.crt` and `server.key`.
fn write_certificates(dir: &Path) {
    let mut ca = CertificateParams::new(Vec::new()).expect("parameters");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, "microbuild's tests");
    let ca_key = KeyPair::generate().expect("a key");
    let ca_certificate = ca.self_signed(&ca_key).expect("a certificate");
    let issuer = Issuer::new(ca, ca_key);
    let server = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()]).expect("parameters");
    let server_key = KeyPair::generate().expect("a key");
    let certificate = server.signed_by(&server_key, &issuer).expect("a certificate");
    fs::create_dir(dir.join("ca")).expect("a folder");
    for (path, text) in [
        ("ca/ca.crt", ca_certificate.pem()),
        ("server.crt", certificate.pem()),
        ("server.key", server_key.serialize_pem()),
    ] {
        fs::write(dir.join(path), text).expect("a file");
    }
}
