//! Faults: what they need of a run, and `failures`, the other way to write them.

use crate::fixtures::{run, run_in, schema};
use proptest::prelude::*;
use serde_json::json;
use std::fs;
use std::path::Path;
use std::time::Duration;
use taps_config::{Durable, FaultPoint, Resolved, RunSignal, resolve, run_help};

const CHOLESKY: [&str; 3] = ["cholesky", "--app.matrix-size=4", "--app.block-size=2"];

/// Cholesky with more flags.
fn cholesky(flags: &[&str]) -> Result<Resolved, Vec<String>> {
    outcome(run(&[&CHOLESKY[..], flags].concat()))
}

/// `failures` over cholesky with more flags.
fn failures(flags: &[&str]) -> Result<Resolved, Vec<String>> {
    let line = [
        "failures",
        "--app.base=cholesky",
        r#"--app.config={"matrix_size": 4, "block_size": 2}"#,
    ];
    outcome(run(&[&line[..], flags].concat()))
}

fn outcome(found: Result<Resolved, taps_config::ConfigErrors>) -> Result<Resolved, Vec<String>> {
    found.map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

#[track_caller]
fn refused(found: Result<Resolved, Vec<String>>) -> String {
    let messages = found.unwrap_err();
    assert_eq!(messages.len(), 1, "{messages:#?}");
    messages[0].clone()
}

#[track_caller]
fn replays(resolved: &Resolved) {
    let dir = tempfile::tempdir().unwrap();
    let text = resolved.to_toml();
    fs::write(dir.path().join("c.toml"), &text).unwrap();
    let replayed = run_in(dir.path(), &["-c", "c.toml"]).unwrap();
    assert_eq!(replayed.to_toml(), text);
    assert_eq!(replayed.general, resolved.general);
    assert_eq!(replayed.notices, [""; 0]);
}

#[test]
fn without_a_type_there_are_no_faults() {
    let faults = cholesky(&[]).unwrap().general.faults;
    assert_eq!(faults.types, [""; 0]);
    assert_eq!((faults.rate, faults.burst, faults.seed), (1.0, 1, None));
    assert_eq!(faults.point, FaultPoint::Before);
    assert_eq!(faults.mid, Duration::from_millis(1));
    assert_eq!(faults.signal, RunSignal::Kill);
}

#[test]
fn types_that_kill_choose_worker_processes() {
    let resolved = cholesky(&["--faults", "worker_killed"]).unwrap();
    assert_eq!(resolved.executor, "process-pool");
    assert_eq!(
        resolved.notices,
        [
            "--faults: the executor is `process-pool`, because `worker-killed` kills worker processes"
        ]
    );
    replays(&resolved);
    let chosen = cholesky(&["--faults=node-killed", "--executor=process-pool"]).unwrap();
    assert_eq!(chosen.notices, [""; 0]);
    assert_eq!(
        cholesky(&["--faults=failure"]).unwrap().executor,
        "thread-pool"
    );
}

#[test]
fn what_an_executor_cannot_act_out_is_refused() {
    let mut messages = Vec::new();
    for line in [
        &["--faults=worker-killed", "--executor=thread-pool"][..],
        &["--faults=manager-killed", "--executor=native"],
        &["--faults=memory", "--executor=native"],
        &["--faults=ulimit", "--executor=native"],
        &["--faults=timeout", "--executor=native"],
        &["--faults=timeout"],
        &["--faults=program-crash"],
        &["--faults=random", "--faults.random-from=[]"],
        &["--faults=worker-killed", "--executor.max-threads=2"],
    ] {
        messages.push(refused(cholesky(line)));
    }
    let all = ["--faults=random", "--executor=native"];
    messages.extend(cholesky(&all).unwrap_err());
    let default = ["--faults=random", "--executor=thread-pool"];
    messages.extend(cholesky(&default).unwrap_err());
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn values_of_faults_are_checked() {
    let mut messages = Vec::new();
    for flag in [
        "--faults=worker-kiled",
        "--faults.rate=1.5",
        "--faults.rate=-1e-9",
        "--faults.rate=often",
        "--faults.rate=nan",
        "--faults.seed=-1",
        "--faults.point=during",
        "--faults.tasks=potfr",
        "--faults.tasks=[1]",
        "--faults.indices=-1",
        "--faults.attempts=32",
        "--faults.workers=x",
        "--faults.budget=-1",
        "--faults.burst=0",
        "--faults.mid-ms=-1",
        "--faults.slow-ms=0.5",
        "--faults.random-from=random",
        "--faults.signal-at-event=0",
        "--faults.signal=hup",
        "--faults.typ=memory",
        "--retries-for=5",
        r#"--retries-for={"worker-lots": 5}"#,
        r#"--retries-for={"upstream-failed": 5}"#,
        r#"--retries-for={"trap": -1}"#,
        r#"--retries-for={"trap": null}"#,
        "--engine.retries-for.trap=x",
        "--watchdog=0",
        "--durable=some",
        "--memoize=/dev/null/x",
    ] {
        messages.push(refused(cholesky(&[flag])));
    }
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn options_of_recovery_are_typed() {
    let dir = tempfile::tempdir().unwrap();
    let defaults = cholesky(&[]).unwrap().general.engine;
    assert!(!defaults.lineage && defaults.memoize.is_none() && defaults.retries_for.is_empty());
    assert_eq!(defaults.watchdog, Some(Duration::from_mins(1)));
    assert_eq!(defaults.durable, Durable::None);
    let flags = [
        "--lineage=true",
        "--watchdog=none",
        "--durable=spill",
        "--memoize=kept",
        "--retries-for",
        r#"{"Worker_Lost": 5}"#,
        "--engine.retries-for.trap",
        "2",
    ];
    let resolved = run_in(dir.path(), &[&CHOLESKY[..], &flags].concat()).unwrap();
    let engine = &resolved.general.engine;
    assert!(engine.lineage && engine.watchdog.is_none());
    assert_eq!(engine.durable, Durable::Spill);
    assert_eq!(engine.memoize, Some(dir.path().join("kept")));
    let retries: Vec<_> = engine
        .retries_for
        .iter()
        .map(|(k, v)| (k.as_str(), *v))
        .collect();
    assert_eq!(retries, [("trap", 2), ("worker-lost", 5)]);
    assert!(
        !dir.path().join("kept").exists(),
        "nothing is made while resolving"
    );
    replays(&resolved);
}

#[test]
fn a_type_stands_for_the_section_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.toml"), "faults = 'import'\n").unwrap();
    let resolved = run_in(dir.path(), &[&CHOLESKY[..], &["-c", "a.toml"]].concat()).unwrap();
    assert_eq!(resolved.general.faults.types, ["import"]);
    let place = resolved.place_of("faults.type").to_string();
    assert_eq!(place, "a.toml:1: faults");
}

#[test]
fn a_task_that_is_named_twice_counts_once() {
    let flags = [
        "--faults=failure",
        "--faults.tasks=trsm",
        "--faults.tasks=trsm",
    ];
    let resolved = cholesky(&flags).unwrap();
    assert_eq!(resolved.general.faults.tasks, ["trsm"]);
    assert_eq!(
        resolved.notices,
        ["--faults.tasks: `trsm` is named more than once"]
    );
    replays(&resolved);
}

#[test]
fn lost_results_switch_lineage_on() {
    let resolved = cholesky(&["--faults=lost-result"]).unwrap();
    assert!(resolved.general.engine.lineage);
    assert_eq!(
        resolved.notices,
        ["--faults: `lost-result` switches `engine.lineage` on"]
    );
    replays(&resolved);
    let drawn = [
        "--faults=random",
        "--faults.random-from=failure,lost-result",
    ];
    assert!(cholesky(&drawn).unwrap().general.engine.lineage);
}

#[test]
fn failures_is_rewritten() {
    let resolved =
        failures(&["--app.failure-rate=0.1", "--app.failure-type=ZERO_DIVISION"]).unwrap();
    assert_eq!(resolved.app, "cholesky");
    assert_eq!(
        resolved.notices,
        ["argument `failures`: runs `cholesky` with [faults] type = \"zero-division\", rate = 0.1"]
    );
    let plain = cholesky(&["--faults=zero-division", "--faults.rate=0.1"]).unwrap();
    assert_eq!(resolved.to_toml(), plain.to_toml());
    assert_eq!(resolved.app_config, plain.app_config);
    assert_eq!(resolved.general, plain.general);
    replays(&resolved);
}

#[test]
fn failures_takes_every_target() {
    let flags = [
        "--app.failure-type=failure",
        "--app.seed=3",
        "--app.point=after",
        "--app.tasks=potrf",
        "--app.indices=1,2",
        "--app.attempts=0",
        "--app.workers=0",
        "--app.budget=4",
        "--app.burst=2",
    ];
    let resolved = failures(&flags).unwrap();
    let plain = flags.map(|flag| {
        let flag = flag.replace("app.failure-type", "faults.type");
        flag.replace("--app.", "--faults.")
    });
    let plain: Vec<&str> = plain.iter().map(String::as_str).collect();
    assert_eq!(resolved.to_toml(), cholesky(&plain).unwrap().to_toml());
    insta::assert_snapshot!(resolved.notices.join("\n"));
}

/// TaPS's documentation: type and rate have defaults, and the base's fields are a table.
#[test]
fn failures_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let text = "[app]\nname = 'failures'\nbase = 'cholesky'\n\n\
                [app.config]\nmatrix_size = 4\nblock_size = 3\n";
    fs::write(dir.path().join("a.toml"), text).unwrap();
    let flags = ["-c", "a.toml", "--app.config.block-size", "2"];
    let resolved = run_in(dir.path(), &flags).unwrap();
    assert_eq!(resolved.app_config["matrix_size"], json!(4));
    assert_eq!(resolved.app_config["block_size"], json!(2));
    assert_eq!(resolved.general.faults.types, ["dependency"]);
    let seen = taps_config::preview(&crate::fixtures::args(&flags), dir.path());
    assert_eq!(seen.base.as_deref(), Some("cholesky"));
    let place = |dotted| resolved.place_of(dotted).to_string();
    assert_eq!(place("app.matrix_size"), "a.toml:6: app.config.matrix_size");
    assert_eq!(place("app.block_size"), "--app.config.block-size");
    assert_eq!(place("app.compat_dag"), "--app.config.compat-dag");

    // Other layers: another base drops the fields of the one before, a whole table replaces.
    fs::write(dir.path().join("b.toml"), "[app]\nbase = 'kinds'\n").unwrap();
    let switched = run_in(dir.path(), &["-c", "a.toml", "b.toml"]).unwrap();
    assert_eq!(switched.app, "kinds");
    assert!(switched.notices[0].contains("a.toml:6: app.config.matrix_size"));
    let table = r#"{"matrix_size": 8, "block_size": 8}"#;
    let replaced = run_in(dir.path(), &["-c", "a.toml", "--app.config", table]).unwrap();
    assert_eq!(replaced.app_config["matrix_size"], json!(8));
    // Another app drops everything of `failures`.
    let without = run_in(dir.path(), &["-c", "a.toml", "--app", "kinds"]).unwrap();
    assert_eq!(without.general.faults.types, [""; 0]);
    // A file that is free of faults does not undo `failures`.
    fs::write(dir.path().join("c.toml"), "[faults]\ntype = 'none'\n").unwrap();
    let on = run_in(dir.path(), &["-c", "a.toml", "c.toml"]).unwrap();
    assert_eq!(on.general.faults.types, ["dependency"]);
}

#[test]
fn failures_over_a_bundle() {
    let mut app = schema().apps[0].clone();
    app.name = "mine".into();
    let schema = schema().with_bundle("./mine.taps", app);
    let line = [
        "failures",
        "--app.base=./mine.taps",
        "--app.config.matrix-size=4",
        "--app.config.block-size=2",
    ];
    let line = crate::fixtures::args(&line);
    assert_eq!(
        taps_config::preview(&line, Path::new("/")).base.as_deref(),
        Some("./mine.taps")
    );
    let resolved = resolve(&line, &schema, Path::new("/d")).unwrap();
    assert_eq!(resolved.app, "mine");
    assert_eq!(resolved.app_written.as_deref(), Some("./mine.taps"));
    assert!(resolved.to_toml().contains("name = \"/d/mine.taps\""));
}

#[test]
fn what_is_wrong_with_failures_is_said_where_it_was_written() {
    let mut messages = vec![
        refused(outcome(run(&["failures"]))),
        refused(outcome(run(&["failures", "--app.base", "failures"]))),
        refused(outcome(run(&[
            "failures",
            "--app.base",
            "Failures",
            "--app.config.x=1",
        ]))),
        refused(outcome(run(&["failures", "--app.base", "choleski"]))),
        refused(outcome(run(&["failures", "--app.base", "./none.wasm"]))),
    ];
    messages.extend(outcome(run(&["failures", "--app.base", "cholesky"])).unwrap_err());
    for flag in [
        "--app.failure-rate=2",
        "--app.failure-rate=x",
        "--app.failure-type=worker-kiled",
        "--app.failure-typ=failure",
        "--app.matrix-size=4",
        "--app.config.matrix-sze=4",
        "--app.config.matrix-size=0",
        "--app.tasks=potfr",
        "--app.signal=stop",
    ] {
        messages.push(refused(failures(&[flag])));
    }
    let wrong = [
        r#"{"matrix_size": "many", "block_size": 2}"#,
        r#"{"matrix_size": 4, "block_size": 2, "x": 1}"#,
    ];
    for config in wrong {
        let line = ["failures", "--app.base=cholesky", "--app.config", config];
        messages.push(refused(outcome(run(&line))));
    }
    messages.extend(failures(&["--app.config=[1]"]).unwrap_err());
    messages.push(refused(failures(&[
        "--app.failure-type=worker-killed",
        "--executor=native",
    ])));
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn what_is_wrong_in_a_file_has_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let text = "[app]\nname = 'failures'\nbase = 'cholesky'\nfailure_rate = 7\nbogus = 1\n\
                [app.config]\nmatrix_size = 'x'\nmatrix_sice = 1\n";
    fs::write(dir.path().join("a.toml"), text).unwrap();
    let messages = outcome(run_in(dir.path(), &["-c", "a.toml"])).unwrap_err();
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn help_of_failures_shows_its_base() {
    let page = |line: &[&str]| {
        let seen = taps_config::preview(&crate::fixtures::args(line), Path::new("/"));
        let page = run_help(&schema(), &seen, 80);
        page[..page.find("\nExecutor ").unwrap()].to_owned()
    };
    let plain = page(&["failures"]);
    assert!(plain.contains("--app.failure-type") && !plain.contains("matrix"));
    insta::assert_snapshot!(page(&["failures", "--app.base", "cholesky"]));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn faults_replay(
        kind in prop::sample::select(vec!["none", "failure", "dependency", "slow-worker", "lost-result"]),
        rate in 0.0..=1.0_f64,
        seed in prop::option::of(0..=i64::MAX),
        point in prop::sample::select(vec!["before", "mid", "after"]),
        tasks in prop::sample::subsequence(vec!["potrf", "trsm", "gemm"], 0..=3),
        indices in prop::collection::vec(0..=i64::MAX, 0..4),
        attempts in prop::collection::vec(0..32, 0..4),
        workers in prop::collection::vec(0..=65_535, 0..4),
        budget in prop::option::of(0..=i64::MAX),
        burst in 1..=i64::MAX,
        mid in 0.0..=3_600_000.0,
        slow in 0..=86_400_000,
        as_failures in any::<bool>(),
    ) {
        let or_none = |number: Option<i64>| number.map_or("none".to_owned(), |n| n.to_string());
        let shared = [
            format!("seed={}", or_none(seed)),
            format!("point={point}"),
            format!("tasks={}", json!(tasks)),
            format!("indices={}", json!(indices)),
            format!("attempts={}", json!(attempts)),
            format!("workers={}", json!(workers)),
            format!("budget={}", or_none(budget)),
            format!("burst={burst}"),
        ];
        let section = if as_failures { "app" } else { "faults" };
        let mut line: Vec<String> = shared.iter().map(|flag| format!("--{section}.{flag}")).collect();
        line.push(format!("--faults.mid-ms={mid}"));
        line.push(format!("--faults.slow-ms={slow}"));
        line.push(format!("--faults.rate={rate}"));
        line.push(format!("--faults.type={kind}"));
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        let found = if as_failures { failures(&line) } else { cholesky(&line) };
        let resolved = found.unwrap();
        prop_assert_eq!(resolved.general.faults.rate.to_bits(), rate.to_bits());
        prop_assert_eq!(resolved.general.faults.types.len(), usize::from(kind != "none"));
        replays(&resolved);
    }
}
