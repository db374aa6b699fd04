//! Prints a digest of what the portable backend computes: the same on every processor, in a
//! guest and outside. `tests/kernels/digest.rs` holds it fast.
//!
//! ```text
//! cargo run --release -p taps-kernels --example digest
//! ```
#![expect(clippy::print_stdout, reason = "its purpose")]

include!("../tests/kernels/portable_digest.rs");

fn main() {
    match portable_digest() {
        Ok(digest) => println!("{digest:016x}"),
        Err(error) => println!("{error}"),
    }
}
