//! A registry in this process, on a loopback port: it speaks the distribution API as far as pushes and pulls need it, has a
//! token server of its own, records what it was asked, and fails as it is told.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use microbuild::digest::Digest;
use serde_json::json;

/// The user whom a registry with authentication knows.
pub const USER: &str = "me";
/// That user's password.
pub const PASSWORD: &str = "correct:horse";
/// The identity token that its token server takes in the place of the password.
pub const IDENTITY: &str = "identity+token";

/// How a request fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// This status, with this error code.
    Status(u16, &'static str),
    /// This status, with this `Retry-After`.
    RetryAfter(u16, &'static str),
    /// So many bytes of the request's body are taken (and kept, when they belong to an upload), then the connection is closed.
    CloseAfterTaking(usize),
    /// The whole length is announced, so many bytes of the answer are sent, then the connection is closed.
    CloseAfterSending(usize),
    /// The answer names this digest, whatever the bytes.
    NameDigest(String),
    /// The answer's body has one bit changed.
    Corrupt,
    /// The answer has no `Location`.
    NoLocation,
}

/// One request and the status of its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// Path and query, as asked for.
    pub target: String,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The number of bytes of its body that were read.
    pub sent: usize,
    /// The status of the answer; 0 when the connection was closed without one.
    pub status: u16,
}

impl Request {
    /// The value of the header `name` (in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A parameter of the query, percent-decoded.
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
        Some(decode(value))
    }
}

/// How a registry wants its users to identify themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Not at all.
    Nobody,
    /// By name and password.
    Basic,
    /// By tokens of its token server, which gives anonymous users tokens for nothing.
    Bearer,
}

struct Planned {
    method: &'static str,
    part: String,
    times: usize,
    failure: Failure,
}

struct State {
    auth: Auth,
    blobs: BTreeMap<(String, String), Vec<u8>>,
    manifests: BTreeMap<(String, String), (String, Vec<u8>)>,
    uploads: BTreeMap<String, Vec<u8>>,
    begun: usize,
    planned: Vec<Planned>,
    requests: Vec<Request>,
    mounts: bool,
    /// `None`: blobs may come in one piece. `Some((smallest, largest))`: in chunks of such lengths only.
    chunks: Option<(usize, usize)>,
    /// Where GETs of blobs are sent on to: `http://HOST:PORT`.
    storage: Option<String>,
    realm: Option<String>,
    token_life: u64,
    tokens: usize,
}

struct Shared {
    address: SocketAddr,
    stopped: AtomicBool,
    received: AtomicU64,
    state: Mutex<State>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no connection panics while it holds the lock")
    }
}

/// A running registry; it stops with this value.
pub struct FakeRegistry {
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl FakeRegistry {
    /// An empty registry without authentication on a free loopback port.
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port");
        let state = State {
            auth: Auth::Nobody,
            blobs: BTreeMap::new(),
            manifests: BTreeMap::new(),
            uploads: BTreeMap::new(),
            begun: 0,
            planned: Vec::new(),
            requests: Vec::new(),
            mounts: true,
            chunks: None,
            storage: None,
            realm: None,
            token_life: 300,
            tokens: 0,
        };
        let shared = Arc::new(Shared {
            address: listener.local_addr().expect("an address"),
            stopped: AtomicBool::new(false),
            received: AtomicU64::new(0),
            state: Mutex::new(state),
        });
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for stream in listener.incoming().flatten() {
                    if shared.stopped.load(Ordering::Relaxed) {
                        break;
                    }
                    let shared = Arc::clone(&shared);
                    // A client that goes away is none of the registry's business.
                    thread::spawn(move || drop(serve(&shared, &stream)));
                }
            }
        });
        Self { shared, acceptor: Some(acceptor) }
    }

    /// The registry as references name it: `127.0.0.1:PORT`.
    pub fn name(&self) -> String {
        self.shared.address.to_string()
    }

    /// From now on it wants this authentication.
    pub fn wants(&self, auth: Auth) {
        self.shared.state().auth = auth;
    }

    /// Its challenges name this token server.
    pub fn names_realm(&self, realm: &str) {
        self.shared.state().realm = Some(realm.into());
    }

    /// Its tokens live so many seconds.
    pub fn tokens_live(&self, seconds: u64) {
        self.shared.state().token_life = seconds;
    }

    /// All tokens that it gave are worthless from now on.
    pub fn revoke_tokens(&self) {
        self.shared.state().tokens += 1000;
    }

    /// It answers mounts by beginning an upload (202).
    pub fn mounts_nothing(&self) {
        self.shared.state().mounts = false;
    }

    /// It takes blobs only in chunks of `smallest` (which it announces) to `largest` bytes.
    pub fn takes_chunks_only(&self, smallest: usize, largest: usize) {
        self.shared.state().chunks = Some((smallest, largest));
    }

    /// It sends whoever GETs a blob on to `http://STORAGE`.
    pub fn keeps_blobs_at(&self, storage: &str) {
        self.shared.state().storage = Some(format!("http://{storage}"));
    }

    /// The next `times` requests of `method` whose target contains `part` fail as `failure` says.
    pub fn fail(&self, method: &'static str, part: &str, times: usize, failure: Failure) {
        self.shared.state().planned.push(Planned { method, part: part.into(), times, failure });
    }

    /// What was asked since the last call.
    pub fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.shared.state().requests)
    }

    /// What was asked since the last call, in short: method, path without digests and session names, status.
    pub fn take_lines(&self) -> Vec<String> {
        let short = |request: Request| {
            let path = request.path();
            let end = ["sha256:", "uploads/"].iter().filter_map(|part| Some(path.find(part)? + part.len())).min();
            let path = &path[..end.unwrap_or(path.len())];
            let mount = if request.query("mount").is_some() { " mount" } else { "" };
            format!("{} {path}{mount} {}", request.method, request.status)
        };
        self.take_requests().into_iter().map(short).collect()
    }

    /// The manifest under a tag or digest.
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<Vec<u8>> {
        self.shared.state().manifests.get(&(repository.into(), reference.into())).map(|(_, bytes)| bytes.clone())
    }

    /// The blob of this digest.
    pub fn blob(&self, repository: &str, digest: &Digest) -> Option<Vec<u8>> {
        self.shared.state().blobs.get(&(repository.into(), digest.to_string())).cloned()
    }

    /// Puts a blob into a repository, as if somebody had pushed it.
    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        self.shared.state().blobs.insert((repository.into(), digest.to_string()), bytes.to_vec());
        digest
    }

    /// The number of bytes of request bodies that have arrived so far.
    pub fn received(&self) -> u64 {
        self.shared.received.load(Ordering::Relaxed)
    }
}

impl Drop for FakeRegistry {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Wakes the acceptor.
        drop(TcpStream::connect(self.shared.address));
        if let Some(acceptor) = self.acceptor.take() {
            drop(acceptor.join());
        }
    }
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    fn error(status: u16, code: &str) -> Self {
        let body = json!({ "errors": [{ "code": code, "message": "as the test asked for", "detail": null }] });
        Self { body: body.to_string().into_bytes(), ..Self::new(status) }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.retain(|(key, _)| *key != name);
        self.headers.push((name, value.into()));
        self
    }
}

/// Answers the requests of one connection.
fn serve(shared: &Shared, stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(mut request) = read_head(&mut reader)? {
        if shared.stopped.load(Ordering::Relaxed) {
            break;
        }
        let failure = take_failure(&mut shared.state().planned, &request);
        let announced = request.header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
        let taken = match failure {
            Some(Failure::CloseAfterTaking(bytes)) => bytes.min(announced),
            _ => announced,
        };
        let body = read_body(shared, &mut reader, taken)?;
        request.sent = body.len();
        if matches!(failure, Some(Failure::CloseAfterTaking(_))) {
            let mut state = shared.state();
            if let Some(upload) = state.uploads.get_mut(request.path()) {
                upload.extend_from_slice(&body);
            }
            state.requests.push(request);
            break;
        }
        let answer = match &failure {
            Some(Failure::Status(status, code)) => Answer::error(*status, code),
            Some(Failure::RetryAfter(status, wait)) => {
                Answer::error(*status, "TOOMANYREQUESTS").with("Retry-After", *wait)
            }
            _ => altered(answer(&mut shared.state(), shared.address, &request, body), failure.as_ref()),
        };
        request.status = answer.status;
        let head_only = request.method == "HEAD";
        shared.state().requests.push(request);
        let most = match failure {
            Some(Failure::CloseAfterSending(bytes)) => bytes,
            _ => usize::MAX,
        };
        if !send(stream, &answer, head_only, most)? {
            break;
        }
    }
    stream.shutdown(Shutdown::Both)
}

fn altered(mut answer: Answer, failure: Option<&Failure>) -> Answer {
    match failure {
        Some(Failure::NameDigest(digest)) => return answer.with("Docker-Content-Digest", digest.as_str()),
        Some(Failure::Corrupt) => answer.body.iter_mut().take(1).for_each(|byte| *byte ^= 1),
        Some(Failure::NoLocation) => answer.headers.retain(|(name, _)| *name != "Location"),
        _ => {}
    }
    answer
}

fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim_end().is_empty() {
            return Ok(Some(Request { method, target, headers, sent: 0, status: 0 }));
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
}

fn read_body(shared: &Shared, reader: &mut impl BufRead, length: usize) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    let mut buffer = [0; 16 << 10];
    while body.len() < length {
        let most = buffer.len().min(length - body.len());
        let n = reader.read(&mut buffer[..most])?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        shared.received.fetch_add(n as u64, Ordering::Relaxed);
        body.extend_from_slice(&buffer[..n]);
    }
    Ok(body)
}

fn take_failure(planned: &mut Vec<Planned>, request: &Request) -> Option<Failure> {
    let fits = |plan: &Planned| plan.method == request.method && request.target.contains(&plan.part) && plan.times > 0;
    let place = planned.iter().position(fits)?;
    planned[place].times -= 1;
    let failure = planned[place].failure.clone();
    planned.retain(|plan| plan.times > 0);
    Some(failure)
}

/// Sends `answer`, at most `most` bytes of its body; whether the connection can be used again.
fn send(mut stream: &TcpStream, answer: &Answer, head_only: bool, most: usize) -> io::Result<bool> {
    let mut head = format!("HTTP/1.1 {} As The Test Says\r\n", answer.status);
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    if answer.status != 204 {
        head += &format!("Content-Length: {}\r\n", answer.body.len());
    }
    stream.write_all(head.as_bytes())?;
    stream.write_all(b"\r\n")?;
    let body = if head_only { &[][..] } else { &answer.body[..most.min(answer.body.len())] };
    stream.write_all(body)?;
    Ok(head_only || body.len() == answer.body.len())
}

fn answer(state: &mut State, address: SocketAddr, request: &Request, body: Vec<u8>) -> Answer {
    if request.path() == "/token" {
        return token(state, request, &body);
    }
    if let Some(refusal) = refusal(state, address, request) {
        return refusal;
    }
    let path = request.path();
    let parts = |middle: &str| {
        let (repository, rest) = path.strip_prefix("/v2/")?.split_once(middle)?;
        Some((repository.to_owned(), rest.to_owned()))
    };
    if path == "/v2/" {
        return Answer::new(200);
    }
    if let Some((repository, _)) = parts("/blobs/uploads/") {
        return upload(state, request, &repository, &body);
    }
    match (parts("/blobs/"), parts("/manifests/")) {
        (Some(key), _) => blob(state, request, &key),
        (_, Some(key)) => manifest(state, request, key, body),
        _ => Answer::error(404, "UNSUPPORTED"),
    }
}

/// What a request needs that was sent without sufficient authentication.
fn refusal(state: &State, address: SocketAddr, request: &Request) -> Option<Answer> {
    let given = request.header("authorization").unwrap_or_default();
    let challenge = match state.auth {
        Auth::Nobody => return None,
        Auth::Basic if is_user(given) => return None,
        Auth::Basic => "Basic realm=\"fake\"".to_owned(),
        Auth::Bearer => {
            let wanted = wanted(request);
            if wanted.iter().all(|scope| allows(state, given, scope)) && given.starts_with("Bearer ") {
                return None;
            }
            let realm = state.realm.clone().unwrap_or_else(|| format!("http://{address}/token"));
            let scope = wanted.first().cloned().unwrap_or_default();
            format!("Bearer realm=\"{realm}\",service=\"fake\",scope=\"{scope}\"")
        }
    };
    Some(Answer::error(401, "UNAUTHORIZED").with("WWW-Authenticate", challenge))
}

fn is_user(authorization: &str) -> bool {
    authorization == format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")))
}

/// The scopes that a request needs, one action each.
fn wanted(request: &Request) -> Vec<String> {
    let Some(path) = request.path().strip_prefix("/v2/").filter(|path| !path.is_empty()) else { return Vec::new() };
    let repository = path.split("/blobs/").next().unwrap_or_default().split("/manifests/").next().unwrap_or_default();
    let action = if matches!(request.method.as_str(), "GET" | "HEAD") { "pull" } else { "push" };
    let from = request.query("from").map(|from| format!("repository:{from}:pull"));
    [Some(format!("repository:{repository}:{action}")), from].into_iter().flatten().collect()
}

/// A token is the number of its turn and the scopes it was given for.
fn allows(state: &State, authorization: &str, scope: &str) -> bool {
    let token = authorization.strip_prefix("Bearer ").and_then(|token| URL_SAFE_NO_PAD.decode(token).ok());
    let token = token.and_then(|token| String::from_utf8(token).ok()).unwrap_or_default();
    let Some((turn, granted)) = token.split_once(' ') else { return false };
    let (resource, action) = scope.rsplit_once(':').expect("a scope");
    turn.parse::<usize>().is_ok_and(|turn| turn + 1000 > state.tokens)
        && granted
            .split(' ')
            .filter_map(|scope| scope.rsplit_once(':'))
            .any(|(granted, actions)| granted == resource && actions.split(',').any(|granted| granted == action))
}

fn token(state: &mut State, request: &Request, body: &[u8]) -> Answer {
    let form = format!("?{}", String::from_utf8_lossy(body));
    let posted = Request { target: form, ..request.clone() };
    let (known, scopes) = if request.method == "POST" {
        (posted.query("refresh_token").as_deref() == Some(IDENTITY), posted.query("scope").unwrap_or_default())
    } else {
        let query = request.target.split_once('?').map_or("", |(_, query)| query);
        let scopes: Vec<String> = query.split('&').filter_map(|pair| pair.strip_prefix("scope=")).map(decode).collect();
        (is_user(request.header("authorization").unwrap_or_default()), scopes.join(" "))
    };
    if !known && (request.method == "POST" || request.header("authorization").is_some()) {
        return Answer::error(401, "UNAUTHORIZED");
    }
    // Nobody may pull only, as with most public registries.
    let granted = if known { scopes } else { scopes.replace(",push", "") };
    state.tokens += 1;
    let token = URL_SAFE_NO_PAD.encode(format!("{} {granted}", state.tokens));
    let name = if request.method == "POST" { "access_token" } else { "token" };
    let body = json!({ name: token, "expires_in": state.token_life });
    Answer { body: body.to_string().into_bytes(), ..Answer::new(200) }
}

fn upload(state: &mut State, request: &Request, repository: &str, body: &[u8]) -> Answer {
    let path = request.path().to_owned();
    if request.method == "POST" {
        if let (Some(digest), Some(from)) = (request.query("mount"), request.query("from"))
            && state.mounts
            && let Some(bytes) = state.blobs.get(&(from, digest.clone())).cloned()
        {
            state.blobs.insert((repository.into(), digest.clone()), bytes);
            return Answer::new(201).with("Docker-Content-Digest", digest);
        }
        state.begun += 1;
        let location = format!("/v2/{repository}/blobs/uploads/{}", state.begun);
        state.uploads.insert(location.clone(), Vec::new());
        return progress(state, 202, &location);
    }
    let Some(have) = state.uploads.get(&path).map(Vec::len) else { return Answer::error(404, "BLOB_UPLOAD_UNKNOWN") };
    // Every answer of this registry hands on a state, and it wants to have it back.
    if request.query("_state").as_deref() != Some("a b") {
        return Answer::error(400, "BLOB_UPLOAD_INVALID");
    }
    match (request.method.as_str(), state.chunks) {
        ("GET", _) => return progress(state, 204, &path),
        ("PUT", Some(_)) if !body.is_empty() => return Answer::error(405, "UNSUPPORTED"),
        ("PATCH", Some((_, largest))) if body.len() > largest => return Answer::error(413, "SIZE_INVALID"),
        _ => {}
    }
    if request.method == "PATCH" {
        let range = format!("{have}-{}", (have + body.len()).saturating_sub(1));
        if request.header("content-range") != Some(&range) {
            return Answer::error(416, "BLOB_UPLOAD_INVALID");
        }
    }
    let bytes = state.uploads.entry(path.clone()).or_default();
    bytes.extend_from_slice(body);
    if request.method == "PATCH" {
        return progress(state, 202, &path);
    }
    let digest = request.query("digest").unwrap_or_default();
    let bytes = state.uploads.remove(&path).unwrap_or_default();
    if Digest::of(&bytes).to_string() != digest {
        return Answer::error(400, "DIGEST_INVALID");
    }
    state.blobs.insert((repository.into(), digest.clone()), bytes);
    Answer::new(201).with("Docker-Content-Digest", digest)
}

fn progress(state: &State, status: u16, location: &str) -> Answer {
    let last = state.uploads.get(location).map_or(0, |bytes| bytes.len().saturating_sub(1));
    let answer =
        Answer::new(status).with("Location", format!("{location}?_state=a%20b")).with("Range", format!("0-{last}"));
    match state.chunks {
        Some((smallest, _)) => answer.with("OCI-Chunk-Min-Length", smallest.to_string()),
        None => answer,
    }
}

fn blob(state: &State, request: &Request, key: &(String, String)) -> Answer {
    let Some(bytes) = state.blobs.get(key) else { return Answer::error(404, "BLOB_UNKNOWN") };
    if let (Some(storage), "GET") = (&state.storage, request.method.as_str()) {
        return Answer::new(307).with("Location", format!("{storage}/v2/{}/blobs/{}?X-Signature=secret", key.0, key.1));
    }
    Answer { body: bytes.clone(), ..Answer::new(200) }.with("Docker-Content-Digest", key.1.as_str())
}

fn manifest(state: &mut State, request: &Request, key: (String, String), body: Vec<u8>) -> Answer {
    if request.method == "PUT" {
        let parsed: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let listed = |name: &str| parsed[name].as_array().cloned().unwrap_or_default();
        let digest_of = |value: &serde_json::Value| value["digest"].as_str().unwrap_or_default().to_owned();
        let blobs = listed("layers").into_iter().chain([parsed["config"].clone()]).filter(|value| !value.is_null());
        let mut parts = blobs.map(|value| state.blobs.contains_key(&(key.0.clone(), digest_of(&value))));
        let manifests = listed("manifests");
        let mut children =
            manifests.iter().map(|value| state.manifests.contains_key(&(key.0.clone(), digest_of(value))));
        if !parts.all(|there| there) || !children.all(|there| there) {
            return Answer::error(400, "MANIFEST_BLOB_UNKNOWN");
        }
        let digest = Digest::of(&body).to_string();
        let kind = request.header("content-type").unwrap_or_default().to_owned();
        state.manifests.insert((key.0.clone(), digest.clone()), (kind.clone(), body.clone()));
        state.manifests.insert(key, (kind, body));
        return Answer::new(201).with("Docker-Content-Digest", digest);
    }
    let Some((kind, bytes)) = state.manifests.get(&key) else { return Answer::error(404, "MANIFEST_UNKNOWN") };
    let digest = Digest::of(bytes).to_string();
    let answer = Answer { body: bytes.clone(), ..Answer::new(200) };
    answer.with("Content-Type", kind.as_str()).with("Docker-Content-Digest", digest)
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits: String = rest.by_ref().take(2).map(char::from).collect();
                u8::from_str_radix(&digits, 16).unwrap_or(b'?')
            }
            byte => byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
