//! Interface `engine`: for drivers; refused in tasks.

use super::interface;
use crate::{
    DriverHost, DriverStatus, InputFileError, LogLevel, QueueId, Refusal, State,
    driver_host::DriverPayload,
    host::payloads::PayloadHandle,
    memory::lend_mut,
    state::Role,
    wire::{Completion, Failure, PayloadError, Queue, Source, Status, SubmitError, text},
};
use std::{future::poll_fn, sync::Arc};
use taps_engine::{
    Argument, OutputId, TaskId,
    core::{ArgumentSpec, TaskOptions},
};
use taps_payload::Location;
use wasmtime::{
    StoreContextMut,
    component::{Linker, LinkerInstance, Resource, ResourceType, WasmList, WasmStr},
};

type Store<'a> = StoreContextMut<'a, State>;

/// Most bytes of a future's or queue's worth taken per call; keeps one call short.
const MAX_COMPLETIONS: u32 = 4096;

/// A future as the driver holds it.
pub(crate) struct FutureHandle(TaskId);

/// Options as the driver holds them.
pub(crate) struct OptionsHandle(TaskOptions);

/// A completion queue as the driver holds it.
pub(crate) struct CompletionsHandle(QueueId);

impl From<DriverStatus> for Status {
    fn from(status: DriverStatus) -> Self {
        match status {
            DriverStatus::Pending => Self::Pending,
            DriverStatus::Succeeded => Self::Succeeded,
            DriverStatus::Failed => Self::Failed,
        }
    }
}

impl From<Refusal> for SubmitError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::UnknownTask(text) => Self::UnknownTask(text),
            Refusal::Infeasible(text) => Self::Infeasible(text),
            Refusal::InvalidArgument(text) => Self::InvalidArgument(text),
            Refusal::Cancelled => Self::Cancelled,
        }
    }
}

impl State {
    fn driver(&self) -> wasmtime::Result<&Arc<dyn DriverHost>> {
        match &self.role {
            Role::Driver { host, .. } => Ok(host),
            Role::Task { .. } | Role::Describe => Err(not_a_driver()),
        }
    }

    fn task_of(&self, future: &Resource<FutureHandle>) -> wasmtime::Result<TaskId> {
        Ok(self.table.get(future)?.0)
    }

    fn options_mut(
        &mut self,
        options: &Resource<OptionsHandle>,
    ) -> wasmtime::Result<&mut TaskOptions> {
        Ok(&mut self.table.get_mut(options)?.0)
    }

    fn push_payload(
        &mut self,
        payload: DriverPayload,
    ) -> wasmtime::Result<Resource<PayloadHandle>> {
        let host = Arc::clone(self.driver()?);
        let DriverPayload {
            origin,
            location,
            media_type,
        } = payload;
        Ok(self
            .table
            .push(PayloadHandle::of_driver(location, media_type, origin, host))?)
    }
}

fn not_a_driver() -> wasmtime::Error {
    wasmtime::format_err!("tasks cannot submit tasks or wait for them: only a driver can")
}

type SubmitParams = (WasmStr, Vec<Source>, Option<Resource<OptionsHandle>>);
type SubmitAnswer = (Result<Resource<FutureHandle>, SubmitError>,);

fn submit(
    store: &mut Store<'_>,
    (task, sources, options): &SubmitParams,
) -> wasmtime::Result<SubmitAnswer> {
    let mut arguments = Vec::with_capacity(sources.len());
    for source in sources {
        match argument(store, source)? {
            Ok(argument) => arguments.push(argument),
            Err(error) => return Ok((Err(error),)),
        }
    }
    let options = match options {
        Some(options) => store.data().table.get(options)?.0.clone(),
        None => TaskOptions::default(),
    };
    let host = Arc::clone(store.data().driver()?);
    let submitted = host.submit(&task.to_str(&*store)?, arguments, options);
    Ok((match submitted {
        Ok(id) => Ok(store.data_mut().table.push(FutureHandle(id))?),
        Err(refusal) => Err(refusal.into()),
    },))
}

/// Resolves a source to what the engine core takes; bytes are copied once.
fn argument(
    store: &mut Store<'_>,
    source: &Source,
) -> wasmtime::Result<Result<ArgumentSpec, SubmitError>> {
    Ok(match source {
        Source::Inline(bytes) => inline_argument(store, bytes),
        Source::Payload(payload) => match store.data().table.get(payload)?.origin() {
            Some(crate::PayloadOrigin::Output(output)) => Ok(ArgumentSpec::Output(output)),
            Some(crate::PayloadOrigin::Held(key)) => Ok(ArgumentSpec::Held(key)),
            None => Err(SubmitError::InvalidArgument(
                "not a payload of the driver".into(),
            )),
        },
        Source::Output((future, index)) => {
            let task = store.data().task_of(future)?;
            Ok(ArgumentSpec::Output(OutputId {
                task,
                index: *index,
            }))
        }
    })
}

fn inline_argument(
    store: &mut Store<'_>,
    list: &WasmList<u8>,
) -> Result<ArgumentSpec, SubmitError> {
    lend_mut(store, list, |state, bytes| {
        let location = if bytes.len() as u64 <= state.run.inline_max_bytes {
            Location::Inline(Arc::from(&*bytes))
        } else {
            let refused = |error: &dyn std::fmt::Display| {
                SubmitError::InvalidArgument(format!("store {} bytes: {error}", bytes.len()))
            };
            let store = &state.run.store;
            let mut segment = store.create(bytes.len() as u64).map_err(|e| refused(&e))?;
            segment.write_at(0, bytes).map_err(|e| refused(&e))?;
            Location::Segment(store.publish(segment).map_err(|e| refused(&e))?.reference())
        };
        Ok(ArgumentSpec::Value(Argument {
            location,
            media_type: media_type(),
        }))
    })
}

/// Type of bytes that a driver passes: the SDK's archives, unless a task declares otherwise.
fn media_type() -> Arc<str> {
    thread_local! {
        static NAME: Arc<str> = Arc::from("application/octet-stream");
    }
    NAME.with(Arc::clone)
}

fn input_file(
    mut store: Store<'_>,
    (path,): (WasmStr,),
) -> wasmtime::Result<(Result<Resource<PayloadHandle>, PayloadError>,)> {
    let path = text(&path, &store)?;
    let state = store.data_mut();
    Ok((match state.driver()?.input_file(&path) {
        Ok(payload) => Ok(state.push_payload(payload)?),
        Err(error) => {
            state
                .run
                .sink
                .log(state.speaker(), LogLevel::Error, &error.to_string());
            Err(match error {
                InputFileError::NotGranted(_) => PayloadError::NotGranted,
                InputFileError::Unreadable(_) => PayloadError::Io,
            })
        }
    },))
}

fn add_setters(engine: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    type Options = Resource<OptionsHandle>;
    macro_rules! setter {
        ($name:literal, $ty:ty, |$options:ident, $value:ident| $set:expr) => {
            engine.func_wrap(
                concat!("[method]task-options.", $name),
                |mut store: Store<'_>, (handle, $value): (Options, $ty)| {
                    let $options = store.data_mut().options_mut(&handle)?;
                    $set;
                    Ok(())
                },
            )?;
        };
    }
    engine.func_wrap(
        "[constructor]task-options",
        |mut store: Store<'_>, (): ()| {
            Ok((store
                .data_mut()
                .table
                .push(OptionsHandle(TaskOptions::default()))?,))
        },
    )?;
    setter!("set-timeout-ms", u64, |options, value| options.timeout_ms =
        Some(value));
    setter!("set-retries", u32, |options, value| options.retries =
        Some(value));
    setter!("set-priority", i32, |options, value| options.priority =
        value);
    setter!("set-cores", u32, |options, value| options.cores = value);
    setter!("set-memory-bytes", u64, |options, value| options
        .memory_bytes =
        value);
    setter!("set-label", String, |options, value| options.label =
        Some(value.into()));
    setter!("set-pure", bool, |options, value| options.pure =
        Some(value));
    engine.func_wrap(
        "[method]task-options.set-resource",
        |mut store: Store<'_>, (handle, name, amount): (Options, String, u64)| {
            let resources = &mut store.data_mut().options_mut(&handle)?.resources;
            resources.retain(|(known, _)| *known != name);
            resources.push((name, amount));
            Ok(())
        },
    )
}

fn add_resources(engine: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    engine.resource(
        "future",
        ResourceType::host::<FutureHandle>(),
        |mut store, index| {
            let state = store.data_mut();
            let future = state
                .table
                .delete(Resource::<FutureHandle>::new_own(index))?;
            state.driver()?.release_future(future.0);
            Ok(())
        },
    )?;
    engine.resource(
        "task-options",
        ResourceType::host::<OptionsHandle>(),
        |mut store, index| {
            store
                .data_mut()
                .table
                .delete(Resource::<OptionsHandle>::new_own(index))?;
            Ok(())
        },
    )?;
    engine.resource(
        "completions",
        ResourceType::host::<CompletionsHandle>(),
        |mut store, index| {
            let state = store.data_mut();
            let queue = state
                .table
                .delete(Resource::<CompletionsHandle>::new_own(index))?;
            state.driver()?.drop_queue(queue.0);
            Ok(())
        },
    )
}

fn add_immediate(engine: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    type Future = Resource<FutureHandle>;
    engine.func_wrap(
        "[method]future.id",
        |store: Store<'_>, (future,): (Future,)| Ok((store.data().task_of(&future)?.0,)),
    )?;
    engine.func_wrap(
        "[method]future.status",
        |store: Store<'_>, (future,): (Future,)| {
            let state = store.data();
            Ok((Status::from(
                state.driver()?.status(state.task_of(&future)?),
            ),))
        },
    )?;
    engine.func_wrap(
        "[method]future.failure",
        |store: Store<'_>, (future,): (Future,)| {
            let state = store.data();
            let failure = state.driver()?.failure(state.task_of(&future)?);
            Ok((failure.as_ref().map(Failure::from),))
        },
    )?;
    engine.func_wrap(
        "[method]future.cancel",
        |store: Store<'_>, (future,): (Future,)| {
            let state = store.data();
            state.driver()?.cancel(state.task_of(&future)?);
            Ok(())
        },
    )?;
    engine.func_wrap(
        "[constructor]completions",
        |mut store: Store<'_>, (): ()| {
            let queue = store.data().driver()?.create_queue();
            Ok((store.data_mut().table.push(CompletionsHandle(queue))?,))
        },
    )?;
    engine.func_wrap(
        "[method]completions.add",
        |store: Store<'_>, (queue, future, tag): (Queue, Future, u64)| {
            let state = store.data();
            let queue = state.table.get(&queue)?.0;
            state
                .driver()?
                .add_to_queue(queue, state.task_of(&future)?, tag);
            Ok(())
        },
    )?;
    engine.func_wrap("input-file", input_file)?;
    engine.func_wrap("phase", |store: Store<'_>, (name,): (WasmStr,)| {
        let name = text(&name, &store)?;
        store.data().driver()?.phase(&name);
        Ok(())
    })
}

type ResultAnswer = (Result<Resource<PayloadHandle>, Failure>,);
type NextParams = (Queue, u32, Option<u64>);

async fn result(
    mut store: Store<'_>,
    (future, output): (Resource<FutureHandle>, u32),
) -> wasmtime::Result<ResultAnswer> {
    let host = Arc::clone(store.data().driver()?);
    let task = store.data().task_of(&future)?;
    let result = poll_fn(|context| host.poll_result(task, output, context.waker())).await;
    Ok((match result {
        Ok(payload) => Ok(store.data_mut().push_payload(payload)?),
        Err(failure) => Err(Failure::from(&failure)),
    },))
}

async fn next(
    store: Store<'_>,
    (queue, max, timeout_ms): NextParams,
) -> wasmtime::Result<(Vec<Completion>,)> {
    let host = Arc::clone(store.data().driver()?);
    let queue = store.data().table.get(&queue)?.0;
    let until = timeout_ms.map(|timeout| {
        host.clock_ns()
            .saturating_add(timeout.saturating_mul(1_000_000))
    });
    let max = max.clamp(1, MAX_COMPLETIONS);
    let taken = poll_fn(|context| host.poll_queue(queue, max, until, context.waker())).await;
    let completion = |(tag, status): (u64, DriverStatus)| Completion {
        tag,
        status: status.into(),
    };
    Ok((taken.into_iter().map(completion).collect(),))
}

/// For drivers.
pub(crate) fn add(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut engine = linker.instance(interface!("engine"))?;
    add_resources(&mut engine)?;
    add_setters(&mut engine)?;
    add_immediate(&mut engine)?;
    engine.func_wrap_async("[method]future.result", |store: Store<'_>, params| {
        Box::new(result(store, params))
    })?;
    engine.func_wrap_async("[method]completions.next", |store: Store<'_>, params| {
        Box::new(next(store, params))
    })?;
    engine.func_wrap_async("submit", |mut store: Store<'_>, params: SubmitParams| {
        Box::new(async move {
            let host = Arc::clone(store.data().driver()?);
            poll_fn(|context| host.poll_capacity(context.waker())).await;
            submit(&mut store, &params)
        })
    })
}

/// For tasks: every call ends the task with a clear trap, and submitting is refused.
pub(crate) fn add_refusing(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut engine = linker.instance(interface!("engine"))?;
    add_resources(&mut engine)?;
    add_setters(&mut engine)?;
    add_immediate(&mut engine)?;
    engine.func_wrap(
        "[method]future.result",
        |_: Store<'_>, _: (Resource<FutureHandle>, u32)| -> wasmtime::Result<ResultAnswer> {
            Err(not_a_driver())
        },
    )?;
    engine.func_wrap(
        "[method]completions.next",
        |_: Store<'_>, _: NextParams| -> wasmtime::Result<(Vec<Completion>,)> {
            Err(not_a_driver())
        },
    )?;
    engine.func_wrap(
        "submit",
        |_: Store<'_>, _: SubmitParams| -> wasmtime::Result<SubmitAnswer> {
            let refused = "a task cannot submit tasks: only a driver can".to_owned();
            Ok((Err(SubmitError::InvalidArgument(refused)),))
        },
    )
}
