//! The options of fault injection and recovery, and `failures`, as a user writes them.

use crate::harness::{Ended, Place, names, probe, run_dir, snapshot, tasks};

const CHOLESKY: [&str; 3] = ["cholesky", "--app.matrix-size=8", "--app.block-size=4"];

const FAILURES: [&str; 3] = [
    "failures",
    "--app.base=cholesky",
    r#"--app.config={"matrix_size": 8, "block_size": 4}"#,
];

/// The program refuses this before any work, and leaves nothing.
#[track_caller]
fn refused(args: &[&str]) -> String {
    let place = Place::new();
    let ended = place.run(args);
    ended.expect(2);
    assert_eq!(names(&place.path().join("runs")), [""; 0]);
    let text = ended.text();
    assert_eq!(text.matches("error: ").count(), 1, "{text}");
    text[text.find("error: ").expect("an error")..].to_owned()
}

fn dry(place: &Place, args: &[&str]) -> Ended {
    place.run(&[args, &["--dry-run"]].concat())
}

#[test]
fn what_cannot_be_acted_out_is_refused_with_what_to_do() {
    let with = |flags: &[&str]| refused(&[&CHOLESKY[..], flags].concat());
    snapshot!(
        "thread_pool",
        with(&["--faults=worker-killed", "--executor=thread-pool"])
    );
    snapshot!(
        "native",
        with(&[
            "--faults=random",
            "--executor=native",
            "--faults.random-from=memory,ulimit,timeout,node-killed,failure"
        ])
    );
    snapshot!("timeout", with(&["--faults=timeout"]));
    snapshot!("program", with(&["--faults=program-crash"]));
    snapshot!(
        "many",
        with(&[
            "--faults=wroker-killed",
            "--faults.rate=1.01",
            "--faults.tasks=potrff",
            "--faults.tasks=trsm",
            "--faults.tasks=bogus",
            "--retries-for={\"lost\": 1}",
        ])
    );
}

#[test]
fn what_is_wrong_with_failures_is_said_as_its_base_would() {
    snapshot!("no_base", refused(&["failures"]));
    snapshot!("own_base", refused(&["failures", "--app.base=failures"]));
    snapshot!(
        "unknown_base",
        refused(&["failures", "--app.base=mapredus"])
    );
    snapshot!(
        "base_config",
        refused(&[
            "failures",
            "--app.base=cholesky",
            "--app.config.block-size=0"
        ])
    );
    snapshot!(
        "own_fields",
        refused(
            &[
                &FAILURES[..],
                &[
                    "--app.failure-rate=-0.5",
                    "--app.failure-type=worker-kill",
                    "--app.block-size=2"
                ]
            ]
            .concat()
        )
    );
    let place = Place::new();
    let file = "[app]\nname = \"failures\"\nbase = \"cholesky\"\nfailure_rate = 3\n\n\
                [app.config]\nmatrix_size = 8\nblock_size = \"four\"\n";
    place.write("failures.toml", file);
    let ended = place.run(&["-c", "failures.toml"]);
    snapshot!("in_a_file", ended.expect(2).text());
    let missing = Place::new().run(&["failures", "--app.base=./gone.wasm"]);
    missing.expect(4).says("./gone.wasm");
}

#[test]
fn failures_becomes_faults_and_replays() {
    let place = Place::new();
    let flags = [
        "--app.failure-rate=0.1",
        "--app.failure-type=worker-killed",
        "--app.attempts=0",
    ];
    let ended = dry(&place, &[&FAILURES[..], &flags].concat());
    ended.expect(0);
    ended.says("argument `failures`: runs `cholesky` with [faults] type = \"worker-killed\", rate = 0.1, attempts = [0]");
    ended.says("--app.failure-type: the executor is `process-pool`, because `worker-killed`");
    snapshot!(&ended.stdout);
    let flags = [
        "--faults=worker-killed",
        "--faults.rate=0.1",
        "--faults.attempts=0",
    ];
    let plain = dry(&place, &[&CHOLESKY[..], &flags].concat());
    assert_eq!(plain.stdout, ended.stdout);
    place.write("again.toml", &ended.stdout);
    let again = dry(&place, &["-c", "again.toml"]);
    assert_eq!(again.expect(0).stdout, ended.stdout);
    assert!(!again.stderr.contains("note:"), "{}", again.text());

    let json = place
        .run(&[&FAILURES[..], &["--dry-run", "--json"]].concat())
        .json();
    assert_eq!(json["app"], "cholesky");
    assert_eq!(json["faults"]["actions"], serde_json::json!(["dependency"]));
    assert_eq!(json["config"]["faults"]["rate"], 1.0);
}

#[test]
fn a_component_may_be_the_base() {
    let place = Place::new();
    let base = format!("--app.base={}", probe());
    let args = ["failures", &base, "--app.config.action=ok"];
    let ended = dry(&place, &args);
    ended.expect(0);
    assert!(ended.stdout.contains(probe()), "{}", ended.text());
    place
        .run(&[&args[..], &["--app.failure-rate=0"]].concat())
        .expect(0);
    let help = place.run(&["failures", &base, "--help"]);
    assert!(
        help.expect(0).stdout.contains("--app.config.action"),
        "{}",
        help.text()
    );
}

#[test]
fn a_run_of_failures_writes_what_it_became() {
    let place = Place::new();
    let none = ["--app.failure-type=failure", "--app.failure-rate=0"];
    let args = [&FAILURES[..], &none].concat();
    place.run(&args).expect(0);
    let run = place.only_run();
    let written = std::fs::read_to_string(run.join("config.toml")).expect("config.toml");
    assert_eq!(written, dry(&place, &args).stdout);
    assert!(run.to_str().expect("UTF-8").contains("cholesky_"));
}

#[test]
fn failures_is_shown_like_any_app() {
    let place = Place::new();
    snapshot!(
        "describe",
        place.call(["describe", "failures"]).expect(0).text()
    );
    let json = place
        .call(["describe", "failures", "--json"])
        .expect(0)
        .json();
    assert_eq!(json["app"]["name"], "failures");
    let fields = json["app"]["config"].as_array().expect("fields");
    for name in ["base", "config", "failure_rate", "failure_type", "burst"] {
        assert!(fields.iter().any(|field| field["name"] == name), "{name}");
    }
    let help = place.run(&["failures", "--help"]);
    for flag in [
        "--app.base",
        "--app.failure-rate",
        "--faults, --faults.type",
    ] {
        assert!(help.expect(0).stdout.contains(flag), "{flag}");
    }
}

/// One task that kills its worker on every try, and has retries enough.
const KILLER: [&str; 7] = [
    "synthetic",
    "--app.structure=sequential",
    "--app.task-count=1",
    "--faults=worker-killed",
    "--faults.tasks=noop",
    "--retries=50",
    "--executor.max-processes=1",
];

#[test]
fn a_task_that_keeps_killing_workers_is_given_up() {
    for (flags, lost) in [
        (&["--crash-limit=0"][..], 1),
        (&["--engine.crash_limit=1"], 2),
        (&[], 4),
    ] {
        let place = Place::new();
        let (ended, json) = place.json(&[&KILLER[..], flags].concat());
        ended.expect(1);
        let lines = tasks(&run_dir(&json));
        assert_eq!(lines.len(), lost, "{lines:?}");
        for (index, line) in lines.iter().enumerate() {
            let last = index + 1 == lost;
            assert_eq!(line["outcome"], "worker-lost", "{line}");
            assert_eq!(line["attempt"], index, "{line}");
            assert_eq!(line["final"], last, "{line}");
            let given_up = line["exception"]["type"] == "crash-limit";
            assert_eq!(given_up, last, "{line}");
        }
        let verdict = format!(
            "given up after it lost {lost} workers (crash limit {})",
            lost - 1
        );
        let error = json["error"].as_str().expect("an error");
        assert!(error.contains(&verdict), "{error}");
    }
}

#[test]
fn a_crash_limit_is_a_number_of_workers() {
    for value in ["-1", "65535", "many"] {
        let flag = format!("--crash-limit={value}");
        let text = refused(&[&CHOLESKY[..], &[&flag]].concat());
        assert!(text.contains("--crash-limit"), "{text}");
        assert!(text.contains("from 0 to 65534"), "{text}");
    }
}
