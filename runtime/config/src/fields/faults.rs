//! Section `[faults]`.

use super::{GeneralField, Rule, Section, field, integer, words};
use crate::faults::{RANDOM, names, names_of_taps};
use serde_json::{Value, json};
use taps_schema::FieldKind;

/// Tries of a task that can carry a fault: the core draws no more.
const MOST_TRIES: i64 = 32;

pub(super) fn section() -> Section {
    let mut fields = what();
    fields.extend(target());
    fields.extend(details());
    Section {
        name: "faults",
        title: "Fault injection",
        fields,
    }
}

/// What happens, how often, and when.
fn what() -> Vec<GeneralField> {
    let types: Vec<&str> = [RANDOM].into_iter().chain(names()).collect();
    vec![
        field(
            "type",
            words(&types),
            Value::Null,
            "What goes wrong in tasks on purpose, so that you see what becomes of the run. `random` \
             draws a type for each fault. Types that kill choose `process-pool`, `timeout` needs \
             `--task-timeout`, `lost-result` switches `--lineage` on. See docs/faults.md.",
        )
        .alias("faults"),
        field(
            "rate",
            FieldKind::Float {
                min: Some(0.0),
                max: Some(1.0),
            },
            json!(1.0),
            "Share of the tries that are hit. A try that is hit may be followed by another that is hit, \
             up to `retries`; after one that is not, the task is spared.",
        )
        .rule(Rule::Rate),
        field(
            "seed",
            integer(0, i64::MAX),
            Value::Null,
            "Seed of the draws; `none` means that of the run. Equal seeds hit the same tasks, on every \
             executor.",
        ),
        field(
            "point",
            words(&["before", "mid", "after"]),
            json!("before"),
            "When a fault strikes: before the task function, while it runs, or after it, before its \
             results are out.",
        ),
    ]
}

/// Where it happens.
fn target() -> Vec<GeneralField> {
    let list = |item| FieldKind::List {
        item: Box::new(item),
    };
    vec![
        field(
            "tasks",
            list(FieldKind::String),
            json!([]),
            "Names of the tasks that are aimed at; `[]` aims at all. `describe APP` lists them.",
        )
        .rule(Rule::Names),
        field(
            "indices",
            list(integer(0, i64::MAX)),
            json!([]),
            "Which submissions of a name are aimed at, counted from 0; `[]` aims at all.",
        ),
        field(
            "attempts",
            list(integer(0, MOST_TRIES - 1)),
            json!([]),
            "Which tries of a task are aimed at, counted from 0: `[0]` hits a task once, and lets a \
             retry succeed. `[]` aims at all.",
        ),
        field(
            "workers",
            list(integer(0, i64::from(u16::MAX))),
            json!([]),
            "Which workers are aimed at, counted from 0; `[]` aims at all. Which task runs where is not \
             repeatable, and so these faults are not.",
        ),
        field(
            "budget",
            integer(0, i64::MAX),
            Value::Null,
            "Most faults of the run, spent in the order of submission; `none` means no limit.",
        ),
        field(
            "burst",
            integer(1, i64::MAX),
            json!(1),
            "Submissions of a name that are hit or spared together.",
        ),
    ]
}

/// Details of single types, and the signal.
fn details() -> Vec<GeneralField> {
    let milliseconds = FieldKind::Float {
        min: Some(0.0),
        max: Some(3_600_000.0),
    };
    let random_from = FieldKind::List {
        item: Box::new(words(&names())),
    };
    vec![
        field(
            "mid_ms",
            milliseconds,
            json!(1.0),
            "With the point `mid`: how long the task runs before, in milliseconds.",
        ),
        field(
            "slow_ms",
            integer(0, 86_400_000),
            json!(1000),
            "With `slow-worker`: how long the worker stands still, in milliseconds.",
        ),
        field(
            "random_from",
            random_from,
            json!(names_of_taps()),
            "With `random`: the types to draw from.",
        ),
        field(
            "signal_at_event",
            integer(1, i64::MAX),
            Value::Null,
            "The run sends itself a signal right after the event of this number, from 1, is in its log: to \
             test what a kill leaves, and how a run resumes.",
        ),
        field(
            "signal",
            words(&["kill", "stop"]),
            json!("kill"),
            "That signal: SIGKILL, or SIGSTOP.",
        ),
    ]
}
