//! Object stores: a local directory, and S3 by a real implementation of its API.

use crate::{
    servers::{Moto, S3, files_below},
    support::{get, keeps_payloads, open, patient, put, transformer, try_open, uncached},
};
use serde_json::{Value, json};
use std::fs;
use taps_transform::{Caller, OpenError, TransformError, TransformerConfig};

fn with(url: &str, options: Vec<(&'static str, String)>) -> TransformerConfig {
    let options: serde_json::Map<String, Value> = options
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect();
    transformer("object-store", &json!({"url": url, "options": options}))
}

fn s3(server: &S3, secret: &str) -> TransformerConfig {
    let url = format!("s3://{}/some/prefix", S3::BUCKET);
    with(&url, server.options(secret))
}

#[test]
fn a_local_directory_keeps_payloads_and_goes() {
    let place = tempfile::tempdir().expect("a directory");
    let url = format!("file://{}/made", place.path().display());
    keeps_payloads(with(&url, Vec::new()));
    assert_eq!(fs::read_dir(place.path()).expect("read").count(), 0);
}

#[test]
fn s3_keeps_payloads_and_is_left_empty() {
    let server = S3::start();
    keeps_payloads(s3(&server, S3::SECRET));
    assert!(server.objects().is_empty(), "{:?}", server.objects());
}

#[test]
fn only_own_objects_are_removed() {
    let server = S3::start();
    let (one, _) = open(s3(&server, S3::SECRET));
    let (other, _) = open(s3(&server, S3::SECRET));
    put(&one, b"1");
    put(&one, b"11");
    let of_other = put(&other, b"2");
    one.close().expect("close");
    assert_eq!(get(&other, &of_other), b"2");
    let objects = server.objects();
    assert_eq!(objects.len(), 1, "{objects:?}");
    assert!(objects[0].starts_with("some/prefix"), "{objects:?}");
    other.close().expect("close");
    assert!(server.objects().is_empty());
}

#[test]
fn wrong_credentials_are_refused_at_the_start() {
    let server = S3::start();
    let Err(error @ OpenError::Probe { .. }) = try_open(s3(&server, "wrong-secret")) else {
        panic!("they were taken");
    };
    let text = error.to_string();
    assert!(text.contains("s3://payloads/some/prefix"), "{text}");
    assert!(!text.contains("wrong-secret"), "{text}");
}

#[test]
fn damage_is_noticed() {
    let place = tempfile::tempdir().expect("a directory");
    let url = format!("file://{}", place.path().display());
    let (plane, _) = open(uncached(with(&url, Vec::new())));
    let stored = put(&plane, b"as it was put");
    let files = files_below(place.path());
    assert_eq!(files.len(), 1);
    fs::write(place.path().join(&files[0]), "as it was not").expect("write");
    let damaged = plane.resolve(&stored, Caller::DRIVER, &patient);
    assert!(
        matches!(damaged, Err(TransformError::Damaged { .. })),
        "{damaged:?}"
    );
}

#[test]
fn another_s3_keeps_payloads_too() {
    let Some(server) = Moto::start() else { return };
    let url = format!("s3://{}/prefix", Moto::BUCKET);
    keeps_payloads(with(&url, server.options()));
    let refused = try_open(with("s3://no-such-bucket/", server.options()));
    let Err(error @ OpenError::Probe { .. }) = refused else {
        panic!("there is no such bucket");
    };
    assert!(error.to_string().contains("NoSuchBucket"), "{error}");
}
