//! Results that the engine keeps, and what is known of those that it does not keep any more.

use crate::message::TaskKey;
use rustc_hash::{FxHashMap, FxHashSet};
use std::{collections::VecDeque, sync::Arc};
use taps_engine::{Output, OutputId, core::parse_forward_key};
use taps_payload::Location;

/// Tasks of which something is remembered after the engine was told to drop their results.
const REMEMBERED: usize = 4096;

/// What became of a key that an attempt asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found {
    /// The engine has it, or will have it.
    Kept,
    /// It was small, and came with the report.
    Inline(Arc<[u8]>),
    /// Its task failed: nothing will come.
    Failed,
    /// Nobody has it any more.
    Gone,
}

/// All of them. An attempt may ask for a result that was given up between its dispatch and its submission: then what
/// is remembered of it serves.
#[derive(Debug, Default)]
pub(super) struct KeptResults {
    kept: FxHashMap<TaskKey, FxHashSet<u32>>,
    remembered: FxHashMap<TaskKey, Option<Vec<Output>>>,
    order: VecDeque<TaskKey>,
}

impl KeptResults {
    /// An attempt was sent, whose outputs will be kept under that key.
    pub(super) fn submitted(&mut self, key: TaskKey) {
        self.remembered.remove(&key);
        self.kept.insert(key, FxHashSet::default());
    }

    /// It has ended: with these outputs, or none. Says whether the engine may drop what it has.
    pub(super) fn ended(&mut self, key: TaskKey, outputs: Option<&[Output]>) -> bool {
        let Some(kept) = self.kept.get_mut(&key) else {
            return false;
        };
        let with_engine = outputs.unwrap_or_default().iter().enumerate();
        kept.extend(
            with_engine
                .filter(|(_, output)| matches!(output.location, Location::Engine { .. }))
                .map(|(index, _)| index as u32),
        );
        if !kept.is_empty() {
            return false;
        }
        self.forget(key, outputs.map(<[Output]>::to_vec));
        true
    }

    /// Nobody asks for this output any more. Says which task's results the engine may drop.
    pub(super) fn release(&mut self, key: &str) -> Option<TaskKey> {
        let (OutputId { task, index }, generation) = parse_forward_key(key)?;
        let key = TaskKey { task, generation };
        let kept = self.kept.get_mut(&key)?;
        kept.remove(&index);
        if !kept.is_empty() {
            return None;
        }
        self.forget(key, Some(Vec::new()));
        Some(key)
    }

    /// Where an output is.
    pub(super) fn find(&self, key: TaskKey, index: u32) -> Found {
        if self.kept.contains_key(&key) {
            return Found::Kept;
        }
        match self.remembered.get(&key) {
            Some(None) => Found::Failed,
            Some(Some(outputs)) => match outputs.get(index as usize).map(|output| &output.location)
            {
                Some(Location::Inline(bytes)) => Found::Inline(Arc::clone(bytes)),
                _ => Found::Gone,
            },
            None => Found::Gone,
        }
    }

    fn forget(&mut self, key: TaskKey, outputs: Option<Vec<Output>>) {
        self.kept.remove(&key);
        if self.remembered.insert(key, outputs).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.remembered.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use taps_engine::{Generation, TaskId, core::forward_key};

    fn key(task: u64) -> TaskKey {
        TaskKey {
            task: TaskId(task),
            generation: Generation(1),
        }
    }

    fn engine(task: u64, index: u32) -> (Arc<str>, Output) {
        let output = OutputId {
            task: TaskId(task),
            index,
        };
        let name = forward_key(output, Generation(1));
        let location = Location::Engine {
            key: Arc::clone(&name),
            len: 9,
        };
        (name, Output { location })
    }

    fn inline(bytes: &[u8]) -> Output {
        Output {
            location: Location::Inline(bytes.into()),
        }
    }

    #[test]
    fn the_engine_drops_a_result_when_all_of_its_outputs_are_released() {
        let mut kept = KeptResults::default();
        kept.submitted(key(1));
        assert_eq!(kept.find(key(1), 0), Found::Kept, "it will come");
        let (first, one) = engine(1, 0);
        let (third, three) = engine(1, 2);
        assert!(!kept.ended(key(1), Some(&[one, inline(b"x"), three])));
        assert_eq!(kept.release(&first), None);
        assert_eq!(kept.find(key(1), 0), Found::Kept, "with the others");
        assert_eq!(kept.release(&third), Some(key(1)));
        assert_eq!(kept.find(key(1), 0), Found::Gone);
        assert_eq!(kept.release(&third), None, "said twice");
    }

    #[test]
    fn what_came_with_the_report_serves_those_who_come_late() {
        let mut kept = KeptResults::default();
        kept.submitted(key(1));
        assert!(kept.ended(key(1), Some(&[inline(b"small")])));
        assert_eq!(kept.find(key(1), 0), Found::Inline(b"small"[..].into()));
        kept.submitted(key(2));
        assert!(kept.ended(key(2), None));
        assert_eq!(kept.find(key(2), 0), Found::Failed);
        kept.submitted(key(2));
        assert_eq!(kept.find(key(2), 0), Found::Kept, "it is tried again");
        assert_eq!(kept.find(key(3), 0), Found::Gone);
    }
}
