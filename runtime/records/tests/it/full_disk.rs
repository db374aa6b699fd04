//! A full disk is a typed error, and nothing is half-written.

use crate::support::{read, whole_task};
use std::{path::Path, process::Command};
use taps_records::{EVENTS_FILE, EventLog, LogError, LogReader, ViewError, recover};

const DIRECTORY: &str = "TAPS_RECORDS_TEST_FULL";

/// Exit code of the script when it cannot set the stage.
const SKIPPED: i32 = 77;

/// Fills the disk with a log, under whatever limit the parent set.
#[test]
#[ignore = "the child of the other tests"]
fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let directory = Path::new(&directory);
    let path = directory.join(EVENTS_FILE);
    let mut log = EventLog::create(&path).expect("create");
    let mut appended = Vec::new();
    let mut events = (0..).flat_map(|task| whole_task(task, task * 1_000));
    let error = loop {
        let event = events.next().expect("endless");
        match log.append(&event) {
            Ok(()) => appended.push(event),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, LogError::Full { .. }), "{error}");
    assert!(
        error.to_string().contains("events.log: no space left"),
        "{error}"
    );
    // From now on there would be a gap: nothing is taken any more.
    let again = log.append(&appended[0]).expect_err("still full");
    assert!(matches!(again, LogError::Full { .. }), "{again}");

    // More than the first chunk, and nearly all of the space, was used.
    assert!(log.len_bytes() > 2_000_000, "{} bytes", log.len_bytes());
    let check = || {
        let (events, truncated_at) = read(LogReader::open(&path).expect("open"));
        assert!(events == appended);
        assert_eq!(truncated_at, None);
    };
    check();
    log.close().expect("close");
    check();

    // The records need more space than there is: there are none rather than some.
    let error = recover(directory).expect_err("no space for the view");
    assert!(matches!(error, ViewError::Write { .. }), "{error}");
    let files = std::fs::read_dir(directory).expect("list").count();
    assert_eq!(files, 1, "only the log is left");
}

/// Runs the child under a shell script that sets the limit. Returns whether it could.
fn under(script: &str, wrapper: &[&str]) -> bool {
    let directory = tempfile::tempdir().expect("temporary directory");
    let this = std::env::current_exe().expect("this test");
    let mut words = wrapper.to_vec();
    words.extend(["sh", "-c", script, "sh"]);
    let output = Command::new(words[0])
        .args(&words[1..])
        .arg(this)
        .args(["--exact", "full_disk::child", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory.path())
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => {
            eprintln!("skipped: {}: {error}", words[0]);
            return false;
        }
    };
    let text = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    if output.status.code() == Some(SKIPPED) {
        eprintln!("skipped: {text}");
        return false;
    }
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
    true
}

#[test]
fn a_file_size_limit() {
    // In blocks of 512 bytes. Without the signal, which ends a process that exceeds it.
    let ran = under(
        r#"trap "" XFSZ; ulimit -f 5000 || exit 77; exec "$@""#,
        &["env"],
    );
    assert!(ran, "every shell can lower its file size limit");
}

#[test]
fn a_full_file_system() {
    let script =
        format!(r#"mount -t tmpfs -o size=2500k none "${DIRECTORY}" || exit {SKIPPED}; exec "$@""#);
    // As root, or as root of a user namespace where there may be one.
    let ready = |wrapper: &[&str]| {
        let status = Command::new(wrapper[0])
            .args(&wrapper[1..])
            .arg("true")
            .output();
        status.is_ok_and(|output| output.status.success())
    };
    for wrapper in [&["unshare", "-m"][..], &["unshare", "-rm"]] {
        if ready(wrapper) {
            under(&script, wrapper);
            return;
        }
    }
    eprintln!("skipped: no mount namespace can be made");
}
