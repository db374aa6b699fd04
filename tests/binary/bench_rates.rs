//! `bench throughput` and `bench latency`: tasks that do nothing.

use crate::{
    bench::{has, measured, plotted},
    harness::{Place, Running, engines_python, names},
};
use std::{path::Path, thread, time::Duration};

#[test]
fn throughput_measures_every_executor_and_number_of_workers() {
    let place = Place::new();
    let executors = "--executors=thread-pool,process-pool,native";
    let (_, json) = measured(
        &place,
        0,
        &[
            "throughput",
            executors,
            "--workers=2,1",
            "--tasks=300",
            "--repeat=2",
        ],
    );
    assert_eq!(json["settings"]["tasks"], 300);
    assert_eq!(json["settings"]["repeat"], 2);
    let rows = json["rows"].as_array().expect("rows");
    let keys: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row["executor"].as_str().expect("a name"),
                row["slots"].as_u64(),
            )
        })
        .collect();
    let each =
        ["thread-pool", "process-pool", "native"].map(|name| [(name, Some(1)), (name, Some(2))]);
    assert_eq!(keys, each.concat());
    for row in rows {
        has(row, &["tasks_per_s", "cpu_per_task_us", "efficiency"], 2);
        if row["slots"] == 1 {
            assert_eq!(row["efficiency"]["mean"], 1.0, "{row}");
        }
    }
    plotted(&place, &["process-pool", "native", "tasks per second"]);
}

#[test]
fn throughput_without_one_worker_has_no_efficiency() {
    let place = Place::new();
    let args = [
        "throughput",
        "--executors=thread-pool",
        "--workers=2",
        "--tasks=100",
        "--repeat=1",
        "--warm-up=0",
    ];
    let (_, json) = measured(&place, 0, &args);
    has(&json["rows"][0], &["tasks_per_s"], 1);
    assert!(json["rows"][0]["efficiency"].is_null());
}

#[test]
fn latency_is_a_distribution() {
    let place = Place::new();
    let (_, json) = measured(
        &place,
        0,
        &["latency", "--tasks=60", "--repeat=2", "--warm-up=0"],
    );
    let rows = json["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert_eq!(row["slots"], 1);
        let names = ["p50_us", "p90_us", "p99_us", "max_us"];
        has(row, &names, 2);
        has(row, &["mean_us"], 2);
        let means = names.map(|name| row[name]["mean"].as_f64().expect("a number"));
        assert!(means.is_sorted(), "{row}");
        let distribution: Vec<f64> =
            serde_json::from_value(row["distribution"].clone()).expect("numbers");
        assert_eq!(distribution.len(), 101);
        assert!(distribution.is_sorted(), "{row}");
        // The largest of all repeats is the largest of one of them.
        assert_eq!(distribution.last().copied(), row["max_us"]["most"].as_f64());
    }
    plotted(&place, &["thread-pool, 1", "per cent that took no longer"]);
}

/// An engine is told its workers and its interpreter, and is measured as the others are.
#[test]
fn engines_are_measured_as_others() {
    let Some(python) = engines_python() else {
        return;
    };
    let place = Place::new();
    let python = format!("--python={}", python.display());
    let args = [
        "throughput",
        "--executors=dask,native",
        "--workers=2",
        "--tasks=20",
        "--repeat=1",
        "--warm-up=0",
        &python,
    ];
    let (_, json) = measured(&place, 0, &args);
    let rows = json["rows"].as_array().expect("rows");
    for (row, executor) in rows.iter().zip(["dask", "native"]) {
        assert_eq!(row["executor"], executor);
        assert_eq!(row["slots"], 2);
        has(row, &["tasks_per_s", "cpu_per_task_us"], 1);
    }
}

/// Without `--json` the same rows are a table.
#[test]
fn a_table_has_a_line_for_each_row() {
    let place = Place::new();
    let args = [
        "bench",
        "latency",
        "--tasks=10",
        "--repeat=1",
        "--warm-up=0",
        "--executors=thread-pool,native",
    ];
    let ended = place.call(args);
    ended.expect(0);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{}", ended.stdout);
    let starts = |line: &str, words: &[&str]| {
        let found: Vec<_> = line.split_whitespace().take(words.len()).collect();
        assert_eq!(found, words);
    };
    starts(lines[0], &["executor", "slots", "50", "%", "us"]);
    starts(lines[1], &["thread-pool", "1"]);
    starts(lines[2], &["native", "1"]);
    assert_eq!(ended.stderr, "");
}

/// What follows `--` every run gets: here, less memory than the driver needs.
#[test]
fn flags_of_run_reach_every_run() {
    let place = Place::new();
    let args = [
        "latency",
        "--executors=thread-pool,native",
        "--tasks=10",
        "--",
        "--task-memory=64KiB",
    ];
    let (_, json) = measured(&place, 1, &args);
    let flags = serde_json::json!(["--task-memory=64KiB"]);
    assert_eq!(json["settings"]["run_flags"], flags);
    for row in json["rows"].as_array().expect("rows") {
        assert!(row["p50_us"].is_null(), "{row}");
        let note = row["notes"][0].as_str().expect("a note");
        assert!(note.contains("exceeds the limit of 65536 bytes"), "{note}");
    }
}

/// What was measured until then is shown, and nothing stays behind.
#[test]
fn an_interrupted_bench_shows_what_it_has() {
    let place = Place::new();
    let temporary = place.path().join("tmp");
    std::fs::create_dir(&temporary).expect("a directory");
    let executor = "--executors=process-pool";
    let args = [
        "bench",
        "throughput",
        executor,
        "--workers=1",
        "--tasks=50000000",
        "--json",
    ];
    let mut command = place.command(args);
    command.env("TMPDIR", &temporary);
    let running = Running::new(command, place.path());
    while !has_begun(&temporary) {
        thread::sleep(Duration::from_millis(5));
    }
    running.signal(rustix::process::Signal::INT);
    let ended = running.end();
    ended.expect(130).says("interrupted: rounds are missing");
    let json = ended.json();
    assert_eq!(json["interrupted"], true);
    assert!(json["rows"][0]["tasks_per_s"].is_null());
    assert_eq!(names(&temporary), [""; 0]);
}

/// Whether tasks have ended in the run of a bench.
fn has_begun(temporary: &Path) -> bool {
    let logs = names(temporary)
        .into_iter()
        .map(|name| temporary.join(name).join("run/events.log"));
    let mut sizes = logs
        .filter_map(|log| log.metadata().ok())
        .map(|log| log.len());
    sizes.any(|bytes| bytes > 0)
}
