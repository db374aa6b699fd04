//! Tasks of which an earlier life of the run, or an earlier run, knows how they ended.

use super::Core;
use super::action::Action;
use super::table::Key;
use crate::{Failure, Generation, OutcomeKind, Output};
use std::sync::Arc;

/// What is known of a task before it is submitted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Past {
    /// Attempts dispatched: the next one has this number.
    pub attempts: u32,
    /// Those among them that were given back before they had started.
    pub returned: u16,
    /// Those among them that came to an end of their own: what faults count.
    pub tries: u32,
    /// Outcomes of the attempts that were followed by another, as retries of the policy.
    pub retried: Vec<OutcomeKind>,
    /// Workers lost with an attempt of it.
    pub crashes: u16,
    /// Which production of the outputs was the last.
    pub generation: Generation,
    /// How it ended, if it did.
    pub end: Option<PastEnd>,
}

/// How a task ended before.
#[derive(Clone, Debug, PartialEq)]
pub enum PastEnd {
    /// With outputs, of which some are lost.
    Succeeded {
        /// All of them; what a lost one says of its place does not matter.
        outputs: Vec<Output>,
        /// Indices of those whose bytes are gone.
        lost: Vec<u32>,
    },
    /// Without.
    Failed(Failure),
}

impl Core {
    /// Puts a task that was just entered where its past left it. Says whether it has ended.
    pub(super) fn settle(&mut self, key: Key, past: Past, actions: &mut Vec<Action>) -> bool {
        let task = &mut self.tasks[key];
        task.attempts = past.attempts;
        task.returned = past.returned;
        task.tries = past.tries;
        for outcome in past.retried {
            task.count_retry(outcome);
        }
        task.crashes = past.crashes;
        task.generation = past.generation;
        let started = past.attempts.saturating_sub(u32::from(past.returned));
        self.counts.retried += u64::from(started.saturating_sub(1));
        match past.end {
            Some(PastEnd::Succeeded { outputs, lost }) => {
                let count = outputs.len() as u32;
                self.succeed(key, outputs, actions);
                for index in lost.into_iter().filter(|&index| index < count) {
                    self.mark_lost(key, index);
                }
                true
            }
            Some(PastEnd::Failed(failure)) => {
                self.end(key, Arc::new(failure), actions);
                true
            }
            None => false,
        }
    }
}
