//! Quirks of answers: early ones, tokens, limits, manifests, HTTP itself, what a terminal would obey, and silence.

use microbuild::internals::{error::Kind, image::Format};
use serde_json::{Value, json};

use super::{Quirk, in_format, layer_of, quirk, quirk_of};
use crate::support::fake_registry::{ALWAYS, Answer, Failure, FakeRegistry, Style, USER};

pub(super) fn quirks() -> Vec<Quirk> {
    [early(), challenges(), tokens(), limits(), manifests(), connections(), screens(), silences()]
        .into_iter()
        .flatten()
        .collect()
}

const PAGE: &str = "<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n<body>\r\n\
    <center><h1>413 Request Entity Too Large</h1></center>\r\n<hr><center>nginx/1.24.0</center>\r\n</body>\r\n</html>\r\n";

/// What is answered before the body was read, of which more is on its way than fits into buffers.
fn early() -> Vec<Quirk> {
    let before = |answer: Answer, read: usize, times: usize| {
        move |r: &FakeRegistry, artifact: &microbuild::internals::image::Artifact| {
            r.fail("PUT", &layer_of(artifact), times, Failure::Early(answer.clone(), read));
        }
    };
    let denied = || Answer::told(403, "DENIED", "this project is read-only");
    let text = |status, text: &str| Answer::new(status).holding("text/plain", text);
    let page = || Answer::new(413).holding("text/html", PAGE);
    vec![
        quirk_of("a blob is denied, and the connection closed", before(denied(), 0, ALWAYS))
            .fails(Kind::Network, &["DENIED: this project is read-only", "403"]),
        quirk_of("a blob is denied after a part of it, and the connection closed", before(denied(), 1 << 20, ALWAYS))
            .fails(Kind::Network, &["DENIED: this project is read-only"]),
        quirk_of("a blob is denied, and read nevertheless", before(denied(), ALWAYS, ALWAYS))
            .fails(Kind::Network, &["DENIED: this project is read-only"]),
        quirk_of("a blob is answered with 401 in words", before(text(401, "log in first\n"), 0, ALWAYS))
            .fails(Kind::Network, &["401", "log in first"]),
        quirk_of("there is no room for a blob", before(text(507, "disk quota"), 0, ALWAYS))
            .asking("PATCH ", 0)
            .fails(Kind::Network, &["507", "disk quota", "no room"]),
        quirk_of("a proxy finds a blob too large, and closes the connection", before(page(), 0, 1)),
        quirk_of("a proxy finds a blob too large, and reads it", before(page(), ALWAYS, 1)),
        quirk_of("a proxy finds all too large, and closes the connection", |r, artifact| {
            r.fail("PUT", &layer_of(artifact), ALWAYS, Failure::Early(Answer::new(413).holding("text/html", PAGE), 0));
            r.fail("PATCH", "", ALWAYS, Failure::Early(Answer::new(413).holding("text/html", PAGE), 0));
        })
        .fails(Kind::Network, &["413 Request Entity Too Large: nginx/1.24.0", "limits the size"]),
        quirk_of("a proxy answers with 500 and a page", |r, artifact| {
            let page = Answer::new(500).holding("text/html", "<title>Oops</title><p>No upstream");
            r.fail("PUT", &layer_of(artifact), ALWAYS, Failure::Early(page.clone(), 0));
            r.fail("PATCH", "", ALWAYS, Failure::Early(page, 0));
        })
        .fails(Kind::Network, &["500", "Oops: No upstream"]),
        quirk_of("a proxy answers with 500 and a page, then breaks connections", |r, artifact| {
            let page = Answer::new(500).holding("text/html", "<title>Oops</title><p>No upstream");
            r.fail("PUT", &layer_of(artifact), ALWAYS, Failure::CloseAfterTaking(1 << 20));
            r.fail("PATCH", "", 1, Failure::Answer(page));
            r.fail("PATCH", "", ALWAYS, Failure::CloseAfterTaking(1 << 20));
            r.fail("GET", "/uploads/", ALWAYS, Failure::Answer(Answer::new(404)));
        })
        .fails(Kind::Network, &["the connection broke", "500", "Oops: No upstream"]),
        quirk_of("the connection is closed in a blob", |r, artifact| {
            r.fail("PUT", &layer_of(artifact), 1, Failure::CloseAfterTaking(1 << 20));
        }),
        quirk_of("the connection is closed in a blob, and the upload is forgotten", |r, artifact| {
            r.fail("PUT", &layer_of(artifact), 1, Failure::CloseAfterTaking(1 << 20));
            r.fail("GET", "/uploads/", 1, Failure::Status(404, "BLOB_UPLOAD_UNKNOWN"));
        }),
        quirk_of("a proxy closes the connection in whatever is long", |r, artifact| {
            r.fail("PUT", &layer_of(artifact), 3, Failure::CloseAfterTaking(1 << 20));
            r.fail("GET", "/uploads/", ALWAYS, Failure::Answer(Answer::new(404)));
        })
        .asking("PATCH ", 1),
        quirk_of("the connection is always closed in a blob", |r, artifact| {
            r.fail("PUT", &layer_of(artifact), ALWAYS, Failure::CloseAfterTaking(1 << 20));
            r.fail("PATCH", "", ALWAYS, Failure::CloseAfterTaking(1 << 20));
            r.fail("GET", "/uploads/", ALWAYS, Failure::Answer(Answer::new(404)));
        })
        .fails(Kind::Network, &["the connection broke"]),
    ]
    .into_iter()
    .map(Quirk::long)
    .collect()
}

/// Every 401 has these challenges.
fn challenge(challenges: &'static [&'static str]) -> impl Fn(&FakeRegistry) {
    move |registry: &FakeRegistry| {
        let address = registry.name();
        let changed = Failure::changed(move |answer| {
            if answer.status == 401 {
                answer.unset("WWW-Authenticate");
                let all = challenges.iter().map(|text| text.replace("REALM", &format!("http://{address}/token")));
                answer.headers.extend(all.map(|challenge| ("WWW-Authenticate", challenge)));
            }
        });
        registry.fail("*", "/v2/", ALWAYS, changed);
    }
}

fn challenges() -> Vec<Quirk> {
    let good = |name: &str, all| quirk(format!("challenge: {name}"), challenge(all)).with_tokens();
    let bad = |name: &str, all, words: &[&'static str]| good(name, all).fails(Kind::Network, words);
    vec![
        good("no scope", &[r#"Bearer realm="REALM",service="fake""#]),
        good("no service", &[r#"Bearer realm="REALM""#]),
        good("no quotes", &["Bearer realm=REALM,service=fake"]),
        good("in lower case, with spaces", &[r#"bearer  Realm = "REALM" , service = "fake""#]),
        good("a wider scope", &[r#"Bearer realm="REALM",service="fake",scope="repository:app:pull,push,delete""#]),
        good("two scopes", &[r#"Bearer realm="REALM",scope="repository:app:pull,push repository:other:pull""#]),
        good("a realm with a query", &[r#"Bearer realm="REALM?account=x&y=%2F",service="fake""#]),
        good("an error beside it", &[r#"Bearer error="insufficient_scope",realm="REALM""#]),
        good("basic too, in one line", &[r#"Basic realm="x, y", Bearer realm="REALM",service="fake""#]),
        good("basic too, in a line of its own", &[r#"Basic realm="x""#, r#"Bearer realm="REALM""#]),
        good("of an unknown kind too", &["Negotiate", r#"Custom a="b", c, Bearer realm="REALM""#]),
        quirk("challenge: bearer without a realm, and basic", challenge(&["Bearer", r#"Basic realm="x""#]))
            .with_password(),
        quirk("challenge: basic, in capitals", challenge(&["BASIC REALM=x"])).with_password(),
        bad("a relative realm", &[r#"Bearer realm="/token",service="fake""#], &["realm", "/token"]),
        bad("a realm without a host", &[r#"Bearer realm="https://""#], &["realm"]),
        bad("a realm of another scheme", &[r#"Bearer realm="ftp://127.0.0.1/""#], &["realm", "ftp://127.0.0.1/"]),
        bad("no realm", &["Bearer service=fake"], &["no realm"]),
        bad("none", &[], &["401", "microbuild login"]),
        bad("of an unknown kind only", &["Negotiate"], &["401"]),
        bad(
            "a realm where nothing listens",
            &[r#"Bearer realm="http://127.0.0.1:9/token""#],
            &["nothing listens there"],
        ),
    ]
}

/// Every token is told so.
fn token(change: fn(&mut Value)) -> impl Fn(&FakeRegistry) {
    move |registry: &FakeRegistry| {
        let changed = Failure::changed(move |answer| {
            if let Ok(mut value) = serde_json::from_slice(&answer.body) {
                change(&mut value);
                answer.body = value.to_string().into_bytes();
            }
        });
        registry.fail("GET", "/token", ALWAYS, changed);
    }
}

fn tokens() -> Vec<Quirk> {
    let good = |name: &str, change| quirk(format!("token: {name}"), token(change)).with_tokens();
    let answered = |name: &str, answer: Answer, words: &[&'static str]| {
        quirk(format!("token: {name}"), move |r| r.fail("GET", "/token", ALWAYS, Failure::Answer(answer.clone())))
            .with_tokens()
            .fails(Kind::Network, words)
    };
    let json = |status, value: &Value| Answer::new(status).holding("application/json", value.to_string());
    let page = |status| Answer::new(status).holding("text/html", "<title>Sign in</title><form>SSO</form>");
    vec![
        good("called access_token", |token| token["access_token"] = token["token"].take()),
        good("twice", |token| token["access_token"] = token["token"].clone()),
        good("empty, beside access_token", |token| {
            token["access_token"] = token["token"].take();
            token["token"] = json!("");
        }),
        good("expires_in as text", |token| token["expires_in"] = json!("300")),
        good("expires_in with a fraction", |token| token["expires_in"] = json!(299.5)),
        good("expires_in below zero", |token| token["expires_in"] = json!(-1)),
        good("expires_in of nothing", |token| token["expires_in"] = json!(0)),
        good("expires_in null", |token| token["expires_in"] = Value::Null),
        good("no expires_in", |token| drop(token.as_object_mut().and_then(|token| token.remove("expires_in")))),
        good("expires_in of an age", |token| token["expires_in"] = json!(u64::MAX)),
        good("with more fields", |token| token["issued_at"] = json!("yesterday")),
        quirk("token: limited", |r| r.fail("GET", "/token", 2, Failure::RetryAfter(429, "0"))).with_tokens(),
        quirk("token: a passing failure", |r| r.fail("GET", "/token", 2, Failure::Status(503, "BUSY"))).with_tokens(),
        quirk("token: the server redirects", |r| {
            let to = format!("/token?scope=repository:app:pull,push&u={USER}");
            r.fail("GET", "service=fake", ALWAYS, Failure::Answer(Answer::new(307).with("Location", to)));
        })
        .with_tokens(),
        answered(
            "refused",
            Answer::told(401, "UNAUTHORIZED", "no such user"),
            &["no such user", "user name and the password"],
        ),
        answered(
            "refused in Docker Hub's words",
            json(401, &json!({"details": "incorrect password"})),
            &["incorrect password"],
        ),
        answered("refused in OAuth's words", json(400, &json!({"error": "invalid_scope"})), &["invalid_scope"]),
        answered("a page with 403", page(403), &["403", "Sign in: SSO"]),
        answered("a page with 200", page(200), &["expected a token", "Sign in"]),
        answered("words", Answer::new(200).holding("text/plain", "SECRET"), &["expected a token"]),
        answered("of another type", json(200, &json!({"token": {"SECRET": 1}})), &["expected a token"]),
        answered("none in it", json(200, &json!({"errors": []})), &["no token"]),
        answered("with a line break", json(200, &json!({"token": "SECRET\r\nX: y"})), &["no header can hold"]),
    ]
}

fn limits() -> Vec<Quirk> {
    let refused = |status, name: &'static str, value: &str| {
        Answer::new(status).with(name, value).holding("text/html", "<h1>Slow down</h1>")
    };
    let mut all = Vec::new();
    for (method, part) in
        [("HEAD", "/manifests/"), ("HEAD", "/blobs/"), ("POST", ""), ("PUT", "/uploads/"), ("PUT", "/manifests/")]
    {
        for (name, value) in
            [("Retry-After", "0"), ("Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT"), ("X-RateLimit-Reset", "1")]
        {
            all.push(quirk(format!("a limit with {name}: {value} on {method} {part}"), move |r| {
                r.fail(method, part, 2, Failure::Answer(refused(429, name, value)));
            }));
        }
    }
    all.extend([
        quirk("unavailable for a while", move |r| {
            r.fail("*", "", 3, Failure::Answer(refused(503, "Retry-After", "0")));
        }),
        quirk("a limit for an hour", move |r| {
            r.fail("HEAD", "/manifests/", ALWAYS, Failure::Answer(refused(429, "Retry-After", "3600")));
        })
        .asking("HEAD ", 1)
        .asking("P", 0)
        .fails(Kind::Network, &["429", "wait 3600 seconds"]),
        quirk("a limit for uploads for an hour", move |r| {
            r.fail("POST", "", ALWAYS, Failure::Answer(refused(429, "Retry-After", "3600")));
        })
        .at_most("POST ", 2)
        .fails(Kind::Network, &["429", "Slow down", "wait 3600 seconds"]),
        quirk("a limit without an end", move |r| r.fail("POST", "", ALWAYS, Failure::Answer(refused(429, "X", "y"))))
            .fails(Kind::Network, &["429", "limits the rate"]),
    ]);
    all
}

fn manifests() -> Vec<Quirk> {
    let mut all = Vec::new();
    for status in [200, 202, 204] {
        all.push(quirk(format!("a manifest is taken with {status}"), move |r| {
            r.fail("PUT", "/manifests/", ALWAYS, Failure::status(status));
        }));
    }
    let manifest = |status, code: &str, message: &str| Answer::told(status, code, message);
    for (name, answer) in [
        ("415", Answer::new(415)),
        ("415 and a page", Answer::new(415).holding("text/html", "<title>Unsupported</title>")),
        ("a media type that is invalid", manifest(400, "MANIFEST_INVALID", "invalid media type in manifest")),
        (
            "a mediaType that is invalid",
            manifest(400, "MANIFEST_INVALID", "manifest invalid: mediaType in manifest should be docker's"),
        ),
        ("an unsupported media type", manifest(404, "UNSUPPORTED", "unsupported media_type")),
        ("a Content-Type that is unknown", manifest(405, "UNSUPPORTED", "Content-Type is not known")),
    ] {
        all.push(
            quirk(format!("manifests of OCI: {name}"), move |r| r.takes_no_oci(answer.clone()))
                .docker_format()
                .asking("PUT /v2/app/blobs/", 2)
                .asking("PUT /v2/app/manifests/1", 2),
        );
    }
    let docker = || in_format(Format::Docker);
    all.extend([
        quirk("manifests of OCI are not taken, and Docker's form is asked for", |r| r.takes_no_oci(Answer::new(415)))
            .options(docker())
            .docker_format()
            .asking("PUT /v2/app/manifests/1", 1),
        quirk("Docker's form is asked for", |_| {}).options(docker()).docker_format(),
        quirk("manifests of OCI are not taken, and insisted on", |r| r.takes_no_oci(Answer::new(415)))
            .options(in_format(Format::Oci))
            .fails(Kind::Network, &["415"]),
        quirk("no manifests are taken", |r| r.fail("PUT", "/manifests/", ALWAYS, Failure::Answer(Answer::new(415))))
            .asking("PUT /v2/app/manifests/1", 2)
            .fails(Kind::Network, &["415"]),
        quirk("a manifest is invalid for another reason", |r| {
            r.fail("PUT", "/manifests/", ALWAYS, Failure::Answer(Answer::told(400, "MANIFEST_INVALID", "no platform")));
        })
        .asking("PUT /v2/app/manifests/1", 1)
        .fails(Kind::Network, &["MANIFEST_INVALID", "no platform"]),
        quirk("a manifest is told to be another", |r| {
            r.fail("PUT", "/manifests/", ALWAYS, Failure::NameDigest(format!("sha256:{}", "0".repeat(64))));
        })
        .fails(Kind::Unverified, &["sha256:0000"]),
        quirk("a manifest is told to be nothing", |r| {
            r.fail("PUT", "/manifests/", ALWAYS, Failure::without("Docker-Content-Digest"));
        }),
        quirk("a manifest is too large", |r| r.fail("PUT", "/manifests/", ALWAYS, Failure::Status(413, "SIZE")))
            .asking("PUT /v2/app/manifests/1", 1)
            .fails(Kind::Network, &["413", "limits the size"]),
        quirk("a tag may not be changed", |r| {
            let answer = Answer::told(409, "TAG_INVALID", "the tag 1 is immutable");
            r.fail("PUT", "/manifests/", ALWAYS, Failure::Answer(answer));
        })
        .asking("PUT /v2/app/manifests/1", 1)
        .fails(Kind::Network, &["409", "the tag 1 is immutable"]),
    ]);
    all
}

fn connections() -> Vec<Quirk> {
    let styled = |name: &str, style| {
        quirk(format!("HTTP: {name}"), move |r| {
            r.takes_chunks_only(0, 200_000);
            r.fail("*", "", ALWAYS, Failure::changed(move |answer| answer.style = style));
        })
    };
    let interim =
        |name: &str, bytes| quirk(format!("HTTP: {name}"), move |r| r.fail("*", "", ALWAYS, Failure::Interim(bytes)));
    vec![
        styled("answers in chunks", Style::Chunked),
        styled("HTTP/1.0", Style::Old),
        styled("a connection for each request", Style::Last),
        interim("100 before each answer", "HTTP/1.1 100 Continue\r\n\r\n"),
        interim("103 before each answer", "HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"),
        interim("what is no answer", "SSH-2.0-OpenSSH_9.2\r\n\r\n").fails(Kind::Network, &["the connection broke"]),
        quirk("HTTP: half an answer to the HEAD of a manifest", |r| {
            r.fail("*", "/manifests/", 1, Failure::CloseAfterTaking(0));
        }),
        quirk("HTTP: an answer that breaks off", |r| {
            r.fail("POST", "", ALWAYS, Failure::CloseAfterSending(0));
        }),
    ]
}

/// What a terminal would obey is not shown; what would fill it is cut.
fn screens() -> Vec<Quirk> {
    let denied = |name: &str, answer: Answer, words: &[&'static str]| {
        quirk(format!("shown: {name}"), move |r| r.fail("POST", "", ALWAYS, Failure::Answer(answer.clone())))
            .fails(Kind::Network, words)
    };
    let page = "<title>\u{1b}]0;title\u{7}Denied</title><p>\u{1b}[2J\u{9b}31m<script>SECRET</script>by\u{202e} policy";
    vec![
        denied("escapes in JSON", Answer::told(403, "DE\u{1b}[31mNIED", "no\u{1b}[2J\n\rway"), &["NIED", "way"]),
        denied("escapes in a page", Answer::new(403).holding("text/html", page), &["Denied", "policy"]),
        denied("escapes in words", Answer::new(403).holding("text/plain", "a\u{7}\u{8}b\u{1b}c"), &["a b c"]),
        denied("a long page", Answer::new(403).holding("text/html", "<p>word ".repeat(5000)), &["word word", "…"]),
        denied("bytes", Answer::new(403).holding("application/octet-stream", vec![0xff, 0, 27]), &["403"]),
        denied("many errors", Answer::new(403).holding("application/json", many()), &["E0", "E4"]),
        quirk("shown: a Location that is long", |r| {
            let to = format!("http://127.0.0.1:9/{}", "x".repeat(200));
            r.fail("POST", "", ALWAYS, Failure::Answer(Answer::new(307).with("Location", to)));
        })
        .fails(Kind::Network, &["http://127.0.0.1:9/xxx"]),
    ]
}

fn many() -> String {
    let errors: Vec<Value> = (0..50).map(|n| json!({"code": format!("E{n}"), "message": "m".repeat(20)})).collect();
    json!({ "errors": errors }).to_string()
}

fn silences() -> Vec<Quirk> {
    vec![
        quirk("silence: once, after the HEAD of a manifest", |r| r.fail("HEAD", "/manifests/", 1, Failure::Stall(0)))
            .patient_for(1000),
        quirk("silence: once, in the middle of a blob", |r| r.fail("PUT", "/uploads/", 1, Failure::Stall(1000)))
            .long()
            .patient_for(1500),
        quirk("silence: always, after a blob", |r| r.fail("PUT", "/uploads/", ALWAYS, Failure::Stall(ALWAYS)))
            .patient_for(300)
            .at_most("PUT ", 4)
            .fails(Kind::Network, &["is stuck", "try again later"]),
        quirk_of("silence: always, in the middle of a blob", |r, artifact| {
            r.fail("PUT", &layer_of(artifact), ALWAYS, Failure::Stall(1000));
            r.fail("PATCH", "", ALWAYS, Failure::Stall(1000));
        })
        .long()
        .patient_for(1000)
        .fails(Kind::Network, &["is stuck", "nothing was taken"]),
        quirk("silence: always, after a POST", |r| r.fail("POST", "", ALWAYS, Failure::Stall(0)))
            .patient_for(300)
            .at_most("POST ", 4)
            .fails(Kind::Network, &["is stuck"]),
    ]
}
