//! The built-in apps: counts, checked results, and the same results wherever they run.

use crate::harness::{Place, run_dir, tasks};
use serde_json::{Map, Value, json};

/// How tasks may be run; results must not depend on it.
const EXECUTIONS: [&[&str]; 6] = [
    &["--executor.max-threads=1"],
    &["--executor.max-threads=2"],
    &["--executor.max-threads=4"],
    &["--executor=process-pool", "--executor.max-processes=1"],
    &[
        "--executor=process-pool",
        "--executor.nodes=2",
        "--executor.workers-per-node=2",
    ],
    &["--executor=native", "--executor.max-threads=2"],
];

/// Runs an app, which must pass its checks.
#[track_caller]
fn run(args: &[&str]) -> Value {
    let (ended, json) = Place::new().json(args);
    ended.expect(0);
    assert_eq!(json["ok"], true);
    json
}

/// What the app found, apart from durations.
fn result(json: &Value) -> (Value, Value) {
    let mut values: Map<String, Value> = json["values"].as_object().expect("values").clone();
    values.retain(|name, _| !name.ends_with("seconds"));
    (Value::Object(values), json["checks"].clone())
}

/// Runs an app in every way; gives the result, which must be the same in all.
#[track_caller]
fn everywhere(args: &[&str]) -> (Value, Value) {
    let results: Vec<_> = EXECUTIONS
        .iter()
        .map(|execution| result(&run(&[args, execution].concat())))
        .collect();
    for (other, execution) in results.iter().zip(EXECUTIONS) {
        assert_eq!(other, &results[0], "{execution:?}");
    }
    results[0].clone()
}

fn synthetic<'a>(structure: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let args = [
        "synthetic",
        "--app.task-count=9",
        "--app.task-data-bytes=1000",
        "--app.structure",
    ];
    [&args[..], &[structure], more].concat()
}

#[test]
fn synthetic_graphs_have_the_counts_of_taps() {
    for (structure, submitted) in [
        ("bag", 9),
        ("diamond", 11),
        ("reduce", 10),
        ("sequential", 9),
    ] {
        let json = run(&synthetic(structure, &["--app.bag-max-running=3"]));
        assert_eq!(json["tasks"]["submitted"], submitted, "{structure}");
        assert_eq!(json["tasks"]["succeeded"], submitted, "{structure}");
    }
}

#[test]
fn synthetic_graphs_have_the_parents_of_taps() {
    let parents = |structure| {
        let place = Place::new();
        let (_, json) = place.json(&synthetic(structure, &["--app.bag-max-running=3"]));
        let mut tasks = tasks(&run_dir(&json));
        tasks.sort_by_key(|task| {
            task["task_id"]
                .as_str()
                .and_then(|id| id.parse::<u64>().ok())
        });
        tasks
            .iter()
            .map(|task| task["parent_task_ids"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(parents("bag"), vec![json!([]); 9]);
    let chain: Vec<_> = std::iter::once(json!([]))
        .chain((0..8).map(|id| json!([id.to_string()])))
        .collect();
    assert_eq!(parents("sequential"), chain);
    let ids =
        |range: std::ops::Range<u32>| json!(range.map(|id| id.to_string()).collect::<Vec<_>>());
    assert_eq!(
        parents("reduce"),
        [vec![json!([]); 9], vec![ids(0..9)]].concat()
    );
    let diamond = [vec![json!([])], vec![json!(["0"]); 9], vec![ids(1..10)]].concat();
    assert_eq!(parents("diamond"), diamond);
}

#[test]
fn synthetic_results_are_the_same_everywhere() {
    for structure in ["bag", "diamond", "reduce", "sequential"] {
        everywhere(&synthetic(structure, &["--app.bag-max-running=3"]));
    }
}

#[test]
fn synthetic_verifies_large_payloads_too() {
    let large = ["--app.task-data-bytes=3000000", "--app.bag-max-running=3"];
    let (_, checks) = everywhere(
        &[
            &["synthetic", "--app.structure=reduce", "--app.task-count=3"],
            &large[..],
        ]
        .concat(),
    );
    assert_eq!(checks[1]["name"], "payloads verified");
    assert_eq!(checks[1]["value"], 6);
}

#[test]
fn a_bag_keeps_its_limit() {
    let place = Place::new();
    let args = [
        "--app.bag-max-running=3",
        "--app.task-sleep=0.002",
        "--executor.max-threads=8",
    ];
    let (ended, json) = place.json(&synthetic("bag", &args));
    ended.expect(0);
    let most = &json["checks"]
        .as_array()
        .expect("checks")
        .last()
        .expect("a check")["value"];
    assert!(most.as_u64().is_some_and(|most| most <= 3), "{json}");
    // And in the records: submissions less endings, in order of time.
    let mut moments = Vec::new();
    for task in tasks(&run_dir(&json)) {
        moments.push((task["monotonic_submit_ns"].as_u64(), 1));
        moments.push((task["monotonic_received_ns"].as_u64(), -1));
    }
    moments.sort_unstable();
    let mut outstanding = 0;
    for (_, change) in moments {
        outstanding += change;
        assert!(outstanding <= 3, "{outstanding} outstanding");
    }
}

#[test]
fn warm_up_is_left_out_unless_wanted() {
    let warm = synthetic("reduce", &["--app.warmup-tasks=5"]);
    let json = run(&warm);
    assert_eq!(json["tasks"]["submitted"], 15);
    assert_eq!(json["phases"][0]["name"], "warmup");
    assert_eq!(json["checks"][0]["value"], 10);
    let json = run(&[&warm[..], &["--app.warmup-exclude=false"]].concat());
    assert_eq!(json["phases"][0]["name"], "run");
    assert_eq!(json["checks"][0]["value"], 15);
}

#[test]
fn sleeping_tasks_take_at_least_their_time() {
    for executor in ["thread-pool", "process-pool", "native"] {
        let args = synthetic(
            "sequential",
            &["--app.task-sleep=0.01", "--executor", executor],
        );
        let json = run(&args);
        assert!(
            json["app_elapsed_s"].as_f64() >= Some(0.09),
            "{executor}: {json}"
        );
    }
}

#[test]
fn cholesky_of_many_sizes() {
    for (matrix, block) in [(1, 1), (8, 8), (9, 3), (64, 16), (100, 10), (260, 65)] {
        let (matrix_arg, block_arg) = (matrix.to_string(), block.to_string());
        let sizes = [
            "--app.matrix-size",
            &matrix_arg,
            "--app.block-size",
            &block_arg,
        ];
        for more in [
            &[][..],
            &["--kernels=guest"],
            &["--app.full-residual=true"],
            &["--executor=process-pool"],
            &["--executor=native"],
        ] {
            let json = run(&[&["cholesky"], &sizes[..], more].concat());
            let tiles = matrix / block;
            assert_eq!(
                json["values"]["factor-tasks"],
                tiles * (tiles + 1) * (tiles + 2) / 6
            );
            let residual = &json["checks"][0];
            assert_eq!(residual["name"], "residual");
            assert!(residual["value"].as_f64() < Some(1e-14), "{residual}");
        }
    }
}

const TILES: [&str; 3] = ["cholesky", "--app.matrix-size=96", "--app.block-size=24"];

#[test]
fn cholesky_is_the_same_on_any_number_of_workers_and_nearly_so_without_sandbox() {
    for kernels in ["--kernels=host", "--kernels=guest"] {
        let args = [&TILES[..], &[kernels]].concat();
        let results = EXECUTIONS.map(|execution| result(&run(&[&args, execution].concat())));
        let [one, sandboxed @ .., (values, checks)] = results;
        for (other, execution) in sandboxed.iter().zip(&EXECUTIONS[1..]) {
            assert_eq!(other, &one, "{kernels} {execution:?}");
        }
        // Native code may round differently; the bound of the check holds for both.
        assert_eq!(values, one.0, "{kernels}");
        assert_eq!(checks[1], one.1[1], "{kernels}");
        let residual = |checks: &Value| checks[0]["value"].as_f64().expect("a residual");
        assert!(
            (residual(&checks) - residual(&one.1)).abs() < 1e-16,
            "{kernels}: {checks}"
        );
    }
}

#[test]
fn guest_kernels_give_the_same_bits_without_a_sandbox() {
    everywhere(&[&TILES[..], &["--kernels=guest"]].concat());
}

#[test]
fn large_tiles() {
    run(&[
        "cholesky",
        "--app.matrix-size=6000",
        "--app.block-size=3000",
    ]);
}

#[test]
fn the_exact_graphs_of_taps_are_labelled() {
    for (tiles, count) in [(2, 5), (4, 30), (10, 385)] {
        let size = (8 * tiles).to_string();
        let place = Place::new();
        let args = [
            "cholesky",
            "--app.compat-dag=true",
            "--app.block-size=8",
            "--app.matrix-size",
            &size,
        ];
        let (ended, json) = place.json(&args);
        ended.expect(0);
        assert_eq!(json["values"]["factor-tasks"], count);
        assert_eq!(json["values"]["numerically-meaningless"], true);
        let in_phase = |task: &&Value| task["phase"] == "factorise";
        assert_eq!(
            tasks(&run_dir(&json)).iter().filter(in_phase).count(),
            count
        );
    }
}

#[test]
fn the_seed_changes_the_result_and_nothing_else_does() {
    let cholesky = ["cholesky", "--app.matrix-size=40", "--app.block-size=20"];
    let words = [
        "mapreduce",
        "--app.generate=true",
        "--app.generated-words=2000",
    ];
    for args in [&cholesky[..], &words[..]] {
        let seeded = |seed| result(&run(&[args, &["--seed", seed]].concat()));
        assert_eq!(seeded("5"), seeded("5"), "{args:?}");
        assert_ne!(seeded("5"), seeded("6"), "{args:?}");
    }
}
