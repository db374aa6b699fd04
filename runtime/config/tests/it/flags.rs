//! Flags: spellings, values, aliases.

use crate::fixtures::{args, kind_value, run, schema};
use serde_json::json;
use std::path::Path;
use std::time::Duration;
use taps_config::{GrantKind, Instances, Interrupt, LogLevel, Schema, preview, resolve};
use taps_schema::Kernels;

#[test]
fn the_app_is_an_argument_or_a_flag() {
    let flags = ["--app.matrix-size", "100", "--app.block-size", "25"];
    let by_argument = run(&[&["cholesky"][..], &flags].concat()).unwrap();
    let by_flag = run(&[&["--app", "cholesky"][..], &flags].concat()).unwrap();
    let by_both = run(&[&flags[..], &["Cholesky", "--app=cholesky"]].concat()).unwrap();
    assert_eq!(by_argument.app, "cholesky");
    assert_eq!(by_argument.app_config["matrix_size"], json!(100));
    assert_eq!(by_argument.to_toml(), by_flag.to_toml());
    assert_eq!(by_argument.to_toml(), by_both.to_toml());
}

#[test]
fn dashes_and_underscores_are_equal() {
    let a = run(&["cholesky", "--app.matrix-size=4", "--app.block_size", "2"]).unwrap();
    let b = run(&["cholesky", "--app.matrix_size", "4", "--app.block-size=2"]).unwrap();
    assert_eq!(a.to_toml(), b.to_toml());
}

#[test]
fn aliases_stand_for_dotted_flags() {
    let short = run(&[
        "kinds",
        "--executor",
        "native",
        "--executor.max-threads",
        "2",
        "--retries",
        "3",
        "--retry-on",
        "timeout,Worker_Lost",
        "--task-timeout",
        "1.5",
        "--task-memory",
        "512MiB",
        "--seed",
        "7",
        "--kernels",
        "GUEST",
        "--instances",
        "reuse",
        "--interrupt",
        "free",
        "--max-outstanding",
        "10",
        "--run-dir",
        "out/{name}",
        "--log-level",
        "debug",
        "--filter",
        "none",
        "--repeat",
        "2",
    ])
    .unwrap();
    let long = run(&[
        "--app",
        "kinds",
        "--engine.executor",
        "native",
        "--engine.executor.max_threads",
        "2",
        "--engine.retries",
        "3",
        "--engine.retry-on",
        "timeout",
        "--engine.retry-on",
        "worker-lost",
        "--engine.task-timeout",
        "1.5",
        "--engine.task-memory",
        "512 MiB",
        "--run.seed",
        "7",
        "--engine.kernels",
        "guest",
        "--engine.instances",
        "reuse",
        "--engine.interrupt",
        "free",
        "--engine.max-outstanding",
        "10",
        "--run.dir-format",
        "out/{name}",
        "--logging.level",
        "DEBUG",
        "--engine.filter.name",
        "none",
        "--run.repeat",
        "2",
    ])
    .unwrap();
    assert_eq!(short.to_toml(), long.to_toml());
    assert_eq!(short.executor_config["max_threads"], json!(2));
    let engine = &short.general.engine;
    assert_eq!(engine.retries, 3);
    assert_eq!(engine.retry_on, ["timeout", "worker-lost"]);
    assert_eq!(engine.task_timeout, Some(Duration::from_millis(1500)));
    assert_eq!(engine.task_memory_bytes, Some(512 << 20));
    assert_eq!(engine.kernels, Kernels::Guest);
    assert_eq!(engine.instances, Instances::Reuse);
    assert_eq!(engine.interrupt, Interrupt::Free);
    assert_eq!(short.general.run.seed, 7);
    assert_eq!(short.general.logging.file_level, LogLevel(10));
    let dir = short
        .general
        .run
        .dir_format
        .render("kinds", "native", "now");
    assert_eq!(dir, "out/kinds");
}

#[test]
fn values_of_every_kind() {
    assert_eq!(kind_value("flag", &["--app.flag", "True"]), json!(true));
    assert_eq!(kind_value("count", &["--app.count", "-3"]), json!(-3));
    assert_eq!(kind_value("rate", &["--app.rate", "1"]), json!(1.0));
    assert_eq!(kind_value("text", &["--app.text=--x"]), json!("--x"));
    assert_eq!(kind_value("text", &["--app.text", ""]), json!(""));
    assert_eq!(
        kind_value("word", &["--app.word", "ZERO_DIVISION"]),
        json!("zero-division")
    );
    assert_eq!(
        kind_value(
            "numbers",
            &["--app.numbers", "[1, 2]", "--app.numbers", "3,4"]
        ),
        json!([1, 2, 3, 4])
    );
    assert_eq!(
        kind_value("texts", &["--app.texts", "a,b", "--app.texts", "c"]),
        json!(["a,b", "c"])
    );
    assert_eq!(
        kind_value(
            "config",
            &[
                "--app.config",
                r#"{"a": 1, "b": null}"#,
                "--app.config.c-d.e",
                "x"
            ]
        ),
        json!({"a": 1, "b": "none", "c-d": {"e": "x"}})
    );
}

#[test]
fn none_nulls_an_optional_field() {
    for word in ["none", "None"] {
        assert_eq!(kind_value("numbers", &["--app.numbers", word]), json!(null));
        assert_eq!(kind_value("config", &["--app.config", word]), json!(null));
    }
    let resolved = run(&[
        "kinds",
        "--logging.file-name",
        "none",
        "--engine.task-record-file-name=none",
    ]);
    let general = resolved.unwrap().general;
    assert_eq!(general.logging.file_name, None);
    assert_eq!(general.engine.task_record_file_name, None);
}

#[test]
fn the_last_of_a_repeated_flag_counts_with_a_notice() {
    let resolved = run(&["kinds", "--seed", "1", "--run.seed", "2"]).unwrap();
    assert_eq!(resolved.general.run.seed, 2);
    assert_eq!(
        resolved.notices,
        ["--run.seed: given more than once; `2` counts"]
    );
}

#[test]
fn paths_are_absolute_and_granted() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.txt"), "a").unwrap();
    let line = [
        "kinds",
        "--app.file",
        "./a.txt",
        "--app.files",
        "a.txt",
        "--app.dir=.",
        "--app.out",
        "new/deep",
    ];
    let resolved = resolve(&args(&line), &schema(), dir.path()).unwrap();
    let file = dir.path().join("a.txt");
    assert_eq!(resolved.app_config["file"], json!(file));
    let grants: Vec<_> = resolved
        .grants
        .iter()
        .map(|grant| (grant.field.as_str(), grant.kind, grant.host_path.clone()))
        .collect();
    assert_eq!(
        grants,
        [
            ("file", GrantKind::InputFile, file.clone()),
            ("files", GrantKind::InputFile, file),
            ("dir", GrantKind::InputDir, dir.path().to_owned()),
            ("out", GrantKind::OutputDir, dir.path().join("new/deep")),
        ]
    );
    assert!(!dir.path().join("new").exists(), "nothing is made yet");
}

#[test]
fn a_path_names_the_app_that_was_loaded_from_it() {
    let line = args(&["./my-app.taps", "--app.flag", "true"]);
    let seen = preview(&line, Path::new("/data"));
    assert_eq!(seen.app.as_deref(), Some("./my-app.taps"));
    let mut apps = schema().apps.into_iter();
    let kinds = apps.find(|app| app.name == "kinds").unwrap();
    let with_bundle = Schema::new(Vec::new()).with_bundle("./my-app.taps", kinds);
    let resolved = resolve(&line, &with_bundle, Path::new("/data")).unwrap();
    assert_eq!(resolved.app, "kinds");
    assert_eq!(
        resolved.app_path.as_deref(),
        Some(Path::new("/data/my-app.taps"))
    );
    assert!(resolved.to_toml().contains("name = \"/data/my-app.taps\""));
}

#[test]
fn switches_are_seen_before_any_schema() {
    let seen = preview(
        &args(&["--json", "cholesky", "--executor=native", "-h", "--dry_run"]),
        Path::new("/"),
    );
    assert_eq!(seen.app.as_deref(), Some("cholesky"));
    assert_eq!(seen.executor.as_deref(), Some("native"));
    assert!(seen.switches.json && seen.switches.help && seen.switches.dry_run);
    assert!(!seen.switches.quiet);
}

#[test]
fn env_vars_from_a_flag() {
    let resolved = run(&[
        "kinds",
        "--run.env-vars",
        r#"{"A":"1"}"#,
        "--run.env-vars.B_C",
        "2",
    ])
    .unwrap();
    let variables: Vec<_> = resolved.general.run.env_vars.into_iter().collect();
    let expected = [("A", "1"), ("B_C", "2")];
    assert_eq!(
        variables,
        expected.map(|(a, b)| (a.to_owned(), b.to_owned()))
    );
}

#[test]
fn engines_have_short_flags_of_their_own() {
    let flags = ["kinds", "--executor", "dask"];
    let short =
        run(&[&flags[..], &["--python", "py/bin/python", "--data=inline"]].concat()).unwrap();
    let long = [
        "--engine.executor.python",
        "py/bin/python",
        "--executor.data=inline",
    ];
    let long = run(&[&flags[..], &long].concat()).unwrap();
    assert_eq!(short.executor_config["python"], json!("py/bin/python"));
    assert_eq!(short.executor_config["data"], json!("inline"));
    assert_eq!(short.to_toml(), long.to_toml());
    let errors = run(&["kinds", "--data", "inline"]).unwrap_err().to_string();
    assert!(errors.contains("--data: unknown flag"), "{errors}");
}
