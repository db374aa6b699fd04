//! The commands besides `run`.

pub(crate) mod bundle;
mod compare;
mod describe;
mod doctor;
mod engine_side;
mod env;
mod explain;
mod export;
mod list;
mod manual;
mod records;
mod report;

pub(crate) use compare::compare;
pub(crate) use describe::describe;
pub(crate) use doctor::doctor;
pub(crate) use engine_side::{exec, taskvine_library, worker};
pub(crate) use env::{env, extra as environment_extra};
pub(crate) use explain::explain;
pub(crate) use export::{Arguments as ExportArguments, export};
pub(crate) use list::list;
pub(crate) use manual::{completions, man};
pub(crate) use records::records;
pub(crate) use report::report;
