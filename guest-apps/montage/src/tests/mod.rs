//! Tests of the parts, and of the whole app with the programs on this machine.

mod app;
mod bad_input;
mod files;
mod skies;
mod tables;
