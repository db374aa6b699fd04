//! The whole app, run locally.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use taps::testing::Local;
use taps::{Error, Report};

use crate::APP;

fn run(config: &Value) -> taps::Result<Report> {
    taps::testing::run_app(&APP, config)
}

fn passing(config: &Value) -> Report {
    let report = run(config).unwrap();
    assert!(report.passed(), "{report:?}");
    report
}

fn value<'a>(report: &'a Report, name: &str) -> &'a Value {
    let found = report.values.iter().find(|(key, _)| key == name);
    &found.unwrap().1
}

/// A directory with the given files.
fn directory(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    directory
}

/// Field and text of a configuration error.
fn config_error(config: &Value) -> (String, String) {
    match run(config) {
        Err(error @ Error::Config { .. }) => {
            let field = error.to_driver_error().field.unwrap();
            (field, error.to_string())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn generated_words_are_all_counted() {
    for (files, words, tasks) in [
        (10, 10_000, 32),
        (16, 1_000, 16),
        (33, 100, 32),
        (1, 1, 1),
        (5, 77, 2),
    ] {
        let config = json!({
            "generate": true, "generated_files": files, "generated_words": words, "map_tasks": tasks,
        });
        let report = passing(&config);
        assert_eq!(*value(&report, "total"), json!(files * words));
        assert_eq!(*value(&report, "files"), json!(files));
    }
}

#[test]
fn the_seed_alone_decides_what_is_generated() {
    let digest = |seed, shuffle, tasks| {
        let config = json!({ "generate": true, "generated_words": 500, "map_tasks": tasks });
        let local = Local::new().seed(seed).shuffled(shuffle);
        let report = local.run_app(&APP, &config).unwrap();
        value(&report, "sha256").clone()
    };
    let first = digest(1, 1, json!(3));
    assert_eq!(first, digest(1, 2, json!(10)));
    assert_eq!(first, digest(1, 3, Value::Null));
    assert_ne!(first, digest(2, 1, json!(3)));
}

#[test]
fn generated_text_has_the_form_asked_for() {
    let text = crate::generate::text(7, 200_000);
    let text = str::from_utf8(&text).unwrap();
    let words: Vec<_> = text.split(' ').collect();
    assert_eq!(words.len(), 200_000);
    let mut lengths = [0; 11];
    let mut letters = [0; 26];
    for word in words {
        lengths[word.len()] += 1;
        for letter in word.bytes() {
            letters[usize::from(letter - b'a')] += 1;
        }
    }
    assert_eq!(lengths[..2], [0, 0]);
    assert!(
        lengths[2..]
            .iter()
            .all(|count| (21_000..23_500).contains(count)),
        "{lengths:?}"
    );
    assert!(
        letters.iter().all(|count| (45_000..47_300).contains(count)),
        "{letters:?}"
    );
    assert_eq!(
        crate::generate::text(7, 3).len(),
        text.match_indices(' ').nth(2).unwrap().0
    );
}

#[test]
fn files_at_any_depth_and_of_any_kind_are_counted() {
    let files = directory(&[
        ("b.txt", b"one two"),
        ("a/deep/er.txt", b"two caf\xe9 caf\xe8"),
        ("empty", b""),
        (".hidden", b"three\xe2\x80"),
    ]);
    std::os::unix::fs::symlink("b.txt", files.path().join("link")).unwrap();
    std::os::unix::fs::symlink("a", files.path().join("linked-directory")).unwrap();
    for tasks in [json!(1), json!(2), json!(100), Value::Null] {
        let report = passing(&json!({ "data_dir": files.path(), "map_tasks": tasks, "top": 3 }));
        assert_eq!(*value(&report, "files"), json!(5));
        assert_eq!(*value(&report, "bytes"), json!(34));
        assert_eq!(*value(&report, "total"), json!(8));
        assert_eq!(
            *value(&report, "top"),
            json!([["two", 3], ["caf", 2], ["one", 2]])
        );
    }
}

#[test]
fn one_file_is_one_task_and_is_logged_as_ever() {
    let files = directory(&[("one.txt", "b a b\u{1b}[2J\n\u{1b}[2J a b".as_bytes())]);
    let config = json!({ "data_dir": files.path(), "top": 2 });
    let (report, trace) = Local::new().trace(|engine| (APP.run)(&config, engine));
    assert!(report.unwrap().passed());
    let lines: Vec<_> = trace.log.iter().map(|(_, line)| line.as_str()).collect();
    assert_eq!(lines, ["a (2)", "b (2)", "Total number of words: 6"]);
    let tasks: Vec<_> = trace.finished.iter().map(|(name, _)| *name).collect();
    assert_eq!(tasks, ["map_task", "reduce_task", "summary_task"]);
    assert_eq!(trace.phases, ["map", "reduce", "output"]);
}

#[test]
fn control_characters_stay_out_of_the_log() {
    assert_eq!(crate::printable("a\u{1b}[2J"), "a\\u{1b}[2J");
    assert_eq!(
        crate::printable(&"é".repeat(300)),
        format!("{}…", "é".repeat(200))
    );
}

#[test]
fn a_file_of_white_space_has_no_words() {
    let files = directory(&[("blank", " \n\u{3000}".as_bytes())]);
    let report = passing(&json!({ "data_dir": files.path() }));
    assert_eq!(*value(&report, "total"), json!(0));
    assert_eq!(*value(&report, "top"), json!([]));
}

#[test]
fn words_longer_than_what_is_read_at_once_are_whole() {
    let mut text = vec![b'x'; 3 << 20];
    text.extend_from_slice(b" y");
    let files = directory(&[("long", &text)]);
    let report = passing(&json!({ "data_dir": files.path(), "top": 0 }));
    assert_eq!(*value(&report, "distinct"), json!(2));
}

#[test]
fn all_counts_are_written() {
    let files = directory(&[("a", b"x y x"), ("b", b"z x")]);
    let output = tempfile::tempdir().unwrap();
    let config = json!({ "data_dir": files.path(), "output_dir": output.path() });
    passing(&config);
    let written: Vec<_> = fs::read_dir(output.path()).unwrap().collect();
    assert_eq!(written.len(), 1);
    let text = fs::read_to_string(output.path().join("counts.tsv")).unwrap();
    assert_eq!(text, "x\t3\ny\t1\nz\t1\n");
}

#[test]
fn either_a_directory_or_generated_text() {
    let files = directory(&[("a", b"x")]);
    assert_eq!(config_error(&json!({})).0, "data_dir");
    let both = json!({ "data_dir": files.path(), "generate": true });
    assert_eq!(config_error(&both).0, "data_dir");
    let none = json!({ "data_dir": files.path(), "map_tasks": 0 });
    assert_eq!(config_error(&none).0, "map_tasks");
}

#[test]
fn bad_directories_are_named() {
    let empty = tempfile::tempdir().unwrap();
    let (field, text) = config_error(&json!({ "data_dir": empty.path() }));
    assert_eq!(field, "data_dir");
    assert!(
        text.ends_with("expected a directory with at least one file below it"),
        "{text}"
    );

    let missing = empty.path().join("missing");
    let (field, text) = config_error(&json!({ "data_dir": missing }));
    assert_eq!(field, "data_dir");
    assert!(
        text.contains("missing") && text.contains("a directory to be readable"),
        "{text}"
    );

    let files = directory(&[("a", b"x")]);
    let (field, _) = config_error(&json!({ "data_dir": files.path().join("a") }));
    assert_eq!(field, "data_dir");

    let output = files.path().join("nowhere");
    let (field, _) = config_error(&json!({ "data_dir": files.path(), "output_dir": output }));
    assert_eq!(field, "output_dir");
}

#[test]
fn a_file_that_cannot_be_read_is_named_before_any_task() {
    let files = directory(&[("a/good", b"x")]);
    std::os::unix::fs::symlink("gone", files.path().join("a/bad")).unwrap();
    let output = tempfile::tempdir().unwrap();
    let config = json!({ "data_dir": files.path(), "output_dir": output.path() });
    let (result, trace) = Local::new().trace(|engine| (APP.run)(&config, engine));
    let text = result.unwrap_err().to_string();
    assert!(
        text.starts_with("data_dir = a/bad: expected every file below it to be readable"),
        "{text}"
    );
    assert!(trace.finished.is_empty());
    assert_eq!(
        fs::read_dir(output.path()).unwrap().count(),
        0,
        "nothing half-written"
    );
}

#[test]
fn very_many_tables_are_merged_in_levels() {
    let config = json!({
        "generate": true, "generated_files": 5000, "generated_words": 3, "map_tasks": null,
    });
    let (report, trace) = Local::new().trace(|engine| (APP.run)(&config, engine));
    assert!(report.unwrap().passed());
    let reductions = trace
        .finished
        .iter()
        .filter(|(name, _)| *name == "reduce_task");
    assert_eq!(reductions.count(), 3);
}

fn compare(data: &Path, expected: &Value) {
    let set = expected["dir"].as_str().unwrap();
    let config = json!({ "data_dir": data.join("mapreduce").join(set), "top": 20 });
    let report = passing(&config);
    for (name, key) in [
        ("files", "files"),
        ("bytes", "bytes"),
        ("total", "total_tokens"),
        ("distinct", "distinct_tokens"),
        ("sha256", "sha256_of_sorted_counts"),
    ] {
        assert_eq!(*value(&report, name), expected[key], "{set}: {name}");
    }
    // Equal counts may come in any order there: compare what each count is, then the words.
    let pairs = |list: &Value| {
        let mut pairs: Vec<_> = list.as_array().unwrap().clone();
        pairs.sort_by_key(|pair| (std::cmp::Reverse(pair[1].as_u64()), pair[0].to_string()));
        pairs
    };
    assert_eq!(
        pairs(value(&report, "top")),
        pairs(&expected["top20"]),
        "{set}: top 20"
    );
}

#[test]
fn real_texts_give_the_expected_counts() {
    let Some(data) = taps::testing::data() else {
        return;
    };
    let expected = data.join("expected/mapreduce/expected.jsonl");
    let expected = fs::read_to_string(expected).unwrap();
    let sets: Vec<Value> = expected
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(!sets.is_empty());
    for set in &sets {
        compare(&data, set);
    }
}
