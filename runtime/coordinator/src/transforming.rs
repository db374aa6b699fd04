//! Arguments that the driver makes, on their way through the transformer.

use crate::coordinator::Coordinator;
use bytes::Bytes;
use std::sync::{Arc, atomic::Ordering};
use taps_engine::{OutputId, core::ArgumentSpec};
use taps_payload::{FileRef, Location, StoredRef};
use taps_sandbox::stored;
use taps_transform::{Caller, DataPlane};

impl Coordinator {
    /// Puts those arguments into the store that the filter takes. One that the store does not take travels
    /// as it is, and the run says so. Called without the lock: stores take
    /// their time. Outputs of tasks travel on as they are, also as identifiers.
    pub(crate) fn transformed(
        &self,
        task: &str,
        mut arguments: Vec<ArgumentSpec>,
    ) -> Vec<ArgumentSpec> {
        let Some(plane) = self.context.data.as_ref() else {
            return arguments;
        };
        for (index, argument) in arguments.iter_mut().enumerate() {
            let ArgumentSpec::Value(value) = argument else {
                continue;
            };
            if !plane.takes_argument(task, index, value.location.len()) {
                continue;
            }
            match self.put(plane, &value.location) {
                Ok(Some(location)) => {
                    // The segment that it was in, if it was in one.
                    stored::free(&self.context, &value.location);
                    value.location = location;
                }
                Ok(None) => {}
                Err(reason) => self.warn_once(task, index, &reason),
            }
        }
        arguments
    }

    /// Whether an output that the driver is about to read is gone from the transformer's store, or damaged
    /// there, and can be made again. Called without the lock: it fetches the bytes, which the driver then
    /// finds in the cache.
    pub(crate) fn is_lost_in_store(&self, output: OutputId) -> bool {
        let Some(plane) = self.context.data.as_ref() else {
            return false;
        };
        let found = {
            let state = self.lock();
            let found = state.core.output(output).map(|found| &found.location);
            found.filter(|_| state.core.keeps_lineage()).cloned()
        };
        let Some(Location::Stored(reference)) = found else {
            return false;
        };
        let ticket = plane.prefetch(&reference, Caller::DRIVER);
        let fetched = ticket.wait(&|| !self.token.is_cancelled());
        fetched.is_err_and(|error| stored::is_lost(&error))
    }

    fn warn_once(&self, task: &str, index: usize, reason: &str) {
        if self.untransformed.swap(true, Ordering::Relaxed) {
            return;
        }
        let message = format!(
            "argument {index} of {task} travels without the transformer: {reason} (said once; others may, too)"
        );
        self.log.warn("run", &message);
    }

    /// Gives payloads up that nobody can read any more.
    pub(crate) fn give_up(&self, payloads: &[Arc<StoredRef>], files: &[FileRef]) {
        if let Some(plane) = self.context.data.as_ref() {
            for stored in payloads {
                plane.remove(stored);
            }
        }
        if let Some(programs) = self.context.programs.as_ref() {
            for file in files {
                // It goes with the run otherwise.
                let _ = programs.files().remove(file);
            }
        }
    }

    /// None where the bytes are already where the transformer would put them, or stay where they are.
    fn put(&self, plane: &DataPlane, location: &Location) -> Result<Option<Location>, String> {
        let bytes = match location {
            Location::Inline(bytes) => Bytes::from_owner(Arc::clone(bytes)),
            Location::Segment(_) if plane.is_shared_memory() => return Ok(None),
            Location::Segment(segment) => {
                let id = segment.id;
                let segment = self.context.store.get(id);
                let segment = segment.ok_or_else(|| format!("segment {} is gone", id.0))?;
                stored::bytes_of(&segment).map_err(|error| error.to_string())?
            }
            Location::File(_) | Location::Engine { .. } | Location::Stored(_) => return Ok(None),
        };
        plane
            .put(&bytes, Caller::DRIVER, &|| !self.token.is_cancelled())
            .map(Some)
            .map_err(|error| error.to_string())
    }
}

/// The payloads that were put for a submission.
pub(crate) fn stored_in(arguments: &[ArgumentSpec]) -> Vec<Arc<StoredRef>> {
    let stored = arguments.iter().filter_map(|argument| match argument {
        ArgumentSpec::Value(value) => match &value.location {
            Location::Stored(stored) => Some(Arc::clone(stored)),
            _ => None,
        },
        ArgumentSpec::Held(_) | ArgumentSpec::Output(_) => None,
    });
    stored.collect()
}
