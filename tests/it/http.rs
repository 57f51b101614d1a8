//! The HTTP client among proxies, certificates and peers that misbehave.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
    time::Duration,
};

use microbuild::internals::{
    error::{Explain as _, Kind},
    http::{Fault, Http, HttpError, HttpOptions, Insecure, Retry, Transient as _},
};

use rustls::pki_types::PrivateKeyDer;

use crate::support::{
    docker_registry::{DockerRegistry, Wishes},
    fake_registry::FakeRegistry,
    run,
};

/// Set for the child that [`get_in_a_child`] starts: the URL that it is to GET.
const URL: &str = "MICROBUILD_TEST_GET";

fn http(options: HttpOptions) -> Http {
    Http::new(options).expect("a client")
}

fn fault(result: Result<microbuild::internals::http::Response, HttpError>) -> Fault {
    match result {
        Err(HttpError::Transport { fault, .. }) => fault,
        other => panic!("expected a failure of the transport, found {other:?}"),
    }
}

/// What a process with these variables in its environment says of a GET of `url`. (The environment of this process is shared by
/// all tests.)
fn get_in_a_child(url: &str, vars: &[(&str, &Path)]) -> String {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "it::http::as_the_child_of_another_test", "--nocapture"]).env_clear().env(URL, url);
    command.envs(vars.iter().copied());
    let stdout = run(&mut command).succeeds().to_owned();
    let said = stdout.split_once("<<<").and_then(|(_, rest)| rest.split_once(">>>"));
    said.map(|(said, _)| said.to_owned()).unwrap_or_else(|| panic!("expected <<<…>>>, found {stdout}"))
}

#[test]
fn as_the_child_of_another_test() {
    let Ok(url) = std::env::var(URL) else { return };
    let said = match http(HttpOptions::default()).get(&url) {
        Ok(response) => format!("status {}", response.status()),
        Err(error) => error.to_string(),
    };
    println!("<<<{said}>>>");
}

#[test]
fn proxies_of_the_environment_are_used_but_not_for_loopback() {
    let proxy = FakeRegistry::start();
    let address = PathBuf::from(format!("http://me:secret@{}", proxy.name()));
    let vars = [("HTTP_PROXY", address.as_path()), ("HTTPS_PROXY", address.as_path())];

    let said = get_in_a_child("http://mirror.invalid/x", &vars);
    assert_eq!(said, "http://mirror.invalid/x: the server answered with HTTP status 404");
    let said = get_in_a_child("https://mirror.invalid/x", &vars);
    assert!(said.starts_with("https://mirror.invalid/x: ") && !said.contains("secret"), "{said}");
    let asked = proxy.take_requests();
    let asked: Vec<_> = asked.iter().map(|r| (r.method.as_str(), r.target.as_str())).collect();
    assert_eq!(asked, [("GET", "http://mirror.invalid/x"), ("CONNECT", "mirror.invalid:443")]);

    let excluded = [vars[0], ("NO_PROXY", Path::new("mirror.invalid"))];
    assert!(get_in_a_child("http://mirror.invalid/x", &excluded).contains("cannot be resolved"));
    let local = FakeRegistry::start();
    assert_eq!(get_in_a_child(&format!("http://{}/v2/", local.name()), &vars), "status 200");
    assert!(proxy.take_requests().is_empty());
}

#[test]
fn certificates_of_the_environment_and_of_ca_are_trusted() {
    let Some(server) = DockerRegistry::start(Wishes { auth: false, tls: true }) else { return };
    let url = format!("https://{}/v2/", server.name());
    let dir = tempfile::tempdir().expect("a folder");
    fs::copy(server.ca(), dir.path().join("12345678.0")).expect("a copy, named as OpenSSL's c_rehash names them");
    assert_eq!(get_in_a_child(&url, &[("SSL_CERT_FILE", &server.ca())]), "status 200");
    assert_eq!(get_in_a_child(&url, &[("SSL_CERT_DIR", dir.path())]), "status 200");
    // A machine without any CA.
    let empty = tempfile::tempdir().expect("a folder");
    let said = get_in_a_child(&url, &[("SSL_CERT_DIR", empty.path())]);
    assert!(said.contains("signed by a CA that is not trusted"), "{said}");

    assert_eq!(fault(http(HttpOptions::default()).get(&url)), Fault::UnknownIssuer);
    let trusting = http(HttpOptions { ca: vec![server.ca()], ..HttpOptions::default() });
    assert_eq!(trusting.get(&url).expect("trusted").status(), 200);
    let insecure = http(HttpOptions { insecure: vec![Insecure::All], ..HttpOptions::default() });
    assert_eq!(insecure.get(&url).expect("not checked").status(), 200);
    for (word, checked) in [(server.name(), false), ("127.0.0.1".to_owned(), false), ("127.0.0.1:1".to_owned(), true)] {
        let insecure = http(insecure_for(&[&word]));
        match insecure.get(&url) {
            Err(error) if checked => assert!(error.to_string().contains("CA that is not trusted"), "{error}"),
            answer => assert_eq!(answer.map(|response| response.status()).ok(), (!checked).then_some(200), "{word}"),
        }
    }
    // Its certificate is for 127.0.0.1 and localhost.
    let other = url.replace("127.0.0.1", "127.0.0.2");
    assert!(matches!(fault(trusting.get(&other)), Fault::Refused | Fault::Certificate));
}

/// Options that trust these hosts.
fn insecure_for(words: &[&str]) -> HttpOptions {
    let insecure = words.iter().map(|word| word.parse().expect("a word of --insecure")).collect();
    HttpOptions { insecure, ..HttpOptions::default() }
}

/// A server with a certificate of its own that answers every connection with these bytes, and closes it.
fn saying_over_tls(answer: String) -> String {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("versions").with_no_client_auth();
    let config = Arc::new(builder.with_single_cert(vec![made.cert.der().clone()], key).expect("a certificate"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    // It ends with the process, as below.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).expect("a connection");
            let mut tls = rustls::StreamOwned::new(connection, stream);
            // A client that refuses the certificate goes away.
            let _ = tls.read(&mut [0; 4096]).and_then(|_| tls.write_all(answer.as_bytes()));
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
    });
    address.to_string()
}

#[test]
fn a_redirect_from_https_to_http_is_followed_to_hosts_that_are_trusted_only() {
    let plain = saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    let tls = saying_over_tls(format!(
        "HTTP/1.1 302 Found\r\nLocation: http://{plain}/x?secret\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    ));
    let url = format!("https://{tls}/");
    let error = http(insecure_for(&[])).get(&url).expect_err("nobody knows its certificate");
    assert!(matches!(error, HttpError::Transport { fault: Fault::UnknownIssuer, .. }), "{error:?}");
    let error = http(insecure_for(&[&tls, "other.example"])).get(&url).expect_err("in the clear");
    assert_eq!(error.to_string(), format!("https://{tls}/: redirects from https to http://{plain}/x"));
    assert_eq!(error.kind(), Kind::Network);
    // The hint, followed to the letter, works.
    let hint = error.hint().expect("a hint");
    let word = hint.strip_prefix("--insecure=").and_then(|rest| rest.split_once(' ')).expect("a host").0;
    assert_eq!(http(insecure_for(&[&tls, word])).get(&url).expect("followed").bytes(9).expect("a body"), b"ok");
    assert_eq!(http(insecure_for(&["true"])).get(&url).expect("followed").bytes(9).expect("a body"), b"ok");
}

/// A server that answers every connection with these bytes, and closes it.
fn saying(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    // The thread ends with the process: nothing wakes it, and it holds nothing but a port.
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // The client may be gone before it has read everything: that is what some tests are about.
            let _ = stream.read(&mut [0; 4096]).and_then(|_| stream.write_all(answer));
        }
    });
    address.to_string()
}

#[test]
fn plain_http_where_tls_was_expected_is_explained() {
    let plain = saying(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    let error = http(HttpOptions::default()).get(&format!("https://{plain}/v2/")).expect_err("no TLS");
    assert!(matches!(error, HttpError::Transport { fault: Fault::NotTls, .. }), "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("--insecure")));
    assert_eq!(fault(http(HttpOptions::default()).get(&format!("https://{}/", saying(b"")))), Fault::Tls);
}

#[test]
fn answers_that_break_off_are_errors() {
    for answer in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
    ] {
        let url = format!("http://{}/", saying(answer));
        let error = http(HttpOptions::default()).get(&url).and_then(|response| response.bytes(100)).expect_err("half");
        assert!(matches!(error, HttpError::Transport { fault: Fault::Broken, .. }), "{error:?}");
        assert_eq!(error.should_retry(), Retry::Soon);
    }
}

#[test]
fn a_peer_that_says_nothing_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", silent.local_addr().expect("an address"));
    let hasty = http(HttpOptions { idle_timeout: Duration::from_millis(50), ..HttpOptions::default() });
    let error = hasty.get(&url).expect_err("nothing");
    assert!(matches!(error, HttpError::Transport { fault: Fault::TimedOut, .. }), "{error:?}");
    assert_eq!((error.kind(), error.should_retry()), (Kind::Network, Retry::Soon));
}

#[test]
fn redirects_in_a_circle_end() {
    let circle = FakeRegistry::start();
    let digest = circle.put_blob("app", b"bytes");
    circle.keeps_blobs_at(&circle.name());
    let error = http(HttpOptions::default()).get(&format!("http://{}/v2/app/blobs/{digest}", circle.name()));
    let error = error.expect_err("a circle");
    assert!(error.to_string().contains("redirects more than 10 times"));
    assert_eq!(error.hint(), None, "nothing makes a circle end");
    assert_eq!(circle.take_requests().len(), 11);
}
