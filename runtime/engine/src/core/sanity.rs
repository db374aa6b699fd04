//! The invariants, checked by walking over everything.

use super::Core;
use super::action::TaskState;
use super::placement::Occupation;
use super::spec::PayloadKey;
use super::table::{Holding, Key, OutputUse, Presence, Task, TaskArgument};
use crate::TaskId;
use rustc_hash::FxHashMap;
use std::cmp::Reverse;

impl Core {
    /// Panics, and says why, when anything is inconsistent. Walks over every task and edge: for
    /// tests, after each event.
    pub fn sanity_check(&self) {
        assert!(self.candidates.is_empty(), "candidates are left over");
        assert!(self.reruns.is_empty(), "tasks to run again are left over");
        assert!(self.forwardable.is_empty(), "tasks to forward are left");
        for (key, task) in self.tasks.iter() {
            assert_eq!(self.tasks.find(task.id), Some(key), "task {}", task.id);
            assert!(!task.is_removable(), "nobody needs task {}", task.id);
            self.check_state(task);
            self.check_edges(key, task);
            check_outputs(task);
        }
        self.check_counts();
        self.check_references();
        self.check_queue();
        self.check_recalls();
        self.check_timers();
        self.check_workers();
    }

    fn check_state(&self, task: &Task) {
        let (id, state) = (task.id, task.state);
        let context = format!("task {id} is {state:?}");
        let out = task.out.is_some();
        let unresolved = task.unresolved > 0;
        match state {
            TaskState::Waiting => assert!(!out && unresolved, "{context}, and resolved or out"),
            TaskState::BackOff => assert!(!out, "{context} with an attempt out"),
            TaskState::Ready => {
                assert!(!out && !unresolved, "{context}, and unresolved or out");
                assert!(
                    self.capabilities.places,
                    "{context} though the engine takes all"
                );
            }
            TaskState::Running => assert!(out && !unresolved, "{context}, not resolved and out"),
            TaskState::Forwarded => assert!(
                self.forwards && out && unresolved,
                "{context}, but not unresolved and out"
            ),
            TaskState::Succeeded => {
                assert!(!out, "{context} with an attempt out");
                assert!(task.failure.is_none(), "{context} with a failure");
                assert!(!task.misses_output(), "{context}, but an output is missing");
            }
            TaskState::Failed | TaskState::Cancelled => {
                assert!(task.failure.is_some(), "{context} without a failure");
            }
        }
        if state.is_terminal() {
            assert!(task.announced, "{context}, and nobody was told");
            let mut children = task.children.iter();
            let waiting = children.any(|&child| self.tasks.waiting_child(child).is_some());
            assert!(!waiting, "{context} with children waiting");
            let stale = state == TaskState::Succeeded && unresolved;
            assert!(!stale, "{context}, and waits for parents");
            let expected = match (out, state) {
                (true, _) => Holding::Active,
                (_, TaskState::Succeeded) if self.settings.lineage => Holding::Lineage,
                _ => Holding::Nothing,
            };
            assert_eq!(task.holding, expected, "{context}: its hold on its inputs");
        } else {
            assert_eq!(
                task.holding,
                Holding::Active,
                "{context}: its hold on inputs"
            );
            assert!(
                self.failed.is_none(),
                "{context} though the executor failed"
            );
        }
        assert!(!task.cancelling || out, "{context}, cancelling nothing");
    }

    fn check_edges(&self, key: Key, task: &Task) {
        if task.state.is_terminal() {
            return;
        }
        let (mut open, mut unheld) = (0, 0);
        for (position, argument) in task.arguments.iter().enumerate() {
            let &TaskArgument::Output {
                parent: parent_key,
                index,
                unresolved,
            } = argument
            else {
                continue;
            };
            let context = format!("task {} argument {position}", task.id);
            let parent = self.tasks.get(parent_key);
            let parent = parent.unwrap_or_else(|| panic!("{context}: the parent is gone"));
            if unresolved {
                open += 1;
                unheld += u32::from(self.forwards && !self.is_held(parent_key));
                let state = parent.state;
                assert!(!state.is_terminal(), "{context}: waits for {state:?}");
                let mut children = parent.children.iter();
                let known = children.any(|c| c.key == key && c.position as usize == position);
                assert!(known, "{context}: the parent does not know of it");
            } else if task.state == TaskState::Ready && position < task.shown_arguments().len() {
                let available = parent.available(index).is_some();
                assert!(available, "{context}: ready, but the output is not there");
            }
        }
        assert_eq!(task.unresolved, open, "task {}: unresolved", task.id);
        assert_eq!(task.unheld, unheld, "task {}: unheld", task.id);
    }

    fn check_counts(&self) {
        let mut in_state = [0; TaskState::COUNT];
        let mut outstanding = 0;
        for (_, task) in self.tasks.iter() {
            in_state[task.state as usize] += 1;
            outstanding += u64::from(!task.announced);
        }
        assert_eq!(self.in_state, in_state, "tasks by state");
        let counts = &self.counts;
        assert_eq!(counts.outstanding, outstanding, "tasks outstanding");
        let ended = counts.succeeded + counts.failed + counts.cancelled;
        assert_eq!(
            counts.submitted,
            ended + outstanding,
            "submitted tasks must be terminal or outstanding"
        );
        let injected = self.tasks.iter().filter(|(_, task)| task.doom.is_parent);
        assert!(
            outstanding <= (self.settings.max_outstanding + injected.count()) as u64,
            "back-pressure"
        );
    }

    fn check_references(&self) {
        let mut uses: FxHashMap<(Key, u32), (u32, u32)> = FxHashMap::default();
        let mut held: FxHashMap<PayloadKey, u32> = FxHashMap::default();
        for (_, task) in self.tasks.iter() {
            let nothing = task.holding == Holding::Nothing;
            assert!(
                !nothing || task.arguments.is_empty(),
                "task {}: arguments",
                task.id
            );
            for argument in &task.arguments {
                match *argument {
                    TaskArgument::Value(_) => {}
                    TaskArgument::Held(key) => *held.entry(key).or_default() += 1,
                    TaskArgument::Output { parent, index, .. } => {
                        let counts = uses.entry((parent, index)).or_default();
                        counts.0 += u32::from(task.holding == Holding::Active);
                        counts.1 += u32::from(task.holding == Holding::Lineage);
                    }
                }
            }
        }
        for (key, task) in self.tasks.iter() {
            let mut references = 0;
            for (index, users) in task.uses.iter().enumerate() {
                let OutputUse {
                    active,
                    lineage,
                    handles,
                    ..
                } = *users;
                let counted = uses.remove(&(key, index as u32)).unwrap_or_default();
                assert_eq!(
                    (active, lineage),
                    counted,
                    "task {} output {index}",
                    task.id
                );
                references += active + lineage + handles;
            }
            assert_eq!(task.references, references, "task {}: references", task.id);
        }
        assert!(uses.is_empty(), "uses that nobody counted: {uses:?}");
        for (key, payload) in &self.held {
            let counted = held.remove(key).unwrap_or_default();
            assert_eq!(payload.users, counted, "users of payload {}", key.0);
            assert!(payload.driver || counted > 0, "payload {} leaks", key.0);
        }
        assert!(held.is_empty(), "tasks take payloads that are gone");
    }

    fn check_queue(&self) {
        let mut ready: FxHashMap<u32, usize> = FxHashMap::default();
        let mut members: FxHashMap<u32, usize> = FxHashMap::default();
        for (_, task) in self.tasks.iter() {
            *members.entry(task.class).or_default() += 1;
            *ready.entry(task.class).or_default() += usize::from(task.state == TaskState::Ready);
        }
        for (class, queued, tasks, entries) in self.ready.inspect() {
            let expected = ready.get(&class).copied().unwrap_or_default();
            assert_eq!(queued, expected, "ready tasks of class {class}");
            let expected = members.get(&class).copied().unwrap_or_default();
            assert_eq!(tasks, expected, "tasks of class {class}");
            let active = self.ready.active().contains(&class);
            assert_eq!(active, queued > 0, "class {class} active");
            let mut current: Vec<TaskId> = entries
                .iter()
                .filter(|(rank, key)| self.tasks.is(*key, rank.1.0, TaskState::Ready))
                .map(|(rank, _)| rank.1.0)
                .collect();
            current.sort_unstable();
            current.dedup();
            assert_eq!(current.len(), queued, "entries of class {class}");
            assert!(
                entries.len() <= 2 * queued + 64,
                "outdated entries of class {class} pile up"
            );
            self.check_nothing_idles(class, queued);
        }
    }

    /// A ready task of a class that fits somewhere must not wait, unless a larger one is due.
    fn check_nothing_idles(&self, class: u32, ready: usize) {
        let fits = self.placement.find(self.ready.demand(class)).is_some();
        if !self.capabilities.places || ready == 0 || !fits {
            return;
        }
        let mut waiting = self.tasks.iter().map(|(_, task)| task);
        let due =
            waiting.any(|task| task.state == TaskState::Ready && self.is_first_served(task.id));
        assert!(due, "a worker idles while a task of class {class} is ready");
    }

    fn check_timers(&self) {
        let mut first = None;
        for (key, task) in self.tasks.iter() {
            if task.state != TaskState::BackOff {
                continue;
            }
            let until_ns = task.backoff_until_ns;
            let mut timers = self.timers.iter();
            let timer = timers.any(|&Reverse(timer)| timer == (until_ns, task.id, key));
            assert!(timer, "task {} backs off for ever", task.id);
            first = Some(first.map_or(until_ns, |first: u64| first.min(until_ns)));
        }
        let first = first.into_iter().chain(self.recalls.due_ns()).min();
        assert_eq!(self.next_timer_ns(), first, "next timer");
    }

    fn check_workers(&self) {
        let out = self.tasks.iter().filter_map(|(key, task)| {
            let out = task.out?;
            let (task, class) = (task.id, task.class);
            let demand = self.ready.demand(class);
            Some(Occupation {
                worker: out.worker?,
                place: out.place,
                key,
                task,
                class,
                demand,
            })
        });
        let attempts: Vec<Occupation<'_>> = out.collect();
        self.placement.sanity_check(&attempts);
    }
}

fn check_outputs(task: &Task) {
    for (index, users) in task.uses.iter().enumerate() {
        let used = users.active + users.lineage + users.handles > 0;
        let context = format!("task {} output {index}", task.id);
        if task.outputs.len() <= index {
            continue;
        }
        match users.presence {
            Presence::Freed => assert!(!task.driver || task.generation.0 > 0, "{context}: freed"),
            Presence::Present => assert!(used || task.driver, "{context}: nobody needs it"),
            Presence::Lost => {}
        }
    }
}
