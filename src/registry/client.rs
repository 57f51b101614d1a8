//! The client of one registry (OCI distribution specification 1.1): requests with authentication, manifests, and blobs
//! to read. Uploads are in `upload`.

use std::{
    io::{self, Read as _},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    answer::{one_line, parse_errors},
    auth::{Scope, Session, Source},
    credentials::{CredentialStore, Credentials},
    error::{RegistryError, Tried},
    reference::{api_host, is_local},
};
use crate::{
    digest::Digest,
    http::{Body, Fault, HeaderValue, Http, HttpError, Method, Request, Response, Url, display_url, header, parse_url},
    image::Document,
    store::{BlobDir, StoreError},
};

/// What a manifest may be: OCI's types and Docker's.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// The longest manifest that is read; registries accept 4 MiB at least (specification, "Pushing Manifests").
const MAX_MANIFEST: u64 = 4 << 20;

/// How many redirects of what is sent are followed.
const MAX_REDIRECTS: usize = 5;

/// The longest error document that is read.
const MAX_ERROR: u64 = 64 << 10;

/// A manifest that a registry has, as the answer to a HEAD describes it. None of this is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its digest; `None` when the registry does not say.
    pub digest: Option<Digest>,
    /// Its media type; empty when the registry does not say.
    pub media_type: String,
}

/// What a registry says of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It has it.
    There,
    /// It does not.
    Missing,
    /// Nothing: it does not answer this question, or not to this user.
    Unknown,
}

/// The client of one registry. Share it between threads by reference.
pub struct Registry {
    http: Http,
    name: String,
    session: Arc<Session>,
    /// Scheme, host and port, once the registry has answered.
    origin: Mutex<Option<Url>>,
}

impl Registry {
    /// The client of the registry that references call `name`; it connects when it is first used, and asks `store` for
    /// credentials when the registry wants some.
    pub fn new(http: &Http, store: &CredentialStore, name: &str) -> Self {
        Self::from_source(http, name, Source::Store(store.clone()))
    }

    /// The client of the registry `name` that uses these credentials, or none.
    pub fn with_credentials(http: &Http, name: &str, credentials: Option<Credentials>) -> Self {
        Self::from_source(http, name, Source::Given(credentials))
    }

    fn from_source(http: &Http, name: &str, source: Source) -> Self {
        let session = Session::new(http, name, source);
        Self { http: http.clone(), name: name.to_owned(), session, origin: Mutex::default() }
    }

    /// The registry as references call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn http(&self) -> &Http {
        &self.http
    }

    /// Asks whether the registry is one, and whether it accepts the credentials (specification, "Determining Support").
    ///
    /// # Errors
    /// When it cannot be reached, is not a registry, or refuses.
    pub fn check(&self) -> Result<(), RegistryError> {
        let what = "log in";
        self.http.retrying(|_| {
            let response = self.send(&Scope::none(), "/v2/", &|url| Request::new(Method::GET, url))?;
            self.expect(response, what, &[200]).map(drop)
        })
    }

    /// What lies under a tag or digest of `repository`, by HEAD; `None` when nothing does, or when the registry does
    /// not answer that question: there are registries without HEAD, and users who may write but not read.
    ///
    /// # Errors
    /// When the registry cannot be reached, or takes no credentials.
    pub fn find_manifest(
        &self,
        repository: &str,
        reference: &str,
        scope: &Scope,
    ) -> Result<Option<Found>, RegistryError> {
        let what = format!("look for the manifest {}", name_of(repository, reference));
        let path = format!("/v2/{repository}/manifests/{reference}");
        let found = self.http.retrying(|_| {
            let response = self.send(scope, &path, &|url| accepting(Request::new(Method::HEAD, url)))?;
            let response = self.expect(response, &what, &[200])?;
            let digest = response.header("docker-content-digest").and_then(|digest| digest.parse().ok());
            let media_type = response.header(header::CONTENT_TYPE).unwrap_or_default().to_owned();
            Ok(Some(Found { digest, media_type }))
        });
        found.or_else(|error| if says_nothing(&error, &what) { Ok(None) } else { Err(error) })
    }

    /// The manifest or index under a tag or digest of `repository`. Its bytes have the digest that was requested, or
    /// that the registry says the tag has.
    ///
    /// # Errors
    /// When the registry cannot be reached or refuses, or the bytes have another digest.
    pub fn manifest(&self, repository: &str, reference: &str) -> Result<Document, RegistryError> {
        let what = format!("pull the manifest {}", name_of(repository, reference));
        let path = format!("/v2/{repository}/manifests/{reference}");
        self.http.retrying(|_| {
            let response =
                self.send(&Scope::pull(repository), &path, &|url| accepting(Request::new(Method::GET, url)))?;
            let response = self.expect(response, &what, &[200])?;
            let promised = match reference.parse::<Digest>() {
                Ok(digest) => Some(digest),
                Err(_) => self.promised_digest(&response, &what)?,
            };
            let kind = response.header(header::CONTENT_TYPE).unwrap_or_default();
            let kind = kind.split(';').next().unwrap_or_default().trim().to_owned();
            let document = Document::new(kind, response.bytes(MAX_MANIFEST)?);
            match promised {
                Some(expected) if expected != document.digest => Err(RegistryError::Digest {
                    what: format!("the manifest {}", name_of(repository, reference)),
                    registry: self.name.clone(),
                    expected,
                    found: document.digest.to_string(),
                }),
                _ => Ok(document),
            }
        })
    }

    fn promised_digest(&self, response: &Response, what: &str) -> Result<Option<Digest>, RegistryError> {
        let header = response.header("docker-content-digest");
        header.map(str::parse).transpose().map_err(|e| self.protocol(what, format!("its Docker-Content-Digest: {e}")))
    }

    /// Puts a manifest or index under a tag or digest of `repository`. All that it names must be there already.
    ///
    /// # Errors
    /// When the registry cannot be reached or refuses, or says that it has stored another digest.
    pub fn put_manifest(&self, repository: &str, reference: &str, document: &Document) -> Result<(), RegistryError> {
        let what = format!("push the manifest {}", name_of(repository, reference));
        let path = format!("/v2/{repository}/manifests/{reference}");
        let kind = HeaderValue::from_str(&document.media_type)
            .map_err(|_| self.protocol(&what, format!("`{}` is no media type", document.media_type)))?;
        self.http.retrying(|_| {
            let response = self.send(&Scope::push(repository), &path, &|url| {
                Request::new(Method::PUT, url)
                    .header(header::CONTENT_TYPE, kind.clone())
                    .body(Body::Bytes(document.bytes.clone()))
            })?;
            let response = self.succeeded(response, &what)?;
            self.check_digest(&response, &format!("the manifest {}", name_of(repository, reference)), &document.digest)
        })
    }

    /// Whether `repository` is known to have the blob.
    ///
    /// # Errors
    /// When the registry cannot be reached, or takes no credentials.
    pub fn has_blob(&self, repository: &str, digest: &Digest, scope: &Scope) -> Result<bool, RegistryError> {
        Ok(self.look_for_blob(repository, digest, None, scope)? == Presence::There)
    }

    /// What the registry says of a blob, by HEAD. One of another length than `size`, when that is given, is missing.
    ///
    /// # Errors
    /// When the registry cannot be reached, or takes no credentials.
    pub fn look_for_blob(
        &self,
        repository: &str,
        digest: &Digest,
        size: Option<u64>,
        scope: &Scope,
    ) -> Result<Presence, RegistryError> {
        let what = format!("look for the blob {repository}@{digest}");
        let path = format!("/v2/{repository}/blobs/{digest}");
        let found = self.http.retrying(|_| {
            let response = self.send(scope, &path, &|url| Request::new(Method::HEAD, url))?;
            let elsewhere = self.origin().is_some_and(|origin| origin.origin() != response.url().origin());
            match response.status() {
                404 => Ok(Presence::Missing),
                // The registry sent us to its storage, so it has the blob; a URL signed for GET alone answers 403 to a
                // HEAD.
                _ if elsewhere && !response.is_success() => Ok(Presence::There),
                _ => {
                    let response = self.expect(response, &what, &[200])?;
                    let named = response.header("docker-content-digest").and_then(|named| named.parse::<Digest>().ok());
                    // Some say 0 of everything.
                    let length = response.content_length().filter(|length| *length > 0);
                    let another_length = length.zip(size).is_some_and(|(length, size)| length != size);
                    let another = another_length || named.is_some_and(|named| named != *digest);
                    Ok(if another { Presence::Missing } else { Presence::There })
                }
            }
        });
        found.or_else(|error| if says_nothing(&error, &what) { Ok(Presence::Unknown) } else { Err(error) })
    }

    /// Fetches a blob into `into`, unless it's there; its length. Its bytes are verified, and no more than `size` of
    /// them are read.
    ///
    /// # Errors
    /// When the registry cannot be reached or refuses, the bytes have another digest, or they cannot be stored.
    pub fn fetch_blob(
        &self,
        repository: &str,
        digest: &Digest,
        size: u64,
        into: &BlobDir,
    ) -> Result<u64, RegistryError> {
        if into.contains(digest, size) {
            return Ok(size);
        }
        let what = format!("pull the blob {repository}@{digest}");
        let path = format!("/v2/{repository}/blobs/{digest}");
        self.http.retrying(|_| {
            let response = self.send(&Scope::pull(repository), &path, &|url| Request::new(Method::GET, url))?;
            let mut response = self.expect(response, &what, &[200])?;
            let mut writer = into.writer()?;
            response.copy_at_most(size, &mut writer)?;
            writer.finish_as(digest, &what).map_err(|error| match error {
                StoreError::Digest { expected, found, .. } => RegistryError::Digest {
                    what: format!("the blob {repository}@{digest}"),
                    registry: self.name.clone(),
                    expected,
                    found: found.to_string(),
                },
                error => error.into(),
            })
        })
    }

    /// The registry's scheme, host and port, once it has answered.
    pub(super) fn origin(&self) -> Option<Url> {
        self.origin.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends the request that `make` builds for a path of the API, with the authentication that `scope` needs.
    pub(super) fn send(
        &self,
        scope: &Scope,
        path: &str,
        make: &dyn Fn(Url) -> Request,
    ) -> Result<Response, RegistryError> {
        let mut known = self.origin.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(origin) = known.clone() {
            drop(known);
            return self.send_to(&origin, scope, &self.join(&origin, path)?, &mut |url| Ok(make(url)));
        }
        // The other threads wait for the first one to find out how the registry is spoken to.
        let (origin, response) = self.first_contact(scope, path, make)?;
        *known = Some(origin);
        Ok(response)
    }

    fn join(&self, origin: &Url, path: &str) -> Result<Url, RegistryError> {
        origin.join(path).map_err(|e| self.protocol("build a URL", e.to_string()))
    }

    /// Sends the first request, which shows whether the registry speaks TLS. On this machine plain HTTP is tried first
    /// (without credentials: they follow only on the registry's asking); with `--insecure` it is tried last.
    fn first_contact(
        &self,
        scope: &Scope,
        path: &str,
        make: &dyn Fn(Url) -> Request,
    ) -> Result<(Url, Response), RegistryError> {
        let host = api_host(&self.name);
        let is_insecure = self.http.is_insecure(&parse_url(&format!("http://{host}"))?);
        let schemes: &[&str] = match (is_local(host), is_insecure) {
            (true, _) => &["http", "https"],
            (false, true) => &["https", "http"],
            (false, false) => &["https"],
        };
        let mut earlier = None;
        for (index, scheme) in schemes.iter().enumerate() {
            let last = index + 1 == schemes.len();
            let origin = parse_url(&format!("{scheme}://{host}"))?;
            let answer = self.send_to(&origin, scope, &self.join(&origin, path)?, &mut |url| Ok(make(url)));
            match answer {
                // So Go's TLS servers, hence most registries, answer to plain HTTP.
                Ok(response) if !last && *scheme == "http" && response.status() == 400 => {
                    earlier = Some(Ok((origin, response)));
                }
                Ok(response) => return Ok((origin, response)),
                Err(RegistryError::Http(HttpError::Transport { ref fault, .. }))
                    if !last && another_scheme(scheme, fault) =>
                {
                    earlier = answer.err().map(Err);
                }
                // The first scheme's failure says more, unless one of them shows that the registry speaks the second.
                Err(error) if distrusted(&error) => return Err(error),
                Err(error) => return earlier.filter(|e| !spoke_plainly(e)).unwrap_or(Err(error)),
            }
        }
        earlier.unwrap_or_else(|| Err(self.protocol("reach it", "no scheme was tried")))
    }

    /// Sends a request to `url`; with authentication when that's the registry itself, not a storage to which it points.
    /// A redirect that keeps the method (307, 308) is followed as long as it does not lead to another origin: what is
    /// sent was meant for this one.
    pub(super) fn send_to(
        &self,
        origin: &Url,
        scope: &Scope,
        url: &Url,
        make: &mut dyn FnMut(Url) -> Result<Request, RegistryError>,
    ) -> Result<Response, RegistryError> {
        let mut url = url.clone();
        for _ in 0..MAX_REDIRECTS {
            let response = self.authenticated(origin, scope, &url, make)?;
            match redirect_of(&response)
                .filter(|next| matches!(response.status(), 307 | 308) && next.origin() == url.origin())
            {
                Some(next) => url = next,
                None => return Ok(response),
            }
        }
        Err(self.protocol("follow it", format!("it redirects more than {MAX_REDIRECTS} times")))
    }

    fn authenticated(
        &self,
        origin: &Url,
        scope: &Scope,
        url: &Url,
        make: &mut dyn FnMut(Url) -> Result<Request, RegistryError>,
    ) -> Result<Response, RegistryError> {
        if url.origin() != origin.origin() {
            return Ok(self.http.send(make(url.clone())?)?);
        }
        let sent = self.session.authorization(origin, scope)?;
        let mut response = self.http.send(authorized(make(url.clone())?, sent.as_ref()))?;
        if response.status() != 401 || response.url().origin() != origin.origin() {
            return Ok(response);
        }
        let Some(authorization) = self.session.challenged(&response, origin, scope, sent.as_ref())? else {
            return Ok(response);
        };
        // A connection whose answer was read to its end serves the next request, too.
        let _ = io::copy(&mut response.by_ref().take(MAX_ERROR), &mut io::sink());
        Ok(self.http.send(authorized(make(url.clone())?, Some(&authorization)))?)
    }

    /// `response`, when its status is one of `statuses`.
    pub(super) fn expect(&self, response: Response, what: &str, statuses: &[u16]) -> Result<Response, RegistryError> {
        let status = response.status();
        if statuses.contains(&status) {
            return Ok(response);
        }
        if response.is_success() {
            return Err(self.protocol(what, format!("expected HTTP status {}, found {status}", statuses[0])));
        }
        Err(self.refused(response, what))
    }

    /// `response`, when its status is a 2xx: which of them is the right one, registries do not agree on.
    pub(super) fn succeeded(&self, response: Response, what: &str) -> Result<Response, RegistryError> {
        if response.is_success() { Ok(response) } else { Err(self.refused(response, what)) }
    }

    fn refused(&self, response: Response, what: &str) -> RegistryError {
        let status = response.status();
        if let Some(to) = redirect_of(&response) {
            let (what, registry, to) = (what.to_owned(), self.name.clone(), display_url(&to));
            return RegistryError::Elsewhere { what, registry, to, status };
        }
        let retry_after = response.retry_after();
        let kind = response.header(header::CONTENT_TYPE).unwrap_or_default().to_owned();
        let mut body = Vec::new();
        // What cannot be read any more does not change what the status says.
        let _ = response.take(MAX_ERROR).read_to_end(&mut body);
        RegistryError::Refused {
            what: what.to_owned(),
            registry: self.name.clone(),
            status,
            errors: parse_errors(&kind, &body),
            retry_after,
            credentials: Box::new(self.session.tried()),
        }
    }

    /// Checks what the registry says it has stored.
    pub(super) fn check_digest(&self, response: &Response, what: &str, expected: &Digest) -> Result<(), RegistryError> {
        // One that cannot be read, or is of another algorithm, cannot be compared.
        match response.header("docker-content-digest").and_then(|found| found.parse::<Digest>().ok()) {
            Some(found) if found != *expected => Err(RegistryError::Digest {
                what: what.to_owned(),
                registry: self.name.clone(),
                expected: *expected,
                found: found.to_string(),
            }),
            _ => Ok(()),
        }
    }

    pub(super) fn protocol(&self, what: &str, why: impl Into<String>) -> RegistryError {
        RegistryError::Protocol { what: what.to_owned(), registry: self.name.clone(), why: one_line(&why.into()) }
    }
}

/// Where a redirect leads to.
fn redirect_of(response: &Response) -> Option<Url> {
    let location =
        response.header(header::LOCATION).filter(|_| matches!(response.status(), 301 | 302 | 303 | 307 | 308))?;
    response.url().join(location).ok()
}

/// Whether `error` says only that the registry does not answer a HEAD, which asks for `what`: what follows will show
/// whether it takes what is sent. Credentials that it refused will be refused again, and a limit or an outage is
/// something else.
fn says_nothing(error: &RegistryError, what: &str) -> bool {
    match error {
        RegistryError::Refused { what: asked, status, credentials, .. } if asked == what => match status {
            401 => matches!(**credentials, Tried::Unasked | Tried::Missing(_)),
            407 | 429 => false,
            status => (300..500).contains(status) || matches!(status, 500 | 501),
        },
        RegistryError::Protocol { what: asked, .. } => asked == what,
        RegistryError::Http(HttpError::Redirect { .. }) => true,
        _ => false,
    }
}

/// As references are written: a digest follows an `@`, a tag a colon.
fn name_of(repository: &str, reference: &str) -> String {
    let separator = if reference.contains(':') { '@' } else { ':' };
    format!("{repository}{separator}{reference}")
}

fn authorized(request: Request, authorization: Option<&HeaderValue>) -> Request {
    match authorization {
        Some(value) => request.header(header::AUTHORIZATION, value.clone()),
        None => request,
    }
}

fn accepting(request: Request) -> Request {
    request.header(header::ACCEPT, HeaderValue::from_static(ACCEPT))
}

/// Whether a failure with `scheme` leaves hope for the other one.
fn another_scheme(scheme: &str, fault: &Fault) -> bool {
    match scheme {
        "http" => *fault == Fault::Broken,
        _ => matches!(fault, Fault::NotTls | Fault::Tls | Fault::Broken | Fault::Refused | Fault::TimedOut),
    }
}

/// Whether the peer speaks TLS, but has a certificate that is not good here.
fn distrusted(error: &RegistryError) -> bool {
    let RegistryError::Http(HttpError::Transport { fault, .. }) = error else { return false };
    matches!(fault, Fault::UnknownIssuer | Fault::Certificate)
}

/// Whether the failure was that the peer does not speak TLS.
fn spoke_plainly(answer: &Result<(Url, Response), RegistryError>) -> bool {
    matches!(answer, Err(RegistryError::Http(HttpError::Transport { fault: Fault::NotTls, .. })))
}
