//! `export`: what the formats say of runs, against the records and the report of the same runs.

use crate::{
    export::{self, exported, support},
    harness::{Place, skip, snapshot, tasks},
    report::{CHOLESKY, FAULTY, model},
};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use rusqlite::Connection;
use serde_json::Value;
use std::{env, fs::File, path::Path};

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

/// The one number that a query gives.
#[track_caller]
fn ask(database: &Connection, query: &str) -> i64 {
    database
        .query_row(query, [], |row| row.get(0))
        .unwrap_or_else(|error| panic!("{query}: {error}"))
}

#[track_caller]
fn database(place: &Place, run: &Path) -> Connection {
    let path = exported(place, run, &["--format=sqlite"]);
    let database = Connection::open(path).expect("a database");
    let violations = "SELECT count(*) FROM pragma_foreign_key_check";
    assert_eq!(
        ask(&database, violations),
        0,
        "what is referred to is there"
    );
    database
}

/// Sum of a member of the payloads of all lines.
fn moved(lines: &[Value], of: &str, what: &str) -> u64 {
    let payloads = lines
        .iter()
        .filter_map(|line| line[of].as_array())
        .flatten();
    payloads.map(|payload| number(&payload[what])).sum()
}

/// Sum over lines, as far as they have it.
fn sum(lines: &[Value], of: impl Fn(&Value) -> Option<u64>) -> u64 {
    lines.iter().filter_map(of).sum()
}

#[test]
fn tables_agree_with_the_records_and_the_report() {
    for arguments in [&FAULTY[..], &CHOLESKY[..]] {
        let place = Place::new();
        place.run(arguments).expect(0);
        let run = place.only_run();
        let (lines, model) = (tasks(&run), model(&place, &run));
        let database = database(&place, &run);
        let ask = |query: &str| u64::try_from(ask(&database, query)).expect("no less than nothing");
        let finals: Vec<Value> = lines
            .iter()
            .filter(|line| line["final"] == true)
            .cloned()
            .collect();
        let counts = &model["counts"];
        for (query, expected) in [
            ("SELECT count(*) FROM tasks", finals.len() as u64),
            ("SELECT count(*) FROM tasks", number(&counts["submitted"])),
            (
                "SELECT count(*) FROM tasks WHERE outcome = 'ok'",
                number(&counts["succeeded"]),
            ),
            ("SELECT count(*) FROM attempts", number(&counts["attempts"])),
            (
                "SELECT count(*) FROM failures WHERE retried",
                number(&counts["retried"]),
            ),
            (
                "SELECT count(*) FROM dependencies",
                number(&model["graph"]["total_edges"]),
            ),
            (
                "SELECT sum(parents) FROM tasks",
                number(&model["graph"]["total_edges"]),
            ),
            (
                "SELECT count(*) FROM workers",
                model["workers"].as_array().expect("workers").len() as u64,
            ),
            (
                "SELECT sum(bytes) FROM transfers WHERE direction = 'input'",
                moved(&lines, "inputs", "bytes"),
            ),
            (
                "SELECT sum(bytes) FROM transfers WHERE direction = 'output'",
                moved(&lines, "outputs", "bytes"),
            ),
            (
                "SELECT sum(input_bytes) FROM attempts",
                moved(&lines, "inputs", "bytes"),
            ),
            (
                "SELECT sum(copies) FROM attempts",
                sum(&lines, |line| line["copies"].as_u64()),
            ),
            (
                "SELECT sum(copies) FROM transfers",
                sum(&lines, |line| line["copies"].as_u64()),
            ),
            (
                "SELECT sum(ended_ns) FROM tasks",
                sum(&finals, |line| line["monotonic_received_ns"].as_u64()),
            ),
            (
                "SELECT sum(dispatched_ns) FROM attempts",
                sum(&lines, |line| line["monotonic_dispatch_ns"].as_u64()),
            ),
            (
                "SELECT sum(received_ns) FROM attempts",
                sum(&lines, |line| line["monotonic_execution_start_ns"].as_u64()),
            ),
            (
                "SELECT sum(task_start_ns) FROM attempts",
                sum(&lines, |line| line["monotonic_task_start_ns"].as_u64()),
            ),
            (
                "SELECT sum(task_end_ns) FROM attempts",
                sum(&lines, |line| line["monotonic_task_end_ns"].as_u64()),
            ),
            (
                "SELECT sum(finished_ns) FROM attempts",
                sum(&lines, |line| line["monotonic_execution_end_ns"].as_u64()),
            ),
            (
                "SELECT max(peak_memory_bytes) FROM attempts",
                number(&model["memory"]["largest_bytes"]),
            ),
            (
                "SELECT count(*) FROM run WHERE state = 'finished' AND notes = '' AND exit_code = 0",
                1,
            ),
        ] {
            assert_eq!(ask(query), expected, "{query}");
        }
        let compute_ns =
            ask("SELECT cast(round(sum(compute_s) * 1e9) AS INTEGER) FROM attempt_times");
        let expected = model["time"]["compute_s"].as_f64().expect("a sum");
        assert!(
            (compute_ns as f64 / 1e9 - expected).abs() < 1e-6,
            "{compute_ns} {expected}"
        );
        let by_name = ask("SELECT sum(tasks) FROM by_name");
        assert_eq!(by_name, finals.len() as u64);
        let names = ask("SELECT count(*) FROM by_name");
        assert_eq!(
            names,
            model["names"].as_array().expect("names").len() as u64
        );
        same_rows(&place, &run, &database);
    }
}

/// Parquet files have as many rows and columns as the database.
#[track_caller]
fn same_rows(place: &Place, run: &Path, database: &Connection) {
    let files = exported(place, run, &["--format=parquet"]);
    for table in taps_export::tables() {
        let file = File::open(files.join(format!("{}.parquet", table.name))).expect("a file");
        let reader = SerializedFileReader::new(file).expect("a Parquet file");
        let metadata = reader.metadata().file_metadata();
        let rows = ask(database, &format!("SELECT count(*) FROM {}", table.name));
        assert_eq!(metadata.num_rows(), rows, "{}", table.name);
        let columns: Vec<&str> = metadata
            .schema_descr()
            .columns()
            .iter()
            .map(|column| column.name())
            .collect();
        let expected: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
        assert_eq!(columns, expected, "{}", table.name);
    }
}

#[test]
fn a_trace_agrees_with_the_records() {
    for arguments in [&FAULTY[..], &CHOLESKY[..]] {
        let place = Place::new();
        place.run(arguments).expect(0);
        let run = place.only_run();
        let lines = tasks(&run);
        let trace = support::sound_trace(&export::text(&place, &run, &["--format=perfetto"]));
        assert_eq!(trace.attempts().count(), lines.len());
        let time = |line: &Value, name: &str| u128::from(number(&line[name]));
        for line in &lines {
            let id: u64 = line["task_id"]
                .as_str()
                .expect("an id")
                .parse()
                .expect("a number");
            let attempt = trace
                .attempts()
                .find(|slice| {
                    let args = &slice.event["args"];
                    args["task"] == id && args["attempt"] == line["attempt"]
                })
                .expect("its slice");
            assert_eq!(attempt.from_ns, time(line, "monotonic_execution_start_ns"));
            assert_eq!(attempt.to_ns, time(line, "monotonic_execution_end_ns"));
            assert_eq!(attempt.event["name"], line["name"]);
            assert_eq!(attempt.event["args"]["outcome"], line["outcome"]);
            let compute = trace
                .parts(attempt)
                .find(|part| part.event["name"] == "compute");
            let compute = compute.expect("the task function");
            assert_eq!(compute.from_ns, time(line, "monotonic_task_start_ns"));
            assert_eq!(compute.to_ns, time(line, "monotonic_task_end_ns"));
        }
        let failed = lines.iter().filter(|line| line["success"] == false).count();
        assert_eq!(trace.named("i", "retried").len(), failed);
        let arrows: usize = lines
            .iter()
            .map(|line| {
                let parents = line["parent_task_ids"].as_array().expect("parents");
                let unique: std::collections::BTreeSet<_> =
                    parents.iter().map(Value::to_string).collect();
                unique.len()
            })
            .sum();
        assert_eq!(trace.named("s", "dependency").len(), arrows);
        let (_, last) = *trace.named("C", "tasks").last().expect("counters");
        assert_eq!(
            last["args"],
            serde_json::json!({"running": 0, "waiting": 0})
        );
        assert_eq!(trace.other["state"], "finished");
    }
}

#[test]
fn instances_agree_with_the_records_and_the_schema() {
    for arguments in [&FAULTY[..], &CHOLESKY[..]] {
        let place = Place::new();
        place.run(arguments).expect(0);
        let run = place.only_run();
        let lines = tasks(&run);
        let finals: Vec<Value> = lines
            .iter()
            .filter(|line| line["final"] == true)
            .cloned()
            .collect();
        for version in ["1.6", "1.5"] {
            let flag = format!("--wfformat-version={version}");
            let text = export::text(&place, &run, &["--format=wfformat", &flag]);
            let instance: Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(instance["schemaVersion"], version);
            support::sound_instance(&instance);
            let executed = instance["workflow"]["execution"]["tasks"]
                .as_array()
                .expect("tasks");
            assert_eq!(executed.len(), finals.len());
            let runtime: f64 = executed
                .iter()
                .map(|task| task["runtimeInSeconds"].as_f64().expect("a number"))
                .sum();
            let expected = sum(&finals, |line| {
                let from = line["monotonic_execution_start_ns"].as_u64()?;
                Some(line["monotonic_execution_end_ns"].as_u64()? - from)
            });
            assert!(
                (runtime - expected as f64 / 1e9).abs() < 1e-6,
                "{runtime} {expected}"
            );
            let written: u64 = executed
                .iter()
                .map(|task| number(&task["writtenBytes"]))
                .sum();
            assert_eq!(written, moved(&finals, "outputs", "bytes"));
            let parents: usize = finals
                .iter()
                .map(|line| line["parent_task_ids"].as_array().map_or(0, Vec::len))
                .sum();
            let specified = instance["workflow"]["specification"]["tasks"].as_array();
            let listed: usize = specified
                .expect("tasks")
                .iter()
                .map(|task| task["parents"].as_array().map_or(0, Vec::len))
                .sum();
            assert!(
                listed <= parents && (listed > 0) == (parents > 0),
                "{listed} {parents}"
            );
            let machine = &instance["workflow"]["execution"]["machines"][0];
            assert_eq!(machine["architecture"], env::consts::ARCH);
            expect_schema(instance);
        }
    }
}

/// Fails unless an instance is as WfCommons' schema has it, where one is given. All that 1.6 adds is optional: it is
/// checked against the schema of 1.5, too.
#[track_caller]
fn expect_schema(mut instance: Value) {
    let Some(path) = env::var_os("WFFORMAT_SCHEMA") else {
        skip("WFFORMAT_SCHEMA is not set");
        return;
    };
    let text = std::fs::read_to_string(path).expect("the schema");
    let mut schema: Value = serde_json::from_str(&text).expect("JSON");
    let versions = schema["properties"]["schemaVersion"]["enum"].clone();
    let versions = versions.as_array().expect("versions");
    if !versions.contains(&instance["schemaVersion"]) {
        instance["schemaVersion"] = versions[0].clone();
    }
    // The address of no draft in particular, which means the latest of its time.
    if schema["$schema"] == "http://json-schema.org/schema#" {
        schema["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    }
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let errors: Vec<String> = validator
        .iter_errors(&instance)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
    instance["workflow"]["specification"]["tasks"][0]["id"] = 7.into();
    assert!(!validator.is_valid(&instance), "the schema is of use");
}

#[test]
fn columns_of_the_database_are_as_documented() {
    let place = Place::new();
    place.run(&CHOLESKY).expect(0);
    let database = database(&place, &place.only_run());
    let mut statement = database
        .prepare("SELECT sql FROM sqlite_schema WHERE sql NOT NULL AND name NOT LIKE 'sqlite%' ORDER BY rowid")
        .expect("a query");
    let sql: Vec<String> = statement
        .query_map([], |row| row.get(0))
        .expect("rows")
        .map(|row| row.expect("a row"))
        .collect();
    snapshot!(sql.join(";\n"));
}
