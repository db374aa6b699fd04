//! What becomes of tasks that fail, take too long, or hang on others: as without an engine.

use super::{
    DASK, Found, GLOBUS, HYPERQUEUE, KEPT, PARSL, PARSL_LOCAL, RAY, TASKVINE, THREADS, Turn, action,
};
use crate::{harness::Place, pool::Left};
use serde_json::Value;
use std::collections::BTreeMap;

/// All in one run: engines start slowly.
const WAYS: [&str; 3] = ["--app.bytes=100000", "--task-timeout=1", "--retries=1"];

/// Outcomes of the attempts of each submission, by name and in order. Attempts that were forwarded in vain, to an
/// engine that then saw their parent fail, are no failures of their task, and other executors have none.
fn attempts(tasks: &[Value]) -> BTreeMap<(String, u64), Vec<String>> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let mut tasks: Vec<&Value> = tasks.iter().collect();
    tasks.sort_by_key(|task| task["attempt"].as_u64());
    let mut attempts = BTreeMap::<_, Vec<_>>::new();
    for task in tasks {
        let id = text(&task["task_id"]).parse::<u64>().expect("a number");
        let outcome = text(&task["outcome"]);
        let all = attempts.entry((text(&task["name"]), id)).or_default();
        if outcome != "upstream-failed" || task["final"] == true {
            all.push(outcome);
        }
    }
    attempts
}

#[track_caller]
fn the_same_as_on_threads(engine: &[&str]) -> Option<Left> {
    let turn = Turn::take()?;
    let args = [&action("ways")[..], &WAYS].concat();
    let place = Place::new();
    let (ended, json) = place.json(&[&args[..], &THREADS].concat());
    ended.expect(0);
    let run = crate::harness::run_dir(&json);
    let left = turn.start(&[&args, engine]).end();
    left.expect(0);
    let found = Found::of(&left.json(), &left.run());
    assert_eq!(found, Found::of(&json, &run), "{engine:?}");
    let expected = attempts(&crate::harness::tasks(&run));
    assert_eq!(attempts(&left.tasks()), expected, "{engine:?}");
    for name in ["submitted", "succeeded", "failed"] {
        let count = &left.json()["tasks"][name];
        assert_eq!(count, &json["tasks"][name], "{name}: {engine:?}");
    }
    let retried = |json: &Value| json["tasks"]["retried"].as_u64().expect("a number");
    let is_in_vain = |task: &&Value| task["outcome"] == "upstream-failed" && task["final"] == false;
    let in_vain = left.tasks().iter().filter(is_in_vain).count() as u64;
    assert_eq!(
        retried(&left.json()),
        retried(&json) + in_vain,
        "{engine:?}"
    );
    for task in left.tasks() {
        let ran = task["outcome"] != "upstream-failed";
        assert!(task["executions"].as_u64() <= Some(1), "{task}");
        assert!(!ran || task["executions"] == 1, "{task}");
    }
    Some(left)
}

#[test]
fn on_dask() {
    the_same_as_on_threads(&DASK);
}

#[test]
fn on_parsl() {
    the_same_as_on_threads(&PARSL);
}

#[test]
fn on_parsl_threads() {
    the_same_as_on_threads(&PARSL_LOCAL);
}

#[test]
fn on_ray() {
    the_same_as_on_threads(&RAY);
}

#[test]
fn on_a_taskvine_that_is_played() {
    the_same_as_on_threads(&TASKVINE);
    let library = ["--executor=taskvine", "--executor.workers=2"];
    the_same_as_on_threads(&library);
}

#[test]
fn on_a_globus_endpoint_that_is_here() {
    the_same_as_on_threads(&GLOBUS);
}

#[test]
fn on_hyperqueue() {
    the_same_as_on_threads(&HYPERQUEUE);
}

/// A task that was forwarded to an engine before its parent failed there runs again, behind the parent's next attempt.
#[track_caller]
fn forwarded_tasks_run_again(engine: &[&str]) {
    let Some(left) = the_same_as_on_threads(&[engine, &KEPT].concat()) else {
        return;
    };
    let tasks = left.tasks();
    let mended = tasks.iter().find(|task| task["name"] == "flaky");
    let mended = mended.expect("a record")["task_id"].clone();
    let reader = |task: &&Value| {
        let parents = task["parent_task_ids"].as_array().expect("a list");
        task["name"] == "ok" && parents.contains(&mended)
    };
    let outcomes: Vec<_> = tasks
        .iter()
        .filter(reader)
        .map(|task| (&task["outcome"], &task["final"]))
        .collect();
    let expected = [
        (&"upstream-failed".into(), &false.into()),
        (&"ok".into(), &true.into()),
    ];
    assert_eq!(outcomes, expected, "{engine:?}");
}

#[test]
fn forwarded_on_dask() {
    forwarded_tasks_run_again(&DASK);
}

#[test]
fn forwarded_on_ray() {
    forwarded_tasks_run_again(&RAY);
}
