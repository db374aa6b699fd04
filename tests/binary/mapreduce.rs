//! Word counts, of generated text and of real books.

use crate::harness::{Place, data, lines, names, run_dir, tasks};
use serde_json::Value;
use std::{fs, path::Path};

const GENERATED: [&str; 4] = [
    "mapreduce",
    "--app.generate=true",
    "--app.generated-files=7",
    "--app.generated-words=3000",
];

const EXECUTIONS: [&[&str]; 3] = [
    &["--executor.max-threads=1"],
    &["--executor.max-threads=2", "--app.map-tasks=3"],
    &["--executor.max-threads=4", "--app.map-tasks=none"],
];

const NATIVE: [&[&str]; 1] = [&["--executor=native"]];

#[track_caller]
fn run(place: &Place, args: &[&str]) -> Value {
    let (ended, json) = place.json(args);
    ended.expect(0);
    json
}

#[test]
fn generated_text_is_counted_to_the_word() {
    generated_text(&EXECUTIONS);
}

#[test]
fn native_counts_the_same() {
    generated_text(&[&EXECUTIONS[..], &NATIVE].concat());
    let Some(data) = data() else { return };
    against_expected(&data, "gutenberg", &NATIVE);
    against_expected(&data, "multilingual", &NATIVE);
    counts_are_written("native");
}

#[track_caller]
fn generated_text(executions: &[&[&str]]) {
    let place = Place::new();
    let counted: Vec<_> = executions
        .iter()
        .map(|execution| run(&place, &[&GENERATED, *execution].concat())["values"].clone())
        .collect();
    for (values, execution) in counted.iter().zip(executions) {
        assert_eq!(values, &counted[0], "{execution:?}");
    }
    assert_eq!(counted[0]["total"], 21_000, "{}", counted[0]);
}

#[test]
fn map_tasks_bound_the_tasks() {
    let place = Place::new();
    let maps = |args: &[&str]| {
        let json = run(&place, &[&GENERATED[..], args].concat());
        let named = |task: &&Value| task["name"] == "map_task";
        tasks(&run_dir(&json)).iter().filter(named).count()
    };
    assert_eq!(maps(&["--app.map-tasks=3"]), 3);
    assert_eq!(maps(&["--app.map-tasks=100"]), 7);
    assert_eq!(maps(&["--app.map-tasks=none"]), 7);
}

#[test]
fn files_at_any_depth_are_counted_and_none_is_lost() {
    let place = Place::new();
    place.write("texts/a.txt", "one two two\n");
    place.write("texts/deep/er/b", "two\u{2003}three");
    place.write("texts/empty", "");
    place.write("texts/latin-1", b"caf\xe9 one\xff");
    let json = run(&place, &["mapreduce", "--app.data-dir=texts"]);
    assert_eq!(json["values"]["files"], 4, "{json}");
    assert_eq!(json["values"]["total"], 7, "{json}");
    assert_eq!(json["values"]["distinct"], 4, "{json}");
    let log = fs::read_to_string(run_dir(&json).join("log.txt")).expect("log.txt");
    assert!(log.contains("> Total number of words: 7\n"), "{log}");
    assert!(log.contains("> two (3)\n"), "{log}");
}

/// Counts a set; the result must be the expected one.
#[track_caller]
fn against_expected(data: &Path, set: &str, executions: &[&[&str]]) {
    let expected = lines(&data.join("expected/mapreduce/expected.jsonl"));
    let expected = expected
        .iter()
        .find(|line| line["dir"] == set)
        .expect("a set");
    let texts = data.join("mapreduce").join(set);
    for execution in executions {
        let place = Place::new();
        let args = [
            "mapreduce",
            "--app.top=20",
            "--app.data-dir",
            texts.to_str().expect("UTF-8"),
        ];
        let json = run(&place, &[&args[..], execution].concat());
        let values = &json["values"];
        assert_eq!(values["files"], expected["files"], "{execution:?}");
        assert_eq!(values["total"], expected["total_tokens"], "{execution:?}");
        assert_eq!(
            values["distinct"], expected["distinct_tokens"],
            "{execution:?}"
        );
        assert_eq!(
            values["sha256"], expected["sha256_of_sorted_counts"],
            "{execution:?}"
        );
        assert_eq!(values["top"], expected["top20"], "{execution:?}");
    }
}

#[test]
fn books_are_counted_as_expected() {
    let Some(data) = data() else { return };
    against_expected(&data, "gutenberg", &EXECUTIONS);
}

#[test]
fn many_languages_and_a_latin_1_file_are_counted_as_expected() {
    let Some(data) = data() else { return };
    against_expected(&data, "multilingual", &EXECUTIONS);
}

#[test]
fn the_counts_are_written() {
    counts_are_written("thread-pool");
}

#[track_caller]
fn counts_are_written(executor: &str) {
    let place = Place::new();
    place.write("texts/a.txt", "b a a\n");
    let paths = ["--app.data-dir=texts", "--app.output-dir=out"];
    run(
        &place,
        &[&["mapreduce"], &paths[..], &["--executor", executor]].concat(),
    );
    let out = place.path().join("out");
    assert_eq!(names(&out), ["counts.tsv"]);
    let counts = fs::read_to_string(out.join("counts.tsv"));
    assert_eq!(counts.expect("counts.tsv"), "a\t2\nb\t1\n");
}

#[test]
fn many_counts_are_written() {
    let place = Place::new();
    let words: Vec<String> = (0..60_000)
        .map(|number| format!("word{number:06}"))
        .collect();
    place.write("texts/a.txt", words.join(" "));
    run(
        &place,
        &["mapreduce", "--app.data-dir=texts", "--app.output-dir=out"],
    );
    let counts = fs::read_to_string(place.path().join("out/counts.tsv")).expect("counts.tsv");
    assert_eq!(counts.lines().count(), 60_000);
}
