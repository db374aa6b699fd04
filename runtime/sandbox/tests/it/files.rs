//! Granted directories, seen from a guest with a standard library; and what it sees besides.

use crate::{
    bench::{Bench, Setup, inline},
    interrupts::{archived, probe},
};
use std::{fs, path::Path, time::Duration};
use taps_engine::{OutcomeKind, TrapKind};
use taps_payload::Location;
use taps_sandbox::{Grant, GrantKind, InstancePolicy};

fn granting(kind: GrantKind, folder: &Path, policy: InstancePolicy) -> Bench {
    probe(Setup {
        policy,
        grants: vec![Grant {
            field: "data".into(),
            kind,
            host_path: folder.to_owned(),
            guest_path: "/data".into(),
        }],
        granted: vec!["read_path", "write_path"],
        ..Setup::default()
    })
}

/// What the guest said: the text within its archive.
fn said(bench: &mut Bench, task: &str, argument: Location) -> String {
    let report = bench.call(task, &[argument]);
    let outputs = report
        .result
        .unwrap_or_else(|failure| panic!("{failure:?}"));
    String::from_utf8_lossy(&bench.bytes(&outputs[0].location)).into_owned()
}

fn reads(bench: &mut Bench, path: &str) -> String {
    said(bench, "read_path", inline(path.as_bytes()))
}

struct Tree {
    outer: tempfile::TempDir,
}

impl Tree {
    /// `granted` with some files, and a secret beside it.
    fn new() -> Self {
        let outer = tempfile::tempdir().expect("temporary directory");
        let granted = outer.path().join("granted");
        fs::create_dir_all(granted.join("deep")).expect("made");
        fs::write(outer.path().join("secret"), "the secret").expect("written");
        fs::write(granted.join("plain"), "plain text").expect("written");
        fs::write(granted.join("kept"), "kept text").expect("written");
        fs::write(granted.join("victim"), "victim text").expect("written");
        fs::write(granted.join("deep/below"), "text below").expect("written");
        for (name, target) in [
            ("absolute-link", outer.path().join("secret")),
            ("relative-link", "../secret".into()),
            ("folder-link", "..".into()),
            ("good-link", "deep/below".into()),
        ] {
            std::os::unix::fs::symlink(target, granted.join(name)).expect("linked");
        }
        Self { outer }
    }

    fn granted(&self) -> std::path::PathBuf {
        self.outer.path().join("granted")
    }
}

#[test]
fn a_granted_directory_is_read_and_nothing_beside_it() {
    let tree = Tree::new();
    let mut bench = granting(GrantKind::Directory, &tree.granted(), InstancePolicy::Fresh);
    for (path, text) in [
        ("/data/plain", "reads: plain text"),
        ("/data/deep/below", "reads: text below"),
        ("/data/deep/../plain", "reads: plain text"),
        ("/data/good-link", "reads: text below"),
        ("/data/deep", "holds: below"),
    ] {
        let answer = reads(&mut bench, path);
        assert!(answer.contains(text), "{path}: {answer}");
    }
    for path in [
        "/data/absolute-link",
        "/data/relative-link",
        "/data/folder-link/secret",
        "/data/../secret",
        "/data/deep/../../secret",
        "/data/nothing",
        "/etc/passwd",
        "/",
        "",
        ".",
        "/proc/self/environ",
    ] {
        let answer = reads(&mut bench, path);
        assert!(answer.contains("refused"), "{path}: {answer}");
    }
}

#[test]
fn a_directory_granted_for_reading_cannot_be_changed() {
    let tree = Tree::new();
    let mut bench = granting(GrantKind::Directory, &tree.granted(), InstancePolicy::Fresh);
    let answer = said(&mut bench, "write_path", inline(b"/data"));
    assert!(answer.contains("possible: ."), "{answer}");
    assert_eq!(
        fs::read(tree.granted().join("kept")).expect("there"),
        b"kept text"
    );
    assert!(tree.granted().join("victim").exists());
}

#[test]
fn a_directory_granted_for_writing_can() {
    let tree = Tree::new();
    let kind = GrantKind::WritableDirectory;
    let mut bench = granting(kind, &tree.granted(), InstancePolicy::Fresh);
    let answer = said(&mut bench, "write_path", inline(b"/data"));
    let all = "possible: write rename folder remove truncate.";
    assert!(answer.contains(all), "{answer}");
    let moved = fs::read(tree.granted().join("moved-by-the-guest"));
    assert_eq!(moved.expect("there"), b"written");
    let answer = said(&mut bench, "write_path", inline(b"/data/folder-link"));
    assert!(answer.contains("possible: ."), "{answer}");
    assert!(!tree.outer.path().join("made-by-the-guest").exists());
}

/// Also where sandboxes are used again or made ahead.
#[test]
fn a_task_that_lists_no_grant_has_none() {
    for policy in [
        InstancePolicy::Fresh,
        InstancePolicy::Prewarmed,
        InstancePolicy::Reuse,
    ] {
        let tree = Tree::new();
        let mut bench = granting(GrantKind::Directory, &tree.granted(), policy);
        for _ in 0..3 {
            bench.worker.prewarm();
            let answer = said(&mut bench, "look", archived(1));
            assert!(answer.contains("files=0"), "{policy:?}: {answer}");
            let answer = reads(&mut bench, "/data/plain");
            assert!(answer.contains("plain text"), "{policy:?}: {answer}");
        }
    }
}

#[test]
fn a_grant_of_one_file_opens_no_directory() {
    let tree = Tree::new();
    let file = tree.granted().join("plain");
    let mut bench = granting(GrantKind::File, &file, InstancePolicy::Fresh);
    let answer = reads(&mut bench, "/data");
    assert!(answer.contains("refused"), "{answer}");
}

#[test]
fn a_grant_that_is_gone_is_an_error_of_the_engine() {
    let tree = Tree::new();
    let folder = tree.granted().join("deep");
    let mut bench = granting(GrantKind::Directory, &folder, InstancePolicy::Fresh);
    fs::remove_dir_all(&folder).expect("removed");
    let failure = bench.failure("read_path", &[inline(b"/data")]);
    assert_eq!(failure.outcome, OutcomeKind::EngineError, "{failure:?}");
}

/// Environment, arguments, clock, network: what the run sets, and else nothing.
#[test]
fn a_guest_sees_the_baseline() {
    let mut bench = probe(Setup::default());
    let answer = said(&mut bench, "look", archived(1));
    for part in [
        r#"env=[("LANG", "C")]"#,
        "args=0 files=0 passwd=false years=0 network=false",
    ] {
        assert!(answer.contains(part), "{answer}");
    }
}

#[test]
fn output_is_kept_up_to_a_bound() {
    let mut bench = probe(Setup::default());
    assert!(bench.call("chatter", &[archived(3)]).result.is_ok());
    let heard = bench.heard.0.lock();
    let [out, error] = &heard[..] else {
        panic!("{} parts", heard.len())
    };
    assert!(out.starts_with("Stdout ") && out.contains("line 0 of task 3"));
    assert!(out.len() < taps_sandbox::OUTPUT_LIMIT_BYTES + 100);
    let dropped: u64 = out
        .split(' ')
        .nth(1)
        .and_then(|count| count.parse().ok())
        .expect("a count");
    assert!(dropped > 1_000_000, "{dropped}");
    assert!(error.starts_with("Stderr 0 ") && error.contains("one for standard error"));
}

#[test]
fn a_panic_is_reported_with_its_message_and_place() {
    for policy in [InstancePolicy::Fresh, InstancePolicy::Reuse] {
        let mut bench = probe(Setup::policy(policy));
        for value in [4, 5] {
            let failure = bench.failure("panic", &[archived(value)]);
            assert_eq!(failure.outcome, OutcomeKind::Trap(TrapKind::Unreachable));
            let text = format!("task {value} was told to panic (panicked at ");
            assert!(failure.message.starts_with(&text), "{failure:?}");
            assert!(failure.message.contains("probe/src/lib.rs:"), "{failure:?}");
        }
    }
}

#[test]
fn a_rust_guest_fails_in_typed_ways() {
    let mut bench = probe(Setup::default());
    for (task, outcome) in [
        ("memory", OutcomeKind::OutOfMemory),
        ("exit", OutcomeKind::Trap(TrapKind::Exit)),
        ("error", OutcomeKind::TaskError),
    ] {
        let failure = bench.failure(task, &[archived(1)]);
        assert_eq!(failure.outcome, outcome, "{task} {failure:?}");
        assert!(bench.call("ok", &[archived(1)]).result.is_ok());
    }
    // Its stack lies at the bottom of memory, or the native one ends first.
    let failure = bench.failure("recurse", &[archived(1)]);
    let deep = [TrapKind::OutOfBounds, TrapKind::StackOverflow];
    assert!(
        deep.iter()
            .any(|kind| failure.outcome == OutcomeKind::Trap(*kind)),
        "{failure:?}"
    );
}

/// Opening a pipe waits for a writer, which no cancel could end.
#[test]
fn a_pipe_in_a_granted_directory_does_not_hang_the_worker() {
    let tree = Tree::new();
    let pipe = tree.granted().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no mkfifo");
        return;
    }
    std::os::unix::fs::symlink("pipe", tree.granted().join("pipe-link")).expect("linked");
    let (sender, receiver) = std::sync::mpsc::channel();
    let folder = tree.granted();
    std::thread::spawn(move || {
        let mut bench = granting(GrantKind::Directory, &folder, InstancePolicy::Fresh);
        for path in ["/data/pipe", "/data/pipe-link"] {
            let _ = sender.send(reads(&mut bench, path));
        }
    });
    for _ in 0..2 {
        let answer = receiver.recv_timeout(Duration::from_secs(20));
        let answer = answer.expect("the attempt ends");
        assert!(answer.contains("refused"), "{answer}");
    }
}
