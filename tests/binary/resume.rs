//! `resume`: what can be gone on with, what cannot, and what is computed again.

use crate::{
    fault_matrix::{APPS, CLEAN, EXECUTORS, results},
    harness::{Place, lines, names},
    pool::{Left, Pool},
    walks::{ends_once, events, resume},
};
use rustix::process::Signal;
use serde_json::Value;
use std::{fs, os::unix::process::ExitStatusExt as _, path::Path, time::Duration};
use taps_records::LogEvent;

/// Results that are too large for the log.
const LARGE: [&str; 4] = [
    "synthetic",
    "--app.structure=sequential",
    "--app.task-count=8",
    "--app.task-data-bytes=200000",
];

/// A run that killed itself after that event.
#[track_caller]
fn killed(place: Place, app: &[&str], more: &[&str], event: usize) -> Left {
    let event = format!("--faults.signal-at-event={event}");
    let args = [&["run"], app, more, &[&event, "--json"]].concat();
    let left = Pool::command(place, &args).end();
    assert_eq!(left.status.signal(), Some(9), "{}", left.text());
    left
}

fn length(app: &[&str], more: &[&str]) -> usize {
    let left = Pool::command(Place::new(), &[&["run"], app, more, &["--json"]].concat()).end();
    left.expect(0);
    events(&left.run()).len()
}

/// What `resume` says of a run that it does not go on with.
#[track_caller]
fn refused(place: &Place, run: &Path, code: i32) -> String {
    let before = names(run);
    let ended = place.call(["resume", run.to_str().expect("UTF-8")]);
    ended.expect(code);
    assert_eq!(
        ended.stderr.matches("error: ").count(),
        1,
        "{}",
        ended.text()
    );
    assert_eq!(names(run), before, "it leaves nothing");
    ended.stderr
}

#[test]
fn an_interrupted_run_goes_on() {
    for executor in EXECUTORS {
        let args = [
            "run",
            "synthetic",
            "--app.structure=bag",
            "--app.task-count=300",
            "--app.bag-max-running=8",
            "--app.task-sleep=0.005",
            "--json",
        ];
        let mut pool = Pool::command(Place::new(), &[&args[..], &executor].concat());
        pool.until("some tasks", |pool| {
            pool.events().is_some_and(|events| events.finished > 30)
        });
        pool.signal(Signal::INT);
        let left = pool.end();
        left.expect(130);
        let done = left.with_outcome("ok");
        assert!((30..300).contains(&done), "{done}");
        let resumed = resume(left.place).end();
        resumed.expect(0);
        let json = resumed.json();
        assert_eq!(json["ok"], true);
        assert_eq!(json["tasks"]["succeeded"], 300);
        ends_once(&resumed.run(), &json["tasks"]["submitted"]);
        let ended = |event: &&LogEvent| matches!(event, LogEvent::AttemptFinished { report, .. } if report.result.is_ok());
        let ran = events(&resumed.run()).iter().filter(ended).count();
        assert_eq!(ran, 300, "what was done is not done again");
    }
}

#[test]
fn a_finished_run_is_not_resumed_nor_one_that_was() {
    let place = Place::new();
    place.run(APPS[1]).expect(0);
    let said = refused(&place, &place.only_run(), 2);
    assert!(said.contains("the run has ended: it succeeded"), "{said}");

    let left = killed(Place::new(), APPS[1], &[], 20);
    let resumed = resume(left.place).end();
    resumed.expect(0);
    let run = resumed.run();
    let said = refused(&resumed.place, &run, 2);
    assert!(said.contains("the run has ended: it succeeded"), "{said}");

    // A failure is an end, too.
    let place = Place::new();
    let failing = [APPS[1], &["--faults=failure", "--faults.budget=1"]].concat();
    place.run(&failing).expect(1);
    let said = refused(&place, &place.only_run(), 2);
    assert!(said.contains("the run has ended"), "{said}");
}

#[test]
fn a_live_run_is_in_use() {
    let place = Place::new();
    let running = place.start([
        "run",
        "synthetic",
        "--app.structure=bag",
        "--app.task-count=100000",
        "--app.bag-max-running=8",
        "--app.task-sleep=0.01",
    ]);
    let run = place.begun();
    std::thread::sleep(Duration::from_millis(100));
    let ended = place.call(["resume", run.to_str().expect("UTF-8")]);
    ended.expect(5).says("the run is still going on");
    running.signal(Signal::INT);
    running.end().expect(130);
}

#[test]
fn a_log_of_another_version_is_refused() {
    let left = killed(Place::new(), APPS[1], &[], 20);
    let log = left.run().join("events.log");
    let mut bytes = fs::read(&log).expect("read");
    bytes[8] += 1;
    fs::write(&log, &bytes).expect("write");
    let said = refused(&left.place, &left.run(), 5);
    assert!(
        said.contains("resume it with the program that began it"),
        "{said}"
    );
    bytes[0] = b'X';
    fs::write(&log, &bytes).expect("write");
    refused(&left.place, &left.run(), 5);
    fs::remove_file(&log).expect("remove");
    refused(&left.place, &left.run(), 5);
}

#[test]
fn what_is_no_run_directory_is_refused() {
    let place = Place::new();
    fs::create_dir(place.path().join("empty")).expect("create");
    for run in ["empty", "gone"] {
        let said = refused(&place, Path::new(run), 5);
        assert!(said.contains("is no run directory"), "{said}");
    }
    assert_eq!(place.names(), ["empty"]);
}

/// Resumes copies of a killed run whose log was changed: whole prefixes are gone on with.
#[track_caller]
fn damaged(change: impl Fn(&mut Vec<u8>, usize)) {
    let left = killed(Place::new(), APPS[1], &[], 40);
    let log = left.run().join("events.log");
    let whole = fs::read(&log).expect("read");
    let end = whole.iter().rposition(|byte| *byte != 0).expect("bytes");
    let mut noted = 0;
    for step in 1..12 {
        let at = end * step / 12;
        let mut bytes = whole[..=end].to_vec();
        change(&mut bytes, at);
        fs::write(&log, &bytes).expect("write");
        let place = Place::new();
        let run = place.path().join("runs/copy");
        fs::create_dir_all(&run).expect("create");
        for name in names(&left.run()) {
            fs::copy(left.run().join(&name), run.join(&name)).expect("copy");
        }
        let started = events(&run).len();
        let resumed = resume(place).end();
        if started == 0 {
            resumed.expect(5);
            continue;
        }
        resumed.expect(0);
        noted += usize::from(resumed.stderr.contains("the log is damaged"));
        let json = resumed.json();
        assert_eq!(results(&json), CLEAN[1]);
        ends_once(&resumed.run(), &json["tasks"]["submitted"]);
    }
    assert!(noted > 0);
}

#[test]
fn a_truncated_log_goes_on_from_its_prefix() {
    damaged(Vec::truncate);
}

#[test]
fn a_damaged_log_goes_on_from_its_prefix() {
    damaged(|bytes, at| bytes[at] ^= 0x55);
}

#[test]
fn a_changed_input_file_is_noticed() {
    for executor in EXECUTORS {
        let place = Place::new();
        place.write("books/a.txt", "one two two three three three");
        place.write("books/b.txt", "four");
        let app = ["mapreduce", "--app.data-dir=books", "--app.map-tasks=2"];
        let count = length_in(&place, &app, &executor);
        let left = killed(place, &app, &executor, count - 4);
        left.place
            .write("books/a.txt", "one two two three three four, and five");
        let resumed = resume(left.place).end();
        resumed.expect(7).says("resume-diverged");
        assert_eq!(resumed.json()["ok"], false);
    }
}

/// Events of a run whose directory is removed.
fn length_in(place: &Place, app: &[&str], more: &[&str]) -> usize {
    place.run(&[app, more].concat()).expect(0);
    let run = place.only_run();
    let count = events(&run).len();
    fs::remove_dir_all(run).expect("remove");
    count
}

/// Resumes a run that was killed near its end: its summary.
#[track_caller]
fn near_the_end(executor: &[&str], more: &[&str]) -> Value {
    let more = [executor, more].concat();
    let count = length(&LARGE, &more);
    let left = killed(Place::new(), &LARGE, &more, count - 6);
    let resumed = resume(left.place).end();
    resumed.expect(0);
    let json = resumed.json();
    assert_eq!(json["tasks"]["succeeded"], 8);
    assert_eq!(json["ok"], true);
    ends_once(&resumed.run(), &json["tasks"]["submitted"]);
    assert!(!names(&resumed.run()).contains(&"results".to_owned()));
    json
}

#[test]
fn durable_results_are_not_computed_again() {
    for executor in EXECUTORS {
        let json = near_the_end(&executor, &["--durable=all"]);
        assert_eq!(json["tasks"]["recomputed"], 0);
        let json = near_the_end(&executor, &["--durable=none"]);
        assert!(json["tasks"]["recomputed"].as_u64() > Some(0), "{json}");
        // Nothing fits into memory: all is spilled, and so all is kept.
        let spill = ["--durable=spill", "--payload-limit=100kB"];
        let json = near_the_end(&executor, &spill);
        assert_eq!(json["tasks"]["recomputed"], 0, "{json}");
    }
}

#[test]
fn results_are_kept_until_the_end() {
    let more = ["--durable=all"];
    let count = length(&LARGE, &more);
    let left = killed(Place::new(), &LARGE, &more, count - 6);
    assert!(names(&left.run()).contains(&"results".to_owned()));
    assert!(!names(&left.run().join("results")).is_empty());
    let resumed = resume(left.place).end();
    resumed.expect(0);
    assert!(!names(&resumed.run()).contains(&"results".to_owned()));
}

#[test]
fn faults_go_on_where_they_were() {
    let faults = [
        "--faults=failure",
        "--faults.rate=0.4",
        "--retries=20",
        "--faults.seed=7",
    ];
    for executor in EXECUTORS {
        let more = [&executor[..], &faults].concat();
        let whole = Pool::command(
            Place::new(),
            &[&["run"], APPS[1], &more, &["--json"]].concat(),
        )
        .end();
        whole.expect(0);
        let hit = |left: &Left| {
            let faults = crate::fault_matrix::faults(&left.run());
            let acted = faults.into_iter().filter(|fault| fault["acted"] == true);
            let mut hit: Vec<_> = acted
                .map(|fault| [&fault["name"], &fault["index"], &fault["try"]].map(Value::to_string))
                .collect();
            hit.sort();
            hit.dedup();
            hit
        };
        let count = events(&whole.run()).len();
        for event in (3..count - 2).step_by(9) {
            let strike = format!("--faults.signal-at-event={event}");
            let args = [&["run"], APPS[1], &more, &[&strike, "--json"]].concat();
            let first = Pool::command(Place::new(), &args).end();
            if first.status.success() {
                // This one had fewer events.
                continue;
            }
            let resumed = resume(first.place).end();
            resumed.expect(0);
            assert_eq!(results(&resumed.json()), CLEAN[1]);
            assert_eq!(hit(&resumed), hit(&whole), "killed at {event}");
        }
    }
}

#[test]
fn a_silent_run_names_its_tasks() {
    for executor in EXECUTORS {
        let args = [
            "synthetic",
            "--app.structure=sequential",
            "--app.task-count=2",
            "--app.task-sleep=0.9",
            "--watchdog=0.3",
        ];
        let place = Place::new();
        place.run(&[&args[..], &executor].concat()).expect(0);
        let log = fs::read_to_string(place.only_run().join("log.txt")).expect("a log");
        assert!(log.contains("no task has ended for"), "{log}");
        assert!(
            log.contains("task 0 (noop): attempt 0 is on worker"),
            "{log}"
        );
        assert!(log.contains("task 1 (noop): waits for task 0"), "{log}");
        let place = Place::new();
        let never = [&args[..4], &["--watchdog=none"], &executor].concat();
        place.run(&never).expect(0);
        let log = fs::read_to_string(place.only_run().join("log.txt")).expect("a log");
        assert!(!log.contains("no task has ended for"), "{log}");
        assert_eq!(lines(&place.only_run().join("tasks.jsonl")).len(), 2);
    }
}
