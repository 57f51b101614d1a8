//! Requests that send something: their answer counts whenever it comes.
//!
//! A registry, or a proxy before it, may answer before it has read the body, and close the connection: 403, 413, 507.
//! reqwest's blocking client loses such an answer, and can limit the time of a whole upload only. So these requests go
//! through its asynchronous client, on a thread of its own. The body is read by the caller's thread: it may have to be
//! fetched first.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    io::{self, Read},
    pin::{Pin, pin},
    sync::{Arc, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use reqwest::{ResponseBuilderExt as _, blocking};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::mpsc::{self, Receiver, Sender, error::TrySendError},
    task::{JoinError, JoinHandle},
    time::{sleep, timeout},
};

use super::{
    Body, Fault, HeaderMap, Http, HttpError, Method, Response, Route, Url, display_url,
    error::{transport, words},
    pace::Pace,
};
use crate::ui::size;

/// The length of the pieces in which a body is handed over. One of them must be taken in each `idle_timeout`: about 1
/// kB a second.
const PIECE: usize = 64 << 10;

/// The longest answer that is read: it is an error, or a token.
const MAX_ANSWER: usize = 1 << 20;

/// What the uploads of a process run on; it is made when the first one begins.
#[derive(Default)]
pub(super) struct Uploads {
    runtime: Option<Arc<Runtime>>,
    clients: BTreeMap<(Route, bool), reqwest::Client>,
}

impl Http {
    /// Sends a request that is neither GET nor HEAD, once.
    pub(super) fn upload(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Response, HttpError> {
        let shown = display_url(&url);
        let (runtime, client) = self.uploader(Route::to(&url), self.is_insecure(&url))?;
        let host = url.authority().to_owned();
        let builder = client.request(method, url).headers(headers);
        let mut feed = None;
        let builder = match body {
            Body::Empty => builder,
            Body::Bytes(bytes) => builder.body(bytes),
            Body::Sized(reader, length) => {
                let (sender, receiver) = mpsc::channel(1);
                feed = Some(Feed { reader, sender, left: length });
                builder.body(reqwest::Body::wrap(Fed { receiver, left: length }))
            }
        };
        let request = builder.build().map_err(|e| HttpError::Setup(words(&e)))?;
        let length = feed.as_ref().map_or(0, |feed| feed.left);
        let idle = self.options().idle_timeout;
        let task = runtime.spawn(async move { answer_to(client, request, idle).await });
        let mut exchange = Exchange { task, handle: runtime.handle().clone(), idle, shown };
        let early = feed.map(|feed| exchange.feed(feed)).transpose()?.flatten();
        let answer = match early {
            Some((answer, sent)) => return exchange.finish(answer, Some((sent, length))),
            None => {
                // A registry may move a large blob to its place before it answers.
                exchange.wait(idle.saturating_mul(5), |waited, left| {
                    let (waited, left) = (waited.as_secs_f32().ceil(), left.as_secs_f32().ceil());
                    let so_far = format!("no answer from {host} for {waited} seconds after all was sent");
                    self.options().ui.say(&format!("{so_far}; waiting for {left} more at most"));
                })?
            }
        };
        exchange.finish(answer, None)
    }

    fn uploader(&self, route: Route, insecure: bool) -> Result<(Arc<Runtime>, reqwest::Client), HttpError> {
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        let runtime = match &uploads.runtime {
            Some(runtime) => Arc::clone(runtime),
            None => {
                let built = Builder::new_multi_thread().worker_threads(1).thread_name("uploads").enable_all().build();
                Arc::clone(uploads.runtime.insert(Arc::new(built.map_err(|e| HttpError::Setup(e.to_string()))?)))
            }
        };
        let client = match uploads.clients.get(&(route, insecure)) {
            Some(client) => client.clone(),
            None => {
                let client = self.with_ca(route, |own_ca_only| self.builder(route, insecure, own_ca_only).build())?;
                uploads.clients.insert((route, insecure), client.clone());
                client
            }
        };
        Ok((runtime, client))
    }
}

/// An answer with as much of its body as could be read.
struct Answer {
    head: reqwest::Response,
    body: Vec<u8>,
    broken: Option<reqwest::Error>,
}

type Answered = Result<Result<Answer, reqwest::Error>, JoinError>;

async fn answer_to(
    client: reqwest::Client,
    request: reqwest::Request,
    idle: Duration,
) -> Result<Answer, reqwest::Error> {
    let mut head = client.execute(request).await?;
    let mut body = Vec::new();
    let mut broken = None;
    while body.len() <= MAX_ANSWER {
        match timeout(idle, head.chunk()).await {
            Ok(Ok(Some(piece))) => body.extend_from_slice(&piece),
            Ok(Err(error)) => {
                broken = Some(error);
                break;
            }
            Ok(Ok(None)) | Err(_) => break,
        }
    }
    Ok(Answer { head, body, broken })
}

/// A request under way; it ends with this value.
struct Exchange {
    task: JoinHandle<Result<Answer, reqwest::Error>>,
    handle: Handle,
    idle: Duration,
    shown: String,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Exchange {
    /// Hands the body over; the answer when it comes before the end, and how much had been handed over.
    fn feed(&mut self, mut feed: Feed) -> Result<Option<(Answered, u64)>, HttpError> {
        let mut sent = 0;
        while feed.left > 0 {
            let piece =
                feed.next().map_err(|source| HttpError::Local { what: "read", url: self.shown.clone(), source })?;
            let length = piece.len() as u64;
            // No piece follows an answer: the peer reads no further.
            let handed = if self.task.is_finished() {
                Handed::Over
            } else {
                match feed.sender.try_send(piece) {
                    Ok(()) => Handed::Taken,
                    Err(TrySendError::Closed(_)) => Handed::Over,
                    Err(TrySendError::Full(piece)) => {
                        self.handle.clone().block_on(handed(&mut self.task, &feed.sender, piece, self.idle))
                    }
                }
            };
            match handed {
                Handed::Taken => sent += length,
                Handed::Answered(answer) => return Ok(Some((answer, sent))),
                Handed::Stalled => return Err(self.timed_out(format!("nothing was taken for {:?}", self.idle))),
                // The answer, or why there is none, is on its way.
                Handed::Over => return self.wait(self.idle, |_, _| {}).map(|answer| Some((answer, sent))),
            }
        }
        Ok(None)
    }

    /// Waits for the answer; `tell` hears each time that the peer has been silent for `idle`: for how long, and for how
    /// long it will still be waited for.
    fn wait(&mut self, limit: Duration, tell: impl Fn(Duration, Duration)) -> Result<Answered, HttpError> {
        let started = Instant::now();
        loop {
            let left = limit.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Err(self.timed_out("no answer within the time limit".to_owned()));
            }
            let (task, step) = (&mut self.task, self.idle.min(left));
            if let Ok(answer) = self.handle.block_on(async { timeout(step, task).await }) {
                return Ok(answer);
            }
            let left = limit.saturating_sub(started.elapsed());
            if !left.is_zero() {
                tell(started.elapsed(), left);
            }
        }
    }

    fn timed_out(&self, what: String) -> HttpError {
        HttpError::Transport { url: self.shown.clone(), fault: Fault::TimedOut, what }
    }

    /// The answer as other requests have it; `sent` is how much of how many bytes had been handed over when it came, if
    /// not all.
    fn finish(&self, answer: Answered, sent: Option<(u64, u64)>) -> Result<Response, HttpError> {
        let answer = answer.map_err(|e| HttpError::Setup(e.to_string()))?;
        let Answer { head, body, broken } = answer.map_err(|e| match (transport(self.shown.clone(), &e), sent) {
            (HttpError::Transport { url, fault: Fault::Broken, what }, Some((sent, of))) => {
                let what = format!("{what} when {} of {} had been sent", size(sent), size(of));
                HttpError::Transport { url, fault: Fault::Broken, what }
            }
            (error, _) => error,
        })?;
        // Half a refusal still says why; half of something else is nothing.
        if let Some(error) = broken.filter(|_| head.status().is_success()) {
            return Err(transport(self.shown.clone(), &error));
        }
        let mut response = http::Response::builder().status(head.status()).url(head.url().clone());
        if let Some(headers) = response.headers_mut() {
            headers.clone_from(head.headers());
        }
        let response = response.body(body).map_err(|e| HttpError::Setup(e.to_string()))?;
        // It has been read already, within a time limit of its own.
        let pace = Pace::new(0, Duration::MAX);
        Ok(Response { inner: blocking::Response::from(response), pace, url: self.shown.clone() })
    }
}

/// What became of a piece of a body.
enum Handed {
    /// It will be sent.
    Taken,
    /// The answer came first.
    Answered(Answered),
    /// The peer took nothing for too long.
    Stalled,
    /// Nothing will be sent any more.
    Over,
}

/// Waits until `piece` is taken, for `idle` at most, or until there is an answer.
async fn handed(
    task: &mut JoinHandle<Result<Answer, reqwest::Error>>,
    sender: &Sender<Bytes>,
    piece: Bytes,
    idle: Duration,
) -> Handed {
    let mut piece = Some(piece);
    let mut place = pin!(sender.reserve());
    let mut end = pin!(sleep(idle));
    poll_fn(|cx| {
        if let Poll::Ready(answer) = Pin::new(&mut *task).poll(cx) {
            return Poll::Ready(Handed::Answered(answer));
        }
        match place.as_mut().poll(cx) {
            Poll::Ready(Ok(place)) => {
                if let Some(piece) = piece.take() {
                    place.send(piece);
                }
                return Poll::Ready(Handed::Taken);
            }
            Poll::Ready(Err(_)) => return Poll::Ready(Handed::Over),
            Poll::Pending => {}
        }
        end.as_mut().poll(cx).map(|()| Handed::Stalled)
    })
    .await
}

/// The end of a body at which it is read.
struct Feed {
    reader: Box<dyn Read + Send>,
    sender: Sender<Bytes>,
    left: u64,
}

impl Feed {
    fn next(&mut self) -> io::Result<Bytes> {
        let mut piece = vec![0; usize::try_from(self.left).unwrap_or(PIECE).min(PIECE)];
        let mut filled = 0;
        while filled < piece.len() {
            match self.reader.read(&mut piece[filled..]) {
                Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is shorter than it should be")),
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.left -= piece.len() as u64;
        Ok(piece.into())
    }
}

/// The end of a body at which it is sent.
struct Fed {
    receiver: Receiver<Bytes>,
    left: u64,
}

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.receiver.poll_recv(cx).map(|piece| match piece {
            Some(piece) => {
                self.left = self.left.saturating_sub(piece.len() as u64);
                Some(Ok(Frame::data(piece)))
            }
            // The reading end has given up.
            None if self.left > 0 => Some(Err(io::ErrorKind::UnexpectedEof.into())),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
