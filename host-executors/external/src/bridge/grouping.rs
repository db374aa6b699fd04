//! Micro-batches: what an engine costs for each submission is shared by short tasks.
//!
//! Attempts are grouped that take no reference and leave none, so that nothing waits for its neighbours. How many go
//! together follows from how long tasks of that name take: a group should be busy for some [`TARGET`], and no worker
//! idle meanwhile. While the engine has nothing to do nobody waits for company.

use rustc_hash::FxHashMap;
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

/// How long a group should keep a worker busy.
const TARGET: Duration = Duration::from_millis(10);

/// Groups for each worker that the engine has at a time; others wait here, where they can still be grouped.
const GROUPS_PER_WORKER: usize = 4;

/// Share of the newest duration in the mean.
const NEWEST: f64 = 0.25;

/// What is grouped, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Most attempts of a group; 1 for none.
    pub(super) batch_max: usize,
    /// How long one waits for others while the engine is busy.
    pub(super) linger: Duration,
    /// Attempts that the engine runs at a time.
    pub(super) workers: usize,
}

/// Something that waits for a group: its task's name, and since when.
struct Waiting<T> {
    name: Arc<str>,
    since: Instant,
    what: T,
}

/// What can be grouped and has not been sent.
pub(super) struct Groups<T> {
    rules: Rules,
    waiting: VecDeque<Waiting<T>>,
    /// Mean duration of the tasks of each name, in seconds.
    paces: FxHashMap<Arc<str>, f64>,
    /// Groups sent that have not come back.
    out: usize,
}

/// What to do now.
#[derive(Debug, PartialEq)]
pub(super) enum Next<T> {
    /// Send these together.
    Send(Vec<T>),
    /// Look again then, or when something happens.
    Wait(Option<Instant>),
}

impl<T> Groups<T> {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            waiting: VecDeque::new(),
            paces: FxHashMap::default(),
            out: 0,
        }
    }

    /// The engine is there, with so many workers.
    pub(super) fn set_workers(&mut self, workers: usize) {
        self.rules.workers = workers.max(1);
    }

    pub(super) fn add(&mut self, name: Arc<str>, now: Instant, what: T) {
        let since = now;
        self.waiting.push_back(Waiting { name, since, what });
    }

    /// A task of that name took so long.
    pub(super) fn took(&mut self, name: &Arc<str>, duration: Duration) {
        let seconds = duration.as_secs_f64();
        self.paces
            .entry(Arc::clone(name))
            .and_modify(|mean| *mean += NEWEST * (seconds - *mean))
            .or_insert(seconds);
    }

    /// A group came back.
    pub(super) fn came_back(&mut self) {
        self.out = self.out.saturating_sub(1);
    }

    /// Takes out what is not to be sent any more.
    pub(super) fn take(&mut self, mut is_wanted: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        let mut kept = VecDeque::with_capacity(self.waiting.len());
        for waiting in self.waiting.drain(..) {
            if is_wanted(&waiting.what) {
                taken.push(waiting.what);
            } else {
                kept.push_back(waiting);
            }
        }
        self.waiting = kept;
        taken
    }

    /// The next group, or when there may be one.
    pub(super) fn next(&mut self, now: Instant) -> Next<T> {
        let Some(first) = self.waiting.front() else {
            return Next::Wait(None);
        };
        let Rules {
            batch_max,
            linger,
            workers,
        } = self.rules;
        if batch_max <= 1 {
            return Next::Send(
                self.waiting
                    .pop_front()
                    .map(|one| one.what)
                    .into_iter()
                    .collect(),
            );
        }
        let pace = self.paces.get(&first.name).copied();
        // Until one has come back nobody knows how long they take.
        let most_out = match pace {
            Some(_) => GROUPS_PER_WORKER * workers,
            None => workers,
        };
        if self.out >= most_out {
            return Next::Wait(None);
        }
        let size = self.size(pace);
        let name = Arc::clone(&first.name);
        let alike = || {
            self.waiting
                .iter()
                .take(size)
                .take_while(|one| one.name == name)
        };
        let company = alike().count();
        let until = first.since + linger;
        if company < size && self.out >= workers && now < until {
            return Next::Wait(Some(until));
        }
        self.out += 1;
        Next::Send(self.waiting.drain(..company).map(|one| one.what).collect())
    }

    /// Attempts that go together: as long as they should take, and so that all workers that have nothing get some.
    fn size(&self, pace: Option<f64>) -> usize {
        let idle = self.rules.workers.saturating_sub(self.out).max(1);
        let share = self.waiting.len().div_ceil(idle);
        let fitting = match pace {
            Some(pace) if pace > 0.0 => (TARGET.as_secs_f64() / pace) as usize,
            Some(_) => usize::MAX,
            None => 1,
        };
        fitting.min(share.max(1)).clamp(1, self.rules.batch_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups() -> Groups<u32> {
        Groups::new(Rules {
            batch_max: 32,
            linger: Duration::from_millis(1),
            workers: 2,
        })
    }

    fn sent(groups: &mut Groups<u32>, now: Instant) -> Vec<Vec<u32>> {
        let mut all = Vec::new();
        while let Next::Send(group) = groups.next(now) {
            all.push(group);
        }
        all
    }

    #[test]
    fn one_alone_does_not_wait() {
        let (mut groups, now) = (groups(), Instant::now());
        groups.add("a".into(), now, 1);
        assert_eq!(sent(&mut groups, now), [[1]]);
    }

    #[test]
    fn tasks_of_unknown_length_go_one_by_one_to_each_worker() {
        let (mut groups, now) = (groups(), Instant::now());
        for number in 0..10 {
            groups.add("a".into(), now, number);
        }
        assert_eq!(sent(&mut groups, now), [[0], [1]]);
        assert_eq!(groups.next(now), Next::Wait(None));
        groups.took(&"a".into(), Duration::from_micros(20));
        groups.came_back();
        groups.came_back();
        // Eight for two workers that have nothing.
        assert_eq!(sent(&mut groups, now), [[2, 3, 4, 5], [6, 7, 8, 9]]);
    }

    #[test]
    fn long_tasks_are_not_grouped() {
        let (mut groups, now) = (groups(), Instant::now());
        groups.took(&"a".into(), Duration::from_secs(1));
        for number in 0..3 {
            groups.add("a".into(), now, number);
        }
        assert_eq!(sent(&mut groups, now), [[0], [1], [2]]);
    }

    #[test]
    fn while_the_engine_is_busy_short_ones_wait_a_moment() {
        let (mut groups, now) = (groups(), Instant::now());
        groups.took(&"a".into(), Duration::from_micros(20));
        groups.took(&"b".into(), Duration::from_micros(20));
        for number in 0..64 {
            groups.add("a".into(), now, number);
        }
        assert_eq!(sent(&mut groups, now).len(), 2, "32 each");
        let until = now + Duration::from_millis(1);
        groups.add("a".into(), now, 64);
        groups.add("a".into(), now, 65);
        groups.add("b".into(), now, 66);
        assert_eq!(groups.next(now), Next::Wait(Some(until)));
        assert_eq!(groups.next(until), Next::Send(vec![64, 65]), "of one name");
        assert_eq!(groups.next(until), Next::Send(vec![66]));
    }

    #[test]
    fn the_engine_gets_some_groups_for_each_worker_and_no_more() {
        let (mut groups, now) = (groups(), Instant::now());
        groups.took(&"a".into(), Duration::from_micros(20));
        for number in 0..1000 {
            groups.add("a".into(), now, number);
        }
        assert_eq!(sent(&mut groups, now).len(), 8);
        assert_eq!(groups.next(now), Next::Wait(None));
        groups.came_back();
        assert_eq!(sent(&mut groups, now).len(), 1);
        assert_eq!(groups.take(|number| *number == 999), [999]);
    }

    #[test]
    fn without_batches_everything_goes_at_once() {
        let now = Instant::now();
        let mut groups = Groups::new(Rules {
            batch_max: 1,
            linger: Duration::from_millis(1),
            workers: 2,
        });
        for number in 0..100 {
            groups.add("a".into(), now, number);
        }
        assert_eq!(sent(&mut groups, now).len(), 100);
    }
}
