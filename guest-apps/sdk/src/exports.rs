//! What a component exports: description, driver and tasks of its app; or, with the feature `tasks-alone`, the
//! tasks alone.

use crate::backend::bindings::exports::taps::core::tasks;
use crate::backend::bindings::exports::taps::core::tasks::{Argument, Output};
#[cfg(not(feature = "tasks-alone"))]
use crate::backend::bindings::exports::taps::core::{description, driver};
use crate::backend::bindings::taps::core::payloads::OutputBuffer;
use crate::backend::{HostPayload, enter_task, free_handed_over};
use crate::value::TaskOutput;
#[cfg(not(feature = "tasks-alone"))]
use crate::{AppEntry, Engine};
use crate::{Bytes, Error, Payload, Result, TaskError};

/// Results up to this size return inline.
const INLINE_BYTES: usize = 64 << 10;

/// The component of the app that is linked in.
pub struct Component;

#[cfg(not(feature = "tasks-alone"))]
fn app() -> &'static AppEntry {
    crate::apps()
        .next()
        .expect("`#[taps::app]` registers an app before it exports one")
}

#[cfg(not(feature = "tasks-alone"))]
impl description::Guest for Component {
    fn describe() -> String {
        serde_json::json!(app().describe()).to_string()
    }
}

#[cfg(not(feature = "tasks-alone"))]
impl driver::Guest for Component {
    fn run(config: String) -> Result<String, String> {
        let report = serde_json::from_str(&config)
            .map_err(|error| Error::config("config", &config, format!("JSON: {error}")))
            .and_then(|config| (app().run)(&config, &Engine::current()));
        match report {
            Ok(report) => Ok(serde_json::json!(report).to_string()),
            Err(error) => Err(error.to_driver_error().to_json()),
        }
    }
}

impl tasks::Guest for Component {
    fn run(task: u32, arguments: Vec<Argument>) -> Result<Vec<Output>, tasks::TaskError> {
        enter_task();
        free_handed_over();
        let arguments = arguments
            .into_iter()
            .map(|argument| match argument {
                Argument::Inline(bytes) => Payload::inline(bytes),
                Argument::Payload(payload) => Payload::handle(HostPayload::new(payload)),
            })
            .collect();
        let Some(entry) = crate::task::nth(crate::app::own_package(), task as usize) else {
            let error = Error::app("UnknownTask", format!("the component has no task {task}"));
            return Err(task_error(TaskError::new(&error)));
        };
        let outputs = entry.run_with(arguments).map_err(task_error)?;
        let outputs: Result<_> = outputs.into_iter().map(output).collect();
        outputs.map_err(|error| task_error(TaskError::new(&error)))
    }
}

fn output(output: TaskOutput) -> Result<Output> {
    let payload = match output {
        TaskOutput::Bytes(bytes) => return Ok(bytes_output(bytes)),
        TaskOutput::File(payload) => payload,
    };
    if let Ok(handle) = payload.as_handle()
        && let Ok(buffer) = OutputBuffer::of_file(&handle.wit)
    {
        return Ok(Output::Buffer(buffer));
    }
    // Not a file that a program of this task made, or one that was taken already.
    Ok(bytes_output(payload.into_bytes()?))
}

fn bytes_output(bytes: Bytes) -> Output {
    match bytes.into_output() {
        Ok(window) => Output::Buffer(window.hand_over()),
        // One write into a segment, instead of a copy here and another there.
        Err(bytes) if bytes.len() > INLINE_BYTES => match OutputBuffer::copy(&bytes) {
            Ok(buffer) => Output::Buffer(buffer),
            Err(_) => Output::Inline(bytes),
        },
        Err(bytes) => Output::Inline(bytes),
    }
}

fn task_error(error: TaskError) -> tasks::TaskError {
    tasks::TaskError {
        kind: error.kind,
        message: error.message,
    }
}
