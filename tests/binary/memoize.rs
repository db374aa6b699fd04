//! `--memoize`: results of pure tasks from run to run, and never a wrong one.

use crate::{
    fault_matrix::{APPS, EXECUTORS, results},
    harness::{Place, names},
};
use serde_json::Value;
use std::{fs, path::PathBuf};

#[track_caller]
fn run(place: &Place, app: &[&str], more: &[&str]) -> Value {
    let (ended, json) = place.json(&[app, &["--memoize=memo"], more].concat());
    ended.expect(0);
    json
}

#[track_caller]
fn memoized(json: &Value) -> (u64, u64) {
    let count = |name: &str| json["tasks"][name].as_u64().expect("a number");
    (count("memoized"), count("submitted"))
}

/// The files of results.
fn files(place: &Place) -> Vec<PathBuf> {
    let memo = place.path().join("memo");
    let folders = names(&memo).into_iter().map(|name| memo.join(name));
    let files = folders.flat_map(|folder| {
        let names = names(&folder).into_iter();
        names.map(move |name| folder.join(name))
    });
    files.collect()
}

#[test]
fn a_second_run_computes_nothing() {
    for app in &APPS[1..] {
        let place = Place::new();
        let first = run(&place, app, &EXECUTORS[0]);
        assert_eq!(memoized(&first).0, 0);
        for executor in EXECUTORS {
            let again = run(&place, app, &executor);
            assert_eq!(results(&again), results(&first));
            let (memoized, submitted) = memoized(&again);
            assert_eq!(memoized, submitted);
        }
    }
}

#[test]
fn results_by_worker_processes_are_kept_too() {
    let place = Place::new();
    let first = run(&place, APPS[1], &EXECUTORS[1]);
    let again = run(&place, APPS[1], &EXECUTORS[0]);
    assert_eq!(results(&again), results(&first));
    assert_eq!(memoized(&again), (memoized(&first).1, memoized(&first).1));
}

#[test]
fn large_results_are_kept_too() {
    let large = ["cholesky", "--app.matrix-size=300", "--app.block-size=150"];
    for executor in EXECUTORS {
        let place = Place::new();
        let first = run(&place, &large, &executor);
        let again = run(&place, &large, &executor);
        assert_eq!(results(&again), results(&first));
        assert_eq!(memoized(&again).0, memoized(&again).1);
    }
}

#[test]
fn another_seed_kernel_or_size_computes_its_own() {
    let place = Place::new();
    let host = ["cholesky", "--app.matrix-size=24", "--app.block-size=8"];
    run(&place, &host, &[]);
    for other in [
        &["--seed=3"][..],
        &["--kernels=guest"],
        &["--app.matrix-size=16"],
    ] {
        let app: Vec<&str> = host
            .iter()
            .copied()
            .filter(|arg| !other[0].starts_with(arg.split('=').next().unwrap_or_default()))
            .collect();
        let plain = results(&Place::new().json(&[&app, other].concat()).1);
        let kept = run(&place, &app, other);
        assert_eq!(results(&kept), plain, "{other:?}");
        assert!(memoized(&kept).0 < memoized(&kept).1, "{other:?}");
    }
}

#[test]
fn another_input_file_computes_its_own() {
    let place = Place::new();
    place.write("books/a.txt", "one two two three three three");
    place.write("books/b.txt", "one two");
    let app = ["mapreduce", "--app.data-dir=books", "--app.map-tasks=2"];
    let first = run(&place, &app, &[]);
    assert_eq!(first["values"]["total"], 8);
    let again = run(&place, &app, &[]);
    assert_eq!(memoized(&again).0, memoized(&again).1);
    place.write("books/a.txt", "one two two three three four!");
    let changed = run(&place, &app, &[]);
    assert_eq!(changed["values"]["total"], 8);
    assert_eq!(changed["values"]["distinct"], 4);
    assert!(memoized(&changed).0 < memoized(&changed).1);
}

#[test]
fn damaged_results_are_computed_again() {
    let place = Place::new();
    let first = run(&place, APPS[1], &[]);
    for damage in 0..3 {
        let files = files(&place);
        assert!(!files.is_empty());
        for file in files {
            let mut bytes = fs::read(&file).expect("read");
            match damage {
                0 => *bytes.last_mut().expect("bytes") ^= 1,
                1 => bytes.truncate(bytes.len() / 2),
                _ => bytes.clear(),
            }
            fs::write(&file, bytes).expect("write");
        }
        let again = run(&place, APPS[1], &[]);
        assert_eq!(results(&again), results(&first), "damage {damage}");
        assert_eq!(memoized(&again).0, 0, "damage {damage}");
        let mended = run(&place, APPS[1], &[]);
        assert_eq!(memoized(&mended).0, memoized(&mended).1, "damage {damage}");
    }
}

#[test]
fn tasks_that_are_not_pure_are_not_kept() {
    let place = Place::new();
    for _ in 0..2 {
        assert_eq!(memoized(&run(&place, APPS[0], &[])).0, 0);
    }
    assert_eq!(files(&place), Vec::<PathBuf>::new());
}

#[test]
fn failures_are_not_kept() {
    let place = Place::new();
    let faults = ["--faults=failure", "--faults.indices=0", "--memoize=memo"];
    let (ended, _) = place.json(&[APPS[1], &faults].concat());
    ended.expect(1);
    let after = run(&place, APPS[1], &[]);
    let (memoized, submitted) = memoized(&after);
    assert!(memoized < submitted, "the failed task runs");
}
