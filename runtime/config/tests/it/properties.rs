//! Properties over random input.

use crate::fixtures::{args, run, run_in, schema};
use proptest::prelude::*;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use taps_config::{preview, resolve, run_help};

/// Words that the grammar knows, so that random lines reach deep.
fn word() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "--app",
        "--app.config",
        "--app.config.a.b",
        "--app.count",
        "--app.text=x",
        "--app.texts",
        "--app.word",
        "--app.rate",
        "--engine.retry-on",
        "--executor",
        "--executor.max-threads",
        "--filter",
        "--filter.x",
        "--run.env-vars.A",
        "--run.dir_format",
        "--logging.level",
        "-c",
        "failures",
        "--app.base",
        "--app.base=kinds",
        "--app.config.count",
        "--app.failure-rate",
        "--app.failure-type=random",
        "--faults",
        "--faults.tasks",
        "worker-killed",
        "--retries-for",
        "--",
        "--json",
        "-h",
        "none",
        "kinds",
        "cholesky",
        "native",
        "{\"a\":1}",
        "[1,2]",
        "-5",
        "3",
        "0.5",
        "x{y",
        "1 GiB",
        "--task-memory",
        "--",
        "--.",
        "--app.",
        "--=",
        "-",
        "",
    ]);
    prop_oneof![4 => known.prop_map(str::to_owned), 1 => ".{0,12}", 1 => "--[a-z._-]{0,12}"]
}

/// Lines of a config file, valid or nearly so.
fn toml_line() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "[app]",
        "[engine]",
        "[engine.executor]",
        "[engine.filter]",
        "[logging]",
        "[run]",
        "[run.env_vars]",
        "[app.config]",
        "[app.config.x]",
        "name = 'kinds'",
        "name = 'failures'",
        "base = 'kinds'",
        "config = { count = 1 }",
        "failure_rate = 2",
        "[faults]",
        "type = 'random'",
        "name = 'native'",
        "app = 3",
        "level = 30",
        "retries = 2",
        "count = 9e9",
        "count = inf",
        "A = 1",
        "A = '1'",
        "texts = ['a', [1]]",
        "version = 1",
        "seed = -1",
        "when = 1979-05-27T07:32:00Z",
        "word = 'Worker_Killed'",
        "env_vars = 'none'",
    ]);
    prop_oneof![6 => known.prop_map(str::to_owned), 1 => ".{0,20}"]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_arguments_never_panic(line in prop::collection::vec(word(), 0..12)) {
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        let _ = preview(&args(&line), Path::new("/nowhere"));
        if let Err(errors) = run_in(Path::new("/nowhere"), &line) {
            prop_assert!(errors.len() > 0);
            prop_assert_eq!(errors.to_string().lines().count(), errors.len());
        }
    }

    #[test]
    fn random_bytes_never_panic(line in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..6)) {
        let line: Vec<OsString> = line.into_iter().map(OsString::from_vec).collect();
        let _ = resolve(&line, &schema(), Path::new("/nowhere"));
    }

    #[test]
    fn random_files_never_panic(lines in prop::collection::vec(toml_line(), 0..16), flags in prop::collection::vec(word(), 0..4)) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.toml"), lines.join("\n")).unwrap();
        let mut line = vec!["--config=a.toml"];
        line.extend(flags.iter().map(String::as_str));
        if let Ok(resolved) = run_in(dir.path(), &line) {
            let text = resolved.to_toml();
            std::fs::write(dir.path().join("b.toml"), &text).unwrap();
            let again = run_in(dir.path(), &["-c", "b.toml"]).unwrap();
            prop_assert_eq!(again.to_toml(), text);
        }
    }

    #[test]
    fn what_is_written_reads_back(
        text in any::<String>(),
        texts in prop::collection::vec(any::<String>(), 0..4),
        rate in 0.0..=1.0,
        count in -5_i64..=5,
        key in any::<String>(),
        number in any::<f64>(),
        seed in 0..=i64::MAX,
    ) {
        prop_assume!(number.is_finite());
        let dir = tempfile::tempdir().unwrap();
        let table = serde_json::json!({ key: [number], "t": {"deep": text} });
        let line = [
            "kinds".to_owned(),
            format!("--app.text={text}"),
            format!("--app.texts={}", serde_json::json!(texts)),
            format!("--app.rate={rate}"),
            format!("--app.count={count}"),
            format!("--app.config={table}"),
            format!("--seed={seed}"),
        ];
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        let resolved = run(&line).unwrap();
        let written = resolved.to_toml();
        std::fs::write(dir.path().join("c.toml"), &written).unwrap();
        let replayed = run_in(dir.path(), &["-c", "c.toml"]).unwrap();
        prop_assert_eq!(replayed.to_toml(), written);
        prop_assert_eq!(replayed.app_config, resolved.app_config);
        prop_assert_eq!(replayed.general, resolved.general);
    }

    #[test]
    fn spellings_of_a_flag_are_equal(
        spelling in prop::sample::select(vec![
            "--engine.retry-backoff-ms", "--engine.retry_backoff_ms", "--engine.retry_backoff-ms",
            "--retry-backoff-ms", "--retry_backoff_ms",
        ]),
        value in 0..=86_400_000_u32,
        attached in any::<bool>(),
        first in any::<bool>(),
    ) {
        let value = value.to_string();
        let joined = format!("{spelling}={value}");
        let flags = if attached { vec![joined.as_str()] } else { vec![spelling, &value] };
        let line = if first { [flags, vec!["kinds"]] } else { [vec!["kinds"], flags] };
        let resolved = run(&line.concat()).unwrap();
        prop_assert_eq!(resolved.general.engine.retry_backoff.as_millis().to_string(), value);
    }

    #[test]
    fn help_fits_any_width(width in 0_usize..300, app in ".{0,9}") {
        let seen = preview(&args(&[&app, "--executor", &app]), Path::new("/"));
        let page = run_help(&schema(), &seen, width);
        prop_assert!(page.contains("Usage"));
    }
}
