//! Who is answered, and what.

use super::{Watched, http};
use std::{io::Write as _, net::TcpStream};

/// Fails unless an answer says nothing.
#[track_caller]
fn expect_nothing(answer: &http::Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.body, b"", "{answer:?}");
    for name in answer.headers.keys() {
        assert!(!name.starts_with("access-control"), "{answer:?}");
        assert!(name != "server" && name != "location", "{answer:?}");
    }
}

#[test]
fn only_who_knows_the_address_is_answered() {
    let watched = Watched::endless(&["--dashboard"]);
    let address = watched.address("Dashboard");
    let (host, path) = http::parts(&address);
    let token = path.trim_matches('/');
    assert_eq!(token.len(), 32, "128 bits: {address}");
    assert!(token.bytes().all(|digit| digit.is_ascii_hexdigit()));

    let page = http::get(&address, "");
    assert_eq!(page.status, 200);
    assert!(page.text().starts_with("<!doctype html>"));
    let policy = &page.headers["content-security-policy"];
    for part in [
        "default-src 'none'",
        "script-src 'nonce-",
        "connect-src 'self'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("script-src 'unsafe-inline'"), "{policy}");
    assert_ne!(
        &http::get(&address, "").headers["content-security-policy"],
        policy,
        "a nonce is used once"
    );
    assert_eq!(page.headers["referrer-policy"], "no-referrer");
    assert_eq!(page.headers["x-content-type-options"], "nosniff");
    assert_eq!(page.headers["cache-control"], "no-store");
    assert!(
        !page.text().contains(token),
        "the page does not hold its secret"
    );
    let model = http::get(
        &format!("{address}model.json"),
        "Origin: http://evil.example\r\n",
    );
    assert_eq!(model.status, 200);
    assert_eq!(model.json()["run"]["app"], "probe");
    assert!(
        !model
            .headers
            .keys()
            .any(|name| name.starts_with("access-control"))
    );

    let wrong = token.replace(|digit: char| digit.is_ascii_digit(), "0");
    for path in [
        "/",
        "/model.json",
        "/metrics",
        &format!("/{wrong}x/"),
        &format!("/{}/", &token[..31]),
        "//",
    ] {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n");
        expect_nothing(&http::send(host, &head), 404);
    }
    expect_nothing(&http::get(&format!("{address}other"), ""), 404);
    // A name that was made to mean 127.0.0.1, with the right secret even.
    for name in [
        "evil.example",
        "evil.example:80",
        "127.0.0.1.evil.example",
        "0.0.0.0",
        "localhost.evil",
        "127.0.0.1:x",
    ] {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {name}\r\n");
        expect_nothing(&http::send(host, &head), 403);
    }
    let twice = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nHost: evil.example\r\n");
    expect_nothing(&http::send(host, &twice), 403);
    let absolute = format!("GET http://evil.example{path} HTTP/1.1\r\nHost: {host}\r\n");
    expect_nothing(&http::send(host, &absolute), 403);
    let tunnel = format!("GET {path} HTTP/1.1\r\nHost: localhost:9999\r\n");
    assert_eq!(http::send(host, &tunnel).status, 200, "through a tunnel");
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"] {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n");
        expect_nothing(&http::send(host, &head), 405);
    }
    let head = http::send(host, &format!("HEAD {path} HTTP/1.1\r\nHost: {host}\r\n"));
    assert_eq!((head.status, head.body.len()), (200, 0));

    let (place, ended) = watched.interrupt();
    ended.expect(130);
    let log = std::fs::read_to_string(place.only_run().join("log.txt")).expect("log.txt");
    assert!(!log.contains(token), "no record holds the secret");
    assert!(TcpStream::connect(host).is_err(), "it ended with the run");
}

#[test]
fn nonsense_and_idle_clients_do_not_hold_up_a_run() {
    let watched = Watched::endless(&["--dashboard", "--metrics-port=0"]);
    let address = watched.address("Dashboard");
    let (host, path) = http::parts(&address);
    let long = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nX: {}\r\n",
        "x".repeat(1 << 20)
    );
    let mut stream = TcpStream::connect(host).expect("connect");
    // It may be cut before all was sent.
    let _ = stream.write_all(long.as_bytes());
    drop(stream);
    for nonsense in [
        "\r\n\r\n",
        "GET\r\n\r\n",
        "\u{16}\u{3}\u{1}\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(host).expect("connect");
        stream.write_all(nonsense.as_bytes()).expect("send");
    }
    assert_eq!(http::get(&address, "").status, 200);
    // More than are let in, which say nothing, ask and do not read, or wait for news.
    let idle: Vec<TcpStream> = (0..60)
        .map(|number| {
            let mut stream = TcpStream::connect(host).expect("connect");
            if number % 3 > 0 {
                let file = ["", "", "model.json?client=7"][number % 3];
                let text = format!("GET {path}{file} HTTP/1.1\r\nHost: {host}\r\n\r\n");
                stream.write_all(text.as_bytes()).expect("send");
            }
            stream
        })
        .collect();
    let metrics = watched.address("Metrics");
    assert_eq!(
        http::get(&metrics, "").status,
        200,
        "the other port answers"
    );
    let (_, ended) = watched.interrupt();
    ended.expect(130);
    drop(idle);
}
