//! What a run is made of, and what came out.

use crate::{History, Memo, ResultFiles, RunLog, Travel};
use std::{collections::HashMap, sync::Arc, time::Duration};
use taps_bundle::Bundle;
use taps_engine::{
    Executor, Failure, Limits,
    core::{Counts, FaultSettings, Settings},
};
use taps_sandbox::{DriverEnd, LoadedComponent, RunContext};
use taps_schema::Kernels;

/// Everything that a run needs, prepared and checked.
pub struct Plan {
    /// The component that holds the driver.
    pub driver: LoadedComponent,
    /// Where the tasks are that the driver may submit.
    pub routes: TaskRoutes,
    /// Who runs them.
    pub executor: Arc<dyn Executor>,
    /// Shared by the sandboxes. Its sink should be [`RunContext`]'s own, made by [`Plan::sink`].
    pub context: Arc<RunContext>,
    /// The event log.
    pub log: Arc<RunLog>,
    /// Settings of the engine core.
    pub settings: Settings,
    /// Limits of each attempt.
    pub limits: Limits,
    /// Configuration of the app, as a JSON object.
    pub config: String,
    /// Seed of the run.
    pub seed: u64,
    /// Who computes dense linear algebra.
    pub kernels: Kernels,
    /// What is to go wrong on purpose.
    pub faults: Option<FaultSettings>,
    /// The earlier life of the run, when it is resumed. The context's clock must go on from its end.
    pub history: Option<History>,
    /// Where results are kept for the case that the run is resumed.
    pub results: Option<ResultFiles>,
    /// Results of earlier runs, by what they depend on.
    pub memo: Option<Memo>,
    /// How long nothing may end before the run says what it waits for; `None` for ever.
    pub watchdog: Option<Duration>,
}

impl Plan {
    /// The sink through which guests write to the log.
    pub fn sink(log: &Arc<RunLog>) -> Box<dyn taps_sandbox::GuestSink> {
        Box::new(crate::run_log::LogSink(Arc::clone(log)))
    }
}

/// Where the tasks of an app are.
#[derive(Clone, Debug, Default)]
pub struct TaskRoutes(pub(crate) HashMap<Arc<str>, Route>);

/// One task.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) component: u32,
    pub(crate) task: u32,
    pub(crate) outputs: u32,
    pub(crate) pure: bool,
    /// It reaches nothing but its arguments.
    pub(crate) closed: bool,
}

impl TaskRoutes {
    /// The tasks of a bundle.
    pub fn of(bundle: &Bundle) -> Self {
        let manifest = bundle.manifest();
        let tasks = manifest.app.tasks.iter().zip(&manifest.routes);
        Self(
            tasks
                .map(|(task, route)| {
                    let found = Route {
                        component: route.component,
                        task: route.task,
                        outputs: task.outputs.len() as u32,
                        pure: task.pure,
                        closed: task.grants.is_empty(),
                    };
                    (Arc::from(task.name.as_str()), found)
                })
                .collect(),
        )
    }
}

/// How a run went.
#[derive(Debug)]
pub struct RunOutcome {
    /// How the driver ended. `None` when the run was interrupted or failed before it could.
    pub driver: Option<DriverEnd>,
    /// Whether the user interrupted the run.
    pub interrupted: bool,
    /// Why a resumed run could not go on: its driver went another way than before.
    pub diverged: Option<String>,
    /// Why the executor gave up, when it did.
    pub executor_failure: Option<Failure>,
    /// How many tasks there were.
    pub counts: Counts,
    /// Phases in order: name and duration in nanoseconds.
    pub phases: Vec<(String, u64)>,
    /// Time from the driver's start to its end, in nanoseconds.
    pub app_elapsed_ns: u64,
    /// The first tasks that failed: name, number, failure. For the summary.
    pub failures: Vec<(String, u64, Failure)>,
    /// Tasks that did not run, because an earlier run had their results.
    pub memoized: u64,
    /// How the payloads of all attempts travelled.
    pub travel: Travel,
}
