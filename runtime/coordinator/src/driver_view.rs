//! The run, as its driver sees it.

use crate::{
    coordinator::Coordinator,
    history::Step,
    replay::Replayed,
    state::{Orders, State, Wait},
    transforming::stored_in,
};
use std::{
    path::{Component, Path},
    sync::Arc,
    task::{Poll, Waker},
};
use taps_engine::{
    Argument, Failure, OutcomeKind, OutputId, TaskId,
    core::{ArgumentSpec, Event, PayloadKey, TaskOptions, TaskStatus},
};
use taps_payload::{FileRef, Location};
use taps_records::{Completion, Delivery, LogEvent};
use taps_sandbox::{
    DriverHost, DriverPayload, DriverStatus, GrantKind, InputFileError, PayloadOrigin, QueueId,
    Refusal,
};

impl State {
    /// The driver reads an output of a task that succeeded. Where the output is lost, it is to be made
    /// again, and there is no answer yet.
    fn read(
        &mut self,
        now_ns: u64,
        output: OutputId,
        orders: &mut Orders,
    ) -> Option<Result<DriverPayload, Failure>> {
        let Some(found) = self.core.output(output) else {
            return self.make_again(now_ns, output, orders).err().map(Err);
        };
        let location = found.location.clone();
        if self.is_damaged(output, &location) {
            self.lose(now_ns, output, orders);
            return self.make_again(now_ns, output, orders).err().map(Err);
        }
        let len = location.len();
        self.deliver(now_ns, Delivery::Result { output, len });
        // Held since it was found to be lost, if it was.
        if self.wanted.take() != Some(output) {
            self.apply(now_ns, Event::PayloadAcquired(output), orders);
        }
        Some(Ok(DriverPayload {
            origin: PayloadOrigin::Output(output),
            location,
            media_type: Arc::clone(&self.media_type),
        }))
    }

    /// Asks for an output that is not there. Fails when the task gives no such output.
    fn make_again(
        &mut self,
        now_ns: u64,
        output: OutputId,
        orders: &mut Orders,
    ) -> Result<(), Failure> {
        let gave = match self.core.status(output.task) {
            Some(TaskStatus::Succeeded { outputs, .. }) => outputs.len(),
            _ => 0,
        };
        if (output.index as usize) < gave && self.wanted.is_none() {
            self.wanted = Some(output);
            self.apply(now_ns, Event::PayloadAcquired(output), orders);
            return Ok(());
        }
        self.want_no_more(now_ns, orders);
        let message = format!("task {} has no output {}", output.task, output.index);
        Err(Failure::new(OutcomeKind::PayloadError, message))
    }

    /// The bytes of an output turned out to be gone or damaged.
    fn lose(&mut self, now_ns: u64, output: OutputId, orders: &mut Orders) {
        self.destroy(output, orders);
        self.apply(now_ns, Event::OutputsLost(vec![output]), orders);
    }

    fn want_no_more(&mut self, now_ns: u64, orders: &mut Orders) {
        if let Some(wanted) = self.wanted.take() {
            self.apply(now_ns, Event::PayloadReleased(wanted), orders);
        }
    }

    fn fail(
        &mut self,
        now_ns: u64,
        task: TaskId,
        failure: Failure,
        orders: &mut Orders,
    ) -> Failure {
        let outcome = failure.outcome;
        self.deliver(now_ns, Delivery::Failure { task, outcome });
        self.want_no_more(now_ns, orders);
        failure
    }
}

fn recorded(status: DriverStatus) -> taps_records::TaskStatus {
    match status {
        DriverStatus::Pending => taps_records::TaskStatus::Pending,
        DriverStatus::Succeeded => taps_records::TaskStatus::Succeeded,
        DriverStatus::Failed => taps_records::TaskStatus::Failed,
    }
}

fn shown(status: taps_records::TaskStatus) -> DriverStatus {
    match status {
        taps_records::TaskStatus::Pending => DriverStatus::Pending,
        taps_records::TaskStatus::Succeeded => DriverStatus::Succeeded,
        taps_records::TaskStatus::Failed => DriverStatus::Failed,
    }
}

impl State {
    /// Hands out what was handed out before.
    fn replayed_completions(
        &mut self,
        queue: QueueId,
        before: Vec<Completion>,
    ) -> Vec<(u64, DriverStatus)> {
        let wanted: Vec<_> = before.iter().map(|one| (one.task, one.tag)).collect();
        if !self.queues.take_these(queue, &wanted) {
            self.diverge("waits for others");
            return Vec::new();
        }
        let seen = before.into_iter().map(|one| (one.tag, shown(one.status)));
        seen.collect()
    }
}

/// Whatever the driver waits for here is brought by a thread that polls it afterwards, so the quiet
/// waker stands in for the one that is passed.
impl DriverHost for Coordinator {
    fn poll_capacity(&self, _: &Waker) -> Poll<()> {
        let mut state = self.lock();
        if state.ending || state.core.can_submit() {
            return Poll::Ready(());
        }
        state.wait_for(Wait::Capacity, self.driving.quiet_waker());
        Poll::Pending
    }

    fn submit(
        &self,
        task: &str,
        arguments: Vec<ArgumentSpec>,
        options: TaskOptions,
    ) -> Result<TaskId, Refusal> {
        let arguments = self.transformed(task, arguments);
        let stored = stored_in(&arguments);
        self.bring_back(&arguments);
        let memoized = self.memoized(task, &arguments, &options);
        let done = memoized.as_ref().and_then(|known| known.outputs.clone());
        let submitted = self.change(|state, now_ns, orders| {
            let submitted = state.submit(now_ns, task, arguments, options, done, orders);
            // Before the task can end.
            if let (Ok(task), Some(memo), Some(known)) = (&submitted, &self.memo, &memoized) {
                memo.gives(*task, known.key);
            }
            submitted
        });
        if submitted.is_err() {
            self.give_up(&stored, &[]);
            self.forget(memoized);
        }
        submitted
    }

    fn hold(&self, location: Location) -> PayloadKey {
        let known = self.known_bytes(&location);
        let mut state = self.lock();
        let media_type = Arc::clone(&state.media_type);
        let key = state.core.hold(Argument {
            location,
            media_type,
        });
        if let (Some(memo), Some(known)) = (&self.memo, known) {
            memo.hold(key, known);
        }
        key
    }

    fn status(&self, task: TaskId) -> DriverStatus {
        self.change(|state, now_ns, _| {
            let before = state.replayed(
                || format!("asks for the status of task {task}"),
                |seen| match seen {
                    Delivery::Status { task: of, status } if *of == task => Some(*status),
                    _ => None,
                },
            );
            match before {
                Replayed::Live => {}
                Replayed::Seen(before) => return shown(before),
                Replayed::Diverged => return DriverStatus::Pending,
            }
            let status = state.status(task);
            state.deliver(
                now_ns,
                Delivery::Status {
                    task,
                    status: recorded(status),
                },
            );
            status
        })
    }

    fn failure(&self, task: TaskId) -> Option<Failure> {
        let state = self.lock();
        state
            .core
            .status(task)
            .and_then(|status| status.failure().cloned())
    }

    fn poll_result(
        &self,
        task: TaskId,
        output: u32,
        _: &Waker,
    ) -> Poll<Result<DriverPayload, Failure>> {
        let output = OutputId {
            task,
            index: output,
        };
        let lost = match self.bring_from_engine(output) {
            Ok(()) => self.is_lost_in_store(output),
            Err(error) if error.lost => true,
            Err(error) => {
                let failure = Failure::new(OutcomeKind::PayloadError, error.reason);
                return Poll::Ready(Err(failure));
            }
        };
        self.change(|state, now_ns, orders| {
            if lost {
                state.lose(now_ns, output, orders);
            }
            loop {
                let failed = match state.core.status(task) {
                    Some(TaskStatus::Succeeded { .. }) => None,
                    Some(TaskStatus::Failed(failure)) => Some(failure.clone()),
                    Some(TaskStatus::Pending) | None => {
                        state.wait_for(Wait::Task(task), self.driving.quiet_waker());
                        return Poll::Pending;
                    }
                };
                if let Some(failure) = failed {
                    return Poll::Ready(Err(state.fail(now_ns, task, failure, orders)));
                }
                // To make it again may have ended at once.
                if let Some(read) = state.read(now_ns, output, orders) {
                    return Poll::Ready(read);
                }
            }
        })
    }

    fn cancel(&self, task: TaskId) {
        self.change(|state, now_ns, orders| state.apply(now_ns, Event::Cancel(task), orders));
    }

    fn release_future(&self, task: TaskId) {
        self.change(|state, now_ns, orders| state.apply(now_ns, Event::Release(task), orders));
    }

    fn release_payload(&self, origin: PayloadOrigin) {
        let event = match origin {
            PayloadOrigin::Output(output) => Event::PayloadReleased(output),
            PayloadOrigin::Held(key) => Event::HeldReleased(key),
        };
        self.change(|state, now_ns, orders| state.apply(now_ns, event, orders));
    }

    fn create_queue(&self) -> QueueId {
        self.lock().queues.create()
    }

    fn drop_queue(&self, queue: QueueId) {
        self.lock().queues.remove(queue);
    }

    fn add_to_queue(&self, queue: QueueId, task: TaskId, tag: u64) {
        let mut state = self.lock();
        let status = state.status(task);
        state.queues.add(queue, task, tag, status);
    }

    fn poll_queue(
        &self,
        queue: QueueId,
        max: u32,
        until_ns: Option<u64>,
        _: &Waker,
    ) -> Poll<Vec<(u64, DriverStatus)>> {
        self.change(|state, now_ns, _| {
            let before = state.replayed(
                || "waits for completions".to_owned(),
                |seen| match seen {
                    Delivery::Completions(all) => Some(all.clone()),
                    Delivery::Timeout | Delivery::Empty => Some(Vec::new()),
                    _ => None,
                },
            );
            match before {
                Replayed::Live => {}
                Replayed::Seen(before) => {
                    return Poll::Ready(state.replayed_completions(queue, before));
                }
                Replayed::Diverged => return Poll::Ready(Vec::new()),
            }
            let taken = state.queues.take(queue, max);
            if taken.is_empty() {
                let late = until_ns.is_some_and(|until| until <= now_ns);
                if !late && !state.queues.would_end(queue) && !state.ending {
                    state.wait_for(Wait::Queue(queue, until_ns), self.driving.quiet_waker());
                    return Poll::Pending;
                }
                let nothing = if late {
                    Delivery::Timeout
                } else {
                    Delivery::Empty
                };
                state.deliver(now_ns, nothing);
            }
            if !taken.is_empty() {
                let completions = taken.iter().map(|ready| Completion {
                    task: ready.task,
                    tag: ready.tag,
                    status: recorded(ready.status),
                });
                state.deliver(now_ns, Delivery::Completions(completions.collect()));
            }
            Poll::Ready(
                taken
                    .into_iter()
                    .map(|ready| (ready.tag, ready.status))
                    .collect(),
            )
        })
    }

    fn poll_sleep(&self, until_ns: u64, _: &Waker) -> Poll<()> {
        self.change(|state, now_ns, _| {
            let slept = |seen: &Delivery| (*seen == Delivery::Slept).then_some(());
            if !matches!(
                state.replayed(|| "sleeps".to_owned(), slept),
                Replayed::Live
            ) {
                return Poll::Ready(());
            }
            if until_ns <= now_ns || state.ending {
                state.deliver(now_ns, Delivery::Slept);
                return Poll::Ready(());
            }
            state.wait_for(Wait::Sleep(until_ns), self.driving.quiet_waker());
            Poll::Pending
        })
    }

    fn clock_ns(&self) -> u64 {
        self.lock().delivered_ns
    }

    fn input_file(&self, guest_path: &str) -> Result<DriverPayload, InputFileError> {
        let opened = self.open_input(guest_path);
        let known = match &opened {
            Ok(file) => self.known_bytes(&Location::File(file.clone())),
            Err(_) => None,
        };
        self.change(|state, now_ns, _| {
            let path = guest_path.to_owned();
            match opened {
                Ok(file) => {
                    let fingerprint = file.fingerprint;
                    state.deliver(now_ns, Delivery::InputFile { path, fingerprint });
                    let location = Location::File(file);
                    let media_type = Arc::clone(&state.media_type);
                    let held = Argument {
                        location: location.clone(),
                        media_type,
                    };
                    let key = state.core.hold(held);
                    if let (Some(memo), Some(known)) = (&self.memo, known) {
                        memo.hold(key, known);
                    }
                    let media_type = Arc::clone(&state.media_type);
                    Ok(DriverPayload {
                        origin: PayloadOrigin::Held(key),
                        location,
                        media_type,
                    })
                }
                Err(error) => {
                    let reason = error.to_string();
                    state.deliver(
                        now_ns,
                        Delivery::InputFileFailed {
                            path,
                            error: reason,
                        },
                    );
                    Err(error)
                }
            }
        })
    }

    fn phase(&self, name: &str) {
        self.change(|state, now_ns, _| {
            let time_ns = match state.replay.next() {
                None => {
                    state.log.append(&LogEvent::Phase {
                        name: name.into(),
                        time_ns: now_ns,
                    });
                    now_ns
                }
                Some(Step::Phase {
                    name: before,
                    time_ns,
                }) if **before == *name => {
                    let time_ns = *time_ns;
                    state.replay.advance();
                    time_ns
                }
                Some(_) => return state.diverge(&format!("begins the phase {name}")),
            };
            state.phases.push((name.to_owned(), time_ns));
        });
    }
}

impl Coordinator {
    /// Finds the host's file behind a granted virtual path. Links may not lead out of the grant.
    fn open_input(&self, guest_path: &str) -> Result<FileRef, InputFileError> {
        let not_granted = || InputFileError::NotGranted(guest_path.to_owned());
        let unreadable = |error: &dyn std::fmt::Display| {
            InputFileError::Unreadable(format!("read {guest_path}: {error}"))
        };
        let path = Path::new(guest_path);
        let plain = path
            .components()
            .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        let granted = self.context.grants.iter().find_map(|grant| {
            let below = path.strip_prefix(&grant.guest_path).ok()?;
            let whole = below.as_os_str().is_empty();
            (whole == (grant.kind == GrantKind::File)).then_some((grant, below))
        });
        let Some((grant, below)) = granted.filter(|_| plain) else {
            return Err(not_granted());
        };
        let root = grant
            .host_path
            .canonicalize()
            .map_err(|error| unreadable(&error))?;
        let wanted = if grant.kind == GrantKind::File {
            root.clone()
        } else {
            root.join(below)
        };
        let found = wanted.canonicalize().map_err(|error| unreadable(&error))?;
        if !found.starts_with(&root) {
            return Err(not_granted());
        }
        let file = FileRef::open(&found).map_err(|error| unreadable(&error))?;
        std::fs::File::open(&found).map_err(|error| unreadable(&error))?;
        Ok(file)
    }
}
