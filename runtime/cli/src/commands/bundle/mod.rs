//! `bundle`: everything that makes, shows, checks and moves bundles.

mod access;
mod assemble;
mod build;
mod cache;
mod crates;
mod export;
mod inspect;
mod new;
mod output;
mod pull;
mod push;
mod recipe;
mod sign;
mod verify;

pub(crate) use access::Access;
pub(crate) use pull::bring;

use crate::apps;
use crate::exit::{ExitCode, Failure};
use taps_bundle::Bundle;

/// What `bundle` does.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Begin an app: a crate that builds, tests with plain `cargo test`, and runs.
    ///
    /// The crate holds the sources of the guest SDK below `vendor/taps`, so that it needs nothing but
    /// Rust and crates.io.
    New(new::Arguments),
    /// Make a bundle of a crate, or of components that are there.
    ///
    /// Two builds of the same sources give the same digest, in whatever directory.
    Build(build::Arguments),
    /// Show what a bundle holds and what it may do: tasks, configuration, capabilities, sizes, digests.
    Inspect(inspect::Arguments),
    /// Check a bundle: digests, signatures, interface, imports, and what its components say of themselves.
    Verify(verify::Arguments),
    /// Sign a bundle: a detached Ed25519 signature beside it.
    Sign(sign::Arguments),
    /// Make a pair of keys for signatures.
    Keygen(sign::Keygen),
    /// Write a built-in app as a bundle.
    Export(export::Arguments),
    /// Send a bundle to a registry.
    Push(push::Arguments),
    /// Bring a bundle from a registry.
    Pull(pull::Arguments),
    /// The bundles that are kept on this machine.
    Cache {
        /// What to do.
        #[command(subcommand)]
        what: cache::Command,
    },
}

pub(crate) fn command(what: Command) -> Result<ExitCode, Failure> {
    match what {
        Command::New(arguments) => new::command(&arguments),
        Command::Build(arguments) => build::command(&arguments),
        Command::Inspect(arguments) => inspect::command(&arguments),
        Command::Verify(arguments) => verify::command(&arguments),
        Command::Sign(arguments) => sign::command(&arguments),
        Command::Keygen(arguments) => sign::keygen(&arguments),
        Command::Export(arguments) => export::command(&arguments),
        Command::Push(arguments) => push::command(&arguments),
        Command::Pull(arguments) => pull::command(&arguments),
        Command::Cache { what } => cache::command(&what),
    }
}

/// An app by name, or what is at a path, for looking at it and not for running it.
fn open(app: &str) -> Result<Bundle, Failure> {
    apps::find(app)
}
