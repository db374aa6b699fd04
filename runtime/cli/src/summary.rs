//! What a run says at its end: one JSON object, or a few lines.

use crate::render::Style;
use serde::Serialize;
use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf};
use taps_coordinator::WayTotal;
use taps_records::{BundleRecord, InjectionSummary};
use taps_schema::Check;

/// The end of one run. Its JSON form is a promise to scripts: fields may be added.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Summary {
    /// Whether everything went well, every check included.
    pub(crate) ok: bool,
    /// Name of the app; null when the configuration was refused.
    pub(crate) app: Option<String>,
    /// Name of the executor.
    pub(crate) executor: Option<String>,
    /// The bundle and by what right it ran; null when the configuration was refused.
    pub(crate) bundle: Option<BundleRecord>,
    /// Run directory, absolute; null when none was made.
    pub(crate) run_dir: Option<PathBuf>,
    /// Seconds from the start of the program to the end of the run.
    pub(crate) elapsed_s: f64,
    /// Seconds from the start of the run to when its components were loaded, compiled where they were not cached.
    pub(crate) loaded_s: f64,
    /// Seconds that the driver ran.
    pub(crate) app_elapsed_s: f64,
    /// Phases that the driver marked, in order.
    pub(crate) phases: Vec<PhaseSummary>,
    /// Counts of tasks.
    pub(crate) tasks: TaskSummary,
    /// Succeeded and failed tasks per second of `app_elapsed_s`.
    pub(crate) tasks_per_s: f64,
    /// How payloads travelled, and what they took.
    pub(crate) data: DataSummary,
    /// Faults that were injected, and what became of them; null when there were none.
    pub(crate) faults: Option<InjectionSummary>,
    /// Spans for an OpenTelemetry collector; null when none was named.
    pub(crate) spans: Option<SpanSummary>,
    /// Checks that the app made of its result.
    pub(crate) checks: Vec<Check>,
    /// Named results of the app.
    pub(crate) values: serde_json::Map<String, serde_json::Value>,
    /// Why the run failed, causes included; null when it did not.
    pub(crate) error: Option<String>,
}

/// What became of spans.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct SpanSummary {
    /// Those that the collector took.
    pub(crate) exported: u64,
    /// Those that did not reach it, or that it refused.
    pub(crate) dropped: u64,
}

/// How payloads travelled, and what they took.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct DataSummary {
    /// Kind of the payload store; null before there is one.
    pub(crate) store: Option<String>,
    /// Whether large payloads had pages of 2 MiB.
    pub(crate) huge_pages: bool,
    /// Most bytes of memory that payloads took at one time.
    pub(crate) peak_bytes: u64,
    /// Most bytes that were on a disk at one time, because memory was full.
    pub(crate) peak_spilled_bytes: u64,
    /// Bytes copied, of all arguments and results.
    pub(crate) copied_bytes: u64,
    /// Bytes that went to worker processes, payloads inside of messages included.
    pub(crate) sent_bytes: u64,
    /// Bytes that came from worker processes.
    pub(crate) received_bytes: u64,
    /// Arguments, by the way in which they came.
    pub(crate) inputs: Vec<WayTotal>,
    /// Results, by the way in which they went.
    pub(crate) outputs: Vec<WayTotal>,
}

impl DataSummary {
    /// The lines for people; none when no payload travelled.
    fn to_text(&self, style: &Style) -> Vec<String> {
        let mut lines = Vec::new();
        let named = [("inputs", &self.inputs), ("outputs", &self.outputs)];
        for (name, totals) in named.into_iter().filter(|(_, totals)| !totals.is_empty()) {
            let ways: Vec<_> = totals
                .iter()
                .map(|total| {
                    let way = serde_json::to_value(total.way).unwrap_or_default();
                    let way = way.as_str().unwrap_or_default();
                    format!("{} {way} ({})", total.payloads, bytes(total.bytes))
                })
                .collect();
            lines.push(format!("  {name:<9} {}", ways.join(", ")));
        }
        if self.peak_bytes > 0 {
            let mut line = format!(
                "  payloads  at most {} in memory, {} copied",
                bytes(self.peak_bytes),
                bytes(self.copied_bytes)
            );
            if self.peak_spilled_bytes > 0 {
                let spilled = format!("at most {} on disk", bytes(self.peak_spilled_bytes));
                line = format!("{line}, {}", style.warning(&spilled));
            }
            lines.push(line);
        }
        lines
    }
}

/// A number of bytes for people, in powers of ten.
pub(crate) fn bytes(count: u64) -> String {
    indicatif::DecimalBytes(count).to_string()
}

/// One phase of an app.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PhaseSummary {
    /// Name given by the driver.
    pub(crate) name: String,
    /// How long it took, in seconds.
    pub(crate) elapsed_s: f64,
}

/// Counts of tasks, not of attempts.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct TaskSummary {
    /// Submitted by the driver.
    pub(crate) submitted: u64,
    /// Ended with a result.
    pub(crate) succeeded: u64,
    /// Ended without one.
    pub(crate) failed: u64,
    /// Attempts after the first, of all tasks.
    pub(crate) retried: u64,
    /// Ended tasks that ran again, because a result of theirs was lost and needed.
    pub(crate) recomputed: u64,
    /// Tasks that did not run, because an earlier run had their results.
    pub(crate) memoized: u64,
}

/// The runs of `--repeat`, as one object.
#[derive(Debug, Serialize)]
struct Repeated<'a> {
    ok: bool,
    app: Option<&'a str>,
    executor: Option<&'a str>,
    repeat: usize,
    elapsed_s: f64,
    runs: &'a [Summary],
    error: Option<&'a str>,
}

/// The JSON of a command: the object of its only run, or one around those of all.
pub(crate) fn to_json(runs: &[Summary]) -> serde_json::Value {
    match runs {
        [only] => serde_json::json!(only),
        _ => serde_json::json!(Repeated {
            ok: !runs.is_empty() && runs.iter().all(|run| run.ok),
            app: runs.first().and_then(|run| run.app.as_deref()),
            executor: runs.first().and_then(|run| run.executor.as_deref()),
            repeat: runs.len(),
            elapsed_s: runs.iter().map(|run| run.elapsed_s).sum(),
            error: runs.iter().find_map(|run| run.error.as_deref()),
            runs,
        }),
    }
}

impl Summary {
    /// The lines for people.
    pub(crate) fn to_text(&self, style: &Style) -> String {
        let mut lines = Vec::new();
        let name = self.app.as_deref().unwrap_or("run");
        let state = if self.ok {
            style.good("ok")
        } else {
            style.error("failed")
        };
        let executor = self.executor.as_deref().unwrap_or("-");
        let elapsed = self.elapsed_s;
        lines.push(format!("{name} on {executor}: {state} in {elapsed:.3} s"));
        let tasks = self.tasks;
        lines.push(format!(
            "  tasks     {} submitted, {} succeeded, {} failed, {} retried; {:.0}/s",
            tasks.submitted, tasks.succeeded, tasks.failed, tasks.retried, self.tasks_per_s
        ));
        let again = [
            (tasks.recomputed, "run again for a lost result"),
            (tasks.memoized, "memoized"),
        ];
        for (count, what) in again.into_iter().filter(|(count, _)| *count > 0) {
            lines.push(format!("            {count} {what}"));
        }
        lines.extend(self.faults.as_ref().map(faults_to_text));
        lines.extend(self.spans.map(|spans| {
            format!(
                "  spans     {} exported, {} dropped",
                spans.exported, spans.dropped
            )
        }));
        for phase in &self.phases {
            lines.push(format!(
                "  phase     {}: {:.3} s",
                phase.name, phase.elapsed_s
            ));
        }
        lines.extend(self.data.to_text(style));
        for check in &self.checks {
            let state = if check.passed {
                style.good("passed")
            } else {
                style.error("failed")
            };
            lines.push(format!(
                "  check     {}: {state} ({}, {})",
                check.name, check.value, check.bound
            ));
        }
        for (name, value) in &self.values {
            lines.push(format!("  result    {name}: {value}"));
        }
        if let Some(dir) = &self.run_dir {
            lines.push(format!("  records   {}", dir.display()));
        }
        lines.join("\n")
    }
}

/// The line on injected faults, for people.
fn faults_to_text(faults: &InjectionSummary) -> String {
    let listed = |counts: &BTreeMap<&'static str, u64>| {
        let counts = counts.iter().map(|(name, count)| format!("{count} {name}"));
        counts.collect::<Vec<_>>().join(", ")
    };
    let mut text = format!(
        "  faults    {}: {}; {:.3} s lost",
        listed(&faults.by_type),
        listed(&faults.by_fate),
        faults.time_lost_s
    );
    if faults.bystanders > 0 {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "; {} attempts lost along with them",
            faults.bystanders
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use taps_schema::Bound;

    fn summary() -> Summary {
        Summary {
            ok: true,
            app: Some("cholesky".to_owned()),
            executor: Some("thread-pool".to_owned()),
            run_dir: Some(PathBuf::from("/runs/1")),
            elapsed_s: 1.5,
            app_elapsed_s: 1.25,
            phases: vec![PhaseSummary {
                name: "factorise".to_owned(),
                elapsed_s: 1.0,
            }],
            tasks: TaskSummary {
                submitted: 30,
                succeeded: 30,
                failed: 0,
                retried: 1,
                ..TaskSummary::default()
            },
            tasks_per_s: 24.0,
            checks: vec![Check {
                name: "residual".to_owned(),
                passed: true,
                value: serde_json::json!(1e-16),
                bound: Bound::AtMost(1e-12),
            }],
            ..Summary::default()
        }
    }

    #[test]
    fn one_run_is_one_flat_object() {
        let json = to_json(&[summary()]);
        for key in [
            "ok",
            "app",
            "executor",
            "run_dir",
            "elapsed_s",
            "app_elapsed_s",
            "phases",
            "tasks",
            "tasks_per_s",
            "checks",
            "error",
        ] {
            assert!(json.get(key).is_some(), "{key}");
        }
        assert_eq!(json["tasks"]["retried"], 1);
        assert_eq!(json["checks"][0]["bound"]["at-most"], 1e-12);
        assert!(json["error"].is_null());
    }

    #[test]
    fn repeated_runs_are_in_one_object() {
        let mut failed = summary();
        failed.ok = false;
        failed.error = Some("no".to_owned());
        let json = to_json(&[summary(), failed]);
        assert_eq!(json["ok"], false);
        assert_eq!(json["runs"].as_array().map(Vec::len), Some(2));
        assert_eq!(json["error"], "no");
    }
}
