//! Tracks of workers on which no two attempts overlap.

use std::collections::BTreeMap;

/// A track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lane {
    /// Its number among all tracks, from 1.
    pub(super) track: u32,
    /// Which of its worker's tracks it is, from 0.
    pub(super) number: u32,
    end_ns: u64,
}

/// The tracks of all workers.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    of: BTreeMap<Option<u32>, Vec<Lane>>,
    tracks: u32,
}

impl Lanes {
    /// The track of an attempt, and whether it is new. It is one whose last attempt ended before, and of those the
    /// one that was free the shortest: as few tracks as attempts at a time, where they come as they ended.
    pub(super) fn place(&mut self, worker: Option<u32>, from_ns: u64, to_ns: u64) -> (Lane, bool) {
        let lanes = self.of.entry(worker).or_default();
        let free = lanes.iter_mut().filter(|lane| lane.end_ns <= from_ns);
        if let Some(lane) = free.max_by_key(|lane| lane.end_ns) {
            lane.end_ns = to_ns.max(from_ns);
            return (*lane, false);
        }
        self.tracks += 1;
        let lane = Lane {
            track: self.tracks,
            number: lanes.len() as u32,
            end_ns: to_ns.max(from_ns),
        };
        lanes.push(lane);
        (lane, true)
    }

    /// The first track of a worker, and whether it is new.
    pub(super) fn first(&mut self, worker: u32) -> (Lane, bool) {
        let lanes = self.of.entry(Some(worker)).or_default();
        if let Some(lane) = lanes.first() {
            return (*lane, false);
        }
        self.place(Some(worker), 0, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_at_a_time_have_tracks_of_their_own() {
        let mut lanes = Lanes::default();
        let mut track = |worker, from, to| lanes.place(Some(worker), from, to).0.track;
        assert_eq!(track(0, 0, 10), 1);
        assert_eq!(track(1, 0, 10), 2);
        assert_eq!(track(0, 10, 20), 1);
        assert_eq!(track(0, 15, 25), 3);
        // Both are free: the one that was so for the shorter time.
        assert_eq!(track(0, 30, 40), 3);
        assert_eq!(track(0, 35, 40), 1);
        assert_eq!(
            lanes.first(1),
            (
                Lane {
                    track: 2,
                    number: 0,
                    end_ns: 10
                },
                false
            )
        );
        assert!(lanes.first(9).1);
    }
}
