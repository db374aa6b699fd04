//! Everything that can be wrong, and how it is said.

use crate::fixtures::{run, run_in};
use std::fs;

/// The messages of a command line that must fail.
fn messages(line: &[&str]) -> Vec<String> {
    let errors = run(line).unwrap_err();
    errors.iter().map(ToString::to_string).collect()
}

fn message(line: &[&str]) -> String {
    let mut found = messages(line);
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

#[test]
fn all_problems_are_reported_at_once() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("one.toml"),
        "versoin = '1'\n\n[app]\nname = 'cholesky'\nmatrix_sze = 100\ncompat_dag = 'maybe'\n\n\
         [engine]\nretries = -1\nkernels = 'gues'\nretry_on = ['timeout', 'lunch']\n\
         [engine.payload]\ninline_max_bytes = 2_000_000\nlimit = 'much'\n\
         [engine.filter]\nmin_size = 5\n[logging]\nlevel = 'LOUD'\nfile_name = 'events.log'\n\
         [run]\ndir_format = 'runs/{nam}'\nenv_vars = { A = 1 }\nseed = 0x1_0000_0000_0000_0000\n",
    )
    .unwrap();
    fs::write(dir.path().join("two.toml"), "[engine\nretries = \n").unwrap();
    let errors = run_in(
        dir.path(),
        &[
            "-c",
            "one.toml",
            "two.toml",
            "three.toml",
            "--app.block-size",
            "many",
            "--matrix-size",
            "5",
            "--executor",
            "thread-pol",
            "--task-timeout",
            "0",
            "--app.block_size.x=1",
            "--json=yes",
            "-x",
            "--retries",
        ],
    )
    .unwrap_err();
    assert!(errors.to_string().lines().count() == errors.len());
    insta::assert_snapshot!(errors);
}

#[test]
fn what_is_required_is_said_with_its_help() {
    insta::assert_snapshot!(messages(&["cholesky"]).join("\n"));
}

#[test]
fn no_app_and_unknown_apps_list_what_there_is() {
    insta::assert_snapshot!(message(&[]));
    insta::assert_snapshot!(message(&["cholesk", "--app.matrix-size", "4"]));
    insta::assert_snapshot!(message(&["./x.wasm", "--app.matrix-size", "4"]));
    insta::assert_snapshot!(message(&["kinds", "--app", "cholesky"]).as_str());
}

#[test]
fn filters_and_transformers_to_come() {
    insta::assert_snapshot!(message(&[
        "kinds",
        "--filter",
        "object-size",
        "--filter.min-size",
        "1"
    ]));
    insta::assert_snapshot!(message(&["kinds", "--transformer.file-dir", "x"]));
}

#[test]
fn none_needs_an_optional_field() {
    insta::assert_snapshot!(message(&["kinds", "--retries", "none"]));
}

#[test]
fn a_value_is_not_another_flag() {
    insta::assert_snapshot!(message(&["kinds", "--app.text", "--seed=1"]));
}

#[test]
fn an_app_after_a_list_of_files_is_no_file() {
    insta::assert_snapshot!(message(&["-c", "kinds"]));
}

#[test]
fn a_second_argument_is_refused() {
    insta::assert_snapshot!(message(&["kinds", "--", "-7"]));
}

#[test]
fn control_characters_and_length_are_tamed() {
    let long = "x".repeat(10_000);
    let found = message(&["kinds", "--app.word", "a\nb\u{1b}[31m"]);
    assert!(found.contains("a\\nb\\u{1b}[31m"), "{found}");
    assert!(message(&["kinds", "--app.count", &long]).len() < 300);
}

#[test]
fn paths_must_be_what_they_are_named_for() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.txt"), "a").unwrap();
    let errors = run_in(
        dir.path(),
        &[
            "kinds",
            "--app.file",
            ".",
            "--app.dir",
            "a.txt",
            "--app.out",
            "a.txt/b",
            "--app.files",
            "[\"gone\"]",
        ],
    )
    .unwrap_err();
    insta::with_settings!({filters => vec![(dir.path().to_str().unwrap(), "[DIR]")]}, {
        insta::assert_snapshot!(errors);
    });
}

#[test]
fn file_names_of_the_run_directory_differ() {
    insta::assert_snapshot!(message(&["kinds", "--logging.file-name", "tasks.jsonl",]));
    insta::assert_snapshot!(message(&["kinds", "--logging.file-name", "../x"]));
}

#[test]
fn arguments_must_be_utf8() {
    use std::os::unix::ffi::OsStringExt;
    let bad = std::ffi::OsString::from_vec(vec![b'k', 0xff]);
    let errors = taps_config::resolve(&[bad], &crate::fixtures::schema(), "/".as_ref());
    let found = errors.unwrap_err().to_string();
    assert!(
        found.starts_with("argument `k\u{fffd}`: not valid UTF-8"),
        "{found}"
    );
}

/// The variables that TaPS's settings library read by accident.
#[test]
fn no_environment_variable_leaks_in() {
    let line = ["kinds"];
    let before = run(&line).unwrap().to_toml();
    // The crate's source is the proof: it never asks for a variable.
    let mut left = vec![concat!(env!("CARGO_MANIFEST_DIR"), "/src").into()];
    while let Some(path) = left.pop() {
        if let Ok(entries) = fs::read_dir(&path) {
            left.extend(entries.map(|entry| entry.unwrap().path()));
            continue;
        }
        let source = fs::read_to_string(path).unwrap();
        assert!(!source.contains("env::var"), "reads the environment");
    }
    assert_eq!(run(&line).unwrap().to_toml(), before);
}
