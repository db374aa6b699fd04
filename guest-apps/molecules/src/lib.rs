//! Molecules for apps that learn: Morgan fingerprints of SMILES, and a nearest-neighbour model.
//!
//! ```text
//! SMILES ──► Morgan::fingerprint ──► Fingerprint ─┬─► Neighbours::fit
//!                                                 └─► Neighbours::predict
//! ```
//!
//! A fingerprint has bit for bit the value that RDKit's Morgan generator gives, for any radius and
//! any number of bits; what was compared is said in the README. Everything is deterministic: the
//! same input gives the same bits on the host and in a sandbox.
//!
//! What it never does: read files, make coordinates, or draw random numbers.

mod elements;
mod fingerprint;
mod morgan;
mod neighbours;

pub use elements::ELEMENTS;
pub use fingerprint::{Fingerprint, LengthMismatch};
pub use morgan::{InvalidSmiles, Morgan, MorganError};
pub use neighbours::{Neighbours, NeighboursError};
