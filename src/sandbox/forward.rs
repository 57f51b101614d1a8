//! Ports of this machine that lead to an app's port: the app has this machine's network, so that only another number or
//! address needs any leading.

use std::{
    io,
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
};

use super::SandboxError;
use crate::values::Publish;

/// A port that leads to another one for as long as the process lives.
#[derive(Debug)]
pub struct Forward(());

impl Forward {
    /// Opens the port; when it is the app's own, at every address, there is nothing to be done.
    ///
    /// # Errors
    /// When the port is in use or not allowed.
    pub fn open(publish: &Publish) -> Result<Self, SandboxError> {
        if publish.host.port() == publish.container {
            return Ok(Self(()));
        }
        let listener =
            TcpListener::bind(publish.host).map_err(|source| SandboxError::Port { address: publish.host, source })?;
        let app = SocketAddr::from((Ipv4Addr::LOCALHOST, publish.container));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                thread::spawn(move || lead(&client, app));
            }
        });
        Ok(Self(()))
    }
}

/// Copies what either side says to the other until both have ended.
fn lead(client: &TcpStream, app: SocketAddr) {
    let Ok(app) = TcpStream::connect(app) else {
        // As a port on which nothing listens.
        let _ = client.shutdown(Shutdown::Both);
        return;
    };
    let copy = |mut from: &TcpStream, mut to: &TcpStream| {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    };
    thread::scope(|scope| {
        scope.spawn(|| copy(client, &app));
        copy(&app, client);
    });
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn a_port_leads_to_another() {
        let app = TcpListener::bind("127.0.0.1:0").expect("a port");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
        let publish = Publish { host: free, container: app.local_addr().expect("an address").port() };
        Forward::open(&publish).expect("a free port");
        let answer = thread::spawn(move || {
            let (mut client, _) = app.accept().expect("a client");
            let mut said = String::new();
            client.read_to_string(&mut said).expect("to its end");
            client.write_all(said.to_uppercase().as_bytes()).expect("an answer");
        });
        let mut client = TcpStream::connect(free).expect("a connection");
        client.write_all(b"hello").expect("a question");
        client.shutdown(Shutdown::Write).expect("its end");
        let mut said = String::new();
        client.read_to_string(&mut said).expect("an answer");
        assert_eq!(said, "HELLO");
        answer.join().expect("no panic");
        assert!(Forward::open(&publish).is_err(), "it is taken");
    }
}
