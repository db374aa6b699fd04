//! Logs of any content: whatever is in them, exports are sound, and both kinds of tables have the same rows.

#[path = "../../records/tests/it/support/mod.rs"]
mod records;
mod support;

use parquet::{file::reader::SerializedFileReader, record::Field};
use proptest::{collection::vec, prelude::*};
use records::{any_event, finished, joined, report, started, submitted, whole_task, write_log};
use rusqlite::{Connection, types::ValueRef};
use std::{fs, fs::File, io, path::Path};
use taps_engine::{Failure, OutcomeKind, WorkerId};
use taps_export::{Destination, ExportError, Format, WfVersion, export, tables};
use taps_records::{EVENTS_FILE, LogEvent};

const FORMATS: [Format; 5] = [
    Format::WfFormat(WfVersion::V1_5),
    Format::WfFormat(WfVersion::V1_6),
    Format::Perfetto,
    Format::Parquet,
    Format::Sqlite,
];

fn text(run: &Path, format: Format) -> Result<String, ExportError> {
    let mut text = Vec::new();
    export(run, format, Destination::Stream(&mut text))?;
    Ok(String::from_utf8(text).expect("UTF-8"))
}

fn to(path: &Path) -> Destination<'_> {
    Destination::Path {
        path,
        replace: false,
    }
}

/// Rows as texts, sorted.
type Rows = Vec<Vec<String>>;

fn of_parquet(file: &Path) -> Rows {
    let file = SerializedFileReader::new(File::open(file).expect("open")).expect("a Parquet file");
    let rows = file.into_iter().map(|row| {
        let row = row.expect("a row");
        let cells = row.get_column_iter().map(|(_, field)| match field {
            Field::Null => "null".to_owned(),
            Field::Long(number) => number.to_string(),
            Field::Bool(is) => u8::from(*is).to_string(),
            Field::Str(text) => format!("{text:?}"),
            other => panic!("{other}"),
        });
        cells.collect()
    });
    let mut rows: Rows = rows.collect();
    rows.sort();
    rows
}

fn of_sqlite(database: &Connection, table: &str) -> Rows {
    let mut statement = database
        .prepare(&format!("SELECT * FROM {table}"))
        .expect("a table");
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| {
        let cells = (0..columns).map(|column| match row.get_ref(column).expect("a cell") {
            ValueRef::Null => "null".to_owned(),
            ValueRef::Integer(number) => number.to_string(),
            ValueRef::Text(text) => format!("{:?}", str::from_utf8(text).expect("UTF-8")),
            other => panic!("{other:?}"),
        });
        Ok(cells.collect())
    });
    let mut rows: Rows = rows.expect("rows").map(|row| row.expect("a row")).collect();
    rows.sort();
    rows
}

/// Exports as tables twice, and gives the rows of each.
fn same_tables(run: &Path) -> Vec<Rows> {
    let directory = tempfile::tempdir().expect("a directory");
    let (files, database) = (
        directory.path().join("files"),
        directory.path().join("run.db"),
    );
    export(run, Format::Parquet, to(&files)).expect("Parquet");
    export(run, Format::Sqlite, to(&database)).expect("SQLite");
    let database = Connection::open(&database).expect("a database");
    let check: String = database
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("a check");
    assert_eq!(check, "ok");
    let both = tables().iter().map(|table| {
        let rows = of_sqlite(&database, table.name);
        assert_eq!(
            rows,
            of_parquet(&files.join(format!("{}.parquet", table.name))),
            "{}",
            table.name
        );
        rows
    });
    both.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_log_gives_sound_exports(
        events in vec(any_event(), 0..60),
        ids in vec((0..6_u64, 0..4_u32), 60),
    ) {
        // Few tasks and attempts, so that events meet.
        let events: Vec<_> = events.into_iter().zip(ids).map(records::aimed).collect();
        let run = tempfile::tempdir().expect("a directory");
        write_log(&run.path().join(EVENTS_FILE), &[&[started(1)], &events[..]].concat());
        let mut tasks: Vec<u64> = events.iter().filter_map(|event| match event {
            LogEvent::Submitted { task, .. } => Some(task.0),
            _ => None,
        }).collect();
        tasks.sort_unstable();
        tasks.dedup();
        for version in [WfVersion::V1_5, WfVersion::V1_6] {
            match text(run.path(), Format::WfFormat(version)) {
                Ok(text) => {
                    let instance = serde_json::from_str(&text).expect("JSON");
                    support::sound_instance(&instance);
                    let listed = instance["workflow"]["specification"]["tasks"].as_array();
                    prop_assert_eq!(listed.map(Vec::len), Some(tasks.len()));
                }
                Err(error) => {
                    prop_assert!(matches!(error, ExportError::NoTasks { .. }), "{}", error);
                    prop_assert!(tasks.is_empty());
                }
            }
        }
        support::sound_trace(&text(run.path(), Format::Perfetto).expect("a trace"));
        let rows = same_tables(run.path());
        prop_assert_eq!(rows[0].len(), 1);
        prop_assert_eq!(rows[1].len(), tasks.len());
    }
}

/// A run in which a task is tried twice, another waits for it, a third fails, and a fourth stays open.
fn run() -> tempfile::TempDir {
    let run = tempfile::tempdir().expect("a directory");
    let mut lost = report(0, 0, 1_000);
    lost.result = Err(Failure::new(OutcomeKind::TaskError, "once"));
    let mut failed = report(2, 0, 40_000);
    failed.worker = WorkerId(1);
    failed.result = Err(Failure::new(OutcomeKind::TaskError, "for good"));
    let events = [
        vec![
            started(1_700_000_000_000_000_000),
            joined(0, "node"),
            joined(1, "other"),
        ],
        vec![
            submitted(0, "first one", &[], 100),
            submitted(1, "second", &[0, 0], 200),
        ],
        vec![
            submitted(2, "third", &[], 300),
            submitted(3, "fourth", &[1], 400),
        ],
        vec![
            records::attempt_started(0, 0, 0, 500),
            finished(lost, 5_000, true),
        ],
        vec![
            records::attempt_started(0, 1, 0, 6_000),
            finished(report(0, 1, 7_000), 12_000, false),
        ],
        vec![
            records::attempt_started(1, 0, 0, 13_000),
            finished(report(1, 0, 14_000), 19_000, false),
        ],
        vec![
            records::attempt_started(2, 0, 0, 30_000),
            finished(failed, 50_000, false),
        ],
        whole_task(7, 60_000).to_vec(),
    ];
    write_log(&run.path().join(EVENTS_FILE), &events.concat());
    run
}

#[test]
fn a_trace_tells_tries_failures_and_dependencies() {
    let run = run();
    let trace = support::sound_trace(&text(run.path(), Format::Perfetto).expect("a trace"));
    assert_eq!(trace.attempts().count(), 5);
    assert_eq!(trace.named("i", "retried").len(), 1);
    assert_eq!(trace.named("i", "failed").len(), 1);
    // From the second try of the first task to the second task.
    let arrows = trace.named("s", "dependency");
    assert_eq!(arrows.len(), 1);
    assert_eq!(arrows[0].0, 9_999);
    assert_eq!(trace.named("f", "dependency")[0].0, 14_000);
    let attempt = trace
        .attempts()
        .find(|slice| slice.event["args"]["task"] == 1);
    let attempt = attempt.expect("the second task");
    let parts: Vec<_> = trace
        .parts(attempt)
        .map(|part| {
            (
                part.event["name"].as_str().expect("a name"),
                part.from_ns,
                part.to_ns,
            )
        })
        .collect();
    let expected = [
        ("prepare", 14_000, 15_000),
        ("compute", 15_000, 16_000),
        ("publish", 16_000, 17_000),
    ];
    assert_eq!(parts, expected);
    let waits: Vec<_> = trace
        .events
        .iter()
        .filter(|(_, event)| event["ph"] == "b" && event["id"] == "1")
        .map(|(time_ns, event)| (event["name"].as_str().expect("a name"), *time_ns))
        .collect();
    assert_eq!(
        waits,
        [
            ("second", 200),
            ("parents", 200),
            ("queue", 12_000),
            ("deliver", 13_000)
        ]
    );
    let (_, last) = *trace.named("C", "tasks").last().expect("counters");
    assert_eq!(
        last["args"],
        serde_json::json!({"running": 0, "waiting": 1})
    );
    assert_eq!(trace.other["state"], "killed");
}

#[test]
fn an_instance_tells_files_and_times() {
    let run = run();
    let json = text(run.path(), Format::WfFormat(WfVersion::V1_6)).expect("an instance");
    let instance: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    support::sound_instance(&instance);
    let tasks = &instance["workflow"]["specification"]["tasks"];
    assert_eq!(
        tasks[1]["inputFiles"],
        serde_json::json!(["first_one_ID0000000_out0"])
    );
    assert_eq!(
        tasks[0]["inputFiles"],
        serde_json::json!(["first_one_ID0000000_in0"])
    );
    assert_eq!(tasks[2]["outputFiles"], serde_json::json!([]), "it failed");
    let execution = &instance["workflow"]["execution"];
    // The open one is not executed, and the one that failed is.
    let executed: Vec<&str> = execution["tasks"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|task| task["id"].as_str().expect("an id"))
        .collect();
    let ids = [
        "first_one_ID0000000",
        "second_ID0000001",
        "third_ID0000002",
        "noop_ID0000007",
    ];
    assert_eq!(executed, ids);
    let second = &execution["tasks"][1];
    assert_eq!(second["runtimeInSeconds"], 3e-6);
    assert_eq!(second["executedAt"], "2023-11-14T22:13:20.000014Z");
    assert_eq!(second["machines"], serde_json::json!(["node"]));
    assert_eq!(second["readBytes"], 8);
    assert_eq!(second["memoryInBytes"], 1 << 20);
    assert_eq!(execution["makespanInSeconds"], 64.9e-6);
}

#[test]
fn tables_have_a_row_for_everything() {
    let run = run();
    let rows = same_tables(run.path());
    let counts: Vec<usize> = rows.iter().map(Vec::len).collect();
    // run, tasks, attempts, dependencies, transfers, programs, failures, workers, events
    assert_eq!(counts, [1, 5, 5, 3, 10, 0, 2, 2, 3]);
}

/// Takes so many bytes.
struct Full(usize);

impl io::Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.checked_sub(bytes.len()) {
            Some(left) => self.0 = left,
            None => return Err(io::Error::from(io::ErrorKind::StorageFull)),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_stream_that_is_full_fails_wherever_that_is() {
    let run = run();
    for format in FORMATS.into_iter().filter(|format| format.is_text()) {
        let whole = text(run.path(), format).expect("an export").len();
        for room in (0..whole).step_by(97) {
            let ended = export(run.path(), format, Destination::Stream(&mut Full(room)));
            assert!(
                matches!(ended, Err(ExportError::Stream(_))),
                "{format:?} {room}"
            );
        }
        export(run.path(), format, Destination::Stream(&mut Full(whole))).expect("room enough");
    }
}

#[test]
fn nothing_but_an_export_is_replaced() {
    let run = run();
    let directory = tempfile::tempdir().expect("a directory");
    for format in FORMATS {
        let place = directory.path().join(format.file_name());
        let replace = |replace| Destination::Path {
            path: &place,
            replace,
        };
        if !place.exists() {
            export(run.path(), format, replace(false)).expect("an export");
        }
        let again = export(run.path(), format, replace(false));
        assert!(
            matches!(again, Err(ExportError::Exists { .. })),
            "{format:?}"
        );
        export(run.path(), format, replace(true)).expect("it is replaced");
        // What is no export: a directory where a file is to be, or one with something else in it.
        let other = directory.path().join("other");
        fs::create_dir(&other).expect("make a directory");
        fs::write(other.join("precious"), "data").expect("write");
        let over = Destination::Path {
            path: &other,
            replace: true,
        };
        let refused = export(run.path(), format, over);
        assert!(
            matches!(refused, Err(ExportError::InTheWay { .. })),
            "{format:?}"
        );
        assert_eq!(
            fs::read(other.join("precious")).expect("it is there"),
            b"data"
        );
        fs::remove_dir_all(&other).expect("remove");
        let missing = directory.path().join("missing/out");
        let nowhere = export(run.path(), format, to(&missing));
        assert!(
            matches!(nowhere, Err(ExportError::NoDirectory { .. })),
            "{format:?}"
        );
    }
    let mut names: Vec<_> = fs::read_dir(directory.path())
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["parquet", "run.sqlite", "trace.json.gz", "wfformat.json"]
    );
}

#[test]
fn the_documentation_has_every_column() {
    let documentation = include_str!("../../../docs/export.md");
    let expected = taps_export::tables_as_markdown();
    assert!(
        documentation.contains(&expected),
        "docs/export.md should have:\n{expected}"
    );
}
