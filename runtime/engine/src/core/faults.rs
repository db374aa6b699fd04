//! Which attempts carry a fault.
//!
//! A draw is H(seed, task name, n-th submission of that name, try, point): the order in which tasks run
//! has no part in it. A *try* is an attempt that came to an end of its own; attempts that were given
//! back, or lost with a worker that another attempt killed, are made again with the same fault. How many
//! tries of a task carry one is decided when it is submitted, so that a budget is spent in the order of
//! submission.

use super::seed::{fnv1a, splitmix64};
use super::spec::{ArgumentSpec, TaskOptions, TaskSpec};
use crate::{FaultAction, FaultPlan, FaultPoint, OutputId, TaskId, WorkerId};
use serde::{Deserialize, Serialize};

/// Name of the task that is put before another to fail, for [`FaultAction::Dependency`]. What it
/// gives, if anything, the other does not see.
pub const INJECTED_PARENT: &str = "fault:injected-parent";

/// Tries of a task that can carry a fault; later ones never do.
const MAX_TRIES: u32 = 32;

/// What goes wrong in a run, how often, and where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultSettings {
    /// What happens: one of these, drawn for each fault.
    pub actions: Vec<FaultAction>,
    /// Share of the tries that are hit, of those that are aimed at; from 0 to 1.
    pub rate: f64,
    /// Seed of all draws.
    pub seed: u64,
    /// When it strikes.
    pub point: FaultPoint,
    /// Names of the tasks that are aimed at; empty for all.
    pub tasks: Vec<String>,
    /// Which submissions of a name, counted from 0; empty for all.
    pub indices: Vec<u64>,
    /// Which tries of a task, counted from 0; empty for all.
    pub attempts: Vec<u32>,
    /// Which workers; empty for all. What runs where is not repeatable, and so these faults are not.
    pub workers: Vec<u32>,
    /// Most faults of the run.
    pub budget: Option<u64>,
    /// Submissions of a name that are hit together: they share one draw.
    pub burst: u64,
    /// See [`FaultPlan::mid_us`].
    pub mid_us: u32,
    /// See [`FaultPlan::slow_ms`].
    pub slow_ms: u32,
}

impl Default for FaultSettings {
    /// Every try of every task fails.
    fn default() -> Self {
        Self {
            actions: vec![FaultAction::Failure],
            rate: 1.0,
            seed: 0,
            point: FaultPoint::Before,
            tasks: Vec::new(),
            indices: Vec::new(),
            attempts: Vec::new(),
            workers: Vec::new(),
            budget: None,
            burst: 1,
            mid_us: 1000,
            slow_ms: 1000,
        }
    }
}

/// The faults of a run.
#[derive(Debug)]
pub(super) struct Faults {
    settings: FaultSettings,
    /// Faults that may still be planned.
    left: u64,
    /// Where the task is that is put before others: component and index.
    parent: Option<(u32, u32)>,
}

/// The faults of one task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Doom {
    /// Bit t: try t carries a fault.
    tries: u32,
    /// From which the faults' details are drawn.
    hash: u64,
    /// The task was put in to fail.
    pub(super) is_parent: bool,
}

impl Faults {
    pub(super) fn new(settings: FaultSettings, parent: Option<(u32, u32)>) -> Self {
        Self {
            parent,
            left: settings.budget.unwrap_or(u64::MAX),
            settings,
        }
    }

    /// Decides the faults of the `index`-th submission of a name, which may be tried so often.
    pub(super) fn doom(&mut self, name: &str, index: u64, tries: u32) -> Doom {
        let settings = &self.settings;
        let aimed = (settings.tasks.is_empty() || settings.tasks.iter().any(|task| task == name))
            && (settings.indices.is_empty() || settings.indices.contains(&index));
        if !aimed {
            return Doom::default();
        }
        let group = index / settings.burst.max(1);
        let hash = splitmix64(splitmix64(settings.seed) ^ fnv1a(name)) ^ splitmix64(group);
        let mut doom = Doom {
            hash,
            ..Doom::default()
        };
        for number in 0..tries.min(MAX_TRIES) {
            let hit = (settings.attempts.is_empty() || settings.attempts.contains(&number))
                && unit(doom.draw(number, settings.point, Purpose::Whether)) < settings.rate;
            if hit && self.left > 0 {
                self.left -= 1;
                doom.tries |= 1 << number;
            } else if settings.attempts.is_empty() {
                // A try without a fault is the last one, as far as faults are concerned.
                break;
            }
        }
        doom
    }

    /// What the try of a task carries when it runs on that worker.
    pub(super) fn plan(
        &self,
        doom: Doom,
        number: u32,
        worker: Option<WorkerId>,
    ) -> Option<FaultPlan> {
        let settings = &self.settings;
        let hit = number < MAX_TRIES && doom.tries & (1 << number) != 0;
        let here = settings.workers.is_empty()
            || worker.is_some_and(|worker| settings.workers.contains(&worker.0));
        if !hit || !here {
            return None;
        }
        let action = match self.action(doom, number)? {
            _ if doom.is_parent => FaultAction::Dependency,
            // Too late for a parent.
            FaultAction::Dependency => FaultAction::Failure,
            action => action,
        };
        Some(FaultPlan {
            action,
            point: if doom.is_parent {
                FaultPoint::Before
            } else {
                settings.point
            },
            mid_us: settings.mid_us,
            slow_ms: settings.slow_ms,
            seed: doom.draw(number, settings.point, Purpose::Detail),
        })
    }

    fn action(&self, doom: Doom, number: u32) -> Option<FaultAction> {
        let kinds = &self.settings.actions;
        let kind = doom.draw(number, self.settings.point, Purpose::Which);
        kinds
            .get((kind % kinds.len().max(1) as u64) as usize)
            .copied()
    }

    /// The task to be put before this one, with its doom, where the first try is to fail for a parent.
    pub(super) fn parent_of(&self, spec: &TaskSpec, doom: Doom) -> Option<(TaskSpec, Doom)> {
        let (component, task) = self.parent?;
        if doom.tries & 1 == 0 || self.action(doom, 0)? != FaultAction::Dependency {
            return None;
        }
        let parent = TaskSpec {
            name: INJECTED_PARENT.into(),
            component,
            task,
            arguments: Vec::new(),
            options: TaskOptions {
                retries: spec.options.retries,
                retry: spec.options.retry,
                timeout_ms: spec.options.timeout_ms,
                priority: spec.options.priority,
                ..TaskOptions::default()
            },
            limits: spec.limits,
            kernels: spec.kernels,
            outputs: 1,
            media_type: spec.media_type.clone(),
            done: None,
        };
        let doom = Doom {
            is_parent: true,
            ..doom
        };
        Some((parent, doom))
    }
}

/// The edge to a task that was put in.
pub(super) fn edge_to(parent: TaskId) -> ArgumentSpec {
    ArgumentSpec::Output(OutputId {
        task: parent,
        index: 0,
    })
}

/// What a draw is for.
#[derive(Clone, Copy)]
enum Purpose {
    Whether,
    Which,
    Detail,
}

impl Doom {
    fn draw(self, number: u32, point: FaultPoint, purpose: Purpose) -> u64 {
        let place = u64::from(number) << 8 | (point as u64) << 4 | purpose as u64;
        splitmix64(self.hash ^ splitmix64(place))
    }
}

/// A number from 0 up to, and without, 1.
fn unit(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(settings: FaultSettings, submissions: u64, tries: u32) -> Vec<Vec<u32>> {
        let mut faults = Faults::new(settings, None);
        (0..submissions)
            .map(|index| {
                let doom = faults.doom("task", index, tries);
                (0..tries)
                    .filter(|&number| faults.plan(doom, number, None).is_some())
                    .collect()
            })
            .collect()
    }

    fn rate(rate: f64) -> FaultSettings {
        FaultSettings {
            rate,
            ..FaultSettings::default()
        }
    }

    #[test]
    fn the_rate_is_kept_and_the_seed_decides() {
        let count = |settings| {
            let all = hits(settings, 10_000, 1);
            all.iter().filter(|tries| !tries.is_empty()).count()
        };
        assert_eq!(count(rate(0.0)), 0);
        assert_eq!(count(rate(1.0)), 10_000);
        let tenth = count(rate(0.1));
        assert!((900..1100).contains(&tenth), "{tenth}");
        assert_eq!(hits(rate(0.5), 100, 4), hits(rate(0.5), 100, 4));
        let other = FaultSettings {
            seed: 1,
            ..rate(0.5)
        };
        assert_ne!(hits(rate(0.5), 100, 4), hits(other, 100, 4));
    }

    #[test]
    fn tries_are_hit_until_one_is_not() {
        for tries in hits(rate(0.7), 1000, 8) {
            assert_eq!(tries, (0..tries.len() as u32).collect::<Vec<_>>());
        }
        let second = FaultSettings {
            attempts: vec![1],
            ..rate(1.0)
        };
        assert_eq!(hits(second, 2, 4), [[1], [1]]);
    }

    #[test]
    fn budget_burst_and_targets_narrow_it() {
        let hit = |settings| -> Vec<u64> {
            let all = hits(settings, 40, 1);
            let hit = all
                .iter()
                .enumerate()
                .filter(|(_, tries)| !tries.is_empty());
            hit.map(|(index, _)| index as u64).collect()
        };
        let budget = FaultSettings {
            budget: Some(3),
            ..rate(1.0)
        };
        assert_eq!(hit(budget), [0, 1, 2]);
        let indices = FaultSettings {
            indices: vec![5, 9],
            ..rate(1.0)
        };
        assert_eq!(hit(indices), [5, 9]);
        let burst = FaultSettings {
            burst: 4,
            ..rate(0.5)
        };
        let hit_in_bursts = hit(burst);
        assert!(!hit_in_bursts.is_empty() && hit_in_bursts.len() < 40);
        for index in &hit_in_bursts {
            let first = index / 4 * 4;
            assert!((first..first + 4).all(|other| hit_in_bursts.contains(&other)));
        }
        let elsewhere = FaultSettings {
            tasks: vec!["other".into()],
            ..rate(1.0)
        };
        assert!(hit(elsewhere).is_empty());
    }

    #[test]
    fn a_worker_that_is_not_aimed_at_is_spared() {
        let mut faults = Faults::new(
            FaultSettings {
                workers: vec![2],
                ..rate(1.0)
            },
            None,
        );
        let doom = faults.doom("task", 0, 1);
        assert!(faults.plan(doom, 0, Some(WorkerId(2))).is_some());
        assert!(faults.plan(doom, 0, Some(WorkerId(1))).is_none());
        assert!(faults.plan(doom, 0, None).is_none());
    }
}
