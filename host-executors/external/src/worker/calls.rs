//! Tasks of an app, called one by one: what the Python package is made of.

use super::{
    Unfit, WorkerError, WorkerOptions,
    runner::{Runner, Values},
    running::Running,
};
use crate::{
    frame,
    message::{Call, Called, FromWorker},
};
use std::{os::unix::net::UnixStream, time::Instant};
use taps_engine::{
    Argument, Attempt, AttemptId, AttemptReport, Failure, Generation, Limits, OutcomeKind, TaskId,
};
use taps_sandbox::{InstancePolicy, Interrupt, Moment, RunSetup};

/// Results up to this size come with the call.
const INLINE_MAX_BYTES: u64 = 64 << 10;

/// Payloads from this size on are mapped into the sandbox.
const MAP_MIN_BYTES: u64 = 1 << 20;

/// What an argument is when nothing is said of it.
const ANY_BYTES: &str = "application/octet-stream";

/// What runs the tasks of an app.
pub(super) fn runner(app: &str, options: &WorkerOptions) -> Result<Runner, Unfit> {
    let bundle = (options.find_app)(app).map_err(|message| Unfit::new("bundle", message))?;
    let setup = RunSetup {
        began: Moment::of(Instant::now()),
        interrupt: Interrupt::Epoch,
        policy: InstancePolicy::Prewarmed,
        notes: Vec::new(),
        grants: Vec::new(),
        environment: Vec::new(),
        inline_max_bytes: INLINE_MAX_BYTES,
        map_min_bytes: MAP_MIN_BYTES,
        verify_payloads: false,
        data: None,
    };
    Runner::new(setup, bundle, options.cache.as_deref())
        .map_err(|error| Unfit::new("bundle", taps_engine::chain(error.as_ref())))
}

/// Runs a call, and answers it.
pub(super) fn call(
    runner: &mut Runner,
    call: &Call,
    arguments: Vec<Vec<u8>>,
    running: &Running,
    socket: &mut UnixStream,
) -> Result<(), WorkerError> {
    let began = Instant::now();
    let mut values = Values::new(runner.context());
    let token = running.begin(&call.id);
    let report = match attempt(runner, call, arguments, &mut values) {
        Ok(attempt) => runner.run_plain(&attempt, &token),
        Err(failure) => {
            let id = AttemptId {
                task: TaskId(0),
                number: 0,
            };
            AttemptReport::bare(id, taps_engine::WorkerId(0), Err(failure))
        }
    };
    running.end(&call.id);
    drop(values);
    let outputs = report.result.and_then(|outputs| {
        let bytes = outputs.iter().map(|output| runner.take(&output.location));
        bytes.collect::<Result<Vec<_>, _>>()
    });
    for said in runner.take_words() {
        eprintln!("taps-wasm: {}: {said}", call.task);
    }
    let (outputs, failure) = match outputs {
        Ok(outputs) => (outputs, None),
        Err(failure) => (Vec::new(), Some(failure)),
    };
    let failure = failure.as_ref();
    let message = FromWorker::Result(Called {
        id: &call.id,
        ok: failure.is_none(),
        outputs: outputs.len(),
        outcome: failure.map(|failure| failure.outcome.name()),
        kind: failure.map(|failure| failure.kind.as_str()),
        message: failure.map(|failure| failure.message.as_str()),
        detail: failure.and_then(|failure| failure.detail.as_deref()),
        wall_ns: began.elapsed().as_nanos() as u64,
        cpu_ns: report.cpu_ns,
        peak_memory_bytes: report.peak_memory_bytes,
    });
    let slices: Vec<&[u8]> = outputs.iter().map(AsRef::as_ref).collect();
    Ok(frame::write(socket, &message, &slices)?)
}

/// The attempt that a call asks for.
fn attempt(
    runner: &Runner,
    call: &Call,
    arguments: Vec<Vec<u8>>,
    values: &mut Values,
) -> Result<Attempt, Failure> {
    let refused = |message: String| Failure::new(OutcomeKind::EngineError, message);
    let manifest = runner.bundle().manifest();
    let tasks = &manifest.app.tasks;
    let index = tasks.iter().position(|task| task.name == call.task);
    let Some((task, route)) =
        index.and_then(|index| Some((&tasks[index], manifest.routes.get(index)?)))
    else {
        let known: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
        let (app, known) = (&manifest.app.name, known.join(", "));
        let task = &call.task;
        return Err(refused(format!(
            "{app} has no task `{task}`; it has {known}"
        )));
    };
    let given = arguments.len();
    // A list at the end takes any number of arguments.
    let takes_more = |(_, declared): &(String, String)| declared.starts_with("List<");
    let fits = given == task.parameters.len()
        || given + 1 >= task.parameters.len() && task.parameters.last().is_some_and(takes_more);
    if !task.parameters.is_empty() && !fits {
        let names: Vec<&str> = task
            .parameters
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        let (name, expected, names) = (&task.name, names.len(), names.join(", "));
        return Err(refused(format!(
            "task `{name}` takes {expected} arguments ({names}), got {given}"
        )));
    }
    let media_types = call
        .arguments
        .iter()
        .map(|argument| argument.media_type.as_deref());
    let media_types = media_types.chain(std::iter::repeat(None));
    let arguments = arguments.into_iter().zip(media_types);
    let arguments = arguments.map(|(bytes, media_type)| {
        Ok(Argument {
            location: values.place(bytes)?,
            media_type: media_type.unwrap_or(ANY_BYTES).into(),
        })
    });
    let defaults = Limits::default();
    Ok(Attempt {
        id: AttemptId {
            task: TaskId(0),
            number: 0,
        },
        generation: Generation::default(),
        component: route.component,
        task: route.task,
        name: call.task.as_str().into(),
        arguments: arguments.collect::<Result<_, Failure>>()?,
        limits: Limits {
            timeout_ms: call.timeout_ms,
            memory_bytes: call.memory_bytes.unwrap_or(defaults.memory_bytes),
            ..defaults
        },
        seed: call.seed,
        kernels: call.kernels,
        digests: Vec::new(),
        fault: None,
        demands: None,
    })
}
