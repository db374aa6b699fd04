//! The configuration of a run: one tree, written as dotted flags or as TOML, with layers
//! default < first file < later files < flags.
//!
//! [`preview`] looks at the arguments without a schema: which app, which executor, is help
//! wanted. With the chosen app's description in a [`Schema`], [`resolve`] checks every value and
//! gives a [`Resolved`] configuration, or *all* problems at once. [`Resolved::to_toml`] writes
//! a file that resolves to itself, byte for byte. [`run_help`] renders the same tables of fields
//! that validation uses.
//!
//! This crate reads config files and looks at paths that are granted; it never writes, never
//! reads an environment variable and knows neither bundles nor the engine.

mod arguments;
mod error;
mod failures;
mod faults;
mod fields;
mod file;
mod general;
mod help;
mod known;
mod layers;
mod merge;
mod paths;
mod resolve;
mod resolved;
mod schema;
mod suggest;
mod toml_text;
mod units;
mod value;

pub use arguments::{Preview, Switches, has_extension, is_app_path, preview};
pub use error::{ConfigError, ConfigErrors, Place, Problem};
pub use failures::failures_app;
pub use faults::{FAULT_TYPES, FaultNeed, FaultPoint, FaultsSettings, RunSignal};
pub use fields::{FIRST_LEVEL_FLAGS, GeneralField, Rule, Section, general_sections};
pub use general::{
    DirFormat, Durable, EngineSettings, General, Instances, Interrupt, LiveSettings, LogLevel,
    LoggingSettings, PayloadSettings, ProgramsSettings, RunSettings,
};
pub use help::{describe_kind, run_help};
pub use paths::{BUNDLE_DATA, RUN_DIR};
pub use resolve::resolve;
pub use resolved::{Grant, GrantKind, Resolved};
pub use schema::{COMMON_FIELDS, LoadedApp, PluginSchema, Schema};
pub use suggest::nearest;
pub use units::parse_size;
