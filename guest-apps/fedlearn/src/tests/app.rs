//! Whole runs.

use std::fs;

use serde_json::{Value, json};
use taps::testing::{self, Local};
use taps::{Array, Report};
use tempfile::TempDir;

use super::data;
use crate::APP;
use crate::tasks::aggregate;

/// A small run: options over those of all tests.
struct Run {
    outputs: TempDir,
    config: Value,
}

impl Run {
    fn new(options: &Value) -> Self {
        let outputs = tempfile::tempdir().unwrap();
        let mut config = json!({
            "output_dir": outputs.path(), "clients": 4, "rounds": 2, "epochs": 1,
            "samples": 400, "test_samples": 100, "seed": 1,
        });
        for (name, value) in options.as_object().unwrap() {
            config[name] = value.clone();
        }
        Self { outputs, config }
    }

    fn report(&self) -> Report {
        testing::run_app(&APP, &self.config).unwrap()
    }

    fn error(&self) -> String {
        testing::run_app(&APP, &self.config)
            .unwrap_err()
            .to_string()
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.outputs.path().join(name)).unwrap()
    }

    /// Names of the tasks that were submitted.
    fn tasks(&self) -> Vec<&'static str> {
        let (result, trace) = Local::new().trace(|engine| (APP.run)(&self.config, engine));
        result.unwrap();
        trace.finished.into_iter().map(|(name, _)| name).collect()
    }
}

fn value(report: &Report, name: &str) -> f64 {
    let (_, value) = report
        .values
        .iter()
        .find(|(given, _)| given == name)
        .unwrap();
    value.as_f64().unwrap_or(f64::NAN)
}

/// Whether a check passed; none if it was not made.
fn passed(report: &Report, name: &str) -> Option<bool> {
    report
        .checks
        .iter()
        .find(|check| check.name == name)
        .map(|check| check.passed)
}

#[test]
fn a_run_without_options_learns_the_generated_digits() {
    let outputs = tempfile::tempdir().unwrap();
    let report = testing::run_app(&APP, &json!({ "output_dir": outputs.path() })).unwrap();
    assert!(report.passed(), "{report:?}");
    assert_eq!(passed(&report, "test-accuracy"), Some(true));
    assert!(value(&report, "test-accuracy") > 0.85, "{report:?}");
    assert!(
        fs::read(outputs.path().join("rounds.png"))
            .unwrap()
            .starts_with(b"\x89PNG")
    );
}

#[test]
fn tasks_are_those_of_the_rounds() {
    let run = Run::new(&json!({ "participation": 0.5, "rounds": 3 }));
    let tasks = run.tasks();
    let count = |name| tasks.iter().filter(|task| **task == name).count();
    assert_eq!(count("local_train"), 6);
    assert_eq!(count("aggregate"), 3);
    assert_eq!(count("test_model"), 3);
    assert_eq!(count("make_shard"), 4);
    assert_eq!(count("generate_data"), 2);
    assert_eq!(count("initial_weights"), 1);
    assert_eq!(tasks.len(), 19);
}

#[test]
fn equal_seeds_give_equal_results_in_any_order_of_the_tasks() {
    let first = Run::new(&json!({}));
    first.report();
    for order in 0..3 {
        let again = Run::new(&json!({}));
        Local::new()
            .seed(order)
            .shuffled(order)
            .run_app(&APP, &again.config)
            .unwrap();
        for file in ["rounds.csv", "training.csv"] {
            assert_eq!(again.file(file), first.file(file));
        }
    }
    let other = Run::new(&json!({ "seed": 2 }));
    other.report();
    assert_ne!(other.file("rounds.csv"), first.file("rounds.csv"));
}

/// Each option changes what is learnt; none is only accepted.
#[test]
fn every_option_has_an_effect() {
    let base = Run::new(&json!({}));
    base.report();
    for option in [
        json!({ "clients": 5 }),
        json!({ "rounds": 3 }),
        json!({ "participation": 0.5 }),
        json!({ "alpha": 0.5 }),
        json!({ "epochs": 2 }),
        json!({ "batch_size": 16 }),
        json!({ "lr": 0.05 }),
        json!({ "samples": 300 }),
        json!({ "test_samples": 90 }),
        json!({ "train": false }),
        json!({ "test": false }),
        json!({ "seed": 3 }),
        json!({ "model": "taps" }),
    ] {
        let run = Run::new(&option);
        run.report();
        assert_ne!(run.file("rounds.csv"), base.file("rounds.csv"), "{option}");
    }
}

#[test]
fn tables_have_a_line_for_each_round_client_and_epoch() {
    let run = Run::new(&json!({ "epochs": 2, "batch_size": 30 }));
    let report = run.report();
    let rounds = run.file("rounds.csv");
    let lines: Vec<Vec<&str>> = rounds
        .lines()
        .map(|line| line.split(',').collect())
        .collect();
    assert_eq!(
        lines[0].join(","),
        "round,clients,samples,train_loss,test_loss,test_accuracy"
    );
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[2][..3], ["2", "4", "400"]);
    assert_eq!(lines[2][5], value(&report, "test-accuracy").to_string());
    let training = run.file("training.csv");
    assert_eq!(training.lines().count(), 1 + 2 * 4 * 2);
    assert!(training.contains("\n2,3,2,4,1"), "{training}");
}

#[test]
fn without_training_the_weights_stay() {
    let run = Run::new(&json!({ "train": false }));
    let report = run.report();
    assert!(report.passed(), "{report:?}");
    let table = run.file("rounds.csv");
    let losses: Vec<f64> = table
        .lines()
        .skip(1)
        .map(|line| line.split(',').nth(4).unwrap().parse().unwrap())
        .collect();
    assert!(
        (losses[0] - losses[1]).abs() < 1e-5 && (losses[0] - 2.3).abs() < 0.1,
        "{losses:?}"
    );
    let none = Run::new(&json!({ "train": false, "test": false }));
    assert!(none.report().passed());
    assert!(none.file("rounds.csv").ends_with("2,4,400,,,\n"));
    assert!(!none.tasks().contains(&"test_model"));
}

#[test]
fn a_run_that_diverges_fails_its_checks() {
    for (lr, model, finite) in [(1000.0, "mlp", true), (1e6, "taps", false)] {
        let options = json!({ "lr": lr, "model": model, "epochs": 3, "samples": 100 });
        let run = Run::new(&options);
        let report = run.report();
        assert_eq!(passed(&report, "finite"), Some(finite), "{report:?}");
        assert_eq!(passed(&report, "train-loss"), Some(false), "{report:?}");
        // A host must be able to read it.
        let text = serde_json::to_string(&report).unwrap();
        assert!(serde_json::from_str::<Report>(&text).is_ok(), "{text}");
    }
}

#[test]
fn an_accuracy_that_is_too_low_is_a_failed_check() {
    let report = Run::new(&json!({ "min_accuracy": 1.0, "lr": 0.0001 })).report();
    assert_eq!(passed(&report, "test-accuracy"), Some(false), "{report:?}");
    let report = Run::new(&json!({ "lr": 0.0001 })).report();
    assert_eq!(passed(&report, "test-accuracy"), None, "{report:?}");
    assert!(report.passed(), "{report:?}");
}

#[test]
fn wrong_configurations() {
    for (options, message) in [
        (
            json!({ "participation": 0.0 }),
            "participation = 0: expected a number above 0, up to 1",
        ),
        (
            json!({ "participation": 1.5 }),
            "participation = 1.5: expected",
        ),
        (
            json!({ "alpha": 0.0 }),
            "alpha = 0: expected a number above 0",
        ),
        (
            json!({ "lr": -0.1 }),
            "lr = -0.1: expected a number above 0",
        ),
        (
            json!({ "clients": 401 }),
            "clients = 401: expected at most the number of samples, 400",
        ),
        (
            json!({ "clients": 0 }),
            "clients = 0: expected a whole number from 1",
        ),
        (
            json!({ "device": "cuda" }),
            "device = \"cuda\": expected one of cpu",
        ),
        (
            json!({ "dataset": "mnist" }),
            "data_dir = none: expected the directory with the files",
        ),
        (
            json!({ "dataset": "svhn" }),
            "dataset = \"svhn\": expected one of mnist, fmnist, cifar10, cifar100, generated",
        ),
        (
            json!({ "batch_size": 0 }),
            "batch_size = 0: expected a whole number from 1",
        ),
    ] {
        let error = Run::new(&options).error();
        assert!(error.contains(message), "{options}: {error}");
    }
    let directory = data::directory(20);
    let options = json!({ "data_dir": directory.path(), "clients": 21, "samples": null });
    let error = Run::new(&options).error();
    assert!(
        error.contains("clients = 21: expected at most the number of samples, 20"),
        "{error}"
    );
    let options = json!({ "data_dir": directory.path(), "dataset": "generated" });
    assert!(
        Run::new(&options)
            .error()
            .contains("expected none, because dataset = generated")
    );
}

#[test]
fn averages_are_weighted_by_samples() {
    let (average, averaged) = testing::run(|engine| {
        let weights = [
            Array::from_slice(&[1.0_f32, 0.0]),
            Array::from_slice(&[5.0_f32, 8.0]),
        ];
        let (average, averaged) = engine.submit(aggregate::call(vec![3, 1], &weights))?;
        Ok((average.result()?, averaged.result()?))
    })
    .unwrap();
    assert_eq!(average.as_slice(), [2.0, 2.0]);
    assert_eq!((averaged.parameters, averaged.clients), (2, 2));
    assert!((averaged.norm - 8.0_f64.sqrt()).abs() < 1e-12);
}

/// The figure that a sound implementation reaches, where the data is.
#[test]
fn mnist_is_learnt() {
    let Some(data) = std::env::var_os("TAPS_WASM_DATA") else {
        return;
    };
    let run = Run::new(&json!({
        "data_dir": std::path::Path::new(&data).join("fedlearn"), "model": "mlp", "clients": 8,
        "rounds": 3, "epochs": 3, "samples": null, "test_samples": null, "min_accuracy": 0.88,
    }));
    let report = run.report();
    assert!(report.passed(), "{report:?}\n{}", run.file("rounds.csv"));
}
