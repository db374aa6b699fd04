//! The executor `process-pool`, with processes that die, stop or never end: the run goes on or ends as it should, and
//! nothing is left of it.

use crate::{
    harness::{lines, probe},
    pool::{BAG, NODES, Pool, bag, send},
    walks::resume,
};
use rustix::process::Signal;
use std::{collections::HashMap, os::unix::process::ExitStatusExt as _, time::Duration};

#[test]
fn a_run_that_ends_by_itself_leaves_nothing() {
    let left = bag(&[]).end();
    left.expect(0);
    assert!(
        left.stderr.lines().all(|line| !line.starts_with("error")),
        "{}",
        left.text()
    );
    let events = left.events();
    assert_eq!(
        (events.joined.len(), &events.lost[..]),
        (4, &[][..]),
        "{events:?}"
    );
    assert_eq!(left.json()["tasks"]["retried"], 0);
}

#[test]
fn a_killed_worker_costs_a_retry_at_most() {
    for (joined, pause_ms) in [(0, 0), (1, 0), (4, 0), (4, 30), (4, 333)] {
        let mut pool = bag(&[]);
        pool.until("a worker", |pool| !pool.of_role("worker").is_empty());
        pool.joined(joined);
        std::thread::sleep(Duration::from_millis(pause_ms));
        send(pool.of_role("worker")[0].pid, Signal::KILL);
        let left = pool.end();
        left.expect(0);
        let json = left.json();
        assert_eq!(json["tasks"]["succeeded"], 400);
        let lost = left.with_outcome("worker-lost");
        assert!(lost <= 1, "{lost}");
        assert_eq!(json["tasks"]["retried"], lost);
        let events = left.events();
        assert!(events.lost.len() <= 1, "{events:?}");
        assert_eq!(events.joined.len(), 4 + events.lost.len(), "{events:?}");
        if joined == 4 {
            assert!(events.lost[0].1.contains("signal 9"), "{events:?}");
        }
    }
}

#[test]
fn workers_killed_one_after_the_other_lose_no_task() {
    let mut pool = bag(&["--app.task-data-bytes=2000000"]);
    pool.joined(4);
    let mut killed = 0;
    while killed < 12 {
        if pool.child.try_wait().expect("wait").is_some() {
            break;
        }
        if let Some(worker) = pool.of_role("worker").get(killed % 4) {
            send(worker.pid, Signal::KILL);
            killed += 1;
        }
        std::thread::sleep(Duration::from_millis(120));
    }
    let left = pool.end();
    left.expect(0);
    assert_eq!(left.json()["tasks"]["succeeded"], 400);
    assert!(left.with_outcome("worker-lost") <= killed);
}

#[test]
fn a_killed_manager_takes_its_node_and_no_other() {
    for pause_ms in [0, 50, 333] {
        let mut pool = bag(&[]);
        pool.joined(4);
        std::thread::sleep(Duration::from_millis(pause_ms));
        let manager = pool.of_role("manager")[0].clone();
        let mut below = pool.of_role("worker");
        below.retain(|worker| worker.parent == manager.pid);
        assert_eq!(below.len(), 2);
        send(manager.pid, Signal::KILL);
        let left = pool.end();
        left.expect(0);
        assert_eq!(left.json()["tasks"]["succeeded"], 400);
        let events = left.events();
        let mut lost: Vec<u32> = events.lost.iter().map(|(worker, _)| *worker).collect();
        lost.sort_unstable();
        assert!(lost == [0, 1] || lost == [2, 3], "{events:?}");
        assert_eq!(events.joined.len(), 6, "{events:?}");
        assert!(left.with_outcome("worker-lost") <= 2);
        // Who was lost is in the records, and so is who came back.
        let nodes = |outcome: &str| -> HashMap<String, usize> {
            let mut nodes = HashMap::new();
            for task in left.tasks() {
                if task["outcome"] == outcome {
                    let worker = task["worker"].as_u64().expect("a worker");
                    *nodes.entry(format!("node-{}", worker / 2)).or_default() += 1;
                }
            }
            nodes
        };
        assert!(nodes("worker-lost").len() <= 1);
        assert_eq!(nodes("ok").len(), 2);
    }
}

#[test]
fn a_killed_launcher_ends_the_run_which_goes_on_later() {
    for pause_ms in [0, 200] {
        let mut pool = bag(&[]);
        pool.joined(4);
        std::thread::sleep(Duration::from_millis(pause_ms));
        send(pool.of_role("launcher")[0].pid, Signal::KILL);
        let left = pool.end();
        left.expect(6).says("the launcher process is gone");
        let json = left.json();
        assert_eq!(json["ok"], false);
        assert!(!left.tasks().is_empty());
        let done = left.with_outcome("ok");
        let resumed = resume(left.place).end();
        resumed.expect(0);
        let tasks = &resumed.json()["tasks"];
        assert_eq!(tasks["succeeded"], 400, "{done} were done before: {tasks}");
    }
}

#[test]
fn a_launcher_killed_at_once_ends_the_run() {
    let mut pool = bag(&[]);
    pool.until("a launcher", |pool| !pool.of_role("launcher").is_empty());
    send(pool.of_role("launcher")[0].pid, Signal::KILL);
    let left = pool.end();
    assert!(!left.status.success(), "{}", left.text());
    let errors = left.stderr.lines().filter(|line| line.starts_with("error"));
    assert_eq!(errors.count(), 1, "{}", left.text());
}

#[test]
fn a_killed_coordinator_takes_everything_with_it() {
    for (joined, pause_ms) in [(0, 0), (0, 7), (1, 0), (4, 100), (4, 317)] {
        let mut pool = bag(&["--app.task-count=100000"]);
        pool.until("a launcher", |pool| !pool.of_role("launcher").is_empty());
        pool.joined(joined);
        std::thread::sleep(Duration::from_millis(pause_ms));
        let finished = pool.events().map_or(0, |events| events.finished);
        pool.signal(Signal::KILL);
        let left = pool.end();
        assert_eq!(left.status.signal(), Some(9));
        let run = left.run();
        if run.join("events.log").exists() {
            left.place
                .call(["records", run.to_str().expect("UTF-8")])
                .expect(0);
            assert!(lines(&run.join("tasks.jsonl")).len() >= finished);
        }
    }
}

#[test]
fn an_interrupted_run_leaves_nothing() {
    for (joined, pause_ms) in [(0, 0), (1, 0), (4, 100)] {
        let mut pool = bag(&["--app.task-count=100000"]);
        pool.until("a worker", |pool| !pool.of_role("worker").is_empty());
        pool.joined(joined);
        std::thread::sleep(Duration::from_millis(pause_ms));
        pool.signal(Signal::INT);
        let left = pool.end();
        left.expect(130)
            .says("error: interrupted; tasks were cancelled");
    }
}

#[test]
fn a_stopped_worker_is_replaced() {
    let mut pool = bag(&["--executor.heartbeat-timeout=1"]);
    pool.joined(4);
    std::thread::sleep(Duration::from_millis(100));
    send(pool.of_role("worker")[0].pid, Signal::STOP);
    let left = pool.end();
    left.expect(0);
    let events = left.events();
    assert_eq!(events.lost.len(), 1, "{events:?}");
    assert!(
        events.lost[0].1.contains("no sign of life for"),
        "{events:?}"
    );
    let json = left.json();
    assert_eq!(json["tasks"]["succeeded"], 400);
    assert_eq!(json["tasks"]["retried"], left.with_outcome("worker-lost"));
}

#[test]
fn workers_with_long_or_no_tasks_are_not_silent() {
    let args = [
        "synthetic",
        "--app.structure=sequential",
        "--app.task-count=2",
        "--app.task-sleep=2.5",
        "--executor.heartbeat-timeout=0.5",
    ];
    let left = Pool::start(&[&args[..], &NODES].concat()).end();
    left.expect(0);
    assert_eq!(left.events().lost, []);
}

#[test]
fn a_coordinator_that_was_stopped_blames_nobody() {
    let mut pool = bag(&["--executor.heartbeat-timeout=0.5"]);
    pool.joined(4);
    pool.signal(Signal::STOP);
    std::thread::sleep(Duration::from_millis(1500));
    pool.signal(Signal::CONT);
    let left = pool.end();
    left.expect(0);
    assert_eq!(left.events().lost, []);
}

#[test]
fn a_driver_that_computes_blames_no_worker() {
    let args = [
        probe(),
        "--app.action=ponder",
        "--app.count=2",
        "--app.bytes=800",
        "--executor.heartbeat-timeout=0.3",
        "--executor.max-processes=2",
    ];
    let left = Pool::start(&args).end();
    left.expect(0);
    assert_eq!(left.events().lost, []);
}

#[test]
fn a_guest_without_checks_is_stopped_with_its_worker() {
    for (action, name) in [("spin", "spin"), ("kernel", "kernel"), ("sleep", "sleep")] {
        let args = [
            probe(),
            "--app.action",
            action,
            "--app.count=4",
            "--engine.interrupt=free",
            "--task-timeout=0.5",
            "--executor.max-processes=2",
        ];
        let left = Pool::start(&args).end();
        left.expect(0);
        assert_eq!(left.with_outcome("timeout"), 4, "{name}");
        assert_eq!(left.tasks().len(), 4, "{name}: {:?}", left.tasks());
    }
}

#[test]
fn a_guest_without_checks_is_cancelled() {
    let args = [
        probe(),
        "--app.action=spin",
        "--app.count=5",
        "--engine.interrupt=free",
        "--executor.max-processes=2",
    ];
    let mut pool = Pool::start(&args);
    pool.joined(2);
    std::thread::sleep(Duration::from_millis(200));
    pool.signal(Signal::INT);
    let left = pool.end();
    left.expect(130);
    assert_eq!(left.with_outcome("cancelled"), 5);
}

#[test]
fn tasks_behind_one_that_takes_its_worker_along_are_not_charged() {
    let args = [
        probe(),
        "--app.action=behind",
        "--app.count=200",
        "--engine.interrupt=free",
        "--task-timeout=1",
        "--executor.max-processes=1",
    ];
    let left = Pool::start(&args).end();
    left.expect(0);
    let json = left.json();
    assert_eq!(json["tasks"]["retried"], 0);
    assert_eq!(json["tasks"]["succeeded"], 250);
    assert_eq!(left.with_outcome("timeout"), 1);
    assert_eq!(left.with_outcome("worker-lost"), 0);
}

#[test]
fn no_short_task_waits_for_a_long_one() {
    let args = [
        probe(),
        "--app.action=behind",
        "--app.count=2000",
        "--app.bytes=30000",
        "--executor.max-processes=2",
    ];
    let left = Pool::start(&args).end();
    left.expect(0);
    assert_eq!(left.json()["values"]["pending"], 1, "{}", left.text());
}

#[test]
fn a_run_without_descriptors_says_so() {
    for most in [12, 16, 20, 24, 32, 48, 64] {
        let args = ["--app.task-data-bytes=3000000", "--app.task-count=100"];
        let args = [&BAG[..], &NODES, &args].concat();
        let left = Pool::start_limited(&args, Some(most)).end();
        if left.status.success() {
            assert_eq!(left.json()["tasks"]["succeeded"], 100);
        } else {
            let ways = ["Too many open files", "no file descriptors left"];
            assert!(
                ways.iter().any(|way| left.stderr.contains(way)),
                "{most}: {}",
                left.text()
            );
        }
    }
}

#[test]
fn processes_that_are_stopped_end_with_the_run() {
    for role in ["launcher", "manager", "worker"] {
        let mut pool = bag(&[
            "--app.task-count=100000",
            "--executor.heartbeat-timeout=1000",
        ]);
        pool.joined(4);
        for member in pool.of_role(role) {
            send(member.pid, Signal::STOP);
        }
        pool.signal(Signal::INT);
        pool.end().expect(130);
    }
}

#[test]
fn a_run_whose_workers_never_live_gives_up() {
    let mut pool = bag(&["--app.task-count=100000", "--app.task-sleep=5"]);
    let mut killed = 0;
    while pool.child.try_wait().expect("wait").is_none() && killed < 1000 {
        for worker in pool.of_role("worker") {
            send(worker.pid, Signal::KILL);
            killed += 1;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let left = pool.end();
    left.expect(6).says("cannot start: signal 9 ended it");
}

#[test]
fn a_task_that_loses_every_worker_is_given_up() {
    let args = [
        "synthetic",
        "--app.structure=sequential",
        "--app.task-count=1",
        "--app.task-sleep=600",
        "--retries=100",
        "--executor.max-processes=1",
    ];
    let mut pool = Pool::start(&args);
    let mut seen = 0;
    while pool.child.try_wait().expect("wait").is_none() {
        let started = pool.events().map_or(0, |events| events.started);
        if started > seen {
            seen = started;
            // Long enough for it to begin; if not, it does not count, and is sent again.
            std::thread::sleep(Duration::from_millis(100));
            for worker in pool.of_role("worker") {
                send(worker.pid, Signal::KILL);
            }
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let left = pool.end();
    left.expect(1)
        .says("given up after it lost 4 workers (crash limit 3)");
    assert_eq!(left.with_outcome("worker-lost"), 4);
}
