//! What a task sees of the host, what the host keeps of a task, and where sandboxes come from.

use crate::harness::{Place, probe, run_dir, tasks};
use serde_json::Value;
use std::{fs, path::Path};

#[track_caller]
fn probed(place: &Place, action: &str, args: &[&str]) -> Value {
    let (ended, json) = place.json(&[&[probe(), "--app.action", action], args].concat());
    ended.expect(0);
    json
}

/// What a task saw.
#[track_caller]
fn seen(args: &[&str]) -> String {
    let place = Place::new();
    let json = probed(&place, "look", args);
    json["values"]["task 0"]
        .as_str()
        .expect("a value")
        .to_owned()
}

/// Where tasks run in sandboxes.
const POOLS: [&str; 2] = ["--executor=thread-pool", "--executor=process-pool"];

#[test]
fn a_driver_holds_more_than_a_million_things() {
    let place = Place::new();
    place
        .call(["run", probe(), "--app.action=hoard", "--app.count=1000001"])
        .expect(0);
}

#[test]
fn a_sandbox_is_empty() {
    for pool in POOLS {
        let seen = seen(&[pool]);
        let (what, _) = seen.split_once(" random=").expect("a random number");
        assert_eq!(
            what, "env=[] args=0 files=0 passwd=false years=0 network=false",
            "{pool}"
        );
    }
}

#[test]
fn only_the_variables_of_the_run_are_visible() {
    for pool in POOLS {
        let seen = seen(&[r#"--run.env-vars={"NAME": "value", "OTHER": ""}"#, pool]);
        assert!(
            seen.starts_with(r#"env=[("NAME", "value"), ("OTHER", "")] "#),
            "{pool}: {seen}"
        );
    }
}

#[test]
fn randomness_is_seeded() {
    let first = seen(&["--seed=3"]);
    assert_eq!(seen(&["--seed=3", "--executor.max-threads=1"]), first);
    assert_eq!(seen(&["--seed=3", "--executor=process-pool"]), first);
    assert_ne!(seen(&["--seed=4"]), first);
}

#[test]
fn output_of_a_task_is_kept_up_to_a_bound_and_counted_beyond() {
    for pool in POOLS {
        is_bounded(&["--logging.file-level=trace", pool]);
    }
}

#[track_caller]
fn is_bounded(args: &[&str]) {
    let place = Place::new();
    let run = run_dir(&probed(&place, "chatter", args));
    let log = fs::read_to_string(run.join("log.txt")).expect("log.txt");
    assert!(log.contains("line 0 of task 0"), "{}", &log[..2000]);
    assert!(!log.contains("line 99999 of task 0"));
    assert!(log.contains("and one for standard error"));
    assert_eq!(
        truncated(&run.join("events.log")),
        whole_bytes() - (64 << 10)
    );
    let records: u64 = ["events.log", "tasks.jsonl", "log.txt"]
        .map(|name| fs::metadata(run.join(name)).expect("a file").len())
        .iter()
        .sum();
    assert!(records < 1 << 20, "{records}");
}

/// Bytes that a task of `chatter` writes to standard output.
fn whole_bytes() -> u64 {
    let bytes = |line| format!("line {line} of task 0\n").len() as u64;
    (0..100_000).map(bytes).sum()
}

/// Bytes of output that a run did not keep.
fn truncated(log: &Path) -> u64 {
    let events = taps_records::LogReader::open(log).expect("open the log");
    let truncated = events.map(|event| match event.expect("an event") {
        taps_records::LogEvent::GuestOutput {
            truncated_bytes, ..
        } => truncated_bytes,
        _ => 0,
    });
    truncated.sum()
}

#[test]
fn a_payload_cannot_be_changed_by_its_reader() {
    let sizes = ["3000000", "100000", "1000", "0"];
    for (size, pool) in sizes.iter().flat_map(|size| POOLS.map(|pool| (size, pool))) {
        let place = Place::new();
        let size = format!("--app.bytes={size}");
        let json = probed(&place, "scribble", &[&size, pool, "--app.count=3"]);
        let checks = json["checks"].as_array().expect("checks");
        assert_eq!(checks.len(), 6);
        assert!(checks.iter().all(|check| check["passed"] == true), "{json}");
    }
}

#[test]
fn a_large_payload_is_mapped_not_copied() {
    for pool in POOLS {
        is_mapped(&["--app.bytes=3000000", pool]);
    }
}

#[track_caller]
fn is_mapped(args: &[&str]) {
    let place = Place::new();
    let json = probed(&place, "scribble", args);
    let tasks = tasks(&run_dir(&json));
    let named = |name: &str| {
        tasks
            .iter()
            .find(|task| task["name"] == name)
            .expect("a task")
    };
    let input = &named("add_up")["inputs"][0];
    assert_eq!(
        (&input["way"], &input["copies"]),
        (&"mapped".into(), &0.into()),
        "{input}"
    );
    assert!(input["bytes"].as_u64() >= Some(3_000_000), "{input}");
    let output = &named("produce")["outputs"][0];
    assert!(output["bytes"].as_u64() >= Some(3_000_000), "{output}");
}

/// One worker, of each kind.
const ONE: [[&str; 2]; 2] = [
    ["--executor=thread-pool", "--executor.max-threads=1"],
    ["--executor=process-pool", "--executor.max-processes=1"],
];

/// Where the sandboxes of tasks came from, in the order in which they ran.
fn instances(worker: [&str; 2], args: &[&str]) -> Vec<(String, String)> {
    let place = Place::new();
    let args = [&["--app.count=8"], &worker[..], args].concat();
    let json = probed(&place, "mixed", &args);
    let mut tasks = tasks(&run_dir(&json));
    tasks.sort_by_key(|task| task["monotonic_execution_start_ns"].as_u64());
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let value = |task: &Value| text(&json["values"][format!("task {}", text(&task["task_id"]))]);
    tasks
        .iter()
        .map(|task| {
            let told = if task["outcome"] == "ok" {
                value(task)
            } else {
                text(&task["outcome"])
            };
            (text(&task["instance"]), told)
        })
        .collect()
}

fn pairs(expected: [(&str, &str); 8]) -> Vec<(String, String)> {
    expected
        .map(|(instance, told)| (instance.to_owned(), told.to_owned()))
        .to_vec()
}

#[test]
fn sandboxes_are_fresh_by_default() {
    let (ok, trap) = (("fresh", "0"), ("fresh", "trap"));
    for worker in ONE {
        assert_eq!(
            instances(worker, &[]),
            pairs([ok, ok, ok, trap, ok, ok, ok, trap])
        );
    }
}

#[test]
fn prewarmed_sandboxes_are_used_once() {
    for worker in ONE {
        are_used_once(&instances(worker, &["--instances=prewarmed"]));
    }
}

fn are_used_once(instances: &[(String, String)]) {
    let told: Vec<_> = instances.iter().map(|(_, told)| told.as_str()).collect();
    assert_eq!(told, ["0", "0", "0", "trap", "0", "0", "0", "trap"]);
    assert!(
        instances
            .iter()
            .any(|(instance, _)| instance == "prewarmed"),
        "{instances:?}"
    );
    assert!(
        instances.iter().all(|(instance, _)| instance != "reused"),
        "{instances:?}"
    );
}

#[test]
fn a_reused_sandbox_is_given_up_after_a_trap() {
    let half = [
        ("fresh", "0"),
        ("reused", "1"),
        ("reused", "2"),
        ("reused", "trap"),
    ];
    for worker in ONE {
        let expected = [half, half].concat().try_into().expect("eight");
        assert_eq!(instances(worker, &["--instances=reuse"]), pairs(expected));
    }
}

#[test]
fn without_a_sandbox_there_is_no_instance() {
    let place = Place::new();
    let args = [
        "synthetic",
        "--app.structure=sequential",
        "--app.task-count=2",
        "--executor=native",
    ];
    let (_, json) = place.json(&args);
    for task in tasks(&run_dir(&json)) {
        assert_eq!(task["instance"], "none", "{task}");
    }
    let ended = place.run(&[probe(), "--app.action=ok", "--executor=native"]);
    ended
        .expect(2)
        .says("the executor `native` runs built-in apps only");
}
