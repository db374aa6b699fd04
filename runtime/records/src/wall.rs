//! Wall times of a run whose clock stood still while it was dead.

/// Maps times of a run to wall clock, of which each start and each resume sets one point.
#[derive(Clone, Debug, Default)]
pub struct WallClock {
    /// Time of the run and wall clock, in nanoseconds, in the order of the log.
    anchors: Vec<(u64, u64)>,
}

impl WallClock {
    /// From this time of the run on, wall times count from `unix_ns`.
    pub fn set(&mut self, time_ns: u64, unix_ns: u64) {
        self.anchors.push((time_ns, unix_ns));
    }

    /// Wall clock at a time of the run, nanoseconds since 1970. A damaged log may say anything.
    pub fn at(&self, time_ns: u64) -> u64 {
        let before = |&&(from_ns, _): &&(u64, u64)| from_ns <= time_ns;
        match self.anchors.iter().rev().find(before) {
            Some(&(from_ns, unix_ns)) => unix_ns.saturating_add(time_ns - from_ns),
            None => time_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_point_before_a_time_counts() {
        let mut clock = WallClock::default();
        assert_eq!(clock.at(7), 7);
        clock.set(0, 1_000);
        clock.set(50, 9_000);
        clock.set(60, 20_000);
        assert_eq!(
            [0, 49, 50, 59, 60, 61].map(|time_ns| clock.at(time_ns)),
            [1_000, 1_049, 9_000, 9_009, 20_000, 20_001]
        );
        assert_eq!(clock.at(u64::MAX), u64::MAX);
    }
}
