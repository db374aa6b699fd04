//! What a run says at its end: `--json`, the summary for people, and nothing more.

use crate::harness::{Place, probe, run_dir, settings};
use serde_json::Value;
use std::process::Command;

const BAG: [&str; 4] = [
    "synthetic",
    "--app.structure=bag",
    "--app.task-count=20",
    "--app.bag-max-running=4",
];

/// Names and JSON types of an object, at every depth.
fn shape(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "bool".into(),
        Value::Number(number) if number.is_f64() => "real".into(),
        Value::Number(_) => "whole".into(),
        Value::String(_) => "text".into(),
        Value::Array(items) => {
            let mut shapes: Vec<_> = items.iter().map(shape).collect();
            shapes.dedup();
            format!("[{}]", shapes.join(", "))
        }
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(name, value)| format!("{name}: {}", shape(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
    }
}

#[test]
fn json_is_one_object_with_the_promised_fields() {
    let place = Place::new();
    let (ended, json) = place.json(&["cholesky", "--app.matrix-size=32", "--app.block-size=8"]);
    assert_eq!(ended.expect(0).stderr, "");
    insta::assert_snapshot!(
        shape(&json).replace(", ", "\n"),
        @"
    {app: text
    app_elapsed_s: real
    bundle: {aot: text
    app: text
    consent: text
    digest: text
    host_version: text
    key: null
    source: text
    version: text}
    checks: [{bound: {at-most: real}
    name: text
    passed: bool
    value: real}
    {bound: {equals: whole}
    name: text
    passed: bool
    value: whole}]
    data: {copied_bytes: whole
    huge_pages: bool
    inputs: [{bytes: whole
    copied_bytes: whole
    payloads: whole
    way: text}]
    outputs: [{bytes: whole
    copied_bytes: whole
    payloads: whole
    way: text}]
    peak_bytes: whole
    peak_spilled_bytes: whole
    received_bytes: whole
    sent_bytes: whole
    store: text}
    elapsed_s: real
    error: null
    executor: text
    faults: null
    loaded_s: real
    ok: bool
    phases: [{elapsed_s: real
    name: text}]
    run_dir: text
    spans: null
    tasks: {failed: whole
    memoized: whole
    recomputed: whole
    retried: whole
    submitted: whole
    succeeded: whole}
    tasks_per_s: real
    values: {block-size: whole
    factor-tasks: whole
    matrix-size: whole
    tiles: whole}}
    "
    );
    assert_eq!(json["ok"], true);
    assert_eq!(json["app"], "cholesky");
    assert_eq!(json["executor"], "thread-pool");
    assert!(run_dir(&json).is_absolute() && run_dir(&json).is_dir());
    let phases: Vec<_> = json["phases"].as_array().expect("phases").iter().collect();
    let names: Vec<_> = phases.iter().map(|phase| phase["name"].as_str()).collect();
    assert_eq!(names, [Some("generate"), Some("factorise"), Some("check")]);
    let sum: f64 = phases
        .iter()
        .filter_map(|phase| phase["elapsed_s"].as_f64())
        .sum();
    let app = json["app_elapsed_s"].as_f64().expect("seconds");
    assert!(sum <= app, "{json}");
    assert!(
        app <= json["elapsed_s"].as_f64().expect("seconds"),
        "{json}"
    );
    assert!(ended.elapsed.as_secs_f64() >= json["elapsed_s"].as_f64().expect("seconds"));
    let rate = json["tasks_per_s"].as_f64().expect("a rate");
    let succeeded = json["tasks"]["succeeded"].as_f64().expect("a count");
    assert!((rate * app - succeeded).abs() < 1e-6 * succeeded, "{json}");
}

#[test]
fn json_of_a_refused_configuration_has_the_same_fields() {
    let place = Place::new();
    let (good, bad) = (
        place.json(&BAG).1,
        place.json(&["cholesky", "--app.matrix-size=x"]),
    );
    bad.0.expect(2);
    let names = |json: &Value| {
        json.as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&bad.1), names(&good));
    assert_eq!(bad.1["ok"], false);
    assert!(
        bad.1["run_dir"].is_null() && bad.1["app"].is_null(),
        "{}",
        bad.1
    );
    let error = bad.1["error"].as_str().expect("an error");
    assert!(error.contains("--app.matrix-size"), "{error}");
}

#[test]
fn json_of_a_failed_run_says_why() {
    let place = Place::new();
    let (ended, json) = place.json(&[probe(), "--app.action=bad-check"]);
    ended
        .expect(3)
        .says("error: check failed: two is 2, expected at most 1");
    assert_eq!(json["ok"], false);
    assert_eq!(json["checks"][0]["passed"], false);
    assert_eq!(json["error"], "check failed: two is 2, expected at most 1");
    assert!(run_dir(&json).join("tasks.jsonl").is_file());
}

#[test]
fn repeated_runs_have_a_directory_each() {
    let place = Place::new();
    let (ended, json) = place.json(&[&BAG[..], &["--repeat=3"]].concat());
    assert_eq!(ended.expect(0).stderr, "");
    assert_eq!(
        (json["ok"].as_bool(), json["repeat"].as_u64()),
        (Some(true), Some(3))
    );
    let mut directories: Vec<_> = json["runs"]
        .as_array()
        .expect("runs")
        .iter()
        .map(run_dir)
        .collect();
    directories.sort();
    directories.dedup();
    assert_eq!(directories.len(), 3);
    for directory in directories {
        assert_eq!(crate::harness::tasks(&directory).len(), 20);
    }
}

#[test]
fn repetition_ends_with_the_first_failure() {
    let place = Place::new();
    let (ended, json) = place.json(&[probe(), "--app.action=bad-check", "--repeat=3"]);
    ended.expect(3);
    assert_eq!(place.only_run(), run_dir(&json));
    assert_eq!(json["ok"], false);
}

#[test]
fn people_get_log_lines_and_a_summary() {
    let ended = Place::new().run(&BAG);
    crate::harness::snapshot!(ended.expect(0).text());
}

#[test]
fn a_failed_check_is_shown() {
    let ended = Place::new().run(&[probe(), "--app.action=bad-check", "--log-level=error"]);
    let mut settings = settings();
    settings.add_filter(r"run \S+probe.wasm", "run [PROBE]");
    settings.bind(|| insta::assert_snapshot!(ended.expect(3).text()));
}

#[test]
fn quiet_says_nothing() {
    let ended = Place::new().run(&[&BAG[..], &["-q"]].concat());
    assert_eq!(
        ended.expect(0).text(),
        "exit code 0\n----- stdout\n----- stderr\n"
    );
    let failed = Place::new().run(&[probe(), "--app.action=bad-check", "--quiet"]);
    assert_eq!(
        failed.expect(3).stderr,
        "error: check failed: two is 2, expected at most 1\n"
    );
}

#[test]
fn no_progress_and_no_colour_without_a_terminal() {
    let ended = Place::new().run(&BAG);
    assert!(
        !ended.expect(0).stderr.contains(['\r', '\x1b']),
        "{}",
        ended.text()
    );
}

/// The program on a terminal of `script`.
fn on_a_terminal(place: &Place, args: &str, variables: &[(&str, &str)]) -> Option<String> {
    let program = env!("CARGO_BIN_EXE_taps-wasm");
    let mut command = Command::new("script");
    command
        .args(["-qec", &format!("{program} run {args}"), "/dev/null"])
        .current_dir(place.path())
        .env("TERM", "xterm")
        .env("XDG_CACHE_HOME", crate::harness::CACHE)
        .envs(variables.iter().copied())
        .stdin(std::process::Stdio::null());
    let Ok(output) = command.output() else {
        crate::harness::skip("there is no program `script`");
        return None;
    };
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_terminal_gets_progress() {
    let args = "synthetic --app.structure bag --app.task-count 60 --app.bag-max-running 2 --app.task-sleep 0.02";
    let place = Place::new();
    let Some(shown) = on_a_terminal(&place, args, &[]) else {
        return;
    };
    for part in [" done, ", "running", "failed", "/s"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(shown.contains("\x1b[1;32mok\x1b[0m"), "{shown}");
    let Some(shown) = on_a_terminal(
        &place,
        &format!("{args} --no-progress"),
        &[("NO_COLOR", "1")],
    ) else {
        return;
    };
    assert!(
        !shown.contains(" done, ") && !shown.contains('\x1b'),
        "{shown}"
    );
}
