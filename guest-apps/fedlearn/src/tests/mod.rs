//! What the app promises, without a sandbox.

mod app;
mod data;
mod layers;
mod planning;
