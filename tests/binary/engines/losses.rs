//! Workers, and runs, that are killed or interrupted while a task runs.

use super::{DASK, GLOBUS, HYPERQUEUE, PARSL, PARSL_LOCAL, RAY, TASKVINE, Turn, action};
use crate::{
    harness::{Place, Running, names},
    pool::{Member, Pool, send},
};
use rustix::process::Signal;
use std::{fs, os::unix::process::ExitStatusExt as _, path::Path};

/// The process that runs tasks, other than one that is gone. Its parent is the engine's worker.
#[track_caller]
fn sandbox(pool: &mut Pool, gone: i32) -> Member {
    let find = |pool: &Pool| {
        let mut members = pool.members().into_iter();
        members.find(|member| member.pid != gone && member.is_sandbox())
    };
    pool.until("a task ran", |pool| find(pool).is_some());
    find(pool).expect("it waits for an hour")
}

#[track_caller]
fn both_kinds_of_workers_may_die(engine: &[&str]) {
    let Some(turn) = Turn::take() else { return };
    let args = [&action("stuck")[..], &["--app.bytes=2", "--retries=3"]].concat();
    let mut pool = turn.start(&[&args, engine]);
    let first = sandbox(&mut pool, 0);
    send(first.pid, Signal::KILL);
    let second = sandbox(&mut pool, first.pid);
    // Without `hq`, HyperQueue's server and its worker are one process, which a run does not survive.
    let victim = if engine == HYPERQUEUE {
        second.pid
    } else {
        second.parent
    };
    send(victim, Signal::KILL);
    let left = pool.end();
    left.expect(0);
    assert_eq!(left.json()["values"]["task 0"], "2");
    let mut tasks = left.tasks();
    tasks.sort_by_key(|task| task["attempt"].as_u64());
    let outcomes: Vec<_> = tasks.iter().map(|task| &task["outcome"]).collect();
    assert_eq!(
        outcomes,
        ["worker-lost", "worker-lost", "ok"],
        "{}",
        left.text()
    );
    for task in &tasks {
        assert_eq!(task["executions"], 1, "{task}");
    }
}

/// A task sleeps when the run gets a signal, and nothing of the run is left.
#[track_caller]
fn ends_by(signal: Signal, engine: &[&str]) {
    let Some(turn) = Turn::take() else { return };
    let args = [&action("stuck")[..], &["--app.bytes=9"]].concat();
    let mut pool = turn.start(&[&args, engine]);
    sandbox(&mut pool, 0);
    let mapped = pool.mapped();
    pool.signal(signal);
    let left = pool.end();
    if signal == Signal::INT {
        left.expect(130)
            .says("error: interrupted; tasks were cancelled");
        assert_eq!(left.with_outcome("cancelled"), 1, "{}", left.text());
    } else {
        assert_eq!(left.status.signal(), Some(9), "{}", left.text());
    }
    let leaked: Vec<_> = mapped.iter().filter(|file| file.exists()).collect();
    assert!(leaked.is_empty(), "{engine:?}: {leaked:?}");
}

/// Whether the run's log says so.
fn is_logged(pool: &Pool, text: &str) -> bool {
    let runs = pool.place.path().join("runs");
    let logs = names(&runs)
        .into_iter()
        .map(|name| runs.join(name).join("log.txt"));
    logs.filter_map(|log| fs::read_to_string(log).ok())
        .any(|log| log.contains(text))
}

/// The process that runs a task, or the one above it, does nothing any more: the run says which task has not ended, and
/// ends when it is told to, with all that hangs.
#[track_caller]
fn hangs(engine: &[&str], which: impl Fn(&Member) -> i32) {
    let Some(turn) = Turn::take() else { return };
    let args = [
        &action("stuck")[..],
        &[
            "--app.bytes=9",
            "--watchdog=0.5",
            "--executor.stop-timeout=2",
            "--log-level=WARNING",
        ],
    ];
    let mut pool = turn.start(&[&args.concat(), engine]);
    let stopped = which(&sandbox(&mut pool, 0));
    send(stopped, Signal::STOP);
    pool.until("the watchdog", |pool| {
        is_logged(pool, "no task has ended for")
    });
    assert!(is_logged(&pool, "task 0 (stuck): attempt 0 is "));
    pool.signal(Signal::INT);
    let left = pool.end();
    assert_eq!(left.status.code(), Some(130), "{}", left.text());
}

#[test]
fn workers_that_hang_are_told_of() {
    for engine in [
        &DASK[..],
        &RAY,
        &PARSL,
        &PARSL_LOCAL,
        &HYPERQUEUE,
        &TASKVINE,
        &GLOBUS,
    ] {
        hangs(engine, |sandbox| sandbox.pid);
    }
}

#[test]
fn engines_that_hang_are_told_of() {
    for engine in [&DASK[..], &RAY, &PARSL, &HYPERQUEUE] {
        hangs(engine, |sandbox| sandbox.parent);
    }
}

/// The tests of an engine.
macro_rules! losses {
    ($($name:ident: $engine:expr,)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn workers_may_die() {
                both_kinds_of_workers_may_die(&$engine);
            }

            #[test]
            fn a_killed_run_leaves_nothing() {
                ends_by(Signal::KILL, &$engine);
            }

            #[test]
            fn an_interrupted_run_leaves_nothing() {
                ends_by(Signal::INT, &$engine);
            }
        }
    )*};
}

losses! {
    dask: DASK,
    ray: RAY,
    parsl: PARSL,
    hyperqueue: HYPERQUEUE,
}

#[test]
fn others_leave_nothing_either() {
    for engine in [&PARSL_LOCAL[..], &TASKVINE, &GLOBUS] {
        for signal in [Signal::INT, Signal::KILL] {
            ends_by(signal, engine);
        }
    }
}

#[test]
fn ray_leaves_nothing_where_paths_are_long() {
    let Some(turn) = Turn::take() else { return };
    let place = Place::new();
    let python = turn.python.to_str().expect("UTF-8");
    let long = place
        .path()
        .join("a-directory-whose-name-leaves-no-room-for-sockets".repeat(2));
    fs::create_dir(&long).expect("a directory");
    // Where Ray keeps its files when nothing is said.
    let others = || names(Path::new("/tmp/ray"));
    let before = others();
    let app = [
        "run",
        "synthetic",
        "--app.structure=sequential",
        "--app.task-count=2",
    ];
    let args = [&app[..], &RAY, &["--executor.python", python, "--json"]].concat();
    let mut command = place.command(args);
    command.env("TMPDIR", &long);
    let ended = Running::new(command, place.path()).end();
    ended.expect(0);
    assert_eq!(names(&long), [""; 0], "{}", ended.text());
    assert_eq!(others(), before);
}
