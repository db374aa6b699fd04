//! Bundles in OCI registries: push, pull and signatures.
//!
//! A [`Reference`] names a bundle, [`Registry::open`] makes ready to speak to its registry, and the rest is
//! [`Registry::push`], [`Registry::pull`], [`Registry::push_signatures`] and [`Registry::pull_signatures`].
//! Everything here blocks, ends in bounded time when nobody answers, and checks the digest of every part that
//! comes. What is there already is neither sent nor fetched again: a push that broke goes on with the parts that
//! are missing, a pull within the part that was cut.
//!
//! This crate never runs a bundle, never decides whether one may run, and never asks a registry that no
//! reference names.

mod client;
mod credentials;
mod download;
mod error;
mod progress;
mod pull;
mod push;
mod reference;
mod signatures;

pub use client::{Options, Patience, Registry};
pub use credentials::{Login, Places};
pub use error::{Kind, RegistryError};
pub use progress::{Progress, Transfer};
pub use pull::Pulled;
pub use push::Pushed;
pub use reference::{Reference, ReferenceError};
