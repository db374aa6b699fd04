//! The files of a run, and what is left of runs that were killed.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use taps_payload::{FileError, FilePayload, FileStore, Isolation, Linked};

/// Where the child that is killed makes its store.
const BASE: &str = "TAPS_FILE_STORE_BASE";

/// A directory of this test's own.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("taps-store-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("the directory for temporary files is writable");
        Self(path)
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).expect("the directory is ours");
        path
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("ours");
        let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("readable").file_name();
        let mut names: Vec<String> = entries
            .map(|entry| name(entry).to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // A directory left behind harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn content(path: &Path) -> Vec<u8> {
    fs::read(path).expect("readable")
}

#[test]
fn a_file_is_taken_over_and_given_out() {
    let directory = Directory::new("moves");
    let store = FileStore::create(&directory.0).expect("writable");
    let output = directory.file("output", b"image");
    let inode = fs::metadata(&output).expect("ours").ino();
    let file = store.adopt_file(&output).expect("a regular file");
    assert!(!output.exists());
    assert!(store.owns(&file));
    let metadata = fs::metadata(&*file.path).expect("ours");
    assert_eq!(metadata.ino(), inode, "renamed, not copied");
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o444);
    assert_eq!(file.fingerprint.len, 5);

    let input = directory.0.join("input");
    let linked = store.link_into(&file, &input, Isolation::Confined);
    assert_eq!(linked.expect("one file system"), Linked::Link);
    assert_eq!(fs::metadata(&input).expect("ours").ino(), inode);
    let own = directory.0.join("own");
    let linked = store.link_into(&file, &own, Isolation::Unconfined);
    assert_eq!(linked.expect("there is room"), Linked::Copy);
    let metadata = fs::metadata(&own).expect("ours");
    assert_ne!(metadata.ino(), inode);
    assert_eq!(metadata.permissions().mode() & 0o222, 0, "read-only");
    assert_eq!(
        (content(&input), content(&own)),
        (b"image".into(), b"image".into())
    );
    // It is still what it was, for whoever reads it as a payload.
    FilePayload::open(&file).expect("unchanged");

    // What is there is never overwritten.
    for isolation in [Isolation::Confined, Isolation::Unconfined] {
        store
            .link_into(&file, &input, isolation)
            .expect_err("taken");
    }
    store.remove(&file).expect("ours");
    assert!(!file.path.exists());
    assert_eq!(content(&input), b"image", "a link stays");
    store.remove(&file).expect("gone already");
    drop(store);
    assert_eq!(directory.names(), ["input", "own"]);
}

/// A program may hand back what it was given: the input must not change with it.
#[test]
fn a_file_with_other_names_is_copied() {
    let directory = Directory::new("names");
    let store = FileStore::create(&directory.0).expect("writable");
    let theirs = directory.file("theirs", b"input of the user");
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o640)).expect("ours");
    let output = directory.0.join("output");
    fs::hard_link(&theirs, &output).expect("ours");
    let file = store.adopt_file(&output).expect("a regular file");
    assert_eq!(content(&file.path), b"input of the user");
    let metadata = fs::metadata(&theirs).expect("ours");
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o640);
    assert_ne!(
        metadata.ino(),
        fs::metadata(&*file.path).expect("ours").ino()
    );
    assert!(!output.exists());
}

#[test]
fn files_cross_file_systems() {
    let directory = Directory::new("crosses");
    let shared = Path::new("/dev/shm");
    let of = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev());
    if of(shared).ok() == of(&directory.0).ok() || of(shared).is_err() {
        eprintln!("skipped: there is one file system");
        return;
    }
    let store = FileStore::create(&directory.0).expect("writable");
    let output = shared.join(format!("taps-crosses-{}", std::process::id()));
    fs::write(&output, b"far away").expect("ours");
    let file = store.adopt_file(&output).expect("a regular file");
    assert!(!output.exists());
    assert_eq!(content(&file.path), b"far away");
    let linked = store.link_into(&file, &output, Isolation::Confined);
    assert_eq!(linked.expect("there is room"), Linked::Copy);
    assert_eq!(content(&output), b"far away");
    fs::remove_file(&output).expect("ours");
}

/// A link could lead to any file of the user, a pipe would block.
#[test]
fn only_regular_files_are_taken_over() {
    let directory = Directory::new("kinds");
    let store = FileStore::create(&directory.0).expect("writable");
    let target = directory.file("target", b"secret");
    let link = directory.0.join("link");
    symlink(&target, &link).expect("ours");
    let pipe = directory.0.join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).expect("ours");
    for path in [&link, &pipe, &directory.0] {
        let error = store.adopt_file(path).expect_err("not regular");
        assert!(matches!(error, FileError::NotRegular { .. }), "{error}");
        assert!(path.symlink_metadata().is_ok(), "it stays");
    }
    let error = store
        .adopt_file(&directory.0.join("missing"))
        .expect_err("no file");
    assert!(matches!(error, FileError::Io { .. }), "{error}");
    assert_eq!(content(&target), b"secret");
}

#[test]
fn a_file_that_changed_is_not_given_out() {
    let directory = Directory::new("changed");
    let store = FileStore::create(&directory.0).expect("writable");
    let file = store
        .adopt_file(&directory.file("output", b"image"))
        .expect("a regular file");
    fs::remove_file(&*file.path).expect("ours");
    fs::write(&*file.path, b"another image").expect("ours");
    let to = directory.0.join("input");
    for isolation in [Isolation::Confined, Isolation::Unconfined] {
        let error = store.link_into(&file, &to, isolation).expect_err("changed");
        assert!(matches!(error, FileError::Changed { .. }), "{error}");
        assert!(!to.exists());
    }
}

/// Files of the user are given out as copies, and never removed.
#[test]
fn files_of_the_user_stay_theirs() {
    let directory = Directory::new("user");
    let store = FileStore::create(&directory.0).expect("writable");
    let path = directory.file("theirs", b"data");
    let file = taps_payload::FileRef::open(&path).expect("a regular file");
    let to = directory.0.join("input");
    let linked = store.link_into(&file, &to, Isolation::Confined);
    assert_eq!(linked.expect("there is room"), Linked::Copy);
    store.remove(&file).expect("ignored");
    assert_eq!(content(&path), b"data");
}

/// Not a test of its own: the process that is killed in the next.
#[test]
#[ignore = "run by a_store_of_a_dead_process_is_swept_and_others_are_not"]
#[expect(clippy::print_stdout, reason = "its parent waits for it")]
fn a_process_that_is_killed() {
    let Some(base) = std::env::var_os(BASE) else {
        return;
    };
    let base = PathBuf::from(base);
    let store = FileStore::create(&base).expect("writable");
    let output = base.join("output");
    fs::write(&output, b"image").expect("writable");
    store.adopt_file(&output).expect("a regular file");
    println!("\nready");
    // Until it is killed, or its parent is gone.
    let _ = std::io::stdin().read_line(&mut String::new());
}

#[test]
fn a_store_of_a_dead_process_is_swept_and_others_are_not() {
    let directory = Directory::new("sweeps");
    let mut child = Command::new(std::env::current_exe().expect("it runs"))
        .args([
            "--exact",
            "a_process_that_is_killed",
            "--ignored",
            "--nocapture",
        ])
        .env(BASE, &directory.0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let stdout = child.stdout.take().expect("it is a pipe");
    let mut lines = BufReader::new(stdout).lines();
    assert!(
        lines.any(|line| line.expect("text") == "ready"),
        "the child made its store"
    );
    let alive = FileStore::create(&directory.0).expect("writable");
    let file = directory.file("output", b"other");
    let file = alive.adopt_file(&file).expect("a regular file");
    // What only looks like a store.
    directory.file("taps-files-file", b"theirs");
    symlink("/", directory.0.join("taps-files-link")).expect("ours");

    assert_eq!(FileStore::sweep_stale(&directory.0).expect("ours"), 0);
    assert_eq!(directory.names().len(), 4);
    child.kill().expect("it is ours");
    child.wait().expect("it is ours");
    assert_eq!(FileStore::sweep_stale(&directory.0).expect("ours"), 1);
    assert_eq!(FileStore::sweep_stale(&directory.0).expect("ours"), 0);
    assert_eq!(content(&file.path), b"other", "its owner lives");
    drop(alive);
    assert_eq!(directory.names(), ["taps-files-file", "taps-files-link"]);
    // Left by a process that died as it began, or by a sweep.
    fs::create_dir(directory.0.join("taps-files-1-1")).expect("ours");
    assert_eq!(FileStore::sweep_stale(&directory.0).expect("ours"), 1);
    FileStore::sweep_stale(Path::new("/nonexistent")).expect_err("no such directory");
}
