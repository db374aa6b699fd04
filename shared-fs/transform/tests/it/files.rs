//! The store of files.

use crate::{
    servers::files_below,
    support::{get, keeps_payloads, open, patient, put, transformer, try_open, uncached},
};
use serde_json::json;
use std::{fs, os::unix::fs::PermissionsExt as _};
use taps_transform::{Caller, OpenError, TransformError};

#[test]
fn files_keep_payloads_and_go() {
    let place = tempfile::tempdir().expect("a directory");
    let made = place.path().join("made/for/payloads");
    keeps_payloads(transformer("file", &json!({"file_dir": made})));
    assert_eq!(fs::read_dir(place.path()).expect("read").count(), 0);
}

#[test]
fn only_own_files_are_removed_and_only_own_directories() {
    let place = tempfile::tempdir().expect("a directory");
    fs::write(place.path().join("somebody's"), "kept").expect("write");
    let of = || transformer("file", &json!({"file_dir": place.path()}));
    let (one, _) = open(of());
    let (other, _) = open(of());
    put(&one, b"1");
    let of_other = put(&other, b"2");
    one.close().expect("close");
    assert_eq!(get(&other, &of_other), b"2");
    other.close().expect("close");
    assert_eq!(
        files_below(place.path()),
        [std::path::Path::new("somebody's")]
    );

    let made = place.path().join("made");
    let (plane, _) = open(transformer("file", &json!({"file_dir": made})));
    fs::write(made.join("somebody's"), "kept").expect("write");
    plane.close().expect("close");
    assert_eq!(files_below(&made), [std::path::Path::new("somebody's")]);
}

#[test]
fn nobody_else_reads_them() {
    let place = tempfile::tempdir().expect("a directory");
    let made = place.path().join("made");
    let (plane, _) = open(transformer("file", &json!({"file_dir": made})));
    let stored = put(&plane, b"secret");
    let mode = |path| {
        fs::metadata(path)
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode(made.join(&*stored.key)), 0o600);
    assert_eq!(mode(made), 0o700);
}

#[test]
fn damage_is_noticed_and_named() {
    let place = tempfile::tempdir().expect("a directory");
    let (plane, _) = open(uncached(transformer(
        "file",
        &json!({"file_dir": place.path()}),
    )));
    let stored = put(&plane, b"as it was put");
    let path = place.path().join(&*stored.key);
    fs::write(&path, b"as it was not").expect("write");
    let error = plane
        .resolve(&stored, Caller::DRIVER, &patient)
        .expect_err("it was changed");
    assert!(matches!(error, TransformError::Damaged { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(&*stored.key), "{text}");
    assert!(text.contains(&stored.digest.to_string()), "{text}");
    let found = taps_transform::digest(b"as it was not").to_string();
    assert!(text.contains(&found), "{text}");
    // Mended: the failure was not kept.
    fs::write(&path, b"as it was put").expect("write");
    assert_eq!(get(&plane, &stored), b"as it was put");
    fs::write(&path, b"as it").expect("write");
    let shorter = plane.resolve(&stored, Caller::DRIVER, &patient);
    assert!(
        matches!(shorter, Err(TransformError::Damaged { .. })),
        "{shorter:?}"
    );
    fs::remove_file(path).expect("remove");
    let gone = plane.resolve(&stored, Caller::DRIVER, &patient);
    assert!(
        matches!(gone, Err(TransformError::Missing { .. })),
        "{gone:?}"
    );
}

#[test]
fn a_directory_that_cannot_serve_is_refused() {
    let place = tempfile::tempdir().expect("a directory");
    fs::write(place.path().join("file"), "").expect("write");
    // The last exists, and takes no files.
    let paths = [
        place.path().join("file/below"),
        "/proc/payloads".into(),
        "/proc".into(),
    ];
    for path in paths {
        let refused = try_open(transformer("file", &json!({"file_dir": path})));
        let Err(OpenError::Config(problem)) = refused else {
            panic!("{} was taken", path.display());
        };
        assert_eq!(problem.field, "file_dir");
        assert!(
            problem.given.contains(path.to_str().expect("UTF-8")),
            "{}",
            problem.given
        );
    }
}
