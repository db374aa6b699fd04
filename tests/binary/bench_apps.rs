//! `bench apps` and `bench sandbox`: the built-in apps on executors, in sandboxes and without.

use crate::{
    bench::{has, measured, plotted},
    harness::Place,
};

#[test]
fn apps_have_makespans() {
    let place = Place::new();
    let args = [
        "apps",
        "--apps=physics,synthetic",
        "--executors=thread-pool,native",
        "--repeat=1",
        "--warm-up=0",
    ];
    let (_, json) = measured(&place, 0, &args);
    let rows = json["rows"].as_array().expect("rows");
    let apps: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row["app"].as_str().expect("a name"),
                row["executor"].as_str().expect("a name"),
            )
        })
        .collect();
    assert_eq!(
        apps,
        [
            ("physics", "thread-pool"),
            ("physics", "native"),
            ("synthetic", "thread-pool"),
            ("synthetic", "native")
        ]
    );
    for row in rows {
        assert_eq!(row["slots"], 2);
        has(row, &["makespan_s", "cpu_s", "tasks"], 1);
    }
    // The same work, whoever runs it.
    assert_eq!(rows[0]["tasks"]["mean"], rows[1]["tasks"]["mean"]);
    plotted(&place, &["physics", "synthetic", "native, 2", "seconds"]);
}

#[test]
fn sandboxes_are_set_against_plain_functions() {
    let place = Place::new();
    let args = [
        "sandbox",
        "--apps=physics,mapreduce",
        "--executors=thread-pool",
        "--repeat=2",
        "--warm-up=0",
    ];
    let (_, json) = measured(&place, 0, &args);
    let rows = json["rows"].as_array().expect("rows");
    let modes: Vec<_> = rows
        .iter()
        .map(|row| row["instances"].as_str().expect("a mode"))
        .collect();
    assert_eq!(modes, ["none", "fresh", "reuse", "none", "fresh", "reuse"]);
    for row in rows {
        assert_eq!(row["slots"], 1);
        has(
            row,
            &[
                "cpu_s",
                "cpu_ratio",
                "compute_s",
                "compute_ratio",
                "around_us",
            ],
            2,
        );
    }
    for native in rows.iter().filter(|row| row["executor"] == "native") {
        assert_eq!(native["cpu_ratio"]["mean"], 1.0, "{native}");
    }
    plotted(
        &place,
        &["physics", "thread-pool, 1, fresh", "thread-pool, 1, reuse"],
    );
}
