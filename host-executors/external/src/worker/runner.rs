//! Attempts and calls, run in sandboxes of this process.

use super::sharing::{Given, LENT, Sharing};
use crate::message::{AttemptName, LentBuffer, Ran, Reference, TaskKey, WorkerReport};
use bytes::Bytes;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use std::{
    error::Error,
    os::fd::OwnedFd,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use taps_bundle::Bundle;
use taps_engine::{
    Attempt, AttemptReport, Failure, OutcomeKind, OutputId, WorkerId,
    core::{forward_key, parse_forward_key},
};
use taps_payload::{
    Location, Medium, MemoryId, MemoryInfo, Place, Segment, SegmentId, SegmentRef, SegmentStore,
    StoreOptions,
};
use taps_sandbox::{
    CancelToken, RunContext, RunSetup, Said, Sandbox, TaskWorker, Voice, WorkerParts, WorkerRun,
    stored,
};

/// The number that attempts have for a worker here; the run gives each of its workers another.
const WORKER: WorkerId = WorkerId(0);

/// What is ready to run the tasks of one bundle.
pub(super) struct Runner {
    tasks: TaskWorker,
    context: Arc<RunContext>,
    bundle: Bundle,
    words: Arc<Mutex<Vec<Said>>>,
    /// This worker, and its host.
    name: String,
    host: String,
    /// Keeps the clock that interrupts guests.
    _sandbox: Sandbox,
}

/// What came of an attempt, for the far end.
pub(super) struct Done {
    pub(super) ran: Ran,
    pub(super) report: Vec<u8>,
    pub(super) outs: Vec<Out>,
}

/// An output, as it goes to the far end.
pub(super) enum Out {
    /// By value.
    Bytes(Bytes),
    /// By descriptor.
    Given(Given),
}

impl Runner {
    /// Compiles and links. Code compiled before is in the cache, if the user's directory can serve.
    pub(super) fn new(
        setup: RunSetup,
        bundle: Bundle,
        cache: Option<&Path>,
    ) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let words = Arc::<Mutex<Vec<Said>>>::default();
        let parts = WorkerParts {
            cache,
            store: SegmentStore::new(StoreOptions::default())?,
            voice: || {
                let words = Arc::clone(&words);
                Voice(move |said| words.lock().push(said))
            },
            programs: None,
        };
        let WorkerRun {
            sandbox,
            context,
            runtime,
        } = setup.open(&bundle, parts)?;
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy().into_owned();
        Ok(Self {
            tasks: Arc::new(runtime).worker(WORKER),
            context,
            bundle,
            words,
            name: format!("{host}/{}", std::process::id()),
            host,
            _sandbox: sandbox,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    pub(super) fn context(&self) -> &Arc<RunContext> {
        &self.context
    }

    /// Runs an attempt. What its references stand for is in `values`; with `keep` its outputs are handed over beside
    /// the report, which then says by what key the engine will know them.
    pub(super) fn run(
        &mut self,
        mut attempt: Attempt,
        values: &Values,
        keep: Option<&mut Sharing>,
        token: &CancelToken,
    ) -> Done {
        let unresolved = Self::resolve(&mut attempt, values);
        let mut report = match unresolved {
            Ok(()) => self.run_plain(&attempt, token),
            Err((position, reason)) => {
                let failure = Failure::new(OutcomeKind::PayloadError, reason);
                AttemptReport {
                    lost_inputs: vec![position],
                    ..AttemptReport::bare(attempt.id, WORKER, Err(failure))
                }
            }
        };
        let handed = match keep {
            Some(sharing) => self.hand_over(&mut report, &attempt, sharing),
            None => self.enclose(&mut report).map(|()| Vec::new()),
        };
        let outs = handed.unwrap_or_else(|failure| {
            report.result = Err(failure);
            report.outputs.clear();
            Vec::new()
        });
        let ran = Ran {
            id: AttemptName(attempt.id),
            ok: report.result.is_ok(),
            outs: outs.len(),
        };
        let report = WorkerReport {
            worker: self.name.clone(),
            host: self.host.clone(),
            report,
            words: self.take_words(),
        };
        // A report is plain data, and memory takes it.
        let report = postcard::to_stdvec(&report).unwrap_or_default();
        Done { ran, report, outs }
    }

    /// Runs an attempt whose arguments are all here.
    pub(super) fn run_plain(&mut self, attempt: &Attempt, token: &CancelToken) -> AttemptReport {
        self.tasks.run_caught(attempt, token)
    }

    /// The bytes of an output, which are nowhere else afterwards.
    pub(super) fn take(&self, location: &Location) -> Result<Bytes, Failure> {
        let bytes = self.bytes_of(location)?;
        if let Location::Segment(segment) = location {
            self.context.store.free(segment.id);
        }
        Ok(bytes)
    }

    /// What guests said since it was last asked.
    pub(super) fn take_words(&self) -> Vec<Said> {
        std::mem::take(&mut self.words.lock())
    }

    /// Makes the sandbox of the next task ahead of time, where the run wants that.
    pub(super) fn prewarm(&mut self) {
        self.tasks.prewarm();
    }

    /// Puts where the bytes are in the place of keys. On failure: which argument, and why.
    fn resolve(attempt: &mut Attempt, values: &Values) -> Result<(), (u32, String)> {
        for (position, argument) in attempt.arguments.iter_mut().enumerate() {
            let Location::Engine { key, .. } = &argument.location else {
                continue;
            };
            let found = values.by_reference.get(&reference(key));
            let found = found.ok_or_else(|| {
                let reason = format!("argument {position}: the engine gave no value for {key}");
                (position as u32, reason)
            })?;
            argument.location = found.clone();
        }
        Ok(())
    }

    /// Outputs for the engine to keep. Small ones are in the report as well.
    fn hand_over(
        &self,
        report: &mut AttemptReport,
        attempt: &Attempt,
        sharing: &mut Sharing,
    ) -> Result<Vec<Out>, Failure> {
        let mut outs = Vec::new();
        for (index, output) in report.result.iter_mut().flatten().enumerate() {
            let out = match sharing.give(&output.location, &self.context.store) {
                Some(given) => Ok(Out::Given(given)),
                // They hold the segment that they lie in.
                None if sharing.has(&output.location) => {
                    self.bytes_of(&output.location).map(Out::Bytes)
                }
                None => self.take(&output.location).map(Out::Bytes),
            };
            let out = out.inspect_err(|_| take_back(&outs, sharing))?;
            if let Location::Segment(segment) = &output.location {
                let output_id = OutputId {
                    task: attempt.id.task,
                    index: index as u32,
                };
                output.location = Location::Engine {
                    key: forward_key(output_id, attempt.generation),
                    len: segment.len,
                };
            }
            outs.push(out);
        }
        Ok(outs)
    }

    /// Outputs in the report itself.
    fn enclose(&self, report: &mut AttemptReport) -> Result<(), Failure> {
        for output in report.result.iter_mut().flatten() {
            if let Location::Segment(_) = &output.location {
                let bytes = self.take(&output.location)?;
                output.location = Location::Inline((&*bytes).into());
            }
        }
        Ok(())
    }

    /// The bytes of an output, where they are.
    fn bytes_of(&self, location: &Location) -> Result<Bytes, Failure> {
        let failed = |reason: String| Failure::new(OutcomeKind::PayloadError, reason);
        match location {
            Location::Inline(bytes) => Ok(Bytes::from_owner(Arc::clone(bytes))),
            Location::Segment(segment) => {
                let found: Option<Arc<Segment>> = self.context.store.get(segment.id);
                let found =
                    found.ok_or_else(|| failed(format!("segment {} is gone", segment.id.0)))?;
                stored::bytes_of(&found).map_err(|error| failed(format!("read a result: {error}")))
            }
            // It stays where it is.
            Location::Stored(_) | Location::Engine { .. } | Location::File(_) => Ok(Bytes::new()),
        }
    }
}

/// Nothing of these goes to the shim.
fn take_back(outs: &[Out], sharing: &mut Sharing) {
    for out in outs {
        if let Out::Given(given) = out {
            sharing.take_back(given.segment);
        }
    }
}

/// What references stand for: bytes in this process, or lent to it, until dropped.
pub(super) struct Values {
    /// How many lent ones somebody reads.
    readers: Arc<AtomicUsize>,
    by_reference: FxHashMap<Reference, Location>,
    segments: Vec<SegmentId>,
    context: Arc<RunContext>,
}

impl Values {
    /// None yet.
    pub(super) fn new(context: &Arc<RunContext>) -> Self {
        Self {
            readers: Arc::default(),
            by_reference: FxHashMap::default(),
            segments: Vec::new(),
            context: Arc::clone(context),
        }
    }

    /// Counts who reads what was lent, also after these are gone.
    pub(super) fn readers(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.readers)
    }

    /// Lets tasks find an earlier output under a reference.
    pub(super) fn hold(&mut self, reference: Reference, location: Location) {
        self.by_reference.insert(reference, location);
    }

    /// Lets tasks find memory of the shim under a reference.
    pub(super) fn lend(
        &mut self,
        reference: Reference,
        lent: LentBuffer,
        file: OwnedFd,
    ) -> Result<(), Failure> {
        let failed = |error| Failure::new(OutcomeKind::PayloadError, taps_engine::chain(&error));
        let number = LENT | lent.reference as u64;
        let info = MemoryInfo {
            id: MemoryId(number),
            capacity: lent.capacity,
            huge: false,
            mappable: lent.len >= self.context.map_min_bytes,
            medium: Medium::Memfd,
        };
        let store = &self.context.store;
        let memory = store.import(info, file).map_err(failed)?;
        let segment = SegmentRef {
            id: SegmentId(number),
            len: lent.len,
        };
        let place = Place {
            memory: info.id,
            offset: 0,
        };
        self.readers.fetch_add(1, Ordering::Relaxed);
        let readers = self.readers();
        let on_last = Box::new(move || {
            readers.fetch_sub(1, Ordering::Relaxed);
        });
        store
            .adopt(segment, place, &memory, on_last)
            .map_err(failed)?;
        self.segments.push(segment.id);
        self.by_reference
            .insert(reference, Location::Segment(segment));
        Ok(())
    }

    /// Puts what a reference stands for where tasks find it.
    pub(super) fn add(&mut self, reference: Reference, bytes: Vec<u8>) -> Result<(), Failure> {
        let location = self.place(bytes)?;
        self.by_reference.insert(reference, location);
        Ok(())
    }

    /// Puts bytes where a task finds them.
    pub(super) fn place(&mut self, bytes: Vec<u8>) -> Result<Location, Failure> {
        if bytes.len() as u64 <= self.context.inline_max_bytes {
            return Ok(Location::Inline(bytes.into()));
        }
        let location = stored::place(&bytes, &self.context.store, self.context.map_min_bytes)
            .map_err(|error| Failure::new(OutcomeKind::PayloadError, error.to_string()))?;
        if let Location::Segment(segment) = &location {
            self.segments.push(segment.id);
        }
        Ok(location)
    }
}

impl Drop for Values {
    fn drop(&mut self) {
        for segment in &self.segments {
            self.context.store.free(*segment);
        }
    }
}

/// How a key of an argument is written in headers.
pub(crate) fn reference(key: &str) -> Reference {
    match parse_forward_key(key) {
        Some((output, generation)) => {
            let key = TaskKey {
                task: output.task,
                generation,
            };
            (key.to_string(), output.index)
        }
        None => (key.to_owned(), 0),
    }
}
