//! Answers every HTTP request with a greeting.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    process, thread,
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

fn variable(name: &str, otherwise: &str) -> String {
    env::var(name).unwrap_or_else(|_| otherwise.into())
}

/// The name of the user with the number that this process has.
fn user() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().next()).unwrap_or("?");
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let line = passwd.lines().find(|line| line.split(':').nth(2) == Some(uid));
    line.and_then(|line| line.split(':').next()).unwrap_or(uid).to_owned()
}

fn greeting() -> String {
    format!(r#"{{"message":"Hello, {}!","rust":"std","user":"{}"}}"#, variable("NAME", "world"), user())
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while lines.next().transpose()?.map_or(false, |line| !line.is_empty()) {}
    let body = greeting();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
    write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn main() {
    let port = variable("PORT", "8080");
    let listener = TcpListener::bind(format!("0.0.0.0:{port}")).expect("a free port");
    let mut signals = Signals::new([SIGINT, SIGTERM]).expect("signals");
    thread::spawn(move || signals.forever().next().map(|_| process::exit(0)));
    println!("listening on port {port}");
    for stream in listener.incoming().flatten() {
        thread::spawn(move || answer(stream));
    }
}

#[test]
fn greets() {
    assert!(greeting().starts_with(r#"{"message":"Hello, world!""#));
}
