//! Payloads of a transformer, as an attempt meets them: arguments fetched, results put.

use crate::{Control, Interrupted, RunContext, faults::Disturbance};
use bytes::Bytes;
use std::{error::Error, sync::Arc};
use taps_engine::{Attempt, Failure, OutcomeKind, WorkerId};
use taps_payload::{FileError, FileRef, Location, PayloadDigest, Segment, SegmentStore, StoredRef};
use taps_transform::{Caller, DataPlane, Resolution, Resolved, Ticket, TransformError};

/// On whose behalf an attempt uses the data plane.
pub fn caller(worker: WorkerId, attempt: &Attempt) -> Caller {
    Caller::worker(worker.0, attempt.id.task.0)
}

/// Starts to fetch the arguments that are in the transformer's store, where the run wants them before
/// the task does. One entry for each argument.
pub fn prefetch(run: &RunContext, attempt: &Attempt, caller: Caller) -> Vec<Option<Ticket>> {
    let Some(plane) = run.data.as_ref() else {
        return Vec::new();
    };
    if plane.resolution() == Resolution::Lazy {
        return Vec::new();
    }
    let tickets = attempt
        .arguments
        .iter()
        .map(|argument| match &argument.location {
            Location::Stored(stored) => Some(plane.prefetch(stored, caller)),
            _ => None,
        });
    tickets.collect()
}

/// Whether the arguments have to be there before the task starts.
pub fn is_eager(run: &RunContext) -> bool {
    run.data
        .as_ref()
        .is_some_and(|plane| plane.resolution() == Resolution::Eager)
}

/// Waits for what a ticket stands for, as long as the attempt may last. An error says why there is
/// nothing, and whether the bytes are lost.
pub fn wait(ticket: &Ticket, control: &Control) -> Result<Resolved, (Failure, bool)> {
    ticket
        .wait(&|| control.check().is_ok())
        .map_err(|error| (failure(&error, control), is_lost(&error)))
}

/// Whether the bytes are gone or damaged, and not only out of reach for now.
pub fn is_lost(error: &TransformError) -> bool {
    matches!(
        error,
        TransformError::Missing { .. } | TransformError::Damaged { .. }
    )
}

/// Whether a file payload is gone, or no longer what it was.
pub fn is_file_lost(error: &FileError) -> bool {
    match error {
        FileError::Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
        FileError::NotRegular { .. } | FileError::Changed { .. } => true,
        FileError::OutOfRange { .. } => false,
    }
}

/// The outcome of an attempt that an error of the data plane ends.
pub fn failure(error: &TransformError, control: &Control) -> Failure {
    match (error, control.check()) {
        (TransformError::Interrupted(_), Err(Interrupted::Cancelled)) => {
            Failure::new(OutcomeKind::Cancelled, Interrupted::Cancelled.to_string())
        }
        (TransformError::Interrupted(_), Err(Interrupted::Timeout)) => {
            Failure::new(OutcomeKind::Timeout, Interrupted::Timeout.to_string())
        }
        _ => Failure::new(OutcomeKind::PayloadError, error.to_string()),
    }
}

/// The data plane, if it takes this output.
pub fn plane_for<'a>(
    run: &'a RunContext,
    attempt: &Attempt,
    output: usize,
    bytes: u64,
) -> Option<&'a Arc<DataPlane>> {
    let plane = run.data.as_ref()?;
    plane
        .takes_output(&attempt.name, output, bytes)
        .then_some(plane)
}

/// Puts bytes made by an attempt into the store.
pub fn put(
    plane: &DataPlane,
    bytes: &Bytes,
    caller: Caller,
    control: &Control,
) -> Result<Location, Failure> {
    plane
        .put(bytes, caller, &|| control.check().is_ok())
        .map_err(|error| failure(&error, control))
}

/// Says that what was stored has that digest, as if it had been damaged in the store since: who reads
/// it finds out.
pub fn with_digest(location: Location, digest: PayloadDigest) -> Location {
    match location {
        Location::Stored(stored) => Location::Stored(Arc::new(StoredRef {
            digest,
            ..StoredRef::clone(&stored)
        })),
        other => other,
    }
}

/// Puts bytes into the store; into memory that can be mapped where they are at least so many.
pub fn place(
    bytes: &[u8],
    store: &SegmentStore,
    map_min: u64,
) -> Result<Location, Box<dyn Error + Send + Sync>> {
    let len = bytes.len() as u64;
    let mut segment = if len < map_min {
        store.create(len)?
    } else {
        store.create_mappable(len)?
    };
    segment.write_at(0, bytes)?;
    Ok(Location::Segment(store.publish(segment)?.reference()))
}

/// The bytes of a segment, without a copy.
pub fn bytes_of(segment: &Arc<Segment>) -> std::io::Result<Bytes> {
    let map = segment.map()?;
    Ok(Bytes::from_owner(Whole(map)))
}

struct Whole(taps_payload::SegmentMap);

impl AsRef<[u8]> for Whole {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The file of a result, with a bit flipped where a fault wants it: another one then.
pub fn spoil_file(
    run: &RunContext,
    file: FileRef,
    disturbance: &mut Disturbance,
) -> Result<FileRef, FileError> {
    let Some(programs) = run.programs.as_ref() else {
        return Ok(file);
    };
    if !disturbance.wants_to_spoil(file.fingerprint.len) {
        return Ok(file);
    }
    let failed = |source| FileError::Io {
        operation: "spoil",
        path: file.path.to_path_buf(),
        source,
    };
    let mut bytes = std::fs::read(&*file.path).map_err(failed)?;
    disturbance.spoil(&mut bytes);
    let spoilt = file.path.with_extension("spoilt");
    std::fs::write(&spoilt, bytes).map_err(failed)?;
    programs.files().remove(&file)?;
    programs.files().adopt_file(&spoilt)
}

/// Frees what was published for nobody.
pub fn free(run: &RunContext, location: &Location) {
    match location {
        Location::Segment(segment) => run.store.free(segment.id),
        Location::Stored(stored) => {
            if let Some(plane) = &run.data {
                plane.remove(stored);
            }
        }
        Location::File(file) => {
            if let Some(programs) = &run.programs {
                // It goes with the store otherwise.
                let _ = programs.files().remove(file);
            }
        }
        Location::Inline(_) | Location::Engine { .. } => {}
    }
}
