//! What a simulation does.

use super::Random;
use crate::Capabilities;
use crate::FaultAction;
use crate::core::{Counts, FaultSettings, OutcomeSet, OwnRetries, RetryPolicy, Settings};

/// A simulation, decided by a seed.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides everything else that happens.
    pub seed: u64,
    /// Tasks to submit.
    pub tasks: usize,
    /// Workers.
    pub workers: usize,
    /// Hosts that the workers are spread over.
    pub hosts: usize,
    /// Most arguments of a task.
    pub fan_in: usize,
    /// How far back arguments reach, in submissions: 1 makes chains, many makes bushes.
    pub reach: usize,
    /// Most attempts that are queued on a worker; some take one more, some none.
    pub look_ahead: u32,
    /// What the executor can do.
    pub capabilities: Capabilities,
    /// Settings of the core.
    pub settings: Settings,
    /// What is made to go wrong by the core.
    pub faults: Option<FaultSettings>,
    /// How often what happens.
    pub rates: Rates,
}

/// How often what happens, in cases of 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// An attempt fails, for each attempt.
    pub failure: u32,
    /// A task has options other than the default, for each task.
    pub options: u32,
    /// A worker is lost, for each step; likewise the following.
    pub worker_loss: u32,
    /// A lost worker joins again.
    pub rejoin: u32,
    /// A task is cancelled.
    pub cancel: u32,
    /// All tasks are cancelled.
    pub cancel_all: u32,
    /// Outputs are lost.
    pub output_loss: u32,
    /// A report comes twice, or after its worker was given up.
    pub late_report: u32,
    /// The driver drops a future.
    pub release: u32,
    /// The driver takes or drops a payload handle.
    pub handle: u32,
    /// The executor fails for good.
    pub executor_failure: u32,
    /// The executor answers a recall.
    pub recall_answer: u32,
    /// The executor gives an attempt back unasked.
    pub unasked_return: u32,
}

impl Plan {
    /// A plan drawn from the seed: from calm to everything at once.
    pub fn from_seed(seed: u64) -> Self {
        let random = &mut Random::new(seed);
        let places = random.chance(700);
        let capabilities = Capabilities {
            places,
            keeps_results: random.chance(if places { 300 } else { 700 }),
            cancels_running: random.chance(600),
            kills_workers: false,
            sees_host_paths: true,
            reports_worker_loss: places,
        };
        let wild = random.chance(600);
        let rate = |random: &mut Random, most: usize| {
            let calm = random.below(3) as u32;
            if wild {
                random.below(most) as u32
            } else {
                calm
            }
        };
        let rates = Rates {
            failure: rate(random, 500),
            options: rate(random, 500),
            worker_loss: rate(random, 40),
            rejoin: rate(random, 200),
            cancel: rate(random, 40),
            cancel_all: u32::from(random.chance(100)),
            output_loss: rate(random, 80),
            late_report: rate(random, 100),
            release: rate(random, 200),
            handle: rate(random, 100),
            executor_failure: u32::from(random.chance(50)),
            recall_answer: 100 + random.below(900) as u32,
            unasked_return: rate(random, 20),
        };
        let own = if random.chance(300) {
            OwnRetries::default().with("worker-lost", 1 + random.below(3) as u32)
        } else {
            Ok(OwnRetries::default())
        };
        let faults = random.chance(400).then(|| FaultSettings {
            actions: FaultAction::ALL[..=random.below(FaultAction::ALL.len())].to_vec(),
            rate: 0.3,
            seed,
            budget: random.chance(500).then_some(5),
            ..FaultSettings::default()
        });
        let look_ahead = if random.chance(600) {
            1 + random.below(6) as u32
        } else {
            0
        };
        Self {
            seed,
            tasks: 1 + random.below(60),
            workers: 1 + random.below(6),
            hosts: 1 + random.below(3),
            fan_in: random.below(5),
            reach: 1 + random.below(30),
            look_ahead,
            capabilities,
            settings: Settings {
                max_outstanding: 1 + random.below(40),
                default_retry: RetryPolicy {
                    retries: random.below(4) as u32,
                    backoff_ms: random.below(3) as u64 * 10,
                    on: if random.chance(800) {
                        OutcomeSet::RETRYABLE
                    } else {
                        OutcomeSet::EMPTY.with(crate::OutcomeKind::TaskError)
                    },
                    own: own.unwrap_or_default(),
                    ..RetryPolicy::default()
                },
                crash_limit: random.below(4) as u32,
                lineage: random.chance(700),
            },
            faults,
            rates,
        }
    }
}

/// What came of a simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Hash of all actions in their order.
    pub digest: u64,
    /// Events that the core was given.
    pub events: u64,
    /// Counts at the end.
    pub counts: Counts,
    /// Attempts sent to a worker that ran another.
    pub queued: u64,
    /// Attempts asked back.
    pub recalled: u64,
    /// Attempts given back, or queued on a worker that was lost.
    pub returned: u64,
}
