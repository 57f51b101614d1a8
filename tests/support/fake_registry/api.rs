//! The distribution API, as the specification has it, and a token server.

use std::net::SocketAddr;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use microbuild::internals::digest::Digest;
use serde_json::json;

use super::{Answer, Auth, IDENTITY, PASSWORD, Request, State, USER};

/// What a registry that follows the specification answers.
pub(super) fn answer(state: &mut State, address: SocketAddr, request: &Request, body: Vec<u8>) -> Answer {
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
    if let Some(refusal) = &state.no_whole
        && request.method == "PUT"
        && !body.is_empty()
    {
        return refusal.clone();
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
    let most = if request.method == "PATCH" { state.swallows.min(body.len()) } else { body.len() };
    let bytes = state.uploads.entry(path.clone()).or_default();
    bytes.extend_from_slice(&body[..most]);
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
        if let Some(refusal) = &state.no_oci
            && request.header("content-type").is_some_and(|kind| kind.contains(".oci."))
        {
            return refusal.clone();
        }
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

/// Takes percent-encoding off.
pub(super) fn decode(text: &str) -> String {
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
