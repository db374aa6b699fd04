//! `bench startup`: a process from exec to exit, in layers.

use crate::{
    bench::{has, measured, plotted},
    harness::Place,
};

#[test]
fn startup_tells_cold_from_warm_and_sums_up() {
    let place = Place::new();
    let args = [
        "startup",
        "--executors=thread-pool",
        "--repeat=1",
        "--warm-up=0",
    ];
    let (_, json) = measured(&place, 0, &args);
    let rows = json["rows"].as_array().expect("rows");
    let states: Vec<_> = rows
        .iter()
        .map(|row| row["cache"].as_str().expect("a state"))
        .collect();
    assert_eq!(states, ["cold", "warm"]);
    let layers = ["configure_ms", "load_ms", "start_ms", "task_ms", "end_ms"];
    for row in rows {
        has(row, &layers, 1);
        has(row, &["whole_ms"], 1);
        let mean = |name: &str| row[name]["mean"].as_f64().expect("a number");
        let sum: f64 = layers.iter().map(|layer| mean(layer)).sum();
        assert!((sum - mean("whole_ms")).abs() < 0.01, "{row}");
    }
    // Only the cold one compiles, which is most of what it does.
    let share = |row: &serde_json::Value| {
        let mean = |name: &str| row[name]["mean"].as_f64().expect("a number");
        mean("load_ms") / mean("whole_ms")
    };
    assert!(share(&rows[0]) > share(&rows[1]), "{rows:?}");
    plotted(
        &place,
        &["thread-pool, 2, cold", "configure", "milliseconds"],
    );
}

#[test]
fn startup_of_an_engine_that_is_not_there_is_a_note() {
    let place = Place::new();
    let args = [
        "startup",
        "--executors=ray",
        "--caches=warm",
        "--repeat=1",
        "--python=/nonexistent/python",
    ];
    let (_, json) = measured(&place, 6, &args);
    let note = json["rows"][0]["notes"][0].as_str().expect("a note");
    assert!(note.contains("/nonexistent/python"), "{note}");
    assert!(json["rows"][0]["whole_ms"].is_null());
    assert!(
        !place.path().join("figures.svg").exists(),
        "there was nothing to plot"
    );
}
