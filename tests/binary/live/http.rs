//! Requests, byte by byte.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::TcpStream,
};

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// By names in lower case.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    #[track_caller]
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Host with port, and path, of an address.
pub(super) fn parts(address: &str) -> (&str, String) {
    let rest = address.strip_prefix("http://").expect("an address");
    let (host, path) = rest.split_once('/').expect("a path");
    (host, format!("/{path}"))
}

/// Gets what is at an address, and further headers.
#[track_caller]
pub(super) fn get(address: &str, more: &str) -> Answer {
    let (host, path) = parts(address);
    send(
        host,
        &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}"),
    )
}

/// Gets what is at an address, if anybody is there who answers.
pub(super) fn try_get(address: &str) -> Option<Answer> {
    let (host, path) = parts(address);
    let mut stream = TcpStream::connect(host).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    parsed(&bytes)
}

/// Sends the head of a request, whose end is added, and reads the answer.
#[track_caller]
pub(super) fn send(host: &str, head: &str) -> Answer {
    let mut stream = TcpStream::connect(host).expect("connect");
    let request = format!("{head}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("send");
    read(&mut stream)
}

/// Reads an answer up to the end of the connection.
#[track_caller]
pub(super) fn read(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    // A connection that is cut because too much was sent has been answered.
    let _ = stream.read_to_end(&mut bytes);
    parsed(&bytes).unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(&bytes)))
}

/// The answer; `None` without a whole head.
fn parsed(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).expect("UTF-8");
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(':').expect("a header");
        (name.to_ascii_lowercase(), value.trim().to_owned())
    });
    Some(Answer {
        status: status
            .and_then(|status| status.parse().ok())
            .expect("a status"),
        headers: headers.collect(),
        body: bytes[end + 4..].to_vec(),
    })
}
