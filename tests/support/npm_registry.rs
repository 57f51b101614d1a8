//! A registry of npm packages that wants a token: one package, served to whoever has the token, directly or as a proxy.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use super::run;

/// What a client must send as `Authorization: Bearer …`.
pub const TOKEN: &str = "npm_0123456789abcdefTOKEN";

/// The registry; it serves for as long as the test process lives.
pub struct NpmRegistry {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl NpmRegistry {
    /// Starts it; its package `treasure` exports the number 42.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, tarball) = (Arc::clone(&requests), tarball());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, tarball) = (Arc::clone(&seen), tarball.clone());
                // A client that went away is no business of a server's.
                thread::spawn(move || answer(&stream, &tarball, &seen));
            }
        });
        Self { port, requests }
    }

    /// Its port on the loopback address.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The targets of the requests so far: paths, or addresses when it was used as a proxy.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn answer(mut stream: &TcpStream, tarball: &[u8], seen: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let target = line.split(' ').nth(1)?.to_owned();
    let (mut token, mut host) = (false, String::new());
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => token = value.trim() == format!("Bearer {TOKEN}"),
            "host" => value.trim().clone_into(&mut host),
            _ => {}
        }
    }
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(target.clone());
    let (status, body) = if !token {
        ("401 Unauthorized", b"{\"error\":\"who are you?\"}".to_vec())
    } else if target.ends_with(".tgz") {
        ("200 OK", tarball.to_vec())
    } else if target.ends_with("/treasure") {
        let version =
            r#"{"name":"treasure","version":"1.0.0","dist":{"tarball":"http://HOST/treasure/-/treasure-1.0.0.tgz"}}"#;
        let package = r#"{"name":"treasure","dist-tags":{"latest":"1.0.0"},"versions":{"1.0.0":VERSION}}"#;
        ("200 OK", package.replace("VERSION", version).replace("HOST", &host).into_bytes())
    } else {
        ("404 Not Found", b"{}".to_vec())
    };
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).ok()
}

fn tarball() -> Vec<u8> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let package = dir.path().join("package");
    std::fs::create_dir(&package).expect("a folder");
    std::fs::write(package.join("package.json"), r#"{"name": "treasure", "version": "1.0.0"}"#).expect("a file");
    std::fs::write(package.join("index.js"), "module.exports = 42;\n").expect("a file");
    let file = dir.path().join("package.tgz");
    run(Command::new("tar").arg("-C").arg(dir.path()).arg("-czf").arg(&file).arg("package")).succeeds();
    std::fs::read(file).expect("a tarball")
}
