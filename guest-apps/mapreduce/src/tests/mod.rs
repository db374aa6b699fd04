//! Tests without a sandbox.

mod app;
mod counting;
mod files;
mod words;
