//! `-o docker`: loads the image into a Docker engine, over its HTTP API (Docker Engine API v1.41 and newer).
//!
//! Which engine: `DOCKER_HOST`; else the context that `DOCKER_CONTEXT` or Docker's configuration names; else the first
//! of the default sockets that exists. An image that the engine has already is given its names only.

use std::{
    io::{self, BufRead as _, BufReader, PipeReader, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use reqwest::{
    Method, StatusCode,
    blocking::{Body, Client, RequestBuilder, Response},
};
use serde::Deserialize;

use super::{Report, SinkError, docker_archive};
use crate::{
    digest::Digest,
    error::{Explain, Kind},
    image::{Artifact, Image},
    ui::Ui,
};

mod endpoint;

pub use endpoint::{Endpoint, Surroundings};

/// How long a connection to an engine may take.
const CONNECT: Duration = Duration::from_secs(10);

/// What can go wrong with a Docker engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Nothing that names an engine exists.
    #[error("no Docker engine found: tried {}", tried.join(", "))]
    None {
        /// The sockets looked for.
        tried: Vec<String>,
    },
    /// `DOCKER_HOST` or a context names an engine in a way that cannot be used.
    #[error("expected unix:///PATH or tcp://HOST:PORT from {from}, found `{found}`")]
    Host {
        /// Where the address stands.
        from: String,
        /// The address.
        found: String,
    },
    /// A file of Docker's configuration is of no use.
    #[error("cannot use {file}: {why}")]
    Config {
        /// The file.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// The engine does not answer.
    #[error("the Docker engine at {engine} does not answer: {why}")]
    Unreachable {
        /// Its address.
        engine: String,
        /// Why.
        why: String,
    },
    /// The engine refused.
    #[error("the Docker engine at {engine} cannot {what}: {why}")]
    Refused {
        /// Its address.
        engine: String,
        /// `load the image`, …
        what: String,
        /// Its words.
        why: String,
    },
    /// No image for the engine's platform.
    #[error("the Docker engine runs on {engine}, and the image is for {}", platforms.join(", "))]
    Platform {
        /// The engine's platform.
        engine: String,
        /// Those that there are.
        platforms: Vec<String>,
    },
}

impl Explain for EngineError {
    fn kind(&self) -> Kind {
        match self {
            Self::None { .. } | Self::Host { .. } | Self::Config { .. } | Self::Platform { .. } => Kind::Usage,
            Self::Unreachable { .. } => Kind::Network,
            Self::Refused { .. } => Kind::Build,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::None { .. } => Some(
                "start Docker, or set DOCKER_HOST to the socket of an engine; `-o docker-archive:FILE` needs none".into(),
            ),
            Self::Host { found, .. } if found.starts_with("ssh://") => Some(
                "forward the engine's socket (`ssh -L ./docker.sock:/var/run/docker.sock HOST`) and set DOCKER_HOST to it".into(),
            ),
            Self::Host { .. } => Some("for example DOCKER_HOST=unix:///var/run/docker.sock".into()),
            Self::Unreachable { why, .. } if why.contains("ermission denied") => {
                Some("you may not use its socket: join the group that owns it (often `docker`) and log in again".into())
            }
            Self::Unreachable { .. } => {
                Some("is it running? `docker version` asks it; DOCKER_HOST names another engine".into())
            }
            Self::Platform { engine, .. } => Some(format!("build with `--platform {engine}`")),
            Self::Config { .. } | Self::Refused { .. } => None,
        }
    }
}

/// Loads `artifact` (of several platforms, the engine's) into the engine at `endpoint`, and gives it `names`.
///
/// # Errors
/// When the engine does not answer or refuses, has another platform, or a layer cannot be read or is not what its
/// digest says.
pub fn write(endpoint: &Endpoint, artifact: &Artifact, names: &[String], ui: &Ui) -> Result<Report, SinkError> {
    let engine = Engine::connect(endpoint)?;
    let image = engine.choose(artifact, ui)?;
    let tags = docker_archive::tags(names);
    let id = image.config.digest;
    // An engine with a store of its own calls an image by its configuration; one that keeps images in containerd by
    // what was loaded or pulled.
    let known = [id, image.manifest.digest].into_iter().chain(artifact.index.as_ref().map(|index| index.digest));
    let mut report = Report { names: tags.iter().cloned().collect(), ..Report::default() };
    if report.names.is_empty() {
        report.names.push(id.to_string());
    }
    for known in known {
        if engine.has(&known)? {
            for tag in &tags {
                engine.tag(&known, tag)?;
            }
            return Ok(report);
        }
    }
    engine.load(image, names, ui)?;
    report.sent = super::blobs(&Artifact { index: None, images: vec![image.clone()] });
    Ok(report)
}

/// An engine that answered.
struct Engine {
    client: Client,
    base: String,
    name: String,
}

/// What `GET /version` says of an engine.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    os: String,
    arch: String,
}

impl Engine {
    fn connect(endpoint: &Endpoint) -> Result<Self, EngineError> {
        let builder = Client::builder().no_proxy().timeout(None).connect_timeout(CONNECT).user_agent("microbuild");
        let tls = endpoint.tls()?;
        let builder = builder.tls_backend_preconfigured(tls);
        let (builder, base) = match endpoint {
            #[cfg(unix)]
            Endpoint::Unix(path) => (builder.unix_socket(path.clone()), "http://docker".to_owned()),
            #[cfg(not(unix))]
            Endpoint::Unix(path) => {
                let found = format!("unix://{}", path.display());
                return Err(EngineError::Host { from: "a system without such sockets".into(), found });
            }
            Endpoint::Tcp { address, tls: None } => (builder, format!("http://{address}")),
            Endpoint::Tcp { address, tls: Some(_) } => (builder, format!("https://{address}")),
        };
        let name = endpoint.to_string();
        let client =
            builder.build().map_err(|e| EngineError::Unreachable { engine: name.clone(), why: in_words(&e) })?;
        let engine = Self { client, base, name };
        engine.send(engine.request(Method::GET, "/_ping"), "answer a ping")?;
        Ok(engine)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    /// Sends a request whose answer must be a success.
    fn send(&self, request: RequestBuilder, what: &str) -> Result<Response, EngineError> {
        let answer = request.send().map_err(|e| self.unreachable(&e))?;
        if answer.status().is_success() { Ok(answer) } else { Err(self.refused(what, answer)) }
    }

    fn unreachable(&self, e: &reqwest::Error) -> EngineError {
        EngineError::Unreachable { engine: self.name.clone(), why: in_words(e) }
    }

    fn refused(&self, what: &str, answer: Response) -> EngineError {
        #[derive(Deserialize)]
        struct Message {
            message: String,
        }
        let status = answer.status();
        let mut text = Vec::new();
        // A body that cannot be read leaves the status to tell.
        let _ = answer.take(64 * 1024).read_to_end(&mut text);
        let why =
            serde_json::from_slice(&text).map_or_else(|_| format!("HTTP status {status}"), |m: Message| m.message);
        EngineError::Refused { engine: self.name.clone(), what: what.to_owned(), why }
    }

    /// Of several images, the one for the engine's platform.
    fn choose<'a>(&self, artifact: &'a Artifact, ui: &Ui) -> Result<&'a Image, EngineError> {
        if let [image] = &artifact.images[..] {
            return Ok(image);
        }
        let answer = self.send(self.request(Method::GET, "/version"), "say its version")?;
        let version: Version = serde_json::from_reader(answer).map_err(|e| EngineError::Refused {
            engine: self.name.clone(),
            what: "say its version".into(),
            why: e.to_string(),
        })?;
        let fits = |image: &&Image| image.platform.os == version.os && image.platform.architecture == version.arch;
        match artifact.images.iter().find(fits) {
            Some(image) => {
                ui.say(&format!("docker: loading {}, the engine's platform", image.platform));
                Ok(image)
            }
            None => Err(EngineError::Platform {
                engine: format!("{}/{}", version.os, version.arch),
                platforms: artifact.images.iter().map(|image| image.platform.to_string()).collect(),
            }),
        }
    }

    /// Whether the engine has the image of this id.
    fn has(&self, id: &Digest) -> Result<bool, EngineError> {
        let answer =
            self.request(Method::GET, &format!("/images/{id}/json")).send().map_err(|e| self.unreachable(&e))?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(false),
            status if status.is_success() => Ok(true),
            _ => Err(self.refused("look for the image", answer)),
        }
    }

    fn tag(&self, id: &Digest, name: &str) -> Result<(), EngineError> {
        let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
        let query = format!("/images/{id}/tag?repo={}&tag={}", escape(repository), escape(tag));
        self.send(self.request(Method::POST, &query), &format!("tag the image as {name}")).map(drop)
    }

    /// Streams the image's archive to the engine.
    fn load(&self, image: &Image, names: &[String], ui: &Ui) -> Result<(), SinkError> {
        let engine = &self.name;
        let (reader, writer) = io::pipe().map_err(SinkError::write(Path::new(engine)))?;
        let whole = Arc::new(AtomicBool::new(false));
        let body = Body::new(Whole { pipe: reader, whole: Arc::clone(&whole) });
        thread::scope(|scope| {
            let archive = scope.spawn(move || {
                let written = docker_archive::stream(&writer, Path::new(engine), image, names, ui);
                whole.store(written.is_ok(), Ordering::Release);
                drop(writer);
                written
            });
            let request = self.request(Method::POST, "/images/load?quiet=1").body(body);
            let request = request.header("Content-Type", "application/x-tar");
            // The engine's word counts: when it stops reading, the writing fails too, and less tellingly.
            let answer = request.send().map_err(|e| self.unreachable(&e)).and_then(|answer| self.loaded(answer));
            let written = archive.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            match (answer, written) {
                (Ok(()), Ok(())) => Ok(()),
                (Err(_), Err(e @ (SinkError::Layout(_) | SinkError::Digest { .. } | SinkError::MediaType { .. })))
                | (Ok(()), Err(e)) => Err(e),
                (Err(e), _) => Err(e.into()),
            }
        })
    }

    /// Reads the answer to a load: a line of JSON for each event, an error among them.
    fn loaded(&self, answer: Response) -> Result<(), EngineError> {
        const WHAT: &str = "load the image";
        if !answer.status().is_success() {
            return Err(self.refused(WHAT, answer));
        }
        for line in BufReader::new(answer).lines() {
            let line = line.map_err(|e| EngineError::Unreachable { engine: self.name.clone(), why: e.to_string() })?;
            if let Some(why) = failure(&line) {
                return Err(EngineError::Refused { engine: self.name.clone(), what: WHAT.into(), why });
            }
        }
        Ok(())
    }
}

/// The error in a line of an engine's progress stream, if it is one.
fn failure(line: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Event {
        error: Option<String>,
    }
    serde_json::from_str::<Event>(line).ok()?.error
}

/// The pipe's bytes; an archive that broke off does not end but fails, so that no engine takes it for whole.
struct Whole {
    pipe: PipeReader,
    whole: Arc<AtomicBool>,
}

impl Read for Whole {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.pipe.read(buf)?;
        if n == 0 && !buf.is_empty() && !self.whole.load(Ordering::Acquire) {
            return Err(io::Error::other("the archive broke off"));
        }
        Ok(n)
    }
}

/// The innermost reason of an error, which is the telling one: the outer ones say "error sending request".
fn in_words(e: &dyn std::error::Error) -> String {
    let mut innermost = e;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// `text` as a part of a URL's query.
fn escape(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/:".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_found_in_the_stream() {
        for (line, expected) in [
            (r#"{"stream":"Loaded image: app:latest\n"}"#, None),
            (r#"{"errorDetail":{"message":"no space"},"error":"no space"}"#, Some("no space")),
            ("not JSON", None),
            ("", None),
        ] {
            assert_eq!(failure(line).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn queries_are_escaped() {
        assert_eq!(escape("localhost:5000/a_b&c d"), "localhost:5000/a_b%26c%20d");
    }
}
