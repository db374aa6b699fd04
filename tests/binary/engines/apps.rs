//! Each app that needs no native program gives on an engine what it gives on threads.

use super::{DASK, Found, KEPT, PARSL, RAY, THREADS, Turn};
use crate::{harness::Place, pool::Left};
use std::sync::LazyLock;

/// Small runs with data between their tasks. The guest's kernels give the same bits each time.
const APPS: [&[&str]; 6] = [
    &[
        "cholesky",
        "--app.matrix-size=60",
        "--app.block-size=20",
        "--kernels=guest",
    ],
    &[
        "fedlearn",
        "--app.clients=3",
        "--app.rounds=2",
        "--app.samples=300",
        "--app.test-samples=60",
    ],
    &[
        "mapreduce",
        "--app.generate=true",
        "--app.generated-files=3",
        "--app.generated-words=300",
        "--app.map-tasks=3",
    ],
    &[
        "physics",
        "--app.simulations=4",
        "--app.total-time=1",
        "--app.terrain-width=10",
        "--app.terrain-resolution=6",
        "--app.terrain-scale=4",
    ],
    &[
        "synthetic",
        "--app.structure=reduce",
        "--app.task-count=4",
        "--app.task-data-bytes=300000",
    ],
    &[
        "failures",
        "--app.base=synthetic",
        "--app.failure-type=zero-division",
        "--app.attempts=0",
        "--app.config.structure=sequential",
        "--app.config.task-count=4",
        "--app.config.task-data-bytes=70000",
        "--retries=2",
    ],
];

/// What they find out on threads, and how many tasks succeed and are tried again.
static EXPECTED: LazyLock<Vec<(Found, [u64; 2])>> = LazyLock::new(|| {
    let expected = APPS.map(|app| {
        let place = Place::new();
        let (ended, json) = place.json(&[app, &THREADS].concat());
        ended.expect(0);
        let run = crate::harness::run_dir(&json);
        (Found::of(&json, &run), counts(&json))
    });
    expected.into()
});

fn counts(json: &serde_json::Value) -> [u64; 2] {
    ["succeeded", "retried"].map(|name| json["tasks"][name].as_u64().expect("a number"))
}

/// Each task's attempts ran once, and each says so.
#[track_caller]
fn ran_once(left: &Left) {
    for task in left.tasks() {
        assert_eq!(task["executions"], 1, "{task}");
    }
}

#[track_caller]
fn same(turn: &Turn, app: usize, more: &[&str]) {
    let left = turn.start(&[APPS[app], more]).end();
    left.expect(0);
    let json = left.json();
    let found = Found::of(&json, &left.run());
    assert_eq!(
        (found, counts(&json)),
        EXPECTED[app],
        "{:?} {more:?}",
        APPS[app]
    );
    ran_once(&left);
}

/// All of them, on an engine.
fn all(engine: &[&str]) {
    for app in 0..APPS.len() {
        let Some(turn) = Turn::take() else { return };
        same(&turn, app, engine);
    }
}

#[test]
fn on_dask() {
    all(&DASK);
}

#[test]
fn on_ray() {
    all(&RAY);
}

#[test]
fn on_parsl() {
    all(&PARSL);
}

/// Without an own choice an engine of this machine's shares files: that is what the tests above do.
#[test]
fn however_payloads_travel() {
    for engine in [&DASK, &RAY] {
        for data in [&KEPT, &["--executor.data=inline"]] {
            let Some(turn) = Turn::take() else { return };
            same(&turn, 0, &[&engine[..], data].concat());
        }
    }
}

#[test]
fn in_batches() {
    let batches = ["--executor.batch-max=8", "--executor.batch-linger-ms=2"];
    for engine in [&DASK, &PARSL] {
        let Some(turn) = Turn::take() else { return };
        same(&turn, 4, &[&engine[..], &batches].concat());
    }
}
