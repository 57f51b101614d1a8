//! HTTP as this program needs it: one blocking client for mirrors and registries, errors that say what to do, and
//! retries that wrap a whole attempt, the reading of the body included.
//!
//! ```no_run
//! # use microbuild::internals::http::{Http, HttpError, HttpOptions};
//! # fn main() -> Result<(), HttpError> {
//! let http = Http::new(HttpOptions::default())?;
//! let index = http.retrying(|_attempt| http.get("https://example.org/index")?.bytes(1 << 20))?;
//! # Ok(())
//! # }
//! ```
//!
//! Trust: the machine's own CA bundle (or what SSL_CERT_FILE and SSL_CERT_DIR name) and the files of `--ca`. Proxies:
//! HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY; loopback addresses are never reached through a proxy, as with Go's
//! and hence Docker's clients. A connection has a time limit, a silent peer has one; a long transfer has none, but a
//! least speed.

mod error;
mod insecure;
mod pace;
mod route;
mod upload;

use std::{
    collections::BTreeMap,
    fmt, fs,
    hash::{BuildHasher as _, RandomState},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime},
};

pub use error::{Fault, HttpError, Retry, SLOW, Transient, is_too_slow, retry_status};
pub use insecure::{Insecure, ParseInsecureError};
pub use reqwest::{
    Method, Url,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use reqwest::{
    blocking::{self, Client},
    redirect,
};
pub use route::is_loopback;

use crate::ui::Ui;
use error::{transport, words};
use pace::Pace;
use route::Route;
use upload::Uploads;

/// How many redirects a GET or HEAD follows, as in Go and browsers, rounded down.
const MAX_REDIRECTS: usize = 10;

/// How [`Http`] behaves. `HttpOptions::default()` is what a user gets without flags.
#[derive(Clone)]
pub struct HttpOptions {
    /// PEM files whose certificates are trusted in addition to the machine's own (`--ca`).
    pub ca: Vec<PathBuf>,
    /// `--insecure`: the certificates of these hosts are not checked, and redirects from https may lead to their http.
    pub insecure: Vec<Insecure>,
    /// `--offline`: every request is an error.
    pub offline: bool,
    /// How often an attempt that failed for a passing reason is repeated.
    pub retries: u32,
    /// The wait before the first repetition; it doubles with each further one, up to sixteen times itself.
    pub backoff: Duration,
    /// The longest wait that a `Retry-After` may ask for; beyond it the request fails at once and says so.
    pub longest_wait: Duration,
    /// The time in which a connection must stand.
    pub connect_timeout: Duration,
    /// The time after which a peer that sends nothing is given up.
    pub idle_timeout: Duration,
    /// The least speed of a download, bytes a second, on the average of each `slow_for`; a slower peer is given up.
    pub slowest: u64,
    /// For how long a peer may be slower.
    pub slow_for: Duration,
    /// Who hears of repetitions (with `-v`).
    pub ui: Ui,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            ca: Vec::new(),
            insecure: Vec::new(),
            offline: false,
            retries: 4,
            backoff: Duration::from_millis(500),
            longest_wait: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(60),
            slowest: 1024,
            slow_for: Duration::from_secs(60),
            ui: Ui::silent(),
        }
    }
}

/// `url` as it may be shown: without user, password, query (signatures of CDNs stand there) and fragment.
pub fn display_url(url: &Url) -> String {
    let mut shown = url.clone();
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.set_fragment(None);
    shown.into()
}

/// Reads `url`, which must be http or https with a host.
///
/// # Errors
/// When it is not.
pub fn parse_url(url: &str) -> Result<Url, HttpError> {
    // What cannot be parsed cannot be cleaned: whatever stands before an `@` is left out.
    let shown = || url.rsplit_once('@').map_or(url, |(_, rest)| rest).to_owned();
    let parsed = Url::parse(url).map_err(|e| HttpError::Url { url: shown(), why: format!(": {e}") })?;
    match parsed.scheme() {
        "http" | "https" if parsed.has_host() => Ok(parsed),
        // `me:secret@host` is a URL of the scheme `me`.
        _ => Err(HttpError::Url { url: shown(), why: String::new() }),
    }
}

/// What is sent with a request.
#[derive(Default)]
pub enum Body {
    /// Nothing.
    #[default]
    Empty,
    /// These bytes.
    Bytes(Vec<u8>),
    /// A stream of exactly so many bytes.
    Sized(Box<dyn Read + Send>, u64),
}

/// A request for one attempt.
pub struct Request {
    /// The method.
    pub method: Method,
    /// The URL; user and password in it become basic authentication.
    pub url: Url,
    /// Headers; Host, Content-Length and User-Agent are added.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: Body::Empty }
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }
}

/// An answer: its head is here, its body is read from it.
#[derive(Debug)]
pub struct Response {
    inner: blocking::Response,
    pace: Pace,
    url: String,
}

impl Response {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.inner.status().as_u16()
    }

    /// Whether the status is a 2xx.
    pub fn is_success(&self) -> bool {
        self.inner.status().is_success()
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    /// A header as text; `None` when it is missing or not text.
    pub fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.inner.headers().get(name)?.to_str().ok()
    }

    /// The URL that answered, after redirects.
    pub fn url(&self) -> &Url {
        self.inner.url()
    }

    /// The body's length as the server announced it.
    pub fn content_length(&self) -> Option<u64> {
        self.header(header::CONTENT_LENGTH)?.parse().ok()
    }

    /// The wait that the server asks for (RFC 9110, 10.2.3).
    pub fn retry_after(&self) -> Option<Duration> {
        parse_retry_after(self.header(header::RETRY_AFTER)?, SystemTime::now())
    }

    /// This answer, when its status is a 2xx.
    ///
    /// # Errors
    /// When the status is another.
    pub fn success(self) -> Result<Self, HttpError> {
        if self.is_success() {
            return Ok(self);
        }
        Err(HttpError::Status { status: self.status(), retry_after: self.retry_after(), url: self.url })
    }

    /// Copies the body, which may have `limit` bytes at most, to `writer`; the number of bytes. Tells a connection that
    /// breaks (which may be retried) from a writer that fails (which may not).
    ///
    /// # Errors
    /// When the body cannot be read to its end, is longer, or cannot be written.
    pub fn copy_at_most(&mut self, limit: u64, writer: &mut dyn Write) -> Result<u64, HttpError> {
        let mut buffer = vec![0; 64 * 1024];
        let mut copied = 0;
        loop {
            let n = match self.read(&mut buffer) {
                Ok(0) => return Ok(copied),
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(transport(self.url.clone(), &e)),
            };
            if n as u64 > limit - copied {
                return Err(HttpError::TooLong { url: self.url.clone(), limit });
            }
            writer.write_all(&buffer[..n]).map_err(|source| HttpError::Local {
                what: "write",
                url: self.url.clone(),
                source,
            })?;
            copied += n as u64;
        }
    }

    /// The whole body, which may have `limit` bytes at most.
    ///
    /// # Errors
    /// When the body cannot be read to its end, or is longer.
    pub fn bytes(mut self, limit: u64) -> Result<Vec<u8>, HttpError> {
        let mut bytes = Vec::new();
        let read = Read::by_ref(&mut self).take(limit.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|e| transport(self.url.clone(), &e))?;
        if bytes.len() as u64 > limit {
            return Err(HttpError::TooLong { url: self.url, limit });
        }
        Ok(bytes)
    }
}

impl Read for Response {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.pace.read(&mut self.inner, buf)
    }
}

/// Reads a `Retry-After`: seconds, or the date of the end of the wait.
fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
    Some(SystemTime::from(date).duration_since(now).unwrap_or_default())
}

/// The one HTTP client of a process. Share it by reference, or clone it: clones share connections.
#[derive(Clone)]
pub struct Http {
    options: Arc<HttpOptions>,
    ca: Arc<Vec<reqwest::Certificate>>,
    clients: Arc<Mutex<BTreeMap<(Route, bool), Client>>>,
    uploads: Arc<Mutex<Uploads>>,
}

impl Http {
    /// A client; it connects nowhere yet.
    ///
    /// # Errors
    /// When a file of `options.ca` cannot be read, or holds no certificate.
    pub fn new(options: HttpOptions) -> Result<Self, HttpError> {
        // reqwest takes the process's provider. An error means that the host program of this library has chosen one:
        // fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut ca = Vec::new();
        for path in &options.ca {
            ca.extend(read_ca(path)?);
        }
        Ok(Self { options: Arc::new(options), ca: Arc::new(ca), clients: Arc::default(), uploads: Arc::default() })
    }

    /// Whether `--insecure` is meant for the server that `url` names.
    pub fn is_insecure(&self, url: &Url) -> bool {
        self.options.insecure.iter().any(|word| word.covers(url))
    }

    /// The options it was made with.
    pub fn options(&self) -> &HttpOptions {
        &self.options
    }

    /// The client for servers that are reached so; `insecure` takes any certificate from them.
    fn client(&self, route: Route, insecure: bool) -> Result<Client, HttpError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&(route, insecure)) {
            return Ok(client.clone());
        }
        let client = self.with_ca(route, |own_ca_only| {
            // In reqwest's blocking client this limits the wait for the head and then each single read.
            let builder = blocking::ClientBuilder::from(self.builder(route, insecure, own_ca_only));
            builder.timeout(self.options.idle_timeout).build()
        })?;
        clients.insert((route, insecure), client.clone());
        Ok(client)
    }

    /// What `build` makes; its argument says whether to trust the files of `--ca` only.
    fn with_ca<T>(&self, route: Route, build: impl Fn(bool) -> Result<T, reqwest::Error>) -> Result<T, HttpError> {
        let client = match build(route == Route::LoopbackPlain) {
            // A machine without a CA bundle can still be pushed from: over plain HTTP, or with --ca.
            Err(_) if route != Route::LoopbackPlain => build(true),
            built => built,
        };
        client.map_err(|e| HttpError::Setup(words(&e)))
    }

    fn builder(&self, route: Route, insecure: bool, own_ca_only: bool) -> reqwest::ClientBuilder {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("microbuild/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(self.options.connect_timeout)
            .redirect(redirect::Policy::none())
            .tls_danger_accept_invalid_certs(insecure);
        if route != Route::Network {
            builder = builder.no_proxy();
        }
        let ca = self.ca.iter().cloned();
        if own_ca_only { builder.tls_certs_only(ca) } else { builder.tls_certs_merge(ca) }
    }

    /// GETs `url`, following redirects.
    ///
    /// # Errors
    /// When no answer comes, or its status is not a 2xx.
    pub fn get(&self, url: &str) -> Result<Response, HttpError> {
        self.send(Request::new(Method::GET, parse_url(url)?))?.success()
    }

    /// Sends `request` once, and follows redirects of GET and HEAD; any status is an answer. Credentials in headers do
    /// not go to another origin.
    ///
    /// # Errors
    /// When no answer comes, a redirect leads from https to http, or the body cannot be read.
    pub fn send(&self, request: Request) -> Result<Response, HttpError> {
        let Request { method, mut url, mut headers, body } = request;
        if method != Method::GET && method != Method::HEAD {
            return self.send_once(method, url, headers, body);
        }
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send_once(method.clone(), url.clone(), headers.clone(), Body::Empty)?;
            let location = match response.status() {
                301 | 302 | 303 | 307 | 308 => response.header(header::LOCATION),
                _ => None,
            };
            let Some(location) = location else { return Ok(response) };
            let refused = |why: String, to| HttpError::Redirect { url: display_url(&url), why, to };
            let next = url.join(location).map_err(|e| refused(format!("redirects to what is no URL ({e})"), None))?;
            if url.scheme() == "https" && next.scheme() != "https" && !self.is_insecure(&next) {
                let why = format!("redirects from https to {}", display_url(&next));
                return Err(refused(why, Some(Insecure::of(&next))));
            }
            if next.origin() != url.origin() {
                headers.remove(header::AUTHORIZATION);
                headers.remove(header::COOKIE);
            }
            url = next;
        }
        let why = format!("redirects more than {MAX_REDIRECTS} times");
        Err(HttpError::Redirect { url: display_url(&url), why, to: None })
    }

    fn send_once(&self, method: Method, url: Url, headers: HeaderMap, body: Body) -> Result<Response, HttpError> {
        let shown = display_url(&url);
        if self.options.offline {
            return Err(HttpError::Offline { url: shown });
        }
        if method != Method::GET && method != Method::HEAD {
            return self.upload(method, url, headers, body);
        }
        let client = self.client(Route::to(&url), self.is_insecure(&url))?;
        match client.request(method, url).headers(headers).send() {
            Ok(inner) => {
                let pace = Pace::new(self.options.slowest, self.options.slow_for);
                Ok(Response { inner, pace, url: shown })
            }
            Err(e) => Err(transport(shown, &e)),
        }
    }

    /// Runs `attempt` until it succeeds, fails for good, or has failed `retries` times more than once; it is told its
    /// number, from 0. Waits in between as [`HttpOptions`] says, with jitter, or as the server asked.
    ///
    /// # Errors
    /// The last attempt's.
    pub fn retrying<T, E: Transient>(&self, mut attempt: impl FnMut(u32) -> Result<T, E>) -> Result<T, E> {
        let options = &self.options;
        let mut number = 0;
        loop {
            let begun = Instant::now();
            let error = match attempt(number) {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let wait = match error.should_retry() {
                Retry::Soon => jitter(options.backoff.saturating_mul(1 << number.min(4))),
                Retry::After(wait) if wait <= options.longest_wait => wait,
                Retry::Never | Retry::After(_) => return Err(error),
            };
            if number >= options.retries {
                return Err(error);
            }
            number += 1;
            let again =
                format!("{error}; attempt {} of {} in {:.1} s", number + 1, options.retries + 1, wait.as_secs_f32());
            // A user who has waited for long learns why.
            if begun.elapsed().max(wait) >= options.connect_timeout.min(options.idle_timeout) / 2 {
                options.ui.say(&again);
            } else {
                options.ui.detail(&again);
            }
            thread::sleep(wait);
        }
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").finish_non_exhaustive()
    }
}

/// Between a half and the whole of `wait`, so that many clients do not come back at once.
fn jitter(wait: Duration) -> Duration {
    // The standard library's only source of randomness.
    let random = RandomState::new().hash_one(0_u8) % 1000;
    let share = u32::try_from(random).unwrap_or_default();
    wait / 2 + wait * share / 2000
}

fn read_ca(path: &Path) -> Result<Vec<reqwest::Certificate>, HttpError> {
    let bad = |why: String| HttpError::Ca { path: path.to_owned(), why };
    let pem = fs::read(path).map_err(|e| bad(e.to_string()))?;
    let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| bad(words(&e)))?;
    if certificates.is_empty() {
        return Err(bad("no certificate in it".into()));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Explain as _, Kind};

    fn quick() -> Http {
        let options = HttpOptions { backoff: Duration::from_millis(1), ..HttpOptions::default() };
        Http::new(options).expect("a client")
    }

    #[derive(Debug, thiserror::Error)]
    #[error("failed")]
    struct Failed(Retry);

    impl Transient for Failed {
        fn should_retry(&self) -> Retry {
            self.0
        }
    }

    #[test]
    fn attempts_are_repeated_as_their_error_says() {
        let long = Duration::from_secs(3600);
        for (retry, attempts) in
            [(Retry::Never, 1), (Retry::Soon, 5), (Retry::After(Duration::ZERO), 5), (Retry::After(long), 1)]
        {
            let mut made = 0;
            let result: Result<(), _> = quick().retrying(|number| {
                assert_eq!(number, made);
                made += 1;
                Err(Failed(retry))
            });
            assert!(result.is_err());
            assert_eq!(made, attempts, "{retry:?}");
        }
        let value = quick().retrying(|number| if number < 2 { Err(Failed(Retry::Soon)) } else { Ok(number) });
        assert_eq!(value.expect("the third attempt"), 2);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        for (value, seconds) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(parse_retry_after(value, now), seconds.map(Duration::from_secs), "{value}");
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let url = parse_url("https://me:secret@example.org/a?X-Amz-Signature=secret#x").expect("a URL");
        assert_eq!(display_url(&url), "https://example.org/a");
        for bad in ["ftp://me:secret@example.org", "me:secret@example.org:x", "https://me:secret@", "/etc/passwd"] {
            let error = parse_url(bad).expect_err(bad);
            assert_eq!(error.kind(), Kind::Usage);
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn offline_is_an_error_that_says_so() {
        let http = Http::new(HttpOptions { offline: true, ..HttpOptions::default() }).expect("a client");
        let error = http.get("http://u:p@127.0.0.1:9/x?q").expect_err("offline");
        assert_eq!(error.to_string(), "http://127.0.0.1:9/x is needed, but --offline forbids the network");
    }

    #[test]
    fn a_ca_file_must_hold_a_certificate() {
        let dir = tempfile::tempdir().expect("a folder");
        let empty = dir.path().join("empty.pem");
        fs::write(&empty, "not a certificate").expect("write");
        for path in [empty, dir.path().join("missing.pem")] {
            let error = Http::new(HttpOptions { ca: vec![path], ..HttpOptions::default() }).expect_err("refused");
            assert_eq!(error.kind(), Kind::Usage);
            assert!(error.hint().is_some_and(|hint| hint.contains("PEM")), "{error}");
        }
    }

    #[test]
    fn nobody_listening_is_a_network_error_with_a_hint() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
        let error = quick().get(&format!("http://127.0.0.1:{port}/")).expect_err("refused");
        assert!(matches!(error, HttpError::Transport { fault: Fault::Refused, .. }), "{error:?}");
        assert_eq!((error.kind(), error.should_retry()), (Kind::Network, Retry::Never));
        assert!(error.hint().is_some_and(|hint| hint.contains("port")));
    }
}
