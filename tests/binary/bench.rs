//! `bench`: every cell of a table has its figures, or says why not.

use crate::harness::{Ended, Place, snapshot};
use serde_json::Value;
use std::fmt::Write as _;

/// Runs a bench that prints JSON and writes CSV and a plot, which have to agree.
pub(crate) fn measured(place: &Place, code: i32, args: &[&str]) -> (Ended, Value) {
    let files = ["--csv=figures.csv", "--plot=figures.svg", "--json"];
    let ended = place.call(
        ["bench"]
            .iter()
            .chain(&args[..1])
            .chain(&files)
            .chain(&args[1..]),
    );
    ended.expect(code);
    let json = ended.json();
    assert_eq!(json["bench"], args[0]);
    assert_eq!(json["format"], 1);
    assert_eq!(json["interrupted"], false);
    for pointer in [
        "/environment/hardware/available_cores",
        "/environment/hardware/load_average",
        "/environment/system/kernel",
        "/environment/packages/taps-wasm",
    ] {
        let fact = json.pointer(pointer);
        assert!(fact.is_some_and(|fact| !fact.is_null()), "{pointer}");
    }
    agrees_with_csv(place, json["rows"].as_array().expect("rows"));
    (ended, json)
}

/// Each field of the CSV is in the JSON.
fn agrees_with_csv(place: &Place, rows: &[Value]) {
    let csv = std::fs::read_to_string(place.path().join("figures.csv")).expect("CSV");
    let (header, lines) = csv.split_once('\n').expect("a header");
    let header: Vec<&str> = header.split(',').collect();
    assert_eq!(header.last(), Some(&"notes"));
    // Only notes, which are last, have commas in them.
    let lines: Vec<Vec<&str>> = lines
        .lines()
        .map(|line| line.splitn(header.len(), ',').collect())
        .collect();
    assert_eq!(lines.len(), rows.len());
    for (line, row) in lines.iter().zip(rows) {
        for (name, field) in header.iter().zip(line) {
            let name = *name;
            let parts = ["half_width", "median", "least", "most"];
            let part = parts
                .iter()
                .find(|part| name.ends_with(&format!("_{part}")));
            let value = match (name, part) {
                ("repeats" | "notes", _) => continue,
                (_, Some(part)) => &row[&name[..name.len() - part.len() - 1]][*part],
                _ if row[name].is_object() => &row[name]["mean"],
                _ => &row[name],
            };
            let text = value.as_str().map(str::to_owned);
            let text = text.unwrap_or_else(|| value.to_string());
            let same = match (field.parse::<f64>(), value.as_f64()) {
                (Ok(field), Some(value)) => field.total_cmp(&value).is_eq(),
                _ => *field == text || field.is_empty() && value.is_null(),
            };
            assert!(same, "{name}: {field} in CSV, {value} in JSON");
        }
    }
}

/// Fails unless each of these figures of a row is above zero, and was measured so often.
pub(crate) fn has(row: &Value, figures: &[&str], repeats: usize) {
    for name in figures {
        let figure = &row[name];
        assert!(figure["mean"].as_f64() > Some(0.0), "{name}: {row}");
        let values = figure["values"].as_array().map(Vec::len);
        assert_eq!(values, Some(repeats), "{name}: {row}");
        assert_eq!(figure["half_width"].is_null(), repeats < 2, "{name}: {row}");
    }
}

/// The plot, which has these words in it.
pub(crate) fn plotted(place: &Place, words: &[&str]) {
    let svg = std::fs::read_to_string(place.path().join("figures.svg")).expect("a plot");
    assert!(svg.starts_with("<svg"), "{svg}");
    for word in words {
        assert!(svg.contains(word), "no `{word}` in {svg}");
    }
}

#[test]
fn data_measures_every_size_way_and_executor() {
    let place = Place::new();
    let (_, json) = measured(
        &place,
        0,
        &[
            "data",
            "--sizes=10kB,2MB",
            "--ways=inline,copied,mapped,file",
            "--repeat=1",
            "--warm-up=0",
        ],
    );
    let rows = json["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 2 * 4 * 2);
    for row in rows {
        assert_eq!(row["slots"], 2);
        if row["way"] == "inline" && row["bytes"] == 2_000_000 {
            let said = "not inline: from 1 MB on apps build payloads in shared memory";
            assert!(
                row["notes"][0] == said && row["round_trip_us"].is_null(),
                "{row}"
            );
            continue;
        }
        assert_eq!(row["notes"], serde_json::json!([]), "{row}");
        has(
            row,
            &["round_trip_us", "round_trip_p90_us", "megabytes_per_s"],
            1,
        );
    }
    let copies = |way: &str, bytes: u64| -> Vec<f64> {
        let wanted = |row: &&Value| row["way"] == way && row["bytes"] == bytes;
        let rows = rows.iter().filter(wanted);
        rows.map(|row| row["copies"]["mean"].as_f64().expect("copies"))
            .collect()
    };
    // The first task of a chain is given its input by the driver; both ways of the others are mapped.
    for mapped in copies("mapped", 2_000_000) {
        assert!(mapped < 1.0, "{mapped}");
    }
    for copied in copies("copied", 2_000_000) {
        assert!(copied >= 2.0, "{copied}");
    }
    plotted(&place, &["process-pool, 2, mapped"]);
}

#[test]
fn data_says_what_it_needs() {
    let place = Place::new();
    let refused = |args: &[&str], said: &str| {
        place
            .call(["bench", "data"].iter().chain(args))
            .expect(2)
            .says(said);
    };
    refused(
        &["--sizes=big"],
        "--sizes: expected sizes from 1B to 2GB, got `big`",
    );
    refused(&["--ways=redis"], "needs the flag --redis");
    refused(
        &["--sizes=1MB,1000kB"],
        "--sizes: expected each item once, got `1000000`",
    );
}

#[test]
fn bad_flags_are_refused_before_anything_runs() {
    let place = Place::new();
    let mut text = String::new();
    for args in [
        &["throughput", "--executors=abacus"][..],
        &["throughput", "--executors=globus"],
        &["throughput", "--workers=0"],
        &["throughput", "--workers=2,2"],
        &["throughput", "--repeat=0"],
        &["throughput", "--warm-up=many"],
        &["throughput", "--tasks=0"],
        &["throughput", "--csv=nowhere/figures.csv"],
        &["latency", "--plot=."],
        &["latency", "--tasks=1"],
        &["apps", "--apps=chess"],
        &["apps", "--apps=physics,physics"],
        &["sandbox", "--", "--instances=magic"],
        &["startup", "--caches=lukewarm"],
    ] {
        let ended = place.call(["bench"].iter().chain(args));
        assert_eq!(ended.code, Some(2), "{}", ended.text());
        assert_eq!(ended.stdout, "", "{}", ended.text());
        writeln!(text, "$ {}\n{}", args.join(" "), ended.stderr).expect("text");
    }
    assert!(place.names().is_empty(), "{:?}", place.names());
    snapshot!(text);
}

/// What cannot start is a note of its row; the others are measured, and the exit code says that something failed.
#[test]
fn an_executor_that_cannot_start_is_a_note() {
    let place = Place::new();
    let (ended, json) = measured(
        &place,
        6,
        &[
            "throughput",
            "--executors=dask,thread-pool",
            "--python=/nonexistent/python",
            "--workers=1",
            "--tasks=50",
            "--repeat=1",
            "--warm-up=1",
        ],
    );
    ended.says("1 of 2 cells failed, dask, 1 first");
    let rows = json["rows"].as_array().expect("rows");
    assert!(rows[0]["tasks_per_s"].is_null(), "{}", rows[0]);
    let note = rows[0]["notes"][0].as_str().expect("a note");
    assert!(note.contains("/nonexistent/python"), "{note}");
    has(&rows[1], &["tasks_per_s"], 1);
    plotted(&place, &["thread-pool"]);
}
