//! Patterns and kernels on the local backend.

use proptest::prelude::*;
use serde_json::{Value, json};
use taps::Report;
use taps::testing::Local;

use super::run;
use crate::APP;
use crate::header::Header;
use crate::kernels::Load;
use crate::patterns::{Pattern, Shape};
use crate::tasks::{Point, point};

/// A configuration, with fields replaced.
pub(super) fn with(base: &Value, changes: &Value) -> Value {
    let mut config = base.clone();
    let object = config.as_object_mut().unwrap();
    object.extend(changes.as_object().unwrap().clone());
    config
}

fn steps(structure: &str) -> Value {
    json!({ "structure": structure, "width": 5, "steps": 6 })
}

/// The value of a check.
fn checked(report: &Report, name: &str) -> Value {
    let check = report.checks.iter().find(|check| check.name == name);
    check.unwrap().value.clone()
}

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

#[test]
fn every_pattern_passes_its_checks_in_any_order() {
    for structure in PATTERNS {
        let mut digests = Vec::new();
        for seed in 0..6 {
            let config = with(
                &steps(structure),
                &json!({ "window": seed + 1, "task_data_bytes": 50 * seed }),
            );
            let local = Local::new().seed(4).shuffled(seed);
            let report = local.run_app(&APP, &config).unwrap();
            assert!(report.passed(), "{structure}, seed {seed}: {report:?}");
            digests.push(checked(&report, "digest"));
        }
        digests.dedup();
        assert_eq!(digests.len(), 1, "{structure}");
    }
}

#[test]
fn counts_are_those_of_the_pattern() {
    let (report, trace) = run(&steps("stencil"));
    let report = report.unwrap();
    assert_eq!(trace.finished, vec![("point", true); 30]);
    assert_eq!(checked(&report, "tasks completed"), 30);
    assert_eq!(checked(&report, "edges verified"), 5 * 13);
    assert_eq!(trace.phases, ["run", "check"]);
    let names: Vec<_> = report.checks.iter().map(|check| &check.name[..]).collect();
    assert_eq!(
        names,
        [
            "tasks completed",
            "edges verified",
            "digest",
            "most tasks outstanding"
        ]
    );
}

#[test]
fn the_window_bounds_what_is_outstanding() {
    let config = with(&steps("trivial"), &json!({ "window": 2 }));
    let report = run(&config).0.unwrap();
    assert_eq!(checked(&report, "most tasks outstanding"), 10);
    assert!(report.passed());
}

#[test]
fn a_seed_makes_another_result() {
    let digest = |seed| {
        let report = Local::new().seed(seed).run_app(&APP, &steps("fft"));
        checked(&report.unwrap(), "digest")
    };
    assert_eq!(digest(1), digest(1));
    assert_ne!(digest(1), digest(2));
}

#[test]
fn every_kernel_runs_in_every_family() {
    let kernels = [
        json!({ "kernel": "sleep" }),
        json!({ "kernel": "sleep", "task_sleep": 0.0001 }),
        json!({ "kernel": "empty" }),
        json!({ "kernel": "compute", "kernel_iterations": 10 }),
        json!({ "kernel": "memory", "kernel_bytes": 1000 }),
        json!({ "kernel": "memory", "kernel_bytes": 1000, "kernel_iterations": 3 }),
        json!({ "kernel": "imbalanced", "kernel_iterations": 10 }),
        json!({ "kernel": "imbalanced", "kernel_iterations": 10, "kernel_imbalance": 2 }),
    ];
    for kernel in kernels {
        let graphs = [
            json!({ "structure": "reduce", "task_count": 4, "task_data_bytes": 20 }),
            steps("tree"),
        ];
        for graph in graphs {
            let config = with(&graph, &kernel);
            let report = run(&config).0.unwrap();
            assert!(report.passed(), "{config}: {report:?}");
        }
    }
}

#[test]
fn iterations_are_reported() {
    let iterations = |kernel: &Value| {
        let report = run(&with(&steps("no-comm"), kernel)).0.unwrap();
        let found = report
            .values
            .iter()
            .find(|(name, _)| name == "kernel_iterations");
        found.map(|(_, value)| value.as_u64().unwrap())
    };
    let compute = json!({ "kernel": "compute", "kernel_iterations": 10 });
    assert_eq!(iterations(&compute), Some(300));
    let drawn = json!({ "kernel": "imbalanced", "kernel_iterations": 1000 });
    let drawn = iterations(&drawn).unwrap();
    assert!((25_000..35_000).contains(&drawn), "{drawn}");
    assert_eq!(iterations(&json!({})), None);
}

#[test]
fn a_task_refuses_inputs_that_are_not_its_own() {
    let pattern = Pattern {
        shape: Shape::Stencil,
        width: 4,
        steps: 3,
        radix: 3,
        period: 3,
        fraction: 0.25,
        seed: 0,
    };
    let task = |step, column| Point {
        pattern,
        step,
        column,
        load: Load::default(),
        output_bytes: 64,
        verify: true,
        plain: false,
        read: false,
    };
    let first = |column| {
        let none: [taps::Bytes; 0] = [];
        point(task(0, column), none.into_iter().collect()).unwrap()
    };
    let second = |inputs: Vec<taps::Bytes>| point(task(1, 1), inputs.into_iter().collect());
    let right = second(vec![first(0), first(1), first(2)]).unwrap();
    let header = Header::read(&right).unwrap();
    assert_eq!((header.row, header.column), (1, 1));

    let message = |inputs| second(inputs).unwrap_err().to_string();
    assert_eq!(message(vec![first(0), first(1)]), "2 inputs, 3 expected");
    assert_eq!(
        message(vec![first(0), first(2), first(1)]),
        "input 1 is that of 0.2, 0.1 expected"
    );
    assert_eq!(
        message(vec![right, first(1), first(2)]),
        "input 0 is that of 1.1, 0.0 expected"
    );
    let mut damaged = first(1);
    damaged[20] ^= 1;
    assert_eq!(
        message(vec![first(0), damaged, first(2)]),
        "input 1 of 48 bytes is not what was sent"
    );
    let short = taps::Bytes::from(vec![0; 7]);
    assert_eq!(
        message(vec![short, first(1), first(2)]),
        "7 bytes are no output of a task"
    );
}

#[test]
fn what_does_not_belong_is_refused() {
    let refused = |base: Value, changes: Value, expected: &str| {
        let (result, trace) = run(&with(&base, &changes));
        assert_eq!(result.unwrap_err().to_string(), expected);
        assert!(trace.finished.is_empty());
    };
    let bag = json!({ "structure": "bag", "task_count": 5, "bag_max_running": 2 });
    let stencil = steps("stencil");
    refused(
        bag.clone(),
        json!({ "width": 4 }),
        "width = 4: expected none, because structure is bag",
    );
    refused(
        bag.clone(),
        json!({ "replay_data_scale": 0.5 }),
        "replay_data_scale = 0.5: expected none, because structure is bag",
    );
    refused(
        stencil.clone(),
        json!({ "task_count": 4 }),
        "task_count = 4: expected none, because structure is stencil",
    );
    refused(
        stencil.clone(),
        json!({ "steps": null }),
        "steps = none: expected a whole number of at least 1, because structure is stencil",
    );
    refused(
        stencil.clone(),
        json!({ "radix": 4 }),
        "radix = 4: expected none, because structure is stencil",
    );
    refused(
        steps("spread"),
        json!({ "radix": 6 }),
        "radix = 6: expected a whole number from 1 to the width, 5, because structure is spread",
    );
    refused(
        steps("nearest"),
        json!({ "fraction": 0.5 }),
        "fraction = 0.5: expected none, because structure is nearest",
    );
    refused(
        steps("all-to-all"),
        json!({ "width": 5000 }),
        "width = 5000: expected a whole number from 1 to 4096, because structure is all-to-all",
    );
    refused(
        stencil.clone(),
        json!({ "kernel": "compute" }),
        "kernel_iterations = none: expected a whole number of at least 1, because kernel is compute",
    );
    refused(
        stencil.clone(),
        json!({ "kernel": "memory" }),
        "kernel_bytes = none: expected a whole number of at least 8, because kernel is memory",
    );
    refused(
        stencil.clone(),
        json!({ "kernel": "empty", "task_sleep": 0.1 }),
        "task_sleep = 0.1: expected 0, because kernel is empty",
    );
    refused(
        bag,
        json!({ "kernel_iterations": 3 }),
        "kernel_iterations = 3: expected none, because kernel is sleep",
    );
    refused(
        stencil,
        json!({ "kernel": "compute", "kernel_iterations": 3, "kernel_imbalance": 0.5 }),
        "kernel_imbalance = 0.5: expected none, because kernel is compute",
    );
    let replay = json!({ "structure": "replay" });
    refused(
        replay.clone(),
        json!({ "kernel": "memory", "kernel_bytes": 100 }),
        "kernel = memory: expected sleep, compute or empty, because structure is replay",
    );
    refused(
        replay,
        json!({ "task_data_bytes": 100 }),
        "task_data_bytes = 100: expected 0, because structure is replay: the instance has the sizes",
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_pattern_of_any_size_passes(
        structure in prop::sample::select(&PATTERNS[..]),
        width in 1_u32..12,
        steps in 1_u32..12,
        window in 1_u32..4,
        bytes in 0_u32..40,
        seed: u64,
    ) {
        let config = json!({
            "structure": structure,
            "width": width,
            "steps": steps,
            "window": window,
            "task_data_bytes": bytes,
        });
        let local = Local::new().seed(seed).shuffled(seed);
        let report = local.run_app(&APP, &config).unwrap();
        prop_assert!(report.passed(), "{config}: {report:?}");
    }
}
