//! Signatures travel with bundles, and make them known.

use super::{
    User, run,
    server::{Access, Registry},
    snapshot, text,
};
use std::fs;

/// Makes keys, and a bundle with a signature beside it.
fn signed(user: &User) {
    user.call(&["bundle", "keygen", "me"]).expect(0);
    user.call(&["bundle", "export", "mapreduce", "-o", "words.taps"])
        .expect(0);
    user.call(&["bundle", "sign", "words.taps", "--key", "me.pem"])
        .expect(0);
}

/// Makes the public key of one user known to another.
fn trusts(user: &User, author: &User) {
    let key = fs::read(author.path("me.pub.pem")).expect("it was made");
    let path = user
        .place
        .write("home/.config/taps-wasm/keys/author.pem", key);
    let directory = path.parent().expect("a directory");
    for path in [directory, &path] {
        let mut permissions = fs::metadata(path).expect("it is there").permissions();
        let mode = std::os::unix::fs::PermissionsExt::mode(&permissions) & 0o755;
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, mode);
        fs::set_permissions(path, permissions).expect("it is ours");
    }
}

#[test]
fn a_bundle_that_a_known_key_signed_runs() {
    let Some(registry) = Registry::start(&Access::Open) else {
        return;
    };
    let author = User::new();
    signed(&author);
    let reference = registry.reference("apps/words:1");
    let pushed = author.call(&["bundle", "push", "words.taps", &reference]);
    snapshot!("pushed", pushed.expect(0).text());

    let friend = User::new();
    trusts(&friend, &author);
    let pulled = friend.call(&["bundle", "pull", &reference, "-o", "theirs.taps"]);
    snapshot!("pulled", pulled.expect(0).text());
    let sent = fs::read(author.path("words.taps.sig")).expect("it was made");
    let came = fs::read(friend.path("theirs.taps.sig")).expect("it came along");
    assert_eq!(came, sent);
    let ran = friend.call(&[&run(&reference)[..], &["--locked"]].concat());
    ran.expect(0);

    // To others it is as good as unsigned, unless they name the key.
    let stranger = User::new();
    let refused = stranger.call(&run(&reference));
    refused
        .expect(4)
        .says("this bundle was not allowed yet")
        .says("by none of the 0 known keys");
    let key = author.path("me.pub.pem");
    let key = key.to_str().expect("UTF-8");
    stranger
        .call(&[&run(&reference)[..], &["--key", key]].concat())
        .expect(0);
}

#[test]
fn signatures_come_together() {
    let Some(registry) = Registry::start(&Access::Open) else {
        return;
    };
    let (one, other) = (User::new(), User::new());
    let reference = registry.reference("apps/words:1");
    for author in [&one, &other] {
        signed(author);
        author
            .call(&["bundle", "push", "words.taps", &reference])
            .expect(0);
    }
    // Once more changes nothing.
    let stored = registry.blobs();
    one.call(&["bundle", "push", "words.taps", &reference])
        .expect(0);
    assert_eq!(registry.blobs(), stored);
    for author in [&one, &other] {
        let friend = User::new();
        trusts(&friend, author);
        let pulled = friend.json(&["bundle", "pull", &reference]);
        assert_eq!(pulled["keys"].as_array().map(Vec::len), Some(2));
        let described = friend.call(&[&run(&reference)[..], &["--locked", "--dry-run"]].concat());
        described.expect(0);
    }
}

#[test]
fn a_signature_of_another_bundle_is_not_sent() {
    let Some(registry) = Registry::start(&Access::Open) else {
        return;
    };
    let author = User::new();
    signed(&author);
    let reference = registry.reference("apps/physics:1");
    let push = ["bundle", "push", "physics", &reference];
    let refused = author.call(&[&push[..], &["--signature", "words.taps.sig"]].concat());
    snapshot!("of_another_bundle", refused.expect(4).text());
    let absent = author.call(&[&push[..], &["--signature", "absent.sig"]].concat());
    snapshot!("no_such_signature", absent.expect(4).text());
    // Before anything was sent.
    assert_eq!(registry.blobs(), Vec::<String>::new());
}

#[test]
fn signatures_that_were_changed_in_the_registry_are_refused() {
    let Some(registry) = Registry::start(&Access::Open) else {
        return;
    };
    let author = User::new();
    signed(&author);
    let reference = registry.reference("apps/words:1");
    let before = {
        author.push(&reference);
        registry.blobs()
    };
    let pushed = author.json(&["bundle", "push", "words.taps", &reference]);
    let place = text(&pushed["signatures"]);
    let digest = text(&pushed["digest"]).replace(':', "-");
    assert!(place.ends_with(&format!(":{digest}.sig")), "{place}");
    let mut changed = 0;
    for digest in registry.blobs() {
        let path = registry.blob(&digest);
        let content = fs::read_to_string(&path).unwrap_or_default();
        if before.contains(&digest) || !content.contains("\"signatures\"") {
            continue;
        }
        let start = content.find("\"signature\"").expect("one");
        let (head, tail) = content.split_at(start + "\"signature\": \"".len());
        let other = if tail.starts_with('A') { "B" } else { "A" };
        let content = format!("{head}{other}{}", &tail[1..]);
        fs::write(&path, content).expect("it is the test's");
        changed += 1;
    }
    assert_eq!(changed, 1);
    let user = User::new();
    let refused = user.call(&["bundle", "pull", &reference]);
    snapshot!(refused.expect(4).text());
    assert_eq!(user.kept(), Vec::<String>::new());
}
