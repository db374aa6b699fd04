//! The store of Redis, against a real server.

use crate::{
    servers::Redis,
    support::{get, keeps_payloads, open, patient, put, soon, transformer, try_open, uncached},
};
use serde_json::json;
use taps_transform::{Caller, OpenError, OperationKind, TransformError, TransformerConfig};

fn by_socket(server: &Redis) -> TransformerConfig {
    transformer("redis", &json!({"url": server.url(), "ttl_s": 100}))
}

#[test]
fn redis_keeps_payloads_and_is_left_empty() {
    let Some(server) = Redis::start(None) else {
        return;
    };
    keeps_payloads(by_socket(&server));
    assert!(server.keys().is_empty());
    let by_port = json!({"host": "127.0.0.1", "port": server.port, "ttl_s": null});
    keeps_payloads(transformer("redis", &by_port));
    assert!(server.keys().is_empty());
}

#[test]
fn only_own_keys_are_removed_and_none_stays_for_ever() {
    let Some(server) = Redis::start(None) else {
        return;
    };
    let _: () = server.ask(&["SET", "taps:somebody-else's", "kept"]);
    let (one, _) = open(by_socket(&server));
    let (other, _) = open(by_socket(&server));
    put(&one, b"1");
    let of_other = put(&other, b"2");
    let left: i64 = server.ask(&["TTL", &format!("taps:{}", of_other.key)]);
    assert!((1..=100).contains(&left), "{left}");
    one.close().expect("close");
    assert_eq!(get(&other, &of_other), b"2");
    other.close().expect("close");
    assert_eq!(server.keys(), ["taps:somebody-else's"]);
}

#[test]
fn damage_is_noticed() {
    let Some(server) = Redis::start(None) else {
        return;
    };
    let (plane, _) = open(uncached(by_socket(&server)));
    let stored = put(&plane, b"as it was put");
    let _: () = server.ask(&["SET", &format!("taps:{}", stored.key), "as it was not"]);
    let damaged = plane.resolve(&stored, Caller::DRIVER, &patient);
    assert!(
        matches!(damaged, Err(TransformError::Damaged { .. })),
        "{damaged:?}"
    );
}

#[test]
fn a_server_that_dies_is_an_error_and_one_that_comes_back_is_used_again() {
    let Some(mut server) = Redis::start(None) else {
        return;
    };
    let (plane, seen) = open(uncached(soon(by_socket(&server))));
    let stored = put(&plane, b"before");
    server.kill();
    let lost = plane.resolve(&stored, Caller::DRIVER, &patient);
    let error = lost.expect_err("the server is dead").to_string();
    assert!(error.contains(&*stored.key), "{error}");
    let refused = plane.put(&bytes::Bytes::from_static(b"x"), Caller::DRIVER, &patient);
    assert!(refused.is_err());
    server.restart();
    let missing = loop {
        match plane.resolve(&stored, Caller::DRIVER, &patient) {
            Err(TransformError::Backend { .. } | TransformError::Timeout { .. }) => {}
            other => break other,
        }
    };
    // It came back empty.
    assert!(
        matches!(missing, Err(TransformError::Missing { .. })),
        "{missing:?}"
    );
    let after = put(&plane, b"after");
    assert_eq!(get(&plane, &after), b"after");
    assert_eq!(seen.count(OperationKind::Get), 1);
    plane.close().expect("close");
}

#[test]
fn a_server_that_hangs_is_not_waited_for_for_ever() {
    let Some(mut server) = Redis::start(None) else {
        return;
    };
    let (plane, _) = open(uncached(soon(by_socket(&server))));
    let stored = put(&plane, b"there");
    let _: () = server.ask(&["CLIENT", "PAUSE", "600000", "ALL"]);
    let late = plane.resolve(&stored, Caller::DRIVER, &patient);
    let error = late.expect_err("nobody answers");
    assert!(matches!(error, TransformError::Timeout { .. }), "{error}");
    // Whoever does not wait any more is not held up at all.
    let gone = plane.resolve(&stored, Caller::DRIVER, &|| false);
    assert!(
        matches!(gone, Err(TransformError::Interrupted(_))),
        "{gone:?}"
    );
    // Closing says that nothing could be removed.
    server.kill();
    assert!(plane.close().is_err());
}

#[test]
fn what_cannot_work_is_refused_at_the_start() {
    let refused = |transformer: TransformerConfig| match try_open(transformer) {
        Err(error @ OpenError::Probe { .. }) => error.to_string(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was taken"),
    };
    let nobody = refused(transformer(
        "redis",
        &json!({"host": "127.0.0.1", "port": 1}),
    ));
    assert!(nobody.contains("redis://127.0.0.1:1/"), "{nobody}");
    let Some(server) = Redis::start(Some("right-password")) else {
        return;
    };
    keeps_payloads(by_socket(&server));
    let without = refused(transformer(
        "redis",
        &json!({"host": "127.0.0.1", "port": server.port}),
    ));
    assert!(without.contains("uthentication"), "{without}");
    let url = format!("redis://:wrong-password@127.0.0.1:{}/", server.port);
    let wrong = refused(transformer("redis", &json!({ "url": url })));
    assert!(
        wrong.contains("WRONGPASS") || wrong.contains("assword"),
        "{wrong}"
    );
    assert!(!wrong.contains("wrong-password"), "{wrong}");
}
