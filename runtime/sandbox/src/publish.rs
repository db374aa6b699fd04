//! The outputs of a task: from its sandbox to where others read them.

use crate::{
    RunContext, classify,
    faults::Disturbance,
    host::outputs::{Buffered, OutputHandle},
    live::Live,
    stored, verify,
    wire::TaskOutput,
};
use bytes::Bytes;
use std::sync::Arc;
use taps_engine::{Attempt, Failure, OutcomeKind, Output};
use taps_payload::{FileRef, Location, Segment, Transfer, Way, WritableSegment};
use taps_transform::DataPlane;
use wasmtime::component::Resource;

/// What a task gave, and how it travelled.
pub(crate) type Ran = Result<(Vec<Output>, Vec<Transfer>), Failure>;

impl Live {
    /// Publishes the outputs. Windows are taken away first: nobody writes to what is published.
    pub(crate) fn publish(
        &mut self,
        outputs: Vec<TaskOutput>,
        attempt: &Attempt,
        disturbance: &mut Disturbance,
        run: &RunContext,
    ) -> Ran {
        let mut published = Vec::with_capacity(outputs.len());
        let mut transfers = Vec::with_capacity(outputs.len());
        for (index, output) in outputs.into_iter().enumerate() {
            let done = match output {
                TaskOutput::Inline(mut bytes) => {
                    let size = bytes.len() as u64;
                    if let Some(plane) = stored::plane_for(run, attempt, index, size) {
                        self.put(plane, &bytes.into(), 1, disturbance)
                    } else {
                        if run.verify_payloads {
                            self.note_digest(index, verify::digest(&bytes));
                        }
                        disturbance.spoil(&mut bytes);
                        publish_bytes(bytes, run)
                    }
                }
                TaskOutput::Buffer(handle) => {
                    self.publish_buffer(handle, (attempt, index), disturbance, run)
                }
            };
            match done {
                Ok((location, transfer)) => {
                    published.push(Output { location });
                    transfers.push(transfer);
                }
                Err(failure) => {
                    // Nobody will hear of the outputs before this one.
                    for Output { location } in &published {
                        stored::free(run, location);
                    }
                    return Err(failure);
                }
            }
        }
        Ok((published, transfers))
    }

    /// Output `index` should be this; those before it that have none are not in memory.
    fn note_digest(&mut self, index: usize, digest: u64) {
        let digests = &mut self.store.data_mut().digests;
        digests.resize(index, None);
        digests.push(Some(digest));
    }

    fn publish_buffer(
        &mut self,
        handle: Resource<OutputHandle>,
        (attempt, index): (&Attempt, usize),
        disturbance: &mut Disturbance,
        run: &RunContext,
    ) -> Result<(Location, Transfer), Failure> {
        let state = self.store.data_mut();
        let buffer = state
            .table
            .delete(handle)
            .map_err(|error| payload_error(&error))?;
        if let OutputHandle::File(mut made) = buffer {
            let file = made.take();
            let file = file.ok_or_else(|| payload_error(&"the file was taken before"))?;
            return self.publish_file(file, (attempt, index), disturbance, run);
        }
        let (segment, way, copies) = match buffer {
            OutputHandle::Window(key) => {
                let segment = state
                    .windows
                    .finish_output(key)
                    .map_err(|error| payload_error(&error))?;
                (segment, Way::Mapped, 0)
            }
            OutputHandle::Written(segment) => (segment, Way::Copied, 1),
            OutputHandle::Buffered(buffered) => {
                let segment = self.fill(buffered)?;
                (segment, Way::Copied, 1)
            }
            OutputHandle::File(_) => unreachable!("returned above"),
        };
        let bytes = segment.len();
        let segment = run
            .store
            .publish(segment)
            .map_err(|error| payload_error(&error))?;
        if let Some(plane) = stored::plane_for(run, attempt, index, bytes)
            && !plane.is_shared_memory()
        {
            // Read where it is, and gone with the last who reads it.
            run.store.free(segment.id());
            let whole = stored::bytes_of(&segment).map_err(|error| payload_error(&error))?;
            return self.put(plane, &whole, copies, disturbance);
        }
        if run.verify_payloads {
            let whole = stored::bytes_of(&segment).map_err(|error| payload_error(&error))?;
            self.note_digest(index, verify::digest(&whole));
        }
        let segment = if disturbance.wants_to_spoil(bytes) {
            spoiled(&segment, disturbance, run)?
        } else {
            segment
        };
        let transfer = Transfer {
            bytes,
            bytes_moved: bytes,
            way,
            copies,
        };
        Ok((Location::Segment(segment.reference()), transfer))
    }

    /// A file that a program made stays where it is, unless the transformer takes it.
    fn publish_file(
        &mut self,
        file: FileRef,
        (attempt, index): (&Attempt, usize),
        disturbance: &mut Disturbance,
        run: &RunContext,
    ) -> Result<(Location, Transfer), Failure> {
        let location = Location::File(file.clone());
        let bytes = location.len();
        if let Some(plane) = stored::plane_for(run, attempt, index, bytes) {
            let whole = std::fs::read(&*file.path);
            stored::free(run, &location);
            let whole = whole.map_err(|error| payload_error(&error))?;
            return self.put(plane, &whole.into(), 0, disturbance);
        }
        let location = stored::spoil_file(run, file, disturbance)
            .map(Location::File)
            .map_err(|error| payload_error(&error))?;
        let transfer = Transfer {
            bytes,
            bytes_moved: bytes,
            way: Way::Linked,
            copies: 0,
        };
        Ok((location, transfer))
    }

    /// Copies an output from guest memory.
    fn fill(&mut self, buffered: Buffered) -> Result<WritableSegment, Failure> {
        match buffered.fill(self.store.data_mut()) {
            Ok(Ok(segment)) => Ok(segment),
            Ok(Err(_)) => {
                let reason = self.store.data().payload_failure.clone();
                let reason = reason.unwrap_or_else(|| "the payload cannot be written".to_owned());
                Err(Failure::new(OutcomeKind::PayloadError, reason))
            }
            // Cancelled, or out of time.
            Err(error) => Err(classify::failure(&error, self.store.data(), None)),
        }
    }

    /// Puts an output into the transformer's store; `copies` were made of it before.
    fn put(
        &self,
        plane: &DataPlane,
        bytes: &Bytes,
        copies: u8,
        disturbance: &mut Disturbance,
    ) -> Result<(Location, Transfer), Failure> {
        let state = self.store.data();
        let location = if disturbance.wants_to_spoil(bytes.len() as u64) {
            let mut spoilt = bytes.to_vec();
            disturbance.spoil(&mut spoilt);
            let location = stored::put(plane, &spoilt.into(), state.caller, &state.control)?;
            stored::with_digest(location, taps_transform::digest(bytes))
        } else {
            stored::put(plane, bytes, state.caller, &state.control)?
        };
        let bytes = bytes.len() as u64;
        let transfer = Transfer {
            bytes,
            bytes_moved: bytes,
            way: Way::Stored,
            copies: copies + 1,
        };
        Ok((location, transfer))
    }
}

/// A segment with a bit flipped, instead of one that is published already: which cannot be written.
fn spoiled(
    segment: &Arc<Segment>,
    disturbance: &mut Disturbance,
    run: &RunContext,
) -> Result<Arc<Segment>, Failure> {
    let whole = stored::bytes_of(segment).map_err(|error| payload_error(&error))?;
    let mut bytes = whole.to_vec();
    disturbance.spoil(&mut bytes);
    run.store.free(segment.id());
    let copy = if segment.is_mappable() {
        run.store.create_mappable(segment.len())
    } else {
        run.store.create(segment.len())
    };
    let mut copy = copy.map_err(|error| payload_error(&error))?;
    copy.write_at(0, &bytes)
        .map_err(|error| payload_error(&error))?;
    run.store
        .publish(copy)
        .map_err(|error| payload_error(&error))
}

fn payload_error(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(OutcomeKind::PayloadError, error.to_string())
}

/// Small results stay in the message; larger ones that were not built in a segment are written to one.
fn publish_bytes(bytes: Vec<u8>, run: &RunContext) -> Result<(Location, Transfer), Failure> {
    let len = bytes.len() as u64;
    if len <= run.inline_max_bytes {
        let transfer = Transfer {
            bytes: len,
            bytes_moved: len,
            way: Way::Inline,
            copies: 1,
        };
        return Ok((Location::Inline(bytes.into()), transfer));
    }
    let mut segment = run
        .store
        .create(len)
        .map_err(|error| payload_error(&error))?;
    segment
        .write_at(0, &bytes)
        .map_err(|error| payload_error(&error))?;
    let segment = run
        .store
        .publish(segment)
        .map_err(|error| payload_error(&error))?;
    let transfer = Transfer {
        bytes: len,
        bytes_moved: len,
        way: Way::Copied,
        copies: 2,
    };
    Ok((Location::Segment(segment.reference()), transfer))
}
