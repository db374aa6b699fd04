//! `export`: where exports go, and runs of which not all can be read.

#[path = "../../runtime/export/tests/support/mod.rs"]
pub(crate) mod support;

use crate::{
    harness::{Ended, Place, Running, names, snapshot, tasks},
    report::{FAULTY, small},
    report_large::{with_memory, write_log},
};
use flate2::read::GzDecoder;
use rusqlite::Connection;
use serde_json::Value;
use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const FORMATS: [&str; 4] = ["wfformat", "perfetto", "parquet", "sqlite"];

fn path_text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// `export` of a run.
fn export(place: &Place, run: &Path, flags: &[&str]) -> Ended {
    place.call([&["export", path_text(run)], flags].concat())
}

/// Exports a run, and says where that is.
#[track_caller]
pub(crate) fn exported(place: &Place, run: &Path, flags: &[&str]) -> PathBuf {
    let ended = export(place, run, flags);
    ended.expect(0);
    assert_eq!(ended.stderr, "", "all was read");
    PathBuf::from(ended.stdout.trim_end())
}

/// An export as text, from stdout.
#[track_caller]
pub(crate) fn text(place: &Place, run: &Path, flags: &[&str]) -> String {
    let ended = export(place, run, &[flags, &["--out=-"]].concat());
    ended.expect(0);
    assert_eq!(ended.stderr, "", "all was read");
    ended.stdout.clone()
}

fn unpacked(path: &Path) -> String {
    let mut text = String::new();
    GzDecoder::new(fs::File::open(path).expect("a file"))
        .read_to_string(&mut text)
        .expect("compressed text");
    text
}

#[test]
fn exports_go_into_the_run_or_where_they_are_told_to() {
    let (place, run) = small();
    let before = names(&run);
    let trace = text(&place, &run, &["--format=perfetto"]);
    let instance = text(&place, &run, &["--format=wfformat"]);
    for (format, name) in
        FORMATS
            .into_iter()
            .zip(["wfformat.json", "trace.json.gz", "parquet", "run.sqlite"])
    {
        let flag = format!("--format={format}");
        assert_eq!(exported(&place, &run, &[&flag]), run.join(name));
        let other = place.path().join(format);
        assert_eq!(
            exported(&place, &run, &[&flag, "--out", path_text(&other)]),
            other
        );
    }
    assert_eq!(unpacked(&run.join("trace.json.gz")), trace);
    assert_eq!(
        fs::read_to_string(run.join("wfformat.json")).expect("a file"),
        instance
    );
    assert_eq!(
        fs::read_to_string(place.path().join("perfetto")).expect("a file"),
        trace
    );
    exported(&place, &run, &["--format=wfformat", "-o", "small.json.gz"]);
    assert_eq!(unpacked(&place.path().join("small.json.gz")), instance);
    // Of a log alone: beside it, and without what is in other files.
    let log = place.path().join("log-alone");
    fs::copy(run.join("events.log"), &log).expect("copy");
    let ended = export(&place, &log, &["--format=sqlite"]);
    ended.expect(0);
    assert!(place.path().join("run.sqlite").is_file());
    let mut expected = [
        &before[..],
        &["parquet", "run.sqlite", "trace.json.gz", "wfformat.json"].map(str::to_owned),
    ]
    .concat();
    expected.sort();
    assert_eq!(names(&run), expected, "nothing is left over");
    place.call(["records", path_text(&run)]).expect(0);
}

#[test]
fn what_is_there_is_replaced_only_when_that_is_said() {
    let (place, run) = small();
    for format in FORMATS {
        let flag = format!("--format={format}");
        let path = exported(&place, &run, &[&flag]);
        let ended = export(&place, &run, &[&flag]);
        ended
            .expect(2)
            .says(&format!("{} exists", path.display()))
            .says("--force");
        exported(&place, &run, &[&flag, "--force"]);
    }
    let precious = place.write("precious/data", "mine");
    let directory = precious.parent().expect("a directory");
    for format in FORMATS {
        let flags = [
            &format!("--format={format}"),
            "--force",
            "--out",
            path_text(directory),
        ];
        export(&place, &run, &flags)
            .expect(2)
            .says("is a directory");
    }
    assert_eq!(fs::read(&precious).expect("it is there"), b"mine");
    assert_eq!(names(directory), ["data"]);
}

#[test]
fn what_cannot_be_done_is_said_before_any_work() {
    let (place, run) = small();
    let run = path_text(&run);
    place.write("file", "");
    place.write("empty/nothing", "");
    let mut texts = Vec::new();
    for (arguments, code) in [
        (&["export", "nowhere", "--format=sqlite"][..], 5),
        (&["export", "empty", "--format=sqlite"], 5),
        (&["export", "file", "--format=perfetto", "--out=-"], 5),
        (&["export", run, "--format=csv"], 2),
        (&["export", run], 2),
        (&["export", run, "--format=parquet", "--out=-"], 2),
        (
            &["export", run, "--format=sqlite", "--wfformat-version=1.5"],
            2,
        ),
        (
            &["export", run, "--format=wfformat", "--wfformat-version=1.4"],
            2,
        ),
        (
            &["export", run, "--format=wfformat", "--out=missing/out.json"],
            2,
        ),
        (&["export", run, "--format=parquet", "--out=file"], 2),
        (&["export", run, "--format=sqlite", "--out=file/below"], 2),
    ] {
        let ended = place.call(arguments);
        ended.expect(code);
        assert_eq!(ended.stdout, "");
        let shown = arguments.join(" ").replace(run, "RUN");
        texts.push(format!("$ taps-wasm {shown}\n{}", ended.stderr));
    }
    snapshot!(texts.join("\n"));
    assert_eq!(place.names(), ["empty", "file", "runs"]);
}

#[test]
fn a_full_disk_leaves_nothing_behind() {
    let place = Place::new();
    place.run(&FAULTY).expect(0);
    let run = place.only_run();
    let before = names(&run);
    for format in FORMATS {
        // In blocks of 512 bytes; the signal would end the program.
        let program = env!("CARGO_BIN_EXE_taps-wasm");
        let limited = format!(
            "trap '' XFSZ; ulimit -f 4; exec {program} export '{}' --format={format}",
            run.display()
        );
        let mut command = Command::new("sh");
        command
            .args(["-c", &limited])
            .current_dir(place.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let ended = Running::new(command, place.path()).end();
        ended.expect(5).says("error: write ");
        assert_eq!(names(&run), before, "{format}");
    }
    let full = fs::File::options()
        .write(true)
        .open("/dev/full")
        .expect("/dev/full");
    let mut command = place.command(["export", path_text(&run), "--format=wfformat", "--out=-"]);
    let ended = command.stdout(full).output().expect("run");
    assert_eq!(ended.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("write the export"));
}

/// Exports in all formats: each ends well, and names the same.
#[track_caller]
fn notes_of_all(place: &Place, run: &Path) -> Vec<Vec<String>> {
    FORMATS
        .into_iter()
        .map(|format| {
            let ended = export(place, run, &[&format!("--format={format}"), "--force"]);
            ended.expect(0);
            ended.stderr.lines().map(str::to_owned).collect()
        })
        .collect()
}

fn database(run: &Path) -> Connection {
    Connection::open(run.join("run.sqlite")).expect("a database")
}

fn count(database: &Connection, of: &str) -> usize {
    let query = format!("SELECT count(*) FROM {of}");
    let count: i64 = database
        .query_row(&query, [], |row| row.get(0))
        .expect("a number");
    usize::try_from(count).expect("no less than nothing")
}

#[test]
fn a_damaged_log_is_exported_up_to_the_damage() {
    let (place, run) = small();
    let whole = tasks(&run).len();
    let log = run.join("events.log");
    let mut bytes = fs::read(&log).expect("a log");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&log, bytes).expect("write");
    for notes in notes_of_all(&place, &run) {
        assert!(
            notes[0].starts_with("note: the log is damaged from byte "),
            "{notes:?}"
        );
        assert!(notes[1].contains("gone without having ended"), "{notes:?}");
    }
    let database = database(&run);
    let ended = count(&database, "tasks WHERE outcome <> 'open'");
    assert!(ended > 0 && ended < whole, "{ended} of {whole}");
    assert!(
        count(
            &database,
            "tasks WHERE outcome = 'open' AND ended_ns IS NULL"
        ) > 0
    );
    assert_eq!(
        count(&database, "run WHERE state = 'killed' AND damaged_at > 0"),
        1
    );
    let trace = support::sound_trace(&unpacked(&run.join("trace.json.gz")));
    assert!(trace.attempts().count() >= ended);
    let json = fs::read_to_string(run.join("wfformat.json")).expect("a file");
    let instance: Value = serde_json::from_str(&json).expect("JSON");
    support::sound_instance(&instance);
    let executed = instance["workflow"]["execution"]["tasks"].as_array();
    assert_eq!(executed.map(Vec::len), Some(ended));
}

#[test]
fn of_another_version_the_task_records_are_exported() {
    let (place, run) = small();
    exported(&place, &run, &["--format=sqlite"]);
    let whole = database(&run);
    let attempts = "attempts WHERE finished_ns > received_ns AND host <> ''";
    let expected = [
        count(&whole, attempts),
        count(&whole, "dependencies"),
        count(&whole, "transfers"),
    ];
    drop(whole);
    let log = run.join("events.log");
    let mut bytes = fs::read(&log).expect("a log");
    bytes[8] = 99;
    fs::write(&log, &bytes).expect("write");
    for notes in notes_of_all(&place, &run) {
        assert!(notes[0].contains("has event log format 99"), "{notes:?}");
        assert!(
            notes[1].contains("tasks and times are those of tasks.jsonl"),
            "{notes:?}"
        );
    }
    let other = database(&run);
    let got = [
        count(&other, attempts),
        count(&other, "dependencies"),
        count(&other, "transfers"),
    ];
    assert_eq!(got, expected);
    assert_eq!(
        count(&other, "run WHERE state = 'unknown' AND app = 'cholesky'"),
        1
    );
    support::sound_trace(&unpacked(&run.join("trace.json.gz")));
    // Neither the log nor task records.
    fs::remove_file(run.join("tasks.jsonl")).expect("remove");
    for format in FORMATS {
        let ended = export(&place, &run, &[&format!("--format={format}"), "--force"]);
        ended
            .expect(5)
            .says("nothing of ")
            .says("has event log format 99");
    }
}

#[test]
fn a_run_without_tasks_has_tables_and_a_trace() {
    let place = Place::new();
    let log = place.path().join("events.log");
    write_log(&log, 0);
    for format in ["perfetto", "parquet", "sqlite"] {
        export(&place, &log, &[&format!("--format={format}")]).expect(0);
    }
    export(&place, &log, &["--format=wfformat"])
        .expect(5)
        .says("has no tasks: WfFormat needs at least one");
    assert_eq!(count(&database(place.path()), "tasks"), 0);
    support::sound_trace(&unpacked(&place.path().join("trace.json.gz")));
}

#[test]
fn a_log_larger_than_memory_is_exported() {
    const TASKS: u64 = 300_000;
    let place = Place::new();
    let log = place.path().join("events.log");
    let bytes = write_log(&log, TASKS);
    // Memory for each format, in KiB: less than the log.
    for (format, memory_kb) in FORMATS.into_iter().zip(MEMORY_KB) {
        assert!(bytes > memory_kb << 10, "{bytes} bytes");
        let args = format!("export events.log --format={format}");
        with_memory(&place, memory_kb, &args);
    }
    let database = database(place.path());
    assert_eq!(count(&database, "attempts"), TASKS as usize);
    assert_eq!(count(&database, "dependencies"), TASKS as usize - 1);
    let json = fs::read_to_string(place.path().join("wfformat.json")).expect("a file");
    for sum in ["numberOfLevels", "numberOfTasks"] {
        assert!(json.contains(&format!("\"{sum}\":{TASKS}")), "{sum}");
    }
    let parquet = place.path().join("parquet/attempts.parquet");
    let reader =
        parquet::file::reader::SerializedFileReader::new(fs::File::open(parquet).expect("a file"));
    let metadata =
        parquet::file::reader::FileReader::metadata(&reader.expect("a Parquet file")).clone();
    assert_eq!(
        metadata.file_metadata().num_rows(),
        i64::try_from(TASKS).expect("it fits")
    );
    assert!(metadata.num_row_groups() > 1, "rows are written in groups");
}

/// For WfFormat, a trace, Parquet and SQLite.
const MEMORY_KB: [u64; 4] = [36 << 10; 4];
