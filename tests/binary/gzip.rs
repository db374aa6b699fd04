//! The example of an app around a native program.

use crate::harness::{Place, run_dir, tasks};
use std::{fs, process::Command};

/// The app is not built in, so that the user has the say on what it may run.
const ALLOWED: &str = "--allow-programs=gzip";

fn app() -> &'static str {
    taps_fixtures::gzip().to_str().expect("UTF-8")
}

#[test]
fn a_file_is_compressed_by_a_confined_program() {
    let place = Place::new();
    let lines: Vec<_> = (0..40_000)
        .map(|number| format!("line {number}\n"))
        .collect();
    let text = lines.concat();
    place.write("text", &text);
    let (ended, json) = place.json(&[app(), ALLOWED, "--app.file=text", "--app.block-kib=100"]);
    ended.expect(0);
    assert_eq!(json["values"]["bytes"], text.len(), "{json}");
    let run = run_dir(&json);
    assert_eq!(
        tasks(&run).len(),
        10,
        "five blocks, each compressed and checked"
    );
    let compressed = run.join("data/compressed.gz");
    let restored = Command::new("gzip").arg("-dc").arg(&compressed).output();
    let restored = restored.expect("run gzip");
    assert!(restored.status.success());
    assert!(restored.stdout == text.as_bytes());
    assert!(fs::metadata(compressed).expect("a file").len() < text.len() as u64 / 3);
}

#[test]
fn a_bad_file_is_refused() {
    let place = Place::new();
    place.write("empty", "");
    let ended = place.run(&[app(), ALLOWED, "--app.file=empty"]);
    assert_ne!(ended.code, Some(0));
    ended.says("a file with something in it");
}
