//! Answers to a registry's challenges: basic authentication, and bearer tokens from its token server (RFC 9110, 11.6;
//! distribution specification, "Token Authentication" and "OAuth2").

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::Value;

use super::{
    answer::{one_line, parse_errors},
    credentials::{CredentialStore, Credentials, Lookup},
    error::{RegistryError, Tried},
};
use crate::http::{
    Body, HeaderValue, Http, Insecure, Method, Request, Response, Url, display_url, header, is_loopback, parse_url,
};

/// The name of this program for token servers.
const CLIENT_ID: &str = "microbuild";

/// The default lifetime of a token (distribution specification, "Token Response Fields").
const DEFAULT_LIFE: Duration = Duration::from_secs(60);

/// The longest token answer that is read.
const MAX_ANSWER: u64 = 1 << 20;

/// One challenge of a `WWW-Authenticate` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    /// The scheme in lower case.
    scheme: String,
    /// Its parameters; names in lower case.
    parameters: BTreeMap<String, String>,
}

/// Reads a `WWW-Authenticate` header, which may hold several challenges (RFC 9110, 11.6.1). A challenge that cannot be
/// read is skipped: a server may offer schemes that this program does not know.
pub(super) fn parse_challenges(header: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (word, after) = rest.split_at(rest.find([' ', '\t', ',', '=', '"']).unwrap_or(rest.len()));
        if rest.is_empty() {
            return challenges;
        }
        let value = after.trim_start_matches([' ', '\t']).strip_prefix('=');
        match (value, challenges.last_mut()) {
            (Some(value), Some(challenge)) if !word.is_empty() => {
                let (value, after) = parse_value(value.trim_start_matches([' ', '\t']));
                challenge.parameters.entry(word.to_ascii_lowercase()).or_insert(value);
                rest = after;
            }
            (None, _) if !word.is_empty() => {
                challenges.push(Challenge { scheme: word.to_ascii_lowercase(), parameters: BTreeMap::new() });
                rest = after;
            }
            // Neither a scheme nor a parameter: skip a character.
            _ => rest = rest.split_at(rest.chars().next().map_or(0, char::len_utf8)).1,
        }
    }
}

/// A quoted string or a token, and what follows it.
fn parse_value(s: &str) -> (String, &str) {
    let Some(quoted) = s.strip_prefix('"') else {
        let (token, rest) = s.split_at(s.find([' ', '\t', ',']).unwrap_or(s.len()));
        return (token.to_owned(), rest);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

/// The scope of a request, as token servers write it: `repository:me/app:pull,push`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// The repository of the request, whose credentials count.
    repository: Option<String>,
    actions: BTreeMap<String, BTreeSet<String>>,
}

impl Scope {
    /// No action: the identity alone.
    pub fn none() -> Self {
        Self::default()
    }

    /// Reading from a repository.
    pub fn pull(repository: &str) -> Self {
        Self { repository: Some(repository.to_owned()), ..Self::none() }.with(&format!("repository:{repository}:pull"))
    }

    /// Reading from and writing to a repository.
    pub fn push(repository: &str) -> Self {
        Self::pull(repository).with(&format!("repository:{repository}:push"))
    }

    /// Adds the scopes in `words`, which are separated by spaces.
    #[must_use]
    pub fn with(mut self, words: &str) -> Self {
        for word in words.split_whitespace() {
            // The name in the middle may hold colons: `repository:host:5000/x:pull`.
            if let Some((resource, actions)) = word.rsplit_once(':') {
                self.actions.entry(resource.to_owned()).or_default().extend(actions.split(',').map(str::to_owned));
            }
        }
        self
    }

    fn words(&self) -> impl Iterator<Item = String> {
        self.actions.iter().map(|(resource, actions)| {
            let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
            format!("{resource}:{}", actions.join(","))
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().collect::<Vec<_>>().join(" "))
    }
}

/// The source of a session's credentials.
pub(super) enum Source {
    /// They are looked up when the registry first asks for them.
    Store(CredentialStore),
    /// These, or none.
    Given(Option<Credentials>),
}

struct Token {
    header: HeaderValue,
    until: Instant,
}

#[derive(Default)]
struct State {
    challenge: Option<Challenge>,
    /// Tokens, by scope.
    tokens: BTreeMap<(Option<String>, String), Token>,
    /// By repository.
    lookups: BTreeMap<Option<String>, Lookup>,
    /// The repository for which credentials were looked up last.
    latest: Option<String>,
}

/// The state of authentication with one registry. Threads share it: one of them asks for a token, the others wait for
/// it.
pub(super) struct Session {
    http: Http,
    registry: String,
    source: Source,
    state: Mutex<State>,
}

impl Session {
    pub(super) fn new(http: &Http, registry: &str, source: Source) -> Arc<Self> {
        let state = Mutex::default();
        Arc::new(Self { http: http.clone(), registry: registry.to_owned(), source, state })
    }

    /// The `Authorization` for a request to `origin`, when it is known before the registry asks.
    pub(super) fn authorization(&self, origin: &Url, scope: &Scope) -> Result<Option<HeaderValue>, RegistryError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.challenge.clone() {
            Some(challenge) => self.answer(&mut state, &challenge, origin, scope, scope),
            None => Ok(None),
        }
    }

    /// The `Authorization` for repeating a request that `response` (a 401 from `origin`) refused. `sent` is the header
    /// that it had; `None` means that there is no other one.
    pub(super) fn challenged(
        &self,
        response: &Response,
        origin: &Url,
        scope: &Scope,
        sent: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, RegistryError> {
        let headers = response.headers().get_all(header::WWW_AUTHENTICATE);
        let offered: Vec<Challenge> =
            headers.iter().filter_map(|h| h.to_str().ok()).flat_map(parse_challenges).collect();
        // A token has fewer rights than a password.
        let tokens = offered.iter().filter(|c| c.scheme == "bearer");
        let with_realm = tokens.clone().find(|c| c.parameters.contains_key("realm"));
        let preferred = with_realm.or_else(|| offered.iter().find(|c| c.scheme == "basic")).or(tokens.clone().next());
        let Some(challenge) = preferred.cloned() else { return Ok(None) };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key(scope);
        if state.tokens.get(&key).is_some_and(|token| Some(&token.header) == sent) {
            state.tokens.remove(&key);
        }
        state.challenge = Some(challenge.clone());
        let wanted = challenge.parameters.get("scope").map_or("", String::as_str);
        let answer = self.answer(&mut state, &challenge, origin, scope, &scope.clone().with(wanted))?;
        Ok(answer.filter(|header| Some(header) != sent))
    }

    /// The credentials that the registry was offered last.
    pub(super) fn tried(&self) -> Tried {
        self.tried_in(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tried_in(&self, state: &State) -> Tried {
        match (&self.source, state.lookups.get(&state.latest)) {
            (_, None) => Tried::Unasked,
            (Source::Given(Some(_)), _) => Tried::Given,
            (_, Some(Lookup { credentials: Some((_, place)), .. })) => Tried::Found(place.clone()),
            (_, Some(Lookup { notes, .. })) => Tried::Missing(notes.clone()),
        }
    }

    fn credentials(&self, state: &mut State, scope: &Scope) -> Result<Option<Credentials>, RegistryError> {
        let lookup = match state.lookups.entry(scope.repository.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(match &self.source {
                Source::Store(store) => store.lookup(&self.registry, scope.repository.as_deref())?,
                Source::Given(credentials) => Lookup::given(credentials.clone()),
            }),
        };
        Ok(lookup.credentials.as_ref().map(|(credentials, _)| credentials.clone()))
    }

    /// Answers `challenge`. A token is kept under `scope`, and requested with `wanted`, which may be more.
    fn answer(
        &self,
        state: &mut State,
        challenge: &Challenge,
        origin: &Url,
        scope: &Scope,
        wanted: &Scope,
    ) -> Result<Option<HeaderValue>, RegistryError> {
        state.latest.clone_from(&scope.repository);
        let key = key(scope);
        if let Some(token) = state.tokens.get(&key).filter(|token| token.until > Instant::now()) {
            return Ok(Some(token.header.clone()));
        }
        let credentials = self.credentials(state, scope)?;
        match (&credentials, challenge.scheme.as_str()) {
            (Some(Credentials::Password { username, password }), "basic") => {
                self.sensitive(&basic(username, password)).map(Some)
            }
            (Some(Credentials::RegistryToken(token)), "bearer") => self.sensitive(&format!("Bearer {token}")).map(Some),
            (_, "bearer") => {
                let token = self.fetch_token(challenge, origin, wanted, credentials.as_ref());
                let token = token.map_err(|mut error| {
                    if let RegistryError::Refused { credentials, .. } = &mut error {
                        **credentials = self.tried_in(state);
                    }
                    error
                })?;
                let header = token.header.clone();
                state.tokens.insert(key, token);
                Ok(Some(header))
            }
            _ => Ok(None),
        }
    }

    fn sensitive(&self, value: &str) -> Result<HeaderValue, RegistryError> {
        let mut value = HeaderValue::from_str(value).map_err(|_| {
            self.protocol("its token, or the credentials for it, hold characters that no header can hold")
        })?;
        value.set_sensitive(true);
        Ok(value)
    }

    fn protocol(&self, why: impl Into<String>) -> RegistryError {
        RegistryError::Protocol {
            what: "authenticate".into(),
            registry: self.registry.clone(),
            why: one_line(&why.into()),
        }
    }

    fn fetch_token(
        &self,
        challenge: &Challenge,
        origin: &Url,
        scope: &Scope,
        credentials: Option<&Credentials>,
    ) -> Result<Token, RegistryError> {
        let realm =
            challenge.parameters.get("realm").ok_or_else(|| self.protocol("its bearer challenge has no realm"))?;
        let realm = parse_url(realm).map_err(|e| self.protocol(format!("the realm of its bearer challenge: {e}")))?;
        self.check_realm(&realm, origin)?;
        let service = challenge.parameters.get("service").map_or("", String::as_str);
        let response = match credentials {
            Some(Credentials::IdentityToken(token)) => self.http.send(oauth2_request(realm, service, scope, token))?,
            Some(Credentials::Password { username, password }) => {
                let authorization = self.sensitive(&basic(username, password))?;
                let request = token_request(realm, service, scope, Some(username));
                self.http.send(request.header(header::AUTHORIZATION, authorization))?
            }
            _ => self.http.send(token_request(realm, service, scope, None))?,
        };
        self.read_token(response)
    }

    /// Refuses a token server that is reached without TLS, because that would reveal the password; unless the registry
    /// itself is reached without TLS.
    fn check_realm(&self, realm: &Url, origin: &Url) -> Result<(), RegistryError> {
        let local = realm.host_str().is_some_and(is_loopback);
        if realm.scheme() == "https" || origin.scheme() == "http" || local || self.http.is_insecure(realm) {
            return Ok(());
        }
        let why = format!("asks for credentials without TLS, to {}", display_url(realm));
        Err(RegistryError::Unsafe { registry: self.registry.clone(), why, to: Insecure::of(realm) })
    }

    fn read_token(&self, response: Response) -> Result<Token, RegistryError> {
        #[derive(Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
            #[serde(default)]
            expires_in: Value,
        }
        let (status, retry_after) = (response.status(), response.retry_after());
        let port = response.url().port().map(|port| format!(":{port}")).unwrap_or_default();
        let server = response.url().host_str().unwrap_or_default().to_owned() + &port;
        let success = response.is_success();
        let kind = response.header(header::CONTENT_TYPE).unwrap_or_default().to_owned();
        let body = response.bytes(MAX_ANSWER)?;
        if !success {
            return Err(RegistryError::Refused {
                what: format!("get a token from {server}"),
                registry: self.registry.clone(),
                status,
                errors: parse_errors(&kind, &body),
                retry_after,
                credentials: Box::default(),
            });
        }
        let answer: Answer = serde_json::from_slice(&body).map_err(|_| {
            // The JSON may hold a token, which must not be shown.
            let is_page = kind.contains("html");
            let said = if is_page { parse_errors(&kind, &body) } else { Vec::new() };
            let said: String = said.iter().map(|error| format!(": {error}")).collect();
            self.protocol(format!("expected a token from {server}, found something else{said}"))
        })?;
        let mut tokens = [answer.token, answer.access_token].into_iter().flatten().filter(|token| !token.is_empty());
        let token = tokens.next().ok_or_else(|| self.protocol(format!("the answer of {server} holds no token")))?;
        let life = life(&answer.expires_in).unwrap_or(DEFAULT_LIFE).min(Duration::from_secs(86_400));
        // A fifth earlier, so that it does not expire on the way.
        let until = Instant::now() + life - life / 5;
        Ok(Token { header: self.sensitive(&format!("Bearer {token}"))?, until })
    }
}

/// `expires_in`: seconds, which some servers write as text or with a fraction.
fn life(expires_in: &Value) -> Option<Duration> {
    let seconds = expires_in.as_f64().or_else(|| expires_in.as_str()?.trim().parse().ok())?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// The key of a token: two repositories may have different credentials.
fn key(scope: &Scope) -> (Option<String>, String) {
    (scope.repository.clone(), scope.to_string())
}

fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

/// The request of "Token Authentication": a GET with service and scopes.
fn token_request(mut realm: Url, service: &str, scope: &Scope, account: Option<&str>) -> Request {
    {
        let mut query = realm.query_pairs_mut();
        if !service.is_empty() {
            query.append_pair("service", service);
        }
        for word in scope.words() {
            query.append_pair("scope", &word);
        }
        query.extend_pairs(account.map(|account| ("account", account)));
        query.append_pair("client_id", CLIENT_ID);
    }
    Request::new(Method::GET, realm)
}

/// The request of "OAuth2 Token Authentication": a POST with the identity token, which is a refresh token.
fn oauth2_request(realm: Url, service: &str, scope: &Scope, token: &str) -> Request {
    let mut form = realm.clone();
    form.set_query(None);
    form.query_pairs_mut()
        .append_pair("grant_type", "refresh_token")
        .append_pair("refresh_token", token)
        .append_pair("service", service)
        .append_pair("client_id", CLIENT_ID)
        .append_pair("scope", &scope.to_string());
    let form = form.query().unwrap_or_default().as_bytes().to_vec();
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    Request::new(Method::POST, realm).header(header::CONTENT_TYPE, kind).body(Body::Bytes(form))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::HttpOptions;

    fn challenge(scheme: &str, parameters: &[(&str, &str)]) -> Challenge {
        let parameters = parameters.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Challenge { scheme: scheme.into(), parameters }
    }

    #[test]
    fn challenges_are_read() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        let hub_parsed = challenge(
            "bearer",
            &[
                ("realm", "https://auth.docker.io/token"),
                ("service", "registry.docker.io"),
                ("scope", "repository:a/b:pull,push"),
            ],
        );
        for (header, expected) in [
            (hub, vec![hub_parsed]),
            (r#"Basic realm="a \"b\" \\""#, vec![challenge("basic", &[("realm", r#"a "b" \"#)])]),
            ("BASIC Realm = x , charset=\"UTF-8\"", vec![challenge("basic", &[("realm", "x"), ("charset", "UTF-8")])]),
            ("Negotiate", vec![challenge("negotiate", &[])]),
            (
                "Basic realm=\"a, Bearer\", Bearer realm=\"b\"",
                vec![challenge("basic", &[("realm", "a, Bearer")]), challenge("bearer", &[("realm", "b")])],
            ),
            ("Newauth, ,Basic realm=\"x", vec![challenge("newauth", &[]), challenge("basic", &[("realm", "x")])]),
            ("", vec![]),
            (" ,,= \"", vec![]),
        ] {
            assert_eq!(parse_challenges(header), expected, "{header}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_header_hangs_or_panics(header in "\\PC{0,60}") {
            parse_challenges(&header);
        }
    }

    #[test]
    fn scopes_are_joined_by_resource() {
        let scope = Scope::push("me/app").with("repository:other:pull repository:me/app:delete");
        assert_eq!(scope.to_string(), "repository:me/app:delete,pull,push repository:other:pull");
        assert_eq!(Scope::none().with("bad").to_string(), "");
    }

    #[test]
    fn a_password_is_not_sent_in_the_clear_on_behalf_of_a_registry_with_tls() {
        let cases = [
            ("https://r.io", "https://auth.io/token", "false", true),
            ("https://r.io", "http://auth.io/token", "false", false),
            ("https://r.io", "http://auth.io/token", "true", true),
            ("https://r.io", "http://auth.io/token", "auth.io", true),
            ("https://r.io", "http://auth.io/token", "r.io", false),
            ("https://r.io", "http://127.0.0.1:5001/token", "false", true),
            ("http://localhost:5000", "http://auth.io/token", "false", true),
        ];
        for (origin, realm, insecure, allowed) in cases {
            let insecure = vec![insecure.parse().expect("a word")];
            let options = HttpOptions { insecure: insecure.clone(), ..HttpOptions::default() };
            let http = Http::new(options).expect("a client");
            let session = Session::new(&http, "r.io", Source::Given(None));
            let url = |text: &str| parse_url(text).expect("a URL");
            let checked = session.check_realm(&url(realm), &url(origin));
            assert_eq!(checked.is_ok(), allowed, "{origin} {realm} {insecure:?}: {checked:?}");
        }
    }

    #[test]
    fn token_requests_name_service_and_scopes() {
        let realm = || parse_url("https://auth.example.org/token?x=1").expect("a URL");
        let scope = Scope::push("a").with("repository:b:pull");
        let url = token_request(realm(), "s p", &scope, Some("me")).url;
        assert_eq!(
            url.query(),
            Some(
                "x=1&service=s+p&scope=repository%3Aa%3Apull%2Cpush&scope=repository%3Ab%3Apull&account=me&client_id=microbuild"
            )
        );
        let Body::Bytes(form) = oauth2_request(realm(), "s", &scope, "t&t").body else { panic!("a form") };
        assert_eq!(
            String::from_utf8_lossy(&form),
            "grant_type=refresh_token&refresh_token=t%26t&service=s&client_id=microbuild&scope=repository%3Aa%3Apull%2Cpush+repository%3Ab%3Apull"
        );
    }
}
