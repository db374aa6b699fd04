//! Debian's `skopeo`, which knows nothing of bundles, carries them as they are.

use super::{
    User,
    openssl::sha256,
    server::{Access, Registry, installed, skopeo},
};
use serde_json::Value;
use std::fs;

fn registry() -> Option<Registry> {
    if !installed(&["skopeo", "openssl"]) {
        return None;
    }
    Registry::start(&Access::Open)
}

fn there(registry: &Registry, path: &str) -> String {
    format!("docker://{}", registry.reference(path))
}

#[test]
fn what_we_push_is_shown_and_copied_out() {
    let Some(registry) = registry() else { return };
    let user = User::new();
    let digest = user.push(&registry.reference("apps/words:1"));
    let raw = skopeo(&[
        "inspect",
        "--tls-verify=false",
        "--raw",
        &there(&registry, "apps/words:1"),
    ]);
    assert_eq!(format!("sha256:{}", sha256(&raw)), digest);
    let index: Value = serde_json::from_slice(&raw).expect("JSON");
    assert_eq!(
        index["artifactType"],
        "application/vnd.taps-wasm.bundle.v1+json"
    );
    // A bundle is an archive of an OCI layout: what skopeo writes runs.
    let out = user.path("out.tar");
    let archive = format!("oci-archive:{}:1", out.to_str().expect("UTF-8"));
    skopeo(&[
        "copy",
        "--all",
        "--preserve-digests",
        "--src-tls-verify=false",
        &there(&registry, "apps/words:1"),
        &archive,
    ]);
    fs::rename(&out, user.path("out.taps")).expect("it was written");
    user.call(&["bundle", "cache", "add", "out.taps"]).expect(0);
    assert_eq!(user.kept(), [digest]);
}

#[test]
fn what_skopeo_pushes_is_pulled() {
    let Some(registry) = registry() else { return };
    let (author, user) = (User::new(), User::new());
    author
        .call(&["bundle", "export", "mapreduce", "-o", "words.taps"])
        .expect(0);
    let bundle = author.path("words.taps");
    skopeo(&[
        "copy",
        "--all",
        "--preserve-digests",
        "--dest-tls-verify=false",
        &format!("oci-archive:{}", bundle.to_str().expect("UTF-8")),
        &there(&registry, "by/skopeo:1"),
    ]);
    let digest = user.pull(&registry.reference("by/skopeo:1"));
    author
        .call(&["bundle", "cache", "add", "words.taps"])
        .expect(0);
    assert_eq!(author.kept(), [digest]);
}

#[test]
fn bundles_and_signatures_are_copied_between_registries() {
    let Some(registry) = registry() else { return };
    let author = User::new();
    author.call(&["bundle", "keygen", "me"]).expect(0);
    author
        .call(&["bundle", "export", "mapreduce", "-o", "words.taps"])
        .expect(0);
    author
        .call(&["bundle", "sign", "words.taps", "--key", "me.pem"])
        .expect(0);
    let pushed = author.json(&[
        "bundle",
        "push",
        "words.taps",
        &registry.reference("apps/words:1"),
    ]);
    let digest = super::text(&pushed["digest"]);
    let signatures = format!("{}.sig", digest.replace(':', "-"));
    let Some(mirror) = Registry::start(&Access::Open) else {
        return;
    };
    for tag in ["1", &signatures] {
        skopeo(&[
            "copy",
            "--all",
            "--preserve-digests",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
            &there(&registry, &format!("apps/words:{tag}")),
            &there(&mirror, &format!("mirror/words:{tag}")),
        ]);
    }
    let pulled = User::new().json(&["bundle", "pull", &mirror.reference("mirror/words:1")]);
    assert_eq!(pulled["digest"], digest.as_str());
    assert_eq!(pulled["keys"].as_array().map(Vec::len), Some(1), "{pulled}");
}
