//! Push and pull: the same bundle at both ends, and nothing is sent twice.

use super::{
    User,
    line::Line,
    number,
    server::{Access, Registry},
    snapshot, text,
};
use std::fs;

#[test]
fn what_is_pushed_is_pulled_as_it_was() {
    let Some(registry) = Registry::start(&Access::Open) else {
        return;
    };
    let author = User::new();
    // The tag is the version.
    let pushed = author.call(&[
        "bundle",
        "push",
        "mapreduce",
        &registry.reference("apps/mapreduce"),
    ]);
    snapshot!("pushed", pushed.expect(0).text());
    author
        .call(&["bundle", "export", "mapreduce", "-o", "mine.taps"])
        .expect(0);

    let user = User::new();
    let reference = registry.reference("apps/mapreduce:0.1.0");
    let pulled = user.call(&["bundle", "pull", &reference, "-o", "theirs.taps"]);
    snapshot!("pulled", pulled.expect(0).text());
    let file = |user: &User, name: &str| fs::read(user.path(name)).expect("it was written");
    assert!(
        file(&author, "mine.taps") == file(&user, "theirs.taps"),
        "the same file, to the byte"
    );
    // By its digest as well, with and without the tag.
    let digest = user.kept().remove(0);
    assert!(pushed.stdout.contains(&digest), "{}", pushed.stdout);
    for reference in [
        format!("{reference}@{digest}"),
        registry.reference(&format!("apps/mapreduce@{digest}")),
    ] {
        assert_eq!(User::new().pull(&reference), digest);
    }
}

#[test]
fn a_second_push_sends_nothing() {
    let Some(registry) = Registry::start(&Access::Open) else {
        return;
    };
    let line = Line::to(registry.port());
    let user = User::new();
    let push = || {
        user.json(&[
            "bundle",
            "push",
            "mapreduce",
            &line.reference("apps/mapreduce"),
        ])
    };
    let first = push();
    assert_eq!(number(&first["present"]["parts"]), 0);
    let parts = number(&first["sent"]["parts"]);
    let stored = registry.blobs();
    assert_eq!(stored.len() as u64, parts);
    line.mend();
    let second = push();
    assert_eq!(number(&second["sent"]["parts"]), 0, "{second}");
    assert_eq!(number(&second["present"]["parts"]), parts);
    assert_eq!(second["present"]["bytes"], first["sent"]["bytes"]);
    assert_eq!(second["reference"], first["reference"]);
    assert_eq!(registry.blobs(), stored);
    let requests = line.requests();
    assert!(!requests.is_empty());
    for request in requests {
        assert!(
            request.starts_with("head ") || request.starts_with("get "),
            "{request}"
        );
    }
}

#[test]
fn a_second_pull_fetches_the_index_only() {
    let Some(registry) = Registry::start(&Access::Open) else {
        return;
    };
    let user = User::new();
    let reference = registry.reference("apps/mapreduce:0.1.0");
    let digest = user.push(&reference);
    let first = user.json(&["bundle", "pull", &reference]);
    assert_eq!(number(&first["kept_bytes"]), 0);
    let second = user.json(&["bundle", "pull", &reference]);
    let moved = |pulled: &serde_json::Value| {
        number(&pulled["fetched_bytes"]) + number(&pulled["kept_bytes"])
    };
    assert_eq!(moved(&second), moved(&first));
    let index = fs::metadata(registry.blob(&digest)).expect("it is there");
    assert_eq!(number(&second["fetched_bytes"]), index.len());
    // What is damaged here is brought again.
    let kept = user.json(&["bundle", "cache", "list"]);
    let path = text(&kept[0]["path"]);
    fs::write(&path, "damaged").expect("it is ours");
    let third = user.json(&["bundle", "pull", &reference]);
    assert_eq!(third["fetched_bytes"], first["fetched_bytes"]);
    user.json(&["describe", &digest]);
}

#[test]
fn a_tag_moves_and_a_digest_does_not() {
    let Some(registry) = Registry::start(&Access::Open) else {
        return;
    };
    let (author, user) = (User::new(), User::new());
    let reference = registry.reference("apps/words:latest");
    let before = author.push(&reference);
    assert_eq!(user.pull(&reference), before);
    let pushed = author.json(&["bundle", "push", "physics", &reference]);
    let after = text(&pushed["digest"]);
    assert_ne!(before, after);
    // What was pulled stays what it was, until it is pulled again.
    let described = user.json(&["describe", &reference]);
    assert_eq!(described["app"]["name"], "mapreduce");
    assert_eq!(user.pull(&reference), after);
    let described = user.json(&["describe", &reference]);
    assert_eq!(described["app"]["name"], "physics");
    assert_eq!(
        User::new().pull(&registry.reference(&format!("apps/words@{before}"))),
        before
    );
}

#[test]
fn a_digest_is_not_pushed_over() {
    let Some(registry) = Registry::start(&Access::Open) else {
        return;
    };
    let user = User::new();
    let other = format!("sha256:{}", "0".repeat(64));
    let reference = registry.reference(&format!("apps/mapreduce:1@{other}"));
    let refused = user.call(&["bundle", "push", "mapreduce", &reference]);
    snapshot!(refused.expect(2).text());
    assert!(refused.stderr.contains(&other), "{}", refused.text());
}
