//! A registry in this process, on a loopback port: it speaks the distribution API as far as pushes and pulls need it (`api`), has
//! a token server of its own, records what it was asked, and answers otherwise as it is told (`wire`).

use std::{
    collections::BTreeMap,
    fmt,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use microbuild::internals::digest::Digest;

mod api;
mod wire;

pub use wire::{Answer, Style};

/// The user whom a registry with authentication knows.
pub const USER: &str = "me";
/// That user's password.
pub const PASSWORD: &str = "correct:horse";
/// The identity token that its token server takes in the place of the password.
pub const IDENTITY: &str = "identity+token";

/// As often as a test may ask.
pub const ALWAYS: usize = usize::MAX;

/// How a request fails, or is answered in another way than by a registry that follows the specification to the letter.
#[derive(Debug, Clone)]
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
    /// This answer, in the place of what was asked for.
    Answer(Answer),
    /// This answer before the request's body is read; so many bytes of that are read after it, then the connection is closed.
    Early(Answer, usize),
    /// The answer is changed.
    Changed(Change),
    /// These bytes come before the answer.
    Interim(&'static str),
    /// So many bytes of the request's body are taken, then nothing happens any more.
    Stall(usize),
}

/// A change of an answer.
#[derive(Clone)]
pub struct Change(Arc<dyn Fn(&mut Answer) + Send + Sync>);

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Change")
    }
}

impl Failure {
    /// The answer is changed by `change`.
    pub fn changed(change: impl Fn(&mut Answer) + Send + Sync + 'static) -> Self {
        Self::Changed(Change(Arc::new(change)))
    }

    /// The answer's header `name` has this value.
    pub fn header(name: &'static str, value: impl Into<String>) -> Self {
        let value = value.into();
        Self::changed(move |answer| answer.set(name, value.clone()))
    }

    /// The answer has no header `name`.
    pub fn without(name: &'static str) -> Self {
        Self::changed(move |answer| answer.unset(name))
    }

    /// The answer has this status, and is as it is otherwise.
    pub fn status(status: u16) -> Self {
        Self::changed(move |answer| answer.status = status)
    }
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
        Some(api::decode(value))
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
    /// What manifests with OCI's media types are answered with.
    no_oci: Option<Answer>,
    /// What blobs in one piece are answered with.
    no_whole: Option<Answer>,
    /// As much as it takes of one PATCH.
    swallows: usize,
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
            no_oci: None,
            no_whole: None,
            swallows: ALWAYS,
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
                    thread::spawn(move || drop(wire::serve(&shared, &stream)));
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

    /// Whether it wants no authentication.
    pub fn is_open(&self) -> bool {
        self.shared.state().auth == Auth::Nobody
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

    /// It takes no manifests with OCI's media types, and answers them with this.
    pub fn takes_no_oci(&self, answer: Answer) {
        self.shared.state().no_oci = Some(answer);
    }

    /// It takes no blob in one piece, and answers so.
    pub fn takes_no_whole(&self, answer: Answer) {
        self.shared.state().no_whole = Some(answer);
    }

    /// Of what one PATCH brings, it takes so many bytes.
    pub fn swallows(&self, bytes: usize) {
        self.shared.state().swallows = bytes;
    }

    /// The next `times` requests of `method` (`*` for any) whose target contains `part` fail as `failure` says.
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

    /// Loses a blob; whether it was there.
    pub fn lose_blob(&self, repository: &str, digest: &Digest) -> bool {
        self.shared.state().blobs.remove(&(repository.into(), digest.to_string())).is_some()
    }

    /// Loses a manifest; whether it was there.
    pub fn lose_manifest(&self, repository: &str, reference: &str) -> bool {
        self.shared.state().manifests.remove(&(repository.into(), reference.into())).is_some()
    }

    /// The media type under which a manifest was put.
    pub fn media_type(&self, repository: &str, reference: &str) -> Option<String> {
        self.shared.state().manifests.get(&(repository.into(), reference.into())).map(|(kind, _)| kind.clone())
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
