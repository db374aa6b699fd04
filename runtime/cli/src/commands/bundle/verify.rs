//! `bundle verify`: whether a bundle is what it says.

use crate::exit::{ExitCode, Failure};
use std::path::PathBuf;

/// Flags of `bundle verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// An app, or the path of a bundle, a directory or a component.
    app: String,
    /// Public key that must have signed the bundle; one of them, if given several times.
    #[arg(long, value_name = "PEM")]
    key: Vec<PathBuf>,
    /// Run the app as the bundle's `expected` entries say, and compare the results.
    #[arg(long)]
    run: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn command(_arguments: &Arguments) -> Result<ExitCode, Failure> {
    Err(Failure::new(
        ExitCode::Usage,
        "this command is not there yet",
    ))
}
