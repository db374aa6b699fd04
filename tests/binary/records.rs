//! `tasks.jsonl` and the other files of a run.

use crate::harness::{Place, names, run_dir, settings, snapshot, tasks};
use serde_json::Value;
use std::{collections::HashSet, fs};

const CHAIN: [&str; 4] = [
    "synthetic",
    "--app.structure=sequential",
    "--app.task-count=2",
    "--app.task-data-bytes=10",
];

#[test]
fn many_threads_write_whole_lines() {
    let place = Place::new();
    let args = ["synthetic", "--app.structure=bag", "--app.task-count=20000"];
    let more = ["--app.bag-max-running=64", "--executor.max-threads=8"];
    let (ended, json) = place.json(&[&args[..], &more].concat());
    ended.expect(0);
    let tasks = tasks(&run_dir(&json));
    assert_eq!(tasks.len(), 20_000);
    let ids: HashSet<_> = tasks
        .iter()
        .map(|task| task["task_id"].as_str().expect("an id"))
        .collect();
    assert_eq!(ids.len(), 20_000);
    let workers: HashSet<_> = tasks.iter().map(|task| task["worker"].as_u64()).collect();
    assert!(workers.len() > 1 && workers.len() <= 8, "{workers:?}");
    assert!(
        tasks
            .iter()
            .all(|task| task["success"] == true && task["final"] == true)
    );
}

/// Keys of the objects of a JSON text, in order, with the types of their values.
fn keys(line: &str) -> String {
    let mut shown = String::new();
    let mut depth = 0;
    let mut rest = line;
    while let Some(at) = rest.find(['"', '{', '}']) {
        match rest.as_bytes()[at] {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {
                let (text, after) = rest[at + 1..].split_once('"').expect("a whole string");
                if after.starts_with(": ") {
                    shown.push_str(&"  ".repeat(depth - 1));
                    shown.push_str(text);
                    shown.push('\n');
                }
                rest = after;
                continue;
            }
        }
        rest = &rest[at + 1..];
    }
    shown
}

#[test]
fn fields_have_the_names_and_the_order_of_taps() {
    let place = Place::new();
    place.run(&[&CHAIN[..], &["-q"]].concat()).expect(0);
    let text = fs::read_to_string(place.only_run().join("tasks.jsonl")).expect("read");
    snapshot!(keys(text.lines().next().expect("a line")));
}

#[test]
fn a_record_says_what_happened() {
    let place = Place::new();
    place
        .run(&[&CHAIN[..], &["-q", "--executor.max-threads=1"]].concat())
        .expect(0);
    let text = fs::read_to_string(place.only_run().join("tasks.jsonl")).expect("read");
    let mut settings = settings();
    settings.add_filter(r"\d{10}\.\d{9}", "[TIME]");
    settings.add_filter(r#"_ns": \d+"#, r#"_ns": [NS]"#);
    settings.add_filter(r#""cpu_time": \S+,"#, r#""cpu_time": [SECONDS],"#);
    settings.add_filter(r#""hostname": "[^"]+""#, r#""hostname": "[HOST]""#);
    settings.add_filter(
        r#""peak_memory_bytes": \d+"#,
        r#""peak_memory_bytes": [BYTES]"#,
    );
    settings.bind(|| insta::assert_snapshot!(text));
}

#[test]
fn times_are_of_the_wall_clock_and_of_the_monotonic_one() {
    let place = Place::new();
    let before = std::time::SystemTime::now();
    let (_, json) = place.json(&CHAIN);
    let since = |time: std::time::SystemTime| {
        time.duration_since(std::time::UNIX_EPOCH)
            .expect("after 1970")
            .as_secs_f64()
    };
    let range = since(before)..=since(std::time::SystemTime::now());
    for task in tasks(&run_dir(&json)) {
        let submit = task["submit_time"].as_f64().expect("a time");
        let received = task["received_time"].as_f64().expect("a time");
        assert!(
            range.contains(&submit) && range.contains(&received),
            "{task}"
        );
        let ns = |field: &str| task[field].as_f64().expect("ns");
        let monotonic_s = (ns("monotonic_received_ns") - ns("monotonic_submit_ns")) / 1e9;
        assert!((received - submit - monotonic_s).abs() < 1e-6, "{task}");
    }
}

#[test]
fn a_run_directory_has_the_files_of_taps() {
    let place = Place::new();
    place.run(&[&CHAIN[..], &["-q"]].concat()).expect(0);
    let run = place.only_run();
    let expected = [
        "config.toml",
        "environment.json",
        "events.log",
        "log.txt",
        "tasks.jsonl",
    ];
    assert_eq!(names(&run), expected);
    let name = run
        .file_name()
        .and_then(|name| name.to_str())
        .expect("a name");
    let rest = name
        .strip_prefix("synthetic_thread-pool_")
        .expect("app and executor");
    assert_eq!(
        rest.split('-').map(str::len).collect::<Vec<_>>(),
        [4, 2, 2, 2, 2, 2],
        "{name}"
    );
    let log = fs::read_to_string(run.join("log.txt")).expect("log.txt");
    for line in [
        "> CLI Arguments: run synthetic",
        "> Runtime directory: ",
        "> Starting benchmark... (app=synthetic",
        "> Running app...",
        "> Finished app (elapsed=",
        "> Results saved to ",
        "> Finished benchmark (app=synthetic, elapsed=",
        ", tasks=2)",
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
    let environment = fs::read_to_string(run.join("environment.json")).expect("environment.json");
    let environment: Value = serde_json::from_str(&environment).expect("JSON");
    assert!(
        environment["hardware"]["logical_cores"].as_u64() > Some(0),
        "{environment}"
    );
}

#[test]
fn the_log_file_has_a_level_of_its_own() {
    let place = Place::new();
    let args = ["--log-level=error", "--logging.file-level=debug"];
    let ended = place.run(&[&CHAIN[..], &args].concat());
    assert!(!ended.expect(0).stderr.contains("RUN "), "{}", ended.text());
    let log = fs::read_to_string(place.only_run().join("log.txt")).expect("log.txt");
    for part in [
        "Configuration:",
        "Environment:",
        "structure = \"sequential\"",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
}

#[test]
fn a_run_directory_elsewhere() {
    let place = Place::new();
    let args = [
        "--run-dir=a/b/{name}-{executor}",
        "--logging.file-name=lines.txt",
        "--engine.task-record-file-name=records.jsonl",
    ];
    let (ended, json) = place.json(&[&CHAIN[..], &args].concat());
    ended.expect(0);
    let run = place.path().join("a/b/synthetic-thread-pool");
    assert_eq!(
        run_dir(&json).canonicalize().expect("a path"),
        run.canonicalize().expect("a path")
    );
    let expected = [
        "config.toml",
        "environment.json",
        "events.log",
        "lines.txt",
        "records.jsonl",
    ];
    assert_eq!(names(&run), expected);
}
