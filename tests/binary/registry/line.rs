//! A line to a server that a test can cut: it passes bytes on, and notes the heads of requests.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// What is longer is no head, but a body.
const LONGEST_HEAD: usize = 16 << 10;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// From the client to the server.
    There,
    /// From the server to the client.
    Back,
}

/// What becomes of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// It breaks once, and works for who connects again.
    Works,
    /// It stays broken.
    Stays,
}

#[derive(Default)]
struct State {
    /// Heads of requests, in order.
    requests: Vec<String>,
    /// Bytes that may still go this way before it breaks, and what is then.
    cut: Option<(Way, usize, Then)>,
    broken: bool,
    /// Bytes that came back.
    answered: usize,
}

/// The line.
#[derive(Clone)]
pub(super) struct Line {
    state: Arc<Mutex<State>>,
    port: u16,
}

impl Line {
    /// A line to a port of this machine.
    pub(super) fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let line = Self {
            state: Arc::default(),
            port: listener.local_addr().expect("an address").port(),
        };
        let other = line.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if other.lock().broken {
                    continue;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else {
                    continue;
                };
                other.join(&client, &server);
            }
        });
        line
    }

    /// `127.0.0.1:PORT/` and a path.
    pub(super) fn reference(&self, path: &str) -> String {
        format!("127.0.0.1:{}/{path}", self.port)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }

    /// Breaks after so many bytes from the server.
    pub(super) fn cut_after(&self, bytes: usize, then: Then) {
        self.lock().cut = Some((Way::Back, bytes, then));
    }

    /// Breaks after so many bytes to the server.
    pub(super) fn cut_after_sending(&self, bytes: usize, then: Then) {
        self.lock().cut = Some((Way::There, bytes, then));
    }

    /// Works again, with nothing noted.
    pub(super) fn mend(&self) {
        *self.lock() = State::default();
    }

    /// Heads of the requests so far.
    pub(super) fn requests(&self) -> Vec<String> {
        self.lock().requests.clone()
    }

    /// Bytes from the server so far.
    pub(super) fn answered(&self) -> usize {
        self.lock().answered
    }

    fn join(&self, client: &TcpStream, server: &TcpStream) {
        let pair = || {
            (
                client.try_clone().expect("a descriptor"),
                server.try_clone().expect("a descriptor"),
            )
        };
        let (up, down) = (pair(), pair());
        let (asking, answering) = (self.clone(), self.clone());
        thread::spawn(move || asking.ask(&up.0, &up.1));
        thread::spawn(move || answering.answer(&down.1, &down.0));
    }

    /// Client to server. Heads are noted of requests without a body; a head that follows a body may be missed.
    fn ask(&self, mut client: &TcpStream, mut server: &TcpStream) {
        let mut buffer = vec![0; 64 << 10];
        let mut head = Vec::new();
        while let Ok(count @ 1..) = client.read(&mut buffer) {
            let piece = &buffer[..count];
            for method in ["GET ", "HEAD ", "POST ", "PATCH ", "PUT "] {
                if piece.starts_with(method.as_bytes()) {
                    head.clear();
                }
            }
            head.extend_from_slice(piece);
            if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
                let text = String::from_utf8_lossy(&head[..end]).to_lowercase();
                self.lock().requests.push(text);
                head.clear();
            } else if head.len() > LONGEST_HEAD {
                head.clear();
            }
            let passed = self.pass(Way::There, count);
            if server.write_all(&piece[..passed]).is_err() || passed < count {
                break;
            }
        }
        // The other direction may have ended it before.
        let _ = server.shutdown(Shutdown::Both);
        let _ = client.shutdown(Shutdown::Both);
    }

    /// Server to client, until it is cut.
    fn answer(&self, mut server: &TcpStream, mut client: &TcpStream) {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count @ 1..) = server.read(&mut buffer) {
            let passed = self.pass(Way::Back, count);
            if client.write_all(&buffer[..passed]).is_err() || passed < count {
                break;
            }
        }
        // The other direction may have ended it before.
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    }

    /// How many of these bytes get through.
    fn pass(&self, way: Way, count: usize) -> usize {
        let mut state = self.lock();
        if state.broken {
            return 0;
        }
        let passed = match state.cut {
            Some((cut, left, then)) if cut == way && left <= count => {
                state.cut = None;
                state.broken = then == Then::Stays;
                // One less than there is, so that it is a cut in any case.
                left.min(count - 1)
            }
            Some((cut, left, then)) if cut == way => {
                state.cut = Some((cut, left - count, then));
                count
            }
            _ => count,
        };
        if way == Way::Back {
            state.answered += passed;
        }
        passed
    }
}
