//! Tasks whose results an earlier run may have.

use crate::{
    coordinator::Coordinator,
    memo::{self, Asked, Memoized},
};
use std::sync::atomic::Ordering;
use taps_engine::{
    ExecutorEvent,
    core::{ArgumentSpec, TaskOptions},
};
use taps_payload::Location;
use taps_sandbox::stored;
use taps_schema::Kernels;

impl Coordinator {
    /// What the memo, if there is one, knows of a task that is about to be submitted. Called without the
    /// lock: it may read the result.
    pub(crate) fn memoized(
        &self,
        task: &str,
        arguments: &[ArgumentSpec],
        options: &TaskOptions,
    ) -> Option<Memoized> {
        let memo = self.memo.as_ref()?;
        let arguments = self.known_arguments(arguments)?;
        let (key, live) = {
            let state = self.lock();
            let route = state.routes.get(task)?;
            if !options.pure.unwrap_or(route.pure) || !route.closed {
                return None;
            }
            let key = memo.key(&Asked {
                component: route.component,
                name: task,
                seed: state.core.next_seed(task),
                host_kernels: state.kernels == Kernels::Host,
                arguments,
            })?;
            // What a resumed run knows of its tasks is not asked elsewhere.
            (key, state.replay.next().is_none())
        };
        let context = &self.context;
        let outputs = live.then(|| memo.load(&key, &context.store, context.inline_max_bytes));
        Some(Memoized {
            key,
            outputs: outputs.flatten(),
        })
    }

    /// What was loaded for a task that was refused is not needed.
    pub(crate) fn forget(&self, memoized: Option<Memoized>) {
        let outputs = memoized.and_then(|known| known.outputs);
        for output in outputs.iter().flatten() {
            stored::free(&self.context, &output.location);
        }
    }

    /// What bytes are to the memo, if there is one. Called without the lock: it reads all of them.
    pub(crate) fn known_bytes(&self, location: &Location) -> Option<memo::Key> {
        let memo = self.memo.as_ref()?;
        memo.of_bytes(location, &self.context.store)
    }

    /// What the arguments of a submission are to the memo, if there is one, and all have a key.
    fn known_arguments(&self, arguments: &[ArgumentSpec]) -> Option<Vec<memo::Key>> {
        let memo = self.memo.as_ref()?;
        let keys = arguments.iter().map(|argument| match argument {
            ArgumentSpec::Value(value) => self.known_bytes(&value.location),
            ArgumentSpec::Held(payload) => memo.of_held(*payload),
            ArgumentSpec::Output(output) => memo.of_output(*output),
        });
        keys.collect()
    }

    /// Keeps the results of pure tasks for later runs.
    pub(crate) fn memoize(&self, events: &[ExecutorEvent]) {
        let Some(memo) = &self.memo else { return };
        for event in events {
            if let ExecutorEvent::Finished(report) = event
                && let Ok(outputs) = &report.result
                && let Some(key) = memo.of(report.id.task)
                && let Err(error) = memo.keep(&key, outputs, &self.context.store)
                && !self.unmemoized.swap(true, Ordering::Relaxed)
            {
                let message = format!("a result is not memoized: {error} (said once)");
                self.log.warn("run", &message);
            }
        }
    }
}
