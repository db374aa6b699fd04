//! The run, as its driver sees it.

use crate::{
    coordinator::Coordinator,
    state::{State, Wait},
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
    /// Records what the driver observes; its clock stands at this moment from now on.
    fn deliver(&mut self, now_ns: u64, delivery: Delivery) {
        self.delivered_ns = now_ns;
        self.log.append(&LogEvent::Delivered {
            delivery,
            time_ns: now_ns,
        });
    }

    fn output(&self, output: OutputId) -> Result<Location, Failure> {
        match self.core.output(output) {
            Some(found) => Ok(found.location.clone()),
            None => Err(Failure::new(
                OutcomeKind::PayloadError,
                format!("task {} has no output {}", output.task, output.index),
            )),
        }
    }
}

fn recorded(status: DriverStatus) -> taps_records::TaskStatus {
    match status {
        DriverStatus::Pending => taps_records::TaskStatus::Pending,
        DriverStatus::Succeeded => taps_records::TaskStatus::Succeeded,
        DriverStatus::Failed => taps_records::TaskStatus::Failed,
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
        let submitted = self
            .change(|state, now_ns, orders| state.submit(now_ns, task, arguments, options, orders));
        if submitted.is_err() {
            self.give_up(&stored);
        }
        submitted
    }

    fn hold(&self, location: Location) -> PayloadKey {
        let mut state = self.lock();
        let media_type = Arc::clone(&state.media_type);
        state.core.hold(Argument {
            location,
            media_type,
        })
    }

    fn status(&self, task: TaskId) -> DriverStatus {
        self.change(|state, now_ns, _| {
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
        self.change(|state, now_ns, orders| {
            let failed = match state.core.status(task) {
                Some(TaskStatus::Succeeded { .. }) => None,
                Some(TaskStatus::Failed(failure)) => Some(failure.clone()),
                Some(TaskStatus::Pending) | None => {
                    state.wait_for(Wait::Task(task), self.driving.quiet_waker());
                    return Poll::Pending;
                }
            };
            if let Some(failure) = failed {
                let outcome = failure.outcome;
                state.deliver(now_ns, Delivery::Failure { task, outcome });
                return Poll::Ready(Err(failure));
            }
            let output = OutputId {
                task,
                index: output,
            };
            let location = match state.output(output) {
                Ok(location) => location,
                Err(failure) => return Poll::Ready(Err(failure)),
            };
            state.deliver(
                now_ns,
                Delivery::Result {
                    output,
                    len: location.len(),
                },
            );
            state.apply(now_ns, Event::PayloadAcquired(output), orders);
            Poll::Ready(Ok(DriverPayload {
                origin: PayloadOrigin::Output(output),
                location,
                media_type: Arc::clone(&state.media_type),
            }))
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
            state.phases.push((name.to_owned(), now_ns));
            state.log.append(&LogEvent::Phase {
                name: name.into(),
                time_ns: now_ns,
            });
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
