//! What an app's author writes, on this machine without a sandbox.

mod archives;
mod compile_errors;
mod tasks;
mod values;
