//! Payloads that stay in files of the user.

use std::{
    fs,
    os::unix::fs::{FileExt as _, symlink},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};
use taps_payload::{FileError, FilePayload, FileRef};

/// A directory of this test's own.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("taps-files-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("the directory for temporary files is writable");
        Self(path)
    }

    fn file(&self, content: &[u8]) -> PathBuf {
        let path = self.0.join("input");
        fs::write(&path, content).expect("the directory is ours");
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // A directory left behind harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_file_payload_reads_what_the_file_holds() {
    let directory = Directory::new("reads");
    let content: Vec<u8> = (0..100_000_u32).map(|i| (i % 251) as u8).collect();
    let path = directory.file(&content);
    let reference = FileRef::open(&path).expect("a regular file");
    assert_eq!(reference.fingerprint.len, 100_000);
    let payload = FilePayload::open(&reference).expect("unchanged");
    assert_eq!(payload.reference(), &reference);
    let mut buffer = vec![0; 60_000];
    assert_eq!(payload.read_at(0, &mut buffer).expect("in range"), 60_000);
    assert_eq!(buffer, content[..60_000]);
    assert_eq!(
        payload.read_at(60_000, &mut buffer).expect("in range"),
        40_000
    );
    assert_eq!(buffer[..40_000], content[60_000..]);
    assert_eq!(payload.read_at(100_000, &mut buffer).expect("the end"), 0);
    let error = payload.read_at(100_001, &mut buffer).expect_err("beyond");
    assert!(matches!(error, FileError::OutOfRange { .. }), "{error}");
}

#[test]
fn a_relative_path_is_made_absolute() {
    let reference = FileRef::open(Path::new("Cargo.toml")).expect("tests run in the crate");
    assert!(reference.path.is_absolute());
    FilePayload::open(&reference).expect("unchanged");
}

#[test]
fn every_change_of_the_file_is_found_when_it_is_opened() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 3] = [
        ("longer", |path| {
            let file = fs::OpenOptions::new().write(true).open(path).expect("ours");
            file.write_all_at(b"x", 100).expect("ours");
        }),
        ("shorter", |path| {
            let file = fs::OpenOptions::new().write(true).open(path).expect("ours");
            file.set_len(1).expect("ours");
        }),
        ("same length", |path| {
            fs::write(path, [8; 100]).expect("ours");
            let later = SystemTime::now() + Duration::from_secs(2);
            let file = fs::File::options().write(true).open(path).expect("ours");
            file.set_modified(later).expect("ours");
        }),
    ];
    let directory = Directory::new("changes");
    for (name, change) in changes {
        let path = directory.file(&[7; 100]);
        let reference = FileRef::open(&path).expect("a regular file");
        FilePayload::open(&reference).expect("unchanged");
        change(&path);
        let error = FilePayload::open(&reference).expect_err(name);
        assert!(
            matches!(error, FileError::Changed { .. }),
            "{name}: {error}"
        );
        let message = error.to_string();
        assert!(message.contains(&*path.to_string_lossy()), "{message}");
    }
}

#[test]
fn only_regular_files_are_payloads() {
    let directory = Directory::new("kinds");
    let error = FileRef::open(&directory.0).expect_err("a directory");
    assert!(matches!(error, FileError::NotRegular { .. }), "{error}");
    let error = FileRef::open(Path::new("/dev/null")).expect_err("a device");
    assert!(matches!(error, FileError::NotRegular { .. }), "{error}");
    // Nobody writes to the pipe: opening it must not wait for one.
    let pipe = directory.0.join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).expect("ours");
    let error = FileRef::open(&pipe).expect_err("a pipe");
    assert!(matches!(error, FileError::NotRegular { .. }), "{error}");
    let missing = directory.0.join("missing");
    let error = FileRef::open(&missing).expect_err("no file");
    assert!(matches!(error, FileError::Io { .. }), "{error}");
    assert!(error.to_string().contains("missing"), "{error}");
    // A link is the file that it points to.
    let path = directory.file(b"content");
    let link = directory.0.join("link");
    symlink(&path, &link).expect("ours");
    let reference = FileRef::open(&link).expect("a file behind a link");
    assert_eq!(reference.fingerprint.len, 7);
}
