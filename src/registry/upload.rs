//! Blobs on their way into a registry (OCI distribution specification 1.1, "Pushing Blobs"): mounted from another
//! repository, sent in one piece, or in chunks. An upload that breaks goes on where the registry says that it stopped.

use std::{io, sync::Arc};

use super::{
    auth::Scope,
    blob::{Blob, Bytes},
    client::{Presence, Registry},
    error::RegistryError,
};
use crate::{
    http::{
        Body, Fault, HeaderValue, HttpError, Insecure, Method, Request, Response, Retry, Transient as _, Url,
        display_url, header,
    },
    ui::Task,
};

/// From this size on, a broken upload is resumed rather than begun again.
const WORTH_RESUMING: u64 = 1 << 20;

/// The first length of chunks, where one piece is too much for a registry; it is halved as long as it is still too
/// much.
const FIRST_CHUNK: u64 = 64 << 20;

/// Chunks are not made smaller than this.
const SMALLEST_CHUNK: u64 = 64 << 10;

/// After so many passing failures in one piece, chunks are tried: a proxy may cut or stall what is long.
const MOST_FAILURES: u32 = 2;

/// So many times an upload is begun again because the registry has forgotten it.
const MOST_FORGOTTEN: u32 = 2;

/// How a blob came into the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uploaded {
    /// Its bytes were sent.
    Sent,
    /// The registry had it in this repository of its own.
    Mounted(String),
}

/// An upload that the registry has begun.
struct Session {
    location: Url,
    /// Bytes that the registry has.
    offset: u64,
    /// `OCI-Chunk-Min-Length`.
    smallest: u64,
}

enum Begun {
    Mounted(String),
    Session(Session),
}

impl Registry {
    /// Brings a blob into `repository`: mounted from `mount`, another repository that may have it, else by sending it.
    ///
    /// # Errors
    /// When the registry cannot be reached or refuses, says that it has stored another digest, or the blob cannot be
    /// read.
    pub fn upload(
        &self,
        repository: &str,
        blob: &Blob,
        mount: Option<&str>,
        progress: &Arc<Task>,
    ) -> Result<Uploaded, RegistryError> {
        Upload {
            registry: self,
            repository,
            scope: Scope::push(repository),
            what: format!("push the blob {repository}@{}", blob.digest),
            blob,
            bytes: Bytes::of(blob, progress),
            chunk: None,
            refusal: None,
            whole_only: false,
            failures: 0,
            forgotten: 0,
        }
        .run(mount)
    }
}

struct Upload<'a> {
    registry: &'a Registry,
    repository: &'a str,
    scope: Scope,
    what: String,
    blob: &'a Blob,
    bytes: Bytes,
    /// The length of chunks, once the registry has refused the blob in one piece.
    chunk: Option<u64>,
    /// What it said to the blob in one piece; gone where chunks were refused, too.
    refusal: Option<RegistryError>,
    /// It takes no chunks.
    whole_only: bool,
    /// How often sending the blob in one piece has failed for a passing reason.
    failures: u32,
    /// How often the registry has forgotten the upload.
    forgotten: u32,
}

impl Upload<'_> {
    fn run(mut self, mut mount: Option<&str>) -> Result<Uploaded, RegistryError> {
        let mut broken: Option<Session> = None;
        let mut stuck = false;
        let mut answered: Option<String> = None;
        self.registry.http().clone().retrying(|_| {
            let done = self.attempt(&mut mount, &mut broken).map_err(|error| with_answer(error, &mut answered));
            // One that took its time once may be restarting. One that does so again holds everybody up.
            match done {
                Err(RegistryError::Http(HttpError::Transport { fault: Fault::TimedOut, what: why, .. })) if stuck => {
                    let (what, registry) = (self.what.clone(), self.registry.name().to_owned());
                    Err(RegistryError::Stuck { what, registry, why })
                }
                done => {
                    stuck = done.as_ref().is_err_and(is_timeout);
                    done
                }
            }
        })
    }

    fn attempt(&mut self, mount: &mut Option<&str>, broken: &mut Option<Session>) -> Result<Uploaded, RegistryError> {
        let resumed = broken.take().and_then(|session| self.resume(session));
        let mut session = match resumed {
            Some(session) => session,
            None => match self.begin(mount)? {
                Begun::Mounted(from) => return Ok(Uploaded::Mounted(from)),
                Begun::Session(session) => session,
            },
        };
        loop {
            match self.send(&mut session) {
                Ok(()) => return Ok(Uploaded::Sent),
                // A registry of several machines that do not know of each other's uploads.
                Err(error) if error.says("BLOB_UPLOAD_UNKNOWN") && self.forgotten < MOST_FORGOTTEN => {
                    self.forgotten += 1;
                    session = self.begin_upload()?;
                }
                Err(error) => {
                    if self.blob.size >= WORTH_RESUMING {
                        *broken = Some(session);
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Begins an upload, or has the blob mounted. A registry that cannot mount begins an upload as well (202); one that
    /// does not want to, or says so without doing it, is asked again without a mount.
    fn begin(&self, mount: &mut Option<&str>) -> Result<Begun, RegistryError> {
        let Some(from) = *mount else { return self.begin_upload().map(Begun::Session) };
        let scope = self.scope.clone().with(&Scope::pull(from).to_string());
        let path = format!("/v2/{}/blobs/uploads/?mount={}&from={from}", self.repository, self.blob.digest);
        let mounted = self
            .registry
            .send(&scope, &path, &begin_request)
            .and_then(|response| self.registry.succeeded(response, &self.what));
        match mounted {
            Ok(response) if response.status() == 201 => {
                self.registry.check_digest(&response, &self.what, &self.blob.digest)?;
                let there = self.registry.look_for_blob(self.repository, &self.blob.digest, None, &self.scope)?;
                if there != Presence::Missing {
                    return Ok(Begun::Mounted(from.to_owned()));
                }
            }
            Ok(response) if response.header(header::LOCATION).is_some() => {
                *mount = None;
                return self.session(&response).map(Begun::Session);
            }
            Ok(_) | Err(RegistryError::Refused { .. } | RegistryError::Elsewhere { .. }) => {}
            Err(error) => return Err(error),
        }
        *mount = None;
        self.begin_upload().map(Begun::Session)
    }

    fn begin_upload(&self) -> Result<Session, RegistryError> {
        let path = format!("/v2/{}/blobs/uploads/", self.repository);
        let response = self.registry.send(&self.scope, &path, &begin_request)?;
        self.session(&self.registry.succeeded(response, &self.what)?)
    }

    /// The session that `response` begins.
    fn session(&self, response: &Response) -> Result<Session, RegistryError> {
        let smallest = response.header("oci-chunk-min-length").and_then(|n| n.trim().parse().ok()).unwrap_or(0);
        let location = self.location(response)?;
        let location = location.ok_or_else(|| self.registry.protocol(&self.what, "its answer has no Location"))?;
        Ok(Session { location, offset: 0, smallest })
    }

    /// Where the next request goes, when `response` says so.
    fn location(&self, response: &Response) -> Result<Option<Url>, RegistryError> {
        let Some(header) = response.header(header::LOCATION) else { return Ok(None) };
        match next_location(response.url(), header, &|url| self.registry.http().is_insecure(url)) {
            Ok(location) => Ok(Some(location)),
            Err(Unusable::NoUrl) => Err(self.registry.protocol(&self.what, "its Location is no URL")),
            Err(Unusable::InTheClear(url)) => {
                let why = format!("asks for a layer to be sent without TLS, to {}", display_url(&url));
                Err(RegistryError::Unsafe { registry: self.registry.name().to_owned(), why, to: Insecure::of(&url) })
            }
        }
    }

    /// Asks how much of a broken upload the registry has; `None` when it is to be begun again.
    fn resume(&self, session: Session) -> Option<Session> {
        let response = self.request(&session.location, &mut |url| Ok(Request::new(Method::GET, url))).ok()?;
        let offset = received(&response)?;
        if response.status() != 204 || offset > self.blob.size {
            return None;
        }
        // `Location` is required here, but the old one remains good where it is missing.
        let location = self.location(&response).ok().flatten().unwrap_or(session.location);
        Some(Session { location, offset, smallest: session.smallest })
    }

    fn request(
        &self,
        url: &Url,
        make: &mut dyn FnMut(Url) -> Result<Request, RegistryError>,
    ) -> Result<Response, RegistryError> {
        let origin = self.registry.origin().unwrap_or_else(|| url.clone());
        self.registry.send_to(&origin, &self.scope, url, make)
    }

    fn send(&mut self, session: &mut Session) -> Result<(), RegistryError> {
        if session.offset == 0 && self.chunk.is_none() {
            let refusal = match self.commit(session, 0, self.blob.size).and_then(|response| self.finished(response)) {
                Err(error) if self.is_for_chunks(&error) => error,
                sent => return sent,
            };
            // A new session: the old one may have been given up.
            *session = self.begin_upload()?;
            let first = if refusal.status() == Some(413) { self.blob.size.div_ceil(2) } else { self.blob.size };
            self.chunk = Some(FIRST_CHUNK.min(first).max(SMALLEST_CHUNK));
            self.refusal = Some(refusal);
        }
        let sent = self.send_chunks(session);
        match (sent, self.refusal.take()) {
            // Chunks are no way around it: what was said before that counts.
            (Err(error @ (RegistryError::Refused { .. } | RegistryError::Protocol { .. })), Some(refusal))
                if error.should_retry() == Retry::Never && !error.says("BLOB_UPLOAD_UNKNOWN") =>
            {
                self.whole_only = true;
                self.chunk = None;
                Err(if is_of_method(&refusal) { error } else { refusal })
            }
            (sent, refusal) => {
                self.refusal = refusal;
                sent
            }
        }
    }

    /// Whether a blob that the registry refused in one piece is tried in chunks: it is too large, not taken in this
    /// way, or the refusal is one that registries give for no better reason. What passes is first tried again as it is.
    fn is_for_chunks(&mut self, error: &RegistryError) -> bool {
        if self.whole_only || self.blob.size == 0 || error.says("DIGEST_INVALID") {
            return false;
        }
        match error.status() {
            Some(400 | 404 | 405 | 411 | 413 | 416 | 500 | 501) => true,
            status => {
                self.failures += u32::from(error.should_retry() != Retry::Never && status != Some(429));
                self.failures > MOST_FAILURES
            }
        }
    }

    /// The PUT that ends an upload, with the last `length` bytes from `offset` on.
    fn commit(&self, session: &Session, offset: u64, length: u64) -> Result<Response, RegistryError> {
        let mut url = session.location.clone();
        url.query_pairs_mut().append_pair("digest", &self.blob.digest.to_string());
        self.request(&url, &mut |url| {
            let body = self.bytes.body(offset, length).map_err(|e| self.unreadable(e))?;
            Ok(octets(Method::PUT, url).body(body))
        })
    }

    fn finished(&self, response: Response) -> Result<(), RegistryError> {
        let response = self.registry.succeeded(response, &self.what)?;
        self.registry.check_digest(&response, &format!("a blob of {}", self.repository), &self.blob.digest)
    }

    /// All that the registry does not have yet.
    fn send_chunks(&mut self, session: &mut Session) -> Result<(), RegistryError> {
        let mut asked = false;
        while session.offset < self.blob.size {
            match self.send_chunk(session) {
                // It has more or less than it said.
                Err(error) if error.status() == Some(416) && !asked => {
                    asked = true;
                    let before = session.offset;
                    let known = Session { location: session.location.clone(), ..*session };
                    *session = self.resume(known).filter(|session| session.offset != before).ok_or(error)?;
                }
                sent => sent?,
            }
        }
        self.commit(session, 0, 0).and_then(|response| self.finished(response))
    }

    /// The next bytes with a PATCH: all that are left, or a chunk.
    fn send_chunk(&mut self, session: &mut Session) -> Result<(), RegistryError> {
        let left = self.blob.size - session.offset;
        let length = self.chunk.map_or(left, |chunk| chunk.max(session.smallest)).min(left);
        let range = format!("{}-{}", session.offset, session.offset + length - 1);
        let range = HeaderValue::from_str(&range).map_err(|e| self.registry.protocol(&self.what, e.to_string()))?;
        let response = self.request(&session.location, &mut |url| {
            let body = self.bytes.body(session.offset, length).map_err(|e| self.unreadable(e))?;
            Ok(octets(Method::PATCH, url).header(header::CONTENT_RANGE, range.clone()).body(body))
        })?;
        if response.status() == 413 && length > SMALLEST_CHUNK.max(session.smallest) {
            self.chunk = Some((length / 2).max(SMALLEST_CHUNK));
            return Ok(());
        }
        let response = self.registry.succeeded(response, &self.what)?;
        let end = session.offset + length;
        // Some say how much they took of this chunk only, or one too many, or nothing that makes sense: the digest will
        // tell.
        let offset = received(&response).filter(|offset| (session.offset + 1..end).contains(offset)).unwrap_or(end);
        if let Some(location) = self.location(&response)? {
            session.location = location;
        }
        session.offset = offset;
        Ok(())
    }

    fn unreadable(&self, source: io::Error) -> RegistryError {
        HttpError::Local { what: "read", url: format!("blob {}", self.blob.digest), source }.into()
    }
}

/// A connection that breaks says little. A proxy that answers an upload early and closes the connection may break it
/// before its answer arrives, so the error names the answer that an earlier attempt got.
fn with_answer(error: RegistryError, answered: &mut Option<String>) -> RegistryError {
    match error {
        RegistryError::Http(HttpError::Transport { url, fault: Fault::Broken, what }) => {
            let what = match answered {
                Some(answer) => format!("{what}; an earlier attempt got an answer: {answer}"),
                None => what,
            };
            RegistryError::Http(HttpError::Transport { url, fault: Fault::Broken, what })
        }
        error => {
            if error.status().is_some() {
                *answered = Some(error.to_string());
            }
            error
        }
    }
}

fn is_timeout(error: &RegistryError) -> bool {
    matches!(error, RegistryError::Http(HttpError::Transport { fault: Fault::TimedOut, .. }))
}

/// Whether a refusal says no more than that the registry takes no body with a PUT.
fn is_of_method(refusal: &RegistryError) -> bool {
    matches!(refusal.status(), Some(405 | 411 | 413 | 416 | 501))
}

/// Why a `Location` cannot be followed.
#[derive(Debug, PartialEq, Eq)]
enum Unusable {
    NoUrl,
    InTheClear(Url),
}

/// Where the next request of an upload goes, after `base` answered with `location`, which may be relative. A registry
/// behind a proxy that ends TLS often says http of its own host; it means https.
fn next_location(base: &Url, location: &str, is_insecure: &dyn Fn(&Url) -> bool) -> Result<Url, Unusable> {
    let mut next = base.join(location).map_err(|_| Unusable::NoUrl)?;
    let same_port = next.host_str() == base.host_str() && next.port_or_known_default() == base.port_or_known_default();
    if base.scheme() == "http" && next.scheme() == "https" && same_port {
        // The same server on the same port: it does not know that it is not spoken to over TLS. As below, this cannot
        // fail.
        let _ = next.set_scheme("http");
        return Ok(next);
    }
    if base.scheme() != "https" || next.scheme() == "https" {
        return if matches!(next.scheme(), "http" | "https") { Ok(next) } else { Err(Unusable::NoUrl) };
    }
    if next.scheme() == "http" && next.host_str() == base.host_str() {
        // Neither call can fail: both are URLs with hosts, and of schemes that the URL standard calls special.
        let _ = next.set_scheme("https");
        let _ = next.set_port(base.port());
        return Ok(next);
    }
    match next.scheme() {
        "http" if is_insecure(&next) => Ok(next),
        "http" => Err(Unusable::InTheClear(next)),
        _ => Err(Unusable::NoUrl),
    }
}

fn begin_request(url: Url) -> Request {
    Request::new(Method::POST, url).body(Body::Bytes(Vec::new()))
}

fn octets(method: Method, url: Url) -> Request {
    Request::new(method, url).header(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))
}

/// How many bytes the registry has, by its `Range: 0-LAST`. For nothing, some say `0-0`, which also means one byte;
/// others `0--1`.
fn received(response: &Response) -> Option<u64> {
    parse_range(response.header(header::RANGE)?)
}

fn parse_range(range: &str) -> Option<u64> {
    let range = range.trim();
    let range = range.strip_prefix("bytes").map_or(range, |range| range.trim_start_matches(['=', ' ']));
    // `bytes 0-99/200`, as in a Content-Range.
    match range.strip_prefix("0-")?.split('/').next()? {
        "0" | "-1" => Some(0),
        last => last.parse::<u64>().ok()?.checked_add(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_tell_what_arrived() {
        for (range, bytes) in [
            ("0-99", Some(100)),
            ("bytes=0-99", Some(100)),
            ("bytes 0-99/200", Some(100)),
            ("bytes 0-99/*", Some(100)),
            (" 0-1 ", Some(2)),
            ("0-0", Some(0)),
            ("0--1", Some(0)),
            ("5-9", None),
            ("0-18446744073709551615", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(parse_range(range), bytes, "{range}");
        }
    }

    #[test]
    fn locations_stay_encrypted() {
        let next = |base: &str, location: &str| {
            let base = Url::parse(base).expect("a URL");
            next_location(&base, location, &|url| url.host_str() == Some("trusted.io")).map(String::from)
        };
        let ok = |url: &str| Ok(url.to_owned());
        let in_the_clear = || Url::parse("http://cdn.io/1?x").expect("a URL");
        for (base, location, expected) in [
            ("https://r.io/v2/a/", "/v2/a/1?s=a%20b%2F", ok("https://r.io/v2/a/1?s=a%20b%2F")),
            ("https://r.io/v2/a/", "1", ok("https://r.io/v2/a/1")),
            ("https://r.io:8443/v2/a/", "http://r.io/v2/a/1", ok("https://r.io:8443/v2/a/1")),
            ("https://r.io/v2/a/", "http://r.io:80/v2/a/1", ok("https://r.io/v2/a/1")),
            ("https://r.io/v2/a/", "https://cdn.io/1", ok("https://cdn.io/1")),
            ("https://r.io/v2/a/", "http://cdn.io/1?x", Err(Unusable::InTheClear(in_the_clear()))),
            ("https://trusted.io/", "http://cdn.io/1?x", Err(Unusable::InTheClear(in_the_clear()))),
            ("https://r.io/v2/a/", "http://trusted.io/1?x", ok("http://trusted.io/1?x")),
            ("http://localhost:5000/", "http://cdn.io/1", ok("http://cdn.io/1")),
            ("https://r.io/", "file:///etc/passwd", Err(Unusable::NoUrl)),
            ("http://r.io/", "file:///etc/passwd", Err(Unusable::NoUrl)),
            ("https://r.io/", "https://", Err(Unusable::NoUrl)),
            ("http://r.io:5000/v2/", "https://r.io:5000/v2/1", ok("http://r.io:5000/v2/1")),
            ("http://r.io/v2/", "https://r.io/v2/1", ok("https://r.io/v2/1")),
            ("https://r.io/v2/a/", "//cdn.io/1", ok("https://cdn.io/1")),
            ("https://r.io/v2/a/", "", ok("https://r.io/v2/a/")),
        ] {
            assert_eq!(next(base, location), expected, "{base} {location}");
        }
    }
}
