//! Tests of the parts, and of the whole app with the programs on this machine.

mod files;
mod skies;
mod tables;
