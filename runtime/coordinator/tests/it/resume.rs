//! A run that is killed after any event of its log is resumed to the same report.

use crate::{
    bench::{Ended, Run},
    executor::{Fake, Mishap},
};
use std::{path::Path, sync::Arc};
use taps_coordinator::{Durable, History, HistoryError, HistoryReader, ResultFiles};
use taps_engine::{
    FaultAction,
    core::{FaultSettings, RetryPolicy},
};
use taps_records::LogEvent;

/// A run to be repeated.
struct Case {
    action: &'static str,
    count: u32,
    bytes: u64,
    faults: Option<FaultSettings>,
    retries: u32,
}

impl Case {
    fn new(action: &'static str, count: u32, bytes: u64) -> Self {
        Self {
            action,
            count,
            bytes,
            faults: None,
            retries: 0,
        }
    }

    fn with(self, action: FaultAction, retries: u32) -> Self {
        let faults = FaultSettings {
            actions: vec![action],
            rate: 0.5,
            ..FaultSettings::default()
        };
        Self {
            faults: Some(faults),
            retries,
            ..self
        }
    }

    fn run(&self, history: Option<History>, results: Option<&Path>) -> Ended {
        let mut run = Run::new(self.action, self.count, self.bytes);
        run.history = history;
        run.results = results.map(Path::to_owned);
        run.faults.clone_from(&self.faults);
        run.settings.lineage = true;
        run.settings.default_retry = RetryPolicy {
            retries: self.retries,
            ..RetryPolicy::default()
        };
        run.on_thread_pool(2)
    }

    /// Kills the run after each of its events, and resumes it; sometimes that life is killed, too.
    fn walk(&self, durable: bool) {
        let folder = tempfile::tempdir().expect("temporary directory");
        let results = durable.then(|| folder.path().join("results"));
        let whole = self.run(None, results.as_deref());
        let report = whole.report();
        let ended = whole.outcome.counts;
        for kill in 1..whole.events.len() {
            let lived = &whole.events[..kill];
            let history = read(lived, results.as_deref()).expect("it can be resumed");
            let resumed = self.run(Some(history), results.as_deref());
            let context = format!("{} killed after event {kill}", self.action);
            assert_eq!(resumed.outcome.diverged, None, "{context}");
            assert_eq!(resumed.report(), report, "{context}");
            let counts = resumed.outcome.counts;
            assert_eq!(counts.submitted, ended.submitted, "{context}");
            assert_eq!(counts.succeeded, ended.succeeded, "{context}");
            if durable {
                assert_eq!(counts.recomputed, 0, "{context}");
                let ran = reports(lived) + reports(&resumed.events);
                assert_eq!(ran, reports(&whole.events), "{context}");
            }
            if kill % 3 == 0 {
                self.kill_again(lived, &resumed.events, results.as_deref(), &report);
            }
        }
    }

    fn kill_again(
        &self,
        first: &[LogEvent],
        second: &[LogEvent],
        results: Option<&Path>,
        report: &taps_schema::Report,
    ) {
        let half = second.len() / 2;
        let both = [first, &second[..half]].concat();
        let history = read(&both, results).expect("it can be resumed");
        let third = self.run(Some(history), results);
        assert_eq!(third.report(), *report, "{} killed twice", self.action);
    }
}

fn read(events: &[LogEvent], results: Option<&Path>) -> Result<History, HistoryError> {
    let mut reader = HistoryReader::default();
    reader.take(LogEvent::RunStarted(Box::default()));
    for event in events {
        reader.take(event.clone());
    }
    let results = ResultFiles::new(
        results.unwrap_or(Path::new("/nowhere")).to_owned(),
        Durable::All,
    );
    reader.finish(&results)
}

/// Attempts that came to an end.
fn reports(events: &[LogEvent]) -> usize {
    let reports = events
        .iter()
        .filter(|event| matches!(event, LogEvent::AttemptFinished { .. }));
    reports.count()
}

#[test]
fn small_results_are_in_the_log() {
    Case::new("ok", 5, 0).walk(true);
    Case::new("churn", 10, 3).walk(true);
}

#[test]
fn large_results_are_made_again() {
    Case::new("scribble", 3, 200_000).walk(false);
}

#[test]
fn large_results_that_were_kept_are_not_made_again() {
    Case::new("scribble", 3, 200_000).walk(true);
}

#[test]
fn failures_and_cancels_are_what_they_were() {
    Case::new("upstream", 2, 0).walk(true);
    Case::new("error", 3, 0).walk(true);
    Case::new("cancel", 3, 0).walk(false);
}

#[test]
fn clocks_and_time_limits_show_what_they_showed() {
    Case::new("waits", 2, 0).walk(false);
    Case::new("naps", 2, 0).walk(false);
}

#[test]
fn faults_and_retries_go_on_where_they_were() {
    Case::new("ok", 5, 0)
        .with(FaultAction::LostResult, 1)
        .walk(false);
    Case::new("scribble", 2, 200_000)
        .with(FaultAction::LostResult, 1)
        .walk(false);
    Case::new("ok", 5, 0)
        .with(FaultAction::LateDuplicate, 1)
        .walk(false);
}

#[test]
fn a_driver_that_does_something_else_is_told() {
    let whole = Case::new("ok", 5, 0).run(None, None);
    let history = read(&whole.events[..12], None).expect("it can be resumed");
    let other = Case::new("error", 5, 0).run(Some(history), None);
    let diverged = other.outcome.diverged.expect("it went another way");
    assert_eq!(
        diverged,
        "before, the driver submitted task 0 (ok); now it submits a task error with these arguments"
    );
    assert!(other.outcome.driver.is_none());
}

#[test]
fn a_run_that_ended_is_not_resumed() {
    let error = read(&[], None);
    assert!(error.is_ok(), "it was killed before its driver began");
    let results = ResultFiles::new("/nowhere".into(), Durable::None);
    let empty = HistoryReader::default().finish(&results);
    assert!(matches!(empty, Err(HistoryError::Empty)));
    let ended = LogEvent::RunFinished {
        ok: true,
        exit_code: 0,
        report: None,
        error: None,
        counts: taps_records::TaskCounts::default(),
        time_ns: 5,
    };
    let refused = read(std::slice::from_ref(&ended), None);
    assert!(matches!(refused, Err(HistoryError::Ended { ok: true })));
    let interrupted = [LogEvent::Ending { time_ns: 4 }, ended];
    assert!(read(&interrupted, None).is_ok());
}

#[test]
fn a_run_whose_executor_failed_goes_on_with_another() {
    let report = Run::new("ok", 40, 0)
        .on(Arc::new(Fake::new(2, Mishap::None)))
        .passed();
    for after in [1, 7, 30] {
        let failed = Run::new("ok", 40, 0).on(Arc::new(Fake::new(2, Mishap::Fails(after))));
        assert!(failed.outcome.executor_failure.is_some());
        let history = read(&failed.events, None).expect("it can be resumed");
        // Each of the two threads may have had one on its way.
        let known = history.ended() as u64;
        assert!(
            known + 2 >= after,
            "{known} of {after} that ended are known"
        );
        let mut again = Run::new("ok", 40, 0);
        again.history = Some(history);
        let resumed = again.on(Arc::new(Fake::new(2, Mishap::None)));
        assert_eq!(resumed.passed(), report);
    }
}

#[test]
fn an_interrupted_run_goes_on() {
    let run = Run::new("sleep", 3, 0);
    let handle = run.handle.clone();
    let interrupt = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        handle.interrupt();
    });
    let interrupted = run.on_thread_pool(2);
    interrupt.join().expect("no panic");
    assert!(interrupted.outcome.interrupted);
    let history = read(&interrupted.events, None).expect("it can be resumed");
    assert_eq!(
        (history.submitted(), history.ended()),
        (3, 0),
        "cancels do not count"
    );
}
