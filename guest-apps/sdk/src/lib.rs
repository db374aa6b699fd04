//! Guest SDK: write a task-based app as a component.
//!
//! An app is a library crate with a configuration, tasks and a driver:
//!
//! ```
//! use taps::{Archived, Bound, Engine, Report};
//!
//! /// Counts words.
//! #[derive(taps::Config)]
//! struct WordCount {
//!     /// Texts to count.
//!     texts: Vec<String>,
//! }
//!
//! /// Counts the words of one text.
//! #[taps::task(pure)]
//! fn count(text: &str) -> u64 {
//!     text.split_whitespace().count() as u64
//! }
//!
//! /// Adds up counts.
//! #[taps::task(pure)]
//! fn add(counts: taps::List<u64>) -> taps::Result<u64> {
//!     counts.sum()
//! }
//!
//! #[taps::app(name = "word-count")]
//! fn run(config: WordCount, engine: &Engine) -> taps::Result<Report> {
//!     let counts = config
//!         .texts
//!         .iter()
//!         .map(|text| engine.submit(count::call(text)))
//!         .collect::<taps::Result<Vec<_>>>()?;
//!     let total = engine.submit(add::call(&counts))?.result()?;
//!     Ok(Report::new().check("words", total, Bound::AtLeast(1.0)).value("total", total))
//! }
//!
//! // A plain test runs the whole app, without a sandbox:
//! let config = serde_json::json!({ "texts": ["one two", "three"] });
//! let report = taps::testing::run_app(&APP, &config)?;
//! assert!(report.passed());
//! # Ok::<(), taps::Error>(())
//! ```
//!
//! The same crate is built as a component for `wasm32-wasip2`, and linked into the host for the
//! `native` executor. Everything above [`backend`] is the same code in both.
//!
//! What this crate never does: it does not schedule, retry or move data; it asks the host.

extern crate self as taps;

mod app;
mod array;
#[cfg(feature = "arrow")]
mod arrow;
pub mod backend;
mod bytes;
mod call;
mod completions;
mod config;
pub mod context;
mod engine;
mod error;
#[cfg(target_arch = "wasm32")]
mod exports;
mod json;
pub mod kernels;
#[cfg(not(target_arch = "wasm32"))]
pub mod native;
mod payload;
mod program;
mod task;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod value;
mod view;

pub use app::{AppEntry, apps};
pub use array::{Array, Element};
#[cfg(feature = "arrow")]
pub use arrow::Arrow;
pub use backend::{KernelMode, Level, Status};
pub use bytes::Bytes;
pub use call::{Argument, Call, IntoArgument, IntoArguments};
pub use completions::Completions;
pub use config::{Config, ConfigEnum, ConfigValue, InputDir, InputFile, OutputDir};
pub use context::{attempt, clock, kernel_mode, rng, seed, sleep};
pub use engine::{Engine, Future, FutureValue, TaskOptions, Wait, Waited};
pub use error::{Error, Failure, PROGRAM_ERROR, PayloadError, Result, TaskError};
pub use json::Json;
pub use payload::Payload;
pub use program::{Completion, Content, File, Program, ProgramNeed};
pub use rand;
pub use taps_macros::{Config, ConfigEnum, app, task, value};
pub use taps_schema::{Bound, DriverError, DriverErrorKind, Report};
pub use task::{List, Many, Outputs, TaskEntry, archive, tasks};
pub use value::{Archivable, Archived, Value};
pub use view::View;

/// For the code that macros generate; not for authors.
#[doc(hidden)]
pub mod __private {
    pub use crate::app::{AppRegistration, ConfigDescription, PackageRegistration, app_name};
    pub use crate::config::{Limit, enum_kind, enum_parse, object, parse_field};
    #[cfg(target_arch = "wasm32")]
    pub use crate::exports::Component;
    pub use crate::task::{Arguments, TaskRegistration, lend, lend_str, outputs};
    pub use crate::value::{TaskOutput, decode_archive, encode_archive};
    pub use inventory;
    pub use rkyv;
    pub use serde_json::Value as Json;
    pub use taps_schema::{ConfigField, FieldKind, Nans};
    #[cfg(target_arch = "wasm32")]
    pub use wit_bindgen::rt as wit_bindgen_rt;
}

/// Puts the app of this crate on the list of its binary.
#[cfg(not(feature = "tasks-alone"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __register_app {
    ($app:ident) => {
        $crate::__private::inventory::submit! {
            $crate::__private::AppRegistration(&$app)
        }
    };
}

/// Names the package of a component that has tasks only; its driver is left out.
#[cfg(feature = "tasks-alone")]
#[doc(hidden)]
#[macro_export]
macro_rules! __register_app {
    ($app:ident) => {
        $crate::__private::inventory::submit! {
            $crate::__private::PackageRegistration(::core::env!("CARGO_PKG_NAME"))
        }
        // Still in use, so that nobody is warned of it.
        const _: &$crate::AppEntry = &$app;
    };
}

/// Exports the app of this crate from its component.
#[cfg(not(target_arch = "wasm32"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_app {
    () => {};
}

/// Exports the app of this crate from its component.
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_app {
    () => {
        const _: () = {
            use $crate::__private::Component;
            $crate::backend::bindings::__export_component!(
                Component with_types_in $crate::backend::bindings
            );
        };
    };
}
