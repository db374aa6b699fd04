//! Host types of the WIT contract, for lifting and lowering by hand.
//!
//! By hand, because `bindgen!` would copy every list into a `Vec`, and windows need the address.

use crate::host::engine::{CompletionsHandle, FutureHandle};
use crate::host::{outputs::OutputHandle, payloads::PayloadHandle};
use std::sync::Arc;
use wasmtime::component::{ComponentType, Lift, Lower, Resource, WasmList, WasmStr};

/// `payloads.payload-error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum PayloadError {
    #[component(name = "out-of-range")]
    OutOfRange,
    #[component(name = "misaligned-window")]
    MisalignedWindow,
    #[component(name = "window-too-small")]
    WindowTooSmall,
    #[component(name = "window-in-use")]
    WindowInUse,
    #[component(name = "window-limit")]
    WindowLimit,
    #[component(name = "wrong-state")]
    WrongState,
    #[component(name = "store-full")]
    StoreFull,
    #[component(name = "not-granted")]
    NotGranted,
    #[component(name = "io")]
    Io,
    #[component(name = "cancelled")]
    Cancelled,
}

/// `context.level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum Level {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}

/// `context.kernel-mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum KernelMode {
    #[component(name = "host")]
    Host,
    #[component(name = "guest")]
    Guest,
}

/// `tasks.argument`.
#[derive(ComponentType, Lower)]
#[component(variant)]
pub(crate) enum TaskArgument {
    #[component(name = "inline")]
    Inline(Arc<[u8]>),
    #[component(name = "payload")]
    Payload(Resource<PayloadHandle>),
}

/// `tasks.output`.
#[derive(ComponentType, Lift)]
#[component(variant)]
pub(crate) enum TaskOutput {
    #[component(name = "inline")]
    Inline(Vec<u8>),
    #[component(name = "buffer")]
    Buffer(Resource<OutputHandle>),
}

/// `tasks.task-error`.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct TaskError {
    pub(crate) kind: String,
    pub(crate) message: String,
}

/// `engine.status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum Status {
    #[component(name = "pending")]
    Pending,
    #[component(name = "succeeded")]
    Succeeded,
    #[component(name = "failed")]
    Failed,
}

/// `engine.source`.
#[derive(ComponentType, Lift)]
#[component(variant)]
pub(crate) enum Source {
    #[component(name = "inline")]
    Inline(WasmList<u8>),
    #[component(name = "payload")]
    Payload(Resource<PayloadHandle>),
    #[component(name = "output")]
    Output((Resource<FutureHandle>, u32)),
}

/// `engine.submit-error`.
#[derive(Clone, Debug, PartialEq, Eq, ComponentType, Lower)]
#[component(variant)]
pub(crate) enum SubmitError {
    #[component(name = "unknown-task")]
    UnknownTask(String),
    #[component(name = "infeasible")]
    Infeasible(String),
    #[component(name = "invalid-argument")]
    InvalidArgument(String),
    #[component(name = "cancelled")]
    Cancelled,
}

/// `engine.failure`.
#[derive(Clone, Debug, PartialEq, Eq, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Failure {
    pub(crate) outcome: String,
    pub(crate) kind: String,
    pub(crate) message: String,
}

impl From<&taps_engine::Failure> for Failure {
    fn from(failure: &taps_engine::Failure) -> Self {
        Self {
            outcome: failure.outcome.name().to_owned(),
            kind: failure.kind.clone(),
            message: failure.message.clone(),
        }
    }
}

/// `engine.completion`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Completion {
    pub(crate) tag: u64,
    pub(crate) status: Status,
}

/// `kernels.matrix`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Matrix {
    pub(crate) rows: u32,
    pub(crate) columns: u32,
    #[component(name = "row-stride")]
    pub(crate) row_stride: u32,
    #[component(name = "column-stride")]
    pub(crate) column_stride: u32,
}

/// `program.content`.
#[derive(ComponentType, Lift)]
#[component(variant)]
pub(crate) enum Content {
    #[component(name = "inline")]
    Inline(Vec<u8>),
    #[component(name = "payload")]
    Payload(Resource<PayloadHandle>),
}

/// `program.invocation`.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Invocation {
    pub(crate) program: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) inputs: Vec<(String, Content)>,
    pub(crate) outputs: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) stdin: Option<Content>,
    #[component(name = "timeout-ms")]
    pub(crate) timeout_ms: Option<u64>,
}

/// `program.completion`.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct ProgramCompletion {
    #[component(name = "exit-code")]
    pub(crate) exit_code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) outputs: Vec<Option<Resource<PayloadHandle>>>,
}

/// `program.program-error`.
#[derive(Clone, Debug, PartialEq, Eq, ComponentType, Lower)]
#[component(variant)]
pub(crate) enum ProgramError {
    #[component(name = "not-allowed")]
    NotAllowed(String),
    #[component(name = "not-found")]
    NotFound(String),
    #[component(name = "limit")]
    Limit(String),
    #[component(name = "failed")]
    Failed(String),
}

/// A completion queue, borrowed.
pub(crate) type Queue = Resource<CompletionsHandle>;

/// A guest string, copied only where kept.
pub(crate) fn text(
    string: &WasmStr,
    store: &wasmtime::StoreContextMut<'_, crate::State>,
) -> wasmtime::Result<String> {
    Ok(string.to_str(store)?.into_owned())
}
