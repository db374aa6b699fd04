//! From an attempt to what the bridge gets of it.

use super::{NO_WORKER, Out, Outgoing, Shared, kept::Found};
use crate::{
    message::{AttemptName, Reference, TaskKey},
    worker::reference,
};
use std::{fs, sync::Arc, time::Instant};
use taps_engine::{Attempt, AttemptReport, Demands, Failure, OutcomeKind, core::parse_forward_key};
use taps_payload::{Location, SegmentId};
use taps_sandbox::stored;

/// An attempt, ready to be sent.
pub(super) struct Sendable {
    pub(super) id: AttemptName,
    pub(super) key: TaskKey,
    pub(super) refs: Vec<Reference>,
    /// The attempt in postcard: the bridge does not look into it.
    pub(super) bytes: Vec<u8>,
    pub(super) demands: Option<Box<Demands>>,
}

/// Bytes for the engine to keep, of that segment.
type Put = (SegmentId, Vec<u8>);

impl Shared {
    /// Queues an attempt for the bridge. One that cannot be run has ended, with that report.
    pub(super) fn queue(&self, mut attempt: Attempt) -> Result<(), Box<AttemptReport>> {
        let puts = self.bring_arguments(&mut attempt)?;
        let key = TaskKey {
            task: attempt.id.task,
            generation: attempt.generation,
        };
        let demands = attempt.demands.take();
        // Made before the lock; again, should a result be here that was with the engine.
        let mut bytes = encode(&attempt)?;
        let state = &mut *self.state.lock();
        let before = attempt.arguments.clone();
        for (position, argument) in attempt.arguments.iter_mut().enumerate() {
            let Location::Engine { key, .. } = &argument.location else {
                continue;
            };
            let Some((output, generation)) = parse_forward_key(key) else {
                continue;
            };
            let task = output.task;
            match state.kept.find(TaskKey { task, generation }, output.index) {
                Found::Kept => {}
                Found::Inline(bytes) => argument.location = Location::Inline(bytes),
                Found::Failed => {
                    let message = format!("task {task} has failed");
                    return Err(ended(&attempt, OutcomeKind::UpstreamFailed, message, None));
                }
                Found::Gone => {
                    let message = format!("the engine does not keep {key} any more");
                    let position = Some(position as u32);
                    return Err(ended(
                        &attempt,
                        OutcomeKind::PayloadError,
                        message,
                        position,
                    ));
                }
            }
        }
        if attempt.arguments != before {
            bytes = encode(&attempt)?;
        }
        for (segment, bytes) in puts {
            let key = put_key(segment);
            if state.puts.insert(segment, key.clone()).is_none() {
                state.outbox.push_back(Outgoing::Put { key, bytes });
            }
        }
        let mut refs: Vec<Reference> = Vec::new();
        for argument in &attempt.arguments {
            if let Location::Engine { key, .. } = &argument.location {
                let reference = reference(key);
                if !refs.contains(&reference) {
                    refs.push(reference);
                }
            }
        }
        let keep = self.options.keep;
        if keep {
            state.kept.submitted(key);
        }
        let alone =
            keep || !refs.is_empty() || demands.is_some() || state.suspects.contains(&key.task);
        let arguments = (0..).zip(&attempt.arguments);
        let kept = arguments.filter(|(_, one)| matches!(one.location, Location::Engine { .. }));
        let out = Out {
            key,
            name: Arc::clone(&attempt.name),
            group: 0,
            kept_arguments: kept.map(|(position, _)| position).collect(),
        };
        state.out.insert(attempt.id, out);
        let sendable = Sendable {
            id: AttemptName(attempt.id),
            key,
            refs,
            bytes,
            demands,
        };
        if alone {
            state.outbox.push_back(Outgoing::Single(sendable));
        } else {
            state.groups.add(attempt.name, Instant::now(), sendable);
        }
        Ok(())
    }

    /// Puts bytes that only this process can reach where a worker can: into the attempt, or to the engine.
    fn bring_arguments(&self, attempt: &mut Attempt) -> Result<Vec<Put>, Box<AttemptReport>> {
        let mut puts = Vec::new();
        for position in 0..attempt.arguments.len() {
            let location = &attempt.arguments[position].location;
            let bytes = match location {
                Location::Segment(segment) => match self.context.store.get(segment.id) {
                    Some(segment) => stored::bytes_of(&segment).map_err(|error| error.to_string()),
                    None => Err(format!("segment {} is gone", segment.id.0)),
                },
                Location::File(file) if !self.options.sees_host_paths => fs::read(&*file.path)
                    .map(Into::into)
                    .map_err(|error| format!("read {}: {error}", file.path.display())),
                _ => continue,
            };
            let bytes = bytes.map_err(|reason| {
                let message = format!("argument {position}: {reason}");
                ended(
                    attempt,
                    OutcomeKind::PayloadError,
                    message,
                    Some(position as u32),
                )
            })?;
            let large = bytes.len() as u64 > self.context.inline_max_bytes;
            attempt.arguments[position].location = match *location {
                Location::Segment(segment) if large && self.options.keep => {
                    if !self.state.lock().puts.contains_key(&segment.id) {
                        puts.push((segment.id, bytes.to_vec()));
                    }
                    Location::Engine {
                        key: put_key(segment.id).into(),
                        len: segment.len,
                    }
                }
                _ => Location::Inline((&*bytes).into()),
            };
        }
        Ok(puts)
    }
}

/// What the engine keeps a segment of the run under.
fn put_key(segment: SegmentId) -> String {
    format!("p{}", segment.0)
}

fn encode(attempt: &Attempt) -> Result<Vec<u8>, Box<AttemptReport>> {
    postcard::to_stdvec(attempt)
        .map_err(|error| ended(attempt, OutcomeKind::EngineError, error.to_string(), None))
}

/// The report of an attempt that was never sent.
fn ended(
    attempt: &Attempt,
    outcome: OutcomeKind,
    message: String,
    lost_input: Option<u32>,
) -> Box<AttemptReport> {
    Box::new(AttemptReport {
        lost_inputs: lost_input.into_iter().collect(),
        executions: 0,
        ..AttemptReport::bare(attempt.id, NO_WORKER, Err(Failure::new(outcome, message)))
    })
}
