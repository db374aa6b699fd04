//! What a hostile guest may try with windows, against the real pool of wasmtime.
//!
//! Each test names a rule of the module `window` or a life cycle rule of the store. The pool has
//! one slot, so that the next guest certainly gets the memory of the last.

mod exchange;
mod guest;
mod refusals;
mod sandbox;
mod segments;
mod sharing;
