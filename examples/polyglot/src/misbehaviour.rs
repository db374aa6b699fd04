//! What becomes of tasks that go wrong, in each language.

use taps::{Bound, Bytes, Call, Engine, Error, Future, Json, Report, Result, TaskOptions};

use crate::FOREIGN;

/// Ways of going wrong, and the outcome of each.
const WAYS: [(&str, &str); 3] = [
    ("error", "task-error"),
    ("trap", "trap"),
    ("memory", "out-of-memory"),
];
/// Python has sockets in its library, and no network behind them.
const WAYS_OF_PYTHON: [(&str, &str); 1] = [("network", "task-error")];

/// Enough for every interpreter to start, and soon full.
const MEMORY_BYTES: u64 = 192 << 20;

/// Lets a task of every language fail in every way. Each failure is an outcome of that task alone: the others, and
/// the driver, go on.
pub(crate) fn report(engine: &Engine) -> Result<Report> {
    let options = TaskOptions::new().memory_bytes(MEMORY_BYTES).retries(0);
    let mut submitted: Vec<(String, &str, Future<Bytes>)> = Vec::new();
    for language in FOREIGN {
        let more: &[_] = if language == "python" {
            &WAYS_OF_PYTHON
        } else {
            &[]
        };
        for (way, outcome) in WAYS.iter().chain(more) {
            let how = taps::Argument::value(Json(serde_json::json!({ "how": way })))?;
            let call = Call::<Bytes>::named(&format!("{language}_misbehave"), [how]);
            let future = engine.submit_with(call, &options)?;
            submitted.push((format!("{language}_{way}"), outcome, future));
        }
    }
    let mut report = Report::new();
    for (name, expected, future) in submitted {
        let (outcome, said) = match future.finish() {
            Ok(()) => ("ok".to_owned(), String::new()),
            Err(Error::Task(failure)) => {
                let said = format!("{}: {}", failure.kind, failure.message);
                (failure.outcome, said)
            }
            Err(error) => return Err(error),
        };
        report = report
            .check(&name, outcome, Bound::Equals(expected.into()))
            .value(&format!("{name}_says"), said);
    }
    Ok(report)
}
