//! Reports that are delivered together.
//!
//! Each delivery wakes the coordinator's side, takes its lock and resumes the driver: some tens of microseconds, of
//! which tasks of a few hundred feel each. A worker that has its next attempt already may hold the report of a short
//! one, for a time that depends on who may wait for it:
//!
//! ```text
//!  a worker is idle     attempts below 100 µs: held up to 0.15 ms; others: not at all
//!  all are busy         attempts below 500 µs: held up to 1 ms
//! ```

use std::time::Duration;

/// How long the first report waits while short attempts follow each other, and a worker has nothing to do: what it
/// waits for may be among them.
pub const REPORT_HOLD: Duration = Duration::from_micros(150);

/// How long it waits while all workers have something to do.
const PATIENT_HOLD: Duration = Duration::from_millis(1);

/// An attempt shorter than this may be followed by another before its report is delivered.
const SHORT: Duration = Duration::from_micros(100);

/// The same, while all workers have something to do.
const PATIENTLY_SHORT: Duration = Duration::from_micros(500);

/// How long the first of the reports that a worker holds may wait, now that an attempt has ended that took so long, and
/// another follows at once.
pub fn report_hold(took: Duration, has_idle_workers: bool) -> Duration {
    if took < PATIENTLY_SHORT && !has_idle_workers {
        PATIENT_HOLD
    } else if took < SHORT {
        REPORT_HOLD
    } else {
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_attempts_wait_and_less_where_somebody_may_wait_for_them() {
        let us = Duration::from_micros;
        for (took, busy, idle) in [(10, 1000, 150), (200, 1000, 0), (600, 0, 0)] {
            assert_eq!(report_hold(us(took), false), us(busy), "{took} us");
            assert_eq!(report_hold(us(took), true), us(idle), "{took} us");
        }
    }
}
