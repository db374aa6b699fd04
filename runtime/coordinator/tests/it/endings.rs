//! The ways in which a run can end before its time.

use crate::{
    bench::Run,
    executor::{Fake, Mishap},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use taps_coordinator::RunError;
use taps_engine::OutcomeKind;
use taps_records::LogEvent;

#[test]
fn an_executor_that_gives_up_fails_what_is_outstanding() {
    for threads in [0, 1, 2] {
        let fake = Arc::new(Fake::new(threads, Mishap::Fails(30)));
        let ended = Run::new("churn", 1000, 10).on(fake);
        let failure = ended.outcome.executor_failure.expect("it said so");
        assert!(failure.message.contains("gave up"));
        // The driver hears of it through the task that it waits for.
        assert!(
            matches!(ended.outcome.driver, Some(Ok(Err(_)))),
            "{:?}",
            ended.outcome.driver
        );
        assert_eq!(ended.outcome.counts.outstanding, 0);
        assert!(ended.log.is_ok());
    }
}

#[test]
fn a_lost_worker_costs_an_attempt_and_no_task() {
    let mut run = Run::new("churn", 200, 6);
    run.settings.default_retry.retries = 2;
    let ended = run.on(Arc::new(Fake::new(2, Mishap::LosesWorker(20))));
    ended.passed();
    let lost = |event: &&LogEvent| matches!(event, LogEvent::WorkerLost { .. });
    assert_eq!(ended.events.iter().filter(lost).count(), 1);
    let reports = ended.events.iter().filter_map(|event| match event {
        LogEvent::AttemptFinished { report, .. } => Some(report.outcome()),
        _ => None,
    });
    let reports: Vec<_> = reports.collect();
    let lost = reports
        .iter()
        .filter(|outcome| **outcome == OutcomeKind::WorkerLost);
    assert!(lost.count() >= 1, "{reports:?}");
    assert_eq!(ended.outcome.counts.succeeded, 200);
}

#[test]
fn an_attempt_that_comes_back_costs_nothing() {
    for threads in [1, 2] {
        let fake = Arc::new(Fake::new(threads, Mishap::ReturnsAttempt(20)));
        let ended = Run::new("churn", 200, 6).on(fake);
        ended.passed();
        let counts = ended.outcome.counts;
        let happened = (counts.succeeded, counts.retried, counts.crashes);
        assert_eq!(happened, (200, 0, 0));
        let mut returned = Vec::new();
        let mut reported = Vec::new();
        for event in &ended.events {
            match event {
                LogEvent::AttemptReturned { id, .. } => returned.push(*id),
                LogEvent::AttemptFinished { report, .. } => reported.push(report.id),
                _ => {}
            }
        }
        assert_eq!(returned.len(), 1);
        assert_eq!(reported.len(), 200, "each attempt that ran");
        assert!(!reported.contains(&returned[0]));
    }
}

#[test]
fn an_executor_that_cannot_start_is_an_error() {
    let run = Run::new("ok", 1, 0);
    let error = run
        .try_on(|_| Arc::new(Fake::new(1, Mishap::NeverStarts)))
        .err()
        .expect("it cannot start");
    assert!(matches!(error, RunError::Start(_)), "{error:?}");
}

/// Whatever the driver does: wait, compute, sleep.
#[test]
fn an_interrupt_ends_the_run() {
    for (action, count) in [("sleep", 3), ("driver-spin", 1), ("kernel", 1), ("spin", 2)] {
        let run = Run::new(action, count, 0);
        let handle = run.handle.clone();
        let interrupter = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            let at = Instant::now();
            handle.interrupt();
            at
        });
        let ended = run.on_thread_pool(2);
        let at = interrupter.join().expect("no panic");
        assert!(
            at.elapsed() < Duration::from_secs(5),
            "{action}: {:?}",
            at.elapsed()
        );
        assert!(ended.outcome.interrupted);
        assert!(ended.log.is_ok());
        assert_eq!(ended.outcome.counts.outstanding, 0, "{action}");
        assert_eq!(
            ended.outcome.counts.cancelled, ended.outcome.counts.submitted,
            "{action}: {:?}",
            ended.outcome.counts
        );
    }
}

#[test]
fn an_interrupt_before_the_start_ends_the_run_too() {
    let run = Run::new("sleep", 3, 0);
    run.handle.interrupt();
    let ended = run.on_thread_pool(2);
    assert!(ended.outcome.interrupted);
    assert_eq!(ended.outcome.counts.outstanding, 0);
}

#[test]
fn a_driver_that_panics_is_a_trap_and_its_tasks_are_cancelled() {
    let ended = Run::new("driver-panic", 1, 0).on_thread_pool(1);
    let Some(Err(failure)) = &ended.outcome.driver else {
        panic!("{:?}", ended.outcome.driver)
    };
    assert!(
        failure.message.contains("the driver was told to panic"),
        "{failure:?}"
    );
}

/// A run that cannot be recorded ends.
#[test]
fn a_log_that_fails_ends_the_run() {
    // `/dev/full` cannot be a log, and a limit of this process would hit other tests: a log whose
    // file is as long as the limit allows stands for a full disk.
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("skipped: no small disk can be mounted here");
        return;
    };
    let mut run = Run::new("churn", 1_000_000, 100);
    run.log = Some(disk.0.join("events.log"));
    let began = Instant::now();
    let ended = run.on(Arc::new(Fake::new(2, Mishap::None)));
    assert!(ended.log.is_err(), "a million tasks do not fit");
    assert!(ended.outcome.driver.is_none(), "{:?}", ended.outcome.driver);
    assert_eq!(ended.outcome.counts.outstanding, 0);
    assert!(began.elapsed() < Duration::from_secs(50));
}

/// A file system of 4 MB.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    /// One, where this process may mount it.
    fn mount() -> Option<Self> {
        let name = format!("taps-small-disk-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).ok()?;
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
            .arg(&folder)
            .stderr(std::process::Stdio::null())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(folder));
        }
        std::fs::remove_dir(&folder).ok()?;
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Nothing to report where the test has failed already.
        let _ = std::process::Command::new("umount").arg(&self.0).status();
        let _ = std::fs::remove_dir(&self.0);
    }
}
