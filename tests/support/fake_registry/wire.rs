//! What goes over a connection: requests in, answers out, as they should be or as a test wants them.

use std::{
    io::{self, BufRead, BufReader, Write as _},
    net::{Shutdown, TcpStream},
    sync::atomic::Ordering,
    thread,
    time::Duration,
};

use serde_json::json;

use super::{ALWAYS, Failure, Planned, Request, Shared, api};

/// An answer of the registry.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// How it is written.
    pub style: Style,
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// HTTP/1.1, with a Content-Length.
    Plain,
    /// HTTP/1.1, in chunks.
    Chunked,
    /// HTTP/1.0, up to the connection's end.
    Old,
    /// HTTP/1.1 with a Content-Length, then the connection ends.
    Last,
}

impl Answer {
    /// An empty answer.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), style: Style::Plain }
    }

    /// An error document with this code.
    pub fn error(status: u16, code: &str) -> Self {
        Self::told(status, code, "as the test asked for")
    }

    /// An error document with this code and message.
    pub fn told(status: u16, code: &str, message: &str) -> Self {
        let body = json!({ "errors": [{ "code": code, "message": message, "detail": null }] });
        Self::new(status).holding("application/json", body.to_string())
    }

    /// With this body.
    #[must_use]
    pub fn holding(mut self, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.with("Content-Type", kind)
    }

    /// With this header, and no other of its name.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.set(name, value);
        self
    }

    /// Sets a header.
    pub fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.unset(name);
        self.headers.push((name, value.into()));
    }

    /// Leaves a header out.
    pub fn unset(&mut self, name: &str) {
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Answers the requests of one connection.
pub(super) fn serve(shared: &Shared, stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_head(&mut reader)? {
        if shared.stopped.load(Ordering::Relaxed) || !exchange(shared, stream, &mut reader, request)? {
            break;
        }
    }
    stream.shutdown(Shutdown::Both)
}

/// One request and its answer; whether the connection can be used again.
fn exchange(
    shared: &Shared,
    stream: &TcpStream,
    reader: &mut BufReader<&TcpStream>,
    mut request: Request,
) -> io::Result<bool> {
    let failure = take_failure(&mut shared.state().planned, &request);
    let announced = request.header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    let head_only = request.method == "HEAD";
    if let Some(Failure::Early(answer, further)) = &failure {
        request.status = answer.status;
        shared.state().requests.push(request);
        send(stream, answer, head_only, ALWAYS)?;
        // What is read no further is why the peer's system gets a reset.
        read_body(shared, reader, announced.min(*further))?;
        return Ok(announced <= *further);
    }
    let taken = match failure {
        Some(Failure::CloseAfterTaking(bytes) | Failure::Stall(bytes)) => bytes.min(announced),
        _ => announced,
    };
    let body = read_body(shared, reader, taken)?;
    request.sent = body.len();
    if matches!(failure, Some(Failure::CloseAfterTaking(_) | Failure::Stall(_))) {
        let mut state = shared.state();
        if let Some(upload) = state.uploads.get_mut(request.path()) {
            upload.extend_from_slice(&body);
        }
        state.requests.push(request);
        drop(state);
        while matches!(failure, Some(Failure::Stall(_))) && !shared.stopped.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(5));
        }
        return Ok(false);
    }
    let answer = match &failure {
        Some(Failure::Status(status, code)) => Answer::error(*status, code),
        Some(Failure::RetryAfter(status, wait)) => Answer::error(*status, "TOOMANYREQUESTS").with("Retry-After", *wait),
        Some(Failure::Answer(answer)) => answer.clone(),
        _ => altered(api::answer(&mut shared.state(), shared.address, &request, body), failure.as_ref()),
    };
    request.status = answer.status;
    shared.state().requests.push(request);
    if let Some(Failure::Interim(bytes)) = failure {
        (&mut &*stream).write_all(bytes.as_bytes())?;
    }
    let most = match failure {
        Some(Failure::CloseAfterSending(bytes)) => bytes,
        _ => ALWAYS,
    };
    send(stream, &answer, head_only, most)
}

fn altered(mut answer: Answer, failure: Option<&Failure>) -> Answer {
    match failure {
        Some(Failure::NameDigest(digest)) => return answer.with("Docker-Content-Digest", digest.as_str()),
        Some(Failure::Corrupt) => answer.body.iter_mut().take(1).for_each(|byte| *byte ^= 1),
        Some(Failure::NoLocation) => answer.unset("Location"),
        Some(Failure::Changed(change)) => (change.0)(&mut answer),
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
    let fits = |plan: &Planned| {
        (plan.method == "*" || plan.method == request.method) && request.target.contains(&plan.part) && plan.times > 0
    };
    let place = planned.iter().position(fits)?;
    planned[place].times -= 1;
    let failure = planned[place].failure.clone();
    planned.retain(|plan| plan.times > 0);
    Some(failure)
}

/// Sends `answer`, at most `most` bytes of its body; whether the connection can be used again.
fn send(mut stream: &TcpStream, answer: &Answer, head_only: bool, most: usize) -> io::Result<bool> {
    let version = if answer.style == Style::Old { "1.0" } else { "1.1" };
    let mut head = format!("HTTP/{version} {} As The Test Says\r\n", answer.status);
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &match answer.style {
        Style::Old => String::new(),
        Style::Chunked if answer.status != 204 => "Transfer-Encoding: chunked\r\n".to_owned(),
        Style::Last => format!("Connection: close\r\nContent-Length: {}\r\n", answer.body.len()),
        _ if answer.status == 204 => String::new(),
        _ => format!("Content-Length: {}\r\n", answer.body.len()),
    };
    stream.write_all(head.as_bytes())?;
    stream.write_all(b"\r\n")?;
    let body = if head_only || answer.status == 204 { &[][..] } else { &answer.body[..most.min(answer.body.len())] };
    if answer.style == Style::Chunked && !head_only && answer.status != 204 {
        for piece in body.chunks(7) {
            stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
            stream.write_all(piece)?;
            stream.write_all(b"\r\n")?;
        }
        stream.write_all(b"0\r\n\r\n")?;
    } else {
        stream.write_all(body)?;
    }
    let whole = head_only || answer.status == 204 || body.len() == answer.body.len();
    Ok(whole && matches!(answer.style, Style::Plain | Style::Chunked))
}
