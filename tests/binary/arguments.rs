//! How flags are written, and which of them wins.

use crate::harness::Place;
use serde_json::{Value, json};

const BAG: [&str; 4] = [
    "synthetic",
    "--app.structure=bag",
    "--app.task-count=4",
    "--app.bag-max-running=2",
];

/// The configuration that these arguments give.
#[track_caller]
fn resolved(place: &Place, args: &[&str]) -> Value {
    let ended = place.run(&[args, &["--dry-run", "--json"]].concat());
    let json = ended.expect(0).json();
    assert_eq!(
        (&json["ok"], &json["dry_run"]),
        (&json!(true), &json!(true))
    );
    json["config"].clone()
}

#[track_caller]
fn bag(args: &[&str]) -> Value {
    resolved(&Place::new(), &[&BAG, args].concat())
}

#[test]
fn dashes_and_underscores_are_the_same() {
    let dashes = bag(&["--engine.task-timeout", "3", "--app.task-sleep=0.5"]);
    let underscores = bag(&["--engine.task_timeout=3", "--app.task_sleep", "0.5"]);
    assert_eq!(dashes, underscores);
    assert_eq!(dashes["engine"]["task_timeout"], 3.0);
    assert_eq!(dashes["app"]["task_sleep"], 0.5);
}

#[test]
fn short_flags_are_aliases() {
    let short = bag(&[
        "--executor=native",
        "--executor.max-threads=3",
        "--retries=2",
        "--task-timeout=5",
        "--task-memory=64 MB",
        "--kernels=guest",
        "--instances=reuse",
        "--seed=7",
        "--log-level=warning",
        "--run-dir=here",
        "--repeat=2",
    ]);
    let long = bag(&[
        "--engine.executor=native",
        "--engine.executor.max-threads=3",
        "--engine.retries=2",
        "--engine.task-timeout=5",
        "--engine.task-memory=64 MB",
        "--engine.kernels=guest",
        "--engine.instances=reuse",
        "--run.seed=7",
        "--logging.level=warning",
        "--run.dir-format=here",
        "--run.repeat=2",
    ]);
    assert_eq!(short, long);
    assert_eq!(short["engine.executor"]["max_threads"], 3);
    assert_eq!(short["run"]["seed"], 7);
}

#[test]
fn the_app_is_an_argument_or_a_flag() {
    let place = Place::new();
    let argument = resolved(&place, &BAG);
    assert_eq!(resolved(&place, &[&["--app"], &BAG[..]].concat()), argument);
    assert_eq!(
        resolved(&place, &[&BAG[1..], &["--app=synthetic"]].concat()),
        argument
    );
    let both = [&BAG[..], &["--app", "synthetic"]].concat();
    assert_eq!(resolved(&place, &both), argument);
    let two = [&BAG[..], &["--app", "cholesky"]].concat();
    place
        .run(&two)
        .expect(2)
        .says("the app is named twice, `synthetic` and `cholesky`");
}

#[test]
fn later_files_win_and_flags_win_over_files() {
    let place = Place::new();
    place.write(
        "first.toml",
        "[app]\nname = \"synthetic\"\nstructure = \"bag\"\ntask_count = 1\nbag_max_running = 1\n\
         [engine]\nretries = 1\n[run.env_vars]\nA = \"1\"\nB = \"1\"\n",
    );
    place.write(
        "second.toml",
        "[app]\ntask_count = 2\n[run.env_vars]\nB = \"2\"\nC = \"2\"\n",
    );
    let files = resolved(&place, &["-c", "first.toml", "second.toml"]);
    assert_eq!(files["app"]["task_count"], 2);
    assert_eq!(files["engine"]["retries"], 1);
    assert_eq!(
        files["run"]["env_vars"],
        json!({"A": "1", "B": "2", "C": "2"})
    );
    let repeated = resolved(&place, &["-c", "first.toml", "--config", "second.toml"]);
    assert_eq!(repeated, files);
    let reversed = resolved(&place, &["-c", "second.toml", "first.toml"]);
    assert_eq!(reversed["app"]["task_count"], 1);
    let flags = [
        "--app.task-count=3",
        "-c",
        "first.toml",
        "second.toml",
        "--run.env-vars={\"D\": \"4\"}",
    ];
    let flags = resolved(&place, &flags);
    assert_eq!(flags["app"]["task_count"], 3);
    assert_eq!(flags["run"]["env_vars"], json!({"D": "4"}));
}

#[test]
fn a_plugin_named_later_leaves_the_fields_of_the_earlier_one() {
    let place = Place::new();
    place.write(
        "base.toml",
        "[engine.executor]\nname = \"thread-pool\"\nmax_threads = 7\n",
    );
    let args = [&BAG[..], &["-c", "base.toml", "--executor=native"]].concat();
    let config = resolved(&place, &args);
    assert_eq!(config["engine.executor"]["name"], "native");
}

#[test]
fn none_unsets() {
    let config = bag(&[
        "--engine.task-timeout=none",
        "--logging.file-name=none",
        "--engine.filter=none",
    ]);
    assert!(config["engine"]["task_timeout"].is_null());
    assert!(config["logging"]["file_name"].is_null() || config["logging"]["file_name"] == "none");
    let place = Place::new();
    place
        .run(&[&BAG[..], &["--retries=none"]].concat())
        .expect(2)
        .says("`none` is not allowed here");
}

#[test]
fn none_writes_no_file() {
    let place = Place::new();
    let args = [
        "--logging.file-name=none",
        "--engine.task-record-file-name=none",
        "--run-dir=run",
        "-q",
    ];
    place.run(&[&BAG[..], &args].concat()).expect(0);
    let names = crate::harness::names(&place.path().join("run"));
    assert_eq!(names, ["config.toml", "environment.json", "events.log"]);
}

#[test]
fn lists_are_json_or_repeated_flags() {
    let json = bag(&["--engine.retry-on", r#"["timeout", "trap"]"#]);
    let repeated = bag(&["--retry-on", "timeout", "--retry-on=trap"]);
    assert_eq!(json, repeated);
    assert_eq!(json["engine"]["retry_on"], json!(["timeout", "trap"]));
}

#[test]
fn a_dry_run_prints_a_file_that_gives_itself() {
    let place = Place::new();
    let args = [&BAG[..], &["--task-timeout=2.5", "--dry-run"]].concat();
    let ended = place.run(&args);
    assert_eq!(ended.expect(0).stderr, "");
    assert_eq!(place.names(), [""; 0]);
    place.write("dry.toml", &ended.stdout);
    let again = place.run(&["-c", "dry.toml", "--dry-run"]);
    assert_eq!(again.stdout, ended.stdout);
}

#[test]
fn environment_variables_of_taps_change_nothing() {
    let place = Place::new();
    let expected = place.run(&[&BAG[..], &["--dry-run"]].concat());
    let mut command = place.command(["run"].iter().chain(&BAG).chain(&["--dry-run"]));
    command
        .env("APP", "cholesky")
        .env("RUN", r#"{"dir_format": "elsewhere"}"#)
        .env("VERSION", "9.9")
        .env("ENGINE", r#"{"retries": 5}"#)
        .env("LOGGING", r#"{"level": "DEBUG"}"#);
    let ended = crate::harness::Running::new(command, place.path()).end();
    assert_eq!(ended.expect(0).text(), expected.text());
}

#[test]
fn config_toml_of_a_run_repeats_it_byte_for_byte() {
    let place = Place::new();
    let args = [
        "--app.task-data-bytes=100",
        "--seed=11",
        "--run.env-vars={\"A\": \"x = \\\"y\\\"\"}",
        "--task-memory=64 MB",
        "--logging.file-level=none",
        "--engine.task-record-file-name=none",
        "--executor.max-threads=2",
        "-q",
    ];
    place.run(&[&BAG[..], &args].concat()).expect(0);
    let first = place.only_run();
    let config = std::fs::read_to_string(first.join("config.toml")).expect("config.toml");
    let file = first.join("config.toml");
    let (ended, json) = place.json(&["-c", file.to_str().expect("UTF-8")]);
    ended.expect(0);
    let second = crate::harness::run_dir(&json);
    assert_ne!(second, first);
    let again = std::fs::read_to_string(second.join("config.toml")).expect("config.toml");
    assert_eq!(again, config);
}

#[test]
fn config_toml_says_everything() {
    let place = Place::new();
    place.run(&[&BAG[..], &["-q"]].concat()).expect(0);
    let config = std::fs::read_to_string(place.only_run().join("config.toml")).expect("read");
    crate::harness::snapshot!(config);
}
