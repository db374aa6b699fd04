//! Walks: the coordinator, a worker or a manager is killed at the n-th event of a small run, for n = 1, 2, 3, …; each
//! run completes, or is resumed, to the same result.

use crate::{
    fault_matrix::{EXECUTORS, results},
    harness::{Place, tasks},
    pool::{Left, Pool, send},
};
use rustix::process::Signal;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    time::{Duration, Instant},
};
use taps_records::{LogEvent, LogReader};

/// A few tens of events each.
const SYNTHETIC: &[&str] = &[
    "synthetic",
    "--app.structure=diamond",
    "--app.task-count=3",
    "--app.task-data-bytes=70000",
];
const MAPREDUCE: &[&str] = &[
    "mapreduce",
    "--app.generate=true",
    "--app.generated-files=2",
    "--app.generated-words=100",
    "--app.map-tasks=2",
];
const CHOLESKY: &[&str] = &[
    "cholesky",
    "--app.matrix-size=16",
    "--app.block-size=8",
    "--app.probes=1",
    "--kernels=guest",
];

/// The whole events of a log.
pub(crate) fn events(run: &Path) -> Vec<LogEvent> {
    let Ok(log) = LogReader::open(&run.join("events.log")) else {
        return Vec::new();
    };
    log.map_while(Result::ok).collect()
}

/// Resumes the only run of a place.
pub(crate) fn resume(place: Place) -> Pool {
    let run = place.only_run();
    Pool::command(place, &["resume", run.to_str().expect("UTF-8"), "--json"])
}

/// Every task has one record that is final.
#[track_caller]
pub(crate) fn ends_once(run: &Path, submitted: &Value) {
    let mut last: BTreeMap<String, usize> = BTreeMap::new();
    for record in tasks(run) {
        *last.entry(record["task_id"].to_string()).or_default() +=
            usize::from(record["final"] == true);
    }
    assert!(last.values().all(|count| *count == 1), "{last:?}");
    assert_eq!(submitted, last.len(), "{last:?}");
}

/// A run that is struck at that event.
fn struck(app: &[&str], executor: &[&str], more: &[&str], event: usize, signal: &str) -> Pool {
    let event = format!("--faults.signal-at-event={event}");
    let strike = [&event, "--faults.signal", signal, "--json"];
    let args = [&["run"], app, executor, more, &strike].concat();
    Pool::command(Place::new(), &args)
}

fn clean(app: &[&str], executor: &[&str]) -> (Value, usize) {
    let left = Pool::command(
        Place::new(),
        &[&["run"], app, executor, &["--json"]].concat(),
    )
    .end();
    left.expect(0);
    (results(&left.json()), events(&left.run()).len())
}

/// Kills the coordinator at every `stride`-th event, and resumes.
fn coordinator(app: &[&str], executor: &[&str], durable: &str, stride: usize) {
    let (expected, count) = clean(app, executor);
    let offset = usize::from(durable == "all") * (stride / 2);
    for event in (1 + offset..count + 2).step_by(stride) {
        let left = struck(app, executor, &["--durable", durable], event, "kill").end();
        if left.status.success() {
            // This one had fewer events.
            assert!(event > count / 2, "{event} of {count}");
            continue;
        }
        assert_eq!(left.status.signal(), Some(9), "{}", left.text());
        let lived = events(&left.run());
        assert_eq!(lived.len(), event, "nothing of it is lost");
        let left = if event % 5 == 3 {
            killed_again(left, event)
        } else {
            left
        };
        let ended = |event: &LogEvent| matches!(event, LogEvent::RunFinished { .. });
        let over = events(&left.run()).iter().any(ended);
        let resumed = resume(left.place).end();
        if over {
            resumed.expect(2).says("the run has ended");
            continue;
        }
        resumed.expect(0);
        let json = resumed.json();
        let context = format!("{app:?} {executor:?} {durable} {event}");
        assert_eq!(results(&json), expected, "{context}");
        ends_once(&resumed.run(), &json["tasks"]["submitted"]);
        if durable == "all" && event % 5 != 3 {
            assert_eq!(json["tasks"]["recomputed"], 0, "{context}");
        }
    }
}

/// Kills a run a second time, in the middle of its second life.
fn killed_again(left: Left, event: usize) -> Left {
    let pool = resume(left.place);
    // Any moment will do.
    std::thread::sleep(Duration::from_millis((event * 7919 % 60) as u64));
    pool.signal(Signal::KILL);
    pool.end()
}

/// Kills a worker, or the manager, while the coordinator stands still after every `stride`-th event.
fn member(app: &[&str], role: &str, stride: usize) {
    let (expected, count) = clean(app, &EXECUTORS[1]);
    let mut killed = 0;
    for event in (1..count).step_by(stride) {
        let mut pool = struck(app, &EXECUTORS[1], &["--retries=5"], event, "stop");
        if stands_still(&mut pool) {
            let members = pool.of_role(role);
            if let Some(member) = members.get(event % members.len().max(1)) {
                send(member.pid, Signal::KILL);
                killed += 1;
            }
            pool.signal(Signal::CONT);
        }
        let left = pool.end();
        left.expect(0);
        let json = left.json();
        assert_eq!(results(&json), expected, "{role} {event}: {}", left.text());
        ends_once(&left.run(), &json["tasks"]["submitted"]);
    }
    assert!(killed > 0);
}

/// Waits until the coordinator is stopped; false when it ended before.
fn stands_still(pool: &mut Pool) -> bool {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        if pool.child.try_wait().expect("wait").is_some() {
            return false;
        }
        let stat = fs::read_to_string(format!("/proc/{}/stat", pool.pid())).unwrap_or_default();
        let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
        if state.starts_with('T') {
            return true;
        }
        assert!(Instant::now() < end, "never stopped: {}", pool.text());
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_coordinator_of_threads_running_synthetic() {
    coordinator(SYNTHETIC, &EXECUTORS[0], "none", 1);
    coordinator(SYNTHETIC, &EXECUTORS[0], "all", 1);
}

#[test]
fn a_coordinator_of_threads_running_mapreduce() {
    coordinator(MAPREDUCE, &EXECUTORS[0], "none", 1);
    coordinator(MAPREDUCE, &EXECUTORS[0], "all", 2);
}

#[test]
fn a_coordinator_of_threads_running_cholesky() {
    coordinator(CHOLESKY, &EXECUTORS[0], "none", 1);
    coordinator(CHOLESKY, &EXECUTORS[0], "all", 2);
}

#[test]
fn a_coordinator_of_processes_running_synthetic() {
    coordinator(SYNTHETIC, &EXECUTORS[1], "none", 2);
    coordinator(SYNTHETIC, &EXECUTORS[1], "all", 2);
}

#[test]
fn a_coordinator_of_processes_running_mapreduce() {
    coordinator(MAPREDUCE, &EXECUTORS[1], "none", 4);
    coordinator(MAPREDUCE, &EXECUTORS[1], "all", 4);
}

#[test]
fn a_coordinator_of_processes_running_cholesky() {
    coordinator(CHOLESKY, &EXECUTORS[1], "none", 4);
    coordinator(CHOLESKY, &EXECUTORS[1], "all", 4);
}

#[test]
fn a_worker() {
    member(SYNTHETIC, "worker", 1);
    member(MAPREDUCE, "worker", 3);
    member(CHOLESKY, "worker", 3);
}

#[test]
fn a_manager() {
    member(SYNTHETIC, "manager", 1);
    member(MAPREDUCE, "manager", 3);
    member(CHOLESKY, "manager", 3);
}
