//! The app on the local backend.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod patterns;
mod replay;
mod steps;

use serde_json::{Value, json};
use taps::Level;
use taps::testing::{Local, Trace};

use crate::APP;

fn run(config: &Value) -> (taps::Result<taps::Report>, Trace) {
    Local::new()
        .seed(3)
        .trace(|engine| (APP.run)(config, engine))
}

fn counts(structure: &str, extra: &Value) -> (taps::Report, Trace) {
    let mut config = json!({ "structure": structure, "task_count": 7, "bag_max_running": 3 });
    config
        .as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    let (report, trace) = run(&config);
    (report.unwrap(), trace)
}

#[test]
fn structures_have_the_tasks_of_taps() {
    for (structure, tasks) in [("bag", 7), ("diamond", 9), ("reduce", 8), ("sequential", 7)] {
        for size in [0, 1, 9, 1000] {
            let (report, trace) = counts(structure, &json!({ "task_data_bytes": size }));
            assert!(report.passed(), "{structure} {size}: {report:?}");
            assert_eq!(
                trace.finished,
                vec![("noop", true); tasks],
                "{structure} {size}"
            );
            let checks = if size > 0 { 2 } else { 1 } + usize::from(structure == "bag");
            assert_eq!(report.checks.len(), checks, "{structure} {size}");
        }
    }
}

#[test]
fn the_order_of_completion_does_not_matter() {
    for seed in 0..20 {
        for structure in ["bag", "diamond", "reduce", "sequential"] {
            let config = json!({
                "structure": structure,
                "task_count": 20,
                "bag_max_running": 6,
                "task_data_bytes": 100,
            });
            let report = Local::new().shuffled(seed).run_app(&APP, &config).unwrap();
            assert!(report.passed(), "{structure}, seed {seed}: {report:?}");
        }
    }
}

#[test]
fn warm_up_is_a_phase_of_its_own() {
    let (report, trace) = counts("bag", &json!({ "warmup_tasks": 2 }));
    assert_eq!(trace.phases, ["warmup", "run"]);
    assert_eq!(trace.finished[..2], [("warmup", true); 2]);
    assert_eq!(report.checks[0].value, 7);

    let (report, trace) = counts(
        "bag",
        &json!({ "warmup_tasks": 2, "warmup_exclude": false }),
    );
    assert_eq!(trace.phases, ["run"]);
    assert_eq!(report.checks[0].value, 9);
    assert!(report.passed());
}

#[test]
fn tasks_sleep_at_least_as_long_as_asked() {
    let start = std::time::Instant::now();
    let (report, _) = counts("sequential", &json!({ "task_sleep": 0.005 }));
    assert!(report.passed());
    assert!(start.elapsed().as_secs_f64() >= 7.0 * 0.005);
    let (report, trace) = counts(
        "sequential",
        &json!({ "task_sleep": 0.001, "task_std": 0.001 }),
    );
    assert!(report.passed());
    assert!(
        trace
            .log
            .iter()
            .any(|(level, line)| *level == Level::Info && line.contains("7 tasks"))
    );
}

#[test]
fn bad_configurations_name_field_value_and_expectation() {
    let message = |config: Value| run(&config).0.unwrap_err().to_string();
    assert_eq!(
        message(json!({ "structure": "bag", "task_count": 5 })),
        "bag_max_running = none: expected a whole number of at least 1, because structure is bag"
    );
    assert_eq!(
        message(json!({ "structure": "star", "task_count": 5 })),
        r#"structure = "star": expected one of bag, diamond, reduce, sequential, trivial, no-comm, stencil, stencil-periodic, dom, tree, fft, all-to-all, nearest, spread, random, replay"#
    );
    assert_eq!(
        message(json!({ "structure": "bag", "task_count": 0, "bag_max_running": 1 })),
        "task_count = 0: expected a whole number from 1 to 4294967295"
    );
    assert_eq!(
        message(json!({ "structure": "bag" })),
        "task_count = none: expected a whole number of at least 1, because structure is bag"
    );
    assert_eq!(
        message(json!({ "structure": "bag", "task_count": 5, "task_sleep": -1 })),
        "task_sleep = -1: expected a number from 0 to 1000000"
    );
}

#[test]
fn nothing_is_submitted_with_a_bad_configuration() {
    let (result, trace) = run(&json!({ "structure": "bag", "task_count": 5 }));
    let error = result.unwrap_err().to_driver_error();
    assert_eq!(error.kind, taps::DriverErrorKind::Config);
    assert_eq!(error.field.as_deref(), Some("bag_max_running"));
    assert!(trace.finished.is_empty());
}

#[test]
fn the_description_has_fields_and_tasks() {
    let description = APP.describe();
    let fields: Vec<_> = description
        .config
        .iter()
        .map(|field| field.name.as_str())
        .collect();
    assert_eq!(
        fields,
        [
            "structure",
            "task_count",
            "task_data_bytes",
            "task_sleep",
            "bag_max_running",
            "warmup_tasks",
            "task_std",
            "verify",
            "content",
            "read_inputs",
            "warmup_exclude",
            "kernel",
            "kernel_iterations",
            "kernel_bytes",
            "kernel_imbalance",
            "width",
            "steps",
            "radix",
            "period",
            "fraction",
            "window",
            "instance",
            "replay_time_scale",
            "replay_data_scale",
            "replay_max_bytes",
        ]
    );
    let tasks: Vec<_> = description
        .tasks
        .iter()
        .map(|task| task.name.as_str())
        .collect();
    assert_eq!(tasks, ["noop", "point", "replay", "warmup"]);
    assert_eq!(description.name, "synthetic");
}
