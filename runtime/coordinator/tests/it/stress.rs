//! Many short runs, in which a lost wake-up shows as a run that hangs.

use crate::{
    bench::Run,
    executor::{Fake, Mishap},
};
use std::sync::Arc;

/// The driver is resumed by eight threads and the main one, in turn and at the same time.
#[test]
fn no_wake_up_is_lost_with_many_threads() {
    for round in 0..60 {
        let threads = [1, 2, 8][round % 3];
        let outstanding = [1, 2, 16][round / 3 % 3];
        let ended =
            Run::new("churn", 300, outstanding).on(Arc::new(Fake::new(threads, Mishap::None)));
        ended.passed();
        assert_eq!(ended.outcome.counts.succeeded, 300);
    }
}

#[test]
fn no_wake_up_is_lost_under_back_pressure() {
    for round in 0..30 {
        let ended = Run::new("ok", 300, 0)
            .max_outstanding(1 + round % 4)
            .on(Arc::new(Fake::new(8, Mishap::None)));
        ended.passed();
    }
}

#[test]
fn no_wake_up_is_lost_among_cancels() {
    for _ in 0..15 {
        let ended = Run::new("cancel", 50, 0).on(Arc::new(Fake::new(8, Mishap::None)));
        ended.passed();
        assert_eq!(ended.outcome.counts.cancelled, 50);
    }
}

#[test]
fn thousands_of_tasks_through_sandboxes() {
    for threads in [1, 2, 8] {
        let ended = Run::new("churn", 3000, 2 * u64::from(threads)).on_thread_pool(threads);
        ended.passed();
        assert_eq!(ended.outcome.counts.succeeded, 3000);
    }
    for _ in 0..10 {
        Run::new("churn", 50, 2).on_thread_pool(8).passed();
    }
}
