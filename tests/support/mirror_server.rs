//! A small HTTP file server for mirrors: it serves a folder on a loopback port with `ETag`, `Last-Modified`,
//! `If-None-Match` and `Range`, records what it was asked, and fails as it is told.

use std::{
    fs::File,
    io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, UNIX_EPOCH},
};

/// How an answer fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Only this status, with `Retry-After` in seconds when given.
    Status(u16, Option<u32>),
    /// The whole length is announced, so many bytes are sent, then the connection is closed.
    CloseAfter(u64),
    /// So many bytes are announced and sent, as if the file ended there.
    TruncateTo(u64),
    /// The whole length is announced, so many bytes are sent, then nothing more for as long as the server runs.
    StallAfter(u64),
    /// The whole length is announced, and a byte of the body is sent every twenty milliseconds.
    TrickleBody,
    /// A byte of the head is sent every twenty milliseconds, and it never ends.
    TrickleHead,
}

/// One request and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET` or `HEAD`.
    pub method: String,
    /// The path, as asked for: `/v3.23/main/x86_64/APKINDEX.tar.gz`.
    pub path: String,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The status of the answer.
    pub status: u16,
}

impl Request {
    /// The value of the header `name` (in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A failure that waits for its requests.
struct Planned {
    path_end: String,
    failure: Failure,
    times: usize,
}

struct Shared {
    root: PathBuf,
    stopped: AtomicBool,
    requests: Mutex<Vec<Request>>,
    planned: Mutex<Vec<Planned>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no connection panics while it holds the lock")
}

/// A running server; it stops with this value.
pub struct MirrorServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl MirrorServer {
    /// Serves the folder `root` on a free loopback port.
    pub fn start(root: &Path) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            root: root.to_owned(),
            stopped: AtomicBool::new(false),
            requests: Mutex::default(),
            planned: Mutex::default(),
        });
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for stream in listener.incoming().flatten() {
                    if shared.stopped.load(Ordering::Relaxed) {
                        break;
                    }
                    let shared = Arc::clone(&shared);
                    // A client that goes away is none of the server's business.
                    thread::spawn(move || drop(serve(&shared, &stream)));
                }
            }
        });
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next `times` requests for a path that ends in `path_end` fail as `failure` says.
    pub fn fail(&self, path_end: &str, times: usize, failure: Failure) {
        lock(&self.shared.planned).push(Planned { path_end: path_end.into(), failure, times });
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).clone()
    }

    /// Forgets what was asked so far, and returns it.
    pub fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut lock(&self.shared.requests))
    }

    /// How many requests asked for a path that ends in `path_end`.
    pub fn count(&self, path_end: &str) -> usize {
        lock(&self.shared.requests).iter().filter(|request| request.path.ends_with(path_end)).count()
    }
}

impl Drop for MirrorServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Wakes the acceptor.
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            drop(acceptor.join());
        }
    }
}

/// Answers the requests of one connection.
fn serve(shared: &Shared, stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(mut request) = read_request(&mut reader)? {
        let failure = take_failure(&mut lock(&shared.planned), &request.path);
        let answer = answer(&shared.root, &request, failure)?;
        request.status = answer.status;
        lock(&shared.requests).push(request);
        if !send(shared, stream, answer)? || shared.stopped.load(Ordering::Relaxed) {
            break;
        }
    }
    stream.shutdown(std::net::Shutdown::Both)
}

fn read_request(reader: &mut impl io::BufRead) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
    let path = target.split('?').next().unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim_end().is_empty() {
            return Ok(Some(Request { method, path, headers, status: 0 }));
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
}

fn take_failure(planned: &mut Vec<Planned>, path: &str) -> Option<Failure> {
    let place = planned.iter().position(|plan| path.ends_with(&plan.path_end) && plan.times > 0)?;
    planned[place].times -= 1;
    let failure = planned[place].failure;
    planned.retain(|plan| plan.times > 0);
    Some(failure)
}

/// An answer ready to be sent.
struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    /// The length that is announced.
    length: u64,
    /// The file, at the first byte to send, and the number of bytes to send.
    body: Option<(File, u64)>,
    stall: bool,
    trickle: Option<Failure>,
}

impl Answer {
    fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), length: 0, body: None, stall: false, trickle: None }
    }
}

fn answer(root: &Path, request: &Request, failure: Option<Failure>) -> io::Result<Answer> {
    if let Some(Failure::Status(status, retry_after)) = failure {
        let mut answer = Answer::empty(status);
        answer.headers.extend(retry_after.map(|seconds| ("Retry-After", seconds.to_string())));
        return Ok(answer);
    }
    let relative = percent_decode(request.path.trim_start_matches('/'));
    if Path::new(&relative).components().any(|part| !matches!(part, std::path::Component::Normal(_))) {
        return Ok(Answer::empty(400));
    }
    let path = root.join(relative);
    let Some((mut file, meta)) = File::open(path).ok().and_then(|f| f.metadata().ok().map(|meta| (f, meta))) else {
        return Ok(Answer::empty(404));
    };
    if !meta.is_file() {
        return Ok(Answer::empty(404));
    }
    let modified = meta.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let etag = format!("\"{:x}-{:x}\"", modified.as_nanos(), meta.len());
    let mut answer = Answer::empty(200);
    answer.headers.push(("ETag", etag.clone()));
    answer.headers.push(("Last-Modified", http_date(modified)));
    answer.headers.push(("Accept-Ranges", "bytes".into()));
    if request.header("if-none-match").is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == etag)) {
        answer.status = 304;
        return Ok(answer);
    }
    let (start, end) = match request.header("range").map(|range| parse_range(range, meta.len())) {
        None => (0, meta.len()),
        Some(Some((start, end))) => {
            answer.status = 206;
            answer.headers.push(("Content-Range", format!("bytes {start}-{}/{}", end - 1, meta.len())));
            (start, end)
        }
        Some(None) => {
            answer.status = 416;
            answer.headers.push(("Content-Range", format!("bytes */{}", meta.len())));
            return Ok(answer);
        }
    };
    file.seek(SeekFrom::Start(start))?;
    answer.length = end - start;
    let mut send = answer.length;
    match failure {
        Some(Failure::CloseAfter(bytes)) => send = send.min(bytes),
        Some(Failure::StallAfter(bytes)) => (send, answer.stall) = (send.min(bytes), true),
        Some(Failure::TruncateTo(bytes)) => {
            send = send.min(bytes);
            answer.length = send;
        }
        Some(Failure::TrickleBody | Failure::TrickleHead) => answer.trickle = failure,
        Some(Failure::Status(..)) | None => {}
    }
    if request.method == "HEAD" {
        send = 0;
    }
    answer.body = Some((file, send));
    Ok(answer)
}

/// Sends `answer`; whether the connection can be used again.
fn send(shared: &Shared, mut stream: &TcpStream, answer: Answer) -> io::Result<bool> {
    let mut head = format!("HTTP/1.1 {} {}\r\n", answer.status, reason(answer.status));
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    if answer.status != 304 {
        head += &format!("Content-Length: {}\r\n", answer.length);
    }
    let drop_by_drop = |bytes: &mut dyn Iterator<Item = u8>| -> io::Result<()> {
        for byte in bytes.take_while(|_| !shared.stopped.load(Ordering::Relaxed)) {
            (&mut &*stream).write_all(&[byte])?;
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    };
    if answer.trickle == Some(Failure::TrickleHead) {
        drop_by_drop(&mut head.bytes().chain("X-More: more\r\n".bytes().cycle()))?;
        return Ok(false);
    }
    stream.write_all(head.as_bytes())?;
    stream.write_all(b"\r\n")?;
    let Some((file, bytes)) = answer.body else { return Ok(true) };
    if answer.trickle == Some(Failure::TrickleBody) {
        drop_by_drop(&mut BufReader::new(file.take(bytes)).bytes().map_while(Result::ok))?;
        return Ok(true);
    }
    let sent = io::copy(&mut file.take(bytes), &mut stream)?;
    while answer.stall && !shared.stopped.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(20));
    }
    Ok(sent == answer.length)
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        304 => "Not Modified",
        400 => "Bad Request",
        404 => "Not Found",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Other",
    }
}

/// First byte and the one after the last of `bytes=START-[END]` or `bytes=-LAST`; `None` when they lie outside.
fn parse_range(range: &str, length: u64) -> Option<(u64, u64)> {
    let (start, end) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (start, end) = match (start, end) {
        ("", last) => (length.saturating_sub(last.parse().ok()?), length),
        (start, "") => (start.parse().ok()?, length),
        (start, end) => (start.parse().ok()?, end.parse::<u64>().ok()?.saturating_add(1).min(length)),
    };
    (start < end).then_some((start, end))
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = (first == b'%').then(|| tail.get(..2)).flatten();
        match code.and_then(|code| std::str::from_utf8(code).ok()).and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => (bytes.push(byte), rest = &tail[2..]).1,
            None => (bytes.push(first), rest = tail).1,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The IMF-fixdate of RFC 9110, section 5.6.7.
fn http_date(since_epoch: Duration) -> String {
    let seconds = i64::try_from(since_epoch.as_secs()).expect("a date in range");
    let time = jiff::Timestamp::from_second(seconds).expect("a date in range");
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use std::io::BufRead as _;

    use super::*;

    fn ask(server: &MirrorServer, request: &str) -> String {
        let mut stream = TcpStream::connect(server.address).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
        stream.write_all(request.as_bytes()).expect("it reads");
        stream.shutdown(std::net::Shutdown::Write).expect("half closed");
        let mut answer = Vec::new();
        // A server that stalls or closes early is what some of the cases ask for.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn served() -> (tempfile::TempDir, MirrorServer) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(dir.path().join("a+b"), "0123456789").expect("a file");
        let server = MirrorServer::start(dir.path());
        (dir, server)
    }

    #[test]
    fn serves_files_ranges_and_nothing_else() {
        let (_dir, server) = served();
        for (path, header, status, body) in [
            ("/a+b", "", "200", "0123456789"),
            ("/a%2Bb", "", "200", "0123456789"),
            ("/a+b", "Range: bytes=3-5\r\n", "206", "345"),
            ("/a+b", "Range: bytes=8-\r\n", "206", "89"),
            ("/a+b", "Range: bytes=-3\r\n", "206", "789"),
            ("/a+b", "Range: bytes=10-\r\n", "416", ""),
            ("/../a+b", "", "400", ""),
            ("/c", "", "404", ""),
            ("/", "", "404", ""),
        ] {
            let answer = ask(&server, &format!("GET {path} HTTP/1.1\r\n{header}\r\n"));
            let (head, found) = answer.split_once("\r\n\r\n").expect("a head");
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{path} {header}: {head}");
            assert_eq!(found, body, "{path} {header}");
        }
        assert_eq!(server.count("/a+b"), 6);
    }

    #[test]
    fn an_unchanged_file_is_not_sent_again() {
        let (_dir, server) = served();
        let first = ask(&server, "GET /a+b HTTP/1.1\r\n\r\n");
        let tag = first.lines().find_map(|line| line.strip_prefix("ETag: ")).expect("an ETag");
        let second = ask(&server, &format!("GET /a+b HTTP/1.1\r\nIf-None-Match: {tag}\r\n\r\n"));
        assert!(second.starts_with("HTTP/1.1 304 ") && second.ends_with("\r\n\r\n"), "{second}");
        let date = http_date(Duration::from_secs(784_111_777));
        assert_eq!(date, "Sun, 06 Nov 1994 08:49:37 GMT", "the example of RFC 9110");
    }

    #[test]
    fn fails_as_it_is_told_and_then_no_more() {
        let (_dir, server) = served();
        server.fail("/a+b", 1, Failure::Status(503, Some(7)));
        server.fail("/a+b", 1, Failure::CloseAfter(4));
        server.fail("/a+b", 1, Failure::TruncateTo(5));
        let get = || ask(&server, "GET /a+b HTTP/1.1\r\n\r\n");
        let busy = get();
        assert!(busy.starts_with("HTTP/1.1 503 ") && busy.contains("Retry-After: 7\r\n"), "{busy}");
        let broken = get();
        assert!(broken.contains("Content-Length: 10\r\n") && broken.ends_with("\r\n\r\n0123"), "{broken}");
        let short = get();
        assert!(short.contains("Content-Length: 5\r\n") && short.ends_with("\r\n\r\n01234"), "{short}");
        assert!(get().ends_with("0123456789"));
        let statuses: Vec<u16> = server.take_requests().iter().map(|request| request.status).collect();
        assert_eq!(statuses, [503, 200, 200, 200]);
    }

    #[test]
    fn a_stall_ends_with_the_server() {
        let (_dir, server) = served();
        server.fail("/a+b", 1, Failure::StallAfter(2));
        let mut stream = TcpStream::connect(server.address).expect("the server listens");
        stream.write_all(b"GET /a+b HTTP/1.1\r\n\r\n").expect("it reads");
        let begun = BufReader::new(&stream).lines().map_while(Result::ok).any(|line| line.is_empty());
        assert!(begun, "the head comes, then nothing");
        drop(server);
        let mut rest = String::new();
        stream.read_to_string(&mut rest).expect("closed in the end");
    }
}
