//! Every type of fault, on each executor that acts it out, without and with retries, on each built-in app: the
//! documented outcome, the same result after recovery, and nothing left over. What a type does: docs/faults.md.

use crate::{
    harness::{Place, tasks},
    pool::{Left, Pool},
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs, path::Path, sync::LazyLock};

/// Small runs with data between their tasks. The guest's kernels give the same bits each time.
pub(crate) const APPS: [&[&str]; 3] = [
    &[
        "synthetic",
        "--app.structure=bag",
        "--app.task-count=8",
        "--app.bag-max-running=4",
        "--app.task-data-bytes=70000",
    ],
    &[
        "mapreduce",
        "--app.generate=true",
        "--app.generated-files=3",
        "--app.generated-words=300",
        "--app.map-tasks=3",
    ],
    &[
        "cholesky",
        "--app.matrix-size=24",
        "--app.block-size=8",
        "--kernels=guest",
    ],
];

pub(crate) const EXECUTORS: [[&str; 2]; 2] = [
    ["--executor=thread-pool", "--executor.max-threads=2"],
    ["--executor=process-pool", "--executor.max-processes=2"],
];

/// What a run found out, without what differs from run to run.
pub(crate) fn results(json: &Value) -> Value {
    let mut values = json["values"].clone();
    if let Some(values) = values.as_object_mut() {
        values.remove("run_seconds");
    }
    json!([json["checks"], values])
}

/// Results of the apps when nothing goes wrong.
pub(crate) static CLEAN: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let clean = APPS.map(|app| {
        let (ended, json) = Place::new().json(&[app, &EXECUTORS[0]].concat());
        ended.expect(0);
        results(&json)
    });
    clean.to_vec()
});

/// The first submission of each name is hit in its first try.
const FIRST: [&str; 2] = ["--faults.indices=0", "--faults.attempts=0"];

/// A run of any app on any executor; nothing of it may be left but its directory.
#[track_caller]
pub(crate) fn run(parts: &[&[&str]]) -> Left {
    let args = [&["run"], &parts.concat()[..], &["--json"]].concat();
    Pool::command(Place::new(), &args).end()
}

/// The entries of `failures.json`; none when there is no such file.
pub(crate) fn faults(run: &Path) -> Vec<Value> {
    let Ok(text) = fs::read_to_string(run.join("failures.json")) else {
        return Vec::new();
    };
    let report: Value = serde_json::from_str(&text).expect("JSON");
    report["faults"].as_array().expect("a list").clone()
}

/// What is documented of a type that makes attempts fail.
struct Failing {
    name: &'static str,
    outcome: &'static str,
    more: &'static [&'static str],
    executors: &'static [[&'static str; 2]],
}

impl Failing {
    /// On all sandboxed executors.
    const fn new(name: &'static str, outcome: &'static str) -> Self {
        Self {
            name,
            outcome,
            more: &[],
            executors: &EXECUTORS,
        }
    }

    const fn with(self, more: &'static [&'static str]) -> Self {
        Self { more, ..self }
    }

    /// A type that kills.
    const fn killing(name: &'static str) -> Self {
        Self {
            executors: EXECUTORS.split_at(1).1,
            ..Self::new(name, "worker-lost")
        }
    }

    fn walk(&self) {
        for executor in self.executors {
            for (app, clean) in APPS.iter().zip(CLEAN.iter()) {
                let faults = ["--faults", self.name];
                let parts = [app, &executor[..], &faults, &FIRST, self.more];
                self.propagates(&run(&parts));
                let retries: &[&str] = &["--retries=2"];
                self.recovers(&run(&[&parts[..], &[retries]].concat()), clean);
            }
        }
    }

    /// Without retries the run fails, and says for what.
    #[track_caller]
    fn propagates(&self, left: &Left) {
        left.expect(1).says(self.outcome);
        let json = left.json();
        assert_eq!(json["ok"], false);
        assert!(json["tasks"]["failed"].as_u64() > Some(0), "{json}");
        let faults = self.faults(left, "propagated");
        assert_eq!(json["faults"]["acted"], faults, "{}", left.text());
    }

    /// With retries it gives what it gives without faults.
    #[track_caller]
    fn recovers(&self, left: &Left, clean: &Value) {
        left.expect(0);
        let json = left.json();
        assert_eq!(&results(&json), clean, "{}", left.text());
        assert_eq!(json["tasks"]["failed"], 0);
        let faults = self.faults(left, "recovered");
        let summary = &json["faults"];
        assert_eq!(summary["by_fate"]["recovered"], faults);
        // An attempt that was taken back, or lost with its neighbour, has not come to its fault, and is made again.
        let not_acted = summary["by_fate"]["not-acted"].as_u64().unwrap_or(0);
        assert_eq!(summary["total"], faults as u64 + not_acted);
        assert!(json["tasks"]["retried"].as_u64() >= Some(faults as u64));
        // One of each name, unless there is a budget.
        let names: BTreeSet<String> = left.tasks().iter().map(name).collect();
        let injected = usize::from(names.contains("fault:injected-parent"));
        let most = if self.more.contains(&"--faults.budget=2") {
            2
        } else {
            usize::MAX
        };
        assert_eq!(faults, (names.len() - injected).min(most));
    }

    /// Each fault that was acted out had its outcome, and this fate; gives how many there were.
    #[track_caller]
    fn faults(&self, left: &Left, fate: &str) -> usize {
        let records = left.tasks();
        let faults = faults(&left.run());
        let acted = faults.iter().filter(|fault| fault["acted"] == true);
        let acted: Vec<&Value> = acted.collect();
        assert!(!acted.is_empty(), "{}: {}", self.name, left.text());
        for fault in &acted {
            assert_eq!(fault["type"], self.name);
            assert_eq!(fault["fate"], fate, "{fault}");
            assert_eq!(fault["outcome"], self.outcome, "{fault}");
            let id = fault["task_id"].to_string();
            let record = records
                .iter()
                .find(|record| record["task_id"] == *id && record["attempt"] == fault["attempt"]);
            let record = record.unwrap_or_else(|| panic!("no record of {fault}"));
            assert_eq!(record["outcome"], self.outcome, "{record}");
        }
        acted.len()
    }
}

fn name(record: &Value) -> String {
    record["name"].as_str().expect("a name").to_owned()
}

#[test]
fn dependency() {
    Failing::new("dependency", "task-error").walk();
}

#[test]
fn failure() {
    Failing::new("failure", "task-error").walk();
}

#[test]
fn import() {
    Failing::new("import", "task-error").walk();
}

#[test]
fn zero_division() {
    Failing::new("zero-division", "trap").walk();
}

#[test]
fn memory() {
    Failing::new("memory", "out-of-memory")
        .with(&["--task-memory=32MiB"])
        .walk();
}

#[test]
fn ulimit() {
    Failing::new("ulimit", "task-error")
        .with(&["--faults.budget=2"])
        .walk();
}

#[test]
fn timeout() {
    Failing::new("timeout", "timeout")
        .with(&["--faults.budget=2", "--task-timeout=0.5"])
        .walk();
}

#[test]
fn worker_killed() {
    Failing::killing("worker-killed").walk();
}

#[test]
fn manager_killed() {
    Failing::killing("manager-killed").walk();
}

#[test]
fn node_killed() {
    Failing::killing("node-killed").walk();
}

/// Faults with which every attempt ends well: the run succeeds whatever the retries.
#[track_caller]
fn harmless(name: &str, fates: &[&str]) {
    for executor in EXECUTORS {
        for (app, clean) in APPS.iter().zip(CLEAN.iter()) {
            for retries in ["--retries=0", "--retries=2"] {
                let more = ["--faults", name, "--faults.slow-ms=20", retries];
                let left = run(&[app, &executor, &more, &FIRST]);
                left.expect(0);
                assert_eq!(&results(&left.json()), clean, "{}", left.text());
                let faults = faults(&left.run());
                assert!(!faults.is_empty());
                for fault in &faults {
                    let fate = fault["fate"].as_str().expect("a fate");
                    assert!(fates.contains(&fate), "{fault}");
                    assert_eq!(
                        (&fault["acted"], &fault["outcome"]),
                        (&true.into(), &"ok".into())
                    );
                }
            }
        }
    }
}

#[test]
fn late_duplicate() {
    harmless("late-duplicate", &["absorbed"]);
}

#[test]
fn slow_worker() {
    harmless("slow-worker", &["absorbed"]);
}

#[test]
fn lost_result() {
    // Nobody needs the results of the bag; whether a reader had read before they were lost is a matter of luck,
    // and if it had, the run may end while they are made again for nobody.
    harmless("lost-result", &["absorbed", "recovered", "unfinished"]);
}

#[test]
fn a_result_that_is_lost_is_made_again() {
    for executor in EXECUTORS {
        let more = ["--faults=lost-result", "--faults.tasks=summary_task"];
        let left = run(&[APPS[1], &executor, &more]);
        left.expect(0);
        let json = left.json();
        assert_eq!(results(&json), CLEAN[1]);
        assert_eq!(json["faults"]["by_fate"], json!({ "recovered": 1 }));
        assert!(json["tasks"]["recomputed"].as_u64() >= Some(1), "{json}");
    }
}

#[test]
fn corrupt_payload() {
    for executor in EXECUTORS {
        for app in APPS {
            for retries in ["--retries=0", "--retries=2"] {
                let more = ["--faults=corrupt-payload", retries];
                let left = run(&[app, &executor, &more, &FIRST]);
                // What the app reads and checks it may notice; the run itself notices nothing.
                let code = left.status.code();
                assert!(matches!(code, Some(0 | 1 | 3)), "{}", left.text());
                let faults = faults(&left.run());
                assert!(!faults.is_empty());
                for fault in faults.iter().filter(|fault| fault["acted"] == true) {
                    assert_eq!(fault["fate"], "silent", "{fault}");
                }
            }
        }
    }
}

#[test]
fn a_check_of_the_app_notices_a_corrupt_payload() {
    for executor in EXECUTORS {
        let more = ["--faults=corrupt-payload", "--faults.tasks=potrf"];
        let left = run(&[APPS[2], &executor, &more]);
        assert!(matches!(left.status.code(), Some(1 | 3)), "{}", left.text());
    }
}

#[test]
fn a_store_with_digests_notices_a_corrupt_payload_and_lineage_mends_it() {
    let stored = [
        "--filter=all",
        "--transformer=file",
        "--transformer.file-dir=payloads",
        "--lineage=true",
        "--faults=corrupt-payload",
    ];
    for executor in EXECUTORS {
        for (app, clean, tasks) in [
            (APPS[1], &CLEAN[1], "--faults.tasks=map_task"),
            (APPS[2], &CLEAN[2], "--faults.tasks=potrf"),
        ] {
            let left = run(&[app, &executor, &stored, &FIRST, &[tasks]]);
            left.expect(0);
            let json = left.json();
            assert_eq!(&results(&json), clean, "{}", left.text());
            assert_eq!(json["faults"]["by_fate"], json!({ "recovered": 1 }));
            assert!(json["tasks"]["recomputed"].as_u64() >= Some(1), "{json}");
            assert!(left.with_outcome("payload-error") > 0, "{tasks}");
        }
    }
}

#[test]
fn program_crash() {
    for app in APPS {
        let left = run(&[app, &["--faults=program-crash"]]);
        left.expect(2).says("and the app has none");
    }
}

#[test]
fn records_of_what_was_tried_again_end_once() {
    let more = ["--faults=failure", "--retries=2"];
    let left = run(&[APPS[1], &EXECUTORS[1], &more, &FIRST]);
    left.expect(0);
    let mut ended = BTreeSet::new();
    for record in tasks(&left.run()) {
        if record["final"] == true {
            assert!(ended.insert(record["task_id"].to_string()), "{record}");
        }
    }
    assert_eq!(
        Some(ended.len() as u64),
        left.json()["tasks"]["submitted"].as_u64()
    );
}
