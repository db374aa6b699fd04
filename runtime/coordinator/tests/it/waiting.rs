//! Everything that a driver can wait for.

use crate::{
    bench::Run,
    executor::{Fake, Mishap},
};
use std::{sync::Arc, time::Duration};
use taps_engine::OutcomeKind;
use taps_records::{Delivery, LogEvent};

fn fake(threads: u32) -> Arc<Fake> {
    Arc::new(Fake::new(threads, Mishap::None))
}

/// Submitting waits while too many tasks are outstanding, and never are there more.
#[test]
fn submissions_wait_for_room() {
    for (threads, limit) in [(1, 1), (2, 3), (0, 1)] {
        let ended = Run::new("ok", 500, 0)
            .max_outstanding(limit)
            .on(fake(threads));
        ended.passed();
        assert_eq!(ended.outcome.counts.succeeded, 500);
        let mut outstanding = 0;
        for event in &ended.events {
            match event {
                LogEvent::Submitted { .. } => outstanding += 1,
                LogEvent::AttemptFinished { .. } => outstanding -= 1,
                _ => {}
            }
            assert!(outstanding <= limit, "{outstanding} with {limit}");
        }
    }
}

#[test]
fn a_queue_gives_up_when_the_time_is_up() {
    for threads in [0, 1, 2] {
        let ended = Run::new("waits", 1, 0).on(fake(threads));
        ended.passed();
        let timeouts = ended.events.iter().filter(|event| {
            matches!(event, LogEvent::Delivered { delivery, .. } if *delivery == Delivery::Timeout)
        });
        assert_eq!(timeouts.count(), 1);
        assert_eq!(ended.outcome.counts.cancelled, 1);
    }
}

/// Nobody else wakes a driver that only sleeps, by the host's clock or by its own.
#[test]
fn a_driver_that_sleeps_wakes_up() {
    for threads in [0, 1] {
        let began = std::time::Instant::now();
        Run::new("naps", 1, 0).on(fake(threads)).passed();
        assert!(began.elapsed() < Duration::from_secs(20));
    }
}

#[test]
fn completions_come_until_nothing_is_left() {
    for threads in [0, 1, 3] {
        let ended = Run::new("churn", 1000, 7).on(fake(threads));
        ended.passed();
        assert_eq!(ended.outcome.counts.succeeded, 1000);
        assert_eq!(ended.outcome.counts.tasks_held, 0, "nothing is forgotten");
    }
}

/// A cancel must not overtake the attempt that it is for.
#[test]
fn cancels_reach_attempts_that_are_being_handed_out() {
    for (threads, hesitates) in [(1, 0), (2, 0), (3, 2)] {
        let executor = Fake::hesitating(threads, Duration::from_millis(hesitates));
        let ended = Run::new("cancel", 60, 0).on(Arc::new(executor));
        ended.passed();
        assert_eq!(ended.outcome.counts.cancelled, 60);
    }
}

/// Tasks that nobody holds are recorded as they ended.
#[test]
fn failures_of_dropped_tasks_are_recorded() {
    for threads in [0, 1, 2] {
        let ended = Run::new("drops", 20, 0).on(fake(threads));
        ended.passed();
        let mut labels = 0;
        let mut upstream = 0;
        let mut failed = 0;
        for event in &ended.events {
            match event {
                LogEvent::Submitted { label, .. } => {
                    labels += u32::from(label.as_deref() == Some("dropped"));
                }
                LogEvent::TaskFinished { failure, .. } => {
                    let failure = failure.as_ref().expect("none of these succeeded");
                    assert_eq!(failure.outcome, OutcomeKind::UpstreamFailed);
                    upstream += 1;
                }
                LogEvent::AttemptFinished { report, .. } => {
                    failed += u32::from(report.outcome() == OutcomeKind::TaskError);
                }
                LogEvent::AttemptStarted { generation, .. } => assert_eq!(*generation, 0),
                _ => {}
            }
        }
        assert_eq!((labels, failed), (20, 20));
        let counts = ended.outcome.counts;
        assert_eq!((counts.failed, counts.succeeded), (40, 1));
        assert_eq!(upstream, 20);
        assert!(!ended.outcome.failures.is_empty());
        for (name, _, _) in &ended.outcome.failures {
            assert!(name == "error" || name == "ok", "{name}");
        }
    }
}
