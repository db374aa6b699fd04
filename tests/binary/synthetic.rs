//! Patterns, kernels and replays of `synthetic`: the same result wherever tasks run, also when some of them fail,
//! and clear words where flags do not go together.

use crate::harness::{Place, run_dir, snapshot, tasks};
use serde_json::{Value, json};

const EXECUTORS: [[&str; 2]; 3] = [
    ["--executor=thread-pool", "--executor.max-threads=2"],
    ["--executor=process-pool", "--executor.max-processes=2"],
    ["--executor=native", "--executor.max-threads=2"],
];

const PATTERNS: [&str; 11] = [
    "trivial",
    "no-comm",
    "stencil",
    "stencil-periodic",
    "dom",
    "tree",
    "fft",
    "all-to-all",
    "nearest",
    "spread",
    "random",
];

/// Runs the app, which must pass its checks; gives them, and the values that do not differ from run to run.
#[track_caller]
fn found(place: &Place, args: &[&str]) -> (Value, Value) {
    let (ended, json) = place.json(&[&["synthetic", "--seed=5"], args].concat());
    ended.expect(0);
    let mut values = json["values"].clone();
    values
        .as_object_mut()
        .expect("values")
        .remove("run_seconds");
    (json["checks"].clone(), values)
}

/// The value of a check.
fn checked<'a>(checks: &'a Value, name: &str) -> &'a Value {
    let checks = checks.as_array().expect("checks");
    let check = checks.iter().find(|check| check["name"] == name);
    &check.unwrap_or_else(|| panic!("no check {name}"))["value"]
}

#[test]
fn patterns_give_the_same_on_every_executor() {
    let place = Place::new();
    for pattern in PATTERNS {
        let structure = format!("--app.structure={pattern}");
        let args = [
            &structure,
            "--app.width=6",
            "--app.steps=7",
            "--app.window=2",
            "--app.task-data-bytes=100",
        ];
        let results = EXECUTORS.map(|executor| found(&place, &[&args[..], &executor].concat()));
        assert_eq!(results[0], results[1], "{pattern}");
        assert_eq!(results[0], results[2], "{pattern}");
    }
}

#[test]
fn large_payloads_travel_between_steps() {
    let place = Place::new();
    let args = [
        "--app.structure=stencil",
        "--app.width=3",
        "--app.steps=4",
        "--app.task-data-bytes=1500000",
    ];
    let results = EXECUTORS.map(|executor| found(&place, &[&args[..], &executor].concat()));
    assert_eq!(results[0], results[1]);
    assert_eq!(results[0], results[2]);
    assert_eq!(checked(&results[0].0, "edges verified"), 3 * 7);
}

#[test]
fn kernels_do_their_work_everywhere() {
    let place = Place::new();
    let kernels: [&[&str]; 4] = [
        &["--app.kernel=empty"],
        &["--app.kernel=compute", "--app.kernel-iterations=1000"],
        &[
            "--app.kernel=memory",
            "--app.kernel-bytes=100000",
            "--app.kernel-iterations=2",
        ],
        &[
            "--app.kernel=imbalanced",
            "--app.kernel-iterations=1000",
            "--app.kernel-imbalance=2",
        ],
    ];
    let tree = ["--app.structure=tree", "--app.width=4", "--app.steps=4"];
    let mut digests = Vec::new();
    for kernel in kernels {
        let run = |executor: [&str; 2]| found(&place, &[&tree[..], kernel, &executor].concat());
        let results = EXECUTORS.map(run);
        assert_eq!(results[0], results[1], "{kernel:?}");
        assert_eq!(results[0], results[2], "{kernel:?}");
        digests.push(checked(&results[0].0, "digest").clone());
    }
    digests.dedup();
    assert_eq!(digests.len(), 1, "work does not change what flows");
}

#[test]
fn a_task_has_the_parents_of_its_pattern() {
    let place = Place::new();
    let args = [
        "synthetic",
        "--app.structure=fft",
        "--app.width=4",
        "--app.steps=3",
    ];
    let (ended, json) = place.json(&args);
    ended.expect(0);
    let number = |id: &Value| -> u64 { id.as_str().expect("an id").parse().expect("a number") };
    let mut found: Vec<(u64, Vec<u64>)> = tasks(&run_dir(&json))
        .iter()
        .map(|task| {
            let parents = task["parent_task_ids"].as_array().expect("parents");
            let parents = parents.iter().map(number).collect();
            (number(&task["task_id"]), parents)
        })
        .collect();
    found.sort();
    let first = (0..4).map(|at| (at, vec![]));
    let rest = [
        (4, vec![0, 1]),
        (5, vec![0, 1, 2]),
        (6, vec![1, 2, 3]),
        (7, vec![2, 3]),
        (8, vec![4, 6]),
        (9, vec![5, 7]),
        (10, vec![4, 6]),
        (11, vec![5, 7]),
    ];
    assert_eq!(found, first.chain(rest).collect::<Vec<_>>());
}

#[test]
fn failures_of_a_stencil_are_made_up_for() {
    let place = Place::new();
    let stencil = [
        "--app.structure=stencil",
        "--app.width=5",
        "--app.steps=6",
        "--app.task-data-bytes=2000",
    ];
    let clean = found(&place, &[&stencil[..], &EXECUTORS[0]].concat());
    for (fault, executor) in [("failure", 0), ("zero-division", 0), ("worker-killed", 1)] {
        let kind = format!("--faults.type={fault}");
        let faults = [&kind, "--faults.rate=0.2", "--retries=8"];
        let args = [
            &["synthetic", "--seed=5"],
            &stencil[..],
            &EXECUTORS[executor],
            &faults,
        ];
        let (ended, json) = place.json(&args.concat());
        ended.expect(0);
        assert_eq!(json["checks"], clean.0, "{fault}");
        assert!(
            json["tasks"]["retried"].as_u64() > Some(0),
            "{fault}: {json}"
        );
        assert!(
            json["faults"]["acted"].as_u64() > Some(0),
            "{fault}: {json}"
        );
    }
}

#[test]
fn a_hundred_thousand_random_tasks() {
    let place = Place::new();
    let args = [
        "--app.structure=random",
        "--app.width=1000",
        "--app.steps=100",
        "--app.radix=9",
    ];
    let (checks, _) = found(&place, &args);
    assert_eq!(checked(&checks, "tasks completed"), 100_000);
    let edges = checked(&checks, "edges verified").as_u64();
    // Their own column, and a quarter of eight others, less at the borders.
    assert!(edges > Some(280_000) && edges < Some(305_000), "{edges:?}");
}

#[test]
fn a_generated_workflow_is_replayed_everywhere() {
    let place = Place::new();
    let args = ["--app.structure=replay", "--app.replay-time-scale=0"];
    let results = EXECUTORS.map(|executor| found(&place, &[&args[..], &executor].concat()));
    assert_eq!(results[0], results[1]);
    assert_eq!(results[0], results[2]);
    let (checks, values) = &results[0];
    assert_eq!(checked(checks, "tasks completed"), 17);
    assert_eq!(values["instance"], "generated");
}

#[test]
fn a_workflow_from_a_file_takes_its_time() {
    let place = Place::new();
    place.write("chain.json", chain().to_string());
    let args = [
        "synthetic",
        "--app.structure=replay",
        "--app.instance=chain.json",
        "--app.replay-time-scale=0.01",
        "--app.replay-data-scale=1",
    ];
    for kernel in ["--app.kernel=sleep", "--app.kernel=compute"] {
        let (ended, json) = place.json(&[&args[..], &[kernel]].concat());
        ended.expect(0);
        assert_eq!(checked(&json["checks"], "bytes between tasks"), 5_000);
        assert!(
            json["values"]["run_seconds"].as_f64() >= Some(0.04),
            "{json}"
        );
        let names: Vec<_> = tasks(&run_dir(&json))
            .iter()
            .map(|task| task["name"].clone())
            .collect();
        assert_eq!(names, ["replay", "replay"]);
    }
}

/// An instance of two tasks, one after the other.
fn chain() -> Value {
    json!({
        "name": "chain",
        "schemaVersion": "1.5",
        "workflow": {
            "specification": {
                "tasks": [
                    { "name": "first", "id": "t1", "parents": [], "children": ["t2"], "outputFiles": ["f"] },
                    { "name": "second", "id": "t2", "parents": ["t1"], "children": [], "inputFiles": ["f"] },
                ],
                "files": [{ "id": "f", "sizeInBytes": 5_000 }],
            },
            "execution": {
                "makespanInSeconds": 4.0,
                "executedAt": "2026-01-01T00:00:00Z",
                "tasks": [
                    { "id": "t1", "runtimeInSeconds": 1.0 },
                    { "id": "t2", "runtimeInSeconds": 3.0 },
                ],
            },
        },
    })
}

#[test]
fn real_workflows_are_replayed() {
    let Some(data) = crate::harness::data() else {
        return;
    };
    let place = Place::new();
    for (name, tasks, edges) in [
        ("bacass-dirt02-001.json", 11, 14),
        ("montage-chameleon-2mass-005d-001.json", 58, 114),
        ("srasearch-chameleon-10a-001.json", 22, 30),
    ] {
        let instance = format!(
            "--app.instance={}",
            data.join("wfcommons").join(name).display()
        );
        let args = [
            "--app.structure=replay",
            &instance,
            "--app.replay-time-scale=0",
        ];
        let results = EXECUTORS.map(|executor| found(&place, &[&args[..], &executor].concat()));
        assert_eq!(results[0], results[1], "{name}");
        assert_eq!(results[0], results[2], "{name}");
        let checks = &results[0].0;
        assert_eq!(*checked(checks, "tasks completed"), tasks, "{name}");
        assert_eq!(*checked(checks, "edges verified"), edges, "{name}");
        assert!(
            checked(checks, "bytes between tasks").as_u64() > Some(0),
            "{name}"
        );
    }
}

/// What a run says that is refused before any task.
#[track_caller]
fn refused(place: &Place, args: &[&str]) -> String {
    let ended = place.run(&[&["synthetic", "--quiet"], args].concat());
    ended.expect(2);
    ended.text()
}

#[test]
fn what_does_not_go_together_is_refused() {
    let place = Place::new();
    let stencil = ["--app.structure=stencil", "--app.width=4", "--app.steps=4"];
    let said = [
        refused(&place, &["--app.structure=bag", "--app.bag-max-running=2"]),
        refused(&place, &["--app.structure=fft", "--app.width=4"]),
        refused(&place, &[&stencil[..], &["--app.task-count=4"]].concat()),
        refused(&place, &[&stencil[..], &["--app.radix=4"]].concat()),
        refused(&place, &[&stencil[..], &["--app.kernel=compute"]].concat()),
        refused(&place, &[&stencil[..], &["--app.kernel=memory"]].concat()),
        refused(&place, &[&stencil[..], &["--app.kernel-bytes=64"]].concat()),
        refused(&place, &[&stencil[..], &["--app.width=0"]].concat()),
        refused(
            &place,
            &[
                "--app.structure=spread",
                "--app.width=2",
                "--app.steps=2",
                "--app.radix=3",
            ],
        ),
        refused(&place, &["--app.structure=replay", "--app.width=3"]),
        refused(&place, &["--app.structure=replay", "--app.kernel=memory"]),
    ];
    snapshot!(said.concat());
}

#[test]
fn instances_that_cannot_be_replayed_are_refused_before_any_task() {
    let place = Place::new();
    let with = |pointer: &str, value: Value| {
        let mut instance = chain();
        *instance.pointer_mut(pointer).expect("a place") = value;
        instance.to_string()
    };
    let tasks = "/workflow/specification/tasks";
    let instances = [
        "tasks: none".to_owned(),
        with("/schemaVersion", json!("1.4")),
        with(&format!("{tasks}/1/parents/0"), json!("t7")),
        with(&format!("{tasks}/0/parents"), json!(["t2"])),
        with(&format!("{tasks}/1/id"), json!("t1")),
        with("/workflow/specification/files/0/sizeInBytes", json!(-1)),
        with("/workflow/execution/tasks/0/runtimeInSeconds", json!(-1)),
    ];
    let mut said = String::new();
    for instance in instances {
        place.write("instance.json", instance);
        let args = ["--app.structure=replay", "--app.instance=instance.json"];
        said += &refused(&place, &args);
    }
    said += &refused(
        &place,
        &["--app.structure=replay", "--app.instance=nowhere.json"],
    );
    snapshot!(said);
}
