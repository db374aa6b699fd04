//! The JSON documents that guests and host exchange: what an app says of itself
//! ([`AppDescription`]), and what its driver reports at the end ([`Report`]).
//!
//! JSON, not WIT records, because a WIT record cannot gain a field without breaking every
//! component built before; a JSON object can. Readers ignore fields they do not know.
//!
//! This crate does no I/O and knows neither wasmtime nor the engine.

mod app;
mod report;

pub use app::{
    AppDescription, ConfigField, FieldKind, Kernels, Nans, ProgramDescription, TaskDescription,
    WIT_VERSION,
};
pub use report::{Bound, Check, DriverError, DriverErrorKind, Report};
