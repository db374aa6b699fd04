//! References, registries and flags that cannot be used: refused with the reason.

use super::{
    User,
    line::Line,
    server::{Access, Registry},
    snapshot,
};
use std::{fmt::Write as _, net::TcpListener};

#[test]
fn references_that_are_none() {
    let user = User::new();
    let mut said = String::new();
    for reference in [
        "mapreduce",
        "apps/mapreduce:1",
        "https://registry.example.org/apps/mapreduce:1",
        "registry.example.org",
        "registry.example.org/Apps/mapreduce:1",
        "registry.example.org/apps/../mapreduce",
        "registry.example.org:port/mapreduce",
        "registry.example.org/mapreduce:",
        "registry.example.org/mapreduce:1@sha256:12",
    ] {
        let refused = user.call(&["bundle", "pull", reference]);
        write!(said, "{}", refused.expect(2).stderr).expect("a text");
    }
    snapshot!("pull", said);
    let refused = user.call(&["bundle", "push", "mapreduce", "nowhere"]);
    snapshot!("push", refused.expect(2).text());
    assert!(!user.path("cache").exists(), "nothing was made");
}

#[test]
fn what_a_registry_does_not_have() {
    let Some(registry) = Registry::start(&Access::Open) else {
        return;
    };
    let user = User::new();
    let digest = user.push(&registry.reference("apps/words:1"));
    user.push(&registry.reference("apps/words:2"));
    let absent = format!("apps/words@sha256:{}", "0".repeat(64));
    let mut said = String::new();
    for (path, code) in [
        ("apps/words", 2),
        ("apps/words:3", 2),
        ("apps/nothing:1", 2),
        ("apps/nothing", 2),
        (absent.as_str(), 4),
    ] {
        let refused = user.call(&["bundle", "pull", &registry.reference(path)]);
        write!(said, "{}", refused.expect(code).stderr).expect("a text");
    }
    // A component alone is no bundle.
    let index = std::fs::read(registry.blob(&digest)).expect("it is there");
    let index: serde_json::Value = serde_json::from_slice(&index).expect("JSON");
    let component = super::text(&index["manifests"][1]["digest"]);
    let reference = registry.reference(&format!("apps/words@{component}"));
    let refused = user.call(&["bundle", "pull", &reference]);
    write!(said, "{}", refused.expect(4).stderr).expect("a text");
    snapshot!(said);
}

#[test]
fn nobody_answers() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let user = User::new();
    let reference = format!("127.0.0.1:{port}/apps/words:1");
    let refused = user.call(&["bundle", "pull", &reference]);
    snapshot!("refused_connection", refused.expect(6).text());
    user.call(&["bundle", "push", "mapreduce", &reference])
        .expect(6)
        .says("cannot be reached by HTTP");
    let refused = user.call(&["run", &reference]);
    refused.expect(6).says("cannot be reached by HTTP");
}

#[test]
fn a_name_that_nobody_knows() {
    let user = User::new();
    // Names below `.invalid` never exist.
    let refused = user.call(&["bundle", "pull", "registry.invalid/apps/words:1"]);
    refused
        .expect(6)
        .says("registry.invalid cannot be reached by HTTPS");
}

#[test]
fn other_machines_are_not_spoken_to_without_tls() {
    let Some(registry) = Registry::start(&Access::Open) else {
        return;
    };
    let line = Line::to(registry.port());
    // This machine, by an address that is not known as such.
    let reference = line
        .reference("apps/words:1")
        .replace("127.0.0.1", "0.0.0.0");
    let user = User::new();
    let push = ["bundle", "push", "mapreduce", &reference];
    let refused = user.call(&push);
    snapshot!(refused.expect(6).text());
    assert_eq!(line.requests(), Vec::<String>::new());
    user.call(&[&push[..], &["--plain-http"]].concat())
        .expect(0);
    assert!(!line.requests().is_empty());
}

#[test]
fn files_that_cannot_be_used() {
    let user = User::new();
    let mut said = String::new();
    // Refused before anybody is asked.
    let reference = "registry.invalid/apps/words:1";
    for output in ["absent/words.taps", "."] {
        let refused = user.call(&["bundle", "pull", reference, "-o", output]);
        write!(said, "{}", refused.expect(2).stderr).expect("a text");
    }
    user.place
        .write("home/.docker/config.json", "{\"auths\": 3}");
    let refused = user.call(&["bundle", "pull", reference]);
    write!(said, "{}", refused.expect(2).text()).expect("a text");
    let mut command = user.command(&["bundle", "pull", reference]);
    command.env("REGISTRY_AUTH_FILE", user.path("absent.json"));
    let refused = user.end(command);
    write!(said, "{}", refused.expect(2).text()).expect("a text");
    snapshot!(said);
}
