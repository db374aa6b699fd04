//! `bench metg`: a row for each size of task, and one with the result for each series.

use crate::{
    bench::{has, measured, plotted},
    harness::{Place, snapshot},
};
use serde_json::{Value, json};

/// Sizes so far apart that the largest tasks are surely work, and the smallest surely are not.
const FAR_APART: [&str; 5] = [
    "--most-iterations=100000",
    "--least-iterations=1",
    "--factor=1024",
    "--steps=4",
    "--width=4",
];

fn rows<'a>(json: &'a Value, pattern: &str) -> Vec<&'a Value> {
    let rows = json["rows"].as_array().expect("rows");
    rows.iter()
        .filter(|row| row["pattern"] == pattern)
        .collect()
}

#[test]
fn every_pattern_is_measured_at_every_size_on_every_executor() {
    let place = Place::new();
    let args = [
        &[
            "metg",
            "--executors=thread-pool,native",
            "--repeat=2",
            "--warm-up=0",
        ],
        &FAR_APART[..],
    ];
    let (_, json) = measured(&place, 0, &args.concat());
    let rows = json["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 2 * 11 * (3 + 1));
    for row in rows {
        assert_eq!(
            (&row["slots"], &row["kernel"]),
            (&json!(2), &json!("compute"))
        );
        if row["iterations"].is_null() {
            // Either a figure, or words on why there is none.
            let noted = row["notes"]
                .as_array()
                .is_some_and(|notes| !notes.is_empty());
            assert!(
                noted || row["metg_us"]["mean"].as_f64() > Some(0.0),
                "{row}"
            );
            continue;
        }
        has(row, &["rate_per_s", "granularity_us", "efficiency"], 2);
        if row["pattern"] == "trivial" && row["iterations"] == 100_000 {
            assert_eq!(row["efficiency"]["values"], json!([1.0, 1.0]));
        }
        if row["iterations"] == 1 {
            assert!(row["efficiency"]["mean"].as_f64() < Some(0.5), "{row}");
        }
    }
    plotted(
        &place,
        &["thread-pool, 2, fft", "native, 2, dom", "efficiency"],
    );
}

#[test]
fn the_result_lies_between_sizes_that_have_and_have_not_the_efficiency() {
    let place = Place::new();
    let args = [
        &[
            "metg",
            "--executors=thread-pool",
            "--workers=1",
            "--patterns=trivial",
        ],
        &FAR_APART[..],
    ];
    let (_, json) = measured(&place, 0, &args.concat());
    let rows = rows(&json, "trivial");
    assert_eq!(rows.len(), 4);
    let number = |row: &Value, name: &str| row[name]["mean"].as_f64().expect("a number");
    has(rows[3], &["metg_us"], 3);
    let metg = number(rows[3], "metg_us");
    assert!(metg < number(rows[0], "granularity_us"), "{json}");
    assert!(metg > 0.0 && rows[3]["iterations"].is_null());
}

#[test]
fn the_yardstick_is_measured_when_trivial_is_not_asked_for() {
    let place = Place::new();
    let args = [
        &[
            "metg",
            "--executors=native",
            "--patterns=tree",
            "--kernel=imbalanced",
            "--repeat=1",
            "--warm-up=0",
        ],
        &FAR_APART[..],
    ];
    let (_, json) = measured(&place, 0, &args.concat());
    assert_eq!(rows(&json, "trivial").len(), 1);
    assert_eq!(rows(&json, "tree").len(), 4);
    has(rows(&json, "tree")[0], &["efficiency"], 1);
}

#[test]
fn what_is_not_reached_is_said() {
    let place = Place::new();
    // Tasks that hardly differ: both sizes are as large as the yardstick, or nearly.
    let args = [
        "metg",
        "--executors=native",
        "--patterns=no-comm",
        "--workers=1",
        "--most-iterations=200000",
        "--least-iterations=199999",
        "--steps=3",
        "--efficiency=0.01",
        "--repeat=1",
    ];
    let (_, json) = measured(&place, 0, &args);
    let last = rows(&json, "no-comm")[2];
    assert!(last["metg_us"].is_null(), "{last}");
    let note = last["notes"][0].as_str().expect("a note");
    let begin =
        "no METG: the smallest tasks still have 1 % in 1 of 1 repeats, so that it is below ";
    assert!(note.starts_with(begin), "{note}");
}

#[test]
fn memory_is_a_kernel_too() {
    let place = Place::new();
    let args = [
        "metg",
        "--executors=process-pool",
        "--patterns=stencil",
        "--kernel=memory",
        "--kernel-bytes=4096",
        "--most-iterations=1000",
        "--least-iterations=10",
        "--factor=100",
        "--steps=2",
        "--repeat=1",
        "--warm-up=0",
    ];
    let (_, json) = measured(&place, 0, &args);
    assert_eq!(json["settings"]["kernel_bytes"], 4096);
    for row in &rows(&json, "stencil")[..2] {
        has(row, &["rate_per_s", "granularity_us", "efficiency"], 1);
    }
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let place = Place::new();
    let mut said = String::new();
    for args in [
        &["--least-iterations=10", "--most-iterations=10"][..],
        &["--efficiency=1"],
        &["--patterns=fft,fft"],
        &["--patterns=star"],
        &["--executors=nothing"],
    ] {
        let ended = place.call(["bench", "metg"].iter().chain(args));
        ended.expect(2);
        said += &ended.text();
    }
    snapshot!(said);
}
